"""Webhooks from the delivery to the note in Airflow's database: who is believed, and what a flood costs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from airflow.models.variable import Variable
from starlette.applications import Starlette
from starlette.routing import Mount

from airflow_provider_batch.airflow_compat import webhook_secret
from airflow_provider_batch.batch.wait.webhook_notes import key_of
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.plugin import GeminiBatchPlugin
from airflow_provider_batch.web import webhooks as receiver

ASK = InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key="a")
SECRET = "whsec_" + base64.b64encode(b"a key for tests only").decode()


def body_of(job):
    return json.dumps({"type": "batch.succeeded", "data": {"id": f"batches/{job}"}}).encode()


BODY = body_of("a")


@contextmanager
def served(app):
    """The application on a real server; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def until(is_so, patience_s=10.0):
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def in_api_server(airflow_db, monkeypatch):
    """What earlier tests of triggers and tasks may have left: with it Airflow's models ask a supervisor."""
    monkeypatch.delattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", raising=False)
    yield
    Variable.delete(key_of("gemini_default"))


@pytest.fixture
def hooked(in_api_server, connection):
    """The plugin's application as Airflow mounts it; the address of the webhook of ``gemini_default``."""
    connection(extra={"webhook_secret": SECRET})
    mounts = [Mount(app["url_prefix"], app["app"]) for app in GeminiBatchPlugin().fastapi_apps]
    with served(Starlette(routes=mounts)) as url:
        yield f"{url}/gemini-batch/webhooks/gemini_default"


def signed(body=BODY, secret=SECRET, age=0.0, delivery="msg_1"):
    at = f"{time.time() - age:.0f}"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{delivery}.{at}.".encode() + body, hashlib.sha256)
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": delivery, "webhook-timestamp": at, "webhook-signature": signature}


def deliver(url, body=BODY, **how):
    return httpx.post(url, content=body, headers=signed(body, **how), trust_env=False)


def noted():
    text = Variable.get(key_of("gemini_default"), default_var=None)
    return json.loads(text)["jobs"] if text else {}


def test_a_delivery_of_the_api_is_noted_for_the_triggerers(hooked, connection, gemini_emulator):
    with GeminiBatchHook().get_conn() as client:
        connection(extra={"webhook_secret": client.create_webhook(hooked).new_signing_secret})
        job = client.create_batch("gemini-2.5-flash", "d", requests=[ASK])
    until(lambda: job.name in noted())
    assert time.time() - noted()[job.name] < 10


def test_a_good_delivery_is_answered_with_nothing(hooked):
    answer = deliver(hooked)
    assert (answer.status_code, answer.content) == (204, b"")
    until(lambda: list(noted()) == ["batches/a"])


def strangers(connection, monkeypatch, case):
    """What makes a good delivery one that nobody should believe."""
    fields = {"conn_type": "gemini", "password": "k", "extra": {"webhook_secret": SECRET}}
    if case == "no secret":
        connection()
    elif case == "other kind of connection":
        monkeypatch.setenv("AIRFLOW_CONN_GEMINI_DEFAULT", json.dumps(fields | {"conn_type": "http"}))
    elif case == "broken extra":
        connection(extra="[1]")
    elif case in ODD_SECRETS:
        connection(extra={"webhook_secret": ODD_SECRETS[case]})
    return {"other key": {"secret": "whsec_AAAA"}, "old": {"age": 400}, "from the future": {"age": -400}}.get(
        case, {}
    )


ODD_SECRETS = {"a secret beyond ASCII": "gehe\u00eemnis", "a secret with nothing in it": "whsec_\n"}
CASES = (
    "other key",
    "old",
    "from the future",
    "no secret",
    "other kind of connection",
    "broken extra",
    *ODD_SECRETS,
)


@pytest.mark.parametrize("case", CASES)
def test_whoever_is_not_believed_gets_the_answer_of_an_unknown_connection(hooked, connection, monkeypatch, case):
    how = strangers(connection, monkeypatch, case)
    unknown = deliver(hooked.replace("gemini_default", "nowhere"))
    answer = deliver(hooked, **how)
    assert (answer.status_code, answer.text) == (unknown.status_code, unknown.text) == (400, "rejected")
    assert {*answer.headers} == {*unknown.headers}
    assert noted() == {}


def test_without_a_signature_nothing_is_believed(hooked):
    assert httpx.post(hooked, content=BODY, trust_env=False).status_code == 400
    assert httpx.get(hooked, trust_env=False).status_code == 405


def test_a_name_that_no_connection_of_ours_has_is_not_looked_up():
    asked = []
    with served(receiver.create_app(lambda name: asked.append(name) or "", print)) as url:
        for name in ("..%5C..%5Cetc", "a%20b", "%C3%A4", "x" * 251, "plain"):
            assert deliver(f"{url}/webhooks/{name}").status_code == 400
    assert asked == ["plain"]


def test_a_replayed_delivery_is_accepted_and_noted_once(hooked):
    deliver(hooked)
    until(noted)
    first = noted()
    assert deliver(hooked).status_code == 204
    assert deliver(hooked, delivery="msg_2", body=body_of("b")).status_code == 204
    until(lambda: "batches/b" in noted())
    assert noted()["batches/a"] == first["batches/a"]


def test_an_event_about_something_else_wakes_nobody(hooked):
    assert deliver(hooked, b'{"type": "video.generated", "data": {"id": "batches/b"}}').status_code == 204
    deliver(hooked, delivery="msg_2")
    until(noted)
    assert list(noted()) == ["batches/a"]


def test_a_delivery_whose_job_has_no_usable_name_is_about_any(hooked):
    deliver(hooked, b'{"type": "batch.succeeded", "data": {"id": 5}}')
    until(noted)
    assert list(noted()) == [""]


@pytest.mark.parametrize(
    "beginning",
    [
        b"content-length: 65537\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n10001\r\n" + b"x" * 0x10001 + b"\r\n",
    ],
    ids=["declared", "undeclared"],
)
def test_a_body_that_is_too_large_is_refused_before_it_has_come(hooked, beginning):
    host, _, path = hooked.removeprefix("http://").partition("/")
    with socket.create_connection(host.split(":"), timeout=5) as line:
        line.sendall(f"POST /{path} HTTP/1.1\r\nhost: {host}\r\n".encode() + beginning)
        assert line.recv(100).startswith(b"HTTP/1.1 413")


def test_a_length_that_is_no_number_to_python_is_too_large():
    """Today's servers do not let it through."""

    async def answer():
        transport = httpx.ASGITransport(receiver.create_app(lambda _: SECRET, print))
        async with httpx.AsyncClient(transport=transport, base_url="http://api-server") as client:
            return await client.post("/webhooks/a", content=BODY, headers={"content-length": "9" * 5000})

    assert asyncio.run(answer()).status_code == 413


def test_a_body_of_the_allowed_size_is_read_whole(hooked):
    body = BODY.ljust(receiver.MAX_BODY_BYTES)
    assert deliver(hooked, body).status_code == 204
    assert deliver(hooked, body + b" ").status_code == 413


def test_a_body_that_does_not_come_is_not_waited_for_long():
    with served(receiver.create_app(lambda _: SECRET, print, body_timeout_s=0.2)) as url:
        host = url.removeprefix("http://")
        with socket.create_connection(host.split(":"), timeout=5) as line:
            line.sendall(f"POST /webhooks/a HTTP/1.1\r\nhost: {host}\r\ncontent-length: 9\r\n\r\n".encode())
            assert line.recv(100).startswith(b"HTTP/1.1 400")


def test_a_flood_is_written_down_once_a_second_and_loses_nothing():
    writes = []
    app = receiver.create_app(lambda _: SECRET, lambda _, jobs: writes.append((time.monotonic(), set(jobs))))
    names = [str(number) for number in range(300)]
    with served(app) as url, httpx.Client(trust_env=False) as client:
        for name in names:
            body = body_of(name)
            answer = client.post(f"{url}/webhooks/a", content=body, headers=signed(body, delivery=name))
            assert answer.status_code == 204
        until(lambda: set().union(*(jobs for _, jobs in writes)) == {f"batches/{name}" for name in names})
    pauses = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(writes)]
    assert pauses
    assert min(pauses) > 0.95 * receiver.PAUSE_S


def test_a_delivery_that_cannot_be_written_down_harms_none_after_it(caplog):
    written = []

    def write(_, jobs):
        if "batches/a" in jobs:
            raise OSError("postgresql://user:hunter2@db")
        written.append(set(jobs))

    with served(receiver.create_app(lambda _: SECRET, write)) as url:
        assert deliver(f"{url}/webhooks/a").status_code == 204
        until(lambda: "was not noted (OSError)" in caplog.text)
        assert deliver(f"{url}/webhooks/a", body_of("b"), delivery="msg_2").status_code == 204
        until(lambda: written == [{"batches/b"}])
    assert "hunter2" not in caplog.text


def test_a_lookup_that_fails_is_a_reason_to_come_again(caplog):
    answers = iter([OSError("hunter2"), OSError("hunter2"), SECRET])

    def secret_of(_):
        answer = next(answers)
        if isinstance(answer, str):
            return answer
        raise answer

    with served(receiver.create_app(secret_of, lambda *_: None)) as url:
        assert [deliver(f"{url}/webhooks/a").status_code for _ in range(3)] == [503, 503, 204]
    assert caplog.text.count("Connection a cannot be looked up (OSError).") == 1
    assert "hunter2" not in caplog.text


def test_where_look_ups_fail_a_known_connection_answers_as_an_unknown_one():
    now = [0.0]

    def secret_of(name):
        if name == "known":
            return SECRET
        raise OSError("the backend is away")

    with served(receiver.create_app(secret_of, lambda *_: None, clock=lambda: now[0])) as url:

        def answers():
            names = ("nowhere", "known", "known", "nowhere", "not a name")
            return [deliver(f"{url}/webhooks/{name}", secret="whsec_AAAA").status_code for name in names]

        assert deliver(f"{url}/webhooks/known").status_code == 204
        assert answers() == [503] * 5
        assert deliver(f"{url}/webhooks/known", delivery="msg_2").status_code == 204
        now[0] = receiver.BELIEVE_S
        assert deliver(f"{url}/webhooks/known", secret="whsec_AAAA").status_code == 400


def test_in_a_flood_a_known_connection_answers_as_an_unknown_one():
    slow, started = threading.Event(), []

    def secret_of(name):
        if name != "known":
            started.append(name)
            slow.wait(10)
        return SECRET if name == "known" else ""

    with served(receiver.create_app(secret_of, lambda *_: None)) as url:
        assert deliver(f"{url}/webhooks/known").status_code == 204
        made_up = [f"{url}/webhooks/made-up-{number}" for number in range(receiver.LOOKUPS)]
        knocking = [threading.Thread(target=deliver, args=(each,)) for each in made_up]
        for thread in knocking:
            thread.start()
        until(lambda: len(started) == receiver.LOOKUPS)
        unknown = deliver(f"{url}/webhooks/nowhere")
        wrong = deliver(f"{url}/webhooks/known", secret="whsec_AAAA")
        slow.set()
        for thread in knocking:
            thread.join()
    assert (wrong.status_code, wrong.text) == (unknown.status_code, unknown.text) == (503, "busy")


def test_a_flood_of_made_up_names_costs_few_lookups_and_shuts_nobody_out():
    asked, now, slow = [], [0.0], threading.Event()

    def secret_of(name):
        asked.append(name)
        if name != "known":
            slow.wait(10)
        return SECRET if name == "known" else ""

    codes = []
    with served(receiver.create_app(secret_of, lambda *_: None, clock=lambda: now[0])) as url:
        assert deliver(f"{url}/webhooks/known").status_code == 204

        def knock(number):
            codes.append(deliver(f"{url}/webhooks/made-up-{number}").status_code)

        knocking = [threading.Thread(target=knock, args=(number,)) for number in range(12)]
        for thread in knocking:
            thread.start()
        until(lambda: codes == [503] * (12 - receiver.LOOKUPS))
        # Also when what is known of it has to be looked up again.
        now[0] = receiver.BELIEVE_S
        assert deliver(f"{url}/webhooks/known", delivery="msg_2").status_code == 204
        slow.set()
        for thread in knocking:
            thread.join()
    assert sorted(codes) == [400] * receiver.LOOKUPS + [503] * (12 - receiver.LOOKUPS)
    assert len(asked) == receiver.LOOKUPS + 2


def test_names_that_were_made_up_are_forgotten_before_one_that_takes_webhooks():
    asked = []
    with served(
        receiver.create_app(lambda name: asked.append(name) or (SECRET if name == "a" else ""), print)
    ) as url:
        deliver(f"{url}/webhooks/a")
        with httpx.Client(trust_env=False) as client:
            for number in range(receiver.MAX_CONNECTIONS + 1):
                client.post(f"{url}/webhooks/made-up-{number}")
        deliver(f"{url}/webhooks/a")
        deliver(f"{url}/webhooks/made-up-0")
    assert asked.count("a") == 1
    assert asked.count("made-up-0") == 2


def test_a_rotated_secret_is_known_within_a_minute_and_replays_stay_known():
    old, new = SECRET, "whsec_" + base64.b64encode(b"another key").decode()
    secret, now, written = [old], [0.0], set()
    app = receiver.create_app(lambda _: secret[0], lambda _, jobs: written.update(jobs), clock=lambda: now[0])
    with served(app) as url:
        assert deliver(f"{url}/webhooks/a", body_of("a")).status_code == 204
        now[0] += receiver.BELIEVE_S
        assert deliver(f"{url}/webhooks/a", body_of("replayed")).status_code == 204
        secret[0] = new
        assert deliver(f"{url}/webhooks/a", body_of("c"), secret=new, delivery="msg_2").status_code == 400
        now[0] += receiver.BELIEVE_S
        assert deliver(f"{url}/webhooks/a", body_of("c"), secret=new, delivery="msg_2").status_code == 204
        assert deliver(f"{url}/webhooks/a", secret=old, delivery="msg_3").status_code == 400
        until(lambda: "batches/c" in written)
    assert written == {"batches/a", "batches/c"}


def test_airflow_hides_the_secret_in_logs_and_in_the_ui(in_api_server, connection):
    from airflow._shared.secrets_masker import redact
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionResponse
    from airflow.models.connection import Connection

    secret = "whsec_" + base64.b64encode(b"seen by this test alone").decode()
    connection(extra={"webhook_secret": secret})
    assert redact(f"it is {secret}") == f"it is {secret}"
    assert webhook_secret("gemini_default") == secret
    assert redact(f"it is {secret}") == "it is ***"
    shown = ConnectionResponse.model_validate(Connection.get_connection_from_secrets("gemini_default"))
    assert json.loads(shown.extra) == {"webhook_secret": "***"}


def test_airflow_does_not_take_a_note_for_a_secret(airflow_db):
    from airflow._shared.secrets_masker import redact

    assert redact({"gemini_api_key": "x"}) == {"gemini_api_key": "***"}
    assert redact({key_of("gemini_api_key"): "x"}) == {key_of("gemini_api_key"): "x"}


def test_airflow_finds_the_plugin_by_its_entry_point(airflow_db):
    command = [sys.executable, "-m", "airflow", "plugins", "--output", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [plugin["name"] for plugin in listed if "airflow-provider-batch" in plugin["source"]] == [
        "gemini_batch"
    ]


def test_a_process_that_only_loads_plugins_loads_no_server():
    code = (
        "import sys, airflow.sdk as s, airflow.plugins_manager; s.BaseOperator; before = set(sys.modules);"
        "from airflow_provider_batch.plugin import GeminiBatchPlugin; GeminiBatchPlugin();"
        "print([m for m in sys.modules if m not in before])"
    )
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert loaded in (
        "['airflow_provider_batch.plugin']",
        "['airflow_provider_batch', 'airflow_provider_batch.plugin']",
    )
