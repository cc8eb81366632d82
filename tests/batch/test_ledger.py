"""Documents that are written once, by one, and are believed only if they are what they should be."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from typing import ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from airflow_provider_batch.batch.ledger.documents import BatchPlan, Cancel
from airflow_provider_batch.batch.ledger.store import MAX_DOCUMENT_BYTES, Ledger, check_store, generation
from airflow_provider_batch.errors import ConfigError, LedgerError
from airflow_provider_batch.rows.storage import created

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def note(why):
    return Cancel(at=NOON, why=why)


@pytest.fixture
def ledger(folder):
    return generation(folder, "a" * 24, 1)


def test_a_document_is_written_once_and_read_back(ledger):
    assert ledger.put("r1.cancel.json", note("first")) is True
    assert ledger.put("r1.cancel.json", note("second")) is False
    assert ledger.read("r1.cancel.json", Cancel) == note("first")


def test_a_document_that_nobody_wrote_is_none(ledger):
    assert ledger.read("r1.cancel.json", Cancel) is None
    assert ledger.names() == set()


def test_of_many_writers_at_the_same_moment_exactly_one_wins(folder):
    target, wins = folder / "slot.json", []
    ready = threading.Barrier(16)

    def write(number):
        ready.wait()
        if created(target, f"{number}".encode()):
            wins.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [int(target.read_bytes())] == wins


def test_a_person_can_read_it(ledger):
    ledger.put("r1.cancel.json", note("the deadline passed"))
    text = ledger.path("r1.cancel.json").read_text()
    assert json.loads(text) == {"at": "2026-11-24T12:00:00Z", "why": "the deadline passed"}


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"why": 1}', "\x00\xff"])
def test_a_damaged_document_stops_with_its_path_and_what_to_do(ledger, text):
    ledger.put("r1.cancel.json", note("x"))
    ledger.path("r1.cancel.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(LedgerError, match=r"AGB-L02 .*r1\.cancel\.json is not a Cancel") as caught:
        ledger.read("r1.cancel.json", Cancel)
    assert "Nothing was sent or cancelled" in caught.value.remedy


def test_a_ledger_of_a_newer_version_is_not_guessed_at(ledger):
    ledger.put("plan.json", note("x"))
    ledger.path("plan.json").write_text(json.dumps({"ledger_version": 99, "everything": "else"}))
    with pytest.raises(LedgerError, match=r"AGB-L03 .*newer version of this package \(ledger 99"):
        ledger.read("plan.json", BatchPlan)


def test_fields_of_a_newer_version_that_change_nothing_are_left_alone(ledger):
    ledger.put("r1.cancel.json", note("x"))
    ledger.path("r1.cancel.json").write_text('{"at": "2026-11-24T12:00:00Z", "why": "x", "who": "new"}')
    assert ledger.read("r1.cancel.json", Cancel) == note("x")


def test_what_was_read_once_is_not_read_again(ledger):
    ledger.put("r1.cancel.json", note("x"))
    ledger.read("r1.cancel.json", Cancel)
    ledger.path("r1.cancel.json").unlink()
    assert ledger.read("r1.cancel.json", Cancel) == note("x")


def test_a_store_that_keeps_what_is_there_passes_and_nothing_is_left(folder):
    check_store(folder)
    assert Ledger(folder / "_ledger").names() == set()


class Forgetful(MemoryFileSystem):
    """A store that takes every write, as object stores without conditional writes do."""

    protocol = "forgetful"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        super().pipe_file(path, value, mode="overwrite")


def test_a_store_that_replaces_what_is_there_is_refused():
    import fsspec

    fsspec.register_implementation("forgetful", Forgetful, clobber=True)
    with pytest.raises(ConfigError, match=r"AGB-L01 .*replaces a file that must not be replaced") as caught:
        check_store(UPath("forgetful://bucket/out"))
    assert "Nothing was uploaded" in caught.value.remedy


def test_a_store_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="AGB-L01 A file could not be written below"):
        check_store(UPath(tmp_path / "out"))


def test_what_would_be_too_large_to_read_is_not_written(tmp_path):
    ledger = Ledger(UPath(tmp_path / "1"))
    with pytest.raises(LedgerError, match=r"AGB-L04 r1.cancel.json .* would have .* Set max_rows_per_job"):
        ledger.put("r1.cancel.json", Cancel(at=NOON, why="x" * MAX_DOCUMENT_BYTES))
    assert not (tmp_path / "1").exists()
