"""Credentials, projects, the journal and the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from airflow_provider_batch.emulator import Emulator, running_emulator

COMMAND = [sys.executable, "-m", "airflow_provider_batch.emulator"]


@pytest.fixture(scope="module")
def two_projects() -> Iterator[Emulator]:
    with running_emulator(api_keys=["key-one=one", "key-two=two"]) as running:
        yield running


def test_unknown_key_is_an_invalid_argument(two_projects, connect) -> None:  # T45
    error = connect(two_projects, "wrong").get("/v1beta/batches").json()["error"]

    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert error["details"][0]["reason"] == "API_KEY_INVALID"


def test_missing_key_is_forbidden(two_projects) -> None:
    error = httpx.get(f"{two_projects.base_url}/v1/batches").json()["error"]

    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")


def test_file_of_another_project_is_forbidden(two_projects, connect) -> None:  # T43
    file = connect(two_projects, "key-one").upload(b"x")

    other = connect(two_projects, "key-two")

    assert other.get(f"/v1beta/{file['name']}").status_code == 403
    assert other.create(file["name"]).json()["error"]["status"] == "PERMISSION_DENIED"


def test_batch_of_another_project_is_not_found(two_projects, connect) -> None:
    mine, other = connect(two_projects, "key-one"), connect(two_projects, "key-two")

    name = mine.create_inline(mine.inline_row("a")).json()["name"]

    assert other.get(f"/v1beta/{name}").status_code == 404
    assert name not in other.get("/v1beta/batches").text


def test_bearer_token_is_accepted_beside_keys(two_projects, connect) -> None:
    name = connect(two_projects, "key-one").upload(b"x")["name"]

    headers = {"Authorization": "Bearer key-one"}

    assert httpx.get(f"{two_projects.base_url}/v1/{name}", headers=headers).status_code == 200


def test_unknown_bearer_token_is_unauthenticated(two_projects) -> None:
    answer = httpx.get(f"{two_projects.base_url}/v1/batches", headers={"Authorization": "Bearer no"})

    assert (answer.status_code, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_journal_lists_accepted_changes_in_order(connect, tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        api = connect(emulator)
        file = api.upload(api.jsonl(api.row("a")), display_name="rows")
        batch = api.create(file["name"], display_name="job").json()["name"]
        api.create("files/missing")
        api.delete(f"/v1beta/{batch}")

        created = emulator.journal()[2]
        calls = [(entry["seq"], entry["call"]) for entry in emulator.journal()]

    assert calls == [(1, "files.upload.start"), (2, "files.create"), (3, "batches.create"), (4, "batches.delete")]
    facts = {name: created[name] for name in ("batch", "file", "displayName", "rows", "project")}
    assert facts == {"batch": batch, "file": file["name"], "displayName": "job", "rows": 1, "project": "default"}


def test_requests_are_counted_with_their_status(emulator, api) -> None:
    before = len(emulator.requests())

    api.get("/v1/batches/none")

    (request,) = emulator.requests()[before:]
    assert request["call"] == "batches.get"
    assert (request["method"], request["path"], request["status"]) == ("GET", "/v1/batches/none", 404)


def test_forced_success_ends_a_hanging_batch(slow_emulator, slow_api) -> None:
    name = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]
    slow_emulator.force_job(name, state="STUCK")

    slow_emulator.force_job(name, state="SUCCEEDED")

    assert slow_api.get(f"/v1/{name}").json()["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"


def test_unknown_batch_cannot_be_forced(emulator) -> None:
    with pytest.raises(ValueError, match="not found"):
        emulator.force_job("batches/none", state="FAILED")


def test_clock_does_not_run_backwards(emulator) -> None:
    with pytest.raises(ValueError, match="forward"):
        emulator.advance_clock(-1)


def test_answers_may_come_from_a_function_of_the_user(connect, tmp_path, monkeypatch) -> None:
    (tmp_path / "my_answers.py").write_text(
        "def answer(request, key):\n"
        "    if key == 'error': return {'error': {'code': 3, 'message': 'no'}}\n"
        "    if key == 'raise': raise RuntimeError('boom')\n"
        "    return {'candidates': []} if key == 'whole' else 'text of ' + key\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with running_emulator(answers="my_answers:answer") as emulator:
        api = connect(emulator)
        rows = [api.row(key) for key in ("plain", "error", "raise", "whole")]
        plain, *others = api.results(api.finished(api.create_from(*rows).json()["name"]))

    assert plain["response"]["candidates"][0]["content"]["parts"] == [{"text": "text of plain"}]
    assert others == [
        {"key": "error", "error": {"code": 3, "message": "no"}},
        {"key": "raise", "error": {"code": 13, "message": "RuntimeError: boom"}},
        {"key": "whole", "response": {"candidates": []}},
    ]


def test_address_that_is_not_loopback_is_refused() -> None:
    ended = subprocess.run([*COMMAND, "--host", "0.0.0.0"], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert "0.0.0.0 is not a loopback address" in ended.stderr


def test_terminated_server_says_where_it_listened_and_leaves(tmp_path: Path) -> None:
    command = [*COMMAND, "--port", "0", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        first, second = server.stdout.readline(), server.stdout.readline()
        server.terminate()
        code = server.wait(5)

    assert first.startswith("Gemini Batch emulator listening on http://127.0.0.1:")
    assert first.endswith(f"(data in {tmp_path})\n")
    assert "bills nothing" in second
    assert code == 0


def test_importing_the_room_does_not_import_a_web_server() -> None:
    check = "import sys, airflow_provider_batch.emulator.pytest_plugin as _; print('starlette' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)

    assert ended.stdout == "False\n"


@pytest.mark.parametrize(
    ("mutation", "succeeded", "tokens"),
    [("drop", 1, 110), ("duplicate", 2, 110), ("corrupt", 2, 110), ("replace", 2, 110), ("error", 1, 10)],
)
def test_journal_says_what_a_real_account_would_be_billed_for(emulator, api, mutation, succeeded, tokens) -> None:
    rows = [api.row("a", "x" * 40), api.row("b", "x" * 400)]
    emulator.add_fault(action="rows", mutation=mutation, keys=["b"])
    operation = api.finished(api.create_from(*rows).json()["name"])
    name = operation["name"]

    (end,) = [call for call in emulator.journal() if call["call"] == "batches.end" and call["batch"] == name]

    # A row whose line was spoiled was answered all the same, and once; one without a line is not counted; one that
    # failed costs nothing.
    assert end["tokens"]["input"] == tokens
    assert operation["metadata"]["batchStats"]["successfulRequestCount"] == str(succeeded)
    assert emulator.bills()[name] == end["tokens"]
    assert (end["succeeded"], end["failed"]) == (succeeded, int(mutation == "error"))
    assert end["model"] == "models/gemini-2.5-flash"


def test_cancelled_batch_is_billed_for_the_rows_that_were_served(slow_emulator, slow_api) -> None:
    rows = [slow_api.row(str(number), "x" * 40) for number in range(10)]
    name = slow_api.create_from(*rows).json()["name"]
    slow_emulator.advance_clock(650)
    slow_api.post(f"/v1/{name}:cancel")
    slow_api.finished(name)
    assert slow_emulator.bills()[name]["input"] == 5 * 10


@pytest.mark.parametrize("model", ["gemini-embedding-001", "gemini-embedding-2"])
def test_embeddings_are_billed_for_their_input(slow_emulator, slow_api, model) -> None:
    rows = [
        {"request": {"content": {"parts": [{"text": "x" * 40}]}}},
        {"request": {"content": {"parts": [{"text": "日本"}]}}},
    ]
    body = {"batch": {"displayName": "e", "inputConfig": {"requests": {"requests": rows}}}}
    name = slow_api.post(f"/v1/models/{model}:asyncBatchEmbedContent", json=body).json()["name"]
    slow_emulator.force_job(name, state="SUCCEEDED")
    assert slow_emulator.bills()[name] == {"input": 12, "cached": 0, "output": 0, "thinking": 0}


def test_failed_batch_is_billed_for_nothing(slow_emulator, slow_api) -> None:
    name = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]
    slow_emulator.force_job(name, state="FAILED")
    assert name not in slow_emulator.bills()


def test_clock_may_run_faster_and_a_restart_does_not_turn_it_back(tmp_path: Path, connect) -> None:
    with running_emulator(tmp_path, clock_speed=10_000, job_seconds=3600) as emulator:
        api = connect(emulator)
        created_at = api.get("/emulator/health").json()["now"]
        done = api.finished(api.create_inline(api.inline_row("a")).json()["name"])
        passed = api.get("/emulator/health").json()["now"] - created_at
        emulator.restart()
        assert httpx.get(f"{emulator.base_url}/emulator/health").json()["now"] > created_at + passed
    assert done["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert passed >= 3600


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf"])
def test_clock_that_does_not_go_forward_is_refused(speed: str) -> None:
    ended = subprocess.run([*COMMAND, "--clock-speed", speed], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "greater than 0" in ended.stderr


def test_address_that_is_not_loopback_is_served_if_asked_for_but_not_the_control_calls(tmp_path: Path) -> None:
    command = [*COMMAND, "--port", "0", "--host", "0.0.0.0", "--allow-remote", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        first, _, warning = (server.stdout.readline() for _ in range(3))
        port = int(first.split("http://0.0.0.0:")[1].split()[0])
        control = httpx.get(f"http://127.0.0.1:{port}/emulator/health").status_code
        server.terminate()
    assert "can read all prompts" in warning
    assert control == 200


FOREIGN = {
    "a foreign name": {"Host": "evil.example"},
    "a foreign address": {"Host": "192.0.2.7:8484"},
    "a foreign page": {"Origin": "https://evil.example"},
    "a page without an origin": {"Origin": "null"},
    "a name like ours": {"Origin": "http://localhost.evil.example"},
    "no address at all": {"Origin": "http://[x"},
}
CONTROL_CALLS = [
    ("GET", "health", None),
    ("GET", "faults", None),
    ("GET", "journal", None),
    ("POST", "faults", {"call": "batches.create", "action": "drop"}),
    ("DELETE", "faults", None),
    ("POST", "jobs/JOB", {"state": "FAILED"}),
    ("POST", "clock", {"advance_seconds": 3600}),
]


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_no_page_of_another_host_reaches_or_changes_anything(slow_emulator, slow_api, headers):
    job = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]
    slow_emulator.add_fault(call="models.get", action="drop")
    control = f"{slow_emulator.base_url}/emulator"
    before = httpx.get(f"{control}/health").json()["now"], httpx.get(f"{control}/faults").json()

    statuses = [
        httpx.request(
            method, f"{control}/{path.replace('JOB', job.removeprefix('batches/'))}", headers=headers, json=body
        ).status_code
        for method, path, body in CONTROL_CALLS
    ]

    assert statuses == [404] * len(CONTROL_CALLS)
    assert httpx.get(f"{control}/health").json()["now"] - before[0] < 3600
    assert httpx.get(f"{control}/faults").json() == before[1]
    assert slow_api.get(f"/v1/{job}").json()["metadata"]["state"] == "BATCH_STATE_PENDING"


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_form_of_a_foreign_page_is_refused_like_any_of_its_requests(slow_emulator, headers):
    # What a browser sends without asking first: no JSON, a body of any text.
    form = {**headers, "Content-Type": "text/plain"}
    fault = '{"call": "batches.create", "action": "drop"}'

    answer = httpx.post(f"{slow_emulator.base_url}/emulator/faults", headers=form, content=fault)

    assert answer.status_code == 404
    assert httpx.get(f"{slow_emulator.base_url}/emulator/faults").json() == {"faults": []}


@pytest.mark.parametrize("origin", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:1"])
def test_a_page_of_this_machine_reaches_the_control_calls(gemini_emulator, origin):
    answer = httpx.get(f"{gemini_emulator.base_url}/emulator/health", headers={"Origin": origin})
    assert answer.status_code == 200
