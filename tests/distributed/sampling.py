"""Memory, processor time and database connections of each component, while something goes on."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import psutil

from tests.real_airflow.processes import Process
from tests.real_airflow.stack import Airflow

EVERY_S = 2.0
MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """What a component has at one time, over all of its processes.

    :param rss_mib: Resident memory. Pages that processes share count once for each of them.
    :param pss_mib: The same, with shared pages divided among those that share them: these sums add up.
    :param connections: To PostgreSQL.
    """

    processes: int = 0
    rss_mib: float = 0.0
    pss_mib: float = 0.0
    connections: int = 0

    def __add__(self, other: Sample) -> Sample:
        return Sample(
            self.processes + other.processes,
            self.rss_mib + other.rss_mib,
            self.pss_mib + other.pss_mib,
            self.connections + other.connections,
        )


class Sampler:
    """Looks at every component every few seconds, in a thread, and keeps the peaks of each phase.

    :param database_port: Of PostgreSQL.
    """

    def __init__(self, airflow: Airflow, database_port: int) -> None:
        self.peaks: dict[str, dict[str, Sample]] = defaultdict(dict)
        """The peak of each phase, by component; ``total`` is all of them at the same time."""
        self._airflow = airflow
        self._port = database_port

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Sample for the length of a block, at least once."""
        over = threading.Event()
        thread = threading.Thread(target=self._look_on, args=(phase, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look_on(self, phase: str, over: threading.Event) -> None:
        while True:
            now = {name: self._sample(component) for name, component in self._airflow.components.items()}
            now["total"] = sum(now.values(), Sample())
            for name, sample in now.items():
                self.peaks[phase][name] = _peak(self.peaks[phase].get(name, Sample()), sample)
            if over.wait(EVERY_S):
                return

    def _sample(self, component: Process) -> Sample:
        found = Sample()
        ports: set[int] = set()
        for process in component.members():
            # A task may end between two looks.
            with suppress(psutil.NoSuchProcess):
                memory = process.memory_full_info()
                found += Sample(1, memory.rss / MIB, memory.pss / MIB)
                # What a process inherited from its parent is the same connection: its own port says which.
                there = (each for each in process.net_connections("tcp") if each.raddr)
                ports |= {each.laddr.port for each in there if each.raddr.port == self._port}
        return replace(found, connections=len(ports))


def _peak(one: Sample, other: Sample) -> Sample:
    return Sample(
        max(one.processes, other.processes),
        max(one.rss_mib, other.rss_mib),
        max(one.pss_mib, other.pss_mib),
        max(one.connections, other.connections),
    )


def cpu_s(component: Process) -> float:
    """Processor seconds that a component has used, with those of all processes that it has seen end."""
    used = 0.0
    for process in component.members():
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])
    return used
