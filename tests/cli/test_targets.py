"""What commands are about: a result folder or the name of a job, and nothing else."""

from __future__ import annotations

import pytest
from upath import UPath

from airflow_provider_batch.batch.ledger.job_names import JobTag
from tests.cli.conftest import KEY, SUBMIT

NAME = JobTag("a" * 24, "b" * 8, "c" * 16, 1, 1, 1, 1).stem + "0badcafe dag.label"


def test_all_jobs_of_a_folder_are_asked_to_end(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    ab(*SUBMIT, "--max-rows-per-job", "1")
    ended = ab("cancel", "out", "--yes", "--json")
    assert ended.status == 0
    assert [one["name"] for one in ended.json] == calls("batches.create")
    assert calls("batches.cancel") == calls("batches.create")


def test_a_job_that_is_named_twice_is_asked_once(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    ab(*SUBMIT)
    (job,) = calls("batches.create")
    assert ab("cancel", job, "out", "--yes").status == 0
    assert calls("batches.cancel") == [job]


def test_a_folder_whose_results_have_landed_has_nothing_to_cancel(ab, rows, calls, tmp_path):
    ab(*SUBMIT, "--wait")
    ended = ab("cancel", "out", "--yes")
    assert (ended.status, calls("batches.cancel")) == (0, [])
    assert f"{tmp_path}/out: landed. No job of it waits or runs" in ended.err


def test_who_cancels_the_batch_of_a_task_is_told_what_its_next_try_does(ab, tmp_path, gemini_emulator):
    from faults.task import Task, ask

    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    task = Task(gemini_emulator.base_url, UPath(tmp_path / "theirs"), [ask("a")], key=KEY)
    task.attempt()
    ended = ab("cancel", "theirs", "--yes")
    assert ended.status == 0
    assert "the batch of dag.label of run run: a new try of that task sends, and pays for" in ended.err


@pytest.mark.parametrize("command", [("wait",), ("show",), ("cancel", "--yes")])
@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            NAME,
            f"is the display name of a job. airflow-batch list --prefix {NAME.split()[0]} shows the job's name.",
        ),
        ("my nightly batch", "A display name is neither: airflow-batch list shows which job has it."),
        ("rows.jsonl", "'rows.jsonl' is a file, not a result folder. Its folder is "),
        ("batches/", "'batches/' is no name of a job, which looks like batches/abc123."),
        ("batches/my job", "A folder is ./batches/my job."),
        ("files/abc", "There is no batch in "),
        ("", "DIR '' cannot be opened: it is empty."),
    ],
)
def test_something_else_is_refused_with_what_would_do(ab, rows, calls, command, target, said):
    ended = ab(command[0], target, *command[1:])
    assert (ended.status, calls("batches.cancel")) == (2, [])
    assert said in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("rows.jsonl", "--result-path", "batches/a"), "--result-path 'batches/a' reads as the name of a job."),
        (("batches/a", "--result-path", "new"), "FILE 'batches/a' reads as the name of a job."),
        (("out", "--result-path", "new"), "FILE 'out' is the result folder of a batch."),
    ],
)
def test_submit_takes_neither_a_job_nor_results_for_rows(ab, rows, tmp_path, calls, options, said):
    (tmp_path / "out" / "_ledger").mkdir(parents=True)
    ended = ab("submit", *options, "--model", "gemini-2.5-flash")
    assert (ended.status, calls("batches.create")) == (2, [])
    assert said in ended.err


def test_a_folder_below_batches_is_named_with_a_dot(ab, rows):
    ab(*SUBMIT[:-4], "--result-path", "./batches/a", "--wait", "--poll-interval", "1")
    assert ab("show", "./batches/a").out.splitlines()[0].endswith("/batches/a: landed")
