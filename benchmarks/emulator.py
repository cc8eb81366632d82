"""``python -m benchmarks.emulator [jobs] [megabytes]``: the emulator with many jobs, and with large files."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from airflow_provider_batch.emulator import Emulator, Limits, running_emulator

LATENCY_BAR_MS = 50
MEMORY_BAR_MIB = 150
SAMPLES = 200
PIECE = b"x" * (1 << 20)
ROW_MB = 1


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        _many(Path(folder) / "many", jobs)
        _large(Path(folder) / "large", megabytes)


def _many(folder: Path, count: int) -> None:
    with (
        running_emulator(folder, job_seconds=1e6, limits=Limits(max_jobs=count)) as emulator,
        _client(emulator) as api,
    ):
        began = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            names = list(pool.map(lambda number: _file_and_job(api, number), range(count)))
        print(f"\n{count:,} files and {count:,} jobs, made in {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        emulator.restart()
        print(f"  restart         {time.perf_counter() - began:8.1f} s")
        print(f"  memory          {_rss_mib(emulator):8.0f} MiB")
        step = max(1, count // SAMPLES)
        _latency("get a job", (api.get(f"/v1/{job}") for _, job in names[::step]))
        _latency("get a file", (api.get(f"/v1/{file}") for file, _ in names[::step]))
        _latency("list 100 jobs", _pages(api, "batches", 100))
        _latency("list 100 files", _pages(api, "files", 100))


def _file_and_job(api: httpx.Client, number: int) -> tuple[str, str]:
    row = {"key": "a", "request": {"contents": [{"parts": [{"text": f"row {number}"}]}]}}
    file = _upload(api, [json.dumps(row).encode() + b"\n"])
    body = {"batch": {"displayName": f"job {number}", "inputConfig": {"fileName": file}}}
    return file, api.post("/v1/models/gemini-2.5-flash:batchGenerateContent", json=body).json()["name"]


def _upload(api: httpx.Client, pieces: list[bytes]) -> str:
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    session = api.post("/upload/v1/files", headers=start, json={"file": {}}).headers["X-Goog-Upload-URL"]
    send = {
        "X-Goog-Upload-Command": "upload, finalize",
        "X-Goog-Upload-Offset": "0",
        "Content-Length": str(sum(map(len, pieces))),
    }
    return str(api.post(session, headers=send, content=iter(pieces)).json()["file"]["name"])


def _pages(api: httpx.Client, what: str, size: int) -> Iterator[httpx.Response]:
    token = ""
    for _ in range(SAMPLES):
        answer = api.get(f"/v1/{what}", params={"pageSize": size, "pageToken": token})
        token = answer.json().get("nextPageToken", "")
        yield answer


def _latency(name: str, answers: Iterator[httpx.Response]) -> None:
    times = sorted(answer.raise_for_status().elapsed.total_seconds() * 1000 for answer in answers)
    median, high = statistics.median(times), times[int(len(times) * 0.99)]
    verdict = "ok" if median <= LATENCY_BAR_MS else "OVER"
    print(f"  {name:<15} {median:8.1f} ms median, {high:.1f} ms p99   (bar {LATENCY_BAR_MS} ms)  {verdict}")


def _large(folder: Path, megabytes: int) -> None:
    answers = "benchmarks.answers:one_megabyte"
    with running_emulator(folder, job_seconds=0.1, answers=answers) as emulator, _client(emulator) as api:
        print(f"\n{megabytes:,} MB (memory bar {MEMORY_BAR_MIB} MiB)")
        _measured(emulator, "upload", lambda: _upload(api, [PIECE] * megabytes))
        row = {"request": {"contents": [{"parts": [{"text": "x"}]}]}}
        rows = [json.dumps({"key": f"r{number}", **row}).encode() + b"\n" for number in range(megabytes // ROW_MB)]
        body = {"batch": {"displayName": "large", "inputConfig": {"fileName": _upload(api, rows)}}}
        job = api.post("/v1/models/gemini-2.5-flash:batchGenerateContent", json=body).json()["name"]
        _measured(emulator, "write results", lambda: _wait(api, job))
        output = api.get(f"/v1/{job}").json()["response"]["responsesFile"]
        _measured(emulator, "download", lambda: _download(api, output))


def _wait(api: httpx.Client, job: str) -> None:
    while not api.get(f"/v1/{job}").json().get("done"):
        time.sleep(0.1)


def _download(api: httpx.Client, name: str) -> None:
    with api.stream("GET", f"/v1/{name}:download", params={"alt": "media"}) as answer:
        for _ in answer.iter_raw(1 << 20):
            pass


def _measured(emulator: Emulator, name: str, act) -> None:
    """Run it, watching the server's memory meanwhile."""
    peak, began = 0.0, time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        while not done.done():
            peak = max(peak, _rss_mib(emulator))
            time.sleep(0.02)
        done.result()
    verdict = "ok" if peak <= MEMORY_BAR_MIB else "OVER"
    print(f"  {name:<15} {time.perf_counter() - began:8.1f} s   peak {peak:.0f} MiB  {verdict}")


def _rss_mib(emulator: Emulator) -> float:
    return psutil.Process(emulator.pid).memory_info().rss / 2**20


def _client(emulator: Emulator) -> httpx.Client:
    return httpx.Client(base_url=emulator.base_url, headers={"x-goog-api-key": "k"}, timeout=600, trust_env=False)


if __name__ == "__main__":
    main()
