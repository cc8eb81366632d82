"""Which keys were sent and which have come back."""

from airflow_provider_batch.rows.keys import Arrival, KeyTable


def test_a_key_seen_before_is_told_with_its_first_line():
    with KeyTable() as keys:
        assert [keys.add("a", 1), keys.add("b", 2), keys.add("a", 3)] == [None, None, 1]
        assert len(keys) == 2


def test_keys_that_only_look_alike_are_distinct():
    with KeyTable() as keys:
        assert [keys.add(k, n) for n, k in enumerate(["é", "e\u0301", "E", "e", "e "])] == [None] * 5


def test_arrivals_are_expected_once_then_again_and_else_unknown():
    with KeyTable() as keys:
        keys.add("a", 1)
        assert [keys.arrive("a"), keys.arrive("a"), keys.arrive("b")] == [
            Arrival.EXPECTED,
            Arrival.AGAIN,
            Arrival.UNKNOWN,
        ]


def test_outstanding_keys_come_in_input_order():
    with KeyTable() as keys:
        for line, key in enumerate(["z", "m", "a", "k"], start=1):
            keys.add(key, line)
        keys.arrive("m")
        assert list(keys.outstanding()) == ["z", "a", "k"]
