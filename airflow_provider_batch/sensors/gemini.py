"""The sensor: waits for a job that another program submitted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_batch.airflow_compat import airflow_exception, default_deferrable, fail, overdue, skip
from airflow_provider_batch.argument_checks import Check, flag, seconds, submitted, text
from airflow_provider_batch.arguments import CheckedArguments, ensure_no_old_names
from airflow_provider_batch.deferring import NO_TRIGGERER, WaitCut, cut_of, last_line, patience
from airflow_provider_batch.errors import (
    AuthError,
    BatchError,
    ConfigError,
    JobError,
    JobTimeoutError,
    JobUnreadableError,
    NotFoundError,
)
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

MIN_POKE_S = 1.0
MAX_POKE_S = 86_400.0

MAX_WAIT_S = 366 * 86_400.0
"""Of a sensor, which may wait for what is submitted later."""


class GeminiBatchSensor(BaseSensorOperator, CheckedArguments):
    """Wait until the jobs of a Gemini batch have succeeded. Fail if one failed, expired or was cancelled.

    Returns what it was given, so that :class:`GeminiBatchFetchResultsOperator` can take its output. Never
    submits or cancels: a retry, a clear or a timeout only looks again.

    :param submission: What ``GeminiBatchOperator(wait_for_completion=False)`` returned, or a job name,
        ``batches/...``. Templated.
    :param gemini_conn_id: Airflow connection of type ``gemini``. Templated.
    :param deferrable: Wait in the triggerer. Default: ``[operators] default_deferrable``.
    :param poke_interval: Seconds between looks, 1 to 86,400, in both modes.
    :param timeout: Seconds or a ``timedelta`` until the sensor gives up, in both modes. It then fails without a
        retry, or is skipped with ``soft_fail``. Default: ``[sensors] default_timeout``.
    """

    template_fields: Sequence[str] = ("submission", "gemini_conn_id")
    ui_color = "#e8f0fe"
    checks: ClassVar[Mapping[str, Check]] = {"submission": submitted, "gemini_conn_id": text, "deferrable": flag}

    def __init__(
        self,
        *,
        submission: Mapping[str, Any] | str,
        gemini_conn_id: str = GeminiBatchHook.default_conn_name,
        deferrable: bool | None = None,
        poke_interval: float | timedelta = 60.0,
        timeout: float | timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        ensure_no_old_names(type(self).__name__, kwargs, {"conn_id": "gemini_conn_id"})
        super().__init__(
            poke_interval=seconds(MIN_POKE_S, MAX_POKE_S)("poke_interval", poke_interval),
            # Without one, Airflow's versions disagree whether None may be passed on.
            **({} if timeout is None else {"timeout": seconds(0.0, MAX_WAIT_S)("timeout", timeout)}),
            **kwargs,
        )
        self.submission = submission
        self.gemini_conn_id = gemini_conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self._check_given()

    def execute(self, context: Context) -> Any:
        """Wait, in the triggerer if deferrable."""
        with self._ending():
            self._check_rendered()
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
                conn_id=self.gemini_conn_id,
                deadline=deadline,
                poll_interval=float(self.poke_interval),
            ),
            method_name="execute_complete",
            kwargs={"deadline": deadline},
            timeout=patience(deadline - time.time()),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """One look. Passing errors are waited out. A rejected credential or an unknown job is not."""
        running = self._running()
        return PokeReturnValue(not running, xcom_value=None if running else self.submission)

    def execute_complete(self, context: Context, event: Mapping[str, Any], deadline: float | None = None) -> Any:
        """Resume after the trigger: the API tells how the jobs ended."""
        with self._ending():
            self._check_rendered()
            outcome, name = str(event.get("outcome")), str(event.get("job_name"))
            if outcome == "timeout":
                raise _overdue(f"{event.get('message')}", name)
            if outcome in ("unreadable", "unknown_state"):
                raise JobUnreadableError(
                    f"{event.get('message')} Nothing was cancelled: the job may still run and be billed.",
                    job_name=name,
                    code="AGB-P03",
                    remedy="Correct the connection and clear the sensor: looking costs nothing.",
                )
            # `airflow dags test` drops the kwargs of defer.
            return self._defer_or_end(deadline or time.time() + float(self.timeout))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As Airflow's. A wait that no trigger has ended is looked at once more before it is given up."""
        cut = cut_of(next_method, next_kwargs)
        if cut is None:
            return super().resume_execution(next_method, next_kwargs, context)
        if cut is WaitCut.BROKEN:
            self.log.warning("The triggerer cannot wait (%s): this worker does.", last_line(next_kwargs))
            self.deferrable = False
            return self.execute(context)
        with self._ending():
            self._check_rendered()
            for name in self._running():
                raise _overdue(f"{name} is not finished, and no trigger has fired. {NO_TRIGGERER}", name)
            return self.submission

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """What looking again cannot mend uses up no retries. With ``soft_fail`` the sensor is skipped."""
        try:
            yield
        except airflow_exception("AirflowSensorTimeout") as late:
            raise overdue(_overdue(str(late), self._job_names()[0])) from late
        except JobError as error:
            if self.soft_fail or self.never_fail:
                # Airflow skips with words of its own.
                self.log.warning("%s", error)
                raise skip(error) from error
            if isinstance(error, JobUnreadableError):
                raise
            raise (overdue if isinstance(error, JobTimeoutError) else fail)(error) from error
        except BatchError as error:
            if not error.is_final:
                raise
            raise fail(error) from error

    def _running(self) -> list[str]:
        """Jobs that have not ended. The others must have succeeded."""
        from airflow_provider_batch.batch.decide.outcome import ensure_succeeded

        names = self._job_names()
        running: list[str] = []
        if not names:
            self.log.info("The batch has no jobs: single calls have answered all rows.")
            return running
        with GeminiBatchHook(self.gemini_conn_id).service() as service:
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
        if isinstance(given, str):
            return [given]
        return [str(name) for name in given.get("job_names") or [given["job_name"]] if name]


def _overdue(message: str, job_name: str) -> JobTimeoutError:
    return JobTimeoutError(
        f"{message} Nothing was cancelled: the job may still run and be billed.",
        job_name=job_name,
        code="AGB-P05",
        remedy="Raise the sensor's timeout or clear the sensor: looking costs nothing.",
    )
