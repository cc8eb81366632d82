"""What was paid for and nobody took: the ledgers of a storage tree against the complete listing of an account.

*Reconcile* compares and reports. *Sweep* also takes what can be taken without spending anything: it notes jobs
whose answer was lost, lands what has ended, publishes batches that no task comes back for, and deletes uploads
of batches that have ended. Neither ever sends a create call or cancels.
"""

from __future__ import annotations

import enum
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from upath import UPath

from airflow_provider_batch.contract import BatchService, CannotTell, Found, JobSnapshot, JobState
from airflow_provider_batch.engine.costs import Prices, no_prices
from airflow_provider_batch.engine.documents import Retired
from airflow_provider_batch.engine.identity import PREFIX, JobTag
from airflow_provider_batch.engine.ledger import FOLDER, RETIRED, Ledger
from airflow_provider_batch.engine.lifetime import results_until
from airflow_provider_batch.engine.observer import Observer
from airflow_provider_batch.engine.run import Landed, Run, Work
from airflow_provider_batch.engine.state import Batch, Shard, read_batch
from airflow_provider_batch.engine.step import Policy
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.rows.dialect import RowDialect

log = logging.getLogger(__name__)

ABANDONED_S = 6 * 3600.0
"""A job that ended so long ago and has not landed has no task that comes back for it soon, seconds."""


class Kind(str, enum.Enum):
    """What was found."""

    UNLANDED = "unlanded"
    """A job has ended, is paid for, and its results were not taken."""
    DUPLICATE = "duplicate"
    """Two jobs for the same rows."""
    ORPHAN = "orphan"
    """A job of this package that no ledger knows."""
    UNRESOLVED = "unresolved"
    """A create call whose outcome nobody has noted."""
    GONE = "gone"
    """A job that the ledger waits for and the server does not know."""
    DAMAGED = "damaged"
    """A ledger that cannot be read."""


@dataclass(frozen=True)
class Finding:
    """One thing that somebody should know.

    :param hours_left: Until the server deletes the results, None if it does not apply.
    """

    kind: Kind
    text: str
    job: str = ""
    ledger: str = ""
    hours_left: float | None = None


@dataclass(frozen=True)
class Known:
    """A ledger and what it says.

    :param earlier: Jobs of the generations before it, which other rows have superseded.
    """

    ledger: Ledger
    batch: Batch
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What there is, and what is wrong with it.

    :param landed: Result folders that a sweep has published.
    """

    ledgers: int
    jobs: int
    findings: tuple[Finding, ...]
    landed: tuple[str, ...] = ()


def find_ledgers(root: UPath) -> Iterator[Ledger]:
    """The newest generation of every ledger below a folder."""
    newest: dict[str, UPath] = {}
    for plan in sorted(root.glob(f"**/{FOLDER}/*/*/plan.json"), key=lambda path: int(path.parent.name)):
        newest[str(plan.parent.parent)] = plan.parent
    for folder in newest.values():
        yield Ledger(folder)


def reconcile(service: BatchService, roots: Sequence[UPath]) -> Report:
    """Compare and report. Changes nothing.

    :raises BatchError: The listing cannot be read to its end: nothing can be said.
    """
    known, findings = _read([ledger for root in roots for ledger in find_ledgers(root)])
    jobs = _listed(service)
    retired = {name for root in roots for name in _retired(root)}
    findings += _compare(known, {name: job for name, job in jobs.items() if name not in retired}, service)
    return Report(len(known), len(jobs), tuple(findings))


def sweep(
    service: BatchService,
    roots: Sequence[UPath],
    dialect: RowDialect,
    *,
    abandoned_s: float = ABANDONED_S,
    prices: Prices = no_prices,
    observer: Observer | None = None,
) -> Report:
    """Take what can be taken for nothing, then report what is left.

    :param prices: What models cost, for the manifests.
    :param observer: Told what is landed.
    :param abandoned_s: Batches are left to their tasks until their last job ended so many seconds ago.
    """
    known, _ = _read([ledger for root in roots for ledger in find_ledgers(root)])
    jobs = _listed(service)
    landed: list[str] = []
    for one in known:
        if _is_abandoned(one.batch, jobs, service.now() - abandoned_s):
            landed += _take(service, one, dialect, prices, observer or Observer())
    after = reconcile(service, roots)
    return Report(after.ledgers, after.jobs, after.findings, tuple(landed))


def _take(
    service: BatchService, known: Known, dialect: RowDialect, prices: Prices, observer: Observer
) -> Iterator[str]:
    folder = known.ledger.folder.parent.parent.parent
    policy = Policy(timeout_s=0.0, max_row_attempts=1, is_new_try=False, may_send=False)
    try:
        result = Run(Work(service, known.ledger, folder, dialect, policy, prices=prices, observer=observer)).go()
    except BatchError as error:
        log.warning("%s cannot be landed: %s", known.ledger.folder, error)
        return
    if isinstance(result, Landed):
        log.info("Landed %s, which no task came back for.", result.manifest.result_uri)
        yield result.manifest.result_uri


def _retired(root: UPath) -> Iterator[str]:
    """Jobs that have landed and whose results a later run has replaced."""
    for path in root.glob(f"**/{FOLDER}/{RETIRED}/*.json"):
        document = Ledger(path.parent).read(path.name, Retired)
        yield from document.jobs if document else ()


def _read(ledgers: Iterable[Ledger]) -> tuple[list[Known], list[Finding]]:
    known, findings = [], []
    for ledger in ledgers:
        try:
            known.append(Known(ledger, read_batch(ledger), tuple(_earlier(ledger))))
        except BatchError as error:
            findings.append(Finding(Kind.DAMAGED, str(error), ledger=str(ledger.folder)))
    return known, findings


def _earlier(ledger: Ledger) -> Iterator[str]:
    for number in range(1, ledger.generation):
        yield from read_batch(Ledger(ledger.folder.parent / str(number))).jobs


def _listed(service: BatchService) -> dict[str, JobSnapshot]:
    found = service.find(PREFIX)
    if isinstance(found, CannotTell):
        raise found.error
    return {job.name: job for job in found.jobs} if isinstance(found, Found) else {}


def _compare(known: list[Known], jobs: dict[str, JobSnapshot], service: BatchService) -> list[Finding]:
    noted: dict[str, str] = {}
    findings: list[Finding] = []
    for one in known:
        for shard in one.batch.shards:
            name = _job_of(shard)
            if name:
                noted[name] = str(one.ledger.folder)
            findings += _open_shard(one, shard, jobs, service.now())
        noted |= dict.fromkeys(one.earlier, str(one.ledger.folder))
    findings += _duplicates(jobs)
    findings += [
        Finding(
            Kind.ORPHAN,
            f"{job.name} ({job.raw_state}) is in no ledger here.",
            name,
            hours_left=_left(job, service.now()),
        )
        for name, job in jobs.items()
        if name not in noted and _matters(job, service.now())
    ]
    return findings


def _open_shard(known: Known, shard: Shard, jobs: dict[str, JobSnapshot], now: float) -> list[Finding]:
    where = str(known.ledger.folder)
    if shard.landed or known.batch.superseded:
        return []
    if shard.is_unresolved and shard.last:
        name = shard.last.sending.display_name
        return [Finding(Kind.UNRESOLVED, f"Nobody noted what came of the create call {name}.", ledger=where)]
    if shard.job is None:
        return []
    job = jobs.get(shard.job)
    if job is None:
        return [Finding(Kind.GONE, f"{shard.job} is not in the listing.", shard.job, where)]
    if not job.state.is_terminal:
        return []
    text = f"{job.name} is {job.raw_state} and has not landed."
    return [Finding(Kind.UNLANDED, text, job.name, where, _left(job, now))]


def _duplicates(jobs: dict[str, JobSnapshot]) -> list[Finding]:
    parts: dict[tuple[object, ...], list[JobSnapshot]] = defaultdict(list)
    for job in jobs.values():
        tag = JobTag.read(job.display_name)
        if tag is not None and (job.state is JobState.SUCCEEDED or not job.state.is_terminal):
            parts[tag.mark, tag.place, tag.generation, tag.round, tag.shard, tag.content].append(job)
    return [
        Finding(Kind.DUPLICATE, f"{' and '.join(job.name for job in same)} are for the same rows.", same[0].name)
        for same in parts.values()
        if len(same) > 1
    ]


def _is_abandoned(batch: Batch, jobs: dict[str, JobSnapshot], before: float) -> bool:
    """Something can be taken, and it could have been for a while."""
    waiting = [shard for shard in batch.round.shards if not shard.landed]
    if batch.superseded or batch.round.published or not batch.has_spent:
        return False
    times = [_ended_at(jobs.get(shard.job or "")) for shard in waiting]
    times += [shard.last.sending.at.timestamp() for shard in waiting if shard.is_unresolved and shard.last]
    times += [shard.landed.at.timestamp() for shard in batch.round.shards if shard.landed]
    return all(time < before for time in times)


def _ended_at(job: JobSnapshot | None) -> float:
    """When a job ended; 0 if it is not there, the end of time if it runs."""
    if job is None:
        return 0.0
    if not job.state.is_terminal:
        return float("inf")
    ended = job.ended_at or job.created_at
    return ended.timestamp() if ended else 0.0


def _matters(job: JobSnapshot, now: float) -> bool:
    """It runs, or has results that can still be fetched."""
    if job.state is not JobState.SUCCEEDED:
        return not job.state.is_terminal
    until = results_until(job)
    return until is None or until > now


def _job_of(shard: Shard) -> str | None:
    return shard.landed.job if shard.landed else shard.job


def _left(job: JobSnapshot, now: float) -> float | None:
    until = results_until(job)
    return None if until is None else (until - now) / 3600
