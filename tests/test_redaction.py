"""No credential gets into a text, whatever it looks like and however a server escapes it."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import pytest
from upath import UPath

from airflow_provider_batch.errors import ApiError, BatchError
from airflow_provider_batch.gemini.client.answers import MAX_DETAIL_CHARS, api_error
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.exchange import ApiAnswer
from airflow_provider_batch.redaction import blanked, conceal
from faults.task import Task, ask

# Not like any key that was ever issued, and with all that is escaped somewhere.
KEY = "not-a/real+key=%<&>'\"of.anybody_"


def escaped_everywhere(text):
    return "".join(f"\\u{ord(c):04X}" for c in text)


FORMS = {
    "as it stands": str,
    "in a URL": lambda key: quote(key, safe=""),
    "in a query": quote_plus,
    "in JSON": lambda key: json.dumps(key)[1:-1],
    "in JSON for a page": lambda key: json.dumps(key)[1:-1].replace("<", "\\u003c").replace("&", "\\u0026"),
    "in JSON with its slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "in HTML": html.escape,
    "in small hex": lambda key: quote(key, safe="").lower(),
    "wholly escaped": escaped_everywhere,
}


@pytest.fixture(autouse=True)
def known():
    conceal(KEY)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_known_key_is_blanked_in_each_of_its_forms(form):
    assert blanked(f"the key {form(KEY)} is suspended, {form(KEY)}.") == "the key *** is suspended, ***."


def test_a_text_without_a_known_key_stays_as_it_is():
    text = "not-a/real key of nobody, 100 % sure \\u00e9 &amp; so on"
    assert blanked(text) == text


def test_a_key_of_a_few_letters_blanks_no_words():
    conceal("any")
    assert blanked("anybody may read any of it") == "anybody may read any of it"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_error_shows_a_key_in_its_text_or_its_facts(form):
    body = json.dumps(
        {"error": {"code": 403, "message": f"{form(KEY)} is suspended", "status": "PERMISSION_DENIED"}}
    )
    error = api_error("list batches", ApiAnswer(403, {}, body.encode()))
    assert isinstance(error, ApiError)
    assert error.detail == "*** is suspended"
    assert KEY not in f"{error!r} {error} {vars(error)}"
    assert "***" in str(BatchError(f"a gateway says {form(KEY)}"))


def test_a_key_that_the_server_repeats_is_in_no_document_of_the_ledger(gemini_emulator, tmp_path):
    task = Task(gemini_emulator.base_url, UPath(tmp_path / "out"), [ask("a")], key=KEY)
    message = f"Consumer 'api_key:{KEY}' has been suspended."
    gemini_emulator.add_fault(call="batches.create", action="status", status=403, message=message)
    gemini_emulator.add_fault(action="job", state="FAILED", error={"code": 3, "message": message})
    for _ in range(2):
        with pytest.raises(BatchError) as caught:
            task.finish()
        assert KEY not in str(caught.value)
    for name in task.ledger.names():
        assert KEY not in task.ledger.path(name).read_text()
    assert "***" in task.ledger.path("r1.s1.e1.outcome.json").read_text()
    assert KEY not in (task.folder / "results.jsonl").read_text()


def test_a_key_of_a_client_is_known_from_its_beginning():
    ApiKey("a-key-of-a-gateway")
    assert blanked("sk: a-key-of-a-gateway") == "sk: ***"


def test_a_key_at_the_end_of_what_is_shown_of_a_long_message_is_blanked_as_a_whole():
    message = "x" * (MAX_DETAIL_CHARS - 8) + KEY
    body = json.dumps({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}})
    assert KEY[:4] not in str(api_error("list batches", ApiAnswer(403, {}, body.encode())))
