"""The operators: a JSONL file in, landed results out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_batch.airflow_compat import default_deferrable, object_path
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_batch.contract import JobSnapshot
    from airflow_provider_batch.engine.identity import Identity
    from airflow_provider_batch.engine.submit import Submission
    from airflow_provider_batch.gemini.service import GeminiBatchService
    from airflow_provider_batch.rows.manifest import Manifest

DEFAULT_TIMEOUT_S = 86_400.0
"""24 h, the API's own target for a batch. It ends a job itself at 48 h."""

MIN_POLL_INTERVAL_S = 1.0
MAX_POLL_INTERVAL_S = 3_600.0

JOB_NAME_KEY = "job_name"
"""XCom key of the remote job, pushed as soon as the job exists."""


class GeminiBatchOperator(BaseOperator):
    """Run a JSON Lines file of Gemini requests as one batch job and land the results.

    Validates every row, uploads the file, creates the job, waits, and writes ``results.jsonl`` (one line per
    input row) and then ``manifest.json`` to ``result_path``. Returns the manifest.

    What happens to the job and the bill:

    - *Retry, clear, lost worker*: the next try finds the job by its display name and goes on with it; a
      finished one is landed again for nothing. A new job is paid for only if there is none, if it failed,
      expired or was cancelled, or if it finished and the rows have changed since.
    - *Triggerer restart*: nothing; the trigger only looks.
    - *Kill, mark failed*: the job is left alone, runs on and is billed. Cancel it with
      ``GeminiBatchHook.cancel_batch``.
    - *Timeout*: the task fails, the job is left alone; a retry goes on with it.

    :param model: Model name such as ``gemini-2.5-flash``. Templated.
    :param requests: JSON Lines file, ``{"key": ..., "request": {GenerateContentRequest}}`` per line, as an
        absolute path or a URI (templated); or a short list of such rows (never templated), given here or returned
        by an upstream task.
    :param result_path: Folder for the results: an absolute path or a URI that every worker reaches.
        Templated; must be the same in every try.
    :param conn_id: Airflow connection of type ``gemini``.
    :param wait_for_completion: False = return after submission, for :class:`GeminiBatchSensor` and
        :class:`GeminiBatchFetchResultsOperator`.
    :param deferrable: Wait in the triggerer instead of on a worker slot. Default:
        ``[operators] default_deferrable``.
    :param poll_interval: Seconds between looks at the job, 1 to 3,600.
    :param timeout: Seconds from submission, by the server's clock, after which the wait gives up.
    :param fail_on_partial_error: Fail the task, after landing, if any row has no usable answer.
    """

    template_fields: Sequence[str] = ("model", "requests", "result_path", "conn_id")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        model: str,
        requests: str | list[Mapping[str, Any]],
        result_path: str,
        conn_id: str = GeminiBatchHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float = 60.0,
        timeout: float = DEFAULT_TIMEOUT_S,
        fail_on_partial_error: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        # Rows stay out of the templated field, so they are neither rendered nor stored in the database.
        self._rows = requests if isinstance(requests, list) else None
        self.requests = None if isinstance(requests, list) else requests
        self.result_path = result_path
        self.conn_id = conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = _checked("poll_interval", poll_interval, MIN_POLL_INTERVAL_S, MAX_POLL_INTERVAL_S)
        self.timeout = _checked("timeout", timeout, 1.0, 48 * 3600.0)
        self.fail_on_partial_error = fail_on_partial_error

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit or adopt the job, then wait and land, as configured."""
        with GeminiBatchHook(self.conn_id).service() as service:
            submission, job = self._submit(context, service)
            if not self.wait_for_completion:
                return submission.to_xcom()
            if job.state.is_terminal:
                return self._finish(service, submission, job)
            deadline = _deadline(submission, self.timeout)
            if not self.deferrable:
                return self._finish(service, submission, self._watch(service, submission, deadline))
        self.defer(
            trigger=GeminiBatchTrigger(
                job_name=submission.job_name,
                conn_id=self.conn_id,
                deadline=deadline,
                poll_interval=self.poll_interval,
                submission=submission.to_xcom(),
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Resume after the trigger: ask the API for the truth, then land."""
        from airflow_provider_batch.engine.submit import Submission

        sent = Submission.model_validate(event["submission"])
        with GeminiBatchHook(self.conn_id).service() as service:
            return self._finish(service, sent, _job_after(event, service, sent.job_name))

    def _submit(self, context: Context, service: GeminiBatchService) -> tuple[Submission, JobSnapshot]:
        from airflow_provider_batch.engine.claim import Claim
        from airflow_provider_batch.engine.submit import StagedRows, Submission, find_or_submit
        from airflow_provider_batch.gemini.calls import model_path
        from airflow_provider_batch.gemini.rows import GeminiRows
        from airflow_provider_batch.rows.keys import KeyTable
        from airflow_provider_batch.rows.staging import stage
        from airflow_provider_batch.rows.storage import spool

        model = model_path(self.model).removeprefix("models/")
        folder = object_path(self.result_path, "result_path")
        source = _source(self._rows if self._rows is not None else self.requests)
        identity = _identity(context)
        with spool() as file, KeyTable() as keys:
            staged = stage(source, GeminiRows(), file, keys)
            self.log.info("Checked %d rows, %d bytes.", staged.requests, staged.size_bytes)
            rows = StagedRows(file, keys, staged)
            job = find_or_submit(service, identity, model, rows, Claim(folder, identity.mark))
        context["ti"].xcom_push(key=JOB_NAME_KEY, value=job.name)
        submission = Submission(
            job_name=job.name,
            model=model,
            display_name=job.display_name,
            result_path=self.result_path,
            request_count=staged.requests,
            submitted_at=job.created_at or datetime.now(timezone.utc),
        )
        return submission, job

    def _watch(self, service: GeminiBatchService, submission: Submission, deadline: float) -> JobSnapshot:
        from airflow_provider_batch.engine.outcome import ensure_finished
        from airflow_provider_batch.engine.waiting import Watch
        from airflow_provider_batch.engine.watching import watch_job

        watch = Watch(submission.job_name, deadline, self.poll_interval)
        return ensure_finished(watch_job(service.look, watch, self.log.info), submission.job_name)

    def _finish(self, service: GeminiBatchService, submission: Submission, job: JobSnapshot) -> dict[str, Any]:
        manifest = _land(service, submission, job, self.log)
        if self.fail_on_partial_error:
            from airflow_provider_batch.engine.outcome import ensure_complete

            ensure_complete(manifest)
        return manifest.to_xcom()


class GeminiBatchFetchResultsOperator(BaseOperator):
    """Land the results of a job that was submitted with ``wait_for_completion=False``.

    Does not wait: put a :class:`~airflow_provider_batch.sensors.gemini.GeminiBatchSensor` before it. Running
    it again lands the same results again and costs nothing.

    :param submission: What the submitting operator returned.
    :param conn_id: Airflow connection of type ``gemini``.
    """

    template_fields: Sequence[str] = ("submission", "conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"submission": "json"}
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        submission: Mapping[str, Any],
        conn_id: str = GeminiBatchHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.submission = submission
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch, match, publish; return the manifest."""
        from airflow_provider_batch.engine.submit import Submission

        submission = Submission.model_validate(self.submission)
        with GeminiBatchHook(self.conn_id).service() as service:
            return _land(service, submission, service.look(submission.job_name), self.log).to_xcom()


def _land(service: GeminiBatchService, submission: Submission, job: JobSnapshot, log: Any) -> Manifest:
    from airflow_provider_batch.contract import JobState
    from airflow_provider_batch.engine.claim import Claim
    from airflow_provider_batch.engine.land import land
    from airflow_provider_batch.engine.outcome import ensure_succeeded
    from airflow_provider_batch.gemini.rows import GeminiRows

    folder = object_path(submission.result_path, "result_path")
    if job.state.is_terminal and job.state is not JobState.SUCCEEDED:
        Claim.of_job(folder, submission.display_name).release()
    ensure_succeeded(job)
    manifest = land(service, submission, GeminiRows(), folder)
    if job.input_file:
        service.unstage(job.input_file)
    log.info("Landed %s: %s", manifest.result_uri, _summary(manifest))
    return manifest


def _summary(manifest: Manifest) -> str:
    counts = ", ".join(f"{n} {status.value}" for status, n in sorted(manifest.counts.items()))
    tokens = manifest.tokens
    return (
        f"{manifest.request_count} rows ({counts}), tokens: {tokens.input} in, {tokens.output} out, "
        f"{tokens.thinking} thinking."
    )


def _job_after(event: Mapping[str, Any], service: GeminiBatchService, job_name: str) -> JobSnapshot:
    """The job as the API tells it now; the event only says why the wait ended."""
    from airflow_provider_batch.engine.outcome import ensure_finished
    from airflow_provider_batch.engine.waiting import Finished, GiveUp

    if event.get("outcome") == "unreadable":
        ensure_finished(GiveUp("unreadable", str(event.get("message", ""))), job_name)
    job = service.look(job_name)
    if job.state.is_terminal:
        return ensure_finished(Finished(job), job_name)
    reason, message = str(event.get("outcome", "")), str(event.get("message", ""))
    return ensure_finished(GiveUp(reason, message or f"{job_name} is still {job.raw_state}."), job_name)


def _source(requests: object) -> Any:
    """What is to be staged: an opened path, or rows, which may also have come from an upstream task."""
    if isinstance(requests, str):
        return object_path(requests, "requests")
    if isinstance(requests, Sequence):
        return list(requests)
    raise ConfigError(
        f"requests must be a path, a URI or a list of rows, got {type(requests).__name__}.",
        code="AGB-C08",
        remedy="Nothing was uploaded. Check what the upstream task returned.",
    )


def _identity(context: Context) -> Identity:
    from airflow_provider_batch.engine.identity import Identity

    ti = context["ti"]
    return Identity(ti.dag_id, ti.task_id, ti.run_id, -1 if ti.map_index is None else ti.map_index)


def _deadline(submission: Submission, timeout_s: float) -> float:
    """Unix time, seconds. From the server's own submission time, so that no restart begins it anew."""
    start = submission.submitted_at.timestamp() if submission.submitted_at else time.time()
    return start + timeout_s


def _checked(name: str, value: float, least: float, most: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        raise ConfigError(
            f"{name} must be a number of seconds from {least:g} to {most:g}, got {value!r}.",
            code="AGB-C06",
            remedy="Correct the operator's argument.",
        )
    return float(value)
