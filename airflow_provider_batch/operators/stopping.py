"""Ends the jobs of a task that was stopped for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_batch.engine.ledger import note_cancel
from airflow_provider_batch.engine.state import read_batch
from airflow_provider_batch.errors import BatchError

if TYPE_CHECKING:
    from airflow_provider_batch.engine.ledger import Ledger
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook


def end_jobs(hook: GeminiBatchHook, ledger: Ledger, why: str, log: Any) -> None:
    """Ask the jobs of a batch to end, all of them, and note it.

    :param why: For the log.
    :raises BatchError: One of them was not asked; it may run on.
    """
    batch = read_batch(ledger)
    asked, errors = [], []
    jobs = [shard.job for shard in batch.round.shards if shard.job and not shard.landed]
    if not jobs:
        return
    try:
        with hook.service() as service:
            for name in jobs:
                log.warning("%s: %s is asked to end.", why, name)
                try:
                    service.cancel(name)
                    asked.append(name)
                except BatchError as error:
                    log.error("%s could not be asked to end and may run on: %s", name, error)
                    errors.append(error)
    finally:
        if asked:
            note_cancel(ledger, f"r{batch.round.number}.cancel.json", "the task was stopped")
    if errors:
        raise errors[0]
