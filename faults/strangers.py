"""Faults that came from outside: answers that are none, late workers, ledgers with holes, wrong clocks."""

from __future__ import annotations

import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.rows.manifest import Manifest
from faults.crash import DONE, Points
from faults.harness import WITHIN_S, Bench, Case, CaseError, index, kill_at, trace

ERROR = {"error": {"code": 503, "message": "The service is currently unavailable.", "status": "UNAVAILABLE"}}
HTML = {"content-type": "text/html"}


def _answers(rng: random.Random, times: int) -> dict[str, Any]:
    """A success that is not the file."""
    one = rng.choice(
        [
            {"action": "html"},
            {"action": "status", "status": 200, "body": ""},
            {"action": "status", "status": 204, "body": ""},
            {"action": "status", "status": 200, "body": ERROR},
            {"action": "status", "status": 200, "body": "<html></html>", "headers": HTML},
            {"action": "status", "status": 200, "body": "{}", "headers": {"content-encoding": "gzip"}},
            {"action": "status", "status": 200, "body": '{"key":"k0","resp'},
            {"action": "status", "status": 200, "body": '{"key":"another","response":{}}\n' * 8},
            {"action": "status", "status": 206, "body": "x", "headers": {"content-range": "bytes 7-7/9"}},
        ]
    )
    return {"call": "files.download", "times": times, **one}


def results_are_a_page(bench: Bench) -> float:
    """The download is answered several times with something else."""
    bench.emulator.add_fault(**_answers(bench.rng, bench.rng.randint(1, 6)))
    return bench.until_done(tries=1)


def a_proxy_answers(bench: Bench) -> float:
    """A proxy's page, or nothing, in place of the answer to any call, a lost create among them."""
    bench.emulator.add_fault(call="batches.create", action="accept_then_drop")
    for call in bench.rng.sample(["batches.list", "batches.get", "files.delete", "files.download"], k=3):
        page = bench.rng.choice([{"action": "html"}, {"action": "status", "status": 200, "body": ""}])
        bench.emulator.add_fault(
            call=call, times=bench.rng.randint(1, 4), after=int(call == "batches.list"), **page
        )
    return bench.until_done()


def late_publisher(bench: Bench) -> float:
    """A worker stands still while it publishes; a newer try lands another round and publishes; it wakes up."""
    spoil = {"action": "rows", "mutation": "error", "keys": ["k2"]}
    hasty = bench.task.but(max_row_attempts=1)
    bench.emulator.add_fault(**spoil)
    labels = trace(bench, hasty)
    bench.emulator.add_fault(**spoil)
    first, last = index(labels, "r1.s1.landed.json", 0), index(labels, "r1.published.json", 0)
    at = bench.rng.randint(first + 1, last)
    frozen = bench.worker(hasty, Points(str(bench.task.folder), at, signal.SIGSTOP))
    frozen.wait_stopped()
    # This one sends rows again: a new try of a batch that has landed begins a round.
    recovery = bench.until_done()
    frozen.signal(signal.SIGCONT)
    frozen.wait(WITHIN_S)
    manifest = Manifest.read(bench.task.folder)
    text = (bench.task.folder / "results.jsonl").read_text()
    if manifest is None or manifest.rounds != 2 or '"error"' in text or manifest.counts != {"success": 8}:
        raise CaseError(f"an older state has replaced a newer one: {manifest}")
    return recovery


def ledger_has_holes(bench: Bench) -> float:
    """One or two documents are lost at a random moment: nothing is sent until they are back."""
    total = len(trace(bench))
    kill_at(bench, bench.rng.randint(total // 3, total))
    home, kept = Path(str(bench.task.folder)), Path(f"{bench.task.folder}-kept")
    shutil.copytree(home, kept)
    try:
        ledger = bench.task.ledger
    except IndexError:
        return bench.until_done()
    documents = sorted(name for name in ledger.names() if name.endswith(".json"))
    lost = bench.rng.sample(documents, k=min(len(documents), bench.rng.randint(1, 2)))
    # A right to send that was not used before the kill leaves nothing to be paid for twice.
    sent = _is_created(bench)
    for name in lost:
        ledger.path(name).unlink()
    before = creates(bench)
    bench.worker(attempt_only=True).wait(WITHIN_S)
    if sent and creates(bench) != before:
        raise CaseError(f"rows were sent without {lost}")
    shutil.rmtree(home)
    shutil.move(kept, home)
    return bench.until_done()


def _is_created(bench: Bench) -> bool:
    calls = [call for call in bench.emulator.journal() if call["call"] == "batches.create"]
    return any(bench.task.identity.task_digest in call.get("displayName", "") for call in calls)


def creates(bench: Bench) -> int:
    """Jobs that were created, and cancellations."""
    return sum(1 for call in bench.emulator.journal() if call["call"] in ("batches.create", "batches.cancel"))


def wrong_clock(bench: Bench) -> float:
    """The worker's clock is hours off, and looks fail for a while: no young job is cancelled or given up."""
    shift_s = bench.rng.choice([-1, 1]) * bench.rng.uniform(3_600, 20_000)
    task = bench.task.but(timeout_s=1_800.0, at_timeout=bench.rng.choice(["fail", "cancel"]))
    bench.emulator.add_fault(call="batches.get", action="status", status=503, times=bench.rng.randint(1, 8))
    real = time.time
    began = time.monotonic()

    def plant() -> None:
        if bench.plant:
            bench.plant()
        time.time = lambda: real() + shift_s  # type: ignore[method-assign]

    status, report = replace(bench, plant=plant).worker(task).wait(WITHIN_S)
    if status != DONE:
        raise CaseError(report)
    cancelled = [call for call in bench.emulator.journal() if call["call"] == "batches.cancel"]
    if any(call.get("batch") in _jobs(bench) for call in cancelled):
        raise CaseError("a young job was cancelled")
    return time.monotonic() - began


def _jobs(bench: Bench) -> tuple[str, ...]:
    return read_batch(bench.task.ledger).jobs


def calls_fail_in_passing(bench: Bench) -> float:
    """A call fails for longer than the client repeats it: the same try waits, and goes on."""
    call = bench.rng.choice(["files.download", "files.upload.start", "files.upload.chunk", "batches.get"])
    status = bench.rng.choice([429, 500, 502, 503, 504])
    bench.emulator.add_fault(call=call, action="status", status=status, times=bench.rng.randint(4, 7))
    return bench.until_done(tries=1)


def killed_before_tidying(bench: Bench) -> float:
    """Killed between the publication and the deletion of what nobody needs: the next visit finishes that."""
    labels = trace(bench)
    kill_at(bench, bench.rng.randint(index(labels, "r1.published.json", 0) + 1, len(labels)))
    recovery = bench.until_done()
    left = [name for name in bench.task.ledger.names() if name.endswith(".jsonl")]
    if left:
        raise CaseError(f"copies of rows are left: {left}")
    return recovery


def accepted_and_refused(bench: Bench) -> float:
    """The job is created, and a gateway answers with a refusal: the job is found before anything is sent."""
    status = bench.rng.choice([400, 403, 404, 429])
    bench.emulator.add_fault(call="batches.create", action="accept_then_status", status=status, retry_delay=1)
    return bench.until_done()


CASES = [
    Case("55", "the results are a proxy's page or cut", results_are_a_page, job_seconds=0.05),
    Case("55", "a proxy answers in the API's place", a_proxy_answers),
    Case("56", "a late worker publishes an older state", late_publisher, resends=1),
    Case("57", "the ledger has holes", ledger_has_holes),
    Case("58", "the clock is hours off while looks fail", wrong_clock, weight=0.5),
    Case("59", "a call fails for longer than it is repeated", calls_fail_in_passing, weight=0.5),
    Case("60", "killed between publishing and tidying", killed_before_tidying),
    Case("61", "accepted and answered with a refusal", accepted_and_refused, weight=0.5),
]
