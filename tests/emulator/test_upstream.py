"""Rows answered by an OpenAI-compatible server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.emulator.answers.upstream import CannotSayError, chat_request


class ChatServer(ThreadingHTTPServer):
    """Answers with the last message, unless a status is in the way; notes what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Chat)
        self.asked, self.statuses, self.keys = [], [], set()
        self.meeting: threading.Barrier | None = None


class _Chat(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(asked)
        self.server.keys.add(self.headers["authorization"])
        if self.server.meeting:
            self.server.meeting.wait(10)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
        said = asked["messages"][-1]["content"]
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": f"You said {said}"},
        }
        body = json.dumps({"model": "tiny-1", "choices": [choice], "usage": usage}).encode()
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def chat_server():
    with ChatServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def api(chat_server, connect, monkeypatch, tmp_path):
    monkeypatch.setenv("EMULATOR_UPSTREAM_KEY", "upstream-key")
    url = f"http://127.0.0.1:{chat_server.server_port}/v1"
    with running_emulator(tmp_path, upstream=url, upstream_model="tiny") as emulator:
        yield connect(emulator)


def test_rows_are_answered_by_the_other_server_under_their_keys(api, chat_server) -> None:
    results = api.results(api.finished(api.create_from(api.row("a", "one"), api.row("b", "two")).json()["name"]))

    texts = {row["key"]: row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in results}
    assert texts == {"a": "You said one", "b": "You said two"}
    assert results[0]["response"]["modelVersion"] == "tiny-1"
    usage = results[0]["response"]["usageMetadata"]
    assert (usage["promptTokenCount"], usage["candidatesTokenCount"], usage["thoughtsTokenCount"]) == (7, 3, 2)
    assert {asked["model"] for asked in chat_server.asked} == {"tiny"}
    assert chat_server.keys == {"Bearer upstream-key"}


def test_passing_refusals_are_waited_out(api, chat_server) -> None:
    chat_server.statuses = [503, 429]
    (row,) = api.results(api.finished(api.create_from(api.row("a", "one")).json()["name"]))
    assert "response" in row
    assert len(chat_server.asked) == 3


@pytest.mark.parametrize(("status", "code", "asked"), [(429, 8, 5), (400, 3, 1), (500, 14, 5)])
def test_lasting_refusals_are_the_error_of_the_row_alone(api, chat_server, status, code, asked) -> None:
    chat_server.statuses = [status] * asked
    operation = api.finished(api.create_from(api.row("a", "one")).json()["name"])
    (row,) = api.results(operation)
    assert operation["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert row["error"]["code"] == code
    assert f"answered {status}" in row["error"]["message"]
    assert len(chat_server.asked) == asked


def test_eight_rows_are_asked_at_a_time(api, chat_server) -> None:
    chat_server.meeting = threading.Barrier(8)
    rows = [api.row(f"r{n}", f"{n}") for n in range(16)]
    results = api.results(api.finished(api.create_from(*rows).json()["name"]))
    assert [row["key"] for row in results] == [f"r{n}" for n in range(16)]
    assert all("response" in row for row in results)


def test_a_request_is_said_with_all_its_parts() -> None:
    chat = chat_request(
        {
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "What is "}, {"text": "this?"}]},
                {"role": "model", "parts": [{"text": "A dog."}]},
                {"parts": [{"text": "And this?"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]},
            ],
            "generationConfig": {
                "temperature": 0,
                "max_output_tokens": 9,
                "topK": 3,
                "responseSchema": {"type": "OBJECT", "properties": {"type": {"type": "STRING"}}},
            },
        }
    )
    assert [(message["role"], message["content"]) for message in chat["messages"][:3]] == [
        ("system", "Be brief."),
        ("user", "What is this?"),
        ("assistant", "A dog."),
    ]
    assert chat["messages"][3]["content"] == [
        {"type": "text", "text": "And this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
    ]
    assert (chat["temperature"], chat["max_tokens"]) == (0, 9)
    schema = {"type": "object", "properties": {"type": {"type": "string"}}}
    assert chat["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"tools": [{"googleSearch": {}}]}, "tools"),
        ({"cachedContent": "cachedContents/a"}, "cachedContent"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "x"}}]}]}, "parts.fileData"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4"}}]}]}, "video/mp4"),
        ({"generationConfig": {"responseModalities": ["AUDIO"]}}, "generationConfig.responseModalities"),
    ],
)
def test_what_cannot_be_said_names_its_field(request_, named) -> None:
    with pytest.raises(CannotSayError, match=named):
        chat_request(request_)
