"""``python -m benchmarks.landing PEERS_PYTHON``: landing 100,000 answers, beside others, turn by turn.

Everybody gets the same texts over HTTP from the same kind of server on this machine, in the format that they read,
and writes one line for each row. Ours also matches each row to its request, keeps the whole response, syncs it to
disk and puts the results together.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_batch.emulator.process import running_emulator
from benchmarks.answers import TEXT
from benchmarks.phases import in_process

ROWS = 100_000
TURNS = 5
BARS = {"common_ai": 5, "google_genai": 10}
NAMES = {
    "ours": "airflow-provider-batch",
    "common_ai": "LLMBatchOperator of common-ai 1.0.0",
    "google_genai": "google-genai 3.6.1, typed objects",
}


def main() -> None:
    peers = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        _write_requests(folder / "requests.jsonl")
        _write_openai_results(folder / "openai.jsonl")
        with (
            running_emulator(
                folder / "emulator", job_seconds=0.1, answers="benchmarks.answers:two_kilobytes"
            ) as emulator,
            _openai_server(peers, folder / "openai.jsonl") as openai_url,
        ):
            url, state = emulator.base_url, {}
            for phase in ("stage", "upload", "job"):
                state |= in_process(phase, url, folder, state)["state"]
            out = str(folder / "out.jsonl")
            contenders = {
                "ours": lambda: _ours(url, folder, state),
                "common_ai": lambda: _peer(peers, "common_ai", openai_url, out, str(ROWS)),
                "google_genai": lambda: _peer(peers, "google_genai", url, out, state["output"]),
            }
            _report(_turns(contenders))


def _turns(contenders: dict[str, Callable[[], dict]]) -> dict[str, list[dict]]:
    taken: dict[str, list[dict]] = {name: [] for name in contenders}
    for turn in range(TURNS):
        order = list(contenders) if turn % 2 == 0 else list(contenders)[::-1]
        for name in order:
            # What the one before has written must not be written while this one is measured.
            os.sync()
            taken[name].append(contenders[name]())
    return taken


def _report(taken: dict[str, list[dict]]) -> None:
    print(f"landing {ROWS:,} answers of {len(TEXT):,} characters, {TURNS} turns")
    print(f"{'':<38}{'seconds':>9}{'rows/s':>10}{'growth MiB':>12}{'ours is':>12}   bar")
    ours = [figures["seconds"] for figures in taken["ours"]]
    for name, runs in taken.items():
        seconds = statistics.median(figures["seconds"] for figures in runs)
        growth = max(figures["peak_mib"] - figures["idle_mib"] for figures in runs)
        line = f"{NAMES[name]:<38}{seconds:>9.2f}{ROWS / seconds:>10,.0f}{growth:>12.0f}"
        if name in BARS:
            ratios = sorted(their["seconds"] / mine for their, mine in zip(runs, ours, strict=True))
            line += f"{statistics.median(ratios):>9.1f} x ({ratios[0]:.1f} to {ratios[-1]:.1f})   {BARS[name]} x"
        print(line)


def _ours(url: str, folder: Path, state: dict) -> dict:
    """Each turn lands anew, in a copy of the folder as it was when the job had finished."""
    turn = folder / "turn"
    shutil.copytree(folder / "results", turn / "results")
    try:
        return in_process("land", url, turn, state)
    finally:
        shutil.rmtree(turn)


def _peer(python: str, *arguments: str) -> dict:
    return json.loads(_run(python, *arguments))


def _run(python: str, *arguments: str) -> str:
    command = [python, str(Path(__file__).with_name("peers.py")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout.splitlines()[-1]


def clean_environment() -> dict[str, str]:
    """Nothing of this environment: the peers' Python must not find this package."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


@contextmanager
def _openai_server(python: str, path: Path) -> Iterator[str]:
    command = [python, str(Path(__file__).with_name("peers.py")), "serve", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def _write_requests(path: Path) -> None:
    with path.open("w") as file:
        for number in range(ROWS):
            request = {"contents": [{"role": "user", "parts": [{"text": f"What is {number}?"}]}]}
            file.write(json.dumps({"key": f"row-{number}", "request": request}) + "\n")


def _write_openai_results(path: Path) -> None:
    with path.open("w") as file:
        for number in range(ROWS):
            message = {"role": "assistant", "content": TEXT, "refusal": None}
            body = {
                "id": f"chatcmpl-{number:020d}",
                "object": "chat.completion",
                "created": 1_711_652_795,
                "model": "gpt-4o-mini",
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 12, "completion_tokens": 402, "total_tokens": 414},
            }
            response = {"status_code": 200, "request_id": f"r{number}", "body": body}
            row = {"id": f"batch_req_{number}", "custom_id": f"row-{number}", "response": response, "error": None}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
