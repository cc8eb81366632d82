"""The Gemini row dialect: a request line out, a response line in.

Request: ``{"key": "r1", "request": {GenerateContentRequest}}``. Response: the same key with ``response`` or
``error``. Rows are matched by key only: results have been seen out of order (python-genai issue 1909).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from airflow_provider_batch.gemini.rows.checks import RequestCheck
from airflow_provider_batch.gemini.rows.media import Address, with_addresses
from airflow_provider_batch.gemini.rows.results import read_result
from airflow_provider_batch.rows.dialect import NULL, BadRowError, CheckedRow, LandedRow
from airflow_provider_batch.rows.prompt import names_in
from airflow_provider_batch.rows.read.strict_json import json_type, parse_row

MAX_KEY_CHARS = 256
"""Our own limit. The API documents none."""


class _Asked(msgspec.Struct, rename="camel"):
    """What of a request says how its answer is to be read. ``content`` is that of a job of vectors."""

    content: msgspec.Raw = NULL
    output_dimensionality: int | str | float | None = None
    as_snake: int | str | float | None = msgspec.field(default=None, name="output_dimensionality")


class _Keyed(msgspec.Struct):
    key: str
    request: _Asked = msgspec.field(default_factory=_Asked)


_read_key = msgspec.json.Decoder(_Keyed).decode


class GeminiRows:
    """Implements :class:`~airflow_provider_batch.rows.dialect.RowDialect`.

    :param model: The job's model without ``models/``. None = a row may name any.
    :param allow_unknown_fields: Pass fields that are not known here, as a newer API may know them.
    :param with_files: Pass files that are uploaded before the row is sent.
    """

    _checks: ClassVar[type[RequestCheck]] = RequestCheck

    def __init__(
        self, model: str | None = None, *, allow_unknown_fields: bool = False, with_files: bool = False
    ) -> None:
        self._check = self._checks(model, allow_unknown_fields=allow_unknown_fields, with_files=with_files)
        # How many numbers the vectors of the rows so far may have, 0 = any. None = they ask for no vectors.
        self._lengths: set[int] | None = None

    def check_request(self, line: bytes) -> CheckedRow:
        """Check an input line: its JSON, its key, and each field of its request in the right place.

        :raises BadRowError: The API would refuse it, or read it otherwise than it was meant.
        """
        key, request = checked_row(line, self._check)
        try:
            return CheckedRow(key, *self._check.request(request))
        except BadRowError as bad:
            bad.key = key
            raise

    def read_key(self, line: bytes) -> str:
        """The key of a line that :meth:`check_request` accepted.

        If it asks for a vector, the results are read so, and their lengths are those that were asked for.
        """
        row = _read_key(line)
        if row.request.content != NULL:
            asked = row.request.output_dimensionality or row.request.as_snake or 0
            self._lengths = (self._lengths or set()) | {int(float(asked))}
        return row.key

    def with_addresses(self, line: bytes, address: Address) -> bytes:
        """Put the address of each file, told by its name and its media type, into a checked line."""
        return with_addresses(line, address)

    def read_result(self, line: bytes) -> LandedRow:
        """Classify a result line.

        :raises BadRowError: Not a result line, or one without a key.
        """
        if self._lengths is None:
            return read_result(line)
        return read_result(line, frozenset() if 0 in self._lengths else frozenset(self._lengths))


def checked_row(line: bytes, check: RequestCheck) -> tuple[str, dict[str, object]]:
    """The key and the request of an input line.

    :raises BadRowError: Not JSON, not an object, no usable key, no request, or something that is neither.
    """
    row = parse_row(line)
    key = _key(row)
    request = row.get("request")
    try:
        # A name that belongs into a request says more than that there is none.
        if len(row) > 2 if "request" in row else any(map(check.has_place, row)):
            check.row(row)
        if not isinstance(request, dict):
            got = f"must be an object, got {json_type(request)}" if "request" in row else "is missing"
            raise BadRowError("AGB-I15", f'"request" {got}. A row is {{"key": ..., "request": {{...}}}}')
    except BadRowError as bad:
        raise BadRowError(bad.code, bad.what + _hint(row), key) from None
    return key, request


def _hint(row: dict[str, object]) -> str:
    """What a row without a request may be instead."""
    columns = row.keys() - {"key"}
    if "request" in row or "skipped" in row or not columns:
        return ""
    return f"; to make requests of columns ({names_in(row)}), set prompt= (key_column= applies only then)"


def _key(row: dict[str, object]) -> str:
    if "key" not in row:
        raise BadRowError(
            "AGB-I13", f'no "key". Results come back in any order, so each row needs one{_hint(row)}'
        )
    key = row["key"]
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS:
        size = f" of {len(key)} characters" if isinstance(key, str) else ""
        raise BadRowError(
            "AGB-I13",
            f'"key" must be a string of 1 to {MAX_KEY_CHARS} characters, got {json_type(key)}{size}',
        )
    return key
