"""The ledger of a result path, and its documents as a history that a person can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.engine import documents as d
from airflow_provider_batch.engine.ledger import Ledger, generations, marks
from airflow_provider_batch.engine.state import Batch, Shard, read_batch
from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from upath import UPath


OWNER = "airflow-batch"
"""What stands for the DAG in the identity of a batch that was sent from a command line."""


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    :param part: The round and the shard, empty if the whole batch is meant.
    """

    at: datetime
    part: str
    what: str


def newest(folder: UPath) -> tuple[Ledger, Batch]:
    """The batch that was begun last in a result folder.

    :raises ConfigError: There is none.
    :raises LedgerError: It cannot be read.
    """
    known = [generations(folder, mark)[-1:] for mark in marks(folder)]
    found = [(ledger, read_batch(ledger)) for some in known for ledger in some]
    if not found:
        raise ConfigError(
            f"There is no batch in {folder}: it has no ledger.",
            code="AGB-C08",
            remedy="Give the result path of a batch that was submitted, or the name of a job, batches/...",
        )
    return max(found, key=lambda pair: pair[1].plan.first.created_at)


def owner_of(batch: Batch) -> str:
    """Whose batch it is, in words."""
    who = batch.plan.identity
    return "a command line" if who.dag_id == OWNER else str(who)


def state_of(batch: Batch) -> str:
    """How far the batch is, by its ledger alone."""
    if batch.superseded:
        return "superseded"
    if batch.round.published:
        return "landed"
    if batch.is_refused:
        return "refused"
    shards = batch.round.shards
    if any(shard.is_unresolved and not shard.landed for shard in shards):
        return "unknown whether a job exists"
    if all(shard.landed for shard in shards):
        return "landed, not published"
    if batch.round.cancel:
        return "asked to end"
    sent = [shard for shard in shards if shard.landed or shard.job]
    if not sent:
        return "not submitted"
    return "submitted" if len(sent) == len(shards) else "partly submitted"


def shard_view(shard: Shard) -> dict[str, Any]:
    """Plain values of one job's part."""
    landed = shard.landed
    return {
        "round": shard.round,
        "shard": shard.number,
        "rows": shard.plan.rows,
        "job": landed.job if landed else shard.job,
        "state": landed.state.value if landed else ("submitted" if shard.job else "not submitted"),
        "counts": {status.value: n for status, n in landed.counts.items()} if landed else {},
        "tokens": landed.tokens.model_dump() if landed else None,
        "error": landed.error if landed else "",
    }


def history(ledger: Ledger) -> list[Event]:
    """Everything that the ledger tells, oldest first. The addresses of uploads are left out: they are secrets."""
    return sorted(_events(ledger), key=lambda event: event.at)


def _events(ledger: Ledger) -> Iterator[Event]:
    for name in sorted(ledger.names()):
        for pattern, kind, words in _DOCUMENTS:
            match = pattern.fullmatch(name)
            document = ledger.read(name, kind) if match else None
            if match and document is not None:
                yield Event(_time(document), _part(match), words(document))


def _time(document: Any) -> datetime:
    if isinstance(document, d.Plan):
        return document.first.created_at
    at: datetime = document.created_at if isinstance(document, d.RoundPlan) else document.at
    return at


def _part(match: re.Match[str]) -> str:
    said = match.groupdict()
    return " ".join(f"{name} {said[name]}" for name in ("round", "shard") if said.get(name))


def _plan(plan: d.Plan) -> str:
    said = plan.estimate
    usd = said.batch_usd if said else None
    cost = f", estimated USD {usd.least:,.4f} to {usd.most:,.4f}" if usd and usd.most is not None else ""
    jobs = len(plan.first.shards)
    return f"planned: {plan.rows:,} rows, {jobs} {'job' if jobs == 1 else 'jobs'} with {plan.model}{cost}"


def _round(plan: d.RoundPlan) -> str:
    return f"planned again: {sum(shard.rows for shard in plan.shards):,} rows that had no usable answer"


def _outcome(outcome: d.Outcome) -> str:
    if outcome.job:
        return f"created {outcome.job}"
    why = f": {outcome.reason}" if outcome.reason else ""
    return f"no job ({outcome.refusal.value if outcome.refusal else 'refused'}){why}"


def _landed(landed: d.Landed) -> str:
    counts = ", ".join(f"{n} {status.value}" for status, n in sorted(landed.counts.items()))
    error = f" ({landed.error})" if landed.error else ""
    return f"landed {landed.job or 'nothing'}, {landed.state.value}{error}: {counts or 'no rows'}"


_DOCUMENTS: tuple[tuple[re.Pattern[str], type[d.Document], Callable[[Any], str]], ...] = tuple(
    (re.compile(pattern), kind, words)
    for pattern, kind, words in (
        (r"plan\.json", d.Plan, _plan),
        (r"r(?P<round>\d+)\.plan\.json", d.RoundPlan, _round),
        (r"r(?P<round>\d+)\.s(?P<shard>\d+)\.f\d+\.file\.json", d.Uploaded, lambda one: f"uploaded {one.name}"),
        (
            r"r(?P<round>\d+)\.s(?P<shard>\d+)\.e\d+\.sending\.json",
            d.Sending,
            lambda one: f"sent the create call {one.display_name}",
        ),
        (r"r(?P<round>\d+)\.s(?P<shard>\d+)\.e\d+\.outcome\.json", d.Outcome, _outcome),
        (
            r"r(?P<round>\d+)\.s(?P<shard>\d+)\.e\d+\.revoked\.json",
            d.Revoked,
            lambda _: "deleted the input of a create call whose answer was lost",
        ),
        (
            r"r(?P<round>\d+)\.s(?P<shard>\d+)\.e\d+\.scan\d+\.json",
            d.Scan,
            lambda _: "a complete listing shows no job of the call whose answer was lost",
        ),
        (r"r(?P<round>\d+)\.s(?P<shard>\d+)\.landed\.json", d.Landed, _landed),
        (r"r(?P<round>\d+)\.cancel\.json", d.Cancel, lambda one: f"asked the jobs to end: {one.why}"),
        (r"r(?P<round>\d+)\.published\.json", d.Published, lambda _: "published the results"),
        (r"superseded\.json", d.Superseded, lambda _: "superseded by other rows or another model"),
    )
)
