"""Which keys were sent and which have come back."""

import pytest

from airflow_provider_batch.rows.check.keys import Arrival, Arrivals, KeyTable


def test_a_key_seen_before_is_told_with_its_first_line():
    with KeyTable() as keys:
        assert [keys.add("a", 1), keys.add("b", 2), keys.add("a", 3)] == [None, None, 1]
        assert len(keys) == 2


def test_keys_that_only_look_alike_are_distinct():
    with KeyTable() as keys:
        assert [keys.add(k, n) for n, k in enumerate(["é", "e\u0301", "E", "e", "e "])] == [None] * 5


def test_arrivals_are_expected_once_then_again_and_else_unknown():
    keys = Arrivals(lambda: ["a", "c"], 2)
    assert [keys.arrive("a"), keys.arrive("a"), keys.arrive("b")] == [
        Arrival.EXPECTED,
        Arrival.AGAIN,
        Arrival.UNKNOWN,
    ]
    assert [keys.has_come(key) for key in "ac"] == [True, False]


def test_a_hundred_thousand_keys_arrive_once_each_and_no_stranger_is_let_in():
    names = [f"row-{number}" for number in range(100_000)]
    keys = Arrivals(lambda: names, len(names))
    assert {keys.arrive(name) for name in reversed(names)} == {Arrival.EXPECTED}
    assert {keys.arrive(name) for name in names} == {Arrival.AGAIN}
    assert {keys.arrive(f"other-{number}") for number in range(100_000)} == {Arrival.UNKNOWN}


def test_keys_with_the_same_hash_are_told_apart():
    class Colliding(Arrivals):
        """Every two keys have one hash, until another hash is taken."""

        def _hash(self, key):
            return 7 if not self._salt else super()._hash(key)

    keys = Colliding(lambda: ["a", "b"], 2)
    assert [keys.arrive("a"), keys.arrive("b"), keys.arrive("b")] == [
        Arrival.EXPECTED,
        Arrival.EXPECTED,
        Arrival.AGAIN,
    ]


def test_a_key_that_is_awaited_twice_is_refused():
    with pytest.raises(ValueError, match="a key comes twice"):
        Arrivals(lambda: ["a", "b", "a"], 3)


def test_no_key_is_awaited_in_an_empty_shard():
    assert Arrivals(lambda: [], 0).arrive("a") is Arrival.UNKNOWN
