"""A visit's single calls for one shard, from the lease to the landed rows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial

import msgspec

from airflow_provider_batch.batch.cost.ways import bill_of_calls
from airflow_provider_batch.batch.decide.call_rules import Keeping
from airflow_provider_batch.batch.decide.deadlines import tokens_per_row
from airflow_provider_batch.batch.land.match_rows import land_calls
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import Landed
from airflow_provider_batch.batch.ledger.kept_rows import requests_of
from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard
from airflow_provider_batch.batch.live.caller import Called, Caller, End, Row
from airflow_provider_batch.batch.live.capacity import Capacity
from airflow_provider_batch.batch.live.notes import Noted, NoteWriter, Window, notes_of, read_notes
from airflow_provider_batch.batch.live.pace import Pace, shared_place
from airflow_provider_batch.batch.live.purse import Purse, RowCosts, spent_on
from airflow_provider_batch.batch.live.scribe import SAFE_SHARE, Scribe
from airflow_provider_batch.batch.observer import tell
from airflow_provider_batch.batch.send.create_job import superseded
from airflow_provider_batch.batch.send.media import rows_with_addresses, uploaded_media
from airflow_provider_batch.batch.work import Calling, Work, reader_of
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.dialect import Usage
from airflow_provider_batch.rows.manifest import TokenTotals, counts_in_words
from airflow_provider_batch.rows.money import Price
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.steady import steady_s

log = logging.getLogger(__name__)

ONE_WAIT_S = 15.0
"""After another visit was quicker to lease a shard, seconds."""

MEDIA_LIFE_S = 6 * 3600.0
"""What an uploaded media file must still have of its life before rows with it are called, seconds."""

CALL_LIMITS = ShardLimits(rows=10_000)
"""Of one lease: the notes of as many rows are read again after a worker was lost."""


class _Keyed(msgspec.Struct):
    key: str


_key_of = msgspec.json.Decoder(_Keyed).decode


def call_rows(work: Work, calls: Calling, batch: BatchState, shard: Shard) -> Called:
    """Have the rows of a shard answered that no note has an answer for.

    :raises SupersededError: Another try of the task has taken over.
    :raises BatchError: What no row would fare better with. Answers that came before are noted.
    """
    now = work.service.now()
    with ExitStack() as stack:
        answered = stack.enter_context(KeyTable())
        noted = read_notes(work.ledger, shard, lambda line: answered.add(_key_of(line).key, 0))
        leased = noted.leased_until()
        if leased is not None and leased.timestamp() > now:
            return Called(End.PAUSE, leased.timestamp(), "another worker has a lease of the rows")
        left = shard.plan.rows - len(answered)
        if not left:
            return Called(End.ALL_ANSWERED)
        lines = stack.enter_context(_lines(work, batch, shard))
        caller = _caller(work, calls, batch, shard, noted, left)
        log.info("%d rows of %s have no answer yet. They are called %s.", left, shard.title, _pace(calls))
        # What may fail comes before the lease: a lease that is not given back looks like a lost worker.
        costs = RowCosts(_price(work, batch), work.service.check_model(batch.plan.model))
        if not caller.scribe.take_lease() or shard.document(names.LANDED) in work.ledger.names():
            # Where the rows have landed, the notes that said so may be gone already.
            return Called(End.PAUSE, now + ONE_WAIT_S, "another worker was quicker")
        caller.rows = _rows(work, lines, answered, costs)
        return asyncio.run(_run(caller, calls))


async def _run(caller: Caller, calls: Calling) -> Called:
    service = calls.connect()
    try:
        return await caller.run(service)
    finally:
        await service.aclose()


def _caller(work: Work, calls: Calling, batch: BatchState, shard: Shard, noted: Noted, rows: int) -> Caller:
    """The calls of a visit.

    :param rows: Without an answer.
    """
    price, rules, called = _price(work, batch), calls.rules, batch.round_of(shard)
    scribe = Scribe(
        NoteWriter(
            work.ledger,
            shard,
            noted,
            lambda: _time(work),
            calls.keeping.lease_s,
            lambda now: tell(work.observer.noted, shard, now.billed.values()),
        ),
        work.dialect,
        price,
        lambda: _is_wanted(work, batch, called),
        calls.keeping,
        long_prompt_tokens=work.service.limits.long_prompt_tokens,
        window_rows=min(rows, rules.concurrency + calls.keeping.note_rows),
        is_limited=calls.max_usd is not None,
    )
    # Without a limit it does not matter, and all notes of open shards would be read once more for it.
    spent = 0.0 if calls.max_usd is None else calls.spent(batch) + spent_in_notes(work, batch, price)
    pace = Pace(rules.requests_per_minute, rules.tokens_per_minute, shared_place(calls.account, batch.plan.model))
    ends_at = called.plan.ends_at.timestamp() if called.plan.ends_at else float("inf")
    refusals = dict(noted.last.refusals) if noted.last else {}
    return Caller(
        model=batch.plan.model,
        scribe=scribe,
        pace=pace,
        purse=Purse(calls.max_usd, spent),
        capacity=Capacity(rules, ends_at, tokens_per_row(batch), refusals),
        rules=rules,
        ends_at=ends_at,
        clock=work.service.now,
        rows_left=rows,
        is_stopped=calls.is_stopped,
    )


def spent_in_notes(work: Work, batch: BatchState, price: Price | None) -> float:
    """What the notes of shards that have not landed cost at most, USD. What may be lost is in it."""
    spent = 0.0
    for round_ in batch.rounds:
        for shard in round_.open_shards if round_.is_live else ():
            noted = read_notes(work.ledger, shard)
            spent += spent_on(noted.billed.values(), price) + noted.lost_usd + noted.unnoted_usd
    return spent


def land_called(work: Work, batch: BatchState, shard: Shard, why: str) -> Landed | None:
    """Land what single calls brought. None if another visit still calls for rows of the shard.

    :param why: Of rows that no call was answered for.
    """
    noted = read_notes(work.ledger, shard)
    leased = noted.leased_until()
    if leased is not None and leased.timestamp() > work.service.now():
        return None
    # From here on no other visit lands, or calls, so the notes up to this one are what is landed.
    lease_s = (work.calls.keeping if work.calls else Keeping()).lease_s
    writer = NoteWriter(work.ledger, shard, noted, lambda: _time(work), lease_s)
    began = steady_s()
    if not writer.take(Window()):
        return None
    if (before := work.ledger.read(shard.document(names.LANDED), Landed)) is not None:
        return before
    noted = writer.noted
    brought = _brought(work, shard, noted.number, lambda: steady_s() - began < SAFE_SHARE * lease_s)
    rows = sum(one.rows for one in noted.billed.values())
    landed = land_calls(work.service.limits, work.ledger, shard, reader_of(work, batch), brought, why)
    landed = landed.model_copy(
        update={
            "at": _time(work),
            "calls": tuple(noted.billed.values()),
            "lost_calls": noted.lost,
            "lost_usd": noted.lost_usd,
            "called_again": landed.quarantined,
            "tokens": _total(one.tokens for one in noted.billed.values()),
            "long_tokens": _total(one.long_tokens for one in noted.billed.values()),
            "unmetered": sum(one.unmetered for one in noted.billed.values()),
        }
    )
    if work.ledger.put(shard.document(names.LANDED), landed):
        work.ledger.written.add(landed.sha256)
        bill = bill_of_calls(batch, batch.round_of(shard), landed, work.prices)
        tell(work.observer.called, batch.plan, *bill)
    log.info("Single calls for %s have ended: %d answers (%s).", shard.title, rows, counts_in_words(landed.counts))
    if landed.lost_calls:
        log.warning(
            "AGB-R13 Up to %d single calls for %s may have been billed, and their answers did not come.",
            landed.lost_calls,
            shard.title,
        )
    return landed


def _brought(work: Work, shard: Shard, last: int, is_leased: Callable[[], bool]) -> Iterator[list[bytes]]:
    """The rows of the notes up to one.

    :raises SupersededError: The lease is over. Another visit may land other notes in the same place.
    """
    for _, lines in notes_of(work.ledger, shard, last):
        yield lines
    if not is_leased():
        raise superseded(shard.title)


def _total(totals: Iterator[TokenTotals]) -> TokenTotals:
    return TokenTotals.of(sum((one.usage() for one in totals), Usage()))


def _time(work: Work) -> datetime:
    return datetime.fromtimestamp(work.service.now(), timezone.utc)


def _price(work: Work, batch: BatchState) -> Price | None:
    return work.prices(batch.plan.model, _time(work).date())


def _pace(calls: Calling) -> str:
    rules = calls.rules
    most = f"at most {rules.concurrency:,} at a time and {rules.requests_per_minute:,g} a minute"
    return f"in {', then in '.join(rules.tiers)}, {most}"


def _is_wanted(work: Work, batch: BatchState, called: Round) -> bool:
    """No person has ended the batch.

    :raises SupersededError: Another try of the task has taken over.
    """
    work.fence()
    there = work.ledger.names()
    notes = {names.SUPERSEDED, called.document(names.CANCEL), batch.round.document(names.CANCEL)}
    return not notes & there


@contextmanager
def _lines(work: Work, batch: BatchState, shard: Shard) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    """The rows of a shard as they are kept, and as they are sent: with the addresses of files."""
    kept = (line for _, line in requests_of(work.ledger, shard, work.dialect))
    if not batch.plan.names_files:
        yield ((line, line) for line in kept)
        return
    until = _time(work) + timedelta(seconds=MEDIA_LIFE_S)
    media = uploaded_media(work.service, work.ledger, shard, work.dialect, work.files, until)
    with rows_with_addresses(work.ledger, shard, work.dialect, media) as spool:
        spool.seek(0)
        yield zip(kept, (line or b"" for _, line in read_lines(spool)), strict=True)


def _rows(work: Work, lines: Iterator[tuple[bytes, bytes]], answered: KeyTable, costs: RowCosts) -> Iterator[Row]:
    for kept, line in lines:
        # As it was checked before: an address of an upload need not be one that a user may give.
        checked = work.dialect.check_request(kept)
        if checked.key not in answered:
            yield Row(checked.key, line, checked.tokens, partial(costs.most_usd, checked))
