"""A ledger that lacks something, or in which something is not what it was: nothing is sent on a guess."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from upath import UPath

from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.missing import holes
from airflow_provider_batch.batch.ledger.store import generations
from airflow_provider_batch.errors import BatchError, LedgerError, StorageError
from faults.task import Task, ask
from tests.batch.conftest import documents, statuses


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "out")


def running(task):
    """The job runs."""
    task.attempt()


def refused_once(task):
    """The queue was full the first time; the job runs."""
    task.attempt()
    while len(task.jobs) == 0:
        task.resume()


def ended(task):
    """The job has ended and has not landed."""
    task.attempt()
    with task.service() as service:
        while not service.look(task.jobs[0]).state.is_terminal:
            pass


def second_round(task):
    """A row was sent again; its job runs."""
    task.attempt()
    while len(task.jobs) == 1:
        task.resume()


def complete(task):
    """Everything has landed."""
    task.finish()


STATES = {
    running: {},
    refused_once: {"call": "batches.create", "action": "status", "status": 429, "retry_delay": 1},
    ended: {},
    second_round: {"action": "rows", "mutation": "error", "keys": ["b"]},
    complete: {},
}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__doc__)
def test_whatever_documents_are_lost_no_row_is_sent_again(task, gemini_emulator, created, tmp_path, state):
    if STATES[state]:
        gemini_emulator.add_fault(**STATES[state])
    state(task)
    gemini_emulator.clear_faults()
    home, names, before = Path(str(task.folder)), documents(task), len(created())
    shutil.copytree(home, tmp_path / "whole")
    ledger = Path(str(task.ledger.folder))
    silent = []
    for lost in [*itertools.combinations(names, 1), *itertools.combinations(names, 2)]:
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "whole", home)
        for name in lost:
            (ledger / name).unlink()
        try:
            task.but(jobs=[]).attempt()
        except BatchError:
            continue
        finally:
            assert len(created()) == before, f"without {lost} the rows were sent again"
        silent.append(lost)
    assert ("plan.json",) not in silent
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "whole", home)
    assert task.finish().counts == {"success": 3}


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("r1.s1.e1.outcome.json", "r1.s1.e1.sending.json"),
        ("r1.s1.e1.sending.json", "r1.s1.f1.file.json"),
        ("r1.s1.f1.file.json", "r1.s1.f1.session.json"),
    ],
)
def test_a_document_without_the_one_before_it_is_named(task, created, name, lost):
    task.attempt()
    path = task.ledger.path(lost)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(
        LedgerError, match=rf"AGB-L02 {name} is in the ledger at .*, and {lost}, which was written"
    ):
        task.attempt()
    assert len(created()) == 1
    path.write_bytes(content)
    assert task.finish().counts == {"success": 3}


def test_a_plan_that_is_lost_while_the_rows_change_gives_nobody_the_answers_of_others(task, created):
    task.finish()
    task.ledger.path("plan.json").unlink()
    with pytest.raises(
        LedgerError, match=r"AGB-L02 .* is in the ledger at .*, and 1/plan.json, which was written"
    ):
        task.but(rows=[ask(key) for key in "xyz"]).attempt()
    assert len(created()) == 1


def test_an_earlier_generation_that_is_lost_is_not_paid_for_again(task, created):
    task.attempt()
    changed = task.but(rows=[ask("z")], on_content_change="cancel_and_resubmit")
    changed.attempt()
    shutil.rmtree(str(generations(task.folder, task.identity.task_digest)[0].folder))
    with pytest.raises(LedgerError, match=r"AGB-L02 .*1/plan\.json, which was written before it, is not"):
        changed.attempt()
    assert len(created()) == 2


def test_a_document_of_another_batch_is_refused(task, gemini_emulator, created, tmp_path):
    task.attempt()
    monday = Identity("dag", "label", "monday")
    other = Task(gemini_emulator.base_url, UPath(tmp_path / "other"), [ask(key) for key in "xyz"], monday)
    other.attempt()
    task.ledger.path("r1.s1.e1.outcome.json").write_bytes(other.ledger.path("r1.s1.e1.outcome.json").read_bytes())
    with pytest.raises(LedgerError, match=r"AGB-L02 .*outcome.json is of other rows or another model"):
        task.attempt()
    assert len(created()) == 2


def changed(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b"hello", b"adieu"))
    assert path.read_bytes() != data


def test_rows_that_are_not_those_that_were_checked_are_not_sent(task, gemini_emulator, created):
    gemini_emulator.add_fault(call="files.upload.start", action="status", status=403)
    with pytest.raises(BatchError, match="403"):
        task.attempt()
    changed(next(path for path in task.ledger.folder.iterdir() if path.name.endswith("requests.jsonl")))
    with pytest.raises(LedgerError, match=r"AGB-L02 The rows that were sent, .* its digest is"):
        task.attempt()
    assert created() == []


def test_landed_rows_of_the_same_length_are_not_published_if_they_are_others(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], error={"code": 3, "message": "no"})
    task.but(layout=Layout(format="jsonl")).attempt()
    path = task.ledger.path("r1.s1.results.jsonl")
    (task.folder / "results.jsonl" / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"AGB-L05 A file could not be read or written: Is a directory"):
        task.finish()
    shutil.rmtree(str(task.folder / "results.jsonl"))
    changed(path)
    with pytest.raises(LedgerError, match=r"AGB-L02 The landed rows in .* its digest is"):
        task.finish()
    path.write_bytes(path.read_bytes().replace(b"adieu", b"hello"))
    assert task.finish().counts == {"success": 2, "error": 1}
    assert statuses(task)["b"] == "error"


@pytest.mark.parametrize(
    "names",
    [
        ["plan.json"],
        ["plan.json", "r1.cancel.json", "superseded.json", "columns.ab.jsonl", "r1.s1.ab.requests.jsonl"],
        [
            "plan.json",
            "r1.s1.landed.json",
            "r1.published.json",
            "r1.tidied.json",
            "r2.plan.json",
            "r2.cancel.json",
        ],
        ["plan.json", "r1.s1.e1.sending.json", "r1.s1.e1.outcome.json", "r1.s1.e2.sending.json"],
        [
            "plan.json",
            "r1.s1.e1.sending.json",
            "r1.s1.e1.revoked.json",
            "r1.s1.e1.scan1.json",
            "r1.s1.e1.scan2.json",
        ],
        ["plan.json", "r1.s1.a1.attached.json", "r1.s1.a2.attached.json", "r1.s1.fetched1.json"],
        ["plan.json", "r1.s1.e1.word of a newer version.json"],
    ],
)
def test_a_ledger_that_was_written_in_order_has_no_hole(names):
    assert list(holes(names)) == []


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("r1.s1.e1.outcome.json", "r1.s1.e1.sending.json"),
        ("r1.s1.e1.revoked.json", "r1.s1.e1.sending.json"),
        ("r1.s12.e10.sending.json", "r1.s12.e9.outcome.json"),
        ("r1.s1.e1.scan1.json", "r1.s1.e1.revoked.json"),
        ("r1.s1.e1.scan3.json", "r1.s1.e1.scan2.json"),
        ("r1.s1.f2.file.json", "r1.s1.f2.session.json"),
        ("r1.s1.a2.attached.json", "r1.s1.a1.attached.json"),
        ("r1.s1.fetched3.json", "r1.s1.fetched2.json"),
        ("r3.plan.json", "r2.plan.json"),
        ("r2.s1.landed.json", "r2.plan.json"),
        ("r2.cancel.json", "r2.plan.json"),
        ("r1.tidied.json", "r1.published.json"),
        ("superseded.json", "plan.json"),
        ("r1.s1.landed.json", "plan.json"),
    ],
)
def test_what_a_document_rests_on_is_missed(name, lost):
    assert (name, lost) in list(holes([name]))
