"""A task goes on with what was sent, or begins; never with a folder, rows or a key that are not its own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.run import Run
from airflow_provider_batch.batch.work import Work
from airflow_provider_batch.errors import BatchError, ConfigError, InputError, LedgerError, SupersededError
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.rows.manifest import Manifest
from faults.task import ask
from tests.batch.conftest import documents, statuses

OTHERS = [Identity("dag", "label", "run", 1), Identity("dag", "other", "run"), Identity("other", "label", "run")]


def test_the_plan_says_to_a_person_whose_it_is_and_what_was_sent(task):
    task.attempt()
    plan = json.loads(task.ledger.path("plan.json").read_text())
    assert plan["identity"] == {
        "dag_id": "dag",
        "task_id": "label",
        "run_id": "run",
        "map_index": -1,
        "deployment": "",
    }
    assert (plan["ledger_version"], plan["account"], plan["model"], plan["rows"]) == (1, "account", task.model, 3)


@pytest.mark.parametrize("other", [*OTHERS, Identity("dag", "label", "tuesday")])
def test_nobody_else_may_have_a_folder_that_awaits_results(task, created, other):
    task.attempt()
    with pytest.raises(ConfigError, match=r"AGB-C15 .* awaits the results of .*dag.label of run run"):
        task.but(identity=other).attempt()
    assert len(created()) == 1
    assert task.finish().counts == {"success": 3}


@pytest.mark.parametrize("other", OTHERS)
def test_another_task_may_not_replace_results_that_have_landed(task, other):
    task.finish()
    with pytest.raises(ConfigError, match=r"AGB-C15 .* holds the results"):
        task.but(identity=other).attempt()


def test_a_later_run_of_the_same_task_may(task):
    task.finish()
    tuesday = task.but(identity=Identity("dag", "label", "tuesday"), rows=[ask("d")])
    assert tuesday.finish().counts == {"success": 1}
    assert statuses(tuesday) == {"d": "success"}


def test_a_batch_that_was_refused_for_good_does_not_hold_the_folder(task, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=403)
    with pytest.raises(BatchError, match="AGB-S02"):
        task.attempt()
    assert task.but(identity=OTHERS[0]).finish().counts == {"success": 3}


def test_other_rows_are_refused_by_name_and_nothing_is_touched(task, created, cancelled):
    task.attempt()
    with pytest.raises(ConfigError, match=rf"AGB-S05 {task.jobs[0]} was submitted for this task with other rows"):
        task.but(rows=[ask("z")]).attempt()
    assert (len(created()), cancelled()) == (1, [])


def test_another_model_is_another_content(task):
    task.attempt()
    with pytest.raises(ConfigError, match="AGB-S05"):
        task.but(model="gemini-2.5-pro").attempt()


def test_rows_that_changed_before_anything_was_sent_are_simply_taken(task, gemini_emulator):
    gemini_emulator.add_fault(call="files.upload.start", action="status", status=403)
    with pytest.raises(BatchError, match="403"):
        task.attempt()
    changed = task.but(rows=[ask("z")])
    assert changed.finish().counts == {"success": 1}


def test_the_old_rows_are_gone_on_with_if_the_user_wants_it(task, created):
    task.attempt()
    assert task.but(rows=[ask("z")], on_content_change="adopt").finish().counts == {"success": 3}
    assert len(created()) == 1


def test_the_new_rows_are_paid_for_if_the_user_wants_it_and_the_old_job_is_asked_to_end(
    task, created, cancelled, gemini_emulator
):
    gemini_emulator.add_fault(action="job", state="STUCK")
    task.attempt()
    changed = task.but(rows=[ask("z")], on_content_change="cancel_and_resubmit")
    assert changed.finish().counts == {"success": 1}
    assert (len(created()), cancelled()) == (2, [task.jobs[0]])
    assert statuses(changed) == {"z": "success"}


def test_rows_that_are_gone_are_no_reason_to_lose_what_was_paid_for(task, tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in task.rows))
    from upath import UPath

    from_file = task.but(rows=UPath(source))
    from_file.attempt()
    source.unlink()
    assert from_file.finish().counts == {"success": 3}


def test_rows_that_never_were_are_an_error(task, tmp_path):
    from upath import UPath

    with pytest.raises(InputError, match="does not exist"):
        task.but(rows=UPath(tmp_path / "nowhere.jsonl")).attempt()


def test_another_credential_is_refused_while_jobs_of_the_old_one_matter(task, created):
    task.attempt()
    with pytest.raises(
        ConfigError, match=r"AGB-S06 .*another credential \(account\) than .*\(rotated\)"
    ) as caught:
        task.but(account="rotated").attempt()
    assert "set the extra \"account\" of the connection to 'account'" in caught.value.remedy
    assert len(created()) == 1


def test_another_result_path_is_refused_while_the_job_exists(task, created):
    task.attempt()
    with pytest.raises(
        ConfigError, match=rf"AGB-C08 {task.jobs[0]} exists for this task with another result_path"
    ):
        task.but(folder=task.folder / "elsewhere").attempt()
    assert len(created()) == 1


def test_the_same_run_in_another_deployment_is_another_task(task, created):
    task.attempt()
    staging = task.but(
        identity=Identity("dag", "label", "run", deployment="staging"), folder=task.folder / "staging"
    )
    assert staging.finish().counts == {"success": 3}
    assert len(created()) == 2


def test_a_lost_ledger_is_written_again_from_the_listing(task, created):
    task.attempt()
    ledger = task.ledger
    for name in ledger.names():
        ledger.path(name).unlink()
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


def test_a_listing_that_breaks_off_before_anything_is_known_sends_nothing(task, created, gemini_emulator):
    gemini_emulator.add_fault(call="batches.list", action="status", status=500, times=None)
    with pytest.raises(BatchError, match="AGB-S04 Whether a job for this task exists already cannot be told"):
        task.attempt()
    assert created() == []


def test_a_damaged_plan_stops_everything(task, created):
    assert isinstance(task.attempt(), Wait)
    task.ledger.path("plan.json").write_text("{")
    with pytest.raises(LedgerError, match="AGB-L02"):
        task.attempt()
    assert len(created()) == 1


def test_the_ledger_tells_the_story_of_a_plain_batch(task):
    task.finish()
    assert documents(task) == [
        "plan.json",
        "r1.published.json",
        "r1.s1.e1.outcome.json",
        "r1.s1.e1.sending.json",
        "r1.s1.f1.file.json",
        "r1.s1.f1.session.json",
        "r1.s1.landed.json",
        "r1.tidied.json",
    ]


def test_a_self_test_that_was_killed_leaves_nothing_that_is_taken_for_a_ledger(task):
    (task.folder / "_ledger").mkdir(parents=True, exist_ok=True)
    (task.folder / "_ledger" / "selftest-0123456789abcdef").write_text("first")
    assert task.finish().counts == {"success": 3}


def test_a_refused_batch_looks_again_whose_the_folder_is_before_it_sends(task, gemini_emulator, created):
    gemini_emulator.add_fault(call="batches.create", action="status", status=403)
    with pytest.raises(BatchError, match="AGB-S02"):
        task.attempt()
    manifest = task.but(identity=OTHERS[0]).finish()
    with pytest.raises(ConfigError, match=r"AGB-C15 .* holds the results of another task instance"):
        task.attempt()
    assert len(created()) == 1
    assert Manifest.read(task.folder) == manifest


def test_a_run_that_is_cleared_sends_nothing_into_the_folder_that_a_later_run_awaits(
    task, gemini_emulator, created
):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    monday = task.but(max_row_attempts=1)
    monday.finish()
    gemini_emulator.add_fault(action="job", state="STUCK")
    task.but(identity=Identity("dag", "label", "tuesday"), rows=[ask("d")]).attempt()
    with pytest.raises(ConfigError, match=r"AGB-C15 .* awaits the results of .* of run tuesday"):
        monday.but(max_row_attempts=3).attempt()
    assert len(created()) == 2


def test_a_worker_whose_rows_were_superseded_neither_sends_nor_publishes(task, created, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    task.attempt()
    old = task.ledger
    new = task.but(rows=[ask("z")], on_content_change="cancel_and_resubmit")
    new.finish()
    with task.service() as service, pytest.raises(SupersededError, match="AGB-S07"):
        Run(Work(service, old, task.folder, GeminiRows(), replace(task.policy, is_new_try=False))).go()
    assert statuses(new) == {"z": "success"}


def test_of_two_tries_with_different_rows_at_the_same_moment_one_sends(task, created, gemini_emulator):
    """The first is uploading while the second finds a plan of which nothing was sent."""
    other = task.but(rows=[ask("z")])

    class Slow:
        def __init__(self, service):
            self.service = service

        def __getattr__(self, name):
            return getattr(self.service, name)

        def stage(self, *arguments):
            other.attempt()
            return self.service.stage(*arguments)

    with pytest.raises(SupersededError, match="AGB-S07"):
        task.but(wrap=Slow).attempt()
    assert len(created()) == 1
    assert other.finish().counts == {"success": 1}


def test_an_old_job_whose_cancellation_failed_is_asked_to_end_before_the_new_rows_are_sent(
    task, created, cancelled, gemini_emulator
):
    gemini_emulator.add_fault(action="job", state="STUCK")
    task.attempt()
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=500, times=4)
    changed = task.but(rows=[ask("z")], on_content_change="cancel_and_resubmit")
    with pytest.raises(BatchError, match="500"):
        changed.attempt()
    assert len(created()) == 1
    changed.finish()
    assert (len(created()), cancelled()) == (2, [task.jobs[0]])


def test_the_input_of_a_create_call_that_may_still_arrive_is_taken_away(task, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="drop")
    task.attempt()
    task.but(rows=[ask("z")], on_content_change="cancel_and_resubmit").attempt()
    assert [call["call"] for call in gemini_emulator.journal() if "delete" in call["call"]] == ["files.delete"]


def test_jobs_that_were_taken_over_are_not_the_jobs_of_other_rows(task, created):
    """A try took over the job of a lost ledger and was gone before it had a plan."""
    task = task.but(layout=Layout(keeps_remote_files=True))
    for kept in ("nothing", ".e1."):
        task.finish()
        (task.folder / "manifest.json").unlink()
        remove(task, lambda name, kept=kept: kept not in name)
    with pytest.raises(LedgerError, match=r"AGB-L02 .*r1.s1.e1.sending.json is of other rows"):
        task.but(rows=[ask(key) for key in "cba"]).finish()
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


def remove(task, which):
    ledger = task.ledger
    for name in ledger.names():
        if which(name):
            ledger.path(name).unlink()


def test_a_layout_that_changed_is_said_to_wait_for_the_next_run(task, caplog):
    task.finish()
    task.but(layout=Layout(in_input_order=True)).finish()
    assert "stay as they were when this batch was submitted" in caplog.text


def test_a_run_whose_results_a_later_one_has_replaced_is_not_paid_for_again_unasked(task, created):
    task.finish()
    task.but(identity=Identity("dag", "label", "tuesday"), rows=[ask("d")]).finish()
    with pytest.raises(ConfigError, match=r"AGB-S09 .* a later run has replaced the results"):
        task.attempt()
    assert len(created()) == 2
    assert task.but(on_content_change="cancel_and_resubmit").finish().counts == {"success": 3}
