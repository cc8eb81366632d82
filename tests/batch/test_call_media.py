"""Rows that name media files, in a trial and in a rescue: the files are uploaded before the calls."""

from __future__ import annotations

import pytest
from upath import UPath

from airflow_provider_batch.batch.decide.call_rules import CallRules

QUICKLY = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
LATE_S = 3_605.0


def seen(key):
    picture = {"fileData": {"fileUri": f"{key}.png", "mimeType": "image/png"}}
    return {"key": key, "request": {"contents": [{"parts": [picture, {"text": f"What is {key}?"}]}]}}


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "out")


@pytest.fixture
def looking(task, tmp_path):
    """A task of six rows, each with a picture of its own."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for key in "abcdef":
        (photos / f"{key}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + key.encode() * 300)
    return task.but(rows=[seen(key) for key in "abcdef"], files=UPath(photos), calls=QUICKLY)


def uploaded(emulator):
    return [call["file"] for call in emulator.journal() if call["call"] == "files.create"]


def test_tried_rows_with_pictures_are_answered_and_their_files_deleted(looking, gemini_emulator):
    assert looking.but(trial_rows=2).finish().counts == {"success": 6}
    assert len(gemini_emulator.billed_calls()) == 2
    deleted = {call["file"] for call in gemini_emulator.journal() if call["call"] == "files.delete"}
    assert set(uploaded(gemini_emulator)) <= deleted


def test_rescued_rows_with_pictures_are_answered(looking, gemini_emulator):
    late = looking.but(timeout_s=3_600.0, at_timeout="answer")
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    late.attempt()
    gemini_emulator.advance_clock(LATE_S)
    assert late.finish().counts == {"success": 6}
    assert len(gemini_emulator.billed_calls()) == 6
