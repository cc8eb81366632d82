"""Columns to a request line: ``{"key": ..., "request": {GenerateContentRequest}}``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import msgspec

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.rows.names import camel_case
from airflow_provider_batch.gemini.rows.openai import NAME_OF_KEY, converted, is_openai
from airflow_provider_batch.rows.check.staging import encode_row
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.prompt import (
    Prompt,
    check_prompt,
    columns_of,
    evaluated,
    key_of,
    with_text_key,
)
from airflow_provider_batch.rows.read.strict_json import json_type, parse_row
from airflow_provider_batch.rows.read.values import NoTextError, items_of, text_of
from airflow_provider_batch.rows.templates import check_system_prompt


@dataclass(frozen=True)
class RequestTemplate:
    """How a row of columns becomes a request.

    A function may return a text or a list of contents (a conversation of several turns). It may also return a dict
    of GenerateContentRequest fields. Those are laid over ``params``: the way to set anything row by row.

    :param prompt: Template or function. None = rows are requests already.
    :param key: Column with the key.
    :param system: System instruction for all rows. Taken as it is.
    :param params: GenerateContentRequest fields for all rows: ``generationConfig``, ``tools`` and so on.
    :param media_columns: Columns with the name of a file, or a list of them, that stand before the text.
    :param beside: Columns that are kept beside the answers: they are no fields of rows that are requests.
    """

    prompt: Prompt | None = None
    key: str = "key"
    system: str | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    media_columns: Sequence[str] = ()
    beside: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        check_system_prompt(self.system)
        if self.prompt is None and self.media_columns:
            raise ConfigError(
                "Columns with media files need a prompt: rows without one are requests already.",
                code="AGB-C13",
                remedy="Give a prompt, or name the files in the rows, as fileData.fileUri.",
            )

    def line(self, data: bytes | Mapping[str, object]) -> bytes:
        """The request line of a record.

        :raises BadRowError: A column is missing, or the record cannot be a request.
        """
        if self.prompt is None:
            return self._given(data)
        row = columns_of(data)
        key = key_of(row, self.key)
        return encode_row({"key": key, "request": self._request(self.prompt, row, key)}, key)

    def _given(self, data: bytes | Mapping[str, object]) -> bytes:
        """A row that is a request already: as it stands if nothing is to be added."""
        is_plain = not self.system and not self.params
        if isinstance(data, bytes) and is_plain and not has_more(data, self.beside):
            return data
        row = given_row(data, self.beside)
        if is_openai(row):
            row = converted(row)
        key = with_text_key(row).get("key")
        request = parsed_request(row)
        if not is_plain and isinstance(request, dict):
            row["request"] = laid_over(self._for_all(), request)
        return encode_row(row, key if isinstance(key, str) else None)

    def _request(self, prompt: Prompt, row: Mapping[str, object], key: str) -> dict[str, object]:
        request = evaluated(prompt, row, key)
        if isinstance(request, str):
            request = {"contents": [{"role": "user", "parts": [*self._files(row, key), {"text": request}]}]}
        elif self.media_columns:
            raise BadRowError(
                "AGB-I25",
                "beside columns of media files the prompt function must give a text, or name the files in it",
                key,
            )
        elif isinstance(request, list):
            request = {"contents": request}
        if not isinstance(request, Mapping):
            raise BadRowError(
                "AGB-I25", f"the prompt function gave {type(request).__name__}, not text, a list or a dict", key
            )
        return laid_over(self._for_all(), request)

    def _files(self, row: Mapping[str, object], key: str) -> Iterator[dict[str, object]]:
        for column in self.media_columns:
            if column not in row:
                raise BadRowError("AGB-I25", f"no column {column!r} for a file", key)
            for one in items_of(row[column]):
                name = _name(one)
                if not name:
                    raise BadRowError(
                        "AGB-I25", f"column {column!r} must hold the name of a file, not {json_type(one)}", key
                    )
                yield {"fileData": {"fileUri": name}}

    def _for_all(self) -> dict[str, object]:
        system = {"systemInstruction": {"parts": [{"text": self.system}]}} if self.system else {}
        return laid_over(system, self.params)


_NUMBER_AS_KEY = re.compile(rb'"key"\s*:\s*-?\d')


def has_more(line: bytes, beside: Sequence[str]) -> bool:
    """A row that is a request may not be sent as it stands.

    It has columns to keep, a number as its key, or the key of another format.
    """
    return bool(beside) or NAME_OF_KEY in line or _NUMBER_AS_KEY.search(line) is not None


def given_row(data: bytes | Mapping[str, object], beside: Sequence[str]) -> dict[str, object]:
    """A row that is a request, without the columns that are kept beside its answer.

    :raises BadRowError: It is not a row.
    """
    row = dict(parse_row(data) if isinstance(data, bytes) else columns_of(data))
    for name in set(beside) - {"key", "request", "metadata"}:
        row.pop(name, None)
    return row


_WHOLE = ("systemInstruction", "responseSchema", "responseJsonSchema", "_responseJsonSchema")
"""Objects that are one thing: half of a message or of a schema from each side would be neither."""


def laid_over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Fields of ``above`` win, in either spelling of their names. Objects are merged, lists replaced."""
    merged = dict(below)
    spelled = {camel_case(name): name for name in below}
    for name, value in above.items():
        if not isinstance(name, str):
            raise BadRowError("AGB-I12", f"the name of a field must be text, not {type(name).__name__}")
        field_name = camel_case(name)
        old = spelled.get(field_name, name)
        under = merged.get(old)
        if old != name:
            merged.pop(old, None)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[name] = laid_over(under, value) if both and field_name not in _WHOLE else value  # type: ignore[arg-type]
    return merged


def _name(value: object) -> str | None:
    """The name of a file. None for what cannot be one."""
    try:
        return text_of(value) if isinstance(value, str | bytes | memoryview | PurePath) else None
    except NoTextError:
        return None


def parsed_request(row: dict[str, object]) -> object:
    """The request of a row. As JSON text it becomes an object, as a table has no other way to hold one.

    :raises BadRowError: It is a text that is not JSON.
    """
    request = row.get("request")
    if not isinstance(request, str | bytes | bytearray | memoryview):
        return request
    try:
        row["request"] = msgspec.json.decode(request if isinstance(request, str) else bytes(request))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRowError("AGB-I06", f'the column "request" is not JSON ({error})') from None
    return row["request"]
