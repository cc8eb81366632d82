"""Who a job belongs to, and what its display name says."""

from airflow_provider_batch.batch.ledger.job_names import Identity, JobTag, content_mark

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
    tag = JobTag(identity.mark, "b" * 8, "c" * 16, 1, 1, 1, 1)
    assert tag.new_display_name().startswith(identity.prefix)


def test_a_name_that_somebody_else_gave_says_nothing():
    assert JobTag.read("my nightly batch") is None
    assert JobTag.read(TAG.new_display_name() + "x") is None


def test_other_rows_or_another_model_are_another_content():
    assert len({content_mark("1", "m"), content_mark("2", "m"), content_mark("1", "n")}) == 3
