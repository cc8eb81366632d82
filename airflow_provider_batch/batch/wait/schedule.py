"""Who waits for which job, and what is to be asked next. Decides and remembers. Asks nothing itself.

There are two clocks. The event loop's own clock, which is never set, says when to look again. Deadlines and ages
are Unix times by the server's clock.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from airflow_provider_batch.batch.wait.watch import MAX_ERROR_WAIT_S, Finished, GoOn, Verdict, Watch
from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.errors import BatchError

FEW = 5
"""Jobs that are asked for one by one rather than by reading the listing."""

JITTER = 0.04
"""Share by which times between looks are shortened at random, so that pollers do not keep step."""

REST_FACTOR = 2.0
"""A listing is read again no sooner than this many times what reading it took."""

SOME = 100
"""Jobs that are considered at a time: if so many are due, others can wait until these are done."""

ROOM = 1000
"""Entries of an queue before void ones are looked for."""

BELIEVE_S = 900.0
"""Seconds for which a job that the listing did not show is asked for by itself."""

NEVER = float("inf")


class WaitEnded(NamedTuple):
    """Why the wait ended: ``finished``, ``found``, ``due``, ``timeout``, ``unreadable`` or ``unknown_state``."""

    outcome: str
    job_name: str = ""
    state: str = ""
    message: str = ""


@dataclass(slots=True, eq=False)
class Waiter:
    """One who waits.

    :param tell: Gets what is worth a log line, in the context in which the wait began. The context says whose log
        it is.
    """

    news: asyncio.Future[WaitEnded]
    tell: Callable[[str], object]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def end(self, news: WaitEnded) -> None:
        """Give the news, if there were none before."""
        if not self.news.done():
            self.news.set_result(news)

    def fail(self, fault: BaseException) -> None:
        """End the wait with an exception."""
        if not self.news.done():
            self.news.set_exception(fault)

    def say(self, text: str) -> None:
        """Write to the log. A log that fails ends this wait and no other."""
        try:
            self.context.run(self.tell, text)
        except Exception as fault:  # noqa: BLE001
            # A handler of Airflow's may raise anything. The poller goes on for the other waits.
            self.fail(fault)


@dataclass(slots=True, eq=False)
class JobWait:
    """A job that is waited for.

    :param due: When it is to be looked at.
    """

    watch: Watch
    waiter: Waiter
    due: float

    def follow(self, verdict: Verdict, at: float, hurry: float) -> None:
        """Do what was decided after a look.

        :param hurry: What times are multiplied by.
        """
        name = self.watch.job_name
        self.due = NEVER
        if isinstance(verdict, Finished):
            state = verdict.job.raw_state
            self.waiter.end(WaitEnded("finished", name, state, f"{name} is {state}."))
        elif isinstance(verdict, GoOn):
            self.due = at + verdict.wait_s * hurry
            if verdict.note:
                self.waiter.say(verdict.note)
        else:
            self.waiter.end(WaitEnded(verdict.reason, name, "", verdict.message))


@dataclass(slots=True, eq=False)
class NameWait:
    """One who waits for jobs by their display names, which takes the whole listing.

    :param prefixes: Beginnings of display names.
    :param took: Gets the matching jobs of a whole listing, or the error if it broke off.
    :param due: When the listing is to be read.
    :param wait_s: Seconds until the time after. Doubles up to ``longest_s``.
    """

    prefixes: tuple[str, ...]
    took: Callable[[list[JobSnapshot], Exception | None], object]
    due: float
    wait_s: float
    longest_s: float
    matches: list[JobSnapshot] = field(default_factory=list)

    def see(self, job: JobSnapshot) -> None:
        """A job of the listing."""
        if job.display_name.startswith(self.prefixes):
            self.matches.append(job)

    def begin(self) -> None:
        """The listing is read from its beginning."""
        self.matches = []
        self.due = NEVER

    def ended(self, at: float, error: Exception | None) -> None:
        """The listing that was begun at this time was read, or broke off."""
        matches, self.matches = self.matches, []
        # A job that was woken meanwhile is due already.
        self.due = min(self.due, at + self.wait_s)
        self.wait_s = min(self.longest_s, 2 * self.wait_s)
        self.took(matches, error)


class DueQueue:
    """Looks by the time that they are due. What it takes does not grow with those that only wait."""

    def __init__(self) -> None:
        # An entry whose look has another time by now is void. Entries of the same time stay in the order in which
        # they came. The listing has one, too, so the next entry to become void is the first.
        self._entries: list[tuple[float, int, JobWait]] = []
        self._count = itertools.count()
        self._room = ROOM

    def put(self, look: JobWait) -> None:
        """The look's time has been set."""
        # Two for one: void entries go as others come, not all at once.
        self._drop(2)
        if look.due < NEVER:
            heapq.heappush(self._entries, (look.due, next(self._count), look))
        if len(self._entries) > self._room:
            # Behind one that is not due yet they pile up.
            self._entries = [entry for entry in self._entries if entry[0] == entry[2].due]
            heapq.heapify(self._entries)
            self._room = max(ROOM, 3 * len(self._entries))

    def due(self, at: float, most: int) -> list[JobWait]:
        """The first that are due."""
        found: dict[JobWait, tuple[float, int, JobWait]] = {}
        while len(found) < most and self.next() <= at:
            entry = heapq.heappop(self._entries)
            found[entry[2]] = entry
        for entry in found.values():
            heapq.heappush(self._entries, entry)
        return list(found)

    def next(self) -> float:
        """When the first is due."""
        self._drop(len(self._entries))
        return self._entries[0][0] if self._entries else NEVER

    def _drop(self, most: int) -> None:
        while most and self._entries and self._entries[0][0] != self._entries[0][2].due:
            heapq.heappop(self._entries)
            most -= 1


class NextCalls(NamedTuple):
    """What to do now.

    :param jobs: To be asked for one by one.
    :param listing: To be read.
    :param at: If there is nothing to do: when there is.
    """

    jobs: tuple[str, ...]
    listing: bool
    at: float


class WaitSchedule:
    """All who wait for jobs of a connection."""

    def __init__(self) -> None:
        self.looks: dict[str, list[JobWait]] = {}
        self.scans: list[NameWait] = []
        self._listed, self._single = DueQueue(), DueQueue()
        # Each job is in one of these. It is looked up in the listing that is read, or in the next listing. Or it
        # is asked for by itself, because a whole listing did not show it or there is no listing.
        self._wanted: set[str] = set()
        self._seen: set[str] = set()
        self._unlisted: set[str] = set()
        self._believed_until = -NEVER
        self._intervals: Counter[float] = Counter()
        self._pages = 0
        self._read_at = -NEVER
        self._reading_took_s = 0.0
        # One job was woken, or all were, since the listing was begun.
        self._is_woken = self._all_are_woken = False
        # Jobs that were woken since they were asked for last.
        self._woken: set[str] = set()
        # The same for everybody: those who are looked up together stay together.
        self._hurry = _hurry()

    def __bool__(self) -> bool:
        return bool(self.looks or self.scans)

    def add(self, looks: Iterable[JobWait], scans: Iterable[NameWait]) -> None:
        """A wait begins."""
        for look in looks:
            name = look.watch.job_name
            if name in self.looks:
                self.looks[name].append(look)
            else:
                self.looks[name] = [look]
                self._seen.add(name)
            self._intervals[look.watch.poll_interval_s] += 1
            self._put(look)
        self.scans.extend(scans)

    def remove(self, looks: Iterable[JobWait], scans: Iterable[NameWait]) -> None:
        """A wait ends."""
        for look in looks:
            name = look.watch.job_name
            look.due = NEVER
            self._intervals[look.watch.poll_interval_s] -= 1
            if not self._intervals[look.watch.poll_interval_s]:
                del self._intervals[look.watch.poll_interval_s]
            self.looks[name].remove(look)
            if not self.looks[name]:
                del self.looks[name]
                for names in (self._wanted, self._seen, self._unlisted, self._woken):
                    names.discard(name)
        for scan in scans:
            self.scans.remove(scan)

    def waiters(self) -> Iterator[Waiter]:
        """Everybody who waits for a job, once for each job."""
        return (look.waiter for looks in self.looks.values() for look in looks)

    def expire(self, name: str, now: float | None, at: float) -> float:
        """End the waits for a job that sent no news until long after the deadline of the wait.

        :param now: None while no answer has said what time it is.
        :return: When the next of them is to be ended so, Unix time.
        """
        following = NEVER
        for look in self._of(name):
            if look.watch.time(now, at) >= look.watch.overdue_at:
                text = f"Nothing was heard of {name} until {MAX_ERROR_WAIT_S:.0f} s after the deadline."
                look.waiter.end(WaitEnded("timeout", name, "", text))
            else:
                following = min(following, look.watch.overdue_at)
        return following

    def plan(self, at: float) -> NextCalls:
        """What is due.

        Few jobs are asked for one by one. Many are looked up in the listing. The listing is read once within the
        shortest interval of the waits, and for at most half of the time. A job that becomes due in between is
        served by the next reading.
        """
        if at >= self._believed_until or self._all_are_woken:
            self._seen |= self._unlisted
            self._unlisted.clear()
            self._believed_until = at + BELIEVE_S
        asked = self._due(at)
        is_scanned = any(scan.due <= at for scan in self.scans)
        if self._all_are_woken:
            is_scanned |= self._are_many(len(self.looks))
            asked = asked if is_scanned else set(self.looks)
        self._woken.clear()
        listed = asked - self._unlisted
        if not is_scanned and not self._are_many(len(listed)):
            self._all_are_woken = False
            return NextCalls(tuple(asked), False, self._next(at))
        pause = 0.0 if is_scanned or self._is_woken else min(self._intervals)
        slot = self._read_at + max(REST_FACTOR * self._reading_took_s, pause * self._hurry)
        if slot <= at:
            self._is_woken = self._all_are_woken = False
            return NextCalls(tuple(asked - listed), True, at)
        return NextCalls(tuple(asked - listed), False, min(slot, self._next(at)))

    def _due(self, at: float) -> set[str]:
        """The jobs that are due. Some of them, if the listing is read for all."""
        single, listed = _names(self._single.due(at, SOME)), _names(self._listed.due(at, FEW + 1))
        if not self._are_many(len(listed - self._unlisted)):
            listed = _names(self._listed.due(at, SOME))
        return single | listed

    def _are_many(self, count: int) -> bool:
        # The listing may be long because of others. Reading it is worth while if that serves more than it costs.
        return count > FEW and len(self.looks) > self._pages

    def _next(self, at: float) -> float:
        """When something becomes due."""
        dues = (self._listed.next(), self._single.next(), *(scan.due for scan in self.scans))
        return min((due for due in dues if due > at), default=NEVER)

    def begin(self) -> None:
        """A listing is read from its beginning."""
        self._seen |= self._wanted
        self._wanted, self._seen = self._seen, set()

    def wanted(self) -> set[str]:
        """The jobs that the listing is to show yet."""
        return self._wanted

    def showed(self, job: JobSnapshot, at: float, now: float) -> None:
        """The listing shows this job."""
        if job.name in self.looks:
            self._unlisted.discard(job.name)
            self._wanted.discard(job.name)
            self._seen.add(job.name)
            self.saw(job, at, now)

    def hid(self) -> list[str]:
        """The listing is over, or there is none. Returns the jobs that it did not show."""
        hidden = sorted(self._wanted)
        self._unlisted |= self._wanted
        self._wanted = set()
        return hidden

    def reading(self, at: float, took_s: float, pages: int) -> None:
        """The listing was read, or broke off."""
        self._read_at, self._reading_took_s, self._pages = at, took_s, pages
        self._hurry = _hurry()

    def saw(self, job: JobSnapshot, at: float, now: float) -> None:
        """A look that worked."""
        for look in self._of(job.name):
            self._follow(look, look.watch.saw(job, now), at)

    def failed(self, name: str, error: BatchError, at: float, now: float | None) -> None:
        """A look that did not work.

        :param now: None while no answer has said what time it is.
        """
        for look in self._of(name):
            self._follow(look, look.watch.failed(error, look.watch.time(now, at)), at)

    def _follow(self, look: JobWait, verdict: Verdict, at: float) -> None:
        # A job that is woken while the answer is on its way may have news that is not in the answer.
        look.follow(verdict, at, 0.0 if look.watch.job_name in self._woken else self._hurry)
        self._put(look)

    def _put(self, look: JobWait) -> None:
        (self._single if look.watch.job_name in self._unlisted else self._listed).put(look)

    def _of(self, name: str) -> list[JobWait]:
        return [look for look in self.looks.get(name, ()) if not look.waiter.news.done()]

    def wake(self, job_name: str) -> None:
        """Something may have happened to this job. Or to any job, if there is no wait for this name."""
        if job_name in self.looks:
            self._woken.add(job_name)
            for look in self._of(job_name):
                look.due = -NEVER
                self._put(look)
        else:
            self._all_are_woken = True
        for scan in self.scans:
            scan.due = -NEVER
        self._is_woken = True


def _names(looks: Iterable[JobWait]) -> set[str]:
    return {look.watch.job_name for look in looks}


def _hurry() -> float:
    return random.uniform(1 - JITTER, 1)  # noqa: S311 (jitter, not a secret)
