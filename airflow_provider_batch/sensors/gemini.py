"""The sensor: waits for a job that somebody else submitted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_batch.airflow_compat import default_deferrable
from airflow_provider_batch.errors import AuthError, BatchError, ConfigError, NotFoundError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_batch.contract import JobSnapshot


class GeminiBatchSensor(BaseSensorOperator):
    """Wait until a Gemini batch job has succeeded; fail if it failed, expired or was cancelled.

    Returns what it was given, so that :class:`GeminiBatchFetchResultsOperator` can take its output. Never
    submits or cancels: a retry, a clear or a timeout only looks again.

    :param submission: What ``GeminiBatchOperator(wait_for_completion=False)`` returned, or a job name,
        ``batches/...``. Templated.
    :param conn_id: Airflow connection of type ``gemini``.
    :param deferrable: Wait in the triggerer. Default: ``[operators] default_deferrable``. The sensor's own
        ``poke_interval`` and ``timeout`` (seconds) apply in both modes.
    """

    template_fields: Sequence[str] = ("submission", "conn_id")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        submission: Mapping[str, Any] | str,
        conn_id: str = GeminiBatchHook.default_conn_name,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.submission = submission
        self.conn_id = conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Context) -> Any:
        """Wait, in the triggerer if deferrable."""
        if not self.deferrable or self.poke(context).is_done:
            return super().execute(context) if not self.deferrable else self.submission
        self.defer(
            trigger=GeminiBatchTrigger(
                job_name=self._job_name(),
                conn_id=self.conn_id,
                deadline=time.time() + float(self.timeout),
                poll_interval=float(self.poke_interval),
            ),
            method_name="execute_complete",
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """One look. Passing errors are waited out; a rejected credential or an unknown job is not."""
        from airflow_provider_batch.engine.outcome import ensure_succeeded

        try:
            job = self._look()
        except (AuthError, ConfigError, NotFoundError):
            raise
        except BatchError as error:
            self.log.warning("Looking failed, waiting on. %s", error)
            return PokeReturnValue(False)
        self.log.info("%s is %s", job.name, job.raw_state)
        if not (job.state.is_terminal or job.done):
            return PokeReturnValue(False)
        ensure_succeeded(job)
        return PokeReturnValue(True, xcom_value=self.submission)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Resume after the trigger: the API tells how the job ended."""
        from airflow_provider_batch.engine.outcome import ensure_finished, ensure_succeeded
        from airflow_provider_batch.engine.waiting import GiveUp

        if event.get("outcome") != "finished":
            ensure_finished(GiveUp(str(event.get("outcome")), str(event.get("message"))), self._job_name())
        ensure_succeeded(self._look())
        return self.submission

    def _look(self) -> JobSnapshot:
        job_name = self._job_name()
        with GeminiBatchHook(self.conn_id).service() as service:
            return service.look(job_name)

    def _job_name(self) -> str:
        given = self.submission
        name = given.get("job_name") if isinstance(given, Mapping) else given
        if not isinstance(name, str) or not name:
            raise ConfigError(
                "The sensor was given no job.",
                code="AGB-C08",
                remedy="Pass the output of GeminiBatchOperator(wait_for_completion=False), or a job name.",
            )
        return name
