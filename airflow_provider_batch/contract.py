"""What a batch vendor must offer, and the frozen values that cross the line between it and the rest.

The rest knows jobs only through these values, so it can be tested without HTTP and serves any vendor.
Outcomes that matter are types of their own and are matched exhaustively: *unknown* is never *no*, and
*cannot tell* is never *absent*. Confusing either pair is how people pay twice.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import BinaryIO, Protocol

from airflow_provider_batch.errors import BatchError

DEFAULT_INLINE_BYTES = 64 * 1024
"""Of a media file that is put into its row: a thumbnail. Larger ones would make rows far larger than texts."""

DEFAULT_TIMEOUT_S = 86_400.0
"""How long a user waits for a batch, seconds, unless they say: 24 h, the Gemini API's own target."""

MAX_TIMEOUT_S = 14 * 86_400.0
"""The longest that a user may wait, seconds: room for rounds and for a full queue."""

RESULTS_PATIENCE_S = 600.0
"""How long the results may come after the end of a job, seconds."""


NEVER = datetime.max.replace(tzinfo=timezone.utc)
"""The time of deletion of a file that is kept for ever."""


class JobState(str, enum.Enum):
    """Where a job stands. ``UNKNOWN`` is a state word that this version does not know. It is not terminal."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def is_terminal(self) -> bool:
        """True if the job will not change any more."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})


@dataclass(frozen=True)
class JobSnapshot:
    """One look at a job.

    :param name: The vendor's name of the job, such as ``batches/abc``.
    :param state: Neutral state.
    :param raw_state: The vendor's own word, for messages.
    :param done: The vendor says that nothing will change any more, even if the state word says otherwise.
    :param display_name: The name that we gave it at submission.
    :param created_at: Server time of the submission, None if not reported.
    :param ended_at: Server time of the end, None if not reported.
    :param requests: Rows in the job. ``succeeded`` and ``failed`` of them are finished, if reported.
    :param error: The vendor's reason for a failed or cancelled job, empty if none.
    :param error_code: google.rpc code of that reason, 0 if none.
    :param input_file: The vendor's name of the uploaded input, None if unknown.
    :param output_file: The vendor's name of the result file, None if there is none (yet).
    """

    name: str
    state: JobState
    raw_state: str
    done: bool = False
    display_name: str = ""
    created_at: datetime | None = None
    ended_at: datetime | None = None
    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    error: str = ""
    error_code: int = 0
    input_file: str | None = None
    output_file: str | None = None

    @property
    def ended_or_created_at(self) -> datetime | None:
        """When a job that has ended did so. Its submission if it does not say, None if neither is known."""
        return self.ended_at or self.created_at

    def may_still_name_results(self, now: float) -> bool:
        """Rows of it were finished, and so paid for, and it ended not long ago.

        :param now: Unix time by the vendor's clock.
        """
        is_fresh = self.ended_at is not None and now <= self.ended_at.timestamp() + RESULTS_PATIENCE_S
        return is_fresh and self.succeeded + self.failed > 0


@dataclass(frozen=True)
class UnreadableJob:
    """An entry of a listing that cannot be understood, which may be the job of another program.

    :param display_name: None if not even that can be read.
    """

    display_name: str | None
    error: BatchError


@dataclass(frozen=True)
class Accepted:
    """The job exists."""

    job: JobSnapshot


@dataclass(frozen=True)
class Refused:
    """A definite no: no job exists, nothing is billed."""

    error: BatchError


@dataclass(frozen=True)
class Unknown:
    """The request may have arrived. Only a complete look at the remote jobs can tell."""

    error: BatchError


SubmitOutcome = Accepted | Refused | Unknown


@dataclass(frozen=True)
class Found:
    """Jobs under the wanted name, newest first. Never empty."""

    jobs: tuple[JobSnapshot, ...]


@dataclass(frozen=True)
class Absent:
    """A complete listing does not hold the job."""


@dataclass(frozen=True)
class CannotTell:
    """The listing could not be read to its end."""

    error: BatchError


FindOutcome = Found | Absent | CannotTell


@dataclass(frozen=True)
class InputFile:
    """Uploaded rows.

    :param name: The vendor's name, such as ``files/abc``.
    :param expires_at: When the vendor deletes it, None if it did not say.
    """

    name: str
    expires_at: datetime | None = None


@dataclass(frozen=True)
class StoredMedia:
    """An uploaded file that rows refer to.

    :param address: What a row says to refer to it.
    """

    name: str
    address: str
    expires_at: datetime | None = None


class UploadSession(Protocol):
    """Where the address of an unfinished upload is kept, so that another worker can finish it. A secret."""

    def load(self) -> str | None:
        """The address of the session that was begun last, None if there is none."""
        ...

    def save(self, address: str) -> None:
        """Keep the address of a session that has just begun."""
        ...


@dataclass(frozen=True)
class ModelFacts:
    """What the vendor says about a model.

    :param output_tokens: The most in one answer. 0 = not said.
    :param embeds: Its answers are vectors.
    :param input_tokens: The most in one request. 0 = not said.
    """

    output_tokens: int = 0
    embeds: bool = False
    input_tokens: int = 0


@dataclass(frozen=True)
class Limits:
    """What a vendor takes at most, and for how long it keeps what it has.

    :param file_bytes: The largest file, of rows or named by rows.
    :param file_life_s: From the upload of a file to its deletion, seconds.
    :param result_life_s: From the end of a job to the deletion of its result file, seconds.
    :param job_life_s: From the submission of a job to the time at which the vendor ends it, seconds.
    :param long_prompt_tokens: Prompt tokens of one row above which some models cost more.
    """

    file_bytes: int
    file_life_s: float
    result_life_s: float
    job_life_s: float
    long_prompt_tokens: int


class BatchService(Protocol):
    """The worker's half of a vendor: synchronous, called in tasks only.

    Every method raises :class:`~airflow_provider_batch.errors.BatchError` where its outcome type has no
    word for what happened.
    """

    @property
    def limits(self) -> Limits:
        """The vendor's own limits. Asking for them is no call."""
        ...

    def now(self) -> float:
        """Unix time, seconds, by the vendor's clock as far as it is known."""
        ...

    def knows_time(self) -> bool:
        """An answer has said what time it is. Before, :meth:`now` is the clock of this machine."""
        ...

    def ask_time(self) -> None:
        """Make a call that costs nothing, for the time of its answer."""
        ...

    def check_model(self, model: str) -> ModelFacts:
        """Raise :class:`ConfigError` if this credential has no model of that name. Costs nothing."""
        ...

    def count_tokens(self, model: str, line: bytes) -> int:
        """Input tokens of a checked row, as the model counts them. Costs nothing."""
        ...

    def file_expiry(self, file: str) -> datetime | None:
        """When an uploaded file is deleted, :data:`NEVER` if not. None if it is not there for this credential."""
        ...

    def stage(self, rows: BinaryIO, size_bytes: int, display_name: str, session: UploadSession) -> InputFile:
        """Upload a file of rows, going on where ``session`` stopped. Costs nothing."""
        ...

    def upload_media(
        self, content: BinaryIO, size_bytes: int, mime_type: str, label: str, until: datetime
    ) -> StoredMedia:
        """Upload a file that rows refer to, unless one of the same label is there and lives until then.

        :param label: The same for the same content. At most 36 small letters, digits and dashes.
        """
        ...

    def unstage(self, file: str) -> bool:
        """Delete a file. Never raises. True if it is certain that the vendor does not have it any more."""
        ...

    def submit(self, model: str, input_file: str, display_name: str) -> SubmitOutcome:
        """Create the paid job with exactly one request on the wire, even if that fails."""
        ...

    def find(self, display_name_prefix: str) -> FindOutcome:
        """Look for jobs whose display name starts so, in a listing read to its end.

        A job that cannot be read is passed over if its display name can be, and starts otherwise.
        """
        ...

    def look(self, job_name: str) -> JobSnapshot:
        """Ask for one job."""
        ...

    def cancel(self, job_name: str) -> None:
        """Ask for the end of a job. Rows that have finished may be billed."""
        ...

    def fetch_results(self, job: JobSnapshot, to: BinaryIO) -> int | None:
        """Write an ended job's result lines to ``to``. Return the number of bytes, None if it names no results.

        :raises ResultsNotReadyError: They are to be waited for. The job succeeded, or rows of it are finished and
            it has not ended longer than :data:`RESULTS_PATIENCE_S` ago.
        """
        ...


class WaitingService(Protocol):
    """The waiting half: asynchronous, and nothing in it costs money."""

    def now(self) -> float:
        """As :meth:`BatchService.now`."""
        ...

    def knows_time(self) -> bool:
        """As :meth:`BatchService.knows_time`."""
        ...

    async def look(self, job_name: str) -> JobSnapshot:
        """Ask for one job."""
        ...

    def pages(self) -> AsyncIterator[Iterable[JobSnapshot | UnreadableJob]]:
        """The listing of all jobs, newest first as far as observed, page by page."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
