"""Changing a batch: what the mask names, and nothing else."""

import pytest


@pytest.fixture
def batch(slow_api):
    return slow_api.create_inline(slow_api.inline_row("a")).json()["name"]


def update(api, name, mask, body, verb="updateGenerateContentBatch"):
    return api.patch(f"/v1beta/{name}:{verb}", params={"updateMask": mask}, json=body)


def test_priority_is_changed_and_the_answer_is_the_batch_and_not_its_operation(slow_api, batch):  # T49
    answer = update(slow_api, batch, "priority", {"priority": "7", "displayName": "ignored"}).json()
    assert (answer["name"], answer["priority"], answer["displayName"]) == (batch, "7", "d")
    assert answer["state"] == "BATCH_STATE_PENDING"
    assert "metadata" not in answer
    assert slow_api.get(f"/v1beta/{batch}").json()["metadata"]["priority"] == "7"


def test_both_casings_and_several_fields_are_understood(slow_api, batch):
    answer = update(slow_api, batch, "display_name,priority", {"display_name": "new", "priority": -2}).json()
    assert (answer["displayName"], answer["priority"]) == ("new", "-2")


@pytest.mark.parametrize(
    ("mask", "body"),
    [("", {"priority": "1"}), ("state", {"state": "BATCH_STATE_SUCCEEDED"}), ("priority", {"priority": "high"})],
)
def test_what_cannot_be_changed_is_refused(slow_api, batch, mask, body):
    answer = update(slow_api, batch, mask, body)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "priority" not in slow_api.get(f"/v1beta/{batch}").json()["metadata"]


def test_the_verb_of_the_other_kind_does_not_find_the_batch(slow_api, batch):
    assert update(slow_api, batch, "priority", {"priority": "1"}, "updateEmbedContentBatch").status_code == 404


def test_an_embeddings_batch_has_a_verb_of_its_own(slow_api):
    row = {"request": {"content": {"parts": [{"text": "x"}]}}, "metadata": {"key": "a"}}
    body = {"batch": {"displayName": "e", "inputConfig": {"requests": {"requests": [row]}}}}
    name = slow_api.post("/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent", json=body).json()["name"]
    answer = update(slow_api, name, "displayName", {"displayName": "f"}, "updateEmbedContentBatch").json()
    assert answer["displayName"] == "f"


def test_a_change_is_in_the_journal(slow_emulator, slow_api, batch):
    update(slow_api, batch, "priority", {"priority": "1"})
    last = slow_emulator.journal()[-1]
    assert (last["call"], last["batch"]) == ("batches.update", batch)


def test_a_priority_that_is_no_number_is_refused_at_the_create(slow_api):
    rows = {"requests": {"requests": [slow_api.inline_row("a")]}}
    body = {"batch": {"displayName": "d", "priority": "1.5", "inputConfig": rows}}
    answer = slow_api.post("/v1beta/models/gemini-2.5-flash:batchGenerateContent", json=body)
    assert answer.status_code == 400
