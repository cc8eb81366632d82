"""What a project may have at one time, or send in a minute, and the refusals of what goes beyond.

The defaults are the documented ones. The table of queued tokens is a copy of about January 2026 and knows no newer
models. A refused create says no more than the API has been seen to say (langchain4j issue 3942). So too many jobs
and too many tokens look the same. A refused upload names its quota (alphaXiv/feedback issue 16).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_batch.emulator.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from airflow_provider_batch.emulator.state.records import BatchRecord, FileRecord

GIB = 1024**3

# Millions of tokens on tiers 1, 2 and 3, for all jobs of a model that have not ended.
_QUEUED_MILLIONS = {
    "gemini-3-pro-preview": (50, 500, 1000),
    "gemini-3-flash-preview": (3, 400, 500),
    "gemini-2.5-pro": (5, 500, 1000),
    "gemini-2.5-flash": (3, 400, 1000),
    "gemini-2.5-flash-lite": (10, 500, 1000),
    "gemini-2.0-flash": (10, 1000, 5000),
    "gemini-3-pro-image-preview": (2, 270, 1000),
}
EXCEEDED = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
_STORAGE = "generativelanguage.googleapis.com/file_storage_bytes"
HELP = {
    "@type": "type.googleapis.com/google.rpc.Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}


class Limits(NamedTuple):
    """The limits of each project.

    :param max_jobs: batches that have not ended.
    :param max_file_bytes: of one uploaded file.
    :param max_storage_bytes: of all files, results included.
    :param tier: 1, 2 or 3 for the documented limits of queued tokens by model. 0 = none.
    :param max_queued_tokens: instead of the tier: one limit for every model.
    :param requests_per_minute: single calls of each model. None = any number, also of the next two.
    :param tokens_per_minute: of the input of single calls of each model.
    :param priority_requests_per_minute: what goes beyond is served as standard.
    """

    max_jobs: int = 100
    max_file_bytes: int = 2 * GIB
    max_storage_bytes: int = 20 * GIB
    tier: int = 0
    max_queued_tokens: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    priority_requests_per_minute: int | None = None

    def queued_tokens(self, model: str) -> int | None:
        """Return how many tokens may be queued for a model, None for any number.

        :param model: ``models/...``.
        """
        if self.max_queued_tokens is not None:
            return self.max_queued_tokens
        by_tier = _QUEUED_MILLIONS.get(model.removeprefix("models/"))
        return by_tier[self.tier - 1] * 1_000_000 if by_tier and self.tier else None


def check_new_batch(limits: Limits, batch: BatchRecord, unfinished: Iterable[BatchRecord]) -> None:
    """Refuse a batch that is one too many, or whose tokens are.

    :param unfinished: the other batches of its project that have not ended.
    :raises ApiError: 429.
    """
    others = list(unfinished)
    allowed = limits.queued_tokens(batch.model)
    queued = batch.input_tokens + sum(other.input_tokens for other in others if other.model == batch.model)
    if len(others) >= limits.max_jobs or (allowed is not None and queued > allowed):
        raise ApiError(429, EXCEEDED, [HELP])


def check_new_file(limits: Limits, size_bytes: int, files: Iterable[FileRecord]) -> None:
    """Refuse a file that is too large, or for which there is no room.

    :param files: the others of its project.
    :raises ApiError: 400 or 429.
    """
    check_file_size(limits, size_bytes)
    allowed = limits.max_storage_bytes
    if size_bytes + sum(file.size_bytes for file in files) > allowed:
        violation = {"quotaMetric": _STORAGE, "quotaId": "FileStorageBytesPerProject", "quotaValue": str(allowed)}
        failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
        message = f"{EXCEEDED}\n* Quota exceeded for metric: {_STORAGE}, limit: {allowed}"
        raise ApiError(429, message, [failure, HELP])


def check_file_size(limits: Limits, size_bytes: int) -> None:
    """Refuse a file that is too large.

    :raises ApiError: 400.
    """
    if size_bytes > limits.max_file_bytes:
        raise invalid(f"File is too large: the limit is {limits.max_file_bytes} bytes.")
