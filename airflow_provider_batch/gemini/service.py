"""The Gemini API as a :class:`~airflow_provider_batch.contract.BatchService`: wire models to neutral values."""

from __future__ import annotations

import logging
import time
from typing import BinaryIO

import msgspec

from airflow_provider_batch.contract import (
    Absent,
    Accepted,
    CannotTell,
    FindOutcome,
    Found,
    JobSnapshot,
    JobState,
    Refused,
    SubmitOutcome,
    Unknown,
)
from airflow_provider_batch.errors import (
    ApiError,
    ApiUnreachableError,
    AuthError,
    BatchError,
    ConfigError,
    JobError,
    NotFoundError,
    SubmitUnknownError,
)
from airflow_provider_batch.gemini.async_client import AsyncGeminiClient
from airflow_provider_batch.gemini.client import GeminiClient
from airflow_provider_batch.gemini.wire import Batch, BatchOutput

log = logging.getLogger(__name__)

_STATES = {
    "UNSPECIFIED": JobState.PENDING,
    "PENDING": JobState.PENDING,
    "RUNNING": JobState.RUNNING,
    "SUCCEEDED": JobState.SUCCEEDED,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "EXPIRED": JobState.EXPIRED,
}

OUTPUT_LOOKS = 7
"""A job has been seen as succeeded before its output was there (ellmer issue 926): look again, about a minute."""

OUTPUT_WAIT_S = 10.0


def snapshot(batch: Batch) -> JobSnapshot:
    """A wire batch as the engine sees it."""
    stats, metadata = batch.metadata.batch_stats, batch.metadata
    return JobSnapshot(
        name=batch.name,
        state=_STATES.get(batch.state, JobState.UNKNOWN),
        raw_state=metadata.state or "none",
        done=batch.done,
        display_name=metadata.display_name,
        created_at=metadata.create_time,
        requests=stats.request_count,
        succeeded=stats.successful_request_count,
        failed=stats.failed_request_count,
        error=batch.error.message if batch.error else "",
        input_file=metadata.input_config.file_name if metadata.input_config else None,
    )


class GeminiBatchService:
    """The worker's half, over the blocking client."""

    def __init__(self, client: GeminiClient) -> None:
        self._client = client

    def check_model(self, model: str) -> None:
        """Ask for the model, so that a wrong name or credential shows before anything is uploaded."""
        try:
            self._client.get_model(model)
        except NotFoundError as error:
            raise ConfigError(
                f"The API knows no model {model!r} for this credential: {error.detail}",
                code="AGB-C05",
                remedy="Nothing was uploaded. GeminiBatchHook().get_conn().list_models() gives the names.",
            ) from None

    def stage(self, rows: BinaryIO, size_bytes: int, display_name: str) -> str:
        """Upload the rows and wait until they may be used; ``files/...``."""
        file = self._client.upload_file(rows, size_bytes, display_name)
        return file.name if file.state != "PROCESSING" else self._client.wait_for_file(file.name).name

    def unstage(self, input_file: str) -> None:
        """Delete an uploaded file. It expires after 48 h anyway, so a failure is no more than a log line."""
        try:
            self._client.delete_file(input_file)
        except (NotFoundError, AuthError):
            return
        except BatchError as error:
            log.info("%s was not deleted and expires by itself within 48 h: %s", input_file, error)

    def submit(self, model: str, input_file: str, display_name: str) -> SubmitOutcome:
        """One create call on the wire, and what is known of its outcome."""
        try:
            return Accepted(snapshot(self._client.create_batch(model, display_name, file_name=input_file)))
        except SubmitUnknownError as error:
            return Unknown(error)
        except (ApiError, ApiUnreachableError) as error:
            return Refused(error)

    def find(self, display_name_prefix: str) -> FindOutcome:
        """Read the listing to its end; a listing that fails anywhere cannot tell."""
        try:
            jobs = map(snapshot, self._client.list_batches())
            matching = tuple(job for job in jobs if job.display_name.startswith(display_name_prefix))
        except BatchError as error:
            return CannotTell(error)
        return Found(matching) if matching else Absent()

    def look(self, job_name: str) -> JobSnapshot:
        """The job as it is now."""
        return snapshot(self._client.get_batch(job_name))

    def fetch_results(self, job_name: str, to: BinaryIO) -> int:
        """Write the result lines of a succeeded job; a file's bytes, or inline rows in the file's form.

        :raises JobError: The job has no output, also after waiting for it a while.
        """
        output = self._await_output(job_name)
        if output.responses_file:
            return self._client.download_file(output.responses_file, to)
        for row in output.inlined_responses or ():
            key = (row.get("metadata") or {}).get("key")
            line = {"key": key, **{k: v for k, v in row.items() if k in ("response", "error")}}
            to.write(msgspec.json.encode(line) + b"\n")
        return to.tell()

    def _await_output(self, job_name: str) -> BatchOutput:
        for look in range(OUTPUT_LOOKS):
            if (output := self._client.get_batch(job_name).output) is not None:
                return output
            if look < OUTPUT_LOOKS - 1:
                time.sleep(OUTPUT_WAIT_S)
        raise JobError(
            f"{job_name} finished, but the API names no output for it.",
            job_name=job_name,
            code="AGB-A05",
            remedy="The job is kept and nothing is sent again. Clear the task later to fetch the results.",
        )


class AsyncGeminiBatchService:
    """The waiting half, over the async client: looking, and nothing that costs money."""

    def __init__(self, client: AsyncGeminiClient) -> None:
        self._client = client

    async def look(self, job_name: str) -> JobSnapshot:
        """The job as it is now."""
        return snapshot(await self._client.get_batch(job_name))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
