"""Every bad input is named with file, line, key and remedy before anything is uploaded."""

import hashlib
import json
import tracemalloc
from datetime import date, datetime, timezone
from decimal import Decimal

import numpy
import pandas
import pendulum
import pyarrow
import pytest
from upath import UPath

from airflow_provider_batch.errors import InputError
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.requests import RequestTemplate
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.check.staging import REPEATED, Intake, spools, stage
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.read.choice import source_of


def ask(text):
    return {"contents": [{"parts": [{"text": text}]}]}


ASK = ask("hi")


def row(key, **changes):
    return json.dumps({"key": key, "request": ASK} | changes)


def staged(source):
    with KeyTable() as keys, spools() as out:
        result = stage(Intake(source_of(source)), GeminiRows(), out, keys, ShardLimits())
        out.rows.seek(0)
        return result, out.rows.read()


def refused(tmp_path, content):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        staged(UPath(path))
    assert str(path) in str(caught.value)
    assert "Nothing was uploaded or spent." in caught.value.remedy
    return caught.value


CASES = [
    ("empty file", "", None, "AGB-I01", "is empty"),
    ("blank line", f"{row('a')}\n\n{row('b')}\n", 2, "AGB-I02", "line 2: the line is blank"),
    ("byte-order mark", b"\xef\xbb\xbf" + row("a").encode(), None, "AGB-I03", "byte-order mark"),
    ("UTF-16", row("a").encode("utf-16"), None, "AGB-I03", "UTF-16"),
    ("UTF-16 without a mark", row("a").encode("utf-16-le"), None, "AGB-I03", "UTF-16"),
    ("UTF-16 of the other kind", row("a").encode("utf-16-be"), None, "AGB-I03", "UTF-16"),
    ("gzip", b"\x1f\x8b\x08\x00", None, "AGB-I04", "gzip"),
    ("JSON array", f"[{row('a')}]", None, "AGB-I05", "JSON array"),
    ("only blank lines", "\n\n\n", 1, "AGB-I02", "3 bad rows"),
    ("zip", b"PK\x03\x04rest", None, "AGB-I04", "zip"),
    ("Parquet under a wrong name", b"PAR1rest", None, "AGB-I04", "Parquet"),
    ("an object over several lines", '{\n"key": "a"\n}\n', None, "AGB-I05", "over several lines"),
    ("line ends of an old Mac", f"{row('a')}\r{row('b')}\r", None, "AGB-I05", "carriage returns"),
    ("not JSON", f"{row('a')}\nhello\n", 2, "AGB-I06", "line 2: not JSON at column 1"),
    ("a comma missing", '{"key": "a" "request": {}}', 1, "AGB-I06", "at column 13 (expecting ',' delimiter)"),
    (
        "cut off inside a string",
        f"{row('a')}\n{row('b')[:-8]}",
        2,
        "AGB-I06",
        "line 2: the line ends inside a string",
    ),
    ("cut off between fields", row("a")[:-3], 1, "AGB-I06", "the line ends inside an object"),
    (
        "two objects on a line",
        f"{row('a')}\n{'{}'} {row('b')}",
        2,
        "AGB-I06",
        "extra data after the row at column 4",
    ),
    ("raw control character", '{"key": "a\x01"}', 1, "AGB-I07", "raw control character 0x01 at column 11"),
    ("raw NUL", '{"key": "\x00"}', 1, "AGB-I07", "raw control character 0x00 at column 10"),
    ("escaped NUL", row("a", request=ask("a\0b")), 1, "AGB-I07", "request.contents[0].parts[0].text contains NUL"),
    ("invalid UTF-8", b'{"key": "\xff"}', 1, "AGB-I08", "not valid UTF-8 at byte 10"),
    (
        "half a surrogate pair",
        row("a", request=ask("\ud800")),
        1,
        "AGB-I08",
        "unpaired surrogate in request.contents",
    ),
    ("the same in a name", r'{"key": "a", "\ud800": 1}', 1, "AGB-I08", "a name in the row"),
    ("NaN", '{"key": "a", "request": {"x": NaN}}', 1, "AGB-I09", "NaN is not JSON"),
    ("minus infinity", '{"key": "a", "request": {"x": -Infinity}}', 1, "AGB-I09", "-Infinity is not JSON"),
    ("huge number", '{"key": "a", "request": {"x": 1e999}}', 1, "AGB-I09", "out of range: 1e999"),
    (
        "5,000 digits",
        f'{{"key": "a", "request": {"1" * 5000}}}',
        1,
        "AGB-I09",
        "integer of 5000 digits (limit 4300)",
    ),
    ("a name twice", '{"key": "a", "request": {"b": 1, "b": 1}}', 1, "AGB-I10", "'b' appears twice in one object"),
    ("deep nesting", "[" * 100_000, None, "AGB-I05", "array"),
    ("deeply nested row", '{"a":' * 100_000, 1, "AGB-I11", "nested 100000 deep (limit 100)"),
    ("nested a little too deep", '{"a":' * 101 + "1" + "}" * 101, 1, "AGB-I11", "nested 101 deep"),
    ("a string as row", f'{row("a")}\n"text"\n', 2, "AGB-I12", "got string"),
    ("null as row", f"{row('a')}\nnull\n", 2, "AGB-I12", "got null"),
    ("a number as row", f"{row('a')}\n17\n", 2, "AGB-I12", "got number"),
    ("a list as row", f"{row('a')}\n[1]\n", 2, "AGB-I12", "got array"),
    ("no key", json.dumps({"request": ASK}), 1, "AGB-I13", 'no "key"'),
    (
        "columns without a prompt",
        '{"id": "a", "text": "x"}',
        1,
        "AGB-I13",
        "of columns ('id', 'text'), set prompt=",
    ),
    ("the same with a key", '{"key": "a", "text": "x"}', 1, "AGB-I15", "of columns ('key', 'text'), set prompt="),
    ("another's custom_id", '{"custom_id": "a", "text": "x"}', 1, "AGB-I13", "('custom_id', 'text'), set prompt="),
    ("a field beside its place", json.dumps({"key": "a", "contents": []}), 1, "AGB-I15", "mean request.contents?"),
    ("a number as key", row(7), 1, "AGB-I13", "got number"),
    ("a boolean as key", row(True), 1, "AGB-I13", "got boolean"),
    ("an empty key", row(""), 1, "AGB-I13", "got string of 0 characters"),
    ("a key too long", row("k" * 257), 1, "AGB-I13", "of 257 characters"),
    ("a key seen before", f"{row('a')}\n{row('b')}\n{row('a')}\n", 3, "AGB-I14", "same key as on line 1"),
]


@pytest.mark.parametrize(("content", "line", "code", "words"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_bad_input_is_refused_with_line_code_and_words(tmp_path, content, line, code, words):
    error = refused(tmp_path, content)
    assert (error.line, error.code) == (line, code)
    assert words in str(error)


def test_a_bad_row_is_named_by_its_key_and_never_quoted(tmp_path):
    error = refused(tmp_path, row("order-66", request={"contents": [], "secret": "the launch code"}))
    assert "(key 'order-66')" in str(error)
    assert "launch code" not in str(error)


def test_the_first_twenty_findings_are_named_and_all_are_counted(tmp_path):
    error = refused(tmp_path, "\n".join('{"key": 1}' for _ in range(50)))
    assert str(error).count("AGB-I13 line") == 20
    assert "has 50 bad rows" in str(error)
    assert "and 30 more" in str(error)


def test_findings_are_values_as_well_as_words(tmp_path):
    error = refused(tmp_path, f"{row('a')}\n\n{row('a')}\n")
    assert error.bad_rows == 2
    assert [bad[:3] for bad in error.rows] == [("line 2", "", "AGB-I02"), ("line 3", "'a'", "AGB-I14")]


def test_a_missing_file_and_a_directory_and_a_raw_template_are_told_apart(tmp_path):
    for path, words in [
        (tmp_path / "no.jsonl", "does not exist"),
        (tmp_path, "is a folder without files"),
        (tmp_path / "{{ ds }}.jsonl", "template that was not rendered"),
    ]:
        with pytest.raises(InputError, match=words):
            staged(UPath(path))


def test_good_rows_are_copied_byte_for_byte_counted_and_hashed(tmp_path):
    path = tmp_path / "requests.jsonl"
    torn = json.dumps({"key": "ü\u2028b\u0085", "request": ask("\u2029 \x7f")}, ensure_ascii=False)
    text = f"{row('a')}\r\n{torn}".encode()
    path.write_bytes(text)
    result, sent = staged(UPath(path))
    assert sent == text.replace(b"\r\n", b"\n") + b"\n"
    assert (result.requests, result.size_bytes) == (2, len(sent))
    assert result.sha256 == hashlib.sha256(sent).hexdigest()


def test_a_list_of_rows_is_staged_like_a_file():
    result, sent = staged([{"key": "a", "request": ASK}, {"key": "b", "request": ASK}])
    assert result.requests == 2
    assert [json.loads(line)["key"] for line in sent.splitlines()] == ["a", "b"]


def test_an_empty_list_is_refused_like_an_empty_file():
    with pytest.raises(InputError, match="the list of requests is empty"):
        staged([])


def test_a_list_with_something_json_cannot_hold_is_refused():
    with pytest.raises(InputError, match="JSON cannot express"):
        staged([{"key": "a", "request": object()}])


def test_keys_that_look_dangerous_are_data_like_any_other():
    names = ["../../etc/passwd", "=cmd()", "<script>", "{{ conn.x.password }}", "a b"]
    result, _ = staged([{"key": name, "request": ASK} for name in names])
    assert result.requests == len(names)


def test_a_line_over_the_limit_is_passed_over_without_being_held(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text(row("a") + "\n")
    with path.open("r+b") as file:
        file.truncate(400 * 2**20)
        file.seek(0, 2)
        file.write(f"\n{row('a')}\n".encode())
    tracemalloc.start()
    with pytest.raises(
        InputError, match="has 2 bad rows:\n  AGB-I19 line 2: longer than the limit of 64 MiB"
    ) as caught:
        staged(UPath(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20
    assert "AGB-I14 line 3 (key 'a'): the same key as on line 1" in str(caught.value)


def test_keys_that_look_alike_are_a_caution_and_no_error():
    names = ["\u00e9", "e\u0301", "a", "a ", "A"]
    result, _ = staged([{"key": name, "request": ASK} for name in names])
    ((caution, seen),) = result.content.cautions.items()
    assert (result.requests, seen) == (5, (2, "row 2"))
    assert "keys are compared as they are" in caution


def test_an_empty_cell_of_a_csv_file_is_a_caution_with_its_number_of_rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,text,tone\n1,good,\n2,,kind\n3, ,kind\n")
    result, *_ = table(UPath(path), asked_columns=("text",))
    assert result.content.cautions == {
        "the column 'text' is empty, so the prompt has nothing in its place": (2, "line 3")
    }


def test_a_bad_quotation_mark_is_left_out_with_its_line_or_fails_with_it(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('id,text\na,good\nb,"one" two\nc,good too\n')
    _, sent, _, skipped = table(UPath(path), on_bad_row="skip", keep_columns=("text",))
    assert [row["key"] for row in sent] == ["a", "c"]
    assert (skipped[0]["skipped"]["place"], skipped[0]["row"]) == ("line 3", 'b,"one" two\n')
    with pytest.raises(InputError, match=r"AGB-I26 line 3: a bad quotation mark on line 3"):
        table(UPath(path))


def test_rows_that_ask_the_same_are_told_before_they_are_paid_for(tmp_path):
    rows = [{"id": n, "text": "x"} for n in range(5)]
    assert table(rows)[0].content.told() == {REPEATED: (4, "row 2")}
    assert table([{"id": n, "text": str(n)} for n in range(5)])[0].content.told() == {}
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{row('a')}\n{row('b')}\n{row('c', request=ask('other'))}\n{row('d')}\n")
    result, _ = staged(UPath(path))
    assert result.content.told() == {REPEATED: (2, "line 2")}


def test_a_row_that_grows_too_long_on_its_way_is_a_bad_row():
    rows = [{"id": 1, "text": "x" * (64 * 2**20)}, {"id": 2, "text": "x"}]
    _, sent, _, skipped = table(rows, on_bad_row="skip")
    assert [row["key"] for row in sent] == ["2"]
    assert skipped[0]["skipped"]["code"] == "AGB-I19"


def table(rows, **settings):
    """Stage columns with a prompt; give what was found, the rows, the kept columns and the rows left out."""
    return staged_with(Intake(source_of(rows), RequestTemplate("Rate: {text}", "id").line, **settings))


def staged_with(intake):
    """Stage an input; give the same."""
    with KeyTable() as keys, spools() as out:
        result = stage(intake, GeminiRows(), out, keys, ShardLimits())
        for file in (out.rows, out.columns, out.skipped):
            file.seek(0)
        return result, *([json.loads(line) for line in file] for file in (out.rows, out.columns, out.skipped))


def test_kept_columns_stand_in_the_order_of_the_rows():
    rows = [{"id": n, "text": "x", "day": date(2026, 1, n), "price": Decimal("1.10")} for n in (1, 2)]
    _, sent, columns, _ = table(rows, keep_columns=("day", "price"))
    assert [row["key"] for row in sent] == ["1", "2"]
    assert columns == [{"day": f"2026-01-0{n}", "price": "1.10"} for n in (1, 2)]


def test_a_kept_column_that_only_some_rows_have_is_null_in_the_others():
    rows = [{"id": 1, "text": "x"}, {"id": 2, "text": "y", "day": "mon"}]
    _, _, columns, _ = table(rows, keep_columns=("day",))
    assert columns == [{"day": None}, {"day": "mon"}]


@pytest.mark.parametrize("on_bad_row", ["fail", "skip"])
def test_a_column_to_keep_that_no_row_has_is_refused_before_anything_is_paid(on_bad_row):
    rows = [{"id": 1, "text": "x"}, {"id": 2, "text": "y"}]
    with pytest.raises(InputError, match=r"no column 'txt' to keep \(has 'id', 'text'\)") as caught:
        table(rows, keep_columns=("text", "txt"), on_bad_row=on_bad_row)
    assert caught.value.code == "AGB-I25"


RECORDS = pandas.DataFrame(
    {
        "id": ["a", "b"],
        "text": ["x", None],
        "n": [1.5, None],
        "when": pandas.to_datetime(["2026-01-01", None]),
        "flag": pandas.array([True, None], dtype="boolean"),
    }
).to_dict("records")
"""What pandas makes of missing values in rows for Python: nan, NaT and NA."""


@pytest.mark.parametrize("column", ["text", "n", "when", "flag"])
def test_a_missing_value_of_a_data_frame_is_never_written_into_a_prompt(column):
    template = RequestTemplate(f"Say {{{column}}}", "id")
    template.line(RECORDS[0])
    with pytest.raises(BadRowError, match=f"column '{column}' has no value") as caught:
        template.line(RECORDS[1])
    assert caught.value.code == "AGB-I25"


@pytest.mark.parametrize("value", [Decimal("NaN"), numpy.float32("nan"), numpy.datetime64("NaT"), pandas.NA])
def test_missing_values_of_other_libraries_are_no_prompt_and_no_key(value):
    with pytest.raises(BadRowError, match="has no value"):
        RequestTemplate("Say {text}", "id").line({"id": 1, "text": value})
    with pytest.raises(BadRowError, match="not empty"):
        RequestTemplate("Say {text}", "id").line({"id": value, "text": "x"})


def test_missing_values_of_a_data_frame_are_kept_as_null():
    rows = [{**row, "text": "x"} for row in RECORDS]
    _, _, columns, _ = table(rows, keep_columns=("n", "when", "flag"))
    assert columns[1] == {"n": None, "when": None, "flag": None}


WHEN = datetime(2026, 1, 1, 10, 30, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": 1, "text": "x", "at": pendulum.instance(WHEN), "score": numpy.float32(0.5), "tags": {"a"}}],
        pandas.DataFrame({"id": [1], "text": ["x"], "at": [WHEN], "score": [0.5], "tags": [numpy.array(["a"])]}),
        pyarrow.table({"id": [1], "text": ["x"], "at": pyarrow.array([WHEN], pyarrow.timestamp("ns", "UTC"))})
        .append_column("score", pyarrow.array([0.5]))
        .append_column("tags", pyarrow.array([["a"]])),
    ],
    ids=["Airflow's dates", "pandas", "Arrow with nanoseconds"],
)
def test_dates_and_numbers_of_other_libraries_are_kept_as_pythons_own(rows):
    _, _, (columns,), _ = table(rows, keep_columns=("at", "score", "tags"))
    assert datetime.fromisoformat(columns["at"]) == WHEN
    assert (columns["score"], columns["tags"]) == (0.5, ["a"])


def test_a_kept_value_that_json_cannot_express_is_named_by_its_type():
    with pytest.raises(InputError, match=r"AGB-I12 row 1: .*JSON cannot express \(a value of type object\)"):
        table([{"id": 1, "text": "x", "place": object()}], keep_columns=("place",))


def test_rows_left_out_are_kept_with_reason_place_and_content():
    rows = [{"id": "a", "text": "x"}, {"id": "a", "text": "again"}, {"id": "b", "text": None}]
    result, sent, _, skipped = table(rows, on_bad_row="skip")
    assert (result.requests, result.skipped, len(sent)) == (1, 2, 1)
    assert skipped == [
        {
            "key": "a",
            "skipped": {"code": "AGB-I14", "message": "the same key as on row 1", "place": "row 2"},
            "row": {"id": "a", "text": "again"},
        },
        {
            "key": "b",
            "skipped": {
                "code": "AGB-I25",
                "message": "column 'text' has no value (NULL, NaN or NaT)",
                "place": "row 3",
            },
            "row": {"id": "b", "text": None},
        },
    ]


def test_rows_that_were_left_out_are_told_from_requests_when_they_are_fed_back():
    _, _, _, skipped = table([{"id": "a", "text": "x"}, {"id": "b", "text": None}], on_bad_row="skip")
    with pytest.raises(InputError, match=r"row 1 \(key 'b'\): the row was left out of an earlier batch"):
        staged(skipped)


def test_an_input_of_bad_rows_only_fails_even_if_they_may_be_left_out():
    with pytest.raises(InputError, match="2 bad rows"):
        table([{"id": "a"}, {"id": "b"}], on_bad_row="skip")


def test_the_first_twenty_bad_rows_are_named_and_the_rest_counted():
    with pytest.raises(InputError, match="and 5 more") as caught:
        table([{"id": n} for n in range(25)])
    assert caught.value.message.count("AGB-I25") == 20
