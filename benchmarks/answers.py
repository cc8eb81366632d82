"""What the emulator answers in the benchmarks: as many bytes as were asked."""

from __future__ import annotations

from typing import Any

TEXT = "word " * 425


def two_kilobytes(request: dict[str, Any], key: str | None) -> str:
    """About 2 KB per row with the fields around it."""
    return TEXT


def one_megabyte(request: dict, key: str | None) -> dict:
    """A response of one megabyte, made once."""
    return _LARGE


_LARGE = {"candidates": [{"content": {"parts": [{"text": "x" * 1_000_000}]}, "finishReason": "STOP"}]}
