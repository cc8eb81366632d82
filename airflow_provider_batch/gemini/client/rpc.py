"""The google.rpc error body, and the hints in an answer about when to come back.

The body may be the error object or a one-element list around it, as both were seen. It may not be JSON at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from airflow_provider_batch.gemini.client.exchange import ApiAnswer

MIN_HINT_S, MAX_HINT_S = 1.0, 3600.0
"""A hint of the server is taken within these bounds, seconds."""


def rpc_error(body: bytes) -> dict[str, object] | None:
    """The ``error`` object of a google.rpc error body, None if the body is something else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) and "code" in error else None


def detail(error: Mapping[str, object], kind: str) -> dict[str, object]:
    """The first of the error's details whose type ends with ``kind``, empty if there is none."""
    details = error.get("details")
    for one in details if isinstance(details, list) else ():
        if isinstance(one, dict) and str(one.get("@type", "")).endswith(kind):
            return one
    return {}


def retry_hint_s(answer: ApiAnswer) -> float | None:
    """How long the server asks to wait: the longer of ``Retry-After`` and ``google.rpc.RetryInfo``.

    :return: Seconds within :data:`MIN_HINT_S` and :data:`MAX_HINT_S`. None without a hint that is a number.
    """
    delay = detail(rpc_error(answer.body) or {}, "RetryInfo").get("retryDelay", "")
    hints = [_seconds(answer.headers.get("retry-after", "")), _seconds(str(delay).removesuffix("s"))]
    return max((hint for hint in hints if hint is not None), default=None)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value else min(MAX_HINT_S, max(MIN_HINT_S, value))
