"""The pytest fixture ``gemini_emulator``: a fresh emulator for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_batch.emulator.process import Emulator, running_emulator


@pytest.fixture
def gemini_emulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Run an emulator whose batches take a fifth of a second. Its state lies in ``tmp_path``.

    Parametrized indirectly, it takes the arguments of ``running_emulator``.
    """
    with running_emulator(tmp_path / "emulator", **getattr(request, "param", {})) as emulator:
        yield emulator
