"""What was paid for and not taken: the ledgers of a storage tree against the complete listing of an account.

*Reconcile* compares and reports. *Sweep* also takes what can be taken without spending anything. It notes jobs
whose answer was lost, and lands what has ended. It publishes batches that no task comes back for, and deletes
uploads of batches that have ended. Neither ever sends a create call or cancels.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from upath import UPath

from airflow_provider_batch.batch.assemble import to_land
from airflow_provider_batch.batch.cost.lifetime import results_until
from airflow_provider_batch.batch.cost.receipts import Prices, no_prices
from airflow_provider_batch.batch.findings import Finding, Kind, hours_left, of_calls
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import TRIAL_ROUND
from airflow_provider_batch.batch.ledger.job_names import PREFIX, JobTag
from airflow_provider_batch.batch.ledger.publication import Retired
from airflow_provider_batch.batch.ledger.state import BatchState, Shard, read_batch
from airflow_provider_batch.batch.ledger.store import FOLDER, RETIRED, Ledger, retire
from airflow_provider_batch.batch.live.left_behind import left_at, left_behind, open_calls
from airflow_provider_batch.batch.live.visit import land_called
from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.batch.run import LandedBatch, Run
from airflow_provider_batch.contract import BatchService, CannotTell, Found, JobSnapshot, JobState
from airflow_provider_batch.errors import BatchError, NotFoundError
from airflow_provider_batch.rows.dialect import RowDialect

log = logging.getLogger(__name__)

_LEFT = "no task went on with the rows"

ABANDONED_S = 6 * 3600.0
"""A job that ended so long ago and has not landed has no task that comes back for it soon. Seconds."""


@dataclass(frozen=True)
class Known:
    """A ledger and what it says.

    :param earlier: Jobs of the generations before it, which other rows have superseded.
    """

    ledger: Ledger
    batch: BatchState
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What there is, and what is wrong with it.

    :param landed: Result folders that a sweep has published.
    :param kept: Ledgers in which a sweep has landed the answers of a trial. No batch followed it.
    :param passed_over: Ledgers of another credential, whose jobs this one cannot see.
    :param too_young: Ledgers from which a sweep could take something, and which it leaves to their tasks for now.
    :param taken_after_s: A sweep takes it when the last job of the batch ended so many seconds ago.
    """

    ledgers: int
    jobs: int
    findings: tuple[Finding, ...]
    landed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    too_young: tuple[str, ...] = ()
    taken_after_s: float | None = None


def find_ledgers(root: UPath) -> Iterator[Ledger]:
    """The newest generation of every ledger below a folder."""
    newest: dict[str, UPath] = {}
    for plan in sorted(root.glob(f"**/{FOLDER}/*/*/{names.PLAN}"), key=lambda path: int(path.parent.name)):
        newest[str(plan.parent.parent)] = plan.parent
    for folder in newest.values():
        yield Ledger(folder)


def reconcile(service: BatchService, roots: Sequence[UPath], *, account: str | None = None) -> Report:
    """Compare and report. Changes nothing.

    :param account: Label of the credential, as ledgers note it. Ledgers of another credential are passed over, as
        their jobs are not in the listing and may run all the same. None = all ledgers are of this credential.
    :raises BatchError: The listing cannot be read to its end: nothing can be said.
    """
    jobs = _listed(service)
    there = _read(roots, jobs, account)
    retired = {name for root in roots for name in _retired(root)}
    findings = there.damaged + _compare(
        there.known, {name: job for name, job in jobs.items() if name not in retired}, service
    )
    return Report(there.count, len(jobs), tuple(findings), passed_over=tuple(there.passed_over))


def sweep(
    service: BatchService,
    roots: Sequence[UPath],
    dialect: RowDialect,
    *,
    account: str | None = None,
    abandoned_s: float = ABANDONED_S,
    prices: Prices = no_prices,
    observer: Observer | None = None,
) -> Report:
    """Take what can be taken for nothing, then report what is left.

    :param account: As for :func:`reconcile`.
    :param prices: What models cost, for the manifests.
    :param observer: Told what is landed.
    :param abandoned_s: Batches are left to their tasks until their last job ended so many seconds ago.
    """
    jobs = _listed(service)
    taken = _Taken()
    for one in _read(roots, jobs, account).known:
        try:
            if _is_abandoned(one, jobs, service.now() - abandoned_s):
                _take(service, one, dialect, prices, observer or Observer(), taken)
            elif _is_abandoned(one, jobs, math.inf):
                taken.too_young.append(str(one.ledger.folder))
        except BatchError as error:
            log.warning("%s cannot be landed: %s", one.ledger.folder, error)
    report = reconcile(service, roots, account=account)
    return replace(
        report,
        landed=tuple(taken.landed),
        kept=tuple(taken.kept),
        too_young=tuple(taken.too_young),
        taken_after_s=abandoned_s,
    )


def prune(roots: Sequence[UPath], before: datetime, *, is_tried: bool = False) -> list[str]:
    """Delete ledgers whose results were published before that time, with the copies of rows that they keep.

    The results stay. What was paid for is remembered: a clear of an old run fails (``AGB-S09``) and pays nothing.
    Rows that failed are not sent again by a clear any more.

    :param is_tried: Delete nothing.
    :return: The folders of the ledgers.
    """
    pruned = []
    for ledger in (ledger for root in roots for ledger in find_ledgers(root)):
        batch = read_batch(ledger)
        if batch.round.published is None or batch.round.published.at >= before:
            continue
        home = ledger.folder.parent
        folder, task_digest = home.parent.parent, home.name
        pruned.append(str(home))
        if not is_tried:
            retire(folder, task_digest, sorted({*batch.jobs, *_earlier(ledger)}))
    return pruned


@dataclass
class _Taken:
    """What a sweep has taken, and what not yet. As in :class:`Report`."""

    landed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    too_young: list[str] = field(default_factory=list)


def _take(
    service: BatchService, known: Known, dialect: RowDialect, prices: Prices, observer: Observer, taken: _Taken
) -> None:
    folder = known.ledger.folder.parent.parent.parent
    work = to_land(service, known.ledger, folder, dialect, prices=prices, timeout_s=0.0, observer=observer)
    if not _has_more_than_a_trial(known.batch):
        # There is nothing to publish.
        landed = [land_called(work, known.batch, shard, _LEFT) for _, shard in open_calls(known.batch)]
        taken.kept += [str(known.ledger.folder)] if any(landed) else []
        return
    result = Run(work).go()
    if isinstance(result, LandedBatch) and not known.batch.round.published:
        log.info("Landed %s, which no task came back for.", result.manifest.result_uri)
        taken.landed.append(result.manifest.result_uri)


def _retired(root: UPath) -> Iterator[str]:
    """Jobs that have landed and whose results a later run has replaced."""
    for path in root.glob(f"**/{FOLDER}/{RETIRED}/*.json"):
        document = Ledger(path.parent).read(path.name, Retired)
        yield from document.jobs if document else ()


@dataclass
class _Ledgers:
    """What is below some folders.

    :param count: Ledgers of the credential, also those that need not be read.
    """

    count: int = 0
    known: list[Known] = field(default_factory=list)
    damaged: list[Finding] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def _read(roots: Sequence[UPath], jobs: dict[str, JobSnapshot], account: str | None) -> _Ledgers:
    """Read the ledgers. One that is complete, and of whose jobs the listing shows none, has nothing to tell."""
    listed_tasks = {tag.task_digest for job in jobs.values() if (tag := JobTag.read(job.display_name))}
    there = _Ledgers()
    for ledger in (ledger for root in roots for ledger in find_ledgers(root)):
        try:
            is_listed = ledger.folder.parent.name in listed_tasks
            if not is_listed and _is_complete(ledger.names()):
                there.count += 1
                continue
            batch = read_batch(ledger)
            if account is not None and batch.plan.account != account and not is_listed:
                there.passed_over.append(str(ledger.folder))
                continue
            there.count += 1
            there.known.append(Known(ledger, batch, tuple(_earlier(ledger))))
        except BatchError as error:
            there.damaged.append(Finding(Kind.DAMAGED, str(error), ledger=str(ledger.folder)))
    return there


def _is_complete(there: set[str]) -> bool:
    """The newest round is published, and what is not needed is deleted."""
    if names.name_of(names.LANDED, TRIAL_ROUND, 1) in there and names.name_of(names.LANDED, 1, 1) not in there:
        # All rows were tried. No listing says whether calls of these were lost.
        return False
    last = 1 + sum(names.kind_of(name)[0] == names.NEXT_PLAN for name in there)
    return {names.PLAN, names.name_of(names.TIDIED, last)} <= there


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
            findings += _open_shard(one, shard, jobs, service)
        findings += _of_calls(one, jobs, service)
        noted |= dict.fromkeys(one.earlier, str(one.ledger.folder))
    findings += _duplicates(jobs)
    findings += [
        Finding(
            Kind.ORPHAN,
            f"{job.name} ({job.raw_state}) is in no ledger here.",
            name,
            hours_left=hours_left(job, service),
        )
        for name, job in jobs.items()
        if name not in noted and _matters(job, service)
    ]
    return findings


def _of_calls(known: Known, jobs: dict[str, JobSnapshot], service: BatchService) -> Iterator[Finding]:
    where = str(known.ledger.folder)
    yield from of_calls(known.batch, where, jobs, service)
    try:
        yield from left_behind(known.ledger, known.batch, where, service.now())
    except BatchError as error:
        yield Finding(Kind.DAMAGED, str(error), ledger=where)


def _unlisted(service: BatchService, name: str, where: str) -> list[Finding]:
    """A job that the listing does not show is gone only if it is not there by its name either."""
    try:
        service.look(name)
    except NotFoundError:
        text = (
            f"{name} is not known to the API for this credential: it was deleted, or is of another project, where "
            "it may run. Keep its ledger: without it the same rows are paid for again."
        )
        return [Finding(Kind.GONE, text, name, where)]
    except BatchError as error:
        return [Finding(Kind.GONE, f"Whether {name} is there cannot be told: {error.message}", name, where)]
    return []


def _open_shard(known: Known, shard: Shard, jobs: dict[str, JobSnapshot], service: BatchService) -> list[Finding]:
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
        return _unlisted(service, shard.job, where)
    if not job.state.is_terminal:
        return []
    text = f"{job.name} is {job.raw_state} and has not landed."
    return [Finding(Kind.UNLANDED, text, job.name, where, hours_left(job, service))]


def _duplicates(jobs: dict[str, JobSnapshot]) -> list[Finding]:
    parts: dict[tuple[object, ...], list[JobSnapshot]] = defaultdict(list)
    for job in jobs.values():
        tag = JobTag.read(job.display_name)
        if tag is not None and (job.state is JobState.SUCCEEDED or not job.state.is_terminal):
            parts[tag.task_digest, tag.folder, tag.generation, tag.round, tag.shard, tag.content].append(job)
    return [
        Finding(Kind.DUPLICATE, f"{' and '.join(job.name for job in same)} are for the same rows.", same[0].name)
        for same in parts.values()
        if len(same) > 1
    ]


def _is_abandoned(known: Known, jobs: dict[str, JobSnapshot], before: float) -> bool:
    """Something can be taken, and it could have been for a while.

    :raises LedgerError: What single calls brought cannot be read.
    """
    batch = known.batch
    waiting = [shard for shard in batch.round.shards if not shard.landed]
    if batch.round.published and not batch.superseded:
        # Killed after it was published: what is not needed any more is still there.
        return not batch.round.is_tidied and batch.round.published.at.timestamp() < before
    calls = [left_at(known.ledger, called, shard) for called, shard in open_calls(batch)]
    if batch.superseded or not (calls or _has_more_than_a_trial(batch)):
        return False
    if not all(time < before for time in calls):
        return False
    times = [_ended_at(jobs.get(shard.job or "")) for shard in waiting]
    times += [shard.last.sending.at.timestamp() for shard in waiting if shard.is_unresolved and shard.last]
    times += [landed.at.timestamp() for landed in batch.landed]
    return all(time < before for time in times)


def _has_more_than_a_trial(batch: BatchState) -> bool:
    """A batch was sent, or there is none to send as all rows were tried."""
    return batch.has_spent or not batch.plan.first.shards


def _ended_at(job: JobSnapshot | None) -> float:
    """When a job ended. 0 if it is not there, the end of time if it runs."""
    if job is None:
        return 0.0
    if not job.state.is_terminal:
        return float("inf")
    return job.ended_or_created_at.timestamp() if job.ended_or_created_at else 0.0


def _matters(job: JobSnapshot, service: BatchService) -> bool:
    """It runs, or has results that can still be fetched."""
    if job.state is not JobState.SUCCEEDED:
        return not job.state.is_terminal
    until = results_until(job, service.limits.result_life_s)
    return until is None or until > service.now()


def _job_of(shard: Shard) -> str | None:
    return shard.landed.job if shard.landed else shard.job
