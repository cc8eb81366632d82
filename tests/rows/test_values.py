"""Each type of column has one text, the same from every source, or is refused by the name of its column."""

from __future__ import annotations

import enum
import json
import sqlite3
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import numpy
import pandas
import polars
import pyarrow
import pytest
from pyarrow import parquet
from upath import UPath

from airflow_provider_batch.errors import InputError
from airflow_provider_batch.gemini.rows.embeddings import EmbeddingTemplate
from airflow_provider_batch.gemini.rows.requests import RequestTemplate
from airflow_provider_batch.rows.check.staging import Intake
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.read.choice import source_of
from airflow_provider_batch.rows.read.tables import QueryRows
from tests.rows.test_staging import staged_with

CAFE = "café"
BERLIN = ZoneInfo("Europe/Berlin")


class Mood(str, enum.Enum):
    GOOD = "good"


class Level(enum.IntEnum):
    HIGH = 3


def asked(value, template="{x}"):
    line = json.loads(RequestTemplate(template, "id").line({"id": 1, "x": value}))
    return line["request"]["contents"][0]["parts"][0]["text"]


TEXTS = [
    (CAFE, CAFE),
    (numpy.str_(CAFE), CAFE),
    (Mood.GOOD, "good"),
    (Level.HIGH, "3"),
    (CAFE.encode(), CAFE),
    (bytearray(CAFE.encode()), CAFE),
    (memoryview(CAFE.encode()), CAFE),
    (numpy.bytes_(CAFE.encode()), CAFE),
    (True, "true"),
    (numpy.bool_(False), "false"),
    (7, "7"),
    (-(10**40), "-1" + "0" * 40),
    (numpy.int64(-7), "-7"),
    (numpy.uint8(7), "7"),
    (0.5, "0.5"),
    (1e22, "1" + "0" * 22),
    (1.5e-7, "0.00000015"),
    (1234567890123456.0, "1234567890123456.0"),
    (numpy.float32(0.1), "0.1"),
    (numpy.float64(1e22), "1" + "0" * 22),
    (Decimal("1.10"), "1.10"),
    (Decimal("1E+22"), "1" + "0" * 22),
    (Decimal("1E-9"), "0.000000001"),
    (date(2026, 1, 31), "2026-01-31"),
    (datetime(2026, 1, 31, 10, 30), "2026-01-31T10:30:00"),
    (datetime(2026, 1, 31, 10, 30, tzinfo=timezone.utc), "2026-01-31T10:30:00+00:00"),
    (datetime(2026, 7, 1, 10, 30, tzinfo=BERLIN), "2026-07-01T10:30:00+02:00"),
    (pandas.Timestamp("2026-01-31T10:30:00.000000001Z"), "2026-01-31T10:30:00.000000001+00:00"),
    (numpy.datetime64("2026-01-31T10:30"), "2026-01-31T10:30"),
    (time(10, 30), "10:30:00"),
    (timedelta(days=1, hours=2, seconds=0.5), "P1DT2H0.5S"),
    (timedelta(), "PT0S"),
    (-timedelta(minutes=90), "-PT1H30M"),
    (pandas.Timedelta("1 day 1 ns"), "P1DT0.000000001S"),
    (numpy.timedelta64(90, "m"), "PT1H30M"),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (PurePosixPath("a/b"), "a/b"),
    (["a", 1, None, 1e22], '["a",1,null,10000000000000000000000]'),
    ({"a": {"b": CAFE}}, '{"a":{"b":"café"}}'),
    ({"when": date(2026, 1, 31), "raw": CAFE.encode(), "n": Decimal("1.10")}, None),
    ((1, 2), "[1,2]"),
    ({"b", "a"}, '["a","b"]'),
    (numpy.arange(2000), "[" + ",".join(map(str, range(2000))) + "]"),
    (numpy.array([[0.5, numpy.nan]]), "[[0.5,null]]"),
    (numpy.array(["2026-01-31"], "datetime64[D]"), '["2026-01-31"]'),
    (polars.Series([1, 2]), "[1,2]"),
    (pandas.Series([1, 2]), "[1,2]"),
    (pyarrow.scalar(CAFE), CAFE),
    ([True, {"x": False}], '[true,{"x":false}]'),
]


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=lambda one: type(one).__name__)
def test_a_value_has_one_text_in_a_prompt(value, text):
    wanted = '{"when":"2026-01-31","raw":"café","n":1.10}' if text is None else text
    assert asked(value) == wanted
    assert asked(value, "{x!s}") == wanted


@pytest.mark.parametrize(
    ("value", "template", "text"),
    [
        (0.123, "{x:.1f}", "0.1"),
        (Decimal("1234.5"), "{x:,.2f}", "1,234.50"),
        (numpy.int64(7), "{x:03d}", "007"),
        (date(2026, 1, 31), "{x:%d.%m.%Y}", "31.01.2026"),
        (b"ab", "{x:>4}", "  ab"),
        (True, "{x:>5}", " true"),
        ([1], "{x:>4}", " [1]"),
        ("it's", "{x!r}", '"it\'s"'),
    ],
)
def test_a_format_applies_to_numbers_and_dates_and_to_the_text_of_others(value, template, text):
    assert asked(value, template) == text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\xff\xfe", "bytes that are not UTF-8, at byte 1"),
        (memoryview(b"a\xff"), "bytes that are not UTF-8, at byte 2"),
        ([b"\xff"], "bytes that are not UTF-8"),
        (float("inf"), "an infinite number"),
        (numpy.float32("-inf"), "an infinite number"),
        (Decimal("Infinity"), "an infinite number"),
        ({"x": float("inf")}, "an infinite number"),
        (object(), "a value of type object"),
        (2 + 3j, "a value of type complex"),
        (Fraction(1, 3), "a value of type Fraction"),
        (pandas.Interval(0, 1), "a value of type Interval"),
        (numpy.timedelta64(1, "M"), "a duration of years, months"),
        (lambda: 1, "a value of type function"),
        (10**5000, "more than 4,300 digits"),
        (Decimal("1E+5000"), "more than 4,300 digits"),
        (pyarrow.scalar((1, 2, 3), pyarrow.month_day_nano_interval()), "a value of type MonthDayNano"),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, str) else one,
)
def test_what_has_no_text_is_refused_by_the_name_of_its_column(value, words):
    with pytest.raises(BadRowError, match=rf"column 'x' has no text: it holds .*{words}") as caught:
        asked(value)
    assert (caught.value.code, caught.value.key) == ("AGB-I25", "1")


def test_lists_that_hold_themselves_are_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(BadRowError, match="nested too deep"):
        asked(loop)


KEYS = [
    (b"k1", "k1"),
    (memoryview(b"k1"), "k1"),
    (numpy.int64(7), "7"),
    (Decimal("1E+2"), "100"),
    (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (datetime(2026, 1, 31, 10, 30), "2026-01-31T10:30:00"),
    (10**20, "1" + "0" * 20),
]


@pytest.mark.parametrize(("value", "key"), KEYS, ids=lambda one: type(one).__name__)
def test_a_key_has_the_same_text_as_a_column(value, key):
    assert json.loads(RequestTemplate("say {id}", "id").line({"id": value}))["key"] == key
    ready = {"key": value, "request": {"contents": [{"parts": [{"text": "x"}]}]}}
    assert json.loads(RequestTemplate().line(ready))["key"] == key


@pytest.mark.parametrize(
    "value", [1.5, numpy.float32(1), True, numpy.bool_(True), [1], {"a": 1}, numpy.array([1]), b"\xff", object()]
)
def test_what_is_no_key_is_refused(value):
    with pytest.raises(BadRowError, match="the key column 'id'") as caught:
        RequestTemplate("say", "id").line({"id": value})
    assert caught.value.code == "AGB-I13"


@pytest.mark.parametrize("template", [RequestTemplate(), EmbeddingTemplate(None)], ids=["content", "vectors"])
@pytest.mark.parametrize("spelled", ['"key": 7', '"key":-7', '"key"  :  70'])
def test_a_whole_number_as_the_key_of_a_ready_request_becomes_text(template, spelled):
    line = f'{{{spelled}, "request": {{"n": 1.10, "text": "\\"key\\": 5"}}}}'.encode()
    made = json.loads(template.line(line))
    assert made == {"key": spelled.rsplit(":", 1)[1].strip(), "request": {"n": 1.10, "text": '"key": 5'}}


def test_a_text_that_looks_like_a_key_leaves_the_keys_of_others_alone():
    line = b'{"key": "a", "request": {"contents": [{"parts": [{"functionCall": {"args": {"key": 7}}}]}]}}'
    assert json.loads(RequestTemplate().line(line)) == json.loads(line)


def arrow_table():
    return pyarrow.table(
        {
            "id": pyarrow.array([1]),
            "raw": pyarrow.array([CAFE.encode()], pyarrow.binary()),
            "large": pyarrow.array([CAFE.encode()], pyarrow.large_binary()),
            "price": pyarrow.array([Decimal("1.10")], pyarrow.decimal128(5, 2)),
            "at": pyarrow.array([datetime(2026, 1, 31, 9, 30)], pyarrow.timestamp("us", "Europe/Berlin")),
            "local": pyarrow.array([datetime(2026, 1, 31, 9, 30)], pyarrow.timestamp("ns")),
            "day": pyarrow.array([date(2026, 1, 31)]),
            "took": pyarrow.array([timedelta(minutes=90)]),
            "tags": pyarrow.array([["a", None]]),
            "who": pyarrow.array([{"name": "x", "age": 3}]),
            "counts": pyarrow.array([[("a", 1), ("b", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "kind": pyarrow.array(["x"]).dictionary_encode(),
            "ok": pyarrow.array([True]),
        }
    )


ARROW_TEXTS = {
    "raw": CAFE,
    "large": CAFE,
    "price": "1.10",
    "at": "2026-01-31T10:30:00+01:00",
    "local": "2026-01-31T09:30:00",
    "day": "2026-01-31",
    "took": "PT1H30M",
    "tags": '["a",null]',
    "who": '{"name":"x","age":3}',
    "counts": '{"a":1,"b":2}',
    "kind": "x",
    "ok": "true",
}


# Polars has no maps.
CASES = [(s, c) for s in ("Arrow", "Parquet", "Polars") for c in ARROW_TEXTS if (s, c) != ("Polars", "counts")]


@pytest.mark.parametrize(("source", "column"), CASES)
def test_a_column_has_the_same_text_from_a_file_and_from_a_frame(tmp_path, source, column):
    table = arrow_table().select(["id", column])
    if source == "Parquet":
        parquet.write_table(table, tmp_path / "t.parquet")
    opened = {"Arrow": lambda: table, "Parquet": lambda: UPath(tmp_path / "t.parquet")}
    (record,) = source_of(opened.get(source, lambda: polars.from_arrow(table))())
    line = json.loads(RequestTemplate(f"{{{column}}}", "id").line(record.data))
    assert line["request"]["contents"][0]["parts"][0]["text"] == ARROW_TEXTS[column]


@pytest.mark.parametrize("source", ["Arrow", "Parquet"])
def test_a_map_with_one_key_twice_is_refused_and_none_is_dropped(tmp_path, source):
    kind = pyarrow.map_(pyarrow.string(), pyarrow.int64())
    table = pyarrow.table({"m": pyarrow.array([[("a", 1), ("a", 2)]], kind)})
    parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="AGB-I26"):
        list(source_of(table if source == "Arrow" else UPath(tmp_path / "t.parquet")))


def test_a_blob_of_a_database_is_its_text(tmp_path):
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("CREATE TABLE t (id INTEGER, body BLOB)")
        db.execute("INSERT INTO t VALUES (1, ?)", [CAFE.encode()])
    (record,) = QueryRows(lambda: sqlite3.connect(tmp_path / "db"), "SELECT * FROM t")
    line = json.loads(RequestTemplate("{body}", "id").line(record.data))
    assert line["request"]["contents"][0]["parts"][0]["text"] == CAFE


def ready(key="a", **more):
    return {"key": key, "request": {"contents": [{"parts": [{"text": "x"}]}]}, **more}


@pytest.mark.parametrize("form", ["rows", "lines", "Parquet"])
@pytest.mark.parametrize(
    "params", [{}, {"generationConfig": {"temperature": 0}}], ids=["plain", "with parameters"]
)
def test_columns_beside_ready_requests_are_kept_and_not_sent(tmp_path, form, params):
    rows = [ready("a", day="mon", raw="x"), ready("b", day=None, raw="y")]
    given: object = rows
    if form == "lines":
        given = UPath(tmp_path / "rows.jsonl")
        given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "Parquet":
        table = pyarrow.Table.from_pylist(
            [{**row, "request": json.dumps(row["request"]).encode()} for row in rows]
        )
        parquet.write_table(table, tmp_path / "rows.parquet")
        given = UPath(tmp_path / "rows.parquet")
    template = RequestTemplate(params=params, beside=("day", "raw"))
    _, sent, columns, _ = staged_with(Intake(source_of(given), template.line, keep_columns=("day", "raw")))
    assert [row.keys() for row in sent] == [{"key", "request"}] * 2
    assert columns == [{"day": "mon", "raw": "x"}, {"day": None, "raw": "y"}]


def test_a_column_beside_a_ready_request_is_told_to_be_kept():
    with pytest.raises(Exception, match="Name it in keep_columns to keep it") as caught:
        staged_with(Intake(source_of([ready(colour="red")]), RequestTemplate().line))
    assert "allow_unknown_fields" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (memoryview(CAFE.encode()), CAFE),
        ({"a": b"x", "t": (1,)}, {"a": "x", "t": [1]}),
        (Decimal("1.10"), "1.10"),
        (timedelta(hours=1), "PT1H"),
        (numpy.float32(0.1), 0.1),
        (10**30, 10**30),
        (Mood.GOOD, "good"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_kept_column_has_the_form_that_json_has_for_it(value, kept):
    rows = [ready(it=value)]
    _, _, columns, _ = staged_with(
        Intake(source_of(rows), RequestTemplate(beside=("it",)).line, keep_columns=("it",))
    )
    assert columns == [{"it": kept}]


@pytest.mark.parametrize("value", [b"\xff", float("inf"), object()], ids=["bytes", "infinite", "object"])
def test_a_kept_column_without_a_form_is_named(value):
    rows = [ready(it=value)]
    intake = Intake(source_of(rows), RequestTemplate(beside=("it",)).line, keep_columns=("it",))
    with pytest.raises(Exception, match=r"AGB-I12 .*the column 'it' holds something that JSON cannot express"):
        staged_with(intake)
