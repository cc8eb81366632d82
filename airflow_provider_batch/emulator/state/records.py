"""What the emulator remembers: uploads in progress, files and batches, as frozen values.

Times are seconds since the epoch on the emulator's clock. A record is replaced, never changed in place. So what is
on disk is always one of the values that existed in memory.
"""

from __future__ import annotations

import secrets
import string
from datetime import datetime, timezone
from typing import Any, Literal

import msgspec

FILE_LIFETIME_S = 48 * 3600.0
# The guide keeps batch results for six weeks and does not say whether that covers the results file.
RESULT_LIFETIME_S = 42 * 24 * 3600.0

_ALPHABET = string.ascii_lowercase + string.digits

Kind = Literal["generate", "embed"]
Tier = Literal["standard", "flex", "priority"]


class UploadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A resumable upload. How many bytes arrived is the size of its part file, nothing else."""

    id: str
    project: str
    file_id: str
    display_name: str
    mime_type: str
    declared_bytes: int | None
    created_at: float
    status: Literal["active", "final", "cancelled"] = "active"


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored file. ``active_at`` lies in the future while the file is still PROCESSING."""

    id: str
    project: str
    display_name: str
    mime_type: str
    size_bytes: int
    sha256: str
    created_at: float
    active_at: float
    source: Literal["UPLOADED", "GENERATED"] = "UPLOADED"

    @property
    def name(self) -> str:
        """The resource name, as clients write it."""
        return f"files/{self.id}"

    @property
    def expires_at(self) -> float:
        """When the file stops being visible."""
        return self.created_at + (FILE_LIFETIME_S if self.source == "UPLOADED" else RESULT_LIFETIME_S)


class WebhookRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver of events of a project."""

    id: str
    project: str
    uri: str
    subscribed_events: list[str]
    secret: str
    created_at: float

    @property
    def name(self) -> str:
        """The resource name, as clients write it."""
        return f"webhooks/{self.id}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome forced from outside: a state, since when, and an ``Operation.error`` if any."""

    state: str
    at: float
    error: dict[str, Any] | None = None


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a real account would have been billed for. ``input`` includes ``cached``."""

    input: int = 0
    cached: int = 0
    output: int = 0
    thinking: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            input=self.input + other.input,
            cached=self.cached + other.cached,
            output=self.output + other.output,
            thinking=self.thinking + other.thinking,
        )


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a batch that wrote results.

    ``output_at`` lies behind ``at`` if the results show later than the success.
    """

    at: float
    succeeded: int
    failed: int
    tokens: Tokens = Tokens()
    output_at: float = 0.0


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One batch. Its state is not stored: it follows from these facts and the clock.

    Three facts are for faults. The first is from when on it is listed, the second how much later than its success
    the results show. The third is whether the API has forgotten that it exists, while it runs on and is billed.
    """

    id: str
    project: str
    kind: Kind
    model: str
    display_name: str
    priority: str | None
    input_file: str | None
    rows: int
    input_tokens: int = 0
    created_at: float
    starts_at: float
    finishes_at: float
    cancelled_at: float | None = None
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    listed_at: float = 0.0
    output_delay_s: float = 0.0
    forgotten: bool = False

    @property
    def name(self) -> str:
        """The resource name, as clients write it."""
        return f"batches/{self.id}"

    @property
    def output_file_id(self) -> str:
        """The id of the results file: 42 characters, two more than DELETE of a file accepts."""
        return f"batch-{self.id}"


def new_batch_id() -> str:
    """Return 36 lowercase alphanumerics, the form of the ids seen in published captures."""
    return _random_id(36)


def new_file_id() -> str:
    """Return 12 lowercase alphanumerics. The schema allows up to 40."""
    return _random_id(12)


def new_upload_id() -> str:
    """Return an id that cannot be guessed: it is the only credential of the chunks."""
    return _random_id(48)


def timestamp(at: float) -> str:
    """Write a time as the API does: RFC 3339 in UTC with a ``Z``."""
    moment = datetime.fromtimestamp(at, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _random_id(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
