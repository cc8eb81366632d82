"""The ledger of a result path, in plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard, read_batch
from airflow_provider_batch.batch.ledger.store import Ledger, generations, task_digests
from airflow_provider_batch.batch.state_words import of_shard
from airflow_provider_batch.cli.targets import NEEDED
from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from upath import UPath


OWNER = "airflow-batch"
"""What stands for the DAG in the identity of a batch that was sent from a command line."""


def newest(folder: UPath) -> tuple[Ledger, BatchState]:
    """The batch that was begun last in a result folder.

    :raises ConfigError: There is none.
    :raises LedgerError: It cannot be read.
    """
    known = [generations(folder, task_digest)[-1:] for task_digest in task_digests(folder)]
    found = [(ledger, read_batch(ledger)) for some in known for ledger in some]
    if not found:
        raise ConfigError(
            f"There is no batch in {folder}: it has no ledger.",
            code="AGB-C08",
            remedy=f"{NEEDED} A display name is neither: airflow-batch list shows which job has it.",
        )
    return max(found, key=lambda pair: pair[1].plan.first.created_at)


def owner_of(batch: BatchState) -> str:
    """Whose batch it is, in words."""
    who = batch.plan.identity
    return "a command line" if who.dag_id == OWNER else str(who)


def shard_view(round_: Round, shard: Shard) -> dict[str, object]:
    """Plain values of one job's part, or of a part that is answered by single calls.

    :param round_: The round of the shard.
    """
    landed = shard.landed
    return {
        "round": shard.round,
        "kind": round_.plan.kind.value,
        "shard": shard.number,
        "rows": shard.plan.rows,
        "job": landed.job if landed else shard.job,
        "state": of_shard(shard, is_live=round_.is_live),
        "counts": {status.value: n for status, n in landed.counts.items()} if landed else {},
        "tokens": landed.tokens.model_dump() if landed else None,
        "error": landed.error if landed else "",
        "calls": {one.tier.value: one.rows for one in landed.calls} if landed else {},
        "lost_calls": landed.lost_calls if landed else 0,
        "called_again": landed.called_again if landed else 0,
    }
