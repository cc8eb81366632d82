"""``python -m benchmarks.triggerer``: a thousand deferred task instances and Airflow's own triggerer process.

PostgreSQL, ``airflow triggerer`` with its default settings (at most 1,000 triggers a process), and
the server of :mod:`benchmarks.waits`. There is no scheduler and no worker: the task instances are put into the
state that deferring gives them, and a resumed one stays ``scheduled`` with the event in its ``next_kwargs``,
which is all that a triggerer does. Jobs end at random times within one interval. Another triggerer gets as many
triggers of Airflow's own before, to tell whose the stalls of the loop at the start are.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.deferred import INTERVAL_S
from benchmarks.waits import waits_server
from tests.real_airflow.processes import Process, until
from tests.real_airflow.servers import Postgres
from tests.real_airflow.stack import ROOT

WAITS = 1_000
LOOK_S = 0.5
BLOCKED = re.compile(r"Triggerer's async thread was blocked for ([0-9.]+) seconds")
SETTLE_S = 20.0
"""After the last trigger has been taken up: until it has looked for the first time."""

PATIENCE_INTERVALS = 2


def main() -> None:
    """Measure and print."""
    waits = int(sys.argv[1]) if len(sys.argv) > 1 else WAITS
    with waits_server() as url:
        with _airflow(url, waits) as airflow:
            _start(airflow, "airflow", waits)
            theirs = airflow.blocked()
        with _airflow(url, waits) as airflow:
            _measure(airflow, url, waits)
    _blocked("the same while DateTimeTriggers start", theirs)


@dataclass
class Airflow:
    """What of Airflow runs here.

    :param database: Of all tables.
    :param triggerer: The process.
    :param log: What it writes.
    """

    database: Any
    triggerer: Process
    log: Path

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with self.database.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def count(self, query: str) -> int:
        """The number that a query gives."""
        return int(self.ask(query)[0][0])

    def blocked(self) -> list[float]:
        """Seconds for which the triggerer itself says that its loop was blocked."""
        return [float(seconds) for seconds in BLOCKED.findall(self.log.read_text(errors="replace"))]

    def cpu_and_memory(self) -> dict[int, tuple[str, float, float]]:
        """Of each process: what it is, seconds on a core, resident MiB."""
        members = self.triggerer.members()
        return {
            process.pid: (
                "supervisor" if process.pid == members[0].pid else "runner",
                sum(process.cpu_times()[:2]),
                process.memory_info().rss / 2**20,
            )
            for process in members
        }


def _measure(airflow: Airflow, url: str, waits: int) -> None:
    _call(url, "/control/jobs", {"count": waits})
    idle = airflow.cpu_and_memory()
    took_s = _start(airflow, "ours", waits)
    starting = airflow.blocked()

    before, since = airflow.cpu_and_memory(), time.time()
    time.sleep(INTERVAL_S)
    after, till = airflow.cpu_and_memory(), time.time()
    asked = _call(url, f"/control/requests?since={since}&until={till}")

    delays, left = _resumed(airflow, url, waits)
    print(f"\n{waits:,} deferred task instances, one airflow triggerer process, {INTERVAL_S:.0f} s interval")
    _row("resumed by their job's event", f"{len(delays):,}", "ok" if len(delays) == waits else "MISSED")
    _row("not resumed", f"{left:,}")
    _row("finish to resumed, s", f"median {delays[len(delays) // 2]:.1f}, longest {delays[-1]:.1f}")
    _row("all taken up, inserting them included, s", f"{took_s:.0f}")
    for pid, (kind, cpu, memory) in after.items():
        percent = (cpu - before[pid][1]) / (till - since) * 100
        _row(f"{kind} while all wait", f"{percent:.1f} % of a core, {memory:.0f} MiB", _growth(idle, pid, memory))
    _row("requests in that interval", ", ".join(f"{count} {kind}" for kind, count in asked["kinds"].items()))
    _blocked("loop blocked afterwards, says Airflow", airflow.blocked()[len(starting) :])
    _blocked("loop blocked while starting", starting)


def _start(airflow: Airflow, kind: str, waits: int) -> float:
    """Defer, until all have been taken up and have looked for the first time; seconds until they were taken up."""
    began = time.monotonic()
    _run([sys.executable, "-m", "benchmarks.deferred", kind])
    taken = "SELECT count(*) FROM trigger WHERE triggerer_id IS NOT NULL"
    until("all triggers are taken up", lambda: airflow.count(taken) == waits, every_s=LOOK_S)
    took_s = time.monotonic() - began
    time.sleep(SETTLE_S)
    return took_s


def _blocked(when: str, seconds: list[float]) -> None:
    _row(when, f"{len(seconds)} times" + (f", longest {max(seconds):.2f} s" if seconds else ""))


def _growth(idle: dict[int, tuple[str, float, float]], pid: int, memory: float) -> str:
    return f"{idle[pid][2]:.0f} MiB before" if pid in idle else ""


def _resumed(airflow: Airflow, url: str, waits: int) -> tuple[list[float], int]:
    """Let all jobs end within an interval; sorted delays of those that resumed rightly, and how many did not."""
    chance, now = random.Random(waits), time.time()
    ends = {number: now + chance.uniform(0.5, INTERVAL_S) for number in range(waits)}
    _call(url, "/control/finish", {str(number): end for number, end in ends.items()})
    seen: dict[int, float] = {}
    latest = max(ends.values()) + PATIENCE_INTERVALS * INTERVAL_S
    query = "SELECT map_index, next_kwargs::text FROM task_instance WHERE state = 'scheduled'"
    while len(seen) < waits and time.time() < latest:
        for number, event in airflow.ask(query):
            if number not in seen and "finished" in event and f"batches/job{number}" in event:
                seen[number] = time.time()
        time.sleep(LOOK_S)
    return sorted(at - ends[number] for number, at in seen.items()), waits - len(seen)


def _row(name: str, figure: str, note: str = "") -> None:
    print(f"  {name:<42}{figure:<34}{note}")


@contextmanager
def _airflow(url: str, waits: int) -> Iterator[Airflow]:
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        yield from _triggerer(Path(name), url, waits)


def _triggerer(folder: Path, url: str, waits: int) -> Iterator[Airflow]:
    database = Postgres(folder / "postgres.log")
    database.start()
    log = folder / "triggerer.log"
    try:
        os.environ.update(_settings(folder, database.url, url, waits))
        for command in (["db", "migrate"], ["dags", "reserialize"]):
            _run([sys.executable, "-m", "airflow", *command])
        command = [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"]
        triggerer = Process("triggerer", command, dict(os.environ), log)
        with closing(psycopg2.connect(database.url.replace("+psycopg2", ""))) as connection:
            connection.autocommit = True
            airflow = Airflow(connection, triggerer, log)
            triggerer.start()
            try:
                works = "SELECT count(*) FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
                until("the triggerer works", lambda: airflow.count(works) and len(triggerer.members()) > 1)
                time.sleep(5)
                yield airflow
            finally:
                triggerer.stop(patience_s=10)
    finally:
        database.stop()


def _settings(folder: Path, database_url: str, url: str, waits: int) -> dict[str, str]:
    connection = {"conn_type": "gemini", "host": url, "password": "benchmark"}
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).with_name("dags")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW_CONN_WAITS": json.dumps(connection),
        "WAITS": str(waits),
    }


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{command[1:]} failed: {done.stderr[-2000:]}")


def _call(url: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url + path, data, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
