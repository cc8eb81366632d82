"""Ends the jobs of a batch because a person pressed a button."""

from __future__ import annotations

from airflow_provider_batch.engine.ledger import note_cancel
from airflow_provider_batch.ui.detail import forget, ledger_of
from airflow_provider_batch.ui.views import Row


def cancel(row: Row, who: str) -> list[str]:
    """Ask the jobs of a batch to end and note it, so that nothing more of it is sent; the jobs' names.

    :param who: For the note.
    :raises BatchError: The ledger cannot be read or the API refused. Jobs that were asked before that will end.
    """
    from airflow_provider_batch.ui.server_hook import ServerHook

    ledger, batch = ledger_of(row)
    jobs = [shard.job for shard in batch.round.shards if shard.job and not shard.landed]
    if batch.round.published is None:
        with ServerHook(row.conn_id).service() as service:
            for job in jobs:
                service.cancel(job)
        note_cancel(ledger, f"r{batch.round.number}.cancel.json", f"cancelled in Airflow's UI by {who}", by=who)
    forget(row)
    return jobs
