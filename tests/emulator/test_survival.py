"""What a kill without warning must not lose, and what a large file must not cost."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from airflow_provider_batch.emulator import Emulator, running_emulator

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Emulator]:
    with running_emulator(tmp_path / "data", job_seconds=1000) as running:
        yield running


def killed_and_restarted(emulator: Emulator) -> None:
    emulator.kill()
    emulator.restart()


def test_upload_in_progress_resumes_after_a_kill(killable, connect) -> None:
    api = connect(killable)
    content = bytes(range(256)) * 20_000
    url = api.start_upload(len(content), display_name="resumed")
    api.put_bytes(url, "upload", 0, content[:3_000_000])

    killed_and_restarted(killable)

    received = int(api.put_bytes(url, "query", 0, b"").headers["x-goog-upload-size-received"])
    file = api.put_bytes(url, "upload, finalize", received, content[received:]).json()["file"]
    assert received == 3_000_000
    assert base64.b64decode(file["sha256Hash"]).decode() == hashlib.sha256(content).hexdigest()


def test_pending_batch_finishes_after_a_kill(killable, connect) -> None:
    api = connect(killable)
    name = api.create_from(api.row("a")).json()["name"]

    killed_and_restarted(killable)
    killable.advance_clock(1000)

    assert [result["key"] for result in api.results(api.finished(name))] == ["a"]


def test_finished_batch_reads_the_same_after_a_kill(killable, connect) -> None:
    api = connect(killable)
    name = api.create_inline(api.inline_row("a")).json()["name"]
    killable.advance_clock(1000)
    before = api.finished(name)

    killed_and_restarted(killable)

    assert api.get(f"/v1beta/{name}").json() == before


def test_half_written_results_are_written_again_after_a_kill(killable, connect) -> None:
    api = connect(killable)
    rows = b"".join(api.jsonl(api.row(str(number))) for number in range(50_000))
    name = api.create(api.upload(rows)["name"]).json()["name"]
    killable.advance_clock(1000)
    while api.get(f"/v1beta/{name}").json()["metadata"]["state"] != "BATCH_STATE_RUNNING":
        pass

    killed_and_restarted(killable)

    assert len(api.results(api.finished(name))) == 50_000


def test_journal_faults_and_clock_survive_a_kill(killable, connect) -> None:
    api = connect(killable)
    file = api.upload(b"x")
    killable.add_fault(call="files.list", action="status", status=503)
    killable.advance_clock(48 * 3600)

    killed_and_restarted(killable)

    assert [call["call"] for call in killable.journal()] == ["files.upload.start", "files.create"]
    assert api.get("/v1beta/files").status_code == 503
    assert api.get(f"/v1beta/{file['name']}").status_code == 403


@linux_only
def test_large_file_is_served_in_constant_memory(killable, connect) -> None:
    api = connect(killable)
    line = (
        json.dumps({"key": "k", "request": {"contents": [{"parts": [{"text": "x" * 20_000}]}]}}).encode() + b"\n"
    )
    rows = 10_000
    size = rows * len(line)
    small = api.create_from(api.row("warm"))
    before = peak_mebibytes(killable.pid)

    url = api.start_upload(size)
    headers = {
        "X-Goog-Upload-Command": "upload, finalize",
        "X-Goog-Upload-Offset": "0",
        "Content-Length": str(size),
    }
    pieces = (line * 50 for _ in itertools.repeat(None, rows // 50))
    file = httpx.post(url, headers=headers, content=pieces, timeout=60).json()["file"]
    name = api.create(file["name"]).json()["name"]
    killable.advance_clock(1000)

    assert small.status_code == 200
    assert int(file["sizeBytes"]) == size > 200_000_000
    assert api.finished(name)["metadata"]["batchStats"]["successfulRequestCount"] == str(rows)
    assert peak_mebibytes(killable.pid) - before < 32


def peak_mebibytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def test_server_leaves_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "from airflow_provider_batch.emulator import running_emulator\n"
        "import pathlib, sys, time\n"
        "with running_emulator(pathlib.Path(sys.argv[1])) as emulator:\n"
        "    print(emulator.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    parent.kill()
    parent.wait()
    parent.stdout.close()

    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that nobody waits for stays visible as a zombie.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
