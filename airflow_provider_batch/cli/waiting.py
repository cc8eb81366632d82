"""``wait``, and the waiting of ``submit --wait``. Never sends, never cancels."""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_provider_batch.batch.wait.watch import Finished, GiveUp, Watch
from airflow_provider_batch.cli import printing, targets, views
from airflow_provider_batch.cli.access import Access, access
from airflow_provider_batch.cli.progress import Board, board
from airflow_provider_batch.cli.running import LOOK, STOPPED, UNFINISHED, WELL, log_to_stderr
from airflow_provider_batch.cli.wording import in_shell_words
from airflow_provider_batch.contract import MAX_TIMEOUT_S
from airflow_provider_batch.errors import BatchError, ConfigError, JobError, JobUnreadableError

if TYPE_CHECKING:
    from airflow_provider_batch.batch.decide.actions import Wait
    from airflow_provider_batch.batch.run import LandedBatch, SubmittedBatch
    from airflow_provider_batch.batch.work import Work
    from airflow_provider_batch.contract import BatchService
    from airflow_provider_batch.gemini.service import GeminiBatchService

TICK_S = 1.0


class UnfinishedError(Exception):
    """The time that the user wants to wait is over. The jobs were left alone."""


@dataclass
class WaitLimits:
    """How long the user waits, and what is waited for, should they stop.

    :param until: By :func:`time.monotonic`.
    :param poll_s: Longest time between looks, seconds.
    :param jobs: What is waited for.
    :param created: Jobs that were made meanwhile.
    """

    until: float
    poll_s: float
    jobs: set[str] = field(default_factory=set)
    created: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, options: Namespace, timeout_s: float | None) -> WaitLimits:
        """What the options say."""
        return cls(time.monotonic() + (timeout_s or MAX_TIMEOUT_S), options.poll_interval)


def wait(options: Namespace) -> int:
    """Wait for a job, or for a batch and land it."""
    given = access(options)
    log_to_stderr(chatty=options.debug)
    patience = WaitLimits.of(options, options.timeout)
    waits = _for_job if targets.is_job(options.target) else _for_batch
    try:
        return waits(options, given, patience)
    except KeyboardInterrupt:
        tell_left_alone(options, patience.jobs, "Stopped waiting.", options.target)
        return STOPPED
    except UnfinishedError:
        tell_left_alone(options, patience.jobs, f"Not finished within {options.timeout:g} s.", options.target)
        return UNFINISHED


def tell_left_alone(options: Namespace, jobs: Iterable[str], why: str, target: str) -> None:
    """Say that nothing was cancelled, and what can be done."""
    named = sorted(jobs)
    again = views.command(options, "wait", target)
    if not named:
        printing.tell(f"\n{why} Nothing was cancelled. {again} goes on waiting.")
        return
    runs = "runs on and is" if len(named) == 1 else "run on and are"
    printing.tell(
        f"\n{why} {', '.join(named)} {runs} billed. {again} goes on waiting; "
        f"{views.command(options, 'cancel', *named)} asks to end."
    )


def _for_job(options: Namespace, given: Access, patience: WaitLimits) -> int:
    with given.service() as service, board() as shown:
        # A name that is wrong is told at once. Later the wait is patient.
        service.look(options.target)
        pause(service, (options.target,), None, patience, shown)
        job = service.look(options.target)
    with given.connect() as client:
        view = views.job_view(client.get_batch(options.target))
    if options.json:
        printing.document(view)
    else:
        views.say_job(view)
        if view["output_file"] or view["state"] == "succeeded":
            printing.say(f"next: {views.command(options, 'download', options.target)}")
    return WELL if views.ended_well(job) else LOOK


def _for_batch(options: Namespace, given: Access, patience: WaitLimits) -> int:
    from airflow_provider_batch.batch.assemble import to_land
    from airflow_provider_batch.cli.ledgers import OWNER, newest
    from airflow_provider_batch.gemini.rows.dialect import GeminiRows

    folder = targets.result_folder(given.open_path, options.target)
    ledger, batch = newest(folder)
    patience.jobs |= {shard.job for shard in batch.round.shards if shard.job}
    with given.service() as service:
        if batch.plan.identity.dag_id != OWNER and not batch.round.published:
            return _for_others(options, service, patience, str(batch.plan.identity))
        work = to_land(service, ledger, folder, GeminiRows(), prices=given.read_prices())
        result = go_on(work, patience)
    return landed(options, result)


def _for_others(options: Namespace, service: GeminiBatchService, patience: WaitLimits, owner: str) -> int:
    """Landing what a task comes back for would take its rows that failed away from it."""
    jobs = patience.jobs
    with board() as shown:
        for name in sorted(jobs):
            pause(service, (name,), None, patience, shown)
        ended = [service.look(name) for name in sorted(jobs)]
    printing.tell(
        f"This is the batch of {owner}, which lands it; airflow-batch sweep does if it never comes back."
    )
    if options.json:
        printing.document({"state": "ended", "jobs": [{"name": j.name, "state": j.state.value} for j in ended]})
    return WELL if all(map(views.ended_well, ended)) else LOOK


def go_on(work: Work, patience: WaitLimits) -> LandedBatch | SubmittedBatch:
    """Visit the batch until it has landed, or everything is submitted if that is all that is wanted.

    :raises UnfinishedError: The user's time is over.
    """
    from airflow_provider_batch.batch.decide.actions import Wait
    from airflow_provider_batch.batch.run import Run

    with board() as shown:
        while True:
            result = Run(work).go()
            if not isinstance(result, Wait):
                return result
            patience.jobs = set(result.jobs)
            if not work.policy.may_send and not result.jobs and not result.names:
                _ensure_sent(work)
            pause(work.service, result.jobs, _until(result, work.service.now(), patience), patience, shown)
            work = replace(work, policy=replace(work.policy, is_new_try=False))


def _until(wait: Wait, now: float, patience: WaitLimits) -> float:
    """When the batch is visited again at the latest."""
    if wait.deadline <= now:
        # The last look before it failed. It is looked again for a while.
        return min(wait.until or math.inf, now + patience.poll_s)
    return min(wait.until or math.inf, wait.deadline)


def _ensure_sent(work: Work) -> None:
    """Make sure that there is something to wait for. A command that only waits does not send what is left.

    :raises ConfigError: There is not.
    """
    from airflow_provider_batch.batch.ledger.state import read_batch

    last = read_batch(work.ledger).round
    shards = () if last.is_live else last.shards
    unsent = sum(not shard.landed and not shard.job for shard in shards)
    if unsent:
        raise ConfigError(
            f"Of the batch in {work.folder}, {unsent} of {len(shards)} jobs are not submitted and none runs.",
            code="AGB-C08",
            remedy="Run the submit command again: it goes on with what exists.",
        )


def pause(
    service: BatchService, jobs: tuple[str, ...], until: float | None, patience: WaitLimits, shown: Board
) -> None:
    """Look at jobs until one has ended, or a time has come.

    :param until: Unix time by the server's clock.
    :raises JobUnreadableError: One cannot be asked about.
    :raises UnfinishedError: The user's time is over.
    """
    patience.jobs |= set(jobs)
    watches = {name: Watch(name, service.now() + MAX_TIMEOUT_S, patience.poll_s) for name in jobs}
    due = dict.fromkeys(jobs, 0.0)
    while True:
        for name in [name for name in jobs if due[name] <= time.monotonic()]:
            wait_s = _look(service, watches[name], shown)
            if wait_s is None:
                return
            due[name] = time.monotonic() + wait_s
        now, here = service.now(), time.monotonic()
        if until is not None and now >= until:
            return
        if here >= patience.until:
            raise UnfinishedError
        shown.tick(now)
        times = [TICK_S, patience.until - here, *(at - here for at in due.values())]
        time.sleep(max(0.02, min(times if until is None else [*times, until - now])))


def _look(service: BatchService, watch: Watch, shown: Board) -> float | None:
    """Seconds until the next look, None if the job has ended."""
    try:
        job = service.look(watch.job_name)
    except BatchError as error:
        verdict = watch.failed(error, service.now())
    else:
        shown.saw(job, service.now())
        verdict = watch.saw(job, service.now())
        if isinstance(verdict, Finished):
            return None
    if isinstance(verdict, GiveUp):
        raise JobUnreadableError(
            verdict.message,
            job_name=watch.job_name,
            code="AGB-P03",
            remedy="Nothing was cancelled. Check the name and the key.",
        )
    assert not isinstance(verdict, Finished)
    if verdict.note and "looking failed" in verdict.note:
        shown.note(verdict.note)
    return verdict.wait_s


def landed(options: Namespace, result: LandedBatch | SubmittedBatch) -> int:
    """Tell how a batch ended. Returns the exit status for it."""
    from airflow_provider_batch.batch.decide.outcome import ensure_done
    from airflow_provider_batch.batch.run import LandedBatch
    from airflow_provider_batch.rows.dialect import RowStatus

    assert isinstance(result, LandedBatch)
    manifest = result.manifest
    if options.json:
        printing.document({"state": "landed", **manifest.to_xcom()})
    else:
        views.say_results(manifest)
    try:
        ensure_done(result.batch, manifest)
    except JobError as error:
        printing.tell(f"error: {in_shell_words(error.message)} {manifest.failed_uri or ''}".rstrip())
        return LOOK
    return LOOK if manifest.skipped or set(manifest.counts) - {RowStatus.SUCCESS} else WELL
