"""Application Default Credentials, with a service account's key file and a token server on loopback."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from airflow_provider_batch.batch.wait.watch import GiveUp, GoOn, Watch
from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.errors import BatchError, ConfigError
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApplicationDefault
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint

TOKEN = "token-of-the-token-server"


class TokenServer(ThreadingHTTPServer):
    """Hands out one token; ``status`` and ``gate`` change how."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Tokens)
        self.asked = 0
        self.reached = Event()
        self.status = 200
        self.gate = Event()
        self.gate.set()


class _Tokens(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked += 1
        self.server.reached.set()
        self.rfile.read(int(self.headers["content-length"]))
        opened = self.server.gate.wait(10)
        refusal = {"error": "invalid_grant", "error_description": "unknown account"}
        granted = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        body = json.dumps(granted if self.server.status == 200 else refusal).encode()
        self.send_response(self.server.status if opened else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def token_server(tmp_path, monkeypatch, private_key):
    with TokenServer() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        account = {
            "type": "service_account",
            "client_email": "airflow@example.invalid",
            "private_key": private_key,
            "token_uri": f"http://127.0.0.1:{server.server_port}/token",
        }
        file = tmp_path / "account.json"
        file.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        yield server
        server.gate.set()
        server.shutdown()


@pytest.fixture
def emulator(tmp_path):
    with running_emulator(tmp_path / "emulator", api_keys=[TOKEN]) as emulator:
        yield emulator


@pytest.fixture
def endpoint(emulator):
    return Endpoint(ApplicationDefault(), base_url=emulator.base_url)


def test_a_token_is_fetched_when_first_needed_and_used_again(token_server, endpoint):
    with GeminiClient(endpoint) as client:
        assert token_server.asked == 0
        assert list(client.list_models())
        assert list(client.list_models())
    assert token_server.asked == 1


def test_the_event_loop_goes_on_while_a_token_is_fetched(token_server, endpoint):
    token_server.gate.clear()

    async def look_while_the_server_waits_for_the_loop():
        async with AsyncGeminiClient(endpoint) as client:
            looking = asyncio.create_task(anext(client.list_batch_pages()))
            await asyncio.to_thread(token_server.reached.wait, 10)
            token_server.gate.set()
            return await looking

    assert list(asyncio.run(look_while_the_server_waits_for_the_loop())) == []
    assert token_server.asked == 1


def test_an_account_that_is_refused_is_a_matter_of_configuration(token_server, endpoint, private_key):
    token_server.status = 400
    with GeminiClient(endpoint) as client, pytest.raises(ConfigError, match=r"AGB-C02.*invalid_grant") as caught:
        list(client.list_models())
    assert private_key.splitlines()[1] not in str(caught.value)
    assert isinstance(Watch("batches/x", 1e12, 60).failed(caught.value, 0), GiveUp)


def test_a_token_server_that_cannot_be_reached_is_waited_for(token_server, endpoint):
    token_server.shutdown()
    token_server.server_close()
    with GeminiClient(endpoint) as client, pytest.raises(BatchError, match="this time") as caught:
        list(client.list_models())
    assert isinstance(Watch("batches/x", 1e12, 60).failed(caught.value, 0), GoOn)


def test_a_token_server_in_trouble_is_waited_for(token_server, endpoint):
    token_server.status = 503
    with GeminiClient(endpoint) as client, pytest.raises(BatchError, match="this time") as caught:
        list(client.list_models())
    assert isinstance(Watch("batches/x", 1e12, 60).failed(caught.value, 0), GoOn)


def test_no_credential_at_all_says_where_it_was_looked_for(endpoint, monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with (
        GeminiClient(endpoint) as client,
        pytest.raises(ConfigError, match=r"none\.json.*GOOGLE_APPLICATION_CREDENTIALS"),
    ):
        list(client.list_models())
