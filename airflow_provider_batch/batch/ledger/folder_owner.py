"""Whose a result folder is: one task instance's at a time, as two would replace each other's paid results.

A plan in the folder is the claim. Its results, once landed, may be replaced by another run of the same task.
"""

from __future__ import annotations

from upath import UPath

from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.state import BatchState, read_batch
from airflow_provider_batch.batch.ledger.store import FOLDER, Ledger, generations, is_retired, retire, task_digests
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.manifest import FILE_NAME, Manifest


def ensure_free(folder: UPath, identity: Identity) -> None:
    """Make sure that no other task instance owns the folder.

    :raises ConfigError: One does.
    """
    landed = Manifest.read(folder)
    for task_digest in task_digests(folder):
        if task_digest == identity.task_digest or not (known := generations(folder, task_digest)):
            continue
        batch = read_batch(known[-1])
        if batch.is_refused or batch.superseded:
            continue
        is_landed = batch.round.published is not None
        if is_landed and (landed is None or landed.task_mark != task_digest):
            continue
        if not (is_landed and batch.plan.identity.is_other_run_of(identity)):
            raise taken(folder, batch)


def ensure_not_replaced(folder: UPath, identity: Identity) -> None:
    """Make sure that the task instance has not had results here that a later run has replaced.

    :raises ConfigError: It has, and beginning again would pay for all of its rows again.
    """
    if is_retired(folder, identity.task_digest):
        raise ConfigError(
            f"The rows of {identity} were paid for, and a later run has replaced the results in {folder}.",
            code="AGB-S09",
            remedy="Nothing was sent. To keep results, give each run its own result_path. To pay again and "
            'replace what is there now, set on_content_change="cancel_and_resubmit".',
        )


def ensure_replaceable(folder: UPath, task_digest: str, successor: Identity) -> None:
    """Make sure that the batch that has published in the folder is done with it, and may be replaced.

    :param task_digest: Of the task instance whose results are there.
    :raises ConfigError: It is not, or may not.
    """
    known = generations(folder, task_digest)
    batch = read_batch(known[-1]) if known else None
    if batch and not (batch.round.published and batch.plan.identity.is_other_run_of(successor)):
        raise taken(folder, batch)


def taken(folder: UPath, batch: BatchState) -> ConfigError:
    """The error that names the owner."""
    identity = batch.plan.identity
    return ConfigError(
        f"{folder} {'holds' if batch.round.published else 'awaits'} the results of another task instance, "
        f"{identity}.",
        code="AGB-C15",
        remedy="Nothing was uploaded. Give each task instance a result_path of its own, for each "
        "run and map index another. If those results are not wanted, delete "
        f"{folder / FOLDER / identity.task_digest}.",
    )


def retire_previous(ledger: Ledger, batch: BatchState, folder: UPath) -> None:
    """Take back the manifest of other results, which are about to be replaced, and the ledger that speaks of them.

    :raises ConfigError: That ledger is of a task instance that is not done with the folder.
    """
    landed = Manifest.read(folder)
    if landed is None or landed.ledger_uri == str(ledger.folder):
        return
    if landed.task_mark not in ("", batch.plan.identity.task_digest):
        _retire(folder, landed.task_mark, batch.plan.identity)
    (folder / FILE_NAME).unlink(missing_ok=True)


def _retire(folder: UPath, task_digest: str, successor: Identity) -> None:
    ensure_replaceable(folder, task_digest, successor)
    jobs = [
        shard.landed.job
        for one in generations(folder, task_digest)
        for shard in read_batch(one).shards
        if shard.landed and shard.landed.job
    ]
    retire(folder, task_digest, jobs)
