"""The faults of the matrix that need no Airflow: how each is done, and what may come of it.

A case gets a fresh task instance and a random generator, does its worst, and leaves a batch that has ended.
The numbers are those of the fault matrix (``docs/reliability.md``).
"""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_batch.errors import ConfigError, JobUnreadableError, LedgerError
from airflow_provider_batch.rows.check.shards import ShardLimits
from faults.calls import CASES as OF_CALLS
from faults.crash import DONE, FAILED, Points
from faults.harness import WITHIN_S, Bench, Case, CaseError, index, kill_at, trace
from faults.strangers import CASES as OF_STRANGERS
from faults.task import Task, ask

# --- Killed at a point -----------------------------------------------------------------------------------------


def _killed_between(first: str, last: str) -> Callable[[Bench], float]:
    """Kill at a random point after the one whose label ends with ``first``, up to the one with ``last``."""

    def run(bench: Bench) -> float:
        labels = trace(bench)
        start = index(labels, first, 0) if first else 0
        end = index(labels, last, start) if last else len(labels)
        at = bench.rng.randint(start + 1, max(end, start + 1))
        kill_at(bench, at)
        return bench.until_done()

    return run


def killed_anywhere(bench: Bench) -> float:
    """Kill up to three tries, each at any point, then let one through."""
    total = len(trace(bench))
    for _ in range(bench.rng.randint(1, 3)):
        kill_at(bench, bench.rng.randint(1, total))
    return bench.until_done()


def killed_at_any_time(bench: Bench) -> float:
    """Kill by the clock, so also in the middle of a request."""
    worker = bench.worker()
    time.sleep(bench.rng.uniform(0.0, 0.35))
    worker.signal(signal.SIGKILL)
    worker.wait()
    return bench.until_done()


def killed_in_upload(bench: Bench) -> float:
    """Kill while 20 MB are on their way; the next try sends what is missing."""
    worker = bench.worker()
    _until(lambda: _uploads(bench) > 0)
    time.sleep(bench.rng.uniform(0.0, 0.1))
    worker.signal(signal.SIGKILL)
    worker.wait()
    return bench.until_done()


def _uploads(bench: Bench) -> int:
    return sum(1 for call in bench.emulator.journal() if call["call"] == "files.upload.start")


def _until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    give_up = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > give_up:
            raise CaseError("what was waited for did not come")
        time.sleep(0.005)


# --- Answers that are lost, and calls that are refused ---------------------------------------------------------


def _spoiled_create(**fault: Any) -> Callable[[Bench], float]:
    def run(bench: Bench) -> float:
        bench.emulator.add_fault(call="batches.create", **fault)
        return bench.until_done()

    return run


def accepted_with_an_error(bench: Bench) -> float:
    """The job is created and the answer is an error."""
    status = bench.rng.choice([500, 502, 503, 504])
    return _spoiled_create(action="accept_then_status", status=status)(bench)


def lost_and_killed(bench: Bench) -> float:
    """The answer is lost, and the worker dies while it finds out."""
    total = len(trace(bench))
    bench.emulator.add_fault(call="batches.create", action=bench.rng.choice(["accept_then_drop", "drop"]))
    kill_at(bench, bench.rng.randint(total // 4, total))
    return bench.until_done()


def refused(bench: Bench) -> float:
    """A definite no: the task fails, nothing exists, the next try goes through."""
    status = bench.rng.choice([400, 401, 403])
    bench.emulator.add_fault(call="batches.create", action="status", status=status)
    outcome, report = bench.worker().wait(WITHIN_S)
    if outcome != FAILED or "AGB-S02" not in report:
        raise CaseError(f"expected a refusal: {report}")
    return bench.until_done()


def queue_is_full(bench: Bench) -> float:
    """429 a few times: waited out within one try."""
    bench.emulator.add_fault(
        call="batches.create", action="status", status=429, retry_delay=1, times=bench.rng.randint(1, 2)
    )
    return bench.until_done(tries=1)


def ledger_fails_after_acceptance(bench: Bench) -> float:
    """No byte can be written for a while after the job was accepted (a full disk)."""
    blocked_s = bench.rng.uniform(0.05, 2.5)

    def wrap(service: Any) -> Any:
        return _DiskFull(service, blocked_s)

    status, report = bench.worker(replace(bench.task, wrap=wrap)).wait(WITHIN_S)
    if status != DONE:
        raise CaseError(report)
    return bench.until_done()


class _DiskFull:
    def __init__(self, service: Any, seconds: float) -> None:
        self._service, self._seconds = service, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def submit(self, *arguments: Any) -> Any:
        outcome = self._service.submit(*arguments)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        lift = threading.Timer(self._seconds, resource.setrlimit, (resource.RLIMIT_FSIZE, (hard, hard)))
        lift.start()
        return outcome


def ledger_is_damaged(bench: Bench) -> float:
    """A document is cut, emptied, of a newer version or foreign: nothing is sent until it is restored."""
    bench.worker(attempt_only=True).wait(WITHIN_S)
    name = bench.rng.choice(["plan.json", "r1.s1.e1.sending.json", "r1.s1.e1.outcome.json"])
    path = bench.task.ledger.path(name)
    whole = path.read_bytes()
    path.write_bytes(bench.rng.choice([b"", whole[: len(whole) // 2], b"{}", b'{"ledger_version": 99}', b"[1]"]))
    before = _creates(bench)
    status, report = bench.worker().wait(WITHIN_S)
    if status != FAILED or LedgerError.__name__ not in report or _creates(bench) != before:
        raise CaseError(f"a damaged {name} was believed: {report}")
    path.write_bytes(whole)
    return bench.until_done()


def _creates(bench: Bench) -> int:
    return sum(1 for call in bench.emulator.journal() if call["call"] in ("batches.create", "batches.cancel"))


def zombie(bench: Bench) -> float:
    """A worker stands still just before its create call leaves, long enough for another to give it up."""
    stops_at = index(trace(bench), "before submit", 0)
    frozen = bench.worker(points=Points(str(bench.task.folder), stops_at, signal.SIGSTOP))
    if not frozen.wait_stopped():
        raise CaseError("the worker did not stop")
    recovery = bench.until_done()
    frozen.signal(signal.SIGCONT)
    frozen.wait(WITHIN_S)
    return recovery


def frozen_before_its_proof(bench: Bench) -> float:
    """A worker stands still between the right to send and the proof that it is current; the proof fails then."""
    stops_at = index(trace(bench), "r1.s1.e1.sending.json", 0) + 1
    flag = bench.task.folder.parent / f"{bench.task.folder.name}-taken-over"

    def fence() -> None:
        from airflow_provider_batch.errors import SupersededError

        if flag.exists():
            raise SupersededError("another try runs")

    task = replace(bench.task, fence=fence)
    frozen = bench.worker(task, Points(str(task.folder), stops_at, signal.SIGSTOP))
    if not frozen.wait_stopped():
        raise CaseError("the worker did not stop")
    flag.write_text("")
    frozen.signal(signal.SIGCONT)
    status, report = frozen.wait(WITHIN_S)
    if status != FAILED or "SupersededError" not in report:
        raise CaseError(f"a superseded worker went on: {report}")
    return bench.until_done()


def listing_lags(bench: Bench) -> float:
    """The answer is lost and the listing shows the job late, within our patience."""
    bench.emulator.add_fault(action="hide", seconds=bench.rng.uniform(0.0, 0.5))
    return _spoiled_create(action="accept_then_drop")(bench)


def listing_fails(bench: Bench) -> float:
    """The answer is lost and the listing cannot be read for a while: nothing is concluded from that."""
    times = bench.rng.randint(1, 12)
    bench.emulator.add_fault(call="batches.list", action="status", status=503, times=times, after=1)
    return _spoiled_create(action="accept_then_drop")(bench)


def listing_hides(bench: Bench) -> float:
    """The answer is lost and the listing hides the job for longer than our patience."""
    bench.emulator.add_fault(action="hide", seconds=3600)
    return _spoiled_create(action="accept_then_drop")(bench)


def two_at_once(bench: Bench) -> float:
    """Two workers run the same task instance at the same moment."""
    workers = [bench.worker() for _ in range(2)]
    for worker in workers:
        worker.wait(WITHIN_S)
    return bench.until_done()


def something_fails_after_submit(bench: Bench) -> float:
    """A look, the download or the landing fails the try; the next one adopts."""
    call = bench.rng.choice(["batches.get", "files.download"])
    bench.emulator.add_fault(call=call, action="status", status=403)
    status, report = bench.worker().wait(WITHIN_S)
    if status != FAILED:
        raise CaseError(f"nothing failed: {report}")
    return bench.until_done()


def ledger_is_deleted(bench: Bench) -> float:
    """Airflow's state and the ledger are gone; the job is found by its name."""
    bench.worker(attempt_only=True).wait(WITHIN_S)
    ledger = bench.task.ledger
    for name in ledger.names():
        ledger.path(name).unlink()
    return bench.until_done()


def content_changes(bench: Bench) -> float:
    """The rows are others in the next try: refused, until they are restored."""
    bench.worker(attempt_only=True).wait(WITHIN_S)
    _refused(bench, replace(bench.task, rows=[ask("other")]), "AGB-S05")
    return bench.until_done()


def account_changes(bench: Bench) -> float:
    """The credential is another in the next try: refused, until it is restored."""
    bench.worker(attempt_only=True).wait(WITHIN_S)
    _refused(bench, replace(bench.task, account="another"), "AGB-S06")
    return bench.until_done()


def place_changes(bench: Bench) -> float:
    """The result path is another in the next try: refused, until it is restored."""
    bench.worker(attempt_only=True).wait(WITHIN_S)
    _refused(bench, replace(bench.task, folder=bench.task.folder.parent / "elsewhere"), "AGB-C08")
    return bench.until_done()


def _refused(bench: Bench, task: Task, code: str) -> None:
    before = _creates(bench)
    status, report = bench.worker(task).wait(WITHIN_S)
    if status != FAILED or ConfigError.__name__ not in report or code not in report or _creates(bench) != before:
        raise CaseError(f"expected {code} and no call: {report}")


# --- Jobs and results that are not as they should be -----------------------------------------------------------


def looks_fail(bench: Bench) -> float:
    """Looks fail for a while; nothing is begun again."""
    status = bench.rng.choice([429, 500, 503])
    bench.emulator.add_fault(call="batches.get", action="status", status=status, times=bench.rng.randint(1, 6))
    return bench.until_done(tries=1)


def job_is_forgotten(bench: Bench) -> float:
    """404 for a job that was there: a person decides, nothing is sent; then it is there again."""
    bench.worker(attempt_only=True).wait(WITHIN_S)
    bench.emulator.add_fault(call="batches.get", action="status", status=404)
    status, report = bench.worker().wait(WITHIN_S)
    if status != FAILED or JobUnreadableError.__name__ not in report or "AGB-P04" not in report:
        raise CaseError(f"expected AGB-P04: {report}")
    return bench.until_done()


def job_expires(bench: Bench) -> float:
    """The job expires without results: its rows are sent again, as a round of their own."""
    bench.emulator.add_fault(action="job", state="EXPIRED")
    return bench.until_done(tries=1)


def job_fails(bench: Bench) -> float:
    """The job fails for a reason that may pass."""
    bench.emulator.add_fault(action="job", state="FAILED")
    return bench.until_done(tries=1)


def download_is_cut(bench: Bench) -> float:
    """The results break off at a random byte, several times."""
    for _ in range(bench.rng.randint(1, 3)):
        bench.emulator.add_fault(call="files.download", action="cut", bytes=bench.rng.randint(0, 700))
    return bench.until_done()


def rows_are_spoiled(bench: Bench) -> float:
    """Lines are dropped, said twice, damaged, shuffled or errors: every key still ends in exactly one status."""
    keys = [row["key"] for row in bench.task.rows]  # type: ignore[union-attr,index]
    for mutation in bench.rng.sample(["drop", "duplicate", "corrupt", "error", "shuffle"], k=2):
        chosen = [] if mutation == "shuffle" else bench.rng.sample(keys, k=2)
        bench.emulator.add_fault(action="rows", mutation=mutation, keys=chosen)
    return bench.until_done()


def killed_between_rounds(bench: Bench) -> float:
    """Rows fail for a passing reason, and the worker dies while they are sent again."""
    spoil = partial(bench.emulator.add_fault, action="rows", mutation="error", keys=["k1", "k3"])
    spoil()
    labels = trace(bench)
    spoil()
    start = index(labels, "r1.s1.landed.json", 0)
    kill_at(bench, bench.rng.randint(start, len(labels)))
    return bench.until_done()


def poison(bench: Bench) -> float:
    """A row that fails whatever one does: sent three times and no more, over all tries."""
    bench.emulator.add_fault(action="rows", mutation="error", keys=["k2"], times=None)
    bench.until_done()
    return bench.until_done()


def cancel_races_success(bench: Bench) -> float:
    """The deadline passes at about the time at which the job finishes: whatever finished is landed."""
    hasty = bench.task.but(timeout_s=bench.rng.uniform(0.05, 0.5), at_timeout="cancel")
    bench.worker(hasty).wait(WITHIN_S)
    return bench.until_done()


def several_shards(task: Task) -> Task:
    """Eight rows in three jobs."""
    return replace(task, limits=ShardLimits(rows=3))


def large(task: Task) -> Task:
    """20 MB in two rows."""
    return replace(task, rows=[ask("k0" + "x" * 200), {**ask("k1"), "request": _heavy()}])


def _heavy() -> dict[str, Any]:
    return {"contents": [{"parts": [{"text": "x" * 20_000_000}]}]}


CASES = [
    Case("1", "killed before the plan is written", _killed_between("", "link plan.json")),
    Case("2", "killed between plan and upload", _killed_between("link plan.json", "before stage")),
    Case("3", "killed while 20 MB are uploaded", killed_in_upload, shape=large),
    Case("4", "killed before the upload is noted", _killed_between("before stage", "f1.file.json")),
    Case(
        "5",
        "killed between the right to send and the call",
        _killed_between("link r1.s1.e1.sending.json", "before submit"),
    ),
    Case("6", "the call is cut before the server has it", _spoiled_create(action="cut", bytes=20)),
    Case("6", "the call never arrives", _spoiled_create(action="drop")),
    Case("7", "accepted, the answer is lost", _spoiled_create(action="accept_then_drop")),
    Case("7, 8", "the answer is lost and the worker dies", lost_and_killed),
    Case(
        "8",
        "killed between the answer and its note",
        _killed_between("after submit", "link r1.s1.e1.outcome.json"),
    ),
    Case(
        "9",
        "killed between the note and the wait",
        _killed_between("link r1.s1.e1.outcome.json", "before fetch_results"),
    ),
    Case("10", "accepted, the answer is 5xx", accepted_with_an_error),
    Case("11", "refused for good (400, 401, 403)", refused),
    Case("11", "the queue is full (429)", queue_is_full, weight=0.25),
    Case("12", "the ledger cannot be written after acceptance", ledger_fails_after_acceptance, weight=0.25),
    Case("13", "the ledger is damaged, newer or foreign", ledger_is_damaged),
    Case("14", "a call leaves after its worker was given up", zombie),
    Case("15", "the listing lags", listing_lags),
    Case("15", "the listing fails", listing_fails),
    Case(
        "15, W2",
        "the listing hides the job for good",
        listing_hides,
        tolerates=1,
        resends=8,
        tells_all=False,
        weight=0.25,
    ),
    Case("16", "a frozen worker is superseded", frozen_before_its_proof),
    Case("17", "two workers at once", two_at_once, weight=2.0),
    Case("17", "two workers at once, three shards", two_at_once, shape=several_shards),
    Case("18", "a look or the download fails the try", something_fails_after_submit),
    Case("18", "killed anywhere, up to three times", killed_anywhere, weight=2.0, shape=several_shards),
    Case("18", "killed at any time", killed_at_any_time),
    Case("21", "the run is recreated and the ledger deleted", ledger_is_deleted),
    Case("22", "the rows change between tries", content_changes),
    Case("23", "the credential changes between tries", account_changes),
    Case("C08", "the result path changes between tries", place_changes),
    Case("31", "looks fail for a while", looks_fail, weight=0.5),
    Case("33", "a known job answers 404", job_is_forgotten),
    Case("35", "the job expires", job_expires, resends=8),
    Case("35", "the job fails for a passing reason", job_fails, resends=8),
    Case("44", "the download is cut", download_is_cut),
    Case("45", "killed while landing", _killed_between("before fetch_results", "")),
    Case("47", "result lines are spoiled", rows_are_spoiled, resends=None, tells_all=False),
    Case("49", "killed between rounds", killed_between_rounds, resends=2),
    Case("50", "a poison row", poison, resends=2, weight=0.5),
    Case("53", "cancel races success", cancel_races_success, resends=None, job_seconds=0.3),
    *OF_STRANGERS,
    *OF_CALLS,
]
