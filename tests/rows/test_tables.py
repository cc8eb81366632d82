"""Results go into a SQL table once, however often they are loaded."""

import sqlite3
from contextlib import closing

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import ResultRow, RowError, RowStatus, Usage
from airflow_provider_batch.rows.write.sql import Target, load_rows

ROWS = [
    ResultRow(
        "a",
        RowStatus.SUCCESS,
        text='{"label": "good", "tags": ["x"]}',
        usage=Usage(5, 0, 2),
        source={"day": "mon"},
    ),
    ResultRow("b", RowStatus.ERROR, error=RowError(3, "no; DROP TABLE labels")),
]
COLUMNS = {
    "id": "key",
    "status": "status",
    "label": "text.label",
    "tags": "text.tags",
    "tokens": "usage.output",
    "day": "source.day",
    "why": "error.message",
}
TARGET = Target("labels", COLUMNS, "id")


@pytest.fixture
def db(tmp_path):
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute(f"CREATE TABLE labels ({', '.join(COLUMNS)})")
        connection.commit()
        yield connection


def labels(db):
    return db.execute("SELECT * FROM labels ORDER BY id").fetchall()


def test_values_are_found_by_their_paths_and_bound_as_data(db):
    assert load_rows(db, TARGET, ROWS) == 2
    assert labels(db) == [
        ("a", "success", "good", '["x"]', 2, "mon", None),
        ("b", "error", None, None, None, None, "no; DROP TABLE labels"),
    ]


def test_loading_again_changes_nothing_and_leaves_other_rows_alone(db):
    db.execute("INSERT INTO labels (id, label) VALUES ('z', 'mine')")
    load_rows(db, TARGET, ROWS)
    before = labels(db)
    load_rows(db, TARGET, ROWS)
    assert labels(db) == before
    assert len(before) == 3


def test_a_failure_in_the_middle_leaves_the_table_as_it_was(db):
    def breaking():
        yield from (ResultRow(str(n), RowStatus.SUCCESS) for n in range(1_200))
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        load_rows(db, TARGET, breaking())
    assert labels(db) == []


def test_many_rows_are_loaded_block_by_block(db):
    rows = [ResultRow(f"{n:05}", RowStatus.SUCCESS) for n in range(1_234)]
    assert load_rows(db, Target("labels", {"id": "key"}, "id"), iter(rows)) == len(labels(db)) == 1_234


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        ("labels; DROP TABLE x", {"id": "key"}, "not a plain name"),
        ("labels", {"id": "key", 'a"b': "text"}, "not a plain name"),
        ("labels", {"id": "key", "x": "answer"}, "is not in a result row"),
        ("labels", {"id": "key", "x": "usage.outputs"}, "usage has input, cached, output, thinking, audio"),
        ("labels", {"id": "key", "x": "error.text"}, "error has code, message"),
        ("labels", {"id": "key", "x": "usage.output.more"}, "is not in a result row"),
        ("labels", {"id": "key", "x": "status.value"}, "status has nothing inside"),
        ("labels", {"id": "text"}, "must map the key column 'id' to 'key'"),
    ],
)
def test_a_target_that_is_not_plain_is_refused(table, columns, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Target(table, columns, "id")
    assert caught.value.code == "AGB-C12"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("parsed.label", "it needs an output_type"),
        ("parsed", "it needs an output_type"),
        ("source.dya", "it has what keep_columns names"),
        ("text.labell", "needs answers that are JSON objects"),
        ("text.label.upper", "needs answers that are JSON objects"),
        ("response.nothing", "what the API answered"),
    ],
)
def test_a_path_that_no_success_has_leaves_the_table_as_it_was(db, path, words):
    load_rows(db, TARGET, ROWS)
    before = labels(db)
    with pytest.raises(ConfigError, match=f"'{path}' is not in the only success") as caught:
        load_rows(db, Target("labels", COLUMNS | {"label": path}, "id"), ROWS)
    assert (caught.value.code, words in str(caught.value)) == ("AGB-C12", True)
    assert labels(db) == before


def test_a_path_needs_only_one_success_and_null_is_a_value(db):
    rows = [
        ResultRow("a", RowStatus.SUCCESS, text='{"label": null}', source={"day": None}),
        ResultRow("b", RowStatus.SUCCESS, text="no JSON", source={"day": None}),
    ]
    target = Target("labels", {"id": "key", "label": "text.label", "day": "source.day"}, "id")
    assert load_rows(db, target, rows) == 2
    assert [row[:3] for row in labels(db)] == [("a", None, None), ("b", None, None)]


def test_rows_without_any_success_are_loaded_whatever_the_paths(db):
    assert load_rows(db, TARGET, ROWS[1:]) == 1
