"""Any legal row comes back as it was sent: staged, uploaded, answered, downloaded, landed, read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from upath import UPath

from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.gemini.rows.dialect import MAX_KEY_CHARS
from airflow_provider_batch.rows.results import read_results
from faults.task import Task

# What breaks lines for Python and not for JSON Lines, what needs two code units, what terminals act upon.
AWKWARD = '\u2028\u2029\u0085\x0b\x0c\x1c\x01\x1b[31m\r\n\t"\\\ud7ff\ue000\ufeff\U0001f9ea\U0010ffff'

# NUL is refused before anything is sent (AGB-I07).
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
text = st.text(letters, min_size=1, max_size=60) | st.text(AWKWARD, min_size=1)
keys = st.text(letters, min_size=1, max_size=MAX_KEY_CHARS).filter(str.strip)
options = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "topK": st.integers(1, 2**31 - 1),
        "stopSequences": st.lists(text, max_size=3),
        "seed": st.integers(-(2**31), 2**31 - 1),
    },
)
rows = st.dictionaries(keys, st.tuples(text, options), min_size=1, max_size=30)


class Echo(NamedTuple):
    """Where it is, and a folder for the rows."""

    base_url: str
    folder: Path


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """An emulator whose answer is the request itself."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo_answers.py").write_text(
        "import json\n\ndef answer(request, key):\n    return json.dumps(request)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        with running_emulator(folder / "emulator", answers="echo_answers:answer", job_seconds=0.01) as emulator:
            yield Echo(emulator.base_url, folder)


def round_trip(echo, requests, ascii_only):
    folder = echo.folder
    run = f"run {time.monotonic_ns()}"
    identity, result_path = Identity("dag", "task", run), UPath(folder / run)
    source = folder / f"{run}.jsonl"
    lines = (json.dumps({"key": k, "request": r}, ensure_ascii=ascii_only) + "\n" for k, r in requests.items())
    source.write_bytes("".join(lines).encode())
    task = Task(echo.base_url, result_path, UPath(source), identity=identity)
    manifest = task.finish()
    assert manifest.counts == {"success": len(requests)}
    return {row.key: json.loads(row.text) for row in read_results(manifest)}


def request(words, config):
    return {"contents": [{"role": "user", "parts": [{"text": words}]}], "generationConfig": config}


@given(rows=rows, ascii_only=st.booleans())
@example(
    rows={AWKWARD: (AWKWARD, {}), "../../etc/passwd": ("=cmd()", {}), "e\u0301": ("a", {}), "\u00e9": ("b", {})},
    ascii_only=False,
)
@example(rows={"large": ("\u2028x" * 500_000, {})}, ascii_only=False)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_every_request_reaches_the_model_under_its_key_and_every_answer_comes_back(echo, rows, ascii_only):
    requests = {key: request(*asked) for key, asked in rows.items()}
    assert round_trip(echo, requests, ascii_only) == requests
