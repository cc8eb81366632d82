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


def full(answer):
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (429, "RESOURCE_EXHAUSTED")
    failure, help_ = error["details"]
    metric = "generativelanguage.googleapis.com/file_storage_bytes"
    assert failure == {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaMetric": metric, "quotaId": "FileStorageBytesPerProject", "quotaValue": "1000"}],
    }
    assert help_["@type"] == HELP


def test_files_need_room_and_a_deleted_one_gives_it_back(limited):
    _, api = limited(max_storage_bytes=1000)
    first = api.upload(b"x" * 600)
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    size = {**start, "X-Goog-Upload-Header-Content-Length": "401"}
    full(api.post("/upload/v1beta/files", headers=size, json={}))
    url = api.post("/upload/v1beta/files", headers=start, json={}).headers["X-Goog-Upload-URL"]
    full(api.put_bytes(url, "upload, finalize", 0, b"x" * 401))
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


def test_results_take_room_that_nobody_can_give_back(limited):
    emulator, api = limited(max_storage_bytes=1000)
    file = api.upload(api.jsonl(api.row("a")))
    name = api.create(file["name"]).json()["name"]
    emulator.force_job(name, state="SUCCEEDED")
    api.delete(f"/v1beta/{file['name']}")
    results = int(api.get(f"/v1beta/files/batch-{name.removeprefix('batches/')}").json()["sizeBytes"])
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    too_much = {**start, "X-Goog-Upload-Header-Content-Length": str(1000 - results + 1)}
    full(api.post("/upload/v1beta/files", headers=too_much, json={}))
    assert api.upload(b"x" * (1000 - results))["state"] == "ACTIVE"


def test_a_file_that_is_too_large_is_refused_when_announced_or_while_it_arrives(limited):
    _, api = limited(max_file_bytes=1000)
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    announced = {**start, "X-Goog-Upload-Header-Content-Length": "1001"}
    at_the_start = api.post("/upload/v1beta/files", headers=announced, json={})
    url = api.post("/upload/v1beta/files", headers=start, json={}).headers["X-Goog-Upload-URL"]
    api.put_bytes(url, "upload", 0, b"x" * 600)
    on_the_way = api.put_bytes(url, "upload", 600, b"x" * 401)
    for refusal in (at_the_start, on_the_way):
        assert (refusal.status_code, refusal.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert "the limit is 1000 bytes" in refusal.json()["error"]["message"]


@pytest.mark.parametrize("fault", [{"action": "hide", "seconds": 60}, {"action": "job", "state": "FORGOTTEN"}])
def test_a_job_that_is_out_of_sight_counts_all_the_same(limited, fault):
    emulator, api = limited(max_jobs=1)
    emulator.add_fault(**fault)
    api.create_inline(api.inline_row("a"))
    assert api.get("/v1beta/batches").json() == {}
    refused(api.create_inline(api.inline_row("a")))


def test_a_refused_create_uses_up_no_fault_of_a_job(limited):
    emulator, api = limited(max_jobs=1)
    first = api.create_inline(api.inline_row("a")).json()["name"]
    emulator.add_fault(action="job", state="EXPIRED")
    refused(api.create_inline(api.inline_row("a")))
    emulator.force_job(first, state="FAILED")
    second = api.create_inline(api.inline_row("a")).json()
    assert second["metadata"]["state"] == "BATCH_STATE_EXPIRED"


@pytest.mark.parametrize("gemini_emulator", [{"limits": Limits(max_jobs=0)}], indirect=True)
def test_the_fixture_takes_the_arguments_of_a_server(gemini_emulator, connect):
    api = connect(gemini_emulator)
    refused(api.create_inline(api.inline_row("a")))
