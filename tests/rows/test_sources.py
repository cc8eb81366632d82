"""Rows come from files of every kind, from queries, from data frames and from Python, a block at a time."""

import bz2
import csv
import gzip
import json
import lzma
import os
import sqlite3
from contextlib import closing

import fsspec
import pandas
import polars
import pyarrow
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet
from upath import UPath

from airflow_provider_batch.errors import ConfigError, InputError
from airflow_provider_batch.rows.read import Record
from airflow_provider_batch.rows.read.choice import source_of
from airflow_provider_batch.rows.read.files import MAX_TEXT_BYTES
from airflow_provider_batch.rows.read.tables import QueryRows

TABLE = [{"id": "a", "text": "first, with comma"}, {"id": "b", "text": 'second\n"quoted" ü'}]


def rows(given):
    return [record.data for record in source_of(given)]


def write_csv(path, opener=open, delimiter=","):
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(TABLE)
    return UPath(path)


@pytest.mark.parametrize(
    ("name", "opener", "delimiter"),
    [
        ("rows.csv", open, ","),
        ("rows.tsv", open, "\t"),
        ("rows.csv.gz", gzip.open, ","),
        ("rows.CSV.bz2", bz2.open, ","),
        ("rows.csv.xz", lzma.open, ","),
    ],
)
def test_a_csv_file_gives_one_mapping_for_each_row(tmp_path, name, opener, delimiter):
    assert rows(write_csv(tmp_path / name, opener, delimiter)) == TABLE


def test_a_csv_row_is_named_by_its_last_line(tmp_path):
    records = list(source_of(write_csv(tmp_path / "rows.csv")))
    assert [(r.unit, r.number) for r in records] == [("line", 2), ("line", 4)]


def test_a_csv_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufeffid,text\r\na,b\r\n".encode())
    assert rows(UPath(path)) == [{"id": "a", "text": "b"}]


def test_a_csv_row_with_another_number_of_values_has_no_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,text\na,b\nc\nd,e,f\n")
    assert rows(UPath(path)) == [{"id": "a", "text": "b"}, {}, {}]


def test_a_packed_file_of_json_lines_is_unpacked(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1}\n{"id": 2}\n'))
    assert rows(UPath(path)) == [b'{"id": 1}', b'{"id": 2}']


def test_a_parquet_file_gives_typed_values(tmp_path):
    table = pyarrow.table({"id": [1, 2], "score": [0.5, None], "tags": [["x"], []]})
    parquet.write_table(table, tmp_path / "rows.parquet")
    assert rows(UPath(tmp_path / "rows.parquet")) == [
        {"id": 1, "score": 0.5, "tags": ["x"]},
        {"id": 2, "score": None, "tags": []},
    ]


@pytest.mark.parametrize("given", ["", "*.jsonl", "part-[12].jsonl"], ids=["folder", "star", "class"])
def test_several_files_are_read_in_the_order_of_their_names(tmp_path, given):
    for name in ("part-2.jsonl", "part-1.jsonl"):
        (tmp_path / name).write_text(json.dumps(name) + "\n")
    records = list(source_of(UPath(tmp_path) / given if given else UPath(tmp_path)))
    assert [(r.data, r.file[-12:]) for r in records] == [
        (b'"part-1.jsonl"', "part-1.jsonl"),
        (b'"part-2.jsonl"', "part-2.jsonl"),
    ]


def test_markers_of_other_tools_in_a_folder_are_passed_over(tmp_path):
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".crc").write_text("x")
    (tmp_path / "part.jsonl").write_text("{}\n")
    assert rows(UPath(tmp_path)) == [b"{}"]


def test_a_file_on_any_fsspec_store_is_read(tmp_path):
    path = UPath("memory://bucket/rows.csv")
    path.write_text("id\n7\n")
    assert rows(path) == [{"id": "7"}]


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("rows.csv", b"id,id\n1,2\n", "AGB-I26", "two columns of the same name"),
        ("rows.csv", b'id\n"open\n', "AGB-I26", "cannot be read"),
        ("rows.csv", "id\nü\n".encode("latin-1"), "AGB-I08", "is not UTF-8 .*. Save it as UTF-8"),
        ("rows.csv", "id\nü\n".encode("utf-16"), "AGB-I08", "is not UTF-8 .*. Save it as UTF-8"),
        ("rows.csv", gzip.compress(b"id\n1\n", mtime=0), "AGB-I08", "is not UTF-8 .*. Save it as UTF-8"),
        ("rows.parquet", b"PAR1 not really", "AGB-I26", "cannot be read"),
        ("rows.jsonl.gz", b"not gzip\n", "AGB-I26", "cannot be read"),
        ("rows.jsonl.gz", gzip.compress(b"{}\n" * 1000, mtime=0)[:-20], "AGB-I26", "cannot be read"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, name, content, code, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        rows(UPath(tmp_path / name))
    assert (caught.value.code, str(tmp_path / name) in str(caught.value)) == (code, True)


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"AGB-I24 .* matches no file"):
        rows(UPath(tmp_path / "*.jsonl"))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(InputError, match=r"AGB-I23 .* is not a regular file"):
        rows(UPath(tmp_path / "pipe.jsonl"))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused_instead_of_read(path):
    with pytest.raises(InputError, match=rf"AGB-I23 {path} is not a regular file"):
        rows(UPath(path))


class Locked(MemoryFileSystem):
    """A store that lets nobody read."""

    protocol = "locked"

    def _open(self, path, *args, **kwargs):
        raise PermissionError(path)


def test_a_file_that_may_not_be_read_is_named():
    fsspec.register_implementation("locked", Locked, clobber=True)
    with pytest.raises(InputError, match=r"AGB-I24 locked://bucket/rows\.jsonl may not be read by this task"):
        rows(UPath("locked://bucket/rows.jsonl"))


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    reading = iter(source_of(UPath(path)))
    next(reading)
    with path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match=r"AGB-I22 .* changed while it was read"):
        list(reading)


def test_a_query_gives_its_columns_by_name(tmp_path):
    with closing(sqlite3.connect(tmp_path / "db")) as db, db:
        db.execute("CREATE TABLE t (id INTEGER, text TEXT)")
        db.executemany("INSERT INTO t VALUES (?, ?)", [(n, f"text {n}") for n in range(2_500)])
    query = QueryRows(lambda: sqlite3.connect(tmp_path / "db"), "SELECT * FROM t WHERE id >= ? ORDER BY id", [10])
    found = list(query)
    assert len(found) == 2_490
    assert found[0] == Record(1, {"id": 10, "text": "text 10"})


@pytest.mark.parametrize(
    "frame",
    [
        pandas.DataFrame({"id": [1, 2], "text": ["a", None]}),
        polars.DataFrame({"id": [1, 2], "text": ["a", None]}),
        pyarrow.table({"id": [1, 2], "text": ["a", None]}),
    ],
    ids=["pandas", "polars", "arrow"],
)
def test_a_data_frame_gives_plain_values(frame):
    assert rows(frame) == [{"id": 1, "text": "a"}, {"id": 2, "text": None}]


def two_columns(tmp_path, kind):
    """Two columns of one name, as a join gives them."""
    table = pyarrow.table([pyarrow.array([1]), pyarrow.array([2])], names=["id", "id"])
    if kind == "query":
        return QueryRows(lambda: sqlite3.connect(tmp_path / "db"), "SELECT 1 AS id, 2 AS id")
    if kind == "Parquet":
        parquet.write_table(table, tmp_path / "rows.parquet")
        return source_of(UPath(tmp_path / "rows.parquet"))
    return source_of(table if kind == "Arrow" else pandas.DataFrame([[1, 2]], columns=["id", "id"]))


@pytest.mark.parametrize("kind", ["query", "Parquet", "Arrow", "pandas"])
def test_two_columns_of_one_name_are_refused_and_none_is_dropped(tmp_path, kind):
    with pytest.raises(InputError, match=r"AGB-I26 .* has two columns of the same name, 'id'"):
        list(two_columns(tmp_path, kind))


def test_a_generator_is_read_row_by_row():
    taken = []

    def generate():
        for number in range(3):
            taken.append(number)
            yield {"id": number}

    reading = iter(source_of(generate()))
    assert (next(reading).data, taken) == ({"id": 0}, [0])


@pytest.mark.parametrize("given", ["text", {"key": "a"}, 7, None], ids=repr)
def test_what_holds_no_rows_is_refused(given):
    with pytest.raises(ConfigError, match="AGB-C08"):
        source_of(given)


TEXTS = {"a.txt": "first", "b.txt": "second ü", "deep/a.txt": "third", "notes.md": "# fourth", "_skip.txt": "?"}


@pytest.fixture(params=["local", "object storage"])
def texts(request, tmp_path):
    root = UPath(tmp_path) if request.param == "local" else UPath(f"memory://texts{tmp_path}")
    for name, text in TEXTS.items():
        (root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "in" / name).write_bytes(text.encode())
    return root / "in"


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("[ab].txt", ["a.txt", "b.txt"]),
        ("**/a.txt", ["a.txt", "deep/a.txt"]),
        ("deep/*.txt", ["a.txt"]),
        ("*.md", ["notes.md"]),
        ("b.txt", ["b.txt"]),
        ("", ["a.txt", "b.txt", "notes.md"]),
    ],
)
def test_each_text_file_is_one_row_whose_key_is_its_name(texts, given, keys):
    found = list(source_of(texts / given if given else texts))
    assert [record.data["key"] for record in found] == keys
    wanted = {name: text for name, text in TEXTS.items() if name != "deep/a.txt"}
    if given == "deep/*.txt":
        wanted = {"a.txt": "third"}
    assert [r.data["text"] for r in found if r.data["key"] != "deep/a.txt"] == [
        wanted[key] for key in keys if key != "deep/a.txt"
    ]


def test_a_packed_text_with_a_byte_order_mark_is_its_text(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("\ufeffone\ntwo".encode()))
    assert rows(UPath(tmp_path / "*.txt.gz")) == [{"key": "a.txt.gz", "text": "one\ntwo"}]


@pytest.mark.parametrize(
    ("content", "code", "what"),
    [
        ("ü".encode("latin-1"), "AGB-I08", "not valid UTF-8 at byte 1. Save it as UTF-8"),
        ("ü".encode("utf-16"), "AGB-I08", "not valid UTF-8 at byte 1. Save it as UTF-8"),
        (b"x" * (MAX_TEXT_BYTES + 1), "AGB-I19", "a text of more than 16 MiB"),
    ],
    ids=["Latin-1", "UTF-16", "too long"],
)
def test_a_text_that_cannot_be_sent_is_a_bad_row_beside_good_ones(tmp_path, content, code, what):
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "b.txt").write_text("good")
    bad, good = source_of(UPath(tmp_path / "*.txt"))
    assert (bad.data.code, what in bad.data.what, bad.file) == (code, True, str(tmp_path / "a.txt"))
    assert good.data == {"key": "b.txt", "text": "good"}


def test_a_csv_row_with_a_bad_quotation_mark_is_named_and_the_rest_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('id,text\na,"x"\nb,"one" two\nc,"three\nlines" "\nd,"y"\n')
    first, second, third, last = source_of(UPath(path))
    assert (first.data, last.data, last.number) == ({"id": "a", "text": "x"}, {"id": "d", "text": "y"}, 6)
    assert (second.number, second.data.code, second.data.data) == (3, "AGB-I26", b'b,"one" two\n')
    assert (third.number, "a bad quotation mark on line 5" in third.data.what) == (4, True)


def test_a_quotation_mark_that_is_never_closed_names_its_line_and_the_file(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('id,text\na,x\nb,"open\nc,y\nd,z\n')
    reading = iter(source_of(UPath(path)))
    next(reading)
    with pytest.raises(InputError, match=r"AGB-I26 .*in the row of line 3 is never closed"):
        next(reading)
