"""Walking a listing page by page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from airflow_provider_batch.errors import ProtocolError

T_co = TypeVar("T_co", covariant=True)


class Page(Protocol[T_co]):
    """One page of any listing."""

    @property
    def items(self) -> Iterable[T_co]:
        """What is listed. A page without items may still be followed by others."""
        ...

    @property
    def next_page_token(self) -> str:
        """Where the next page is, empty on the last one."""
        ...


class PageWalk:
    """Where a walk is. Refuses a listing that runs in a circle."""

    def __init__(self) -> None:
        self.token = ""
        self.goes_on = True
        self._seen: set[str] = set()

    def turn(self, next_token: str) -> None:
        """Go to the next page.

        :raises ProtocolError: It was shown before.
        """
        if next_token in self._seen:
            raise ProtocolError(
                "The listing came back to a page that it had shown before, so it has no end.",
                code="AGB-A07",
                remedy="Nothing was sent on the strength of this listing. Run the task again later.",
            )
        self._seen.add(next_token)
        self.token = next_token
        self.goes_on = bool(next_token)
