"""What the user wants of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.batch.decide.evidence import LostCallPatience
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S

AtTimeout = Literal["fail", "cancel", "answer"]


@dataclass(frozen=True)
class Policy:
    """What the user wants.

    :param timeout_s: Seconds from the submission.
    :param max_row_attempts: How often a row is sent at most, over all tries.
    :param at_timeout: What becomes of the jobs at the deadline: they run on (``fail``), or they are ended and what
        finished is landed (``cancel``), and the rows that are left are answered by single calls (``answer``).
    :param ready_by: Unix time by which all rows are to be answered. Single calls begin early enough before it.
    :param resubmit_ambiguous: Send again when a job is presumed absent. Else fail.
    :param max_tokens_in_flight: Of all shards together, None = no limit of our own.
    :param affords: Rows of a batch, so many, may be sent again for the money that the user allows.
    :param is_new_try: The task was started, not resumed: an ended batch with rows left over goes on.
    :param is_cleared: By a person, who may want jobs to go on after the deadline.
    :param job_life_s: The vendor ends a job itself so many seconds after its submission.
    :param may_send: Send create calls at all. False for those who only take what is there.
    :param may_call: Make single calls at all.
    :param tries: Rows of a trial are called, and judged. Without it, the batch goes on as if they were rows like
        any other.
    :param rules: How rows are called, for the reckoning of how long that takes.
    :param submit_only: Stop when everything is submitted.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    max_row_attempts: int = 3
    at_timeout: AtTimeout = "fail"
    ready_by: float | None = None
    resubmit_ambiguous: bool = True
    max_tokens_in_flight: int | None = None
    affords: Callable[[BatchState, int], bool] = lambda batch, rows: True
    is_new_try: bool = True
    is_cleared: bool = False
    job_life_s: float = math.inf
    may_send: bool = True
    may_call: bool = False
    tries: bool = False
    rules: CallRules = field(default_factory=CallRules)
    submit_only: bool = False
    patience: LostCallPatience = field(default_factory=LostCallPatience)

    @property
    def rescues(self) -> bool:
        """Rows that jobs do not answer in time are answered by single calls."""
        return self.may_call and (self.at_timeout == "answer" or self.ready_by is not None)

    @property
    def ends_jobs(self) -> bool:
        """Jobs that are late are asked to end."""
        return self.rescues or self.at_timeout == "cancel"
