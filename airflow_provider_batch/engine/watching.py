"""Looking at a job until :mod:`waiting` says that it is enough: once blocking, once for an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.engine.waiting import Finished, GiveUp, GoOn, Watch
from airflow_provider_batch.errors import BatchError


def watch_job(
    look: Callable[[str], JobSnapshot], watch: Watch, tell: Callable[[str], object]
) -> Finished | GiveUp:
    """Block until the job is finished or waiting is of no use. ``tell`` gets what is worth a log line."""
    while True:
        try:
            verdict = watch.saw(look(watch.job_name), time.time())
        except BatchError as error:
            verdict = watch.failed(error, time.time())
        if not isinstance(verdict, GoOn):
            return verdict
        if verdict.note:
            tell(verdict.note)
        time.sleep(verdict.wait_s)


async def awatch_job(
    look: Callable[[str], Awaitable[JobSnapshot]], watch: Watch, tell: Callable[[str], object]
) -> Finished | GiveUp:
    """The same without blocking the event loop."""
    while True:
        try:
            verdict = watch.saw(await look(watch.job_name), time.time())
        except BatchError as error:
            verdict = watch.failed(error, time.time())
        if not isinstance(verdict, GoOn):
            return verdict
        if verdict.note:
            tell(verdict.note)
        await asyncio.sleep(verdict.wait_s)
