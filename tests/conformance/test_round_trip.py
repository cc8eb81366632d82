"""Any legal row comes back as it was sent: staged, uploaded, answered, downloaded, landed, read."""

from __future__ import annotations

import json
import time
from io import BytesIO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from upath import UPath

from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.engine.claim import Claim
from airflow_provider_batch.engine.identity import Identity
from airflow_provider_batch.engine.land import land
from airflow_provider_batch.engine.submit import StagedRows, Submission, find_or_submit
from airflow_provider_batch.gemini.auth import ApiKey
from airflow_provider_batch.gemini.client import GeminiClient
from airflow_provider_batch.gemini.rows import MAX_KEY_CHARS, GeminiRows
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.gemini.transport import Endpoint
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.results import read_results
from airflow_provider_batch.rows.staging import stage

MODEL = "gemini-2.5-flash"

# What breaks lines for Python and not for JSON Lines, what needs two code units, what terminals act upon.
AWKWARD = '\u2028\u2029\u0085\x0b\x0c\x1c\x00\x1b[31m\r\n\t"\\\ud7ff\ue000\ufeff\U0001f9ea\U0010ffff'

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60) | st.text(AWKWARD, min_size=1)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_KEY_CHARS).filter(str.strip)
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


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """An emulator whose answer is the request itself, and a client for it."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo_answers.py").write_text(
        "import json\n\ndef answer(request, key):\n    return json.dumps(request)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        with (
            running_emulator(folder / "emulator", answers="echo_answers:answer", job_seconds=0.01) as emulator,
            GeminiClient(Endpoint(ApiKey("k"), base_url=emulator.base_url)) as client,
        ):
            yield GeminiBatchService(client), folder


def round_trip(echo, requests, ascii_only):
    service, folder = echo
    run = f"run {time.monotonic_ns()}"
    identity, result_path = Identity("dag", "task", run), UPath(folder / run)
    source = folder / f"{run}.jsonl"
    lines = (json.dumps({"key": k, "request": r}, ensure_ascii=ascii_only) + "\n" for k, r in requests.items())
    source.write_bytes("".join(lines).encode())
    with KeyTable() as table, BytesIO() as file:
        staged = stage(UPath(source), GeminiRows(), file, table)
        claim = Claim(result_path, identity.mark)
        job = find_or_submit(service, identity, MODEL, StagedRows(file, table, staged), claim)
    while not service.look(job.name).state.is_terminal:
        time.sleep(0.005)
    submission = Submission(
        job_name=job.name,
        model=MODEL,
        display_name=job.display_name,
        result_path=str(result_path),
        request_count=staged.requests,
    )
    manifest = land(service, submission, GeminiRows(), result_path)
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
