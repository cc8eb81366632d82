"""Pages of a list that may change between them: a token names the last item already given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Protocol, TypeVar

from airflow_provider_batch.emulator.wire.context import Call, page_size
from airflow_provider_batch.emulator.wire.errors import invalid


class Listed(Protocol):
    """An item of a list, newest first."""

    @property
    def id(self) -> str:
        """Unique among the items."""

    @property
    def created_at(self) -> float:
        """Seconds since the epoch."""


Item = TypeVar("Item", bound=Listed)


def page_of(call: Call, items: Sequence[Item], *, default: int, maximum: int) -> tuple[list[Item], str | None]:
    """Cut the page that the request asks for.

    A token is given only if more items follow: the official SDK breaks on an empty page.

    :returns: the items, and the token of the next page or None.
    :raises ApiError: a page size or a token that is not valid.
    """
    size = page_size(call, default, maximum)
    token = call.request.query_params.get("pageToken") or call.request.query_params.get("page_token")
    remaining = list(items) if not token else _after(items, _decode(token))
    page = remaining[:size]
    more = len(remaining) > size
    return page, _encode(page[-1]) if more else None


def _after(items: Sequence[Item], mark: tuple[float, str]) -> list[Item]:
    # By time, not by position: the marked item may have been deleted since.
    position = next((at for at, item in enumerate(items) if item.id == mark[1]), None)
    if position is not None:
        return list(items[position + 1 :])
    return [item for item in items if item.created_at < mark[0]]


def _encode(item: Listed) -> str:
    return base64.urlsafe_b64encode(f"{item.created_at!r} {item.id}".encode()).decode().rstrip("=")


def _decode(token: str) -> tuple[float, str]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        created_at, _, item_id = text.partition(" ")
        return float(created_at), item_id
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise invalid("Invalid page token.") from None
