"""The sensor: waits for a job that somebody else submitted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_batch.airflow_compat import default_deferrable
from airflow_provider_batch.errors import (
    AuthError,
    BatchError,
    ConfigError,
    JobTimeoutError,
    JobUnreadableError,
    NotFoundError,
)
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class GeminiBatchSensor(BaseSensorOperator):
    """Wait until the jobs of a Gemini batch have succeeded; fail if one failed, expired or was cancelled.

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
        if not self.deferrable:
            return super().execute(context)
        return self._defer_or_end(time.time() + float(self.timeout))

    def _defer_or_end(self, deadline: float) -> Any:
        running = self._running()
        if not running:
            return self.submission
        self.defer(
            trigger=GeminiBatchTrigger(
                job_names=running,
                conn_id=self.conn_id,
                deadline=deadline,
                poll_interval=float(self.poke_interval),
            ),
            method_name="execute_complete",
            kwargs={"deadline": deadline},
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """One look. Passing errors are waited out; a rejected credential or an unknown job is not."""
        running = self._running()
        return PokeReturnValue(not running, xcom_value=None if running else self.submission)

    def execute_complete(self, context: Context, event: Mapping[str, Any], deadline: float | None = None) -> Any:
        """Resume after the trigger: the API tells how the jobs ended."""
        outcome, name = str(event.get("outcome")), str(event.get("job_name"))
        if outcome == "timeout":
            raise JobTimeoutError(
                f"{event.get('message')} It was not cancelled and may still run and be billed.",
                job_name=name,
                code="AGB-P05",
                remedy="Raise the sensor's timeout or clear it; looking costs nothing.",
            )
        if outcome in ("unreadable", "unknown_state"):
            raise JobUnreadableError(
                f"{event.get('message')} It was not cancelled and may still run and be billed.",
                job_name=name,
                code="AGB-P03",
                remedy="Correct the connection and clear the sensor; looking costs nothing.",
            )
        # `airflow dags test` drops the kwargs of defer.
        return self._defer_or_end(deadline or time.time() + float(self.timeout))

    def _running(self) -> list[str]:
        """Jobs that have not ended; those that have must have succeeded."""
        from airflow_provider_batch.engine.outcome import ensure_succeeded

        names = self._job_names()
        running = []
        with GeminiBatchHook(self.conn_id).service() as service:
            for name in names:
                try:
                    job = service.look(name)
                except (AuthError, ConfigError, NotFoundError):
                    raise
                except BatchError as error:
                    self.log.warning("Looking failed, waiting on. %s", error)
                    running.append(name)
                    continue
                self.log.info("%s is %s", job.name, job.raw_state)
                if job.state.is_terminal or job.done:
                    ensure_succeeded(job)
                else:
                    running.append(name)
        return running

    def _job_names(self) -> list[str]:
        given = self.submission
        if isinstance(given, Mapping) and given.get("job_names"):
            return [str(name) for name in given["job_names"]]
        return [self._job_name()]

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
