"""What a client reads and writes about batches, byte for byte; T numbers are those of the wire notes."""

from __future__ import annotations

import re

import pytest

CREATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"


def test_create_from_a_file_answers_a_pending_operation(slow_api) -> None:  # T1
    file = slow_api.upload(slow_api.jsonl(slow_api.row("a"), slow_api.row("b")))

    operation = slow_api.create(file["name"]).json()

    name = operation["name"]
    created = operation["metadata"].pop("createTime")
    assert re.fullmatch(r"batches/[a-z0-9]{36}", name)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", created)
    assert operation == {
        "name": name,
        "metadata": {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": "models/gemini-2.5-flash",
            "displayName": "d",
            "inputConfig": {"fileName": file["name"]},
            "updateTime": created,
            "batchStats": {"requestCount": "2", "pendingRequestCount": "2"},
            "state": "BATCH_STATE_PENDING",
            "name": name,
        },
    }


def test_inline_requests_are_not_echoed(slow_api) -> None:  # T2
    metadata = slow_api.create_inline(slow_api.inline_row("r1")).json()["metadata"]

    assert metadata["batchStats"] == {"requestCount": "1", "pendingRequestCount": "1"}
    assert "inputConfig" not in metadata


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_snake_case_create_is_the_same_create(slow_api, version) -> None:  # T3
    file = slow_api.upload(slow_api.jsonl(slow_api.row("a")))
    body = {"batch": {"display_name": "d", "input_config": {"file_name": file["name"]}}}

    created = slow_api.post(f"/{version}/models/gemini-2.5-flash:batchGenerateContent", json=body).json()

    assert created["metadata"]["displayName"] == "d"
    assert created["metadata"]["inputConfig"] == {"fileName": file["name"]}


def test_running_batch_shows_later_update_and_unchanged_counts(slow_emulator, slow_api) -> None:  # T5
    created = slow_api.create_inline(slow_api.inline_row("r1")).json()

    slow_emulator.advance_clock(500)

    seen = slow_api.get(f"/v1/{created['name']}").json()
    assert seen["metadata"]["state"] == "BATCH_STATE_RUNNING"
    assert seen["metadata"]["updateTime"] > created["metadata"]["updateTime"]
    assert seen["metadata"]["batchStats"] == {"requestCount": "1", "pendingRequestCount": "1"}
    assert "done" not in seen


def test_counts_of_a_running_batch_move_from_pending_to_successful(slow_emulator, slow_api) -> None:
    rows = [slow_api.row(str(number)) for number in range(10)]
    name = slow_api.create_from(*rows).json()["name"]

    seen = []
    for step in (0, 400, 300, 290):
        slow_emulator.advance_clock(step)
        seen.append(slow_api.get(f"/v1/{name}").json()["metadata"]["batchStats"])
    (listed,) = [job for job in slow_api.get("/v1/batches").json()["operations"] if job["name"] == name]

    assert seen == [
        {"requestCount": "10", "pendingRequestCount": "10"},
        {"requestCount": "10", "successfulRequestCount": "1", "pendingRequestCount": "9"},
        {"requestCount": "10", "successfulRequestCount": "5", "pendingRequestCount": "5"},
        {"requestCount": "10", "successfulRequestCount": "9", "pendingRequestCount": "1"},
    ]
    assert listed["metadata"]["batchStats"] == seen[-1]


def test_inline_success_carries_results_twice(api) -> None:  # T6
    operation = api.finished(api.create_inline(api.inline_row("req_1")).json()["name"])

    item = {
        "metadata": {"key": "req_1"},
        "response": {
            "candidates": [
                {
                    "content": {"parts": [{"text": "Answer to: hi"}], "role": "model"},
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 1,
                "candidatesTokenCount": 4,
                "totalTokenCount": 5,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}],
            },
            "modelVersion": "gemini-2.5-flash",
            "responseId": operation["response"]["inlinedResponses"]["inlinedResponses"][0]["response"][
                "responseId"
            ],
        },
    }
    output = {"inlinedResponses": {"inlinedResponses": [item]}}
    type_name = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatchOutput"
    assert operation["done"] is True
    assert operation["metadata"]["output"] == output
    assert operation["response"] == {"@type": type_name, **output}
    assert operation["metadata"]["batchStats"] == {"requestCount": "1", "successfulRequestCount": "1"}
    assert operation["metadata"]["endTime"] == operation["metadata"]["updateTime"]


def test_file_success_names_the_results_file_twice(api) -> None:  # T7
    operation = api.finished(api.create_from(api.row("a")).json()["name"])

    batch_id = operation["name"].removeprefix("batches/")
    assert operation["metadata"]["output"] == {"responsesFile": f"files/batch-{batch_id}"}
    assert operation["response"]["responsesFile"] == f"files/batch-{batch_id}"


@pytest.mark.parametrize(
    "path", ["/v1/{}:download", "/v1beta/{}:download", "/v1alpha/{}:download", "/download/v1beta/{}:download"]
)
def test_every_download_path_gives_the_same_lines(api, path) -> None:  # T8
    operation = api.finished(api.create_from(api.row("a"), api.row("b")).json()["name"])
    name = operation["response"]["responsesFile"]

    content = api.get(path.format(name), params={"alt": "media"}).content

    assert content == api.get(f"/v1beta/{name}:download?alt=media").content
    assert content.count(b"\n") == 2


def test_failed_row_of_a_file_leaves_the_batch_succeeded(emulator, api) -> None:  # T9
    error = {"code": 3, "message": "bad part"}
    emulator.add_fault(action="rows", mutation="error", keys=["b"], error=error)

    operation = api.finished(api.create_from(api.row("a"), api.row("b")).json()["name"])

    assert operation["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    stats = {"requestCount": "2", "successfulRequestCount": "1", "failedRequestCount": "1"}
    assert operation["metadata"]["batchStats"] == stats
    assert api.results(operation)[1] == {"key": "b", "error": error}


def test_failed_inline_row_keeps_its_metadata(emulator, api) -> None:  # T10
    emulator.add_fault(action="rows", mutation="error", error={"code": 3, "message": "bad part"})

    operation = api.finished(api.create_inline(api.inline_row("b")).json()["name"])

    items = operation["response"]["inlinedResponses"]["inlinedResponses"]
    assert items == [{"metadata": {"key": "b"}, "error": {"code": 3, "message": "bad part"}}]


@pytest.mark.parametrize(
    "named",
    [
        {"key": "a", "metadata": {"key": "other", "source": "s3"}},
        {"metadata": {"key": "a"}},
        {"metadata": {}},
        {"key": ""},
        {},
    ],
    ids=["both", "only metadata", "empty metadata", "empty key", "neither"],
)
def test_results_file_repeats_what_a_row_is_named_by(emulator, api, named) -> None:
    rows = [{**named, "request": api.row("")["request"]}] * 2
    emulator.add_fault(action="rows", mutation="error", every=2)

    answered, failed = api.results(api.finished(api.create_from(*rows).json()["name"]))

    assert answered.pop("response")["candidates"]
    assert failed.pop("error") == {"code": 13, "message": "internal error"}
    assert answered == failed == named


def test_fault_finds_a_row_by_the_key_in_its_metadata(emulator, api) -> None:
    rows = [{"metadata": {"key": key}, "request": api.row("")["request"]} for key in ("a", "b")]
    emulator.add_fault(action="rows", mutation="drop", keys=["a"])

    (kept,) = api.results(api.finished(api.create_from(*rows).json()["name"]))

    assert kept["metadata"] == {"key": "b"}


def test_batch_whose_rows_all_failed_has_no_success_count(emulator, api) -> None:  # T11
    emulator.add_fault(action="rows", mutation="error")

    operation = api.finished(api.create_from(api.row("a")).json()["name"])

    assert operation["metadata"]["batchStats"] == {"requestCount": "1", "failedRequestCount": "1"}
    assert api.results(operation) == [{"key": "a", "error": {"code": 13, "message": "internal error"}}]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (None, {"code": 13, "message": "internal error"}),
        ({"code": 8, "message": "quota"}, {"code": 8, "message": "quota"}),
    ],
    ids=["internal (T12)", "quota (T13)"],
)
def test_failed_batch_has_an_error_and_no_response(slow_emulator, slow_api, error, shown) -> None:  # T12, T13
    name = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]

    slow_emulator.force_job(name, state="FAILED", error=error)

    operation = slow_api.get(f"/v1beta/{name}").json()
    assert (operation["done"], operation["error"]) == (True, shown)
    assert operation["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert "response" not in operation


def test_cancel_before_the_start_ends_cancelled_with_code_13(slow_api) -> None:  # T14
    name = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]

    assert slow_api.post(f"/v1beta/{name}:cancel").json() == {}

    operation = slow_api.get(f"/v1beta/{name}").json()
    assert operation["metadata"]["state"] == "BATCH_STATE_CANCELLED"
    assert operation["metadata"]["batchStats"] == {"requestCount": "1", "pendingRequestCount": "1"}
    assert (operation["done"], operation["error"]["code"]) == (True, 13)


def test_cancel_after_the_start_succeeds_with_unserved_rows(slow_emulator, slow_api) -> None:  # T15
    name = slow_api.create_inline(slow_api.inline_row("smoke")).json()["name"]
    slow_emulator.advance_clock(400)

    slow_api.post(f"/v1beta/{name}:cancel")

    operation = slow_api.finished(name)
    assert operation["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert operation["metadata"]["batchStats"] == {"requestCount": "1", "failedRequestCount": "1"}
    items = operation["response"]["inlinedResponses"]["inlinedResponses"]
    assert items == [{"metadata": {"key": "smoke"}, "error": {"code": 1}}]


def test_cancel_midway_serves_the_rows_whose_time_had_come(slow_emulator, slow_api) -> None:
    name = slow_api.create_from(*[slow_api.row(str(number)) for number in range(10)]).json()["name"]
    slow_emulator.advance_clock(650)

    slow_api.post(f"/v1beta/{name}:cancel")

    results = slow_api.results(slow_api.finished(name))
    assert ["response" in result for result in results] == [True] * 5 + [False] * 5


def test_stuck_batch_expires_after_two_days_without_output(slow_emulator, slow_api) -> None:  # T16, T17
    name = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]
    slow_emulator.force_job(name, state="STUCK")

    slow_emulator.advance_clock(47 * 3600)
    before = slow_api.get(f"/v1beta/{name}").json()
    slow_emulator.advance_clock(3600)
    after = slow_api.get(f"/v1beta/{name}").json()

    assert before["metadata"]["state"] == "BATCH_STATE_PENDING"
    assert (after["metadata"]["state"], after["done"]) == ("BATCH_STATE_EXPIRED", True)
    assert "response" not in after


def test_same_create_twice_makes_two_batches(slow_api) -> None:  # T30
    file = slow_api.upload(slow_api.jsonl(slow_api.row("a")))

    assert slow_api.create(file["name"]).json()["name"] != slow_api.create(file["name"]).json()["name"]


def test_list_gives_newest_first_and_no_token_at_the_end(emulator, connect) -> None:  # T33
    api = connect(emulator)
    names = [api.create_inline(api.inline_row("a")).json()["name"] for _ in range(2)]

    first = api.get("/v1/batches", params={"pageSize": 1}).json()
    second = api.get("/v1/batches", params={"pageSize": 1, "pageToken": first["nextPageToken"]}).json()

    assert [page["operations"][0]["name"] for page in (first, second)] == names[::-1]


def test_empty_list_is_an_empty_object_without_a_token(api) -> None:  # T33
    headers = {"x-goog-api-key": "", "Authorization": "Bearer t", "x-goog-user-project": "nobody"}

    assert api.get("/v1beta/batches", headers=headers).json() == {}
    assert api.get("/v1beta/files", headers=headers).json() == {}


def test_full_last_page_has_no_token(api) -> None:
    total = len(api.get("/v1beta/batches", params={"pageSize": 1000}).json()["operations"])

    assert "nextPageToken" not in api.get("/v1beta/batches", params={"pageSize": total}).json()


def test_deleted_batch_is_gone_from_get_and_list(api) -> None:  # T34
    name = api.create_inline(api.inline_row("a")).json()["name"]

    assert api.delete(f"/v1beta/{name}").json() == {}

    assert api.get(f"/v1beta/{name}").status_code == 404
    assert name not in api.get("/v1beta/batches").text


def test_results_keep_the_order_of_the_input(api) -> None:
    keys = [f"k{number}" for number in range(50)]

    results = api.results(api.finished(api.create_from(*map(api.row, keys)).json()["name"]))

    assert [result["key"] for result in results] == keys


def test_row_without_a_key_gets_a_result_without_one(api) -> None:
    operation = api.finished(api.create_from({"contents": [{"parts": [{"text": "bare"}]}]}).json()["name"])

    (result,) = api.results(operation)
    assert set(result) == {"response"}


def test_priority_is_echoed_unless_it_is_zero(slow_api) -> None:
    requests = {"requests": {"requests": [slow_api.inline_row("a")]}}
    body = {"batch": {"displayName": "d", "inputConfig": requests, "priority": "7"}}

    assert slow_api.post(CREATE, json=body).json()["metadata"]["priority"] == "7"


def test_input_file_may_be_deleted_while_the_batch_runs(api) -> None:
    file = api.upload(api.jsonl(api.row("a")))
    name = api.create(file["name"]).json()["name"]

    api.delete(f"/v1beta/{file['name']}")

    assert [result["key"] for result in api.results(api.finished(name))] == ["a"]


def test_unknown_model_is_not_found(api) -> None:
    answer = api.post("/v1beta/models/gemini-0-none:batchGenerateContent", json={"batch": {}})

    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "config",
    [{}, {"fileName": "files/x", "requests": {"requests": []}}, {"requests": {"requests": []}}],
    ids=["neither", "both", "no rows"],
)
def test_input_that_is_not_exactly_one_thing_is_refused(api, config) -> None:
    answer = api.post(CREATE, json={"batch": {"displayName": "d", "inputConfig": config}})

    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_unknown_path_answers_an_error_in_the_form_of_the_api(api) -> None:
    answer = api.post("/v1/models/gemini-2.5-flash:batchCreate", json={})

    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")
