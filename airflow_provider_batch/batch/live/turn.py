"""A shard's turn to be called for, in a visit to its batch."""

from __future__ import annotations

import logging

from airflow_provider_batch.batch.decide.actions import LandCalls
from airflow_provider_batch.batch.decide.deadlines import told_time
from airflow_provider_batch.batch.decide.visit import Visit
from airflow_provider_batch.batch.ledger.state import BatchState, Shard
from airflow_provider_batch.batch.live.caller import End
from airflow_provider_batch.batch.live.visit import call_rows, land_called
from airflow_provider_batch.batch.work import Calling, Work
from airflow_provider_batch.errors import ConfigError

log = logging.getLogger(__name__)


def call_for(work: Work, visit: Visit, batch: BatchState, shard: Shard, retry_s: float) -> None:
    """Call for the rows of a shard. They are landed, or their turn comes again.

    :param retry_s: Until the next turn, where nothing says more, seconds.
    """
    called = call_rows(work, calling(work), batch, shard)
    if called.end in (End.PAUSE, End.STOPPED, End.LEASE_LOST):
        until = work.service.now() + retry_s if called.until is None else called.until
        _pause(work, visit, batch, shard, until)
        log.info("Single calls for %s go on at %s: %s.", shard.title, told_time(until), called.why)
        return
    why = "" if called.end is End.ALL_ANSWERED else called.end.value
    land_for(work, visit, batch, LandCalls(shard, why), retry_s)


def land_for(work: Work, visit: Visit, batch: BatchState, action: LandCalls, retry_s: float) -> None:
    """Land what single calls for a shard brought, unless another visit has its lease.

    The worker that has the lease may be dead. Its lease ends by itself.

    :param retry_s: As of :func:`call_for`.
    """
    if land_called(work, batch, action.shard, action.why) is None:
        _pause(work, visit, batch, action.shard, work.service.now() + retry_s)


def calling(work: Work) -> Calling:
    """How single calls are made.

    :raises ConfigError: The task makes none.
    """
    if work.calls is None:
        raise ConfigError(
            "The ledger asks for single calls, and this task makes none.",
            code="AGB-C06",
            remedy="Nothing was sent. Run the task that has begun the batch again.",
        )
    return work.calls


def _pause(work: Work, visit: Visit, batch: BatchState, shard: Shard, until: float) -> None:
    """Leave a shard until a Unix time. Where money is limited, leave the shards beside it, too.

    Another visit may spend on the shard what is left of the money.
    """
    is_limited = work.calls is not None and work.calls.max_usd is not None
    paused = batch.round_of(shard).open_shards if is_limited else (shard,)
    visit.paused |= dict.fromkeys((one.name for one in paused), until)
