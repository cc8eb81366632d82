"""What happened to a batch and when, in words, from the documents of its ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import (
    TRIAL_ROUND,
    BatchPlan,
    Cancel,
    Document,
    Landed,
    Outcome,
    Refusal,
    Revoked,
    RoundKind,
    RoundPlan,
    Scan,
    Sending,
    Superseded,
    TrialForecast,
    Uploaded,
)
from airflow_provider_batch.batch.ledger.publication import Published
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.rows.manifest import counts_in_words

MOST_DOCUMENTS = 400
"""Documents that are read: those about whole rounds, then those of shards, the newest round first."""

SHOWN_KINDS = (
    "plan",
    "trial",
    "round",
    "rescue",
    "uploaded",
    "sent",
    "accepted",
    "refused",
    "landed",
    "ended",
    "forecast",
    "trouble",
    "cancel",
    "published",
)
"""In the order of events at the same moment."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    :param kind: One of :data:`SHOWN_KINDS`.
    :param text: May hold words of the API. Nothing in it is to be trusted as markup.
    :param round: 0 where the batch as a whole, or its trial, is meant.
    :param shard: 0 where the round as a whole is meant.
    """

    at: datetime
    kind: str
    title: str
    text: str = ""
    round: int = 0
    shard: int = 0


Saying = tuple[datetime, str, str, str]
"""When, kind, title, text."""


def _plan(document: BatchPlan) -> Saying:
    bad = "row" if document.skipped == 1 else "rows"
    skipped = f", {document.skipped:,} bad {bad} left out" if document.skipped else ""
    details = f"{_rows(document.rows)}, {_jobs(document.first)}{skipped}"
    return document.first.created_at, "plan", "Planned", details


def _trial(document: RoundPlan) -> Saying:
    verb = "is" if _rows_in(document) == 1 else "are"
    text = f"{_rows(_rows_in(document))} {verb} answered by single calls before the batch is sent"
    return document.created_at, "trial", "Trial", text


def _round(document: RoundPlan) -> Saying:
    rows = _rows(_rows_in(document))
    if document.kind is RoundKind.RESCUE:
        verb = "is" if _rows_in(document) == 1 else "are"
        return (
            document.created_at,
            "rescue",
            "Rescue",
            f"the jobs were late: {rows} {verb} answered by single calls",
        )
    return document.created_at, "round", "Sent again", f"{rows}, {_jobs(document)}"


def _uploaded(document: Uploaded) -> Saying:
    return document.at, "uploaded", "Uploaded", document.name


def _sending(document: Sending) -> Saying:
    return document.at, "sent", "Create call", document.display_name


def _outcome(document: Outcome) -> Saying:
    if document.job:
        return document.at, "accepted", "Accepted", document.job
    title = {
        Refusal.QUOTA: "The queue was full",
        Refusal.NOT_SENT: "Not sent",
        Refusal.FINAL: "Refused",
        Refusal.ABSENT: "No job came of it",
    }
    return document.at, "refused", title[document.refusal] if document.refusal else "Refused", document.reason


def _revoked(document: Revoked) -> Saying:
    return document.at, "trouble", "The answer was lost", "the input was deleted, so a late create call must fail"


def _scan(document: Scan) -> Saying:
    return document.at, "trouble", "Looked for the job", "a complete listing does not show it"


def _landed(document: Landed) -> Saying:
    words = [counts_in_words(document.counts)]
    if document.error:
        words.append(document.error)
    kind = "landed" if document.state is JobState.SUCCEEDED else "ended"
    return document.at, kind, f"Landed, {document.state.value}", "; ".join(words)


def _called(document: Landed, kind: RoundKind) -> Saying:
    """The single calls of a shard."""
    words = [counts_in_words(document.counts)]
    words += [f"{one.rows:,} by {one.tier}" for one in document.calls]
    if document.lost_calls:
        words.append(f"{_calls(document.lost_calls)} lost, which may be billed")
    if document.error:
        words.append(document.error)
    shown = "landed" if document.state is JobState.SUCCEEDED else "ended"
    return document.at, shown, f"{kind.value.capitalize()} landed", "; ".join(words)


def _forecast(document: TrialForecast) -> Saying:
    usd = document.usd
    cost = "no price is known for this model"
    if usd is not None:
        most = "an unknown sum" if usd.most is None else f"{usd.most:,.4f}"
        cost = f"USD {usd.least:,.4f} to {most} in batch mode"
    tokens = f"{document.input} input, {document.output} output and {document.thinking} thinking tokens"
    text = f"by {_rows(document.rows_tried)}, for all rows (95 %): {cost}; {tokens}"
    return document.at, "forecast", "Estimate by the trial", text


def _cancel(document: Cancel) -> Saying:
    return document.at, "cancel", "Asked to end", document.why


def _published(document: Published) -> Saying:
    return document.at, "published", "Published", "the results are in the result folder"


def _superseded(document: Superseded) -> Saying:
    return document.at, "trouble", "Superseded", "other rows or another model took the place of these"


_KINDS: dict[str, tuple[type[Document], Callable[[Any], Saying]]] = {
    names.PLAN: (BatchPlan, _plan),
    names.NEXT_PLAN: (RoundPlan, _round),
    names.UPLOADED: (Uploaded, _uploaded),
    names.SENDING: (Sending, _sending),
    names.OUTCOME: (Outcome, _outcome),
    names.REVOKED: (Revoked, _revoked),
    names.SCAN: (Scan, _scan),
    names.LANDED: (Landed, _landed),
    names.FORECAST: (TrialForecast, _forecast),
    names.CANCEL: (Cancel, _cancel),
    names.PUBLISHED: (Published, _published),
    names.SUPERSEDED: (Superseded, _superseded),
}
"""Sessions are not among them. They hold an address that is enough to write the file. Nor are the notes of single
calls: there is one every few seconds.
"""


def history(ledger: Ledger) -> tuple[list[Event], int]:
    """What happened, first to last, and how many documents were left out.

    :raises LedgerError: The ledger cannot be read.
    """
    found = ((*names.kind_of(name), name) for name in ledger.names())
    known = sorted((each for each in found if each[0] in _KINDS), key=_place)
    events = []
    live: dict[int, RoundKind] = {}
    for kind, numbers, name in known[:MOST_DOCUMENTS]:
        document = ledger.read(name, _KINDS[kind][0])
        if document is not None:
            round_, shard, *_ = (*numbers, 0, 0)
            # The plans come before what landed by them.
            live |= _live(document, round_)
            shard = shard if _is_of_shard(kind) else 0
            events += [Event(*said, round=round_, shard=shard) for said in _said(kind, document, live.get(round_))]
    order = {kind: number for number, kind in enumerate(SHOWN_KINDS)}
    events.sort(key=lambda event: (event.at, order[event.kind]))
    return events, max(0, len(known) - MOST_DOCUMENTS)


def _live(document: Document, number: int) -> dict[int, RoundKind]:
    """Rounds of single calls that a plan tells of."""
    if isinstance(document, BatchPlan):
        return {TRIAL_ROUND: RoundKind.TRIAL} if document.trial else {}
    if isinstance(document, RoundPlan) and document.kind is not RoundKind.BATCH:
        return {number: document.kind}
    return {}


def _said(kind: str, document: Document, live: RoundKind | None) -> Iterator[Saying]:
    """What a document tells.

    :param live: Why the rows of its round are called, None if they are sent in jobs.
    """
    if live and isinstance(document, Landed):
        yield _called(document, live)
    else:
        yield _KINDS[kind][1](document)
    if isinstance(document, BatchPlan) and document.trial:
        yield _trial(document.trial)


def _place(known: tuple[str, tuple[int, ...], str]) -> tuple[bool, int, int, str]:
    """Which are read first."""
    kind, numbers, name = known
    is_of_shard = _is_of_shard(kind)
    return is_of_shard, -numbers[0] if numbers else 0, numbers[1] if is_of_shard else 0, name


def _is_of_shard(kind: str) -> bool:
    return ".s#." in kind


def _rows_in(plan: RoundPlan) -> int:
    return sum(shard.rows for shard in plan.shards)


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _jobs(document: RoundPlan) -> str:
    count = len(document.shards)
    return f"{count:,} job{'' if count == 1 else 's'}"
