"""A real Airflow and the emulator for all faults, and a table of what each fault cost.

``make test-airflow`` runs this; the rest of the suite leaves it alone. In the environment:

- ``REAL_AIRFLOW``: set = collect these tests.
- ``REAL_AIRFLOW_STALL_S``: how long a stalled triggerer is stalled, in seconds (45).
- ``REAL_AIRFLOW_REPEAT``: how often each fault is tried (1).

Everything that Airflow wrote stays in ``.real-airflow`` until the next time.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_batch.emulator import Emulator, running_emulator
from tests.real_airflow.case import ENDED, Case, Figures, table
from tests.real_airflow.servers import Postgres
from tests.real_airflow.stack import ROOT, Airflow

collect_ignore_glob = [] if os.environ.get("REAL_AIRFLOW") else ["test_*.py"]

FOLDER = ROOT / ".real-airflow"
REPEAT = int(os.environ.get("REAL_AIRFLOW_REPEAT", "1"))
JOB_S = 36_000.0
"""Jobs take longer than any test: each is done when the test says so."""

FIGURES: list[Figures] = []


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
def stack(folder: Path, emulator: Emulator) -> Iterator[Airflow]:
    connection = {"conn_type": "gemini", "host": emulator.base_url, "password": "test-key"}
    database = Postgres(folder / "postgres.log")
    try:
        database.start()
        dags = Path(__file__).parent / "dags"
        airflow = Airflow(folder / "airflow", database.url, {"gemini_default": connection}, dags)
        try:
            airflow.start()
            yield airflow
        finally:
            airflow.stop()
    finally:
        database.stop()


@pytest.fixture
def airflow(stack: Airflow) -> Airflow:
    """Airflow with all its components at work, whatever the test before did to them."""
    stack.ensure_running()
    return stack


@pytest.fixture(params=range(REPEAT))
def case(request: pytest.FixtureRequest, airflow: Airflow, emulator: Emulator, folder: Path) -> Iterator[Case]:
    """The fault of a test; its docstring says which that is."""
    title, _, _ = request.function.__doc__.partition("\n")
    data = folder / "data" / f"{request.node.originalname}-{request.param}"
    case = Case(title.rstrip("."), airflow, emulator, data)
    try:
        yield case
    finally:
        emulator.clear_faults()
        airflow.ensure_running()
        FIGURES.append(case.figures(ended=request.node.stash.get(ENDED, False)))


@pytest.fixture
def figures() -> list[Figures]:
    """What the faults before this test cost, each seen when its test ended."""
    return FIGURES


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call":
        item.stash[ENDED] = report.passed
    if report.failed:
        report.sections.append(
            ("Where to look", f"The logs of Airflow, of the tasks and of the emulator: {FOLDER}")
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("what each fault cost")
        terminalreporter.write_line(table(FIGURES))
