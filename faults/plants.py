"""Bugs to be planted into a worker, each of which takes away one safeguard: a harness that misses them is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from airflow_provider_batch.batch import run
from airflow_provider_batch.batch.decide import next_step, rows_again
from airflow_provider_batch.batch.land import match_rows, publish
from airflow_provider_batch.batch.land import replace as replacing
from airflow_provider_batch.batch.ledger import kept_rows, state, store
from airflow_provider_batch.batch.live import notes, purse
from airflow_provider_batch.batch.send import create_job, rounds, start, unrecorded_jobs
from airflow_provider_batch.contract import Absent, CannotTell, JobState, Unknown
from airflow_provider_batch.errors import (
    ApiError,
    ApiUnreachableError,
    LedgerError,
    ProtocolError,
    ResultsNotReadyError,
    TemporaryError,
)
from airflow_provider_batch.gemini.client import transport
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.rows.check.keys import Arrival, Arrivals
from airflow_provider_batch.rows.storage import spool


def sends_again_after_a_lost_answer() -> None:
    """An HTTP layer that repeats a create."""
    once = GeminiBatchService.submit

    def submit_twice(self: Any, *arguments: str) -> Any:
        outcome = once(self, *arguments)
        return once(self, *arguments) if isinstance(outcome, Unknown) else outcome

    GeminiBatchService.submit = submit_twice  # type: ignore[method-assign]


def writes_over_what_is_there() -> None:
    """A store without create-if-absent."""

    def write(target: Any, data: bytes) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return True

    store.created = write


def forgets_what_it_sent() -> None:
    """A task that begins anew with each try."""
    start.generations = lambda *_: []
    unrecorded_jobs.matching = lambda *_: {}
    start.generation = lambda folder, mark, _: store.Ledger(folder / "_ledger" / mark / str(_free(folder, mark)))


def _free(folder: Any, mark: str) -> int:
    number = 1
    while (folder / "_ledger" / mark / str(number) / "plan.json").exists():
        number += 1
    return number


def believes_a_listing_that_failed() -> None:
    """Cannot tell is taken for absent, and absent at once."""
    look = GeminiBatchService.find

    def find(self: Any, prefix: str) -> Any:
        found = look(self, prefix)
        return Absent() if isinstance(found, CannotTell) else found

    GeminiBatchService.find = find  # type: ignore[method-assign]
    presumes_at_once()


def presumes_at_once() -> None:
    """No patience with a listing that lags."""
    next_step._presume = lambda batch, shard, *_: next_step.Presume(shard)


def leaves_the_input() -> None:
    """The input of a call that was given up is not deleted."""
    GeminiBatchService.unstage = lambda self, file: True  # type: ignore[method-assign]


def takes_its_turn_for_granted() -> None:
    """No proof of being the current try."""
    create_job._may_still_send = lambda *_: True


def takes_damage_for_absence() -> None:
    """A document that cannot be read is taken for none."""
    read = store.Ledger.read

    def forgiving(self: Any, name: str, kind: Any) -> Any:
        try:
            return read(self, name, kind)
        except LedgerError:
            return None

    store.Ledger.read = forgiving  # type: ignore[method-assign]
    state._there = lambda one, name, kind: forgiving(one, name, kind)
    forgets_what_it_sent()


def overlooks_other_rows() -> None:
    """The content is not compared."""
    start._goes_on = lambda *_: True


def overlooks_another_account() -> None:
    """The credential is not compared."""
    inner = start.current
    start.current = lambda order, known: inner(
        replace(order, account=state.read_batch(known[-1]).plan.account), known
    )


def overlooks_another_place() -> None:
    """Jobs with another result path are not seen."""
    start.jobs_without_ledger = lambda *_: []


def lands_what_came_of_a_download() -> None:
    """A download that breaks off is taken for complete."""
    fetch = GeminiBatchService.fetch_results

    def hurried(self: Any, job: Any, to: Any) -> int:
        with spool() as whole:
            size = fetch(self, job, whole)
            whole.seek(0)
            return int(to.write(whole.read(size // 2)))

    GeminiBatchService.fetch_results = hurried  # type: ignore[method-assign]


def believes_every_line() -> None:
    """A key that comes twice is two rows."""
    arrive = Arrivals.arrive

    def welcome(self: Arrivals, key: str) -> Arrival:
        arrive(self, key)
        return Arrival.EXPECTED

    Arrivals.arrive = welcome  # type: ignore[method-assign]


def sends_everything_again() -> None:
    """A round sends also what has an answer."""
    rows_again.is_passing = lambda *_: True


def never_gives_up_a_row() -> None:
    """One attempt more than allowed."""
    inner = rows_again.left_over

    def generous(batch: Any, policy: Any, **how: Any) -> int:
        return inner(batch, replace(policy, max_row_attempts=policy.max_row_attempts + 1), **how)

    next_step.left_over = run.left_over = generous


def notes_before_it_has_the_rows() -> None:
    """A shard is noted as landed before its rows are there."""
    inner = match_rows.land

    def hasty(service: Any, one: Any, shard: Any, job: Any, dialect: Any, *rest: Any) -> Any:
        counts = {"success": shard.plan.rows}
        document = match_rows.Landed(
            at=create_job.datetime.now(create_job.timezone.utc), job=job.name, state=job.state, counts=counts
        )
        one.put(f"{shard.name}.landed.json", document)
        return inner(service, one, shard, job, dialect, *rest)

    run.land = hasty


def drops_what_a_cancelled_job_finished() -> None:
    """Results are taken of jobs that succeeded only, and cancelled rows make a job cancelled."""
    fetch = GeminiBatchService.fetch_results

    def choosy(self: Any, job: Any, to: Any) -> int:
        with spool() as whole:
            fetch(self, job, whole)
            whole.seek(0)
            lines = whole.read()
        return 0 if job.state is not JobState.SUCCEEDED or b'"error"' in lines else int(to.write(lines))

    GeminiBatchService.fetch_results = choosy  # type: ignore[method-assign]


def publishes_without_the_manifest_last() -> None:
    """The batch is noted as published before its results are."""
    inner = publish.publish

    def early(one: Any, batch: Any, folder: Any, dialect: Any, *rest: Any) -> Any:
        now = publish.datetime.now(publish.timezone.utc)
        one.put(f"r{batch.round.number}.published.json", publish.Published(at=now))
        return inner(one, batch, folder, dialect, *rest)

    run.publish = early


def believes_what_comes() -> None:
    """Whatever is answered to the download is taken for the results."""
    match_rows.belief = lambda *_: (match_rows.Belief.BELIEVED, "")
    transport.Taken._ensure_file = lambda *_: None  # type: ignore[method-assign]


def never_finds_out_that_it_is_late() -> None:
    """What it has read at the beginning is the newest state for ever."""
    replacing.Replacing._ensure_newest = lambda *_: None  # type: ignore[method-assign]


def sees_no_hole() -> None:
    """A document that is missing was never written."""
    store.holes = lambda *_: iter(())
    store._ensure_unsent = lambda *_: None
    state._ensure_landed = lambda *_: None
    state.hole = lambda *_: _IgnoredError()
    next_step._send = _sends_blindly(next_step._send)


class _IgnoredError(Exception):
    pass


def _sends_blindly(inner: Any) -> Any:
    def send(batch: Any, shards: Any, visit: Any, *rest: Any) -> Any:
        return inner(batch, shards, replace(visit, found=Absent()), *rest)

    return send


def trusts_its_own_clock() -> None:
    """The time of this machine judges deadlines."""
    GeminiBatchService.knows_time = lambda _: True  # type: ignore[method-assign]


def fails_where_it_could_wait() -> None:
    """A fault that may pass ends the try."""
    for kind in (ApiError, ApiUnreachableError, ProtocolError, ResultsNotReadyError, TemporaryError):
        kind.may_pass = False  # type: ignore[assignment,method-assign]


def never_tidies() -> None:
    """What a killed visit has left is left for good."""
    next_step.Tidy = next_step.Done  # type: ignore[misc,assignment]


def trusts_a_refusal() -> None:
    """A create call that was refused has made no job."""
    next_step.of_shard = lambda *_: None


def calls_without_a_lease() -> None:
    """A visit that does not care who calls."""
    notes.Noted.leased_until = lambda _: None  # type: ignore[method-assign]
    notes.NoteWriter.take = lambda *_: True  # type: ignore[method-assign]


def forgets_what_a_lost_worker_may_have_called() -> None:
    """A visit that takes over and counts nothing as lost."""
    notes.Noted.unnoted_rows = property(lambda _: 0)  # type: ignore[assignment]


def calls_whatever_it_costs() -> None:
    """A purse without a bottom."""
    purse.Purse.admits = lambda *_: True  # type: ignore[method-assign]


def calls_rows_that_jobs_have_answered() -> None:
    """A rescue of all rows."""

    def all_rows(ledger: Any, shards: Any, dialect: Any, *_: Any) -> Any:
        return (line for shard in shards for _, line in kept_rows.requests_of(ledger, shard, dialect))

    rounds._left_lines = all_rows


PLANTS: dict[Callable[[], None], str] = {
    sends_again_after_a_lost_answer: "accepted, the answer is lost",
    writes_over_what_is_there: "two workers at once",
    forgets_what_it_sent: "killed between the note and the wait",
    believes_a_listing_that_failed: "the listing fails",
    presumes_at_once: "the listing lags",
    leaves_the_input: "a call leaves after its worker was given up",
    takes_its_turn_for_granted: "a frozen worker is superseded",
    takes_damage_for_absence: "the ledger is damaged, newer or foreign",
    overlooks_other_rows: "the rows change between tries",
    overlooks_another_account: "the credential changes between tries",
    overlooks_another_place: "the result path changes between tries",
    lands_what_came_of_a_download: "the download is cut",
    believes_every_line: "result lines are spoiled",
    sends_everything_again: "killed between rounds",
    never_gives_up_a_row: "a poison row",
    notes_before_it_has_the_rows: "killed while landing",
    drops_what_a_cancelled_job_finished: "cancel races success",
    publishes_without_the_manifest_last: "killed while landing",
    believes_what_comes: "the results are a proxy's page or cut",
    never_finds_out_that_it_is_late: "a late worker publishes an older state",
    sees_no_hole: "the ledger has holes",
    trusts_its_own_clock: "the clock is hours off while looks fail",
    fails_where_it_could_wait: "a call fails for longer than it is repeated",
    never_tidies: "killed between publishing and tidying",
    trusts_a_refusal: "accepted and answered with a refusal",
    calls_without_a_lease: "two workers at once in a rescue",
    forgets_what_a_lost_worker_may_have_called: "killed in a rescue",
    calls_whatever_it_costs: "the money ends in a rescue",
    calls_rows_that_jobs_have_answered: "killed in a rescue",
}
"""Each bug, and the case that must notice it."""
