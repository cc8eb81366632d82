"""Who a job belongs to, and what its display name says."""

import pytest

from airflow_provider_batch.batch.ledger.job_names import Identity, JobTag, content_digest, without_sender

TAG = JobTag("a" * 24, "b" * 8, "c" * 16, generation=1, round=2, shard=30, attempt=4)


def test_the_identity_is_the_same_for_every_try_and_differs_by_each_part():
    prefixes = {
        Identity("d", "t", "r").prefix,
        Identity("d", "t", "r", 0).prefix,
        Identity("d", "tr", "").prefix,
        Identity("dt", "", "r").prefix,
        Identity("d", "t", "r", deployment="staging").prefix,
    }
    assert len(prefixes) == 5
    assert Identity("d", "t", "r").prefix in prefixes


def test_a_display_name_says_what_it_was_made_from_and_is_never_made_twice():
    names = {TAG.new_display_name() for _ in range(100)}
    assert len(names) == 100
    assert {JobTag.read(name) for name in names} == {TAG}
    assert max(map(len, names)) <= 90


def test_the_prefix_of_the_identity_begins_the_display_names_of_its_jobs():
    identity = Identity("d", "t", "r")
    tag = JobTag(identity.task_digest, "b" * 8, "c" * 16, 1, 1, 1, 1)
    assert tag.new_display_name().startswith(identity.prefix)


def test_a_name_that_somebody_else_gave_says_nothing():
    assert JobTag.read("my nightly batch") is None
    assert JobTag.read(TAG.new_display_name() + "x") is None


@pytest.mark.parametrize(
    ("dag", "task", "said"),
    [
        ("my_dag", "group.my_task", "my_dag.group.my_task"),
        ("café", "größe €\n", "caf_.gr__e___"),
        ("d" * 250, "label", "d" * 47 + ".label"),
        ("nightly", "t" * 250, "nightly." + "t" * 45),
        ("d" * 250, "t" * 250, "d" * 26 + "." + "t" * 26),
    ],
)
def test_the_display_name_ends_with_dag_and_task_as_they_fit(dag, task, said):
    name = TAG.new_display_name(Identity(dag, task, "r"))
    assert name.startswith(TAG.stem)
    assert name.partition(" ")[2] == said
    assert len(name) <= 128


def test_counters_of_many_digits_leave_less_room_for_the_sender():
    tag = JobTag("a" * 24, "b" * 8, "c" * 16, 10**9, 10**9, 10**9, 10**9)
    name = tag.new_display_name(Identity("d" * 250, "t" * 250, "r"))
    assert len(name) == 128
    assert JobTag.read(name) == tag


@pytest.mark.parametrize("rest", ["", " a.b", " ", " two words", " agb1.x\nagb1.y", " é"])
def test_whatever_follows_the_tag_changes_nothing_of_it(rest):
    name = TAG.new_display_name()
    assert JobTag.read(name + rest) == TAG
    assert without_sender(name + rest) == name


def test_a_name_of_others_is_kept_whole_with_its_blanks():
    assert without_sender("my nightly batch") == "my nightly batch"


def test_other_rows_or_another_model_are_another_content():
    assert len({content_digest("1", "m"), content_digest("2", "m"), content_digest("1", "n")}) == 3
