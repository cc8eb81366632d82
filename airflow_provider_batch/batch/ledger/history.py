"""What happened to a batch and when, in words, from the documents of its ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import (
    BatchPlan,
    Cancel,
    Document,
    Landed,
    Outcome,
    Published,
    Refusal,
    Revoked,
    RoundPlan,
    Scan,
    Sending,
    Superseded,
    Uploaded,
)
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.rows.manifest import counts_in_words

MOST_DOCUMENTS = 400
"""Documents that are read: those about whole rounds, then those of shards, the newest round first."""

SHOWN_KINDS = (
    "plan",
    "round",
    "uploaded",
    "sent",
    "accepted",
    "refused",
    "landed",
    "ended",
    "trouble",
    "cancel",
    "published",
)
"""In the order of events at the same moment."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    :param kind: One of :data:`SHOWN_KINDS`.
    :param text: May hold words of the API; nothing in it is to be trusted as markup.
    :param round: 0 where the batch as a whole is meant.
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


def _plan(said: BatchPlan) -> Saying:
    skipped = f", {said.skipped:,} bad {'row' if said.skipped == 1 else 'rows'} left out" if said.skipped else ""
    return said.first.created_at, "plan", "Planned", f"{_rows(said.rows)}, {_jobs(said.first)}{skipped}"


def _round(said: RoundPlan) -> Saying:
    rows = sum(shard.rows for shard in said.shards)
    return said.created_at, "round", "Sent again", f"{_rows(rows)}, {_jobs(said)}"


def _uploaded(said: Uploaded) -> Saying:
    return said.at, "uploaded", "Uploaded", said.name


def _sending(said: Sending) -> Saying:
    return said.at, "sent", "Create call", said.display_name


def _outcome(said: Outcome) -> Saying:
    if said.job:
        return said.at, "accepted", "Accepted", said.job
    title = {
        Refusal.QUOTA: "The queue was full",
        Refusal.NOT_SENT: "Not sent",
        Refusal.FINAL: "Refused",
        Refusal.ABSENT: "No job came of it",
    }
    return said.at, "refused", title[said.refusal] if said.refusal else "Refused", said.reason


def _revoked(said: Revoked) -> Saying:
    return said.at, "trouble", "The answer was lost", "the input was deleted, so a late create call must fail"


def _scan(said: Scan) -> Saying:
    return said.at, "trouble", "Looked for the job", "a complete listing does not show it"


def _landed(said: Landed) -> Saying:
    words = [counts_in_words(said.counts)]
    if said.error:
        words.append(said.error)
    kind = "landed" if said.state is JobState.SUCCEEDED else "ended"
    return said.at, kind, f"Landed, {said.state.value}", "; ".join(words)


def _cancel(said: Cancel) -> Saying:
    return said.at, "cancel", "Asked to end", said.why


def _published(said: Published) -> Saying:
    return said.at, "published", "Published", "the results are in the result folder"


def _superseded(said: Superseded) -> Saying:
    return said.at, "trouble", "Superseded", "other rows or another model took the place of these"


_KINDS: dict[str, tuple[type[Document], Callable[[Any], Saying]]] = {
    names.PLAN: (BatchPlan, _plan),
    names.NEXT_PLAN: (RoundPlan, _round),
    names.UPLOADED: (Uploaded, _uploaded),
    names.SENDING: (Sending, _sending),
    names.OUTCOME: (Outcome, _outcome),
    names.REVOKED: (Revoked, _revoked),
    names.SCAN: (Scan, _scan),
    names.LANDED: (Landed, _landed),
    names.CANCEL: (Cancel, _cancel),
    names.PUBLISHED: (Published, _published),
    names.SUPERSEDED: (Superseded, _superseded),
}
"""Sessions are not among them: they hold an address to which whoever knows it can write."""


def history(ledger: Ledger) -> tuple[list[Event], int]:
    """What happened, first to last, and how many documents were left out.

    :raises LedgerError: The ledger cannot be read.
    """
    found = ((*names.kind_of(name), name) for name in ledger.names())
    known = sorted((each for each in found if each[0] in _KINDS), key=_place)
    events = []
    for kind, numbers, name in known[:MOST_DOCUMENTS]:
        document_type, words = _KINDS[kind]
        document = ledger.read(name, document_type)
        if document is not None:
            round_, shard, *_ = (*numbers, 0, 0)
            events.append(Event(*words(document), round=round_, shard=shard if _is_of_shard(kind) else 0))
    order = {kind: number for number, kind in enumerate(SHOWN_KINDS)}
    events.sort(key=lambda event: (event.at, order[event.kind]))
    return events, max(0, len(known) - MOST_DOCUMENTS)


def _place(known: tuple[str, tuple[int, ...], str]) -> tuple[bool, int, int, str]:
    """Which are read first."""
    kind, numbers, name = known
    is_of_shard = _is_of_shard(kind)
    return is_of_shard, -numbers[0] if numbers else 0, numbers[1] if is_of_shard else 0, name


def _is_of_shard(kind: str) -> bool:
    return ".s#." in kind


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _jobs(said: RoundPlan) -> str:
    count = len(said.shards)
    return f"{count:,} job{'' if count == 1 else 's'}"
