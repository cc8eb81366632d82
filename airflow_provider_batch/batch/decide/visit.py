"""What a visit to a batch has seen so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_batch.contract import FindOutcome, JobSnapshot
from airflow_provider_batch.errors import BatchError


@dataclass
class Visit:
    """What was seen since the task was started or resumed.

    :param jobs: Looks by job name. None where the look failed for a reason that may pass.
    :param found: The jobs of the task instance, None if they were not listed yet.
    :param not_ready: Jobs that have ended and whose results cannot be had yet, and why.
    :param not_sent: Shards that cannot be sent now, for a reason that may pass, and why.
    :param not_revoked: Shards whose input could not be deleted now.
    :param doubted: Jobs whose results were fetched in this visit and not believed.
    :param asked: Jobs that were asked to end.
    :param paused: Shards that cannot be called for now, and the Unix time at which they may be.
    :param is_judged: The trial says that the batch may be sent.
    :param is_tidied: This visit did all it can to delete what is not needed.
    :param is_timed: An answer of this visit has said what time it is.
    :param time_is_asked: A call was made for that.
    """

    jobs: dict[str, JobSnapshot | None] = field(default_factory=dict)
    found: FindOutcome | None = None
    not_ready: dict[str, BatchError] = field(default_factory=dict)
    not_sent: dict[str, BatchError] = field(default_factory=dict)
    not_revoked: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    paused: dict[str, float] = field(default_factory=dict)
    is_judged: bool = False
    is_tidied: bool = False
    is_timed: bool = False
    time_is_asked: bool = False
