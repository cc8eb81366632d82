"""Gemini for ``@task.llm_batch`` and ``LLMBatchOperator`` of apache-airflow-providers-common-ai.

That package finds the class by its entry point group ``airflow.providers.common.ai.batch_adapters``, when a
``model_id`` begins with ``google:``. What it gives, and what only GeminiBatchOperator does: ``docs/common-ai.md``.

Its operator notes that it is about to submit, calls :meth:`GeminiBatchAdapter.submit`, and notes the job. After a
try that noted no job it asks :meth:`GeminiBatchAdapter.find_orphaned_batch`, sends again on None, and fails on an
error.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

from airflow.providers.common.ai.batch.base import (
    BatchAdapter,
    BatchRequest,
    BatchState,
    BatchStatus,
    ExtractedOutput,
    RawResultItem,
    SubmitResult,
)
from airflow.providers.common.ai.batch.output_schema import OutputSpec
from airflow.providers.common.ai.exceptions import LLMBatchLimitExceededError, LLMBatchModelMismatchError

from airflow_provider_batch.adapters.common_ai_rows import output_fields, request_lines, result_items
from airflow_provider_batch.contract import Accepted, CannotTell, Found, JobSnapshot, JobState, Refused
from airflow_provider_batch.errors import SubmitUnknownError
from airflow_provider_batch.gemini.client.auth import DEFAULT_BASE_URL, ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.limits import LIMITS
from airflow_provider_batch.gemini.service import GeminiBatchService

log = logging.getLogger(__name__)

ABSENT_AFTER_S = 12 * 60.0
"""A job that no listing shows is believed to be absent so long after its create call may have arrived.

The reasons are in ``docs/reliability.md``.
"""

UPLOADED_WITHIN_S = 120.0
"""Before that, a missing input file may only be missing from the listing of files."""

CLOCK_SLACK = timedelta(minutes=5)
"""Between the clock of the worker that noted the intent and the API's."""

_LEFT_OVER = ("failed", "expired", "cancelled")
"""Ends of jobs whose finished rows were billed, and whose results may be named a moment later."""

_STATUSES: dict[JobState, BatchStatus] = {
    JobState.SUCCEEDED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}


class GeminiBatchAdapter(BatchAdapter):  # type: ignore[misc, unused-ignore]  # the extra may not be there
    """Batch Mode of the Gemini API behind common-ai's contract.

    :param api_key: The connection's password. Other kinds of credential are not handed over.
    :param base_url: The connection's host, None = the real API.
    :param client: Used in place of one of its own.
    :raises ConfigError: There is no key, or it must not be sent to that host.
    """

    # The prefix that pydantic-ai has for this API, so that @task.llm takes the same model_id.
    name: ClassVar[str] = "google"
    conn_types: ClassVar[frozenset[str]] = frozenset({"gemini", "pydanticai"})
    # The API documents a limit of bytes only.
    max_requests: ClassVar[int] = sys.maxsize
    max_payload_bytes: ClassVar[int] = LIMITS.file_bytes
    allows_per_request_model: ClassVar[bool] = False

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, client: GeminiClient | None = None
    ) -> None:
        if client is None:
            url = base_url or DEFAULT_BASE_URL
            client = GeminiClient(Endpoint(ApiKey(api_key or ""), url if "://" in url else f"https://{url}"))
        super().__init__(client=client)
        self._service = GeminiBatchService(client)

    def validate_requests(
        self, requests: list[BatchRequest], *, model: str, idempotency_key: str, **batch: Any
    ) -> None:
        """Build and check every row, so that what cannot be sent fails before the network is used.

        :raises LLMBatchInputError: A row cannot be sent, or all together are too large.
        """
        self.check_custom_id_length(idempotency_key, len(requests))
        for index, request in enumerate(requests):
            own = self.resolve_request_model(request.get("model"), default_bare_model=model, request_index=index)
            if own != model:
                raise LLMBatchModelMismatchError(
                    f"Request {index} asks for {own!r}, and a Gemini batch has one model, {model!r}. "
                    "Nothing was sent."
                )
        size = 0
        for line in request_lines(requests, model=model, idempotency_key=idempotency_key, **batch):
            size += len(line) + 1
            if size > self.max_payload_bytes:
                raise LLMBatchLimitExceededError(
                    f"The Gemini API takes {self.max_payload_bytes} bytes of rows in one batch, and these "
                    f"{len(requests)} requests are more. Nothing was sent. Split the input with .expand(), or use "
                    "GeminiBatchOperator, which makes several jobs of it."
                )

    def submit(
        self,
        requests: list[BatchRequest],
        *,
        model: str,
        idempotency_key: str,
        input_fingerprint: str,
        **batch: Any,
    ) -> SubmitResult:
        """Upload the rows and send one create call. If its answer is lost, look for the job at once.

        :raises SubmitUnknownError: A job may exist, and no listing shows it yet.
        :raises BatchError: No job exists.
        """
        self._service.check_model(model)
        label = _label(idempotency_key, input_fingerprint)
        with tempfile.TemporaryFile() as rows:
            for line in request_lines(requests, model=model, idempotency_key=idempotency_key, **batch):
                rows.write(line + b"\n")
            size = rows.tell()
            rows.seek(0)
            file = self._client.upload_file(rows, size, label)
        if file.state == "PROCESSING":
            file = self._client.wait_for_file(file.name)
        began = datetime.fromtimestamp(self._service.now(), timezone.utc)
        outcome = self._service.submit(model, file.name, label)
        if isinstance(outcome, Accepted):
            return SubmitResult(outcome.job.name, file.name)
        if isinstance(outcome, Refused):
            # Where no input is, no create call was accepted: the next try need not wait until it can tell.
            self._service.unstage(file.name)
            raise outcome.error
        log.warning("The answer to the create call was lost; looking for the job %s. %s", label, outcome.error)
        found = self._newest(label, began - timedelta(seconds=10))
        if found is None:
            raise _unknown(label, f"its answer was lost and no listing shows it yet ({outcome.error.message})")
        return SubmitResult(found.name, file.name)

    def find_orphaned_batch(self, idempotency_key: str, input_fingerprint: str, not_before: str) -> str | None:
        """The job of a try that noted none. None only after evidence that there is none.

        That is: no listing shows it, and one of two facts holds. Its input was never there. Or the call was sent
        so long ago that every listing had to show it, and its input is deleted now. So a late call has nothing to
        run.

        :raises BatchError: That cannot be told (yet).
        """
        label = _label(idempotency_key, input_fingerprint)
        began = datetime.fromisoformat(not_before) if not_before else datetime.fromtimestamp(0, timezone.utc)
        job = self._newest(label, began - CLOCK_SLACK)
        if job is None:
            inputs = [file for file in self._client.list_files() if file.display_name == label]
            # The call comes right after the upload, which may take longer than all the waiting here.
            sent = max(began, *(file.update_time or began for file in inputs)) if inputs else began
            age_s = self._service.now() - sent.timestamp()
            if age_s < (ABSENT_AFTER_S if inputs else UPLOADED_WITHIN_S):
                raise _unknown(label, f"no listing shows it {age_s:.0f} s after its call may have been sent")
            if not all(self._service.unstage(file.name) for file in inputs):
                raise _unknown(label, "its input could not be deleted")
            job = self._newest(label, began - CLOCK_SLACK)
        return job.name if job else None

    def _newest(self, label: str, since: datetime) -> JobSnapshot | None:
        found = self._service.find(label)
        if isinstance(found, CannotTell):
            raise found.error
        jobs = found.jobs if isinstance(found, Found) else ()
        young = [(job.created_at or since, job.name, job) for job in jobs if (job.created_at or since) >= since]
        return max(young)[2] if young else None

    def get_batch(self, batch_id: str) -> BatchState:
        """Ask for the job. Blocks: the trigger calls it in a thread.

        A job that is not found may belong to another key. So the error is not one that common-ai takes for a
        reason to submit again.
        """
        job = self._service.look(batch_id)
        status: BatchStatus = _STATUSES.get(job.state, "completed" if job.done else "in_progress")
        if status == "failed" and job.output_file:
            # What finished was billed. Told that it failed, the operator would take nothing and pay for all again.
            status = "completed"
        elif not job.output_file and status in _LEFT_OVER and job.may_still_name_results(self._service.now()):
            status = "in_progress"
        counts = {"succeeded": job.succeeded, "errored": job.failed, "expired": 0, "cancelled": 0}
        if status in ("expired", "cancelled"):
            counts[status] = max(0, job.requests - job.succeeded - job.failed)
        return BatchState(status, counts, job.error or None)

    def cancel_batch(self, batch_id: str) -> None:
        """Ask for the end of the job. Rows that have finished may be billed."""
        self._service.cancel(batch_id)

    def iter_results(self, batch_id: str) -> Iterator[RawResultItem]:
        """The rows of an ended job, one by one, by way of a temporary file."""
        job = self._service.look(batch_id)
        with ExitStack() as until_fetched:
            lines = until_fetched.enter_context(tempfile.TemporaryFile())
            self._service.fetch_results(job, lines)
            # From here on the iterator closes it.
            until_fetched.pop_all()
        if job.input_file:
            self._service.unstage(job.input_file)
        lines.seek(0)
        return result_items(lines, batch_id)

    def build_output_directive(self, spec: OutputSpec) -> dict[str, object]:
        """The fields of ``generationConfig`` that ask for answers of the output type.

        :raises LLMBatchOutputTypeError: The API cannot express it. Names the place.
        """
        return output_fields(spec)

    def extract_output(self, raw: RawResultItem, spec: OutputSpec) -> ExtractedOutput:
        """The answer's text, as it is or to be parsed."""
        if raw.raw is None:
            return ExtractedOutput("absent")
        return ExtractedOutput("json_text" if spec.is_structured else "text", text=raw.raw)


def _label(idempotency_key: str, input_fingerprint: str) -> str:
    """The display name of a job and of its input. It says whose the job is, and what rows it has."""
    return f"llm_batch.{idempotency_key}.{input_fingerprint[:16]}"


def _unknown(label: str, why: str) -> SubmitUnknownError:
    return SubmitUnknownError(
        f"Whether the job {label} exists cannot be told: {why}.",
        display_name=label,
        code="AGB-S04",
        remedy=f"Nothing is sent again before that. A try {ABSENT_AFTER_S / 60:.0f} minutes later can tell.",
    )
