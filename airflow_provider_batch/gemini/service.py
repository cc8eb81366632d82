"""The Gemini API as a :class:`~airflow_provider_batch.contract.BatchService`: wire models to neutral values."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import BinaryIO

import msgspec

from airflow_provider_batch.contract import (
    NEVER,
    Absent,
    Accepted,
    CannotTell,
    FindOutcome,
    Found,
    InputFile,
    JobSnapshot,
    JobState,
    Limits,
    ModelFacts,
    Refused,
    StoredMedia,
    SubmitOutcome,
    Unknown,
    UnreadableJob,
    UploadSession,
)
from airflow_provider_batch.errors import (
    ApiError,
    ApiUnreachableError,
    BatchError,
    ConfigError,
    ModelKindError,
    NotFoundError,
    ProtocolError,
    ResultsNotReadyError,
    SubmitUnknownError,
)
from airflow_provider_batch.gemini.client.answers import UnreadableEntry
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.limits import LIMITS
from airflow_provider_batch.gemini.wire import Batch, File
from airflow_provider_batch.redaction import blanked

log = logging.getLogger(__name__)

_STATES = {
    "UNSPECIFIED": JobState.PENDING,
    "PENDING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "SUCCEEDED": JobState.SUCCEEDED,
    # In the SDK's list of states and not in this API's: rows without a line are landed as missing.
    "PARTIALLY_SUCCEEDED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "EXPIRED": JobState.EXPIRED,
}

INVALID = 400
"""HTTP status of INVALID_ARGUMENT."""

CONFLICT = 409
"""HTTP status of ALREADY_EXISTS."""

MAX_SAME_FILES = 9
"""Uploads of one content that may be there, each too old for the next batch or not usable."""


def snapshot(batch: Batch) -> JobSnapshot:
    """A wire batch as the contract has it."""
    stats, metadata = batch.metadata.batch_stats, batch.metadata
    state = _STATES.get(batch.state, JobState.UNKNOWN)
    # The published document does not promise an end time for jobs that were cancelled or ran out of time.
    changed_last = metadata.update_time if state.is_terminal else None
    return JobSnapshot(
        name=batch.name,
        state=state,
        raw_state=metadata.state or "none",
        done=batch.done,
        display_name=metadata.display_name,
        created_at=metadata.create_time,
        ended_at=metadata.end_time or changed_last,
        requests=stats.request_count,
        succeeded=stats.successful_request_count,
        failed=stats.failed_request_count,
        error=blanked(batch.error.message) if batch.error else "",
        error_code=batch.error.code if batch.error else 0,
        output_file=batch.output.responses_file if batch.output else None,
        input_file=metadata.input_config.file_name if metadata.input_config else None,
    )


def _entry(listed: Batch | UnreadableEntry) -> JobSnapshot | UnreadableJob:
    """The same for an entry of the listing. In proto3 JSON what is absent or null is empty."""
    if isinstance(listed, Batch):
        return snapshot(listed)
    metadata = listed.fields.get("metadata", listed.fields if "state" in listed.fields else None)
    if not isinstance(metadata, dict):
        return UnreadableJob(None, listed.error)
    name = metadata.get("displayName", metadata.get("display_name")) or ""
    return UnreadableJob(name if isinstance(name, str) else None, listed.error)


class GeminiBatchService:
    """The worker's half, over the blocking client.

    :param embeddings: Jobs that are submitted are embeddings jobs.
    """

    def __init__(self, client: GeminiClient, *, embeddings: bool = False) -> None:
        self._client = client
        self._embeddings = embeddings

    @property
    def limits(self) -> Limits:
        """The API's limits."""
        return LIMITS

    def check_model(self, model: str) -> ModelFacts:
        """Ask for the model, so that a wrong name or credential shows before anything is uploaded."""
        try:
            model_info = self._client.get_model(model)
        except NotFoundError as error:
            if error.rpc_status != "NOT_FOUND":
                # Not the API's own answer: a gateway's, which may pass.
                raise
            raise ConfigError(
                f"The API knows no model {model!r} for this credential: {error.detail}",
                code="AGB-C05",
                remedy="Nothing was uploaded. GeminiBatchHook().get_conn().list_models() gives the names.",
            ) from None
        self._ensure_kind(model, model_info.supported_generation_methods)
        return ModelFacts(model_info.output_token_limit, self._embeddings, model_info.input_token_limit)

    def _ensure_kind(self, model: str, methods: tuple[str, ...]) -> None:
        """The API refuses a job of the wrong kind after the upload.

        It does so with a 404 that speaks of the model.
        """
        wanted, other = (
            ("embedContent", "GeminiBatchOperator, or submit without --embeddings")
            if self._embeddings
            else ("generateContent", "GeminiEmbeddingsBatchOperator, or submit with --embeddings")
        )
        if methods and not any(wanted.lower() in method.lower() for method in methods):
            raise ModelKindError(
                f"The model {model!r} does not support {wanted}. It supports {', '.join(methods)}.",
                code="AGB-C05",
                remedy=f"Nothing was uploaded. Use {other}, or take a model of the other kind.",
            )

    def count_tokens(self, model: str, line: bytes) -> int:
        """Input tokens of a checked row. The text of a request for a vector is counted as a content."""
        request = msgspec.json.decode(line)["request"]
        if self._embeddings:
            request = {"contents": [request["content"]]}
        request.pop("model", None)
        return self._client.count_tokens(model, request).total_tokens

    def file_expiry(self, file: str) -> datetime | None:
        """When an uploaded file is deleted. None if it is not there for this credential, or not usable.

        A file for which the API says no time is never deleted. Files that are registered and not uploaded have
        none.
        """
        found = self._file(file)
        if found is None or found.state == "FAILED":
            return None
        return found.expiration_time or NEVER

    def _file(self, name: str) -> File | None:
        try:
            return self._client.get_file(name)
        except ApiError as error:
            if _is_gone(error):
                return None
            raise

    def now(self) -> float:
        """Unix time, seconds, by the API's clock."""
        return self._client.clock.now()

    def knows_time(self) -> bool:
        """An answer of this client's has said what time it is."""
        return self._client.clock.is_set

    def ask_time(self) -> None:
        """List one model, for the time of the answer."""
        next(self._client.list_models(page_size=1), None)

    def stage(self, rows: BinaryIO, size_bytes: int, display_name: str, session: UploadSession) -> InputFile:
        """Upload the rows and wait until they may be used. Returns ``files/...``."""
        file = self._resumed(rows, size_bytes, display_name, session.load())
        if file is None:
            file = self._client.upload_file(rows, size_bytes, display_name, on_session=session.save)
        if file.state == "PROCESSING":
            file = self._client.wait_for_file(file.name)
        return InputFile(file.name, file.expiration_time)

    def _resumed(self, rows: BinaryIO, size_bytes: int, display_name: str, address: str | None) -> File | None:
        """The file of an upload that another try began. None if it cannot be finished. Uploads are free."""
        if address is None:
            return None
        try:
            return self._client.resume_upload(address, rows, size_bytes, display_name)
        except (ApiError, ProtocolError) as error:
            log.info("The upload cannot be resumed and begins anew: %s", error)
            return None

    def upload_media(
        self, content: BinaryIO, size_bytes: int, mime_type: str, label: str, until: datetime
    ) -> StoredMedia:
        """Upload under a name of our own, so that another try finds the file. Wait until it may be used.

        :param label: The same for the same content. At most 36 small letters, digits and dashes.
        :raises ApiError: The API does not take it.
        """
        for number in range(1, MAX_SAME_FILES + 1):
            name = f"files/{label}-{number}"
            file = self._file(name)
            if file is None:
                try:
                    file = self._client.upload_file(content, size_bytes, label, mime_type, name=name)
                except ApiError as error:
                    # The name of a file that has expired may not be free again.
                    if error.http_status == CONFLICT:
                        continue
                    raise
            if file.state == "PROCESSING":
                file = self._client.wait_for_file(file.name)
            if file.state != "FAILED" and (file.expiration_time is None or file.expiration_time >= until):
                return StoredMedia(file.name, file.uri, file.expiration_time)
        raise ProtocolError(
            f"No file of {size_bytes} bytes could be uploaded as {label}: {MAX_SAME_FILES} names are taken.",
            code="AGB-A10",
            remedy="Nothing was sent. Run the task again in an hour, or delete the files of that name.",
        )

    def unstage(self, file: str) -> bool:
        """Delete a file. It expires after 48 h anyway, so a failure is no more than a log line."""
        try:
            self._client.delete_file(file)
        except BatchError as error:
            if isinstance(error, ApiError) and _is_gone(error):
                return True
            # The API refuses to delete result files, whose names are longer than it allows (python-genai #1759).
            known = isinstance(error, ApiError) and error.http_status == INVALID
            log.log(
                logging.DEBUG if known else logging.INFO,
                "%s was not deleted and expires by itself within 48 h: %s",
                file,
                error,
            )
            return False
        return True

    def submit(self, model: str, input_file: str, display_name: str) -> SubmitOutcome:
        """One create call on the wire, and what is known of its outcome."""
        try:
            batch = self._client.create_batch(
                model, display_name, file_name=input_file, embeddings=self._embeddings
            )
            return Accepted(snapshot(batch))
        except SubmitUnknownError as error:
            return Unknown(error)
        except (ApiError, ApiUnreachableError) as error:
            return Refused(error)

    def find(self, display_name_prefix: str) -> FindOutcome:
        """Read the listing to its end. A listing that fails anywhere cannot tell."""
        try:
            matching = tuple(self._matching(display_name_prefix))
        except BatchError as error:
            return CannotTell(error)
        return Found(matching) if matching else Absent()

    def _matching(self, prefix: str) -> Iterator[JobSnapshot]:
        passed_over: list[BatchError] = []
        for job in map(_entry, self._client.list_batch_entries()):
            if isinstance(job, UnreadableJob):
                if job.display_name is None or job.display_name.startswith(prefix):
                    raise job.error
                passed_over.append(job.error)
            elif job.display_name.startswith(prefix):
                yield job
        if passed_over:
            log.info("%d jobs of others cannot be read and are passed over: %s", len(passed_over), passed_over[0])

    def look(self, job_name: str) -> JobSnapshot:
        """The job as it is now."""
        return snapshot(self._client.get_batch(job_name))

    def model_of(self, job_name: str) -> str:
        """The model that a job works with, without ``models/``. Empty if the API does not say."""
        return self._client.get_batch(job_name).metadata.model.removeprefix("models/")

    def cancel(self, job_name: str) -> None:
        """Ask for the cancellation. A job that has ended in the meantime is left as it is."""
        try:
            self._client.cancel_batch(job_name)
        except ApiError as error:
            _pass_if_over(job_name, error)

    def fetch_results(self, job: JobSnapshot, to: BinaryIO) -> int | None:
        """Write the result lines of an ended job. These are a file's bytes, or inline rows in the file's form.

        :raises ResultsNotReadyError: The job names no output (seen by others: ellmer issue 926). It succeeded, or
            rows of it are finished and it has just ended.
        """
        batch = self._client.get_batch(job.name)
        output = batch.output
        may_come = job.state is JobState.SUCCEEDED or snapshot(batch).may_still_name_results(self.now())
        if output is None and may_come:
            raise ResultsNotReadyError(
                f"{job.name} finished, but the API names no output for it.",
                job_name=job.name,
                code="AGB-A05",
                remedy="The job is kept, and nothing is sent again. Clear the task later to fetch the results.",
            )
        if output is None:
            return None
        if output.responses_file:
            return self._client.download_file(output.responses_file, to)
        for row in output.inlined_responses or ():
            metadata = row.get("metadata")
            key = metadata.get("key") if isinstance(metadata, dict) else None
            to.write(msgspec.json.encode({"key": key, **row}) + b"\n")
        return to.tell()


class AsyncGeminiBatchService:
    """The waiting half, over the async client: looking, and nothing that costs money."""

    def __init__(self, client: AsyncGeminiClient) -> None:
        self._client = client

    async def look(self, job_name: str) -> JobSnapshot:
        """The job as it is now."""
        return snapshot(await self._client.get_batch(job_name))

    async def pages(self) -> AsyncIterator[Iterable[JobSnapshot | UnreadableJob]]:
        """The listing of all jobs, page by page."""
        async for page in self._client.list_batch_pages():
            yield map(_entry, page)

    async def cancel(self, job_name: str) -> None:
        """As :meth:`GeminiBatchService.cancel`."""
        try:
            await self._client.cancel_batch(job_name)
        except ApiError as error:
            _pass_if_over(job_name, error)

    def now(self) -> float:
        """Unix time, seconds, by the API's clock."""
        return self._client.clock.now()

    def knows_time(self) -> bool:
        """As :meth:`GeminiBatchService.knows_time`."""
        return self._client.clock.is_set

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _is_gone(error: ApiError) -> bool:
    """The API says that the file does not exist, or not for this credential.

    For that it answers 403 as well. A 403 with a reason (SERVICE_DISABLED, API_KEY_SERVICE_BLOCKED) is about the
    credential or the project. A 403 that is not the API's own error is a proxy's. Neither tells of the file.
    """
    is_plain_refusal = error.rpc_status == "PERMISSION_DENIED" and not error.reason
    return error.rpc_status == "NOT_FOUND" or is_plain_refusal


def _pass_if_over(job_name: str, error: ApiError) -> None:
    """A job that has ended, or is gone, need not be cancelled."""
    if error.rpc_status != "FAILED_PRECONDITION" and not isinstance(error, NotFoundError):
        raise error
    log.info("%s was not cancelled: %s", job_name, error.detail)
