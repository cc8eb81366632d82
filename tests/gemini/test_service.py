"""What the engine is told about the API's answers, where they can be taken for more than they say."""

from __future__ import annotations

import json
from io import BytesIO

import pytest

from airflow_provider_batch.contract import NEVER, Absent, CannotTell, Found
from airflow_provider_batch.errors import AuthError, ConfigError, NotFoundError
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.service import GeminiBatchService

DISABLED = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]
NO_EVIDENCE = [
    {"status": 403, "details": DISABLED},
    {"status": 403, "body": "<html>Access denied by policy</html>"},
    {"status": 404, "body": "<html>No such page</html>"},
    {"status": 401},
]
IDS = ["a service that is disabled", "a proxy that refuses", "a proxy that knows no such page", "a bad credential"]


@pytest.fixture
def client(gemini_emulator):
    with GeminiClient(Endpoint(ApiKey("k"), base_url=gemini_emulator.base_url)) as client:
        yield client


@pytest.fixture
def service(client):
    return GeminiBatchService(client)


@pytest.fixture
def file(client):
    row = b'{"key": "a", "request": {"contents": [{"parts": [{"text": "hi"}]}]}}\n'
    return client.upload_file(BytesIO(row), len(row), "rows").name


def test_a_file_that_was_deleted_is_gone_whoever_deletes_it_again(service, file):
    assert service.unstage(file) is True
    assert service.unstage(file) is True
    assert service.file_expiry(file) is None


@pytest.mark.parametrize("answer", NO_EVIDENCE, ids=IDS)
def test_a_refusal_that_says_nothing_of_the_file_does_not_prove_it_gone(service, file, gemini_emulator, answer):
    gemini_emulator.add_fault(call="files.delete", action="status", times=1, **answer)
    assert service.unstage(file) is False
    assert service.file_expiry(file) is not None


def test_a_file_that_cannot_be_asked_for_is_not_taken_for_gone(service, file, gemini_emulator):
    gemini_emulator.add_fault(call="files.get", action="status", status=403, details=DISABLED)
    with pytest.raises(AuthError):
        service.file_expiry(file)


def test_a_model_is_unknown_only_if_the_api_says_so(service, gemini_emulator):
    with pytest.raises(ConfigError, match="AGB-C05"):
        service.check_model("gemini-none")
    gemini_emulator.add_fault(call="models.get", action="status", status=404, body="default backend", times=None)
    with pytest.raises(NotFoundError):
        service.check_model("gemini-2.5-flash")


def listed(emulator, *operations):
    """The API answers the question for the listing so."""
    body = {"operations": list(operations)}
    emulator.add_fault(call="batches.list", action="status", status=200, body=body, times=None)


def unreadable(**metadata):
    return {"name": "batches/a", "metadata": {"batchStats": "?", **metadata}}


OURS = {"name": "batches/b", "metadata": {"displayName": "agb1.x.y"}}


@pytest.mark.parametrize(
    "theirs",
    [
        unreadable(displayName="theirs"),
        unreadable(displayName=None),
        unreadable(),
        {"name": "batches/a.b", "metadata": {"displayName": "theirs"}},
        {
            "name": "batches/a",
            "metadata": {"displayName": "theirs"},
            "response": {"responsesFile": "files/batch_Abc"},
        },
        {"name": "batches/a.b", "state": "BATCH_STATE_RUNNING", "displayName": "theirs"},
    ],
    ids=["counts", "a null as its name", "no display name", "its name", "its results", "a bare batch"],
)
def test_a_job_of_somebody_else_that_cannot_be_read_is_passed_over(service, gemini_emulator, theirs):
    listed(gemini_emulator, theirs, OURS)
    found = service.find("agb1.x.")
    assert isinstance(found, Found)
    assert [job.name for job in found.jobs] == ["batches/b"]
    assert service.find("agb1.z.") == Absent()


@pytest.mark.parametrize(
    "perhaps_ours",
    [unreadable(displayName="agb1.x.z"), unreadable(displayName=7), {"name": "batches/a", "metadata": "?"}, "?"],
    ids=["our name", "a name that cannot be read", "metadata that cannot be read", "nothing that can be read"],
)
def test_a_job_that_may_be_ours_and_cannot_be_read_leaves_the_question_open(
    service, gemini_emulator, perhaps_ours
):
    listed(gemini_emulator, perhaps_ours, OURS)
    assert isinstance(service.find("agb1.x."), CannotTell)


def test_a_file_without_an_end_of_life_is_there_and_lives_for_ever(service, file, gemini_emulator):
    said = json.dumps({"name": file, "state": "ACTIVE", "expirationTime": None})
    gemini_emulator.add_fault(
        call="files.get", action="status", status=200, body=said, headers={"content-type": "application/json"}
    )
    assert service.file_expiry(file) == NEVER
