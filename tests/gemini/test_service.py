"""What the engine is told about the API's answers, where they can be taken for more than they say."""

from __future__ import annotations

from io import BytesIO

import pytest

from airflow_provider_batch.errors import AuthError
from airflow_provider_batch.gemini.auth import ApiKey
from airflow_provider_batch.gemini.client import GeminiClient
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.gemini.transport import Endpoint

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
