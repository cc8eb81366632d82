"""A result folder belongs to one task instance at a time."""

import json

import pytest
from upath import UPath

from airflow_provider_batch.engine.claim import Claim
from airflow_provider_batch.engine.identity import Identity, display_name
from airflow_provider_batch.errors import BatchError, ConfigError
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.manifest import Manifest

MONDAY, TUESDAY = Identity("dag", "label", "monday"), Identity("dag", "label", "tuesday")
FIRST, SECOND = Identity("dag", "label", "monday", 0), Identity("dag", "label", "monday", 1)


@pytest.fixture(params=["local", "object storage"])
def folder(request, tmp_path):
    if request.param == "local":
        return UPath(tmp_path / "out")
    return UPath(f"memory://bucket{tmp_path}/out")


def take(folder, identity, *keys):
    claim = Claim(folder, identity.mark)
    with KeyTable() as table:
        for line, key in enumerate(keys or ("a", "b"), 1):
            table.add(key, line)
        claim.take(identity, table)
    return claim


def landed(folder, identity):
    Manifest(
        job_name="batches/a",
        model="m",
        display_name=display_name(identity, "0" * 16),
        result_uri=str(folder / "results.jsonl"),
        request_count=2,
        counts={"success": 2},
    ).write(folder)


def test_the_keys_come_back_in_their_order_on_any_machine(folder):
    take(folder, MONDAY, "b", "ä \n", "a")
    with KeyTable() as keys:
        Claim.of_job(folder, display_name(MONDAY, "0" * 16)).keys(3, into=keys)
        assert list(keys.outstanding()) == ["b", "ä \n", "a"]


def test_the_claim_says_to_a_person_whose_it_is(folder):
    claim = take(folder, FIRST)
    whose = json.loads(claim.path.read_text().splitlines()[0])
    assert whose == {"dag_id": "dag", "task_id": "label", "run_id": "monday", "map_index": 0}


@pytest.mark.parametrize("other", [SECOND, TUESDAY, Identity("other", "label", "monday")])
def test_nobody_else_may_have_a_folder_that_awaits_results(folder, other):
    first = take(folder, FIRST)
    with pytest.raises(
        ConfigError, match=r"awaits the results of another task instance, dag.label\[0\] of run monday"
    ):
        take(folder, other)
    assert [path.name for path in folder.iterdir()] == [first.path.name]


def test_every_try_of_a_task_instance_may_have_its_own_folder_again(folder):
    take(folder, MONDAY)
    take(folder, MONDAY, "other", "keys")
    assert len(list(folder.iterdir())) == 1


def test_a_later_run_of_the_task_may_replace_results_that_have_landed(folder):
    old = take(folder, MONDAY)
    landed(folder, MONDAY)
    new = take(folder, TUESDAY)
    new.retire_previous()
    assert not old.path.exists()
    assert new.path.exists()


def test_another_map_index_may_not_replace_landed_results(folder):
    take(folder, FIRST)
    landed(folder, FIRST)
    with pytest.raises(ConfigError, match=r"holds the results .* dag.label\[0\] of run monday.*ti.map_index"):
        take(folder, SECOND)


def test_a_folder_that_was_given_up_is_free(folder):
    take(folder, MONDAY).release()
    take(folder, TUESDAY)


def test_a_claim_that_nobody_can_read_is_respected(folder):
    take(folder, MONDAY).path.write_text("?")
    with pytest.raises(ConfigError, match=MONDAY.mark):
        take(folder, TUESDAY)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "FileNotFoundError"), ('{}\n"a"\n', "1 keys instead of 2"), ('{}\n"a"\n"b\n', "DecodeError")],
)
def test_keys_that_cannot_be_used_say_how_to_get_them_back(folder, content, words):
    claim = take(folder, MONDAY)
    claim.release() if content is None else claim.path.write_text(content)
    with KeyTable() as keys, pytest.raises(BatchError, match=rf"AGB-L02 .*{words}.*Clear the submitting task"):
        claim.keys(2, into=keys)
