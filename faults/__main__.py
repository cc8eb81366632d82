"""``python -m faults``: run every case many times, judge each run by the emulator's journal, print a table.

``--seed`` repeats a run that failed; ``--only`` picks cases by a part of their names.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from upath import UPath

from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.emulator.process import Emulator
from faults.cases import CASES
from faults.harness import Bench, Case
from faults.judge import Figures, judge
from faults.task import Task, ask

ROWS = 8
RUNS_PER_EMULATOR = 40


@dataclass
class Tally:
    """What came of the runs of one case."""

    case: Case
    runs: int = 0
    duplicates: int = 0
    lost: int = 0
    unlanded: int = 0
    recoveries: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """As the case promises."""
        return not self.broken

    def line(self) -> str:
        """A row of the table."""
        recovery = (
            f"{statistics.median(self.recoveries):5.2f} {max(self.recoveries):6.2f}" if self.recoveries else ""
        )
        return (
            f"{self.case.numbers:>7}  {self.case.name:<48} {self.runs:>5} {self.duplicates:>5} {self.lost:>5} "
            f"{self.unlanded:>6}   {recovery:<13} {'ok' if self.is_good else 'BROKEN'}"
        )


HEAD = f"{'row':>7}  {'fault':<48} {'runs':>5} {'dup.':>5} {'lost':>5} {'unland':>6}   recovery s: median, max"


def run_case(case: Case, seeds: list[int], plant: Callable[[], None] | None = None) -> Tally:
    """Run a case once for each seed."""
    tally = Tally(case)
    for first in range(0, len(seeds), RUNS_PER_EMULATOR):
        with (
            tempfile.TemporaryDirectory() as folder,
            running_emulator(Path(folder) / "emulator", job_seconds=case.job_seconds) as emulator,
        ):
            for seed in seeds[first : first + RUNS_PER_EMULATOR]:
                _run_once(case, seed, emulator, Path(folder), tally, plant)
    return tally


def _run_once(
    case: Case, seed: int, emulator: Emulator, folder: Path, tally: Tally, plant: Callable[[], None] | None
) -> None:
    task = case.shape(
        Task(
            emulator.base_url,
            UPath(folder / str(seed)),
            [ask(f"k{number}") for number in range(ROWS)],
            identity=Identity("faults", "label", str(seed)),
        )
    )
    tally.runs += 1
    try:
        recovery = case.run(Bench(emulator, task, random.Random(seed), plant))
        figures = judge(emulator, task)
    except Exception as error:  # noqa: BLE001
        # A case that cannot be judged is a finding; the other runs go on.
        tally.broken.append(f"seed {seed}: {type(error).__name__}: {error}")
        return
    finally:
        emulator.clear_faults()
        shutil.rmtree(folder / str(seed), ignore_errors=True)
    tally.recoveries.append(recovery)
    tally.duplicates += figures.duplicates
    tally.lost += figures.lost
    tally.unlanded += figures.unlanded
    if not _is_as_promised(case, figures):
        tally.broken.append(f"seed {seed}: {figures}")


def _is_as_promised(case: Case, figures: Figures) -> bool:
    return (
        not figures.lost
        and max(figures.duplicates, figures.unlanded) <= case.tolerates
        and case.resends in (None, figures.resent)
        and not (case.tells_all and figures.unaccounted)
        and not figures.untold
        and not figures.needless
        and (case.calls_again or not figures.again)
    )


def seeds_of(case: Case, runs: int, seed: int) -> list[int]:
    """Seeds that differ between cases, so that a failing one says which."""
    base = zlib.crc32(f"{case.numbers}{case.name}".encode()) % 100_000 * 100_000 + seed
    return [base + number for number in range(max(1, round(runs * case.weight)))]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="of a case of weight 1 (default %(default)s)")
    parser.add_argument("--only", default="", help="a part of the case's name")
    parser.add_argument("--seed", type=int, default=None, help="repeat the run with this seed")
    parser.add_argument("--jobs", type=int, default=3 * (os.cpu_count() or 1), help="cases at a time")
    arguments = parser.parse_args()
    # What tries in this very process have to say is of no interest here.
    logging.disable()
    cases = [case for case in CASES if arguments.only in case.name]
    work = [
        (case.name, [arguments.seed] if arguments.seed else seeds_of(case, arguments.runs, 0)) for case in cases
    ]
    began = time.monotonic()
    print(HEAD, flush=True)
    broken: list[str] = []
    # Most of a case is waiting, so more of them than there are cores go on at a time.
    with multiprocessing.get_context("fork").Pool(arguments.jobs, maxtasksperchild=1) as pool:
        for line, findings in pool.imap(_run_named, work):
            print(line, flush=True)
            broken += findings
    runs = sum(len(seeds) for _, seeds in work)
    print(f"\n{runs} runs in {time.monotonic() - began:.0f} s, {len(broken)} not as promised")
    for text in broken[:20]:
        print(text)
    if broken:
        raise SystemExit(1)


def _run_named(work: tuple[str, list[int]]) -> tuple[str, list[str]]:
    name, seeds = work
    tally = run_case(next(case for case in CASES if case.name == name), seeds)
    return tally.line(), [f"{name}: {text}" for text in tally.broken]


if __name__ == "__main__":
    main()
