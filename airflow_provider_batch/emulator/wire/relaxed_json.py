"""JSON as Google's servers read it: a little more than the standard allows.

The guide's own commands quote with single quotes. Google's published parser (protobuf's ``json_stream_parser.cc``)
takes strings in either quote, with any character and any escape in them. It also takes names without quotes, and a
comma before a closing bracket. Nothing else is taken here either.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

_TOKEN = re.compile(
    r"""(?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
    |(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
    |(?P<other>-?[0-9][0-9.eE+-]*|[\[\]{}:,])
    |(?P<space>[ \t\r\n\v\f]+)""",
    re.VERBOSE | re.DOTALL,
)
_SPECIAL = re.compile(r'\\u[0-9A-Fa-f]{4}|\\.|["\x00-\x1f]', re.DOTALL)
_LITERALS = {"true", "false", "null"}
_STANDARD_ESCAPES = set('"\\/bfnrt')
_OPENING = {"{", "[", ",", ":"}


def decode_relaxed(text: str) -> dict[str, object]:
    """Read an object.

    :raises msgspec.DecodeError: Google's parser would refuse it, too.
    """
    return msgspec.json.decode(" ".join(_strict(_tokens(text))), type=dict[str, Any])


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise msgspec.DecodeError(f"unexpected character at {at}")
        if token.lastgroup != "space":
            found.append(_standard(token[0]) if token.lastgroup == "string" else token[0])
        at = token.end()
    return found


def _strict(tokens: list[str]) -> list[str]:
    """Quote the names, and leave out the commas that nothing follows."""
    written = []
    for before, word, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        if word == "," and after in ("}", "]") and before not in _OPENING:
            continue
        is_name = after == ":" and (word[0].isalpha() or word[0] in "_$") and word not in _LITERALS
        written.append(f'"{word}"' if is_name else word)
    return written


def _standard(string: str) -> str:
    return f'"{_SPECIAL.sub(_standard_escape, string[1:-1])}"'


def _standard_escape(found: re.Match[str]) -> str:
    text = found[0]
    if len(text) > 2 or (text[0] == "\\" and text[1:] in _STANDARD_ESCAPES):
        return text
    if text == r"\u":
        raise msgspec.DecodeError(r"\u without four hexadecimal digits")
    # Any other escaped character stands for itself.
    return json.dumps("\v" if text == r"\v" else text[-1])[1:-1]
