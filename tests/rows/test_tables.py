"""Results go into a SQL table once, however often they are loaded."""

import sqlite3
from contextlib import closing

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import ResultRow, RowError, RowStatus, Usage
from airflow_provider_batch.rows.tables import Target, load_rows

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
    assert load_rows(db, TARGET, iter(rows)) == len(labels(db)) == 1_234


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        ("labels; DROP TABLE x", {"id": "key"}, "not a plain name"),
        ("labels", {"id": "key", 'a"b': "text"}, "not a plain name"),
        ("labels", {"id": "key", "x": "answer"}, "is not in a result row"),
        ("labels", {"id": "text"}, "must map the key column 'id' to 'key'"),
    ],
)
def test_a_target_that_is_not_plain_is_refused(table, columns, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Target(table, columns, "id")
    assert caught.value.code == "AGB-C12"
