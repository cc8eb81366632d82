"""What the conformance tests share: the emulator behind a proxy that records what is on the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.recording import Recording, recorded


@pytest.fixture
def recording(gemini_emulator) -> Iterator[Recording]:
    """The test's emulator, and what went to and fro."""
    with recorded(gemini_emulator) as recording:
        yield recording
