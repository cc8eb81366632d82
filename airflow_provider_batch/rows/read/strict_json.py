"""One line to one JSON object, with everything refused that JSON readers treat differently.

The standard library's parser can tell what others pass over: a name that appears twice in an object, and the
column of a fault. It accepts NaN, numbers out of range and unpaired surrogates. So those are looked for here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator

from airflow_provider_batch.rows.dialect import BadRowError

MAX_DEPTH = 100
"""Objects and lists inside each other. Our own limit, far above any request. Parsers recurse."""

MAX_INT_DIGITS = 4300
"""What Python converts by default. No field of the API holds more than 19."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NOT_BRACKETS = re.compile(rb"[^{}\[\]]+")
_OPENING = b"{["


def parse_row(line: bytes) -> dict[str, object]:
    """The object in a line.

    :raises BadRowError: It is not exactly one JSON object, or one that not every reader understands alike.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise BadRowError("AGB-I08", f"not valid UTF-8 at byte {error.start + 1}. Save it as UTF-8") from None
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH:
        _check_depth(line)
    try:
        row = _decode(text)
    except json.JSONDecodeError as error:
        raise _not_json(text, error) from None
    if not isinstance(row, dict):
        raise BadRowError("AGB-I12", f"a row must be an object, got {json_type(row)}")
    if "\\u" in text:
        _check_escapes(text, row)
    return row


def json_type(value: object) -> str:
    """What JSON calls a value of this kind."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRowError("AGB-I10", f"{ascii(twice)[:40]} appears twice in one object. Leave one of them out")
    return row


def _constant(word: str) -> object:
    raise BadRowError("AGB-I09", f"{word} is not JSON. Leave the field out or give a number")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BadRowError("AGB-I09", f"number out of range: {digits[:40]}")
    return number


def _int(digits: str) -> int:
    if len(digits) > MAX_INT_DIGITS:
        raise BadRowError("AGB-I09", f"integer of {len(digits)} digits (limit {MAX_INT_DIGITS})")
    return int(digits)


_decode = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
).decode


def _not_json(text: str, error: json.JSONDecodeError) -> BadRowError:
    column, message = error.pos + 1, error.msg
    if message.startswith("Invalid control character"):
        code = ord(text[error.pos])
        return BadRowError("AGB-I07", f"raw control character 0x{code:02x} at column {column}. Escape it")
    if message.startswith("Unterminated string"):
        return BadRowError("AGB-I06", "the line ends inside a string. Was the writer interrupted?")
    if error.pos >= len(text.rstrip()):
        return BadRowError(
            "AGB-I06", "the line ends inside an object. Write one row on each line, or was the writer interrupted?"
        )
    if message.startswith("Extra data"):
        return BadRowError(
            "AGB-I06", f"extra data after the row at column {column}. Write one object on each line"
        )
    return BadRowError("AGB-I06", f"not JSON at column {column} ({message[0].lower()}{message[1:]})")


def _check_depth(line: bytes) -> None:
    depth = deepest = 0
    for bracket in _NOT_BRACKETS.sub(b"", _STRING.sub(b"", line)):
        depth += 1 if bracket in _OPENING else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise BadRowError("AGB-I11", f"nested {deepest} deep (limit {MAX_DEPTH})")


def _check_escapes(text: str, row: dict[str, object]) -> None:
    """Escapes can say what no UTF-8 file can hold."""
    if "\\u0000" in text and (path := _where(row, lambda string: "\0" in string)):
        raise BadRowError("AGB-I07", f"{path} contains NUL, which databases cannot hold. Remove it")
    if ("\\ud" in text or "\\uD" in text) and (path := _where(row, _is_broken)):
        raise BadRowError("AGB-I08", f"unpaired surrogate in {path}; it cannot be written as UTF-8")


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _where(row: dict[str, object], fits: Callable[[str], bool]) -> str | None:
    return next((path for path, text in _strings(row, "") if fits(text)), None)


def _strings(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Strings below a value, names of fields included, with their places."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield f"a name in {path or 'the row'}", name
            yield from _strings(item, f"{path}.{ascii(name)[1:-1][:40]}" if path else ascii(name)[1:-1][:40])
