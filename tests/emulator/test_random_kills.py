"""Killed at random moments, it keeps all that it acknowledged, and nothing twice."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field

import httpx
import pytest

from airflow_provider_batch.emulator import running_emulator

START = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
SEND = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
ROWS = b"".join(
    json.dumps({"key": f"r{n}", "request": {"contents": [{"parts": [{"text": "x"}]}]}}).encode() + b"\n"
    for n in range(50)
)
KILLS = 20


@dataclass
class Told:
    """What the server acknowledged to one client, and what the client asked for, answered or not."""

    files: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    cancels: set[str] = field(default_factory=set)
    deletes: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


def work(base_url: str, told: Told, stop: threading.Event, seed: int) -> None:
    """Upload, create, cancel and delete for ever; only a complete answer counts."""
    chance = random.Random(seed)
    with httpx.Client(base_url=base_url, headers={"x-goog-api-key": "k"}, timeout=5) as api:
        while not stop.is_set():
            try:
                session = api.post("/upload/v1/files", headers=START, json={"file": {}}).headers[
                    "X-Goog-Upload-URL"
                ]
                file = api.post(session, headers=SEND, content=ROWS).json()["file"]["name"]
                told.files.add(file)
                body = {"batch": {"displayName": file, "inputConfig": {"fileName": file}}}
                job = api.post("/v1/models/gemini-2.5-flash:batchGenerateContent", json=body).json()["name"]
                told.jobs.add(job)
                what = chance.random()
                if what < 0.25:
                    told.cancels.add(job)
                    api.post(f"/v1/{job}:cancel").raise_for_status()
                    told.cancelled.add(job)
                elif what < 0.5:
                    told.deletes.add(job)
                    api.delete(f"/v1/{job}").raise_for_status()
                    told.deleted.add(job)
            except (httpx.TransportError, json.JSONDecodeError):
                time.sleep(0.02)


def ended(api: httpx.Client, name: str) -> tuple[str, list[str]]:
    """The state in which a job ended, and the keys of its results."""
    while not (operation := api.get(f"/v1/{name}").raise_for_status().json()).get("done"):
        time.sleep(0.02)
    output = operation.get("response", {}).get("responsesFile")
    lines = api.get(f"/v1/{output}:download", params={"alt": "media"}).content.splitlines() if output else []
    return operation["metadata"]["state"].removeprefix("BATCH_STATE_"), [json.loads(line)["key"] for line in lines]


@pytest.mark.parametrize("seed", [20261123])
def test_whatever_was_acknowledged_before_a_kill_is_there_after_it(tmp_path, seed) -> None:
    chance = random.Random(seed)
    told = [Told() for _ in range(3)]
    with running_emulator(tmp_path, job_seconds=0.3) as emulator:
        stop = threading.Event()
        clients = [
            threading.Thread(target=work, args=(emulator.base_url, one, stop, seed + number))
            for number, one in enumerate(told)
        ]
        for client in clients:
            client.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.02, 0.3))
            emulator.kill()
            emulator.restart()
        stop.set()
        for client in clients:
            client.join()
        names = ("files", "jobs", "cancels", "deletes", "cancelled", "deleted")
        files, jobs, cancels, deletes, cancelled, deleted = (
            set().union(*(getattr(one, name) for one in told)) for name in names
        )
        made = [call["batch"] for call in emulator.journal() if call["call"] == "batches.create"]
        with httpx.Client(base_url=emulator.base_url, headers={"x-goog-api-key": "k"}, timeout=5) as api:
            kept_files = {name for name in files if api.get(f"/v1/{name}").status_code == 200}
            gone = {name for name in jobs if api.get(f"/v1/{name}").status_code == 404}
            ends = {name: ended(api, name) for name in jobs - gone}

    assert len(jobs) > KILLS, f"seed {seed}: too little work was done to mean anything"
    assert kept_files == files
    assert jobs <= set(made)
    assert len(made) == len(set(made))
    assert deleted <= gone <= deletes
    whole = sorted(f"r{n}" for n in range(50))
    for name, (state, keys) in ends.items():
        assert (state, sorted(keys)) in [("SUCCEEDED", whole), ("CANCELLED", [])], (seed, name)
        assert state == "SUCCEEDED" or name in cancels, (seed, name)
    assert cancelled <= set(ends)
