"""The notes of single calls: what they brought, who may make more of them, and what was lost.

The notes of a shard are numbered, ``<shard>.note<n>.jsonl``, and each is written only if there is none of its
number. So they are in one order for all. The first line of a note is its head, and each other line is a row as it
stands in the results of a job. A note does two things:

- **It keeps answers.** They are written every few seconds, so a worker that dies loses what is not yet noted.
- **It leases the shard** to its owner until a time, by the vendor's clock. Another visit calls for rows of the
  shard only after that time, or after a note that gives the lease back. The owner stops in time, by its steady
  clock.

An owner begins no more calls than its last note allows for (``window_rows``, ``window_usd``). So what a lost
worker may have paid for, and not noted, has a bound. The visit that takes over adds that bound to what was lost.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field, ValidationError

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import CallTotals, Document
from airflow_provider_batch.batch.ledger.state import Shard
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.live.totals import added
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.rows.storage import opened


class NoteHead(Document):
    """The first line of a note.

    :param owner: The visit that wrote it.
    :param at: When, by the vendor's clock.
    :param until: The shard is leased to the owner until then. ``at``, or before, = it is free.
    :param rows: Lines that follow.
    :param sha256: Of these lines.
    :param billed: What the answers in these lines took, by tier.
    :param lost: Calls that may have been billed, and whose answers will not come.
    :param lost_usd: What they, and answers without a token count, may have cost at most. 0 where prices are not
        known.
    :param window_rows: Calls that the owner may have begun, and not noted, before its next note.
    :param window_usd: What these may cost at most, 0 where prices are not known.
    :param refusals: By tier, how often in a row the vendor had no capacity.
    """

    owner: str
    at: datetime
    until: datetime
    rows: int = 0
    sha256: str = ""
    billed: tuple[CallTotals, ...] = ()
    lost: int = 0
    lost_usd: float = 0.0
    window_rows: int = 0
    window_usd: float = 0.0
    refusals: dict[Tier, int] = Field(default_factory=dict)


@dataclass(frozen=True)
class Noted:
    """What all notes of a shard say together.

    :param last: The newest head, None if there is none.
    :param number: Of the newest note. 0 = there is none.
    """

    last: NoteHead | None = None
    number: int = 0
    billed: dict[Tier, CallTotals] = field(default_factory=dict)
    lost: int = 0
    lost_usd: float = 0.0

    def and_then(self, head: NoteHead) -> Noted:
        """The same with one more note."""
        billed = added(self.billed, head.billed)
        return Noted(head, self.number + 1, billed, self.lost + head.lost, self.lost_usd + head.lost_usd)

    @property
    def unnoted_rows(self) -> int:
        """Calls whose fate is not known, if the newest owner is gone."""
        return self.last.window_rows if self.last else 0

    @property
    def unnoted_usd(self) -> float:
        """What these may have cost."""
        return self.last.window_usd if self.last else 0.0

    def leased_until(self) -> datetime | None:
        """When the shard is free, None if it is."""
        return self.last.until if self.last and self.last.until > self.last.at else None


def notes_of(ledger: Ledger, shard: Shard, last: int | None = None) -> Iterator[tuple[NoteHead, list[bytes]]]:
    """Stream the notes of a shard, in their order: the head and the rows.

    :param last: The number of the last one, None = of the newest.
    :raises LedgerError: A note is missing or damaged.
    """
    newest = names.newest(ledger.names(), names.NOTE, shard.round, shard.number) if last is None else last
    for number in range(1, newest + 1):
        yield _read(ledger, shard.document(names.NOTE, number))


def read_notes(ledger: Ledger, shard: Shard, on_line: Callable[[bytes], object] = lambda _: None) -> Noted:
    """Read all notes of a shard.

    :param on_line: Told each row, in the order of the notes.
    :raises LedgerError: A note is missing or damaged.
    """
    noted = Noted()
    for head, lines in notes_of(ledger, shard):
        noted = noted.and_then(head)
        for line in lines:
            on_line(line)
    return noted


def _read(ledger: Ledger, name: str) -> tuple[NoteHead, list[bytes]]:
    path = ledger.path(name)
    try:
        with opened(path) as file:
            first = file.readline()
            text = file.read()
        head = NoteHead.model_validate_json(first)
        is_whole = hashlib.sha256(text).hexdigest() == head.sha256 if head.rows else not text
    except (FileNotFoundError, ValidationError) as error:
        raise _damaged(path, type(error).__name__) from None
    if not is_whole:
        raise _damaged(path, "its rows are not those that were noted")
    return head, text.split(b"\n")[:-1]


def _damaged(path: object, why: str) -> LedgerError:
    return LedgerError(
        f"The answers of single calls in {path} cannot be used: {why}.",
        code="AGB-L02",
        remedy="Nothing was called or sent. Restore the file. Or delete it and the notes of the shard after it, "
        "to pay for their rows anew.",
    )


@dataclass
class News:
    """What single calls have brought and no note says yet.

    :param lines: Rows, as they stand in the results of a job.
    :param lost: Calls that may be billed, and whose answers will not come.
    :param calls: That have ended, answered or lost.
    :param most_usd: What these may have cost at most.
    """

    lines: list[bytes] = field(default_factory=list)
    billed: dict[Tier, CallTotals] = field(default_factory=dict)
    lost: int = 0
    lost_usd: float = 0.0
    calls: int = 0
    most_usd: float = 0.0

    def add(self, later: News) -> None:
        """Take what came later."""
        self.lines = self.lines + later.lines
        self.billed = added(self.billed, later.billed.values())
        self.lost += later.lost
        self.lost_usd += later.lost_usd
        self.calls += later.calls
        self.most_usd += later.most_usd


class Window(NamedTuple):
    """What an owner may begin, and not note, before its next note: so many calls, for so many USD at most."""

    rows: int = 0
    usd: float = 0.0


class NoteWriter:
    """Writes the notes of one visit to a shard.

    :param now: The vendor's time.
    :param lease_s: For how long a note leases the shard, seconds.
    :param on_note: Told all that is noted, after each note.
    """

    def __init__(
        self,
        ledger: Ledger,
        shard: Shard,
        noted: Noted,
        now: Callable[[], datetime],
        lease_s: float,
        on_note: Callable[[Noted], object] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._lease_s = lease_s
        self._shard = shard
        self._now = now
        self._on_note = on_note
        self._owner = secrets.token_hex(8)
        self.noted = noted

    def take(self, window: Window) -> bool:
        """Take the lease. False if another visit has just taken it.

        The notes must say that the shard is free. What the owner before may have paid for and not noted is lost.
        """
        before = self.noted
        lost = News(lost=before.unnoted_rows, lost_usd=before.unnoted_usd)
        return self._put(self.noted.number + 1, self._head(lost, window), b"")

    def write(
        self, news: News, window: Window, refusals: Mapping[Tier, int] | None = None, *, gives_back: bool = False
    ) -> bool:
        """Note answers, and lease the shard anew. False if another visit has the lease: nothing may be called.

        The answers are kept in any case. They are paid for.

        :param gives_back: The lease ends with this note.
        """
        text = b"".join(line + b"\n" for line in news.lines)
        head = self._head(news, window, refusals, gives_back=gives_back).model_copy(
            update={"sha256": hashlib.sha256(text).hexdigest() if text else ""}
        )
        number = self.noted.number + 1
        if self._put(number, head, text):
            return True
        # Another visit has taken over. Its lease stands, and this note must not look like one.
        head = head.model_copy(update={"until": head.at, "window_rows": 0, "window_usd": 0.0})
        while not self._put(number := number + 1, head, text):
            continue
        return False

    def _put(self, number: int, head: NoteHead, text: bytes) -> bool:
        name = self._shard.document(names.NOTE, number)
        if not self._ledger.put_lines(name, head, text):
            return False
        self.noted = self.noted.and_then(head)
        self._on_note(self.noted)
        return True

    def _head(
        self, news: News, window: Window, refusals: Mapping[Tier, int] | None = None, *, gives_back: bool = False
    ) -> NoteHead:
        at = self._now()
        return NoteHead(
            owner=self._owner,
            at=at,
            until=at if gives_back else at + timedelta(seconds=self._lease_s),
            rows=len(news.lines),
            billed=tuple(news.billed.values()),
            lost=news.lost,
            lost_usd=news.lost_usd,
            window_rows=window.rows,
            window_usd=window.usd,
            refusals=dict(refusals or {}),
        )
