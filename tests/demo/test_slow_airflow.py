"""The demo on a slow machine: what Airflow does not answer is asked again, and nothing ends in a traceback."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest

from demo.patience import wait_for
from demo.stack import Airflow, asked, start_run

CREATED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
LOCKED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
THERE = b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n"
HANGS = b""
CUT = None


@pytest.fixture
def airflow():
    """A server that answers each connection with the next of some texts; its address and what it was asked."""
    server = socket.create_server(("127.0.0.1", 0))
    asked_for: list[bytes] = []
    kept: list[socket.socket] = []

    def serve(*answers):
        def answer():
            for said in answers:
                with suppress(OSError):
                    one, _ = server.accept()
                    kept.append(one)
                    asked_for.append(one.recv(65536).splitlines()[0])
                    if said is CUT:
                        one.close()
                    elif said is not HANGS:
                        one.sendall(said)
                        one.close()

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield serve, asked_for
    for one in (*kept, server):
        one.close()


@pytest.mark.parametrize("trouble", [LOCKED, BUSY, CUT, HANGS])
def test_what_a_busy_airflow_does_not_answer_is_asked_again(airflow, trouble):
    serve, asked_for = airflow
    url = serve(trouble, CREATED)
    assert asked("GET", f"{url}/x", timeout=0.2).status_code == 200
    assert asked_for == [b"GET /x HTTP/1.1"] * 2


def test_a_run_whose_first_answer_was_lost_is_started_once(airflow):
    serve, asked_for = airflow
    url = serve(CUT, THERE)
    run_id = start_run(lambda **body: asked("POST", f"{url}/dagRuns", **body), {})
    assert run_id.startswith("manual__")
    assert len(asked_for) == 2


def test_an_airflow_that_never_answers_ends_in_one_clear_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(SystemExit) as caught:
        asked("GET", f"http://127.0.0.1:{port}/api/v2/dags", logs=tmp_path, longest_s=0)
    assert "Gave up waiting for Airflow's answer to GET /api/v2/dags after 0 s." in str(caught.value)
    assert str(caught.value).endswith(f"Logs: {tmp_path}")


def test_a_long_wait_says_now_and_then_what_it_is_for(capsys, tmp_path):
    answers = iter([None, None, "there"])
    assert wait_for("the DAG x", lambda: next(answers), logs=tmp_path, tell_s=0, pause_s=0) == "there"
    assert capsys.readouterr().out.count("still waiting for the DAG x") == 2


def test_a_component_that_has_ended_is_named_and_not_waited_for(tmp_path):
    airflow = Airflow(tmp_path / "home", "http://127.0.0.1:9", tmp_path / "lake")
    airflow.home.mkdir()
    airflow.env = {"PATH": ""}
    airflow.start_component("scheduler")
    airflow._processes["scheduler"].wait()
    with pytest.raises(SystemExit, match=r"Airflow's scheduler ended by itself; see the logs in .*home"):
        airflow.get("/dags")
