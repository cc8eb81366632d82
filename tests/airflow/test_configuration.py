"""A wrong argument or connection is refused before anything is sent: what is wrong, where, and what to do next."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.exceptions import AirflowException
from upath import UPath

from airflow_provider_batch import gemini
from airflow_provider_batch.decorators.gemini import gemini_batch_task
from airflow_provider_batch.errors import BudgetError, ConfigError
from airflow_provider_batch.operators.embeddings import GeminiEmbeddingsBatchOperator
from airflow_provider_batch.operators.gemini import GeminiBatchOperator
from airflow_provider_batch.operators.options import (
    EstimateOptions,
    FailureOptions,
    MediaOptions,
    ResultOptions,
)
from airflow_provider_batch.rows.read.tables import SqlQuery
from airflow_provider_batch.transfers.gemini import GeminiResultsToSqlOperator

SHIPPED_PRICES = Path(gemini.__file__).with_name("prices.json")
ROW = {"key": "a", "request": {"contents": [{"parts": [{"text": "hi"}]}]}}
GOOD = {"model": "gemini-2.5-flash", "requests": [ROW], "deferrable": False, "poll_interval": 1}


def run(folder, operator=GeminiBatchOperator, **arguments):
    """Make the operator and run it as a task would."""
    task = operator(task_id="label", **{**GOOD, "result_path": str(folder / "out"), **arguments})
    ti = SimpleNamespace(dag_id="dag", task_id="label", run_id="run", map_index=-1, xcom_push=lambda **_: None)
    return task.execute({"ti": ti})


def refused(emulator, folder, error=ConfigError, **arguments):
    with pytest.raises((error, AirflowException)) as caught:
        run(folder, **arguments)
    found = caught.value if isinstance(caught.value, error) else caught.value.__cause__
    assert isinstance(found, error)
    assert found.remedy
    assert [call["call"] for call in emulator.journal()] == []
    assert not (folder / "out").exists()
    return found


CONNECTIONS = [
    ("no key", {"password": ""}, "AGB-C01", "no API key"),
    ("a line break after the key", {"password": "not-a-key\n"}, "AGB-C01", "white space"),
    ("a space in the key", {"password": "not a key"}, "AGB-C01", "white space"),
    ("a key in the host", {"host": "https://not-a-key@example.org"}, "AGB-C02", "user name or password"),
    ("a key in the query", {"host": "https://example.org/?key=not-a-key"}, "AGB-C02", "query or fragment"),
    ("http beyond this machine", {"host": "http://example.org"}, "AGB-C03", "host"),
    ("a file", {"host": "file:///etc/passwd"}, "AGB-C03", "https://host"),
    ("no host in the URL", {"host": "https://"}, "AGB-C03", "https://host"),
    ("a port that is none", {"host": "https://example.org:port"}, "AGB-C03", "is not a URL"),
    ("an unknown kind of credential", {"extra": {"auth_type": "magic"}}, "AGB-C02", "auth_type"),
    ("an unknown version", {"extra": {"api_version": "v9"}}, "AGB-C02", "api_version"),
    ("a limit that is no number", {"extra": {"max_enqueued_tokens": "lots"}}, "AGB-C02", "max_enqueued_tokens"),
]


@pytest.mark.parametrize(
    ("fields", "code", "what"), [case[1:] for case in CONNECTIONS], ids=[c[0] for c in CONNECTIONS]
)
def test_a_connection_that_cannot_work_is_refused(connection, gemini_emulator, tmp_path, fields, code, what):
    connection(**{name: json.dumps(value) if name == "extra" else value for name, value in fields.items()})
    error = refused(gemini_emulator, tmp_path)
    assert error.code == code
    assert what in str(error)
    assert "not-a-key" not in str(error)
    assert "not a key" not in str(error)


def test_a_connection_that_is_not_there_is_named(gemini_emulator, connection, tmp_path):
    error = refused(gemini_emulator, tmp_path, gemini_conn_id="gemini_elsewhere")
    assert (error.code, "'gemini_elsewhere'" in str(error)) == ("AGB-C01", True)


SCHEMA = {"type": "object", "properties": {"stars": {"type": "integer"}}}
ARGUMENTS = [
    ({"model": ""}, "AGB-C05", "'' is not a model name"),
    ({"model": "models/models/x"}, "AGB-C05", "'models/models/x' is not a model name"),
    ({"model": "../x"}, "AGB-C05", "'../x' is not a model name"),
    ({"model": "x:batchGenerateContent"}, "AGB-C05", "is not a model name"),
    ({"model": "gemini 2.5"}, "AGB-C05", "is not a model name"),
    ({"poll_interval": 0}, "AGB-C06", "poll_interval must be a number of seconds from 1 to 3,600, got 0"),
    ({"poll_interval": -1}, "AGB-C06", "poll_interval must be"),
    ({"poll_interval": float("nan")}, "AGB-C06", "poll_interval must be"),
    ({"poll_interval": "soon"}, "AGB-C06", "poll_interval must be"),
    ({"poll_interval": 1e9}, "AGB-C06", "poll_interval must be"),
    ({"timeout": 0}, "AGB-C06", "timeout must be a number of seconds from 1 to 1,209,600, got 0"),
    ({"timeout": True}, "AGB-C06", "timeout must be"),
    ({"timeout": 15 * 86_400}, "AGB-C06", "timeout must be"),
    (
        {"failures": {"max_row_attempts": 0}},
        "AGB-C06",
        "a whole number from 1 to 10, got 0",
    ),
    ({"failures": {"max_row_attempts": 2.5}}, "AGB-C06", "failures.max_row_attempts must be"),
    ({"max_rows_per_job": 0}, "AGB-C06", "max_rows_per_job must be"),
    ({"estimate": {"count_tokens_rows": 1001}}, "AGB-C06", "estimate.count_tokens_rows must be"),
    ({"media": {"inline_up_to": -1}}, "AGB-C06", "media.inline_up_to must be"),
    ({"max_cost_usd": 0}, "AGB-C06", "max_cost_usd must be a sum in USD above 0, got 0"),
    ({"max_cost_usd": -5}, "AGB-C06", "max_cost_usd must be"),
    ({"max_cost_usd": "five"}, "AGB-C06", "max_cost_usd must be"),
    ({"max_cost_usd": float("inf")}, "AGB-C06", "max_cost_usd must be"),
    ({"max_cost_usd": True}, "AGB-C06", "max_cost_usd must be"),
    (
        {"failures": {"on_bad_row": "ignore"}},
        "AGB-C06",
        "on_bad_row must be one of fail, skip, got 'ignore'",
    ),
    ({"failures": {"on_empty": ""}}, "AGB-C06", "failures.on_empty must be one of"),
    ({"failures": {"on_content_change": "pay"}}, "AGB-C06", "failures.on_content_change must be one of"),
    ({"failures": {"on_ambiguous": "wait"}}, "AGB-C06", "failures.on_ambiguous must be one of"),
    ({"results": {"output_format": "csv"}}, "AGB-C06", "results.output_format must be one of"),
    ({"output_type": 3}, "AGB-C06", "output_type must be"),
    ({"media": {"columns": ["photo"]}, "prompt": "x"}, "AGB-C06", "media.columns needs media.path"),
    ({"result_path": "labels"}, "AGB-C08", "result_path 'labels' must be an absolute path or a URI"),
    ({"result_path": ""}, "AGB-C08", "result_path '' must be"),
    ({"result_path": "nowhere://x/y"}, "AGB-C08", "result_path 'nowhere://x/y' cannot be opened"),
    ({"requests": "rows.jsonl"}, "AGB-C08", "requests 'rows.jsonl' must be"),
    ({"media": {"path": "photos"}}, "AGB-C08", "media.path 'photos' must be"),
    ({"prompt": "Rate {0}"}, "AGB-C13", "the field {0} is not the name of a column"),
    ({"prompt": "Rate {text.upper}"}, "AGB-C13", "is not the name of a column"),
    ({"prompt": "Rate {text"}, "AGB-C13", "The prompt cannot be used"),
    ({"media": {"columns": ["photo"], "path": "/p"}}, "AGB-C13", "Columns with media files need a prompt"),
    ({"output_type": "nowhere.Label"}, "AGB-C14", "'nowhere.Label' cannot be imported"),
    ({"output_type": {"type": "thing"}}, "AGB-C14", "it is no valid JSON Schema"),
    (
        {"output_type": SCHEMA, "request_params": {"generation_config": {"response_json_schema": SCHEMA}}},
        "AGB-C14",
        "output_type and the response_json_schema of every row's generationConfig exclude each other",
    ),
    ({"requests": SqlQuery("SELECT 1", conn_id="no_database")}, "AGB-C01", "no_database"),
    ({"requests": SqlQuery("", conn_id="db")}, "AGB-C06", "sql of the SqlQuery must be a text, got ''"),
    ({"requests": SqlQuery("SELECT 1", conn_id=None)}, "AGB-C06", "conn_id of the SqlQuery must be a text"),
    (
        {"requests": SqlQuery("SELECT 1", "db", "x")},
        "AGB-C06",
        "parameters of the SqlQuery must be",
    ),
    ({"requests": "/queries/rows.sql"}, "AGB-C08", "'/queries/rows.sql' is a query"),
    ({"requests": None}, "AGB-C08", "requests must be a path, a URI, a query, a data frame or rows, got NoneType"),
    ({"requests": 3}, "AGB-C08", "requests must be a path"),
    ({"requests": {"key": "a"}}, "AGB-C08", "requests must be a path"),
    ({"model": None}, "AGB-C06", "model must be the name of a model, got None"),
    ({"result_path": None}, "AGB-C08", "result_path must be an absolute path or a URI, got None"),
    ({"result_path": UPath("memory://x", skip=1)}, "AGB-C08", "has storage options of its own (skip)"),
    ({"gemini_conn_id": ""}, "AGB-C06", "gemini_conn_id must be a text"),
    ({"key_column": 3}, "AGB-C06", "key_column must be a text, got 3"),
    ({"dry_run": "perhaps"}, "AGB-C06", "dry_run must be True or False, got 'perhaps'"),
    ({"fail_on_partial_error": 2}, "AGB-C06", "fail_on_partial_error must be True or False, got 2"),
    ({"deferrable": "{{ params.d }}"}, "AGB-C06", "and it is not templated"),
    ({"results": {"keep_order": [True]}}, "AGB-C06", "results.keep_order must be True or False"),
    ({"max_failed_fraction": "5 %"}, "AGB-C06", "max_failed_fraction must be a share from 0 to 1"),
    ({"max_failed_fraction": float("nan")}, "AGB-C06", "max_failed_fraction must be"),
    ({"results": {"keep_columns": "day"}}, "AGB-C06", "results.keep_columns must be a list of names"),
    ({"media": {"columns": "photo", "path": "/p"}}, "AGB-C06", "media.columns must be a list of names"),
    ({"request_params": ["x"]}, "AGB-C06", "request_params must be a dict"),
    (
        {"request_params": {"generationConfig": {"temprature": 1}}},
        "AGB-C06",
        'unknown field "temprature" in request.generationConfig. Did you mean temperature?',
    ),
    ({"request_params": {"temperature": 1}}, "AGB-C06", "Did you mean request.generationConfig.temperature?"),
    ({"request_params": {"generationConfig": {"temperature": 9}}}, "AGB-C06", "temperature"),
    ({"system_prompt": '{{"a": 1}} {{'}, "AGB-C13", "system_prompt cannot be rendered by Jinja: line 1"),
    ({"system_prompt": 3}, "AGB-C13", "system_prompt must be a text, got int"),
    ({"output_type": ["x"]}, "AGB-C06", "output_type must be a pydantic model"),
    ({"media": "/photos"}, "AGB-C06", "media must be MediaOptions(...), got '/photos'"),
    ({"failures": MediaOptions()}, "AGB-C06", "failures must be FailureOptions(...)"),
    ({"results": {"keep_ordr": True}}, "AGB-C06", "results has no option 'keep_ordr'"),
    (
        {"failures": {"on_content_change": "resubmit"}},
        "AGB-C06",
        "one of fail, cancel_and_resubmit, adopt, got",
    ),
    ({"max_failed_fraction": 0.1, "fail_on_partial_error": True}, "AGB-C06", "exclude each other"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "what"), ARGUMENTS, ids=[str(case[0])[1:-1][:50] for case in ARGUMENTS]
)
def test_an_argument_that_cannot_work_is_refused(connection, gemini_emulator, tmp_path, arguments, code, what):
    error = refused(gemini_emulator, tmp_path, **arguments)
    assert error.code == code
    assert what in str(error)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("prompt", "Day {{ ds }}: {text}"),
        ("prompt", 'Answer {"a": 1} for {text}'),
    ],
)
def test_a_prompt_that_cannot_be_meant_is_an_import_error_of_its_dag(argument, text):
    with pytest.raises(ConfigError, match="AGB-C13"):
        GeminiBatchOperator(task_id="label", result_path="/out", **GOOD, **{argument: text})


async def ask_later(row):
    return row["text"]


@pytest.mark.parametrize("operator", [GeminiBatchOperator, GeminiEmbeddingsBatchOperator])
def test_an_async_prompt_function_is_an_import_error_of_its_dag(operator):
    with pytest.raises(ConfigError, match="AGB-C13 The prompt is an async function"):
        operator(task_id="t", model="m", requests=[ROW], result_path="/out", prompt=ask_later)


@pytest.mark.parametrize(
    ("argument", "given", "meant"),
    [
        ("dry_run", "False", False),
        ("dry_run", " TRUE ", True),
        ("wait_for_completion", "no", False),
        ("results", {"keep_order": 1}, ResultOptions(keep_order=True, keep_columns=[])),
        ("failures", {"cancel_on_kill": "off"}, FailureOptions(cancel_on_kill=False)),
        ("timeout", "90", 90.0),
        ("timeout", timedelta(hours=2), 7200.0),
        ("timeout", "1 day, 1:00:00", 90_000.0),
        ("timeout", "0:30:00", 1800.0),
        ("poll_interval", "2.5", 2.5),
        ("max_cost_usd", "0.10", Decimal("0.10")),
        ("max_failed_fraction", "0.05", 0.05),
        ("max_rows_per_job", "500", 500),
    ],
)
def test_a_text_is_read_as_what_it_says(argument, given, meant):
    task = GeminiBatchOperator(**GOOD | {"task_id": "t", "result_path": "/out", argument: given})
    name = "is_dry_run" if argument == "dry_run" else argument
    assert getattr(task, name) == given
    assert task._checked()[name] == meant


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("conn_id", "Use gemini_conn_id."),
        ("key", "Use key_column."),
        ("shard_rows", "Use max_rows_per_job."),
        ("files_path", "Use media=MediaOptions(path=...)."),
        ("keep_order", "Use results=ResultOptions(keep_order=...)."),
        ("on_empty", "Use failures=FailureOptions(on_empty=...)."),
        ("estimate_from", "Use estimate=EstimateOptions(earlier_results=...)."),
        ("retry_failed_rows", "Use failures=FailureOptions(max_row_attempts=1)."),
    ],
)
def test_an_argument_of_the_version_before_is_refused_with_its_new_name(old, new):
    with pytest.raises(ConfigError) as caught:
        GeminiBatchOperator(**GOOD | {"task_id": "t", "result_path": "/out", old: "x"})
    assert (caught.value.code, caught.value.remedy) == ("AGB-C06", new)


def test_every_argument_is_an_attribute_as_it_was_given():
    given = {
        "model": "{{ params.model }}",
        "requests": Path("/in/{{ ds }}.jsonl"),
        "result_path": Path("/out/{{ ds }}"),
        "gemini_conn_id": "gemini_other",
        "media": MediaOptions(path="/photos/{{ ds }}"),
        "failures": {"on_empty": "skip"},
        "timeout": timedelta(hours=3),
        "poll_interval": timedelta(minutes=1),
        "max_cost_usd": "5",
    }
    task = GeminiBatchOperator(task_id="t", **given)
    assert {name: getattr(task, name) for name in given} == given


def test_the_front_of_the_operator_has_at_most_25_arguments():
    front = [name for name in inspect.signature(GeminiBatchOperator.__init__).parameters if name != "kwargs"]
    assert len(front) - len(["self"]) <= 25


def test_a_template_inside_options_and_paths_is_rendered():
    task = GeminiBatchOperator(
        **GOOD | {"task_id": "t", "requests": Path("/in/{{ day }}.jsonl")},
        result_path=Path("/out/{{ day }}"),
        media=MediaOptions(path=Path("/photos/{{ day }}")),
        failures={"on_content_change": "{{ policy }}"},
        estimate=EstimateOptions(earlier_results="/out/{{ day }}"),
    )
    task.render_template_fields({"day": "monday", "policy": "adopt"})
    checked = task._checked()
    assert [task.requests, checked["result_path"]] == ["/in/monday.jsonl", "/out/monday"]
    assert checked["media"].path == "/photos/monday"
    assert checked["failures"].on_content_change == "adopt"
    assert checked["estimate"].earlier_results == "/out/monday"


class Capped(GeminiBatchOperator):
    template_fields = (*GeminiBatchOperator.template_fields, "max_rows_per_job")


def test_a_subclass_may_template_another_argument_and_it_is_checked_then():
    task = Capped(**GOOD | {"task_id": "t", "result_path": "/out", "max_rows_per_job": "{{ params.rows }}"})
    task.max_rows_per_job = "4"
    assert task._checked()["max_rows_per_job"] == 4
    task.max_rows_per_job = "none"
    with pytest.raises(ConfigError, match="AGB-C06 max_rows_per_job must be a whole number from 1"):
        task._checked()


LOAD = {"task_id": "load", "manifest": {}, "conn_id": "db", "table": "labels", "columns": {"id": "key"}}


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"columns": {"id": "kye"}}, "AGB-C12", "'kye' is not in a result row. Did you mean 'key'?"),
        ({"columns": {"id": "key", "n": 3}}, "AGB-C12", "3 is not the path of a value"),
        ({"columns": {"text": "text"}}, "AGB-C12", "columns maps no column to 'key'"),
        ({"columns": {"a": "key", "b": "key"}}, "AGB-C12", "columns maps 'a' and 'b' to 'key'"),
        ({"columns": {"id; DROP": "key"}}, "AGB-C12", "'id; DROP' is not a plain name"),
        ({"columns": ["id"]}, "AGB-C06", "columns must be a dict"),
        ({"key_column": "other"}, "AGB-C12", "columns must map the key column 'other'"),
        ({"table": "a b"}, "AGB-C12", "'a b' is not a plain name"),
        ({"table": None}, "AGB-C12", "None is not a plain name"),
        ({"only": "success"}, "AGB-C12", "only must be a list of"),
        ({"only": ["sucess"]}, "AGB-C12", "only must be a list of"),
        ({"manifest": None}, "AGB-C06", "manifest must be a dict, got None"),
        ({"manifest": "no dict"}, "AGB-C06", "manifest must be a dict"),
    ],
)
def test_an_argument_of_the_loader_is_checked_where_its_dag_is_read(changes, code, what):
    with pytest.raises(ConfigError) as caught:
        GeminiResultsToSqlOperator(**LOAD | changes)
    assert (caught.value.code, what in str(caught.value)) == (code, True), caught.value


def test_the_key_column_of_the_loader_is_the_one_that_gets_the_key():
    assert (
        GeminiResultsToSqlOperator(**LOAD | {"columns": {"text": "text", "nr": "key"}})._target("t").key_column
        == "nr"
    )


def test_a_manifest_may_be_the_text_that_a_template_yields():
    task = GeminiResultsToSqlOperator(**LOAD | {"manifest": "{{ ti.xcom_pull('label') }}"})
    task.manifest = "{'job_name': 'batches/a'}"
    task._check_rendered()
    assert task.manifest == {"job_name": "batches/a"}


def test_a_path_of_pathlib_is_as_good_as_its_text(connection, gemini_emulator, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    task = GeminiBatchOperator(
        task_id="label",
        **GOOD | {"requests": tmp_path / "rows.jsonl"},
        result_path=tmp_path / "out",
        media=MediaOptions(path=tmp_path),
        estimate=EstimateOptions(earlier_results=tmp_path / "earlier"),
    )
    checked = task._checked()
    paths = [checked["result_path"], checked["media"].path, checked["estimate"].earlier_results]
    assert paths == [
        str(tmp_path / "out"),
        str(tmp_path),
        str(tmp_path / "earlier"),
    ]
    assert run(tmp_path, requests=tmp_path / "rows.jsonl")["counts"] == {"success": 1}


def test_requests_beside_a_function_that_gives_them_are_refused():
    with pytest.raises(ConfigError, match=r"AGB-C06 @task\.gemini_batch takes no requests"):
        gemini_batch_task(model="m", requests=[ROW], result_path="/out")


def test_a_model_without_a_price_is_refused_if_the_cost_is_limited(connection, gemini_emulator, tmp_path):
    prices = json.loads(SHIPPED_PRICES.read_text())
    prices["models"] = [price for price in prices["models"] if price["model"] != GOOD["model"]]
    (tmp_path / "prices.json").write_text(json.dumps(prices))
    connection(extra=json.dumps({"prices": str(tmp_path / "prices.json")}))
    error = refused(gemini_emulator, tmp_path, BudgetError, max_cost_usd=1)
    assert error.code == "AGB-C09"
    assert "max_cost_usd is 1, and no price is known for gemini-2.5-flash" in str(error)


@pytest.mark.parametrize(
    ("operator", "model", "what", "remedy"),
    [
        (GeminiBatchOperator, "gemini-embedding-001", "generateContent", "GeminiEmbeddingsBatchOperator"),
        (GeminiEmbeddingsBatchOperator, "gemini-2.5-flash", "embedContent", "GeminiBatchOperator"),
    ],
)
def test_a_model_of_the_other_kind_is_refused(
    connection, gemini_emulator, tmp_path, operator, model, what, remedy
):
    rows = [{"id": 1, "text": "hi"}]
    error = refused(
        gemini_emulator, tmp_path, operator=operator, model=model, requests=rows, key_column="id", prompt="{text}"
    )
    assert error.code == "AGB-C05"
    assert f"The model '{model}' does not support {what}. It supports" in str(error)
    assert f"Use {remedy}" in error.remedy


def test_the_arguments_that_the_cases_change_are_good_otherwise(connection, tmp_path):
    assert run(tmp_path)["counts"] == {"success": 1}
