"""Whether what came as the results of a job is believed. Pure.

Rows that are taken for missing are sent, and paid for, again. So a wrong body must not be taken for results that
lack rows. It may be a page of a proxy, a file that was cut, or the file of another job. What the job itself says
is held against what came: how many rows are finished, which keys were sent. A contradiction is believed only after
it has shown itself in the same way for a while. A body that cannot be results at all is never believed.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_batch.batch.ledger.documents import Fetched
from airflow_provider_batch.contract import JobSnapshot, JobState


@dataclass(frozen=True)
class BeliefPatience:
    """How often, and for how long, the same contradiction must have shown itself.

    :param fetches: Whole results, this one among them.
    :param seconds: From the first of them to the last.
    """

    fetches: int = 3
    seconds: float = 600.0


@dataclass(frozen=True)
class Arrived:
    """What came.

    :param lines: That are not empty.
    :param rows: Lines that answer a row that was sent, each row counted once.
    :param damaged: Lines that cannot be read, and speak of a key all the same. Others are no results at all.
    :param unknown: Lines of rows that were not sent.
    :param is_torn: The last line is damaged and has no line break.
    """

    size_bytes: int = 0
    lines: int = 0
    rows: int = 0
    damaged: int = 0
    unknown: int = 0
    is_torn: bool = False

    def is_as(self, before: Fetched) -> bool:
        """The same came before."""
        return (self.size_bytes, self.lines, self.rows) == (before.size_bytes, before.lines, before.rows)


class Belief(enum.Enum):
    """What is to be done with it."""

    BELIEVED = "land it"
    TWICE = "believe it if it comes once more like this"
    DOUBTED = "believe it if it stays like this for a while"
    FOREIGN = "never believe it"


def belief(job: JobSnapshot, sent: int, arrived: Arrived) -> tuple[Belief, str]:
    """Judge one delivery by itself, and say what is wrong with it.

    :param sent: Rows of the job.
    """
    if arrived.rows == sent:
        return Belief.BELIEVED, ""
    finished = min(sent, job.succeeded + job.failed)
    if arrived.is_torn:
        return Belief.FOREIGN, "the last line is cut off"
    if not arrived.rows and not arrived.damaged and (arrived.lines or finished):
        what = f"{arrived.lines} lines came, and none answers a row that was sent"
        return Belief.FOREIGN, what if arrived.lines else f"nothing came, and {finished} rows are finished"
    if arrived.rows + arrived.damaged < finished:
        return Belief.DOUBTED, f"{arrived.rows} rows came, and {finished} are finished"
    if arrived.unknown:
        return Belief.DOUBTED, f"{arrived.unknown} lines are of rows that were not sent"
    if not arrived.rows and not job.requests and job.state is JobState.SUCCEEDED:
        return Belief.DOUBTED, "nothing came, and the job does not say how many rows are finished"
    if arrived.damaged:
        return Belief.TWICE, f"{arrived.damaged} lines cannot be read"
    return Belief.BELIEVED, ""


def is_confirmed(
    kind: Belief, arrived: Arrived, before: Sequence[Fetched], now: datetime, patience: BeliefPatience
) -> bool:
    """Whether a delivery is believed after those before it.

    :param before: What was not believed, in the order in which it came.
    :param now: By the server's clock.
    """
    if kind in (Belief.BELIEVED, Belief.FOREIGN):
        return kind is Belief.BELIEVED
    same: list[Fetched] = []
    for fetched in reversed(before):
        if not arrived.is_as(fetched):
            break
        same.append(fetched)
    if kind is Belief.TWICE:
        return bool(same)
    is_old = bool(same) and (now - same[-1].at).total_seconds() >= patience.seconds
    return is_old and len(same) + 1 >= patience.fetches
