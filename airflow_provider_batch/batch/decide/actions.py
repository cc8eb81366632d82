"""What can be done next with a batch: values that say so, and do nothing."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_batch.batch.ledger.documents import RoundKind
from airflow_provider_batch.batch.ledger.state import Shard
from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.errors import BatchError


@dataclass(frozen=True)
class AskTime:
    """Make a call that costs nothing, for the time of its answer."""


@dataclass(frozen=True)
class LookAtJobs:
    """Ask for these jobs."""

    jobs: tuple[str, ...]


@dataclass(frozen=True)
class List:
    """Read the complete listing."""


@dataclass(frozen=True)
class Adopt:
    """The job of a create call whose outcome was unknown showed up."""

    shard: Shard
    job: JobSnapshot


@dataclass(frozen=True)
class Revoke:
    """Delete the input of a create call whose outcome is unknown."""

    shard: Shard


@dataclass(frozen=True)
class NoteScan:
    """Note that a complete listing does not show the job."""

    shard: Shard
    number: int


@dataclass(frozen=True)
class Presume:
    """There is no job."""

    shard: Shard


@dataclass(frozen=True)
class Send:
    """Upload if need be, and send one create call."""

    shard: Shard


@dataclass(frozen=True)
class CannotSend:
    """Whether a job for these rows exists cannot be told now, so none may be made."""

    shard: Shard
    error: BatchError


@dataclass(frozen=True)
class Extend:
    """Note that the jobs have new time."""

    number: int


@dataclass(frozen=True)
class Land:
    """Fetch the results of an ended job. Of none if the shard was never sent."""

    shard: Shard
    job: JobSnapshot | None


@dataclass(frozen=True)
class Judge:
    """Say by the trial what the batch will come to, and whether it may be sent."""


@dataclass(frozen=True)
class Call:
    """Have the rows of a shard answered by single calls."""

    shard: Shard


@dataclass(frozen=True)
class LandCalls:
    """Put together what single calls for a shard brought.

    :param why: Of rows that are left.
    """

    shard: Shard
    why: str


@dataclass(frozen=True)
class CancelRound:
    """The deadline: ask the jobs to end, send nothing more. Asked again at each visit, as a call can get lost."""

    jobs: tuple[str, ...]


@dataclass(frozen=True)
class BeginRound:
    """Have rows answered that are left over.

    :param kind: By jobs, or by single calls.
    :param is_new_start: A new try wants it, so rows of cancelled jobs are among them and the clock starts anew.
    """

    is_new_start: bool
    kind: RoundKind = RoundKind.BATCH


@dataclass(frozen=True)
class Publish:
    """Put the results of all rounds together."""


@dataclass(frozen=True)
class Wait:
    """Nothing to do before a job has changed, a name shows in the listing, or a time has come.

    :param jobs: Names of jobs.
    :param names: Beginnings of display names to look for in listings.
    :param until: Unix time at which something is due in any case. None = only the jobs matter.
    :param deadline: Unix time at which the user's patience ends.
    """

    jobs: tuple[str, ...]
    names: tuple[str, ...]
    until: float | None
    deadline: float


@dataclass(frozen=True)
class Tidy:
    """Delete what is not needed after the publication."""


@dataclass(frozen=True)
class Done:
    """The results are in the folder."""


@dataclass(frozen=True)
class Submitted:
    """Everything was sent. Another task or program waits."""


@dataclass(frozen=True)
class TimedOut:
    """The deadline passed and the jobs are left alone."""

    jobs: tuple[str, ...]


@dataclass(frozen=True)
class ResultsOverdue:
    """The deadline passed, and the results of a job that ended cannot be had."""

    error: BatchError


@dataclass(frozen=True)
class UnknownState:
    """A job says that it is done, in a word that is not known here."""

    job: JobSnapshot


@dataclass(frozen=True)
class Ambiguous:
    """A job is presumed absent and the user wants to decide."""

    shard: Shard


Action = (
    AskTime
    | LookAtJobs
    | List
    | Adopt
    | Revoke
    | NoteScan
    | Presume
    | Send
    | CannotSend
    | Extend
    | Land
    | Judge
    | Call
    | LandCalls
    | CancelRound
    | BeginRound
    | Publish
    | Wait
    | Tidy
    | Done
    | Submitted
    | TimedOut
    | ResultsOverdue
    | UnknownState
    | Ambiguous
)
