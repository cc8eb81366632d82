"""From an Airflow connection to the API."""

import asyncio

import pytest

from airflow_provider_batch.gemini.auth import DEFAULT_BASE_URL
from airflow_provider_batch.hooks.gemini import GeminiBatchHook


def test_a_good_connection_passes_its_test_with_one_cheap_call(connection, gemini_emulator):
    ok, message = GeminiBatchHook().test_connection()
    assert ok
    assert "models/" in message
    assert [r["path"] for r in gemini_emulator.requests()] == ["/v1beta/models"]


def test_a_connection_that_reaches_nobody_fails_its_test_with_a_reason(connection):
    connection(host="http://127.0.0.1:9")
    ok, message = GeminiBatchHook().test_connection()
    assert not ok
    assert "No answer from the Gemini API" in message
    assert "test-key" not in message


def test_a_key_that_the_api_rejects_fails_the_test_and_is_not_shown(connection, tmp_path):
    from airflow_provider_batch.emulator.process import running_emulator

    with running_emulator(tmp_path, api_keys=["another"]) as emulator:
        connection(host=emulator.base_url)
        ok, message = GeminiBatchHook().test_connection()
    assert not ok
    assert "Check the credential in the Airflow connection" in message
    assert "test-key" not in message


def test_the_async_lookup_gives_a_working_client(connection, in_triggerer):
    async def models():
        client = await GeminiBatchHook().aget_conn()
        async with client:
            return [model async for model in client.list_models()]

    assert asyncio.run(models())


def test_the_extras_choose_the_version_and_the_kind_of_credential(connection, gemini_emulator):
    connection(password="a-token", extra={"auth_type": "oauth_token", "quota_project": "p", "api_version": "v1"})
    with GeminiBatchHook().get_conn() as client:
        assert list(client.list_models())
    assert [r["path"] for r in gemini_emulator.requests()] == ["/v1/models"]


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": ""}, DEFAULT_BASE_URL),
        ({"host": None}, DEFAULT_BASE_URL),
        ({"host": "gateway.example"}, "https://gateway.example"),
        ({"host": "https://gateway.example/gemini/"}, "https://gateway.example/gemini"),
        ({"host": "127.0.0.1", "port": 8443}, "https://127.0.0.1:8443"),
    ],
)
def test_the_host_of_the_connection_becomes_the_base_url(connection, fields, url):
    connection(**fields)
    with GeminiBatchHook().get_conn() as client:
        assert client.endpoint.base_url == url


def test_a_job_can_be_cancelled_through_the_hook(connection, gemini_emulator):
    from airflow_provider_batch.gemini.wire import InlineRequest

    gemini_emulator.add_fault(action="job", state="STUCK")
    with GeminiBatchHook().get_conn() as client:
        ask = {"contents": [{"parts": [{"text": "hi"}]}]}
        job = client.create_batch("gemini-2.5-flash", "d", requests=[InlineRequest(request=ask, key="a")])
    GeminiBatchHook().cancel_batch(job.name)
    assert [e["call"] for e in gemini_emulator.journal()] == ["batches.create", "batches.cancel"]
