"""``python -m benchmarks.waits [PEERS_PYTHON GOOGLE_PYTHON]``: 10,000 waits in one event loop, beside others.

All wait at the same server on this machine (:mod:`benchmarks.waits_server`), which answers after 100 ms, and are
measured by the same code (:mod:`benchmarks.waits_driver`), each in a process of its own and one after the other.
How many waits another one manages is sought at a tenth of the waits and of the interval, which asks as often, and
then measured at the whole interval.

It is plain HTTP without a supervisor beside it: a connection for each poll, and a lookup of the connection that
blocks, cost more in a real triggerer. All waits are started together, as after a triggerer's restart.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.landing import clean_environment

WAITS = 10_000
INTERVAL_S = 60
SCALE = 10
LEVELS = (60, 300, 1_000, 3_000, 10_000)
FIRST_LEVEL = 2

CPU_BAR_PERCENT = 10
MEMORY_BAR_KIB = 12
STALL_BAR_MS = 50
NOTICE_SLACK_S = 5
REQUEST_SLACK = 5
START_BAR_MS = 1

MANAGED_STALL_MS = 1_000
MANAGED_MEMORY_MIB = 4_096
PEERS = ("common_ai", "anthropic", "openai", "google")
NAMES = {
    "ours": "airflow-provider-batch",
    "common_ai": "LLMBatchTrigger, common-ai",
    "anthropic": "AnthropicBatchTrigger",
    "openai": "OpenAIBatchTrigger",
    "google": "GenAIGeminiCreateBatchJobTrigger",
    "nothing": "(a trigger that does nothing)",
}
DRIVER_PATIENCE_S = 420

Figures = dict[str, Any]


def main() -> None:
    """Measure and print."""
    pythons = dict.fromkeys(PEERS, sys.argv[1]) | {"google": sys.argv[2]} if len(sys.argv) > 2 else {}
    ours = {"ours": sys.executable, "nothing": sys.executable}
    with waits_server() as url:
        bench = Bench(url, pythons | ours)
        print(
            f"waits in one event loop, {INTERVAL_S} s interval, Python {platform.python_version()}\n", flush=True
        )
        floor = bench.run("nothing", WAITS, SCALE)
        own = bench.run("ours", WAITS, INTERVAL_S)
        _bars(own, floor)
        _head()
        _line(own)
        for name in pythons:
            _line(bench.largest(name))
        _terms()


class Bench:
    """Runs the driver.

    :param url: The server that everybody asks.
    :param pythons: By contender, the interpreter of the environment that has it.
    """

    def __init__(self, url: str, pythons: dict[str, str]) -> None:
        self._url = url
        self._pythons = pythons

    def run(self, name: str, waits: int, interval_s: int) -> Figures:
        """Figures of one contender; without any but ``why`` if it did not come to an end."""
        driver = str(Path(__file__).with_name("waits_driver.py"))
        command = [self._pythons[name], driver, name, self._url, str(waits), str(interval_s)]
        own = self._pythons[name] == sys.executable
        environment = dict(os.environ) if own else clean_environment()
        lost = {"contender": name, "waits": waits, "interval_s": interval_s}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                env=environment,
                timeout=DRIVER_PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            return {**lost, "why": f"not over after {DRIVER_PATIENCE_S} s"}
        if done.returncode:
            return {**lost, "why": done.stderr[-500:]}
        return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]

    def largest(self, name: str) -> Figures:
        """The largest number of waits that a contender manages, measured at the whole interval."""
        level = self._sought(name)
        while True:
            figures = self.run(name, LEVELS[level], INTERVAL_S)
            if not (why := not_managed(figures)):
                return figures
            print(f"{NAMES[name]}: {LEVELS[level]:,} waits not managed: {why}", flush=True)
            if level == 0:
                return figures
            level -= 1

    def _sought(self, name: str) -> int:
        """Up from the middle while it is managed, down while it is not."""
        at, last = FIRST_LEVEL, None
        while True:
            figures = self.run(name, LEVELS[at] // SCALE, INTERVAL_S // SCALE)
            why = not_managed(figures, SCALE)
            if why:
                print(f"{NAMES[name]}: {LEVELS[at]:,} waits, at a tenth: {why}", flush=True)
            step = -1 if why else 1
            if last is not None and step != last:
                return at if not why else at - 1
            if not 0 <= at + step < len(LEVELS):
                return at
            at, last = at + step, step


def not_managed(figures: Figures, scale: int = 1) -> str:
    """Why this counts as more than can be managed, or nothing.

    :param scale: How many times as many waits are meant, for what grows with them.
    """
    if "steady" not in figures:
        return str(
            figures.get("why") or f"{figures['too_large_mib']:,.0f} MiB after {figures['started']:,} starts"
        )
    memory_mib = figures["rss_mib"] + figures["kib_per_wait"] * figures["waits"] * (scale - 1) / 1024
    stall_ms = figures["steady"]["stall_max_ms"]
    missing = figures["finished"] - figures["noticed"]
    reasons = {
        f"stalls of {stall_ms:,.0f} ms": stall_ms >= MANAGED_STALL_MS,
        f"{missing} of {figures['finished']} finished jobs not noticed in time": missing > 0,
        f"wrong events ({figures['sample_of_wrong']})": figures["wrong_events"] > 0,
        f"last job noticed after {figures['notice_max_s'] or 0:.0f} s": (figures["notice_max_s"] or 0)
        > 2 * figures["interval_s"],
        f"{memory_mib:,.0f} MiB of memory": memory_mib >= MANAGED_MEMORY_MIB,
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)


def _bars(own: Figures, floor: Figures) -> None:
    if "steady" not in own:
        print(f"ours at {own['waits']:,}: {own.get('why') or own}\n")
        return
    page = own["page_size"] or WAITS
    requests = math.ceil(own["waits"] / page) + REQUEST_SLACK
    pages = f"{own['page_size']} a page" if own["page_size"] else "no listing was asked for"
    notice, notice_bar = own["notice_max_s"] or math.inf, INTERVAL_S + NOTICE_SLACK_S
    print(f"ours, {own['waits']:,} waits{'':<20}{'figure':>10}{'bar':>8}")
    _bar("one core, %", own["cpu_percent"], CPU_BAR_PERCENT, "without the measuring itself")
    _bar("memory per wait, KiB", own["kib_per_wait"], MEMORY_BAR_KIB, f"{floor['kib_per_wait']:.1f} doing nothing")
    _bar("longest stall, ms", own["steady"]["own_max_ms"], STALL_BAR_MS, _stalls("steady", own, floor))
    beyond = own["starting"]["own_max_ms"] - floor["starting"]["own_max_ms"]
    _bar("the same at the start, our share", beyond, STALL_BAR_MS, _stalls("starting", own, floor))
    _bar("requests per interval", own["requests_per_interval"], requests, f"{own['kinds']}, {pages}")
    _bar("finish to event, longest, s", notice, notice_bar, f"median {own['notice_median_s'] or math.inf:.1f}")
    _bar("finished jobs not noticed", own["finished"] - own["noticed"], 0, f"of {own['finished']}")
    _bar("loop time per start, ms", own["start_ms"], START_BAR_MS, f"{floor['start_ms']:.2f} doing nothing")
    print()


def _stalls(name: str, own: Figures, floor: Figures) -> str:
    span = own[name]
    return (
        f"{span['own_max_ms']:.0f} in all, {floor[name]['own_max_ms']:.0f} doing nothing; "
        f"{span['lean_max_ms']:.0f} without garbage collection of up to {span['gc_max_ms']:.0f}; "
        f"with others' share {span['stall_max_ms']:.0f}, 99.9th {span['stall_p999_ms']:.0f}; "
        f"before any wait {own['quiet']['own_max_ms']:.0f}"
    )


def _bar(name: str, figure: float, bar: float, note: str) -> None:
    print(f"  {name:<33}{figure:>11,.1f}{bar:>8,}  {'ok  ' if figure <= bar else 'OVER'}  {note}")


def _head() -> None:
    print(
        f"{'':<34}{'waits':>7}{'core %':>8}{'loop %':>8}{'KiB/wait':>10}{'MiB':>7}{'stall ms':>10}{'99.9th':>8}"
        f"{'at start':>10}{'requests':>10}{'noticed s':>15}{'start ms':>10}",
        flush=True,
    )


def _line(figures: Figures) -> None:
    name = NAMES[figures["contender"]]
    if "steady" not in figures:
        print(f"{name:<34}{figures['waits']:>7,}  {not_managed(figures)}", flush=True)
        return
    steady = figures["steady"]
    noticed = f"{figures['notice_median_s'] or math.inf:.1f}, {figures['notice_max_s'] or math.inf:.1f}"
    print(
        f"{name:<34}{figures['waits']:>7,}{figures['cpu_percent']:>8.1f}{steady['busy_percent']:>8.1f}"
        f"{figures['kib_per_wait']:>10.1f}{figures['rss_mib']:>7,.0f}{steady['stall_max_ms']:>10.0f}"
        f"{steady['stall_p999_ms']:>8.0f}{figures['starting']['stall_max_ms']:>10.0f}"
        f"{figures['requests_per_interval']:>10,.0f}{noticed:>15}{figures['start_ms']:>10.2f}",
        flush=True,
    )


def _terms() -> None:
    levels = ", ".join(f"{level:,}" for level in LEVELS)
    print(
        f"\nOthers: the largest of {levels} with stalls below {MANAGED_STALL_MS / 1000:.0f} s while waiting,\n"
        "every finished job noticed within two intervals by the right event, and less than "
        f"{MANAGED_MEMORY_MIB:,} MiB.\n"
        "core: of the process, all threads. loop: time in which nobody else could run in it. noticed: finish to\n"
        "event, median and longest. start: loop time per start after the first, first look included."
    )


@contextmanager
def waits_server() -> Iterator[str]:
    """The server, in a process of its own; its address."""
    command = [sys.executable, "-m", "benchmarks.waits_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
