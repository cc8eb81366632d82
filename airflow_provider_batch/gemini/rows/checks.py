"""What can be said of a request before it is paid for: fields in their places, values the API takes.

Both spellings of the protocol's JSON are known, ``generationConfig`` and ``generation_config``. What lies inside
tools, schemas and function arguments is left to the API.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import msgspec

from airflow_provider_batch.gemini.rows.field_types import check_range, check_type, whole
from airflow_provider_batch.gemini.rows.fields import (
    BLOB,
    CALLS,
    CONFIG_PATH,
    CONTENT,
    DATA,
    FILE,
    GENERATION_CONFIG,
    HOMES,
    PART,
    REQUEST,
    SCHEMAS,
    THINKING,
    THINKING_PATH,
)
from airflow_provider_batch.gemini.rows.names import camel_case
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.media import MediaFile
from airflow_provider_batch.rows.read.strict_json import json_type

LITTLE_FOR_THINKING = 1024
"""Tokens. Thinking counts towards maxOutputTokens (python-genai issue 811), so less is often used up by it."""

_encode = msgspec.json.Encoder().encode

_OPENAI = frozenset({"custom_id", "body", "method", "url"})

_ROLES = ("user", "model", None)
_FOREIGN_ROLES = {"assistant": "model", "system": "nothing: put the text into request.systemInstruction"}

_FILE_URI = re.compile(r"https://generativelanguage\.googleapis\.com/(?:\w+/)?(files/[a-z0-9-]{1,40})")
_EXTERNAL_URI = re.compile(r"https://[^/?#\s]+(?:[/?]|$)", re.IGNORECASE)
"""An address that the API fetches itself, in batch jobs too, says its documentation ("File input methods").

Also a video on YouTube.
"""

_LOOKING_UP = frozenset({"googleSearch", "googleSearchRetrieval", "googleMaps", "urlContext", "fileSearch"})

_THINKS = re.compile(r"gemini-(?:2\.5-(?:pro|flash(?!-lite|-image))|[3-9])")
"""Models that think unless told otherwise, by the API's documentation of thinking."""


class Facts(NamedTuple):
    """What checking a request shows, as in :class:`~airflow_provider_batch.rows.dialect.CheckedRow`."""

    text_bytes: int
    media: int = 0
    files: tuple[str, ...] = ()
    max_output: int | None = None
    caution: str | None = None
    uploads: int = 0
    answers: int = 1

    def __add__(self, other: Facts) -> Facts:  # type: ignore[override]
        return Facts(
            self.text_bytes + other.text_bytes,
            self.media + other.media,
            self.files + other.files,
            self.max_output or other.max_output,
            self.caution or other.caution,
            self.uploads + other.uploads,
            max(self.answers, other.answers),
        )


_NOTHING = Facts(0)


class RequestCheck:
    """Checks GenerateContentRequest objects and what stands beside them.

    :param model: The job's model without ``models/``. None = a row may name any.
    :param allow_unknown_fields: Pass fields that are not known here, as a newer API may know them.
    :param with_files: Pass files that are uploaded before the row is sent.
    """

    _homes: ClassVar[Mapping[str, str]] = HOMES

    def __init__(
        self, model: str | None = None, *, allow_unknown_fields: bool = False, with_files: bool = False
    ) -> None:
        self._model = model
        self._with_files = with_files
        self._thinks = model is not None and _THINKS.match(model) is not None
        self._allow_unknown = allow_unknown_fields
        self._shared: dict[str, Callable[[Any], Facts]] = {
            "generationConfig": self._config,
            "systemInstruction": self._system,
            "tools": _tools,
            "cachedContent": lambda _: Facts(0, media=1),
        }
        self._seen: dict[str, tuple[bytes, Facts]] = {}

    def row(self, row: Mapping[str, object]) -> None:
        """Check what stands beside the request.

        :raises BadRowError: A field that belongs elsewhere.
        """
        for name in row:
            if name not in ("key", "request", "metadata"):
                self._refuse(name, 'beside "request"', {})

    def has_place(self, name: str) -> bool:
        """Whether a name that stands beside the request is a field of it, or of another format."""
        return name in _OPENAI or name == "skipped" or self._home(name, {}) is not None

    def request(self, request: Mapping[str, object]) -> Facts:
        """Check a request.

        :raises BadRowError: The API would refuse it, or read it otherwise than it was meant.
        """
        fields = self._fields(request, REQUEST, "request")
        self._check_model(fields.get("model"))
        facts = self._contents(fields.get("contents"))
        for name, check in self._shared.items():
            if (value := fields.get(name)) is not None:
                facts += self._once(name, value, check)
        return facts

    def _once(self, name: str, value: object, check: Callable[[object], Facts]) -> Facts:
        """Check a field that is the same in most rows. Comparing is quicker than checking again."""
        # As JSON, where true is not 1.
        encoded = _encode(value)
        before, facts = self._seen.get(name, (b"", _NOTHING))
        if encoded != before:
            facts = check(value)
            self._seen[name] = encoded, facts
        return facts

    def _fields(self, given: object, known: Mapping[str, str], path: str) -> Mapping[str, Any]:
        """Fields by their camelCase names, with values of the right type. Null means unset."""
        if not isinstance(given, dict):
            raise BadRowError("AGB-I15", f"{path} must be an object, got {json_type(given)}")
        fields = given
        if not known.keys() >= given.keys():
            fields = {}
            for name, value in given.items():
                spelled = name if name in known else camel_case(name)
                if spelled in fields:
                    raise BadRowError("AGB-I10", f"{path}.{spelled} is given in two spellings. Leave one out")
                if spelled not in known:
                    self._refuse(name, f"in {path}", known)
                fields[spelled] = value
        for name, value in fields.items():
            kind = known.get(name, "any")
            if kind != "any" and value is not None:
                check_type(kind, value, f"{path}.{name}")
        return fields

    def _refuse(self, name: str, where: str, siblings: Mapping[str, str]) -> None:
        shown = ascii(name)[1:-1][:40]
        if name in _OPENAI and not siblings:
            raise BadRowError(
                "AGB-I15",
                f'"{shown}" {where} is OpenAI\'s batch format; its rows have "custom_id", "body", no "request"',
            )
        if name == "skipped" and not siblings:
            raise BadRowError(
                "AGB-I15",
                'the row was left out of an earlier batch, "skipped" says why. Correct the row at its source',
            )
        home = self._home(name, siblings)
        if home is None:
            if self._allow_unknown:
                return
            if not siblings:
                raise BadRowError(
                    "AGB-I15",
                    f'"{shown}" {where} is a column, and no field of the API. Name it in keep_columns to keep it '
                    "beside the answer, or leave it out",
                )
            raise BadRowError(
                "AGB-I15",
                f'unknown field "{shown}" {where}. Remove it, or set allow_unknown_fields=True if the API has '
                "it by now",
            )
        raise BadRowError("AGB-I15", f'unknown field "{shown}" {where}. Did you mean {home}?')

    def _home(self, name: str, siblings: Mapping[str, str]) -> str | None:
        """Where a field with this name belongs, or one that is spelled like it."""
        spelled = camel_case(name)
        if spelled in self._homes and spelled not in siblings:
            return self._homes[spelled]
        near = difflib.get_close_matches(spelled, [*siblings, *self._homes], n=1, cutoff=0.8)
        return None if not near else near[0] if near[0] in siblings else self._homes[near[0]]

    def _check_model(self, given: str | None) -> None:
        named = (given or "").removeprefix("models/")
        if named and self._model is not None and named != self._model:
            raise BadRowError(
                "AGB-I17",
                f"the row's model {ascii(named)[:80]} differs from the job's {self._model!r}. A job has one model",
            )

    def _config(self, config: object) -> Facts:
        fields = self._fields(config, GENERATION_CONFIG, CONFIG_PATH)
        for name, lowest, highest in (("temperature", 0, 2), ("topP", 0, 1), ("maxOutputTokens", 1, None)):
            check_range(fields.get(name), lowest, highest, f"{CONFIG_PATH}.{name}")
        cap = whole(fields.get("maxOutputTokens"))
        thinking: Mapping[str, object] = {}
        if fields.get("thinkingConfig") is not None:
            thinking = self._fields(fields["thinkingConfig"], THINKING, THINKING_PATH)
        budget = whole(thinking.get("thinkingBudget")) or 0
        if cap is not None and 0 < cap <= budget:
            raise BadRowError(
                "AGB-I27",
                f"{CONFIG_PATH}.maxOutputTokens={cap} is not above thinkingBudget={budget}. Thinking counts "
                "towards it, so nothing would be left for the answer",
            )
        caution = None
        if self._thinks and cap is not None and cap < LITTLE_FOR_THINKING and not thinking:
            caution = (
                f"maxOutputTokens is below {LITTLE_FOR_THINKING} and the model thinks by itself: thinking counts "
                "towards it, so answers may be cut off or empty. Raise it, or set thinkingConfig"
            )
        schemas = [schema for name in SCHEMAS if (schema := fields.get(name)) is not None]
        _check_schemas(schemas, fields.get("responseMimeType"))
        answers = max(1, whole(fields.get("candidateCount")) or 1)
        return Facts(_size(schemas), max_output=cap, caution=caution, answers=answers)

    def _system(self, system: object) -> Facts:
        path = "request.systemInstruction"
        if not isinstance(system, dict):
            raise BadRowError("AGB-I15", f'{path} must be {{"parts": [{{"text": ...}}]}}, got {json_type(system)}')
        return self._content(system, path)

    def _contents(self, contents: object) -> Facts:
        if not isinstance(contents, list) or not contents:
            got = "" if contents == [] else f", got {json_type(contents)}"
            raise BadRowError("AGB-I16", f"request.contents must be a list with at least one content{got}")
        facts = self._content(contents[0], "request.contents[0]")
        for index in range(1, len(contents)):
            facts += self._content(contents[index], f"request.contents[{index}]")
        if not facts.text_bytes and not facts.media:
            raise BadRowError("AGB-I16", "request.contents holds nothing but empty texts")
        return facts

    def _content(self, content: object, path: str) -> Facts:
        if not isinstance(content, dict):
            raise BadRowError(
                "AGB-I16", f'{path} must be {{"parts": [{{"text": ...}}]}}, got {json_type(content)}'
            )
        is_plain = content.keys() <= CONTENT.keys() and type(content.get("parts")) is list
        fields: Mapping[str, Any] = (
            content if is_plain and content.get("role") in _ROLES else self._fields(content, CONTENT, path)
        )
        role = fields.get("role")
        if role in _FOREIGN_ROLES:
            raise BadRowError(
                "AGB-I15", f'{path}.role is "{role}", which the API does not know. Use {_FOREIGN_ROLES[role]}'
            )
        parts = fields.get("parts")
        if not parts:
            raise BadRowError("AGB-I16", f"{path} needs parts with something in them")
        facts = self._part(parts[0], path, 0)
        for index in range(1, len(parts)):
            facts += self._part(parts[index], path, index)
        return facts

    def _part(self, part: object, above: str, index: int) -> Facts:
        if type(part) is dict and len(part) == 1 and type(text := part.get("text")) is str:
            return Facts(len(text) if text.isascii() else len(text.encode()))
        path = f"{above}.parts[{index}]"
        if isinstance(part, str):
            raise BadRowError("AGB-I16", f'{path} must be an object, got string. Write {{"text": ...}}')
        fields = self._fields(part, PART, path)
        if all(fields.get(name) is None for name in DATA) and fields.keys() <= PART.keys():
            raise BadRowError("AGB-I16", f"{path} has nothing in it. It needs a text, inlineData or fileData")
        text_bytes = len((fields.get("text") or "").encode())
        text_bytes += _size([call for name in CALLS if (call := fields.get(name)) is not None])
        media = uploads = 0
        files: tuple[str, ...] = ()
        if (blob := fields.get("inlineData")) is not None:
            self._needs(blob, BLOB, ("mimeType", "data"), f"{path}.inlineData")
            media = 1
        if (file := fields.get("fileData")) is not None:
            uri = self._needs(file, FILE, ("fileUri",), f"{path}.fileData")["fileUri"]
            media = 1
            if self._with_files and not is_address(uri) and MediaFile.parse(uri):
                uploads = 1
            else:
                files = _files(uri, f"{path}.fileData.fileUri")
        return Facts(text_bytes, media, files, uploads=uploads)

    def _needs(
        self, given: object, known: Mapping[str, str], names: tuple[str, ...], path: str
    ) -> Mapping[str, Any]:
        fields = self._fields(given, known, path)
        for name in names:
            if not fields.get(name):
                raise BadRowError("AGB-I16", f"{path} needs {name}")
        return fields


def is_address(uri: str) -> bool:
    """The API can fetch it, or says itself that it cannot."""
    return uri.lower().startswith(("http://", "https://"))


def _files(uri: str, path: str) -> tuple[str, ...]:
    if file := _FILE_URI.fullmatch(uri):
        return (file[1],)
    if _EXTERNAL_URI.match(uri):
        return ()
    raise BadRowError(
        "AGB-I18",
        f"{path} is neither a file of the Files API nor an https:// address. Give the media folder to "
        "have files uploaded, or give the uri that the API answered an upload with",
    )


def _check_schemas(schemas: list[object], mime_type: str | None) -> None:
    """By what the published document says of these fields."""
    if len(schemas) > 1:
        raise BadRowError(
            "AGB-I15", f"{CONFIG_PATH} has responseSchema and responseJsonSchema, which exclude each other"
        )
    if schemas and mime_type in (None, "", "text/plain"):
        raise BadRowError(
            "AGB-I15",
            f'{CONFIG_PATH} has a response schema, which needs "responseMimeType": "application/json" beside it',
        )


def _tools(tools: list[object]) -> Facts:
    """What they look up is read by the model, too, and its size is not known before."""
    names = {camel_case(name) for tool in tools if isinstance(tool, dict) for name in tool}
    return Facts(_size(tools), media=len(names & _LOOKING_UP))


def _size(value: object) -> int:
    """UTF-8 bytes of the texts and numbers in a JSON value, names included."""
    return sum(_sizes(value))


def _sizes(value: object) -> Iterator[int]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield len(name.encode())
            yield from _sizes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _sizes(item)
    else:
        yield len(str(value).encode())
