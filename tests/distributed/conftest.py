"""An Airflow on several machines and the emulator for all tests, and tables of what they cost.

``make test-distributed`` runs this; the rest of the suite leaves it alone. In the environment:

- ``DISTRIBUTED``: set = collect these tests.
- ``DISTRIBUTED_PARTITIONS``: how many partitions the large tests have (50).
- ``DISTRIBUTED_SETTINGS``: settings of Airflow to try out, ``AIRFLOW__SECTION__KEY=value``, with blanks between.

Everything that Airflow wrote stays in ``.distributed`` until the next time.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_batch.emulator import Emulator, running_emulator
from tests.distributed import report
from tests.distributed.machines import WORKERS, airflow_on_machines, are_idle
from tests.distributed.report import Trial
from tests.distributed.sampling import Sampler, cpu_s
from tests.distributed.traces import executions, wakes
from tests.real_airflow.case import ENDED, Case
from tests.real_airflow.processes import until
from tests.real_airflow.servers import Postgres, Redis
from tests.real_airflow.stack import ROOT, Airflow

collect_ignore_glob = [] if os.environ.get("DISTRIBUTED") else ["test_*.py"]

FOLDER = ROOT / ".distributed"
JOB_S = 36_000.0
"""Jobs take longer than any test: each is done when the test says so."""

TRIALS: list[Trial] = []
SAMPLERS: list[Sampler] = []


@pytest.fixture(scope="session")
def folder() -> Path:
    """Where everything is written."""
    # As for Ctrl-C: Airflow's processes have sessions of their own and would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    return FOLDER


@pytest.fixture(scope="session")
def emulator(folder: Path) -> Iterator[Emulator]:
    with running_emulator(folder / "emulator", job_seconds=JOB_S) as running:
        yield running


@pytest.fixture(scope="session")
def database(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder / "postgres.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def broker(folder: Path) -> Iterator[Redis]:
    server = Redis(folder / "redis.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def stack(folder: Path, emulator: Emulator, database: Postgres, broker: Redis) -> Iterator[Airflow]:
    connection = {"conn_type": "gemini", "host": emulator.base_url, "password": "test-key"}
    airflow = airflow_on_machines(folder / "airflow", database, broker, {"gemini_default": connection})
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()


@pytest.fixture
def airflow(stack: Airflow) -> Airflow:
    """Airflow with all its components at work, whatever the test before did to them."""
    stack.ensure_running()
    return stack


@pytest.fixture(scope="session")
def sampler(stack: Airflow, database: Postgres) -> Sampler:
    """What the components need. Use it in tests that kill nothing."""
    SAMPLERS.append(Sampler(stack, database.port))
    return SAMPLERS[-1]


@pytest.fixture
def case(
    request: pytest.FixtureRequest, airflow: Airflow, emulator: Emulator, broker: Redis, folder: Path
) -> Iterator[Case]:
    """What a test does; its docstring says which that is."""
    title, _, _ = request.function.__doc__.partition("\n")
    case = Case(title.rstrip("."), airflow, emulator, folder / "data" / request.node.originalname)
    begun = time.monotonic()
    started_at = {name: each.started_at for name, each in airflow.components.items()}
    used = {name: cpu_s(each) for name, each in airflow.components.items()}
    try:
        yield case
    finally:
        wall_s = time.monotonic() - begun
        emulator.clear_faults()
        airflow.ensure_running()
        # A slot is free a little after its task's success, and only then its time is known.
        until("the workers are idle", lambda: are_idle(broker))
        unhurt = all(c.started_at == started_at[n] for n, c in airflow.components.items())
        spent = {n: cpu_s(c) - used[n] for n, c in airflow.components.items()} if unhurt else None
        TRIALS.append(
            Trial(
                figures=case.figures(ended=request.node.stash.get(ENDED, False)),
                wall_s=wall_s,
                tries=sum(i["try_number"] for run in case.runs for i in run.instances()),
                executions=executions(airflow, case.runs, WORKERS),
                woken=wakes(airflow, case.runs),
                cpu_s=spent,
            )
        )


@pytest.fixture
def trials() -> list[Trial]:
    """What happened in the tests before this one."""
    return TRIALS


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    result = outcome.get_result()  # type: ignore[attr-defined]
    if result.when == "call":
        item.stash[ENDED] = result.passed
    if result.failed:
        result.sections.append(
            ("Where to look", f"The logs of Airflow, of the tasks and of the emulator: {FOLDER}")
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TRIALS:
        return
    tables = {
        "what it cost, and who did the work": report.work(TRIALS),
        "seconds of a slot and of a processor (median / longest)": report.slots(TRIALS),
    }
    for sampler in SAMPLERS:
        tables["what the components need"] = report.needs(sampler.peaks)
    for title, table in tables.items():
        terminalreporter.section(title)
        terminalreporter.write_line(table)
