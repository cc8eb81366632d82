"""What a task says about being in time: until when all rows are to be answered, and how single calls are made."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from airflow_provider_batch.batch.work import Calling
    from airflow_provider_batch.hooks.gemini import Account, GeminiBatchHook
    from airflow_provider_batch.operators.options import BatchArguments, SingleCalls

TRIAL_S = 2 * 3600.0
"""For how long the rows of a trial are called at most, seconds. Flex may be without capacity for a while."""


def ready_time_of(given: datetime | timedelta | None, context: Context) -> float | None:
    """Unix time by which all rows are to be answered.

    :param given: A ``timedelta`` is counted from the end of the data interval.
    """
    if not isinstance(given, timedelta):
        return None if given is None else given.timestamp()
    interval_end = context.get("data_interval_end") or context["dag_run"].run_after
    return float((interval_end + given).timestamp())


def ensure_ahead(ready_by: float | None) -> None:
    """Make sure that a batch that is yet to begin can be in time.

    :param ready_by: Unix time.
    :raises ConfigError: The time has passed.
    """
    if ready_by is not None and ready_by <= time.time():
        raise ConfigError(
            f"ready_by has passed: {datetime.fromtimestamp(ready_by, timezone.utc):%F %T} UTC.",
            code="AGB-T03",
            remedy="Nothing was sent. Give a time that is ahead. Leave ready_by out for backfills and for runs of "
            "past days.",
        )


def calling_of(
    given: BatchArguments, hook: GeminiBatchHook, account: Account, is_stopped: Callable[[], bool]
) -> Calling | None:
    """How rows are answered by single calls, if any may be.

    :param is_stopped: The task is being stopped, so no call may begin.
    """
    if not (given.trial_rows or given.ready_by or given.failures.at_timeout == "answer"):
        return None
    return replace(calling(hook, account, given.single_calls, is_stopped), max_failed=given.allowed_failures)


def calling(
    hook: GeminiBatchHook, account: Account, single_calls: SingleCalls, is_stopped: Callable[[], bool]
) -> Calling:
    """How rows are answered by single calls, at the pace of the connection.

    :param is_stopped: As of :func:`calling_of`.
    """
    from airflow_provider_batch.batch.work import Calling

    rules = account.call_rules(**asdict(single_calls))
    return Calling(lambda: hook.calling_service(rules.concurrency), account.label, rules, is_stopped=is_stopped)
