"""What a ledger says: one small JSON document for each thing that happened, never changed afterwards.

Each is written only if there is none of its name. So of two workers at the same moment one decides, and the other
reads what was decided. The names tell the history to a person who looks into the folder.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from airflow_provider_batch.batch.cost.estimate import Estimate, Span
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.rows.dialect import RowStatus
from airflow_provider_batch.rows.manifest import TokenTotals

LEDGER_VERSION = 2
"""Raised when an older version of this package could misread what is written."""

PLAIN_VERSION = 1
"""Of a document without single calls, which older versions read as it is meant."""

TRIAL_ROUND = 0
"""The number of the round of the trial, which comes before the first."""


class Document(BaseModel):
    """Anything in a ledger. Unknown fields are left alone: a newer version may have written them.

    :param batch: ``content`` of the plan that the document belongs to. Empty where it was written without one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    batch: str = ""


class ShardPlan(Document):
    """A part of a round: the rows of one remote job.

    :param file: Name of the file with its rows, beside this document.
    :param content: Digest of these rows and the model, as in the display names of its jobs.
    :param tokens: Rough number of input tokens, for the limit on enqueued tokens.
    :param sha256: Of the file. Empty in plans of earlier versions.
    """

    file: str
    rows: int
    size_bytes: int
    content: str
    tokens: int
    sha256: str = ""


class RoundKind(str, enum.Enum):
    """How the rows of a round are answered."""

    BATCH = "batch"
    """By remote jobs."""
    TRIAL = "trial"
    """By single calls, before the first job is sent."""
    RESCUE = "rescue"
    """By single calls, as the jobs were late."""


class RoundPlan(Document):
    """``r<round>.plan.json`` from the second round on: rows to be sent.

    :param kind: How they are answered.
    :param ends_at: When the single calls of a round end, whatever is left. None for jobs.
    :param clock_from: Where the task's timeout is counted from. A round that was begun by itself shares it with
        the round before. A new try of an ended batch starts anew.
    """

    ledger_version: int = PLAIN_VERSION
    kind: RoundKind = RoundKind.BATCH
    shards: tuple[ShardPlan, ...]
    created_at: datetime
    clock_from: datetime
    ends_at: datetime | None = None


class Layout(Document):
    """How the results are landed, by any visit.

    :param format: ``jsonl`` or ``parquet``.
    :param in_input_order: Rows as in the input. Else as they came. Kept columns want the order, too.
    :param keeps_remote_files: Uploads and results stay on the server until they expire.
    """

    format: Literal["jsonl", "parquet"] = "jsonl"
    in_input_order: bool = False
    keeps_remote_files: bool = False


class BatchPlan(Document):
    """``plan.json``: what is to be done for whom, and the first round of it.

    :param account: Whose credential pays, as a label without a secret.
    :param content: Digest of all rows and the model.
    :param place: Digest of the result path.
    :param rows: How many are sent. Bad rows that were left out (``skipped``) are not among them.
    :param columns_file: Beside this document: the kept columns of the source. It has one object for each row, in
        the order of the first round.
    :param output_schema: JSON Schema that answers are checked against, None = they are not.
    :param is_strict: An answer in a code fence is not of that type.
    :param names_files: Rows name files that are uploaded before the rows are.
    :param text_bytes: UTF-8 bytes of the text of all rows. 0 in plans of earlier versions.
    :param trial: Rows that are tried before the first round, which does not have them. None = none are.
    :param trial_places: Where these rows stand among all rows, from 0.
    :param estimate: What it was to cost, before it was sent.
    :param skipped_file: Beside this document: the rows that were left out, with what is wrong with them.
    """

    ledger_version: int
    identity: Identity
    account: str
    model: str
    content: str
    place: str
    rows: int
    size_bytes: int
    skipped: int = 0
    layout: Layout = Layout()
    columns_file: str | None = None
    columns_sha256: str = ""
    skipped_file: str | None = None
    skipped_sha256: str = ""
    names_files: bool = False
    text_bytes: int = 0
    trial: RoundPlan | None = None
    trial_places: tuple[int, ...] = ()
    first: RoundPlan
    output_schema: dict[str, object] | None = None
    is_strict: bool = False
    estimate: Estimate | None = None


class Session(Document):
    """``<shard>.f<n>.session.json``: an upload that was begun. The address lets its holder write: a secret.

    :param attached: Number of the note with the addresses in the rows, 0 if they name no files.
    """

    address: str
    attached: int = 0


class UploadedMediaFile(Document):
    """An uploaded file that rows refer to.

    :param name: ``files/...``
    :param address: What a row says to refer to it.
    """

    sha256: str
    mime_type: str
    name: str
    address: str
    expires_at: datetime | None = None


class UploadedMedia(Document):
    """``<shard>.a<n>.attached.json``: the files that the rows of a shard name are on the server."""

    number: int
    files: tuple[UploadedMediaFile, ...] = ()

    @property
    def expires_at(self) -> datetime | None:
        """When the first of them is deleted. None if the server said nothing, or there are none."""
        return min((file.expires_at for file in self.files if file.expires_at), default=None)

    def lives_until(self, until: datetime) -> bool:
        """All of them are there until then."""
        return self.expires_at is None or self.expires_at >= until


class Uploaded(Document):
    """``<shard>.f<n>.file.json``: the rows are on the server."""

    name: str
    at: datetime
    expires_at: datetime | None = None


class Sending(Document):
    """``<shard>.e<attempt>.sending.json``: the right to send one create call. Only its writer sends.

    :param owner: Random, tells apart writers at the same moment.
    """

    at: datetime
    owner: str
    display_name: str
    input_file: str
    tokens_in_flight: int = 0


class Refusal(str, enum.Enum):
    """Why there is no job after a create call."""

    QUOTA = "quota"
    """429: the project has enough enqueued. This is normal. The same is tried later."""
    NOT_SENT = "not sent"
    """No byte left this machine, or the sender had to let go before it sent."""
    FINAL = "final"
    """The API will not take it. The task fails. Its next try sends again."""
    ABSENT = "absent"
    """The outcome was unknown. Complete listings over a long time show no job, and the input was deleted."""


class Outcome(Document):
    """``<shard>.e<attempt>.outcome.json``: what came of the create call. Either a job or a refusal.

    :param retry_at: When it may be tried again.
    :param input_deleted: The uploaded file is gone, so the next attempt uploads again.
    """

    at: datetime
    job: str | None = None
    job_created_at: datetime | None = None
    refusal: Refusal | None = None
    reason: str = ""
    retry_at: datetime | None = None
    input_deleted: bool = False


class Revoked(Document):
    """``<shard>.e<attempt>.revoked.json``: the input was deleted, so a create call still on its way must fail."""

    at: datetime


class Scan(Document):
    """``<shard>.e<attempt>.scan<n>.json``: a complete listing after the revocation that does not show the job."""

    at: datetime


class Fault(Document):
    """Rows that ended as ``invalid_output`` for one cause.

    :param cause: In words, without what differs between rows, and without an answer's content.
    :param key: Of the first row with this cause.
    """

    cause: str
    rows: int
    key: str


NOT_ENDED = "it was asked to end, and had not ended when its rows were called"
"""The error of a job whose rows are answered by single calls before its end. It may still be billed."""


class CallTotals(Document):
    """Answers of single calls that were served in one tier.

    :param rows: How many were answered.
    :param tokens: Of these, as the API reported them.
    :param long_tokens: The part of ``tokens`` that is of rows with long prompts.
    :param unmetered: Answers without a token count.
    :param assumed: Answers that did not say their tier. It is the one that was asked for.
    """

    tier: Tier
    rows: int = 0
    tokens: TokenTotals = TokenTotals()
    long_tokens: TokenTotals = TokenTotals()
    unmetered: int = 0
    assumed: int = 0


class Landed(Document):
    """``<shard>.landed.json``: the rows of a job are beside this document, each with a status.

    :param job: None if no job was made for the shard.
    :param calls: What single calls for its rows brought, by tier. Empty for a job.
    :param lost_calls: Single calls that may have been billed, and whose answers did not come.
    :param lost_usd: What these may have cost at most, where money was limited. Not in the cost of the batch.
    :param called_again: Answers of single calls to rows that had an answer.
    :param size_bytes: Of the rows beside this document. ``sha256`` is of the same file.
    :param ended_at: When the job ended, None if not known.
    :param long_tokens: The part of ``tokens`` that is of rows with long prompts. Some models charge more for them.
    :param unmetered: Answers without a token count.
    :param empty: Successes with nothing but white space in them.
    :param passing: Rows that failed for a reason that may pass.
    :param faults: The most frequent causes of ``invalid_output``.
    :param undone: Rows left over because the job as a whole failed, expired or was cancelled.
    """

    at: datetime
    job: str | None = None
    state: JobState
    raw_state: str = ""
    error: str = ""
    error_code: int = 0
    counts: dict[RowStatus, int]
    calls: tuple[CallTotals, ...] = ()
    lost_calls: int = 0
    lost_usd: float = 0.0
    called_again: int = 0
    size_bytes: int = 0
    sha256: str = ""
    ended_at: datetime | None = None
    tokens: TokenTotals = TokenTotals()
    long_tokens: TokenTotals = TokenTotals()
    unmetered: int = 0
    empty: int = 0
    passing: int = 0
    undone: int = 0
    faults: tuple[Fault, ...] = ()
    quarantined: int = 0
    quarantine_sha256: str = ""
    input_file: str | None = None
    output_file: str | None = None

    @property
    def may_run_on(self) -> bool:
        """Its job was not waited for to its end. What the job finishes is billed, and not in the cost."""
        return self.error == NOT_ENDED


class TrialForecast(Document):
    """``r0.forecast.json``: what all rows will take, by those of the trial. Ranges of 95 %.

    :param rows_tried: Rows of the trial.
    :param unmetered: Of these, rows without a token count.
    :param input: Tokens. ``output`` leaves thinking out.
    :param usd: In batch mode. None if no price is known.
    """

    at: datetime
    rows_tried: int
    unmetered: int = 0
    input: Span
    output: Span
    thinking: Span
    usd: Span | None = None


class Fetched(Document):
    """``<shard>.fetched<n>.json``: results came that contradict what is known of the job, and were not believed.

    :param size_bytes: Of what came.
    :param lines: In it.
    :param rows: Of these, answers to rows that were sent.
    :param why: What is wrong.
    """

    at: datetime
    size_bytes: int
    lines: int
    rows: int
    why: str


class Cancel(Document):
    """``r<round>.cancel.json``: nothing more is sent in this round and its jobs are asked to end.

    :param by: The person who wished it: then no try goes on by itself.
    """

    at: datetime
    why: str
    by: str | None = None


class Extended(Document):
    """``r<round>.extended<n>.json``: a person cleared the task after its deadline. Its jobs have new time.

    Where there were none yet, their time begins here.
    """

    at: datetime


class Superseded(Document):
    """``superseded.json``: other rows or another model took the place of these, by the user's wish."""

    at: datetime
    by_content: str
