"""What the user wants of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_batch.batch.decide.evidence import LostCallPatience
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S


@dataclass(frozen=True)
class Policy:
    """What the user wants.

    :param timeout_s: Seconds from the submission.
    :param max_row_attempts: How often a row is sent at most, over all tries.
    :param cancel_on_timeout: At the deadline, end the jobs and land what finished. Else leave them alone.
    :param resubmit_ambiguous: Send again when a job is presumed absent. Else fail.
    :param max_tokens_in_flight: Of all shards together, None = no limit of our own.
    :param affords: Rows of a batch, so many, may be sent again for the money that the user allows.
    :param is_new_try: The task was started, not resumed: an ended batch with rows left over goes on.
    :param is_cleared: By a person, who may want jobs to go on after the deadline.
    :param job_life_s: The vendor ends a job itself so many seconds after its submission.
    :param may_send: Send create calls at all. False for those who only take what is there.
    :param submit_only: Stop when everything is submitted.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    max_row_attempts: int = 3
    cancel_on_timeout: bool = False
    resubmit_ambiguous: bool = True
    max_tokens_in_flight: int | None = None
    affords: Callable[[BatchState, int], bool] = lambda batch, rows: True
    is_new_try: bool = True
    is_cleared: bool = False
    job_life_s: float = math.inf
    may_send: bool = True
    submit_only: bool = False
    patience: LostCallPatience = field(default_factory=LostCallPatience)
