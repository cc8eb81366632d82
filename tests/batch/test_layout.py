"""Results in the order of the input, with columns of the source, as lines or as Parquet."""

from __future__ import annotations

import json

import pyarrow
import pytest
from pyarrow import parquet

from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.write.parquet import read_parquet, write_parquet
from faults.task import ask
from tests.batch.conftest import read

KEYS = [f"{n:02}" for n in range(20)]
TABLE = Layout(format="parquet")


@pytest.fixture
def shuffled(task, gemini_emulator):
    """A task of twenty rows in four jobs, whose results come in another order."""
    gemini_emulator.add_fault(action="rows", mutation="shuffle", times=None)
    return task.but(rows=[ask(key) for key in KEYS], limits=ShardLimits(rows=5))


def test_results_come_in_any_order_unless_asked_for(shuffled):
    assert [row.key for row in read(shuffled, shuffled.finish())] != KEYS


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_stand_in_the_order_of_the_input_across_jobs(shuffled, form):
    task = shuffled.but(layout=Layout(format=form, in_input_order=True))
    assert [row.key for row in read(task, task.finish())] == KEYS


def test_rows_that_were_sent_again_keep_their_place(shuffled, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["07", "03"], times=2)
    task = shuffled.but(layout=Layout(in_input_order=True))
    manifest = task.finish()
    assert (manifest.rounds, [row.key for row in read(task, manifest)]) == (2, KEYS)


def test_kept_columns_stand_beside_the_answers_of_their_rows(shuffled):
    rows = [ask(key) | {"metadata": {"n": int(key)}} for key in KEYS]
    task = shuffled.but(rows=rows, keep_columns=("metadata", "key"))
    assert [(row.key, row.source) for row in read(task, task.finish())] == [
        (key, {"metadata": {"n": int(key)}, "key": key}) for key in KEYS
    ]


def test_kept_columns_that_are_gone_are_named_and_nothing_is_published(task, gemini_emulator):
    task = task.but(keep_columns=("key",))
    task.attempt()
    (columns,) = [path for path in task.ledger.folder.iterdir() if path.name.startswith("columns.")]
    columns.unlink()
    with pytest.raises(LedgerError, match="AGB-L02 The results cannot be put in order: columns"):
        task.finish()
    assert not (task.folder / "manifest.json").exists()


def test_a_parquet_file_has_a_typed_column_for_each_fact(task):
    task = task.but(layout=TABLE, keep_columns=("key", "request"))
    manifest = task.finish()
    assert manifest.result_uri.endswith("results.parquet")
    with (task.folder / "results.parquet").open("rb") as file:
        table = parquet.read_table(file)
    kinds = {name: str(table.schema.field(name).type) for name in ("status", "input_tokens", "error_code")}
    assert kinds == {"status": "string", "input_tokens": "int64", "error_code": "int64"}
    assert table["source_key"].to_pylist() == ["a", "b", "c"]
    assert json.loads(table["source_request"].to_pylist()[0]) == ask("a")["request"]


def test_both_formats_give_the_same_rows(task, gemini_emulator, folder):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], times=None)
    lines = task.but(keep_columns=("key",))
    table = lines.but(layout=TABLE, identity=Identity("dag", "label", "other"), folder=folder / "table")
    # Each answer has an id of its own.
    seen = [
        [(row.key, row.status, row.text, row.finish_reason, row.usage, row.error, row.source) for row in rows]
        for rows in (read(lines, lines.finish()), read(table, table.finish()))
    ]
    assert seen[0] == seen[1]


def test_a_format_that_changes_between_tries_is_that_of_the_first(task):
    task.attempt()
    assert task.but(layout=TABLE).finish().result_uri.endswith("results.jsonl")


def test_vectors_are_lists_of_one_length_in_parquet(tmp_path):
    source, target = tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
    source.write_text('{"key":"a","status":"success","vector":[0.5,1]}\n{"key":"b","status":"error"}\n')
    with source.open("rb") as lines, target.open("wb") as out:
        write_parquet(lines, out)
    field = parquet.read_schema(target).field("vector")
    assert field.type == pyarrow.list_(pyarrow.float32(), 2)
    with target.open("rb") as file:
        assert [row.vector for row in read_parquet(file)] == [[0.5, 1.0], None]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2**63 - 1], "int64"),
        ([1, 2**63], "string"),
        ([1, 0.5], "double"),
        ([2**60, 0.5], "string"),
        ([True, 1], "string"),
        ([None, "x"], "string"),
        ([[1], {"a": 2}], "string"),
    ],
    ids=["long", "too long", "mixed", "not exact as a float", "booleans and numbers", "text", "deep"],
)
def test_a_kept_column_gets_a_type_that_holds_all_its_values(tmp_path, values, kind):
    rows = [{"key": str(n), "status": "success", "source": {"v": value}} for n, value in enumerate(values)]
    source, target = tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with source.open("rb") as lines, target.open("wb") as out:
        write_parquet(lines, out)
    table = parquet.read_table(target)
    assert str(table.schema.field("source_v").type) == kind
    read = table["source_v"].to_pylist()
    texts = [v if v is None or isinstance(v, str) else json.dumps(v, separators=(",", ":")) for v in values]
    assert read == (texts if kind == "string" else values)
