"""Which rows of a landed batch may be sent again. Pure."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_batch.batch.decide.common_mistake import common_mistake
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.ledger.documents import Landed
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.rows.dialect import LandedRow, RowStatus, may_pass


def is_undone(row: LandedRow, state: JobState) -> bool:
    """The row is left over because the job as a whole ended badly.

    A job that is cancelled while it runs may end as SUCCEEDED, with CANCELLED rows (seen by others). The API does
    not tell who cancelled it.
    """
    if row.status in (RowStatus.CANCELLED, RowStatus.EXPIRED):
        return True
    return state is JobState.FAILED and row.status is RowStatus.ERROR


def is_passing(row: LandedRow, state: JobState) -> bool:
    """The row failed by itself, for a reason that may pass."""
    if is_undone(row, state):
        return False
    if row.status is RowStatus.ERROR:
        return row.error is not None and may_pass(row.error.code)
    return row.status in (RowStatus.MISSING, RowStatus.INVALID_OUTPUT)


def left_over(batch: BatchState, policy: Policy, *, is_new_try: bool, with_mistaken: bool | None = None) -> int:
    """How many rows of a landed batch may be sent again now.

    :param with_mistaken: Also those that share one mistake. None = if this is a new try.
    """
    if batch.attempts >= policy.max_row_attempts:
        return 0
    return _left_over(batch, is_new_try=is_new_try, with_mistaken=with_mistaken)


def left_for_calls(batch: BatchState) -> int:
    """How many rows of a landed batch have no usable answer, and may get one from a single call."""
    return _left_over(batch, is_new_try=True, with_mistaken=False)


def _left_over(batch: BatchState, *, is_new_try: bool, with_mistaken: bool | None) -> int:
    landed = [shard.landed for shard in batch.latest if shard.landed]
    passing = sum(one.passing for one in landed)
    if passing and not (is_new_try if with_mistaken is None else with_mistaken) and common_mistake(batch):
        passing -= sum(one.counts.get(RowStatus.INVALID_OUTPUT, 0) for one in landed)
    undone = sum(one.undone for one in landed if is_new_try or goes_on(one))
    return passing + undone


def goes_on(landed: Landed) -> bool:
    """The job may do better next time. A job that was cancelled on purpose is not begun again."""
    failed_in_passing = landed.state is JobState.FAILED and may_pass(landed.error_code)
    return landed.state is JobState.EXPIRED or failed_in_passing


def those_again(
    batch: BatchState, *, is_new_try: bool, with_mistaken: bool | None = None
) -> Callable[[LandedRow, Landed], bool]:
    """What says of a landed row whether it is among those of :func:`left_over`."""
    takes_mistaken = is_new_try if with_mistaken is None else with_mistaken
    is_mistaken = not takes_mistaken and common_mistake(batch) is not None

    def goes_again(row: LandedRow, landed: Landed) -> bool:
        if is_undone(row, landed.state):
            return is_new_try or goes_on(landed)
        is_mistake = is_mistaken and row.status is RowStatus.INVALID_OUTPUT
        return not is_mistake and is_passing(row, landed.state)

    return goes_again
