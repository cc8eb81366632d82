"""Waiting in an event loop until there is a reason to go back to a worker. Looks only; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.contract import Found, WaitingService
from airflow_provider_batch.engine.waiting import Finished, GoOn, Watch
from airflow_provider_batch.errors import BatchError

FIRST_SCAN_S = 5.0
LONGEST_SCAN_S = 60.0
"""First and longest time between listings while the outcome of a create call is unknown, seconds. It doubles."""


@dataclass(frozen=True)
class Vigil:
    """What is waited for. Whatever comes first ends the wait.

    :param jobs: Until one of them is finished.
    :param names: Until one of these display names shows in the listing.
    :param until: Until this Unix time, None = no such time.
    :param deadline: Unix time at which the user's patience ends.
    :param poll_interval_s: Seconds between looks.
    """

    jobs: tuple[str, ...]
    names: tuple[str, ...]
    until: float | None
    deadline: float
    poll_interval_s: float


@dataclass(frozen=True)
class News:
    """Why the wait ended: ``finished``, ``found``, ``due``, ``timeout``, ``unreadable`` or ``unknown_state``."""

    outcome: str
    job_name: str = ""
    state: str = ""
    message: str = ""


Service = Callable[[], Awaitable[WaitingService]]
"""Gives the service, or raises :class:`BatchError` if it cannot be had this time."""


async def await_news(
    service: Service, vigil: Vigil, now: Callable[[], float], tell: Callable[[str], object]
) -> News:
    """Wait. All waits go on at the same time, and the first news ends them.

    :param now: Unix time, seconds, by the server's clock as far as it is known.
    :param tell: Gets what is worth a log line.
    """
    waits: list[Coroutine[Any, Any, News]] = [_job(service, name, vigil, now, tell) for name in vigil.jobs]
    if vigil.names:
        waits.append(_names(service, vigil, tell))
    if vigil.until is not None or not vigil.jobs:
        due = vigil.deadline if vigil.until is None else min(vigil.until, vigil.deadline)
        waits.append(_due(due, vigil.poll_interval_s, now))
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _job(
    service: Service, name: str, vigil: Vigil, now: Callable[[], float], tell: Callable[[str], object]
) -> News:
    watch = Watch(name, vigil.deadline, vigil.poll_interval_s)
    while True:
        try:
            verdict = watch.saw(await (await service()).look(name), now())
        except BatchError as error:
            verdict = watch.failed(error, now())
        if isinstance(verdict, Finished):
            return News("finished", name, verdict.job.raw_state, f"{name} is {verdict.job.raw_state}.")
        if not isinstance(verdict, GoOn):
            return News(verdict.reason, name, "", verdict.message)
        if verdict.note:
            tell(verdict.note)
        await asyncio.sleep(verdict.wait_s)


async def _names(service: Service, vigil: Vigil, tell: Callable[[str], object]) -> News:
    wait_s = FIRST_SCAN_S
    while True:
        await asyncio.sleep(wait_s)
        for name in vigil.names:
            try:
                found = await (await service()).find(name)
            except BatchError as error:
                tell(f"The listing cannot be read now: {error}")
                break
            if isinstance(found, Found):
                return News("found", found.jobs[0].name, "", f"{found.jobs[0].name} shows in the listing.")
        wait_s = min(LONGEST_SCAN_S, wait_s * 2)


async def _due(due: float, longest_s: float, now: Callable[[], float]) -> News:
    # In steps, as the server's clock may turn out to be another than was thought.
    while (left := due - now()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(left, longest_s))
    return News("due", message="The time to go on has come.")
