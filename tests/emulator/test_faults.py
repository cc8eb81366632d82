"""The language of faults: each action, how often it strikes, and what the journal says of it."""

from __future__ import annotations

import time

import httpx
import pytest


def names(emulator) -> set[str]:
    return {call["batch"] for call in emulator.journal() if call["call"] == "batches.create"}


def test_thin_quota_refusal_carries_help_only(emulator, api) -> None:  # T27
    link = {"description": "Learn more about Gemini API quotas", "url": "https://ai.google.dev/gemini-api/docs"}
    details = [{"@type": "type.googleapis.com/google.rpc.Help", "links": [link]}]
    emulator.add_fault(call="batches.create", action="status", status=429, message="quota", details=details)

    answer = api.create_inline(api.inline_row("a"))

    assert answer.status_code == 429
    assert answer.json() == {
        "error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    }


def test_full_quota_refusal_names_the_wait(emulator, api) -> None:  # T28
    headers = {"retry-after": "31"}
    emulator.add_fault(call="batches.create", action="status", status=429, retry_delay=31, headers=headers)

    answer = api.create_inline(api.inline_row("a"))

    assert answer.headers["retry-after"] == "31"
    assert answer.json()["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"}
    ]


def test_create_can_be_done_and_answered_with_an_error(emulator, api) -> None:  # T29
    before = names(emulator)
    emulator.add_fault(call="batches.create", action="accept_then_status", status=503)

    answer = api.create_inline(api.inline_row("a"))

    assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE")
    (made,) = names(emulator) - before
    assert made in api.get("/v1beta/batches").text


def test_create_can_be_done_and_its_answer_lost(emulator, api) -> None:
    before = names(emulator)
    emulator.add_fault(call="batches.create", action="accept_then_drop")

    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        api.create_inline(api.inline_row("a"))

    assert len(names(emulator) - before) == 1
    assert emulator.requests()[-1]["status"] is None


def test_dropped_create_makes_no_batch(emulator, api) -> None:
    before = names(emulator)
    emulator.add_fault(call="batches.create", action="drop")

    with pytest.raises(httpx.TransportError):
        api.create_inline(api.inline_row("a"))

    assert names(emulator) == before


def test_fault_strikes_so_many_times_and_then_passes(emulator, api) -> None:  # T31
    emulator.add_fault(call="batches.list", action="status", status=503, times=2)

    assert [api.get("/v1/batches").status_code for _ in range(3)] == [503, 503, 200]


def test_fault_lets_the_first_calls_pass(emulator, api) -> None:
    emulator.add_fault(call="batches.list", action="status", status=500, after=1)

    assert [api.get("/v1/batches").status_code for _ in range(3)] == [200, 500, 200]


def test_fault_without_a_limit_strikes_until_cleared(emulator, api) -> None:
    emulator.add_fault(call="batches.*", action="status", status=500, times=None)
    during = [api.get("/v1/batches").status_code for _ in range(3)]

    emulator.clear_faults()

    assert during == [500, 500, 500]
    assert api.get("/v1/batches").status_code == 200


def test_scripted_body_is_sent_as_it_is(emulator, api) -> None:  # T42, the variant with a final status
    headers = {"x-goog-upload-status": "final"}
    body = {"error": {"code": 400}}
    emulator.add_fault(call="files.upload.chunk", action="status", status=200, headers=headers, body=body)

    answer = api.put_bytes(api.start_upload(1), "upload, finalize", 0, b"x")

    assert (answer.status_code, answer.headers["x-goog-upload-status"], answer.json()) == (200, "final", body)


def test_html_page_comes_in_place_of_json(emulator, api) -> None:
    emulator.add_fault(call="batches.list", action="html")

    answer = api.get("/v1/batches")

    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/html")


def test_delay_holds_the_answer_back(emulator, api) -> None:
    emulator.add_fault(call="batches.list", action="delay", seconds=0.2)
    began = time.monotonic()

    assert api.get("/v1/batches").status_code == 200

    assert time.monotonic() - began >= 0.2


def test_download_can_be_cut_and_resumed_by_range(emulator, api) -> None:
    name = api.finished(api.create_from(api.row("a")).json()["name"])["response"]["responsesFile"]
    url = f"/v1beta/{name}:download?alt=media"
    emulator.add_fault(call="files.download", action="cut", bytes=10)
    received = b""

    with pytest.raises(httpx.RemoteProtocolError), api.stream("GET", url) as answer:
        for piece in answer.iter_raw():
            received += piece

    rest = api.get(url, headers={"Range": "bytes=10-"}).content
    assert len(received) == 10
    assert received + rest == api.get(url).content


@pytest.mark.parametrize(
    ("fault", "keys"),
    [
        ({"mutation": "drop", "keys": ["b"]}, ["a", "c", "d"]),
        ({"mutation": "drop", "every": 2}, ["a", "c"]),
        ({"mutation": "duplicate", "keys": ["a"]}, ["a", "a", "b", "c", "d"]),
        ({"mutation": "shuffle"}, ["d", "a", "b", "c"]),
    ],
    ids=["drop by key", "drop every second", "duplicate", "shuffle"],
)
def test_result_rows_are_lost_doubled_or_moved(emulator, api, fault, keys) -> None:
    emulator.add_fault(action="rows", **fault)

    results = api.results(api.finished(api.create_from(*map(api.row, "abcd")).json()["name"]))

    found = [result["key"] for result in results]
    assert sorted(found) == sorted(keys)
    assert found != list("abcd")
    assert fault["mutation"] == "shuffle" or found == keys


def test_corrupt_result_row_is_not_json(emulator, api) -> None:
    emulator.add_fault(action="rows", mutation="corrupt", keys=["a"])

    name = api.finished(api.create_from(api.row("a")).json()["name"])["response"]["responsesFile"]

    line = api.get(f"/v1beta/{name}:download?alt=media").text
    assert line.startswith('{"key":"a"')
    assert not line.rstrip().endswith("}}")


def test_result_row_can_be_replaced_by_a_blocked_one(emulator, api) -> None:  # T22
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    emulator.add_fault(action="rows", mutation="replace", keys=["a"], response=blocked)

    results = api.results(api.finished(api.create_from(api.row("a"), api.row("b")).json()["name"]))

    assert results[0] == {"key": "a", "response": blocked}


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "explode", "call": "batches.get"},
        {"action": "drop"},
        {"action": "drop", "call": "x", "tmies": 1},
    ],
    ids=["unknown action", "no call", "misspelt field"],
)
def test_fault_that_says_nothing_sensible_is_refused(emulator, fault) -> None:
    with pytest.raises(ValueError, match=r"call|explode|tmies"):
        emulator.add_fault(**fault)


@pytest.mark.parametrize(
    ("state", "done", "error"),
    [
        ("FAILED", True, {"code": 13, "message": "internal error"}),
        ("EXPIRED", True, None),
        ("STUCK", None, None),
        ("BATCH_STATE_NEWSTATE", None, None),
    ],
)
def test_next_created_job_has_the_scripted_outcome(emulator, api, state, done, error) -> None:
    emulator.add_fault(action="job", state=state)

    first, second = (api.create_inline(api.inline_row("a")).json()["name"] for _ in range(2))

    spoiled = api.get(f"/v1/{first}").json()
    assert (spoiled.get("done"), spoiled.get("error")) == (done, error)
    assert spoiled["metadata"]["state"].endswith(state.removeprefix("BATCH_STATE_").replace("STUCK", "PENDING"))
    assert api.finished(second)["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"


def test_hidden_batch_is_there_and_not_listed_until_its_time_has_come(slow_emulator, slow_api) -> None:
    slow_emulator.add_fault(action="hide", seconds=60)
    name = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]

    listed_before = [batch["name"] for batch in slow_api.get("/v1/batches").json().get("operations", [])]
    slow_emulator.advance_clock(60)
    listed_after = [batch["name"] for batch in slow_api.get("/v1/batches").json()["operations"]]

    assert slow_api.get(f"/v1/{name}").status_code == 200
    assert name not in listed_before
    assert name in listed_after


def test_forgotten_batch_is_unknown_to_everybody_and_billed(emulator, api) -> None:
    emulator.add_fault(action="job", state="FORGOTTEN")
    name = api.create_inline(api.inline_row("a")).json()["name"]

    status = api.get(f"/v1/{name}").status_code
    emulator.force_job(name, state="SUCCEEDED")

    assert status == 404
    assert name not in str(api.get("/v1/batches").json())
    assert emulator.bills()[name]["input"] > 0


def test_duplicated_create_makes_two_batches_and_answers_once(emulator, api) -> None:
    before = names(emulator)
    emulator.add_fault(call="batches.create", action="duplicate")

    name = api.create_inline(api.inline_row("a")).json()["name"]

    assert len(names(emulator) - before) == 2
    assert name in names(emulator) - before


def test_results_may_show_later_than_the_success(slow_emulator, slow_api) -> None:
    slow_emulator.add_fault(action="late_output", seconds=30)
    name = slow_api.create_from(slow_api.row("a")).json()["name"]
    slow_emulator.force_job(name, state="SUCCEEDED")

    early = slow_api.get(f"/v1/{name}").json()
    early_file = slow_api.get(f"/v1/files/batch-{name.removeprefix('batches/')}").status_code
    slow_emulator.advance_clock(30)
    late = slow_api.get(f"/v1/{name}").json()

    assert (early["metadata"]["state"], early["done"]) == ("BATCH_STATE_SUCCEEDED", True)
    assert "output" not in early["metadata"]
    assert "response" not in early
    assert early_file == 403
    assert [row["key"] for row in slow_api.results(late)] == ["a"]
    assert late["response"]["responsesFile"] == late["metadata"]["output"]["responsesFile"]


def listed_jobs(api) -> dict[str, str]:
    jobs = api.get("/v1/batches", params={"pageSize": 1000}).json().get("operations", [])
    return {job["name"]: job["metadata"]["state"].removeprefix("BATCH_STATE_") for job in jobs}


def test_stale_listing_answers_as_of_some_seconds_earlier(slow_emulator, slow_api) -> None:
    ended, cancelled, deleted, forced = (
        slow_api.create_inline(slow_api.inline_row("a")).json()["name"] for _ in range(4)
    )
    slow_emulator.advance_clock(500)
    slow_emulator.force_job(ended, state="SUCCEEDED")
    slow_emulator.force_job(forced, state="FAILED")
    slow_api.post(f"/v1/{cancelled}:cancel")
    slow_api.delete(f"/v1/{deleted}")
    new = slow_api.create_inline(slow_api.inline_row("a")).json()["name"]
    slow_emulator.advance_clock(10)
    slow_emulator.add_fault(call="batches.list", action="stale", seconds=100)

    stale, fresh = listed_jobs(slow_api), listed_jobs(slow_api)

    assert [stale.get(name) for name in (ended, cancelled, deleted, forced)] == ["RUNNING"] * 4
    assert new not in stale
    assert [fresh.get(name) for name in (ended, deleted, forced, new)] == ["SUCCEEDED", None, "FAILED", "PENDING"]
    assert slow_api.get(f"/v1/{ended}").json()["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"


def test_stale_listing_of_files_misses_new_and_shows_deleted_ones(slow_emulator, slow_api) -> None:
    old = [slow_api.upload(b"x")["name"] for _ in range(3)]
    slow_emulator.advance_clock(60)
    slow_api.delete(f"/v1/{old[1]}")
    new = slow_api.upload(b"x")["name"]
    slow_emulator.add_fault(call="*.list", action="stale", seconds=30)

    stale, fresh = (
        [file["name"] for file in slow_api.get("/v1/files", params={"pageSize": 4}).json()["files"]]
        for _ in range(2)
    )

    assert stale[:3] == [old[2], old[1], old[0]]
    assert fresh[:3] == [new, old[2], old[0]]


def test_pages_of_a_stale_listing_fit_together(slow_emulator, slow_api) -> None:
    names = [slow_api.create_inline(slow_api.inline_row("a")).json()["name"] for _ in range(5)]
    slow_emulator.advance_clock(60)
    for name in names[1:4]:
        slow_api.delete(f"/v1/{name}")
    slow_emulator.add_fault(call="batches.list", action="stale", seconds=30, times=3)

    seen, token = [], ""
    for _ in range(3):
        page = slow_api.get("/v1/batches", params={"pageSize": 2, "pageToken": token}).json()
        seen += [job["name"] for job in page["operations"]]
        token = page["nextPageToken"]

    assert seen[:5] == names[::-1]


@pytest.mark.parametrize("call", ["batches.get", "files.*et", "webhooks.list", "batches.create"])
def test_only_listings_can_be_stale(emulator, call) -> None:
    with pytest.raises(ValueError, match="only a listing can be stale"):
        emulator.add_fault(call=call, action="stale", seconds=1)
