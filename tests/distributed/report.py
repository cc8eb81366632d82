"""The tables at the end: who did the work, how long it held slots, what it needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.distributed.machines import QUEUES, WORKERS
from tests.distributed.sampling import Sample
from tests.distributed.traces import Execution
from tests.real_airflow.case import Figures, aligned


@dataclass(frozen=True)
class Trial:
    """What happened in one test.

    :param wall_s: From the start of the first DAG run to the end of the test.
    :param tries: Over all task instances; as many as those if nothing was tried again.
    :param woken: Waits that each triggerer ended.
    :param cpu_s: Processor seconds by component, None = not known as some were killed.
    """

    figures: Figures
    wall_s: float
    tries: int
    executions: Sequence[Execution]
    woken: Counter[str]
    cpu_s: dict[str, float] | None = None

    def ended(self, state: str, worker: str | None = None) -> list[Execution]:
        """The executions that ended in a state, on one worker or all."""
        return [e for e in self.executions if e.state == state and worker in (None, e.worker)]

    @property
    def killed(self) -> int:
        """How many executions ended with their worker."""
        return sum(1 for e in self.executions if e.state is None and not e.is_repeated)

    @property
    def repeated(self) -> int:
        """How many messages were delivered to a second worker."""
        return sum(1 for e in self.executions if e.is_repeated)


def work(trials: Iterable[Trial]) -> str:
    """A line for each test: what it cost, and which machine did how much of it."""
    heads = ["test", "partitions", "wall s", "creates", "duplicates", "lost rows", "paid, not landed", "tries"]
    heads += ["killed", "delivered twice", "submitted by 1, 2", "landed by 1, 2", "woken by 1, 2"]
    lines = [heads]
    for trial in trials:
        f = trial.figures
        if not f.ended:
            lines.append([f"{f.title} (not ended)", *["-"] * (len(heads) - 1)])
            continue
        numbers = [f.runs, round(trial.wall_s), f.creates, f.duplicates, f.lost, f.unlanded, trial.tries]
        numbers += [trial.killed, trial.repeated]
        shares = [", ".join(str(len(trial.ended(state, w))) for w in WORKERS) for state in ("deferred", "success")]
        woken = ", ".join(str(trial.woken[name]) for name in QUEUES)
        lines.append([f.title, *map(str, numbers), *shares, woken])
    return aligned(lines)


def slots(trials: Iterable[Trial]) -> str:
    """Seconds of a slot: before, in and after the operator's code, for the submission and the landing."""
    parts = ("before", "operator", "after")
    heads = ["test", *(f"{what}: {part}" for what in ("submit", "land") for part in parts)]
    lines = [[*heads, "slot s a partition", "CPU s a partition: workers", "scheduler", "triggerers"]]
    for trial in (t for t in trials if t.figures.ended):
        cells = []
        for ended in (trial.ended("deferred"), trial.ended("success")):
            cells += [_spread([getattr(e, name) for e in ended]) for name in ("before_s", "acting_s", "after_s")]
        held = sum(e.slot_s for e in trial.executions) / trial.figures.runs
        lines.append([trial.figures.title, *cells, f"{held:.2f}", *_processor(trial)])
    return aligned(lines)


def _processor(trial: Trial) -> list[str]:
    groups = [WORKERS, ("scheduler",), QUEUES]
    if trial.cpu_s is None:
        return ["-"] * len(groups)
    return [f"{sum(trial.cpu_s[name] for name in group) / trial.figures.runs:.2f}" for group in groups]


def _spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f} / {max(seconds):.2f}" if seconds else "-"


def needs(peaks: dict[str, dict[str, Sample]]) -> str:
    """A line for each component: its peaks in each phase."""
    phases = list(peaks)
    heads = ["component", "processes", *(f"PSS MiB, {phase}" for phase in phases)]
    heads += ["RSS MiB, highest", "connections, highest"]
    lines = [heads]
    for name in peaks[phases[0]]:
        samples = [peaks[phase][name] for phase in phases]
        lines.append(
            [name, str(max(s.processes for s in samples))]
            + [f"{s.pss_mib:.0f}" for s in samples]
            + [f"{max(s.rss_mib for s in samples):.0f}", str(max(s.connections for s in samples))]
        )
    return aligned(lines)
