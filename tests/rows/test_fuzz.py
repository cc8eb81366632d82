"""Whatever stands in a row, it ends in a code of that row, or it can be sent: nothing else is ever raised."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from upath import UPath

from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.embeddings import EmbeddingRows, EmbeddingTemplate
from airflow_provider_batch.gemini.rows.fields import (
    BLOB,
    CONTENT,
    EMBED,
    FILE,
    GENERATION_CONFIG,
    PART,
    REQUEST,
    THINKING,
)
from airflow_provider_batch.gemini.rows.media import RowFiles
from airflow_provider_batch.gemini.rows.requests import RequestTemplate
from airflow_provider_batch.rows.check.staging import Intake
from airflow_provider_batch.rows.dialect import BadRowError, RowStatus
from airflow_provider_batch.rows.media import MediaFolder
from airflow_provider_batch.rows.output.type import CheckedAnswers, OutputType
from airflow_provider_batch.rows.read.choice import source_of
from tests.rows.test_staging import staged_with

THOROUGH = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))

NUMERALS = ["1024.0", "nan", "inf", "-Infinity", "1e400", "1_0", " 7", "0x1", "", "٣", "1" * 5000]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(NUMERALS),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
"""Values of JSON, and NaN."""

NAMES = sorted(
    {*REQUEST, *GENERATION_CONFIG, *THINKING, *CONTENT, *PART, *BLOB, *FILE, *EMBED, "file_data", "file_uri"}
)


def objects(inner):
    return st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)


PARTS = st.lists(objects(SCALARS | objects(SCALARS)) | JSON, max_size=3) | JSON
CONTENTS = st.lists(st.fixed_dictionaries({"parts": PARTS}, optional={"role": JSON}) | JSON, max_size=3) | JSON
REQUESTS = (
    st.fixed_dictionaries(
        {"contents": CONTENTS},
        optional={
            "content": st.fixed_dictionaries({"parts": PARTS}) | JSON,
            "generationConfig": objects(SCALARS | objects(SCALARS)) | JSON,
            "systemInstruction": st.fixed_dictionaries({"parts": PARTS}) | JSON,
            "tools": JSON,
            "outputDimensionality": SCALARS,
            "model": JSON,
        },
    )
    | JSON
)
ROWS = st.fixed_dictionaries(
    {"key": st.just("a") | SCALARS, "request": REQUESTS}, optional={"metadata": JSON, "day": JSON}
)


def sent_or_refused(make, *arguments):
    try:
        return make(*arguments)
    except BadRowError as bad:
        return ensure_coded(bad, "AGB-I")


def ensure_coded(bad, letter):
    assert bad.code.startswith(letter)


@THOROUGH
@given(ROWS)
@example({"key": "a", "request": {"contents": [], "generationConfig": {"maxOutputTokens": "1024.0"}}})
def test_a_line_is_sent_or_refused(tmp_path_factory, row):
    folder = tmp_path_factory.getbasetemp()
    files = RowFiles(MediaFolder(UPath(folder), 100))
    line = json.dumps(row).encode(errors="surrogatepass")
    for template, dialect in (
        (RequestTemplate(), GeminiRows("m")),
        (
            RequestTemplate(params={"generationConfig": {"topK": 1}}, beside=("day",)),
            GeminiRows("m", with_files=True),
        ),
        (EmbeddingTemplate(None, dimensions=3), EmbeddingRows("m")),
    ):
        made = sent_or_refused(lambda t=template: files.line(t.line(line)))
        if made is not None and (checked := sent_or_refused(dialect.check_request, made)):
            assert dialect.read_key(made) == checked.key


COLUMNS = st.one_of(
    JSON,
    st.binary(max_size=8),
    st.binary(max_size=8).map(memoryview),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.fractions(),
    st.complex_numbers(),
    st.sets(st.integers() | st.text(max_size=3), max_size=3),
    st.floats(width=32).map(numpy.float32),
    st.integers(-(2**31), 2**31 - 1).map(numpy.int64),
    st.lists(st.floats(), max_size=3).map(numpy.array),
    st.just(object()),
    st.dictionaries(st.integers() | st.dates(), st.binary(max_size=3), max_size=2),
)


@THOROUGH
@given(COLUMNS, COLUMNS)
@example(Decimal("sNaN"), Decimal("1E+999999"))
@example(timedelta.max, datetime.min)
@example(UUID(int=0), date.max)
@example("\ud800", "\0")
def test_a_value_of_a_column_is_sent_or_refused(key, value):
    row = {"id": key, "x": value}
    for template in (
        "{x}",
        "{x:>5}",
        "{x!r}",
        "{x:.2f}",
        lambda row: row["x"],
        lambda row: {"contents": row["x"]},
    ):
        sent_or_refused(
            RequestTemplate(template, "id", media_columns=["x"] if template == "{x}" else []).line, row
        )
        sent_or_refused(RequestTemplate().line, {"key": key, "request": value})


@THOROUGH
@given(st.lists(st.dictionaries(st.sampled_from(["id", "x"]), COLUMNS), max_size=3))
def test_bad_rows_are_left_out_and_the_rest_is_sent(rows):
    good = {"id": "a good one", "x": "text"}
    intake = Intake(
        source_of([*rows, good]), RequestTemplate("{x}", "id").line, keep_columns=("x",), on_bad_row="skip"
    )
    result, sent, _, skipped = staged_with(intake)
    assert "a good one" in {row["key"] for row in sent}
    assert len(sent) + len(skipped) == len(rows) + 1 == result.requests + result.skipped


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]) | JSON},
        optional={
            "content": JSON | st.lists(st.fixed_dictionaries({"type": JSON}, optional={"text": JSON}), max_size=2)
        },
    )
    | JSON,
    max_size=3,
)
OPENAI = st.fixed_dictionaries(
    {"custom_id": st.just("a") | SCALARS},
    optional={
        "body": st.fixed_dictionaries(
            {"messages": MESSAGES | JSON},
            optional={"max_tokens": SCALARS, "stop": JSON, "response_format": JSON, "n": SCALARS},
        )
        | JSON
    },
)


@THOROUGH
@given(OPENAI)
def test_a_row_of_another_format_is_sent_or_refused(row):
    line = json.dumps(row).encode(errors="surrogatepass")
    made = sent_or_refused(RequestTemplate().line, line)
    if made is not None:
        sent_or_refused(GeminiRows("m").check_request, made)


RESPONSES = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(
            st.fixed_dictionaries(
                {}, optional={"content": st.fixed_dictionaries({"parts": PARTS}) | JSON, "finishReason": JSON}
            )
            | JSON,
            max_size=2,
        )
        | JSON,
        "promptFeedback": st.fixed_dictionaries({"blockReason": JSON}) | JSON,
        "usageMetadata": st.dictionaries(st.sampled_from(["promptTokenCount", "thoughtsTokenCount"]), SCALARS)
        | JSON,
        "embedding": st.fixed_dictionaries({"values": st.lists(SCALARS, max_size=3)}) | JSON,
        "tokenCount": SCALARS,
    },
)


@THOROUGH
@given(RESPONSES | JSON, st.fixed_dictionaries({}, optional={"error": JSON, "status": JSON, "metadata": JSON}))
def test_a_result_line_ends_in_a_status_or_is_no_result_line(response, more):
    line = json.dumps({"key": "a", "response": response, **more}).encode(errors="surrogatepass")
    typed = CheckedAnswers(GeminiRows(), OutputType.of({"type": "array"}))
    for dialect in (GeminiRows(), EmbeddingRows(), typed):
        try:
            row = dialect.read_result(line)
        except BadRowError as bad:
            ensure_coded(bad, "AGB-R03")
        else:
            assert (row.error is None) == (row.status is RowStatus.SUCCESS)
            assert msgspec.json.encode(row)
