"""From an Airflow connection to the API."""

import asyncio
import json
import ssl
import threading
import traceback
from argparse import Namespace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from packaging.version import Version

from airflow_provider_batch.airflow_compat import POINTER, Fence
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.errors import BatchError, ConfigError, SupersededError
from airflow_provider_batch.gemini.client.auth import DEFAULT_BASE_URL
from airflow_provider_batch.hooks.gemini import GeminiBatchHook

BEFORE_3_3 = Version(version("apache-airflow")) < Version("3.3")


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


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ({"auth_typ": "adc"}, "Did you mean auth_type?"),
        ({"colour": "red"}, "an extra 'colour', which means nothing here. There are account,"),
        ({"trust_env": "ture"}, "The extra trust_env must be true or false"),
        ({"trust_env": 3}, "The extra trust_env must be true or false"),
        ({"max_enqueued_tokens": "lots"}, "The extra max_enqueued_tokens must be a whole number"),
        ({"api_version": "v2"}, "The extra api_version must be one of"),
        ({"prices": "prices.json"}, "must be an absolute path"),
        ({"prices": "/nowhere/prices.json"}, "The price file /nowhere/prices.json cannot be read"),
    ],
)
def test_a_connection_with_a_wrong_extra_fails_its_test(connection, extra, what):
    connection(extra=extra)
    ok, message = GeminiBatchHook().test_connection()
    assert not ok
    assert what in message


def test_all_that_is_wrong_with_a_connection_is_told_at_once(connection):
    connection(host="http://127.0.0.1:9", extra={"prices": "/nowhere.json", "acount": "x"})
    ok, message = GeminiBatchHook().test_connection()
    lines = message.splitlines()
    assert (ok, len(lines)) == (False, 3)
    assert "No answer from the Gemini API" in lines[2]


def test_a_certificate_of_the_environment_that_does_not_count_names_trust_env(
    connection, tmp_path, monkeypatch, own_tls
):
    monkeypatch.setenv("SSL_CERT_FILE", str(own_tls.certificate))
    connection(host=f"https://localhost:{own_tls.port}")
    ok, message = GeminiBatchHook().test_connection()
    assert not ok
    assert "SSL_CERT_FILE counts only if the connection's extra trust_env is true" in message


@pytest.fixture
def own_tls(tmp_path):
    """A server whose certificate nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "own.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(port=server.server_port, certificate=file)
    server.shutdown()
    server.server_close()


def test_the_async_lookup_gives_a_working_client(connection, in_triggerer):
    async def listed():
        client = await GeminiBatchHook().aget_conn()
        async with client:
            return [list(page) async for page in client.list_batch_pages()]

    assert asyncio.run(listed()) == [[]]


FLASH, HI = "gemini-2.5-flash", {"contents": [{"parts": [{"text": "hi"}]}]}


def test_a_single_call_is_answered_in_the_tier_that_is_asked_for(connection, gemini_emulator):
    hook = GeminiBatchHook()
    answers = [
        hook.generate_content(FLASH, HI),
        hook.generate_content(FLASH, HI, tier="flex"),
        asyncio.run(hook.agenerate_content(FLASH, HI, tier="flex")),
    ]

    assert [str(answer.tier) for answer in answers] == ["standard", "flex", "flex"]
    assert answers[2].response["candidates"][0]["content"]["parts"] == [{"text": "Answer to: hi"}]
    assert [billed["tier"] for billed in gemini_emulator.billed_calls()] == ["standard", "flex", "flex"]


def test_the_service_of_single_calls_answers_rows_with_lines_of_results(connection):
    async def answered():
        service = GeminiBatchHook().calling_service(connections=2)
        try:
            line = json.dumps({"key": "a", "request": HI}).encode()
            return await service.answer(FLASH, "a", line, Tier.FLEX, 60.0)
        finally:
            await service.aclose()

    outcome = asyncio.run(answered())
    assert (json.loads(outcome.line)["key"], outcome.tier) == ("a", Tier.FLEX)


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


def of_another_type(connection):
    connection(conn_type="aws", password="not-for-gemini")
    return "of type 'aws', not 'gemini'"


def with_a_bad_key(connection):
    connection(password="not for gemini")
    return "'gemini_default' cannot be used. The API key has white space"


def with_a_bad_host(connection):
    connection(host="http://gemini.example")
    return r"'gemini_default' cannot be used. The host \(gemini.example\) would send"


@pytest.mark.parametrize("wrong", [of_another_type, with_a_bad_key, with_a_bad_host])
def test_a_connection_that_is_not_fit_for_it_is_named_and_sends_nothing(
    connection, gemini_emulator, in_triggerer, wrong
):
    what = wrong(connection)
    with pytest.raises(ConfigError, match=what):
        GeminiBatchHook().get_conn()
    with pytest.raises(ConfigError, match=what):
        asyncio.run(GeminiBatchHook().aget_conn())
    assert GeminiBatchHook().test_connection()[0] is False
    assert gemini_emulator.requests() == []


class Talkative(GeminiBatchHook):
    """With a secrets backend that fails, and says more than it should."""

    @classmethod
    def get_connection(cls, conn_id):
        raise OSError("the secret is hunter2")

    @classmethod
    async def aget_connection(cls, conn_id):
        raise OSError("the secret is hunter2")


def test_what_a_secrets_backend_says_when_it_fails_is_not_told(in_triggerer):
    told = []
    for look_up in (lambda: Talkative().get_conn(), lambda: asyncio.run(Talkative().aget_conn())):
        with pytest.raises(BatchError, match=r"could not be looked up \(OSError\)") as caught:
            look_up()
        assert not isinstance(caught.value, ConfigError)
        told += traceback.format_exception(caught.value)
    assert "hunter2" not in "".join(told)


def test_a_job_can_be_cancelled_through_the_hook(connection, gemini_emulator):
    from airflow_provider_batch.gemini.wire import InlineRequest

    gemini_emulator.add_fault(action="job", state="STUCK")
    with GeminiBatchHook().get_conn() as client:
        ask = {"contents": [{"parts": [{"text": "hi"}]}]}
        job = client.create_batch("gemini-2.5-flash", "d", requests=[InlineRequest(request=ask, key="a")])
    GeminiBatchHook().cancel_batch(job.name)
    assert [e["call"] for e in gemini_emulator.journal()] == ["batches.create", "batches.cancel"]


def label(connection, **fields):
    connection(**fields)
    return GeminiBatchHook().account().label


def test_the_account_is_the_same_for_the_same_key_and_holds_nothing_of_it(connection):
    first, again = label(connection, password="key-of-one"), label(connection, password="key-of-one")
    assert first == again
    assert len({first, label(connection, password="another"), label(connection, host="https://a.example")}) == 3
    assert "key" not in first


def test_the_account_is_the_same_whatever_secret_this_airflow_has_and_without_airflow(connection, monkeypatch):
    """A pod without the setting makes a secret of its own, and one may be rotated while batches run."""
    from airflow_provider_batch.cli.access import access

    labels = set()
    for secret in (Fernet.generate_key().decode(), Fernet.generate_key().decode(), ""):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", secret)
        labels.add(label(connection, password="key-of-one", host="https://a.example/"))
    monkeypatch.setenv("GEMINI_API_KEY", "key-of-one")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "https://a.example")
    labels.add(access(Namespace(conn_id=None, in_airflow=False)).label)
    assert len(labels) == 1


def test_the_account_of_a_token_is_its_project_as_tokens_change_by_the_hour(connection):
    extra = {"auth_type": "oauth_token", "quota_project": "p"}
    assert label(connection, password="one", extra=extra) == label(connection, password="two", extra=extra)


def test_the_account_can_be_named_so_that_a_key_can_be_rotated(connection):
    assert label(connection, password="new", extra={"account": "team-a"}) == "team-a"


@pytest.mark.parametrize("value", ["many", "-1", 0, "1.5"])
def test_a_limit_on_tokens_that_is_no_number_is_refused(connection, value):
    connection(extra={"max_enqueued_tokens": value})
    with pytest.raises(ConfigError, match=r"AGB-C02 The connection .* The extra max_enqueued_tokens"):
        GeminiBatchHook().account()


def test_a_limit_on_tokens_is_read(connection):
    connection(extra={"max_enqueued_tokens": "3000000"})
    assert GeminiBatchHook().account().max_enqueued_tokens == 3_000_000


class Store:
    """Airflow's task state store, as far as it is used."""

    def __init__(self, known=None, error=None):
        self.kept, self._error = {POINTER: known} if known else {}, error

    def get(self, key):
        return self.kept.get(key)

    def set(self, key, value, retention=None):
        if self._error:
            raise self._error
        self.kept[key] = value


def test_a_try_that_airflow_has_replaced_sends_nothing():
    with pytest.raises(SupersededError, match="AGB-S07"):
        Fence(Store(error=RuntimeError("404")), "/out/_ledger/x")()


@pytest.mark.skipif(BEFORE_3_3, reason="Airflow has a task state store since 3.3")
def test_a_current_try_leaves_a_pointer_to_its_ledger():
    store = Store()
    Fence(store, "/out/_ledger/x")()
    assert store.kept == {POINTER: "/out/_ledger/x"}


def test_a_try_with_another_result_path_is_refused():
    with pytest.raises(ConfigError, match="AGB-C08 result_path differs between tries"):
        Fence(Store("/out/_ledger/x"), "/elsewhere/_ledger/x").check_pointer()


def test_without_a_store_the_ledger_alone_decides():
    fence = Fence(None, "/out/_ledger/x")
    fence.check_pointer()
    fence()
