"""Many partitions on several machines, undisturbed and disturbed. The journal of the emulator says what they cost.

Jobs are done when a test says so, so a fault always strikes during the wait that it is meant for. The docstring
of a test names it in the tables at the end.
"""

from __future__ import annotations

import os
import time
from collections import Counter

from upath import UPath

from airflow_provider_batch.emulator import Emulator
from airflow_provider_batch.rows.manifest import Manifest
from tests.distributed.machines import QUEUES, WORKERS
from tests.real_airflow.case import ROWS, Case, Run
from tests.real_airflow.processes import Process, until
from tests.real_airflow.stack import Airflow

PARTITIONS = int(os.environ.get("DISTRIBUTED_PARTITIONS", "50"))
FEW = max(2, PARTITIONS // 5)
IN_FLIGHT = 6
"""Create calls that are on their way when a worker is killed: more than one worker has slots for."""

AT_A_TIME = 3


def test_one_partition_is_one_job(case, sampler):
    """One partition at a time."""
    with sampler.during("idle"):
        case.await_calm()
    for _ in range(AT_A_TIME):
        run = case.start("partitions", batches=1)
        run.until("deferred")
        case.finish_jobs()
        run.until("success")
    succeeds(case)


def test_fifty_partitions_are_fifty_jobs(case, sampler):
    """Partitions, undisturbed."""
    with sampler.during("submitting"):
        run = case.start("partitions", batches=PARTITIONS)
        run.until("deferred")
    with sampler.during("waiting"):
        case.await_calm()
    with sampler.during("landing"):
        case.finish_jobs()
        succeeds(case)


def test_fifty_partitions_outlast_a_killed_worker_and_a_killed_triggerer(case, airflow, emulator):
    """Worker killed while it submits, triggerer killed during waits."""
    run = case.start("partitions", batches=PARTITIONS)
    run.until("deferred", count=PARTITIONS // 4)
    emulator.add_fault(call="batches.create", action="delay", seconds=8, times=IN_FLIGHT)
    case.until_struck()
    worker = busiest(airflow, running(run))
    triggerer = busiest(airflow, waiting(airflow, run))
    worker.kill()
    triggerer.kill()
    until("the other triggerer has all waits", lambda: triggerer.name not in waiting(airflow, run))
    airflow.ensure_running()
    until("all calls are resolved", lambda: all_created(case, emulator), timeout_s=600)
    run.until("deferred")
    case.finish_jobs()
    succeeds(case)
    assert sum(instance["try_number"] for instance in run.instances()) > PARTITIONS


def test_a_queue_waits_for_its_own_triggerer(case, airflow):
    """A queue's only triggerer killed during waits, then a worker while it lands."""
    north = case.start("partitions_north", batches=FEW)
    south = case.start("partitions_south", batches=FEW)
    for run in (north, south):
        run.until("deferred")
    until("a triggerer has all of the north", lambda: waiting(airflow, north) == {"triggerer-1": FEW})
    until("a triggerer has all of the south", lambda: waiting(airflow, south) == {"triggerer-2": FEW})
    airflow.components["triggerer-1"].kill()
    case.finish_jobs()
    south.until("success")
    assert {instance["state"] for instance in north.instances()} == {"deferred"}
    airflow.components["triggerer-1"].start()
    busiest(airflow, until("a worker lands", lambda: running(north))).kill()
    case.cleared()
    airflow.ensure_running()
    succeeds(case)


def test_no_job_was_created_or_cancelled_after_its_test(trials, emulator):
    calls = [entry["call"] for entry in emulator.journal()]
    assert calls.count("batches.create") == sum(trial.figures.creates for trial in trials)
    assert calls.count("batches.cancel") == 0


def succeeds(case: Case) -> None:
    """Wait for the end: one job a partition, all of its rows landed, and all manifests complete."""
    case.succeeds()
    for run in case.runs:
        for index in range(len(run.keys)):
            manifest = Manifest.read(UPath(case.folder / run.run_id / f"results-{index}"))
            assert manifest is not None
            assert (manifest.request_count, manifest.counts) == (ROWS, {"success": ROWS})
            assert (manifest.job_count, manifest.rounds, manifest.quarantined) == (1, 1, 0)


def all_created(case: Case, emulator: Emulator) -> bool:
    """Whether every partition has its job; if not, the server's clock goes on by a minute.

    The calls of a killed worker never arrive, which nobody knows. Such a call is made anew after 22 minutes of
    evidence, by the server's clock.
    """
    if len(case.created()) >= PARTITIONS:
        return True
    emulator.advance_clock(60)
    time.sleep(3)
    return False


def running(run: Run) -> Counter[str]:
    """How many tasks each worker runs."""
    return Counter(i["hostname"] for i in run.instances() if i["state"] == "running" and i["hostname"] in WORKERS)


def waiting(airflow: Airflow, run: Run) -> Counter[str]:
    """How many waits each triggerer has."""
    jobs = {job["id"]: job["unixname"] for job in airflow.get("/jobs", order_by="-id", limit="100")["jobs"]}
    holders = ((i["trigger"] or {}).get("triggerer_id") for i in run.instances() if i["state"] == "deferred")
    return Counter(name for holder in holders if (name := jobs.get(holder)) in QUEUES)


def busiest(airflow: Airflow, shares: Counter[str]) -> Process:
    """The component that does most."""
    ((name, _),) = shares.most_common(1)
    return airflow.components[name]
