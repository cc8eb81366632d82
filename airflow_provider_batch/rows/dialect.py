"""The words for a row, and what a vendor's dialect must be able to say in them."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from airflow_provider_batch.rows.media import MediaFile

    # Without an output type an answer is any JSON value. Python before 3.13 has no defaults of type variables.
    Parsed = TypeVar("Parsed", default=Any)
else:
    from typing import TypeVar

    Parsed = TypeVar("Parsed")


class RowStatus(str, enum.Enum):
    """How one input row ended. Every row ends in exactly one of these."""

    SUCCESS = "success"
    """An answer that can be used."""
    ERROR = "error"
    """The API answered the row with an error."""
    BLOCKED = "blocked"
    """The API says that it held back the prompt or the answer (safety, recitation and so on). Tokens may have been
    billed."""
    TRUNCATED = "truncated"
    """The answer stopped at the token limit. What there is of it is kept."""
    INVALID_OUTPUT = "invalid_output"
    """The model answered, and not with what was asked for.

    The answer is not of the output type, holds nothing, or was broken off by a malformed call. It is kept, and may
    be right the next time.
    """
    CANCELLED = "cancelled"
    """The job was cancelled before the row's turn."""
    EXPIRED = "expired"
    """The job ran out of time before the row's turn."""
    MISSING = "missing"
    """The results hold no line for the row."""

    def __str__(self) -> str:
        """The word alone. Python 3.11 and newer would print the name of the class."""
        return self.value

    def __format__(self, format_spec: str) -> str:
        """As its text."""
        return format(self.value, format_spec)


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one row, or of many added up. ``output`` leaves thinking out. Both are billed as output.

    :param input: Prompt tokens, cached ones included.
    :param cached: The part of ``input`` that came from a context cache.
    :param output: Answer tokens without thinking.
    :param thinking: Thinking tokens.
    :param audio: The part of ``input`` that is audio.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    thinking: int = 0
    audio: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input + other.input,
            self.cached + other.cached,
            self.output + other.output,
            self.thinking + other.thinking,
            self.audio + other.audio,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.input - other.input,
            self.cached - other.cached,
            self.output - other.output,
            self.thinking - other.thinking,
            self.audio - other.audio,
        )


class RowError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a row has no usable answer.

    :param code: google.rpc code such as 3 (INVALID_ARGUMENT). 0 where there is none.
    :param message: The vendor's words. May be empty.
    """

    code: int = 0
    message: str = ""


_PASSING = frozenset({2, 4, 8, 10, 13, 14, 408, 429, 500, 502, 503, 504})
"""UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE of google.rpc.Code.

Their like among HTTP status codes is here, too, as those have been seen in their place.
"""


def may_pass(code: int) -> bool:
    """The same request may succeed later."""
    return code in _PASSING


NULL = msgspec.Raw(b"null")
"""No response, or no text."""


_BLANK = re.compile(rb'"(?: |\\[nrtfb])*"')


def is_blank(text: msgspec.Raw) -> bool:
    """A JSON string without anything but white space."""
    return _BLANK.fullmatch(bytes(text)) is not None


class ResultRow(msgspec.Struct, Generic[Parsed], frozen=True, omit_defaults=True):
    """One row's result, as landed and as read back. ``ResultRow[Label]`` is one whose ``parsed`` is a ``Label``.

    :param key: The key of the input row.
    :param status: How the row ended.
    :param text: The answer's text, thoughts left out. None if there is none.
    :param finish_reason: Why the model stopped, in the API's word, such as ``STOP``.
    :param usage: Tokens. None if the API reported none.
    :param error: Set unless the status is ``success``.
    :param parsed: The answer as a value of the output type, if one was asked for and the answer is of it.
    :param note: What was done to make ``parsed`` of the text, if it is not simply JSON. None if nothing was.
    :param source: Kept columns of the input row, if any were asked for.
    :param vector: The answer of an embeddings job. ``response`` is left out then.
    :param response: The vendor's whole answer as undecoded JSON, for ``msgspec.json.decode(row.response)``. JSON
        ``null`` if there is none.
    """

    key: str
    status: RowStatus
    text: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: RowError | None = None
    parsed: Parsed | None = None
    note: str | None = None
    source: dict[str, Any] | None = None
    vector: list[float] | None = None
    response: msgspec.Raw = NULL


class LandedRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A :class:`ResultRow` on its way to a file: the text is undecoded JSON, as it is only passed on.

    :param text: A JSON string. JSON ``null`` if there is none.
    """

    key: str
    status: RowStatus
    text: msgspec.Raw = NULL
    finish_reason: str | None = None
    usage: Usage | None = None
    error: RowError | None = None
    parsed: object = None
    note: str | None = None
    source: dict[str, Any] | None = None
    vector: list[float] | None = None
    response: msgspec.Raw = NULL

    @property
    def has_text(self) -> bool:
        """There is a text, and something in it."""
        return self.text is not NULL and bytes(self.text) not in (b"null", b'""')

    @property
    def is_empty(self) -> bool:
        """An answer, and nothing in it but white space. One without any text is a call, an image or a vector."""
        return self.status is RowStatus.SUCCESS and is_blank(self.text)


class BadRowError(Exception):
    """A line that is not a row.

    :param code: Stable identifier such as ``AGB-I13``.
    :param what: What is wrong with it, without its content.
    :param key: The row's key, if it has a readable one.
    """

    def __init__(self, code: str, what: str, key: str | None = None) -> None:
        self.code = code
        self.what = what
        self.key = key
        super().__init__(what)


BYTES_PER_TOKEN = 4
"""About four characters of English a token, says the API's documentation ("Understand and count tokens")."""

TOKENS_PER_MEDIUM = 258
"""Of a small image, by the same page. Recordings and large images have more. The number is not known before."""


class CheckedRow(NamedTuple):
    """What an input line is, and what matters for its cost.

    :param key: The row's key.
    :param text_bytes: UTF-8 bytes of what the model reads as text, tools and schemas included.
    :param media: Parts whose tokens cannot be told from their size: images, audio, video, documents, a cached
        context. Also what a tool looks up.
    :param files: Names (``files/...``) of uploaded files that the row refers to.
    :param max_output: The row's cap on the output tokens of an answer, None if it has none.
    :param caution: What is allowed and seldom meant. None if there is nothing to say.
    :param uploads: Files that are uploaded before the row is sent.
    :param answers: How many answers the row asks for.
    """

    key: str
    text_bytes: int
    media: int = 0
    files: tuple[str, ...] = ()
    max_output: int | None = None
    caution: str | None = None
    uploads: int = 0
    answers: int = 1

    @property
    def tokens(self) -> int:
        """Rough number of input tokens."""
        return -(-self.text_bytes // BYTES_PER_TOKEN) + self.media * TOKENS_PER_MEDIUM


class RowDialect(Protocol):
    """A vendor's row format."""

    def check_request(self, line: bytes) -> CheckedRow:
        """Check an input line, or raise :class:`BadRowError`."""
        ...

    def read_key(self, line: bytes) -> str:
        """Return the key of a line that :meth:`check_request` accepted."""
        ...

    def with_addresses(self, line: bytes, address: Callable[[MediaFile, str], str]) -> bytes:
        """Put the address of each file, told by its name and its media type, into a checked line."""
        ...

    def read_result(self, line: bytes) -> LandedRow:
        """Classify a line of a result file, or raise :class:`BadRowError`."""
        ...
