"""What a project may have at one time, and what the refusal says."""

import pytest

from airflow_provider_batch.emulator import Limits, running_emulator

HELP = "type.googleapis.com/google.rpc.Help"


@pytest.fixture
def limited(connect):
    """Start a server whose jobs do not end, with the limits that a test names."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(keys=(), **limits):
            emulator = stack.enter_context(
                running_emulator(job_seconds=1e6, limits=Limits(**limits), api_keys=keys)
            )
            return emulator, connect(emulator, key=keys[0].partition("=")[0] if keys else "any")

        yield start


def refused(answer):
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (429, 429, "RESOURCE_EXHAUSTED")
    # As thin as it was seen on creates: no retry hint, no name of a quota.
    assert [detail["@type"] for detail in error["details"]] == [HELP]


def test_one_job_too_many_is_refused_until_another_has_ended(limited):
    emulator, api = limited(max_jobs=2)
    first, _ = (api.create_inline(api.inline_row("a")).json()["name"] for _ in range(2))
    refused(api.create_inline(api.inline_row("a")))
    emulator.force_job(first, state="SUCCEEDED")
    assert api.create_inline(api.inline_row("a")).status_code == 200
    assert len([call for call in emulator.journal() if call["call"] == "batches.create"]) == 3


def test_queued_tokens_are_added_up_over_the_unfinished_jobs_of_a_model(limited):
    emulator, api = limited(max_queued_tokens=150)
    row = api.inline_row("a", "x" * 400)  # 100 tokens
    first = api.create_inline(row).json()["name"]
    refused(api.create_inline(row))
    assert api.create_inline(api.inline_row("a", "x" * 200)).status_code == 200
    emulator.force_job(first, state="FAILED")
    assert api.create_inline(row).status_code == 200


def test_the_tier_limits_the_models_of_its_table_and_no_others(limited):
    limits = Limits(tier=1)
    assert limits.queued_tokens("models/gemini-2.5-flash") == 3_000_000
    assert Limits(tier=3).queued_tokens("models/gemini-2.5-flash") == 1_000_000_000
    assert limits.queued_tokens("models/gemini-4-argon") is None
    assert Limits().queued_tokens("models/gemini-2.5-flash") is None


def test_files_need_room_and_a_deleted_one_gives_it_back(limited):
    _, api = limited(max_storage_bytes=1000)
    first = api.upload(b"x" * 600)
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    size = {**start, "X-Goog-Upload-Header-Content-Length": "401"}
    refused(api.post("/upload/v1beta/files", headers=size, json={}))
    url = api.post("/upload/v1beta/files", headers=start, json={}).headers["X-Goog-Upload-URL"]
    refused(api.put_bytes(url, "upload, finalize", 0, b"x" * 401))
    api.delete(f"/v1beta/{first['name']}")
    assert api.upload(b"x" * 401)["sizeBytes"] == "401"


def test_limits_are_those_of_a_project_and_not_of_the_server(limited, connect):
    emulator, api = limited(keys=("one=p1", "other=p2"), max_jobs=1)
    api.create_inline(api.inline_row("a"))
    refused(api.create_inline(api.inline_row("a")))
    assert connect(emulator, key="other").create_inline(api.inline_row("a")).status_code == 200


def test_a_refused_job_leaves_nothing_behind(limited):
    emulator, api = limited(max_jobs=0)
    file = api.upload(api.jsonl(api.row("a")))
    refused(api.create(file["name"]))
    assert api.get("/v1beta/batches").json() == {}
    assert list((emulator.data_dir / "batches").iterdir()) == []


@pytest.mark.parametrize(
    "pieces", [b" " * (20 * 1024**2 + 1), [b" " * 1024**2] * 21], ids=["announced", "chunked"]
)
def test_an_inline_request_over_20_mb_is_refused(api, pieces):
    answer = api.post("/v1/models/gemini-2.5-flash:batchGenerateContent", content=pieces)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "20971520 bytes" in answer.json()["error"]["message"]
