"""One poller for all who wait for jobs of a connection in an event loop. 10,000 waits cost about what one costs.

The poller looks only and changes nothing. It begins with the first wait and ends with the last. Nothing that
happens to one wait is felt by another.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from airflow_provider_batch.batch.wait.schedule import NEVER, JobWait, NameWait, WaitEnded, Waiter, WaitSchedule
from airflow_provider_batch.batch.wait.watch import TELL_EVERY_S, Watch
from airflow_provider_batch.contract import JobSnapshot, UnreadableJob, WaitingService
from airflow_provider_batch.errors import ApiError, AuthError, BatchError

AT_A_TIME = 8
"""Questions that are open at the same time."""

GATHER_S = 0.2
"""Seconds in which those who begin to wait come together: a triggerer that starts begins thousands of waits."""

FIRST_SCAN_S = 5.0
LONGEST_SCAN_S = 60.0
"""First and longest time between listings while the outcome of a create call is unknown, seconds. It doubles."""

OVERDUE_STEP_S = 5.0
"""Between looks at the clock, for deadlines that nothing else has noticed, seconds."""

AFTER_FAULT_S = 1.0
"""Rest after a fault of ours that all waits were told of, seconds."""

PROBES = 3
"""Jobs that are asked for before a rejected credential is believed for all.

One job may belong to another project.
"""

TURN = 25
"""Jobs or waits that are seen to before the event loop gets on with other things."""

PASSING = (408, 429)
"""HTTP statuses below 500 that may pass by themselves."""

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class WaitFor:
    """What is waited for. The first of these ends the wait.

    :param jobs: Until one of them is finished.
    :param names: Until one of these display names shows in the listing.
    :param until: Until this Unix time. None = no time.
    :param deadline: Unix time at which the user's patience ends.
    :param poll_interval_s: Longest time between looks, seconds.
    :param asked_at: Unix time at which these times were set, by the clock that they were set by. What has gone by
        since is measured for as long as no answer says what time it is. None = this machine's clock will do.
    """

    jobs: tuple[str, ...]
    names: tuple[str, ...]
    until: float | None
    deadline: float
    poll_interval_s: float
    asked_at: float | None = None


Connect = Callable[[], Awaitable[WaitingService]]
"""Gives a service, or raises :class:`BatchError` if it cannot be had this time."""


class Poller:
    """Looks for everybody.

    :param connect: Called at the first look, and when a credential is rejected: it may have been replaced.
    :param ended: Called when the last one has left.
    """

    def __init__(self, connect: Connect, ended: Callable[[], object] = lambda: None) -> None:
        self._connect = connect
        self._ended = ended
        self._service: WaitingService | None = None
        self._replaced: list[WaitingService] = []
        self._connecting = asyncio.Lock()
        self._schedule = WaitSchedule()
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tell_unreadable_at = 0.0
        # When those who begin to wait now are looked for.
        self._gathered_at = -NEVER
        self._overdue_at = NEVER

    def now(self) -> float:
        """Unix time, seconds, by the server's clock as far as it is known."""
        return self._service.now() if self._service is not None else time.time()

    def _server_now(self) -> float | None:
        """The same by the server's clock, None while no answer has said what time it is."""
        service = self._service
        return service.now() if service is not None and service.knows_time() else None

    async def wait(self, wanted: WaitFor, tell: Callable[[str], object]) -> WaitEnded:
        """Wait until there is news.

        :param tell: Gets what is worth a log line.
        """
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop.create_future(), tell)
        at = loop.time()
        if at > self._gathered_at:
            self._gathered_at = at + GATHER_S
        looks = tuple(
            JobWait(
                Watch(name, wanted.deadline, wanted.poll_interval_s, wanted.asked_at, at),
                waiter,
                self._gathered_at,
            )
            for name in wanted.jobs
        )
        scans = (_scan(wanted.names, waiter, at),) if wanted.names else ()
        self._enter(looks, scans)
        try:
            if wanted.until is None and wanted.jobs:
                return await waiter.news
            return await self._until(wanted, waiter.news)
        finally:
            await self._leave(looks, scans)

    async def listings(self, prefix: str, interval_s: float) -> AsyncIterator[list[JobSnapshot]]:
        """The jobs whose display name starts so, each time that the whole listing is read. Never ends.

        A listing that breaks off is passed over.
        """
        queue: asyncio.Queue[list[JobSnapshot] | Exception] = asyncio.Queue()

        def took(jobs: list[JobSnapshot], error: Exception | None) -> None:
            if not isinstance(error, BatchError):
                queue.put_nowait(error or jobs)

        scan = NameWait((prefix,), took, asyncio.get_running_loop().time(), interval_s, interval_s)
        self._enter((), (scan,))
        try:
            while True:
                message = await queue.get()
                if isinstance(message, Exception):
                    raise message
                yield message
        finally:
            await self._leave((), (scan,))

    def wake(self, job_name: str = "") -> None:
        """Look now: at this job if there is a wait for it, else at all."""
        self._schedule.wake(job_name)
        self._stirred.set()

    def waits_for(self, job_name: str) -> bool:
        """There is a wait for this job."""
        return job_name in self._schedule.looks

    async def _until(self, wanted: WaitFor, news: asyncio.Future[WaitEnded]) -> WaitEnded:
        began = self._clock()
        # In steps, as the server's clock may turn out to be another than was thought.
        while not news.done() and (left := self._left_s(wanted, self._clock() - began)) > 0:
            await asyncio.wait({news}, timeout=min(left, wanted.poll_interval_s))
        return news.result() if news.done() else WaitEnded("due", message="The time to go on has come.")

    def _left_s(self, wanted: WaitFor, waited_s: float) -> float:
        due = wanted.deadline if wanted.until is None else min(wanted.until, wanted.deadline)
        now = self._server_now()
        if now is None:
            now = time.time() if wanted.asked_at is None else wanted.asked_at + waited_s
        return due - now

    def _enter(self, looks: Sequence[JobWait], scans: Sequence[NameWait]) -> None:
        self._schedule.add(looks, scans)
        self._stirred.set()
        self._overdue_at = min([self._overdue_at, *(look.watch.overdue_at for look in looks)])
        if self._schedule and (self._task is None or self._task.done()):
            # In a context of its own: what it logs must not end up in the log of the first wait.
            self._task = contextvars.Context().run(asyncio.ensure_future, self._run())

    async def _leave(self, looks: Sequence[JobWait], scans: Sequence[NameWait]) -> None:
        self._schedule.remove(looks, scans)
        if self._schedule or self._task is None:
            return
        task, self._task = self._task, None
        self._ended()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.shield(asyncio.gather(task, return_exceptions=True))

    async def _expire(self) -> None:
        """No wait lasts for ever, even if a call hangs."""
        while True:
            await asyncio.sleep(OVERDUE_STEP_S)
            now = self._server_now()
            if now is not None and now < self._overdue_at:
                continue
            self._overdue_at = NEVER
            for number, name in enumerate(list(self._schedule.looks), 1):
                self._overdue_at = min(self._overdue_at, self._schedule.expire(name, now, self._clock()))
                if number % TURN == 0:
                    await asyncio.sleep(0)

    async def _run(self) -> None:
        expiring = asyncio.ensure_future(self._expire())
        try:
            while True:
                try:
                    await self._turn()
                except Exception as fault:  # noqa: BLE001
                    # The fault is ours. Each wait must hear of it, or it waits for ever. The last wait that leaves
                    # ends this.
                    for waiter in self._schedule.waiters():
                        waiter.fail(fault)
                    for scan in self._schedule.scans:
                        scan.took([], fault)
                    await asyncio.sleep(AFTER_FAULT_S)
        finally:
            if self._service is not None:
                self._replaced.append(self._service)
                self._service = None
            expiring.cancel()
            await asyncio.gather(expiring, return_exceptions=True)
            await self._close_replaced()

    async def _turn(self) -> None:
        self._stirred.clear()
        await self._close_replaced()
        plan = self._schedule.plan(self._clock())
        if plan.listing:
            await self._read_listing()
        if plan.jobs:
            await self._ask(plan.jobs)
        if not plan.listing and not plan.jobs:
            await self._rest(plan.at)

    async def _rest(self, at: float) -> None:
        """Until something is due or a wait begins."""
        left = max(min(at - self._clock(), LONGEST_SCAN_S), 0.0)
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the event.
        timer = asyncio.get_running_loop().call_later(left, self._stirred.set)
        try:
            await self._stirred.wait()
        finally:
            timer.cancel()

    async def _read_listing(self) -> None:
        """Look all jobs up in the listing. Ask for the jobs that it does not show."""
        began = self._clock()
        scans = [scan for scan in self._schedule.scans if scan.due <= began]
        for scan in scans:
            scan.begin()
        error: BatchError | None = None
        pages = 0
        try:
            service = await self._connected()
            try:
                pages = await self._read_pages(service, scans, began)
            except AuthError:
                pages = await self._read_pages(await self._reconnected(service), scans, began)
        except BatchError as failure:
            error = failure
        self._schedule.reading(began, self._clock() - began, pages)
        for scan in scans:
            scan.ended(began, error)
        if error is None or _is_for_good(error):
            # Also where listing is what is refused: whether waiting has an end is for the single answer to say.
            await self._ask(self._schedule.hid())
        else:
            await self._fail(list(self._schedule.wanted()), error)

    async def _read_pages(self, service: WaitingService, scans: Sequence[NameWait], began: float) -> int:
        """Read until no job needs more. Returns the number of pages."""
        self._schedule.begin()
        for scan in scans:
            scan.begin()
        pages = 0
        async for page in service.pages():
            pages += 1
            for number, job in enumerate(page, 1):
                if number % TURN == 0:
                    await asyncio.sleep(0)
                if isinstance(job, UnreadableJob):
                    # Ours stays wanted, and is asked for by itself.
                    self._tell_unreadable(job, began)
                    continue
                self._schedule.showed(job, began, self.now())
                for scan in scans:
                    scan.see(job)
            if not self._schedule.wanted() and not scans:
                break
        return pages

    def _tell_unreadable(self, job: UnreadableJob, at: float) -> None:
        if at >= self._tell_unreadable_at:
            self._tell_unreadable_at = at + TELL_EVERY_S
            log.warning("A job in the listing cannot be read and is passed over: %s", job.error)

    async def _ask(self, names: Sequence[str]) -> None:
        """Ask for jobs one by one, some at a time."""
        probes, rest = names[:PROBES], iter(names[PROBES:])
        errors = await _together(map(self._ask_for, probes))
        if names[PROBES:] and all(isinstance(error, AuthError) for error in errors) and errors[0]:
            await self._fail(rest, errors[0])
            return

        async def ask_on() -> None:
            for name in rest:
                await self._ask_for(name)

        await _together(ask_on() for _ in range(AT_A_TIME))

    async def _ask_for(self, name: str) -> BatchError | None:
        try:
            service = await self._connected()
            try:
                job = await service.look(name)
            except AuthError:
                job = await (await self._reconnected(service)).look(name)
        except BatchError as error:
            self._schedule.failed(name, error, self._clock(), self._server_now())
            return error
        self._schedule.saw(job, self._clock(), self.now())
        return None

    async def _fail(self, names: Iterable[str], error: BatchError) -> None:
        for number, name in enumerate(names, 1):
            self._schedule.failed(name, error, self._clock(), self._server_now())
            if number % TURN == 0:
                await asyncio.sleep(0)

    async def _connected(self) -> WaitingService:
        async with self._connecting:
            if self._service is None:
                self._service = await self._connect()
            return self._service

    async def _reconnected(self, refused: WaitingService) -> WaitingService:
        """A service with the credential as it is now."""
        async with self._connecting:
            if self._service is refused:
                self._service = await self._connect()
                # Others may still be waiting for its answers.
                self._replaced.append(refused)
            return self._service or refused

    async def _close_replaced(self) -> None:
        while self._replaced:
            await self._replaced.pop().aclose()

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()


async def _together(works: Iterable[Coroutine[object, object, Answer]]) -> list[Answer]:
    """Do all at the same time. When one fails, or this is cancelled, none is left running."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _scan(names: tuple[str, ...], waiter: Waiter, at: float) -> NameWait:
    """Wait until one of these names shows."""

    def took(jobs: list[JobSnapshot], error: Exception | None) -> None:
        if isinstance(error, BatchError):
            waiter.say(f"The listing cannot be read now: {error}")
        elif error is not None:
            waiter.fail(error)
        elif jobs:
            waiter.end(WaitEnded("found", jobs[0].name, "", f"{jobs[0].name} shows in the listing."))

    return NameWait(names, took, at + FIRST_SCAN_S, 2 * FIRST_SCAN_S, LONGEST_SCAN_S)


def _is_for_good(error: BatchError) -> bool:
    """Reading the listing again would fail again."""
    if isinstance(error, AuthError):
        return True
    return isinstance(error, ApiError) and error.http_status < 500 and error.http_status not in PASSING
