"""Where rows come from: files, queries, data frames, lists and generators, one record at a time.

A record is either a line or a mapping from column to value. A line is bytes, as it stands in a JSON Lines file.
The module :mod:`~airflow_provider_batch.rows.check.staging` decides what becomes of a record. No source reads
ahead more than a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

__all__ = [
    "Record",
    "Rows",
    "Source",
    "UnreadableRow",
    "choice",
    "lines",
    "same_names",
    "strict_json",
    "tables",
    "values",
]


class UnreadableRow(NamedTuple):
    """What should have been a row.

    :param code: Of the error, such as ``AGB-I08``.
    :param what: What is wrong with it, without its content.
    :param data: What there is of it.
    """

    code: str
    what: str
    data: bytes = b""


class Record(NamedTuple):
    """One row as it was found.

    :param number: 1-based: the line of its file, or the row of its table.
    :param data: A line without its line break, or columns. Or why it is neither. None if the line is longer than
        the cap.
    :param unit: What ``number`` counts, for messages.
    :param file: Which file, where the input is more than one. Else empty.
    """

    number: int
    data: bytes | Mapping[str, object] | UnreadableRow | None
    unit: str = "row"
    file: str = ""


def same_names(columns: Sequence[str]) -> str | None:
    """What is wrong with the names of columns. Of two with one name, a mapping would drop the first in silence."""
    twice = next((name for name, count in Counter(columns).items() if count > 1), None)
    return None if twice is None else f"has two columns of the same name, {ascii(twice)[:80]}"


class Source(Protocol):
    """Anything that gives records.

    :param name: For messages: a path, a URI, what kind of thing it is. Never a credential.
    """

    @property
    def name(self) -> str:
        """What the input is called in messages."""
        ...

    def __iter__(self) -> Iterator[Record]:
        """Read from the beginning."""
        ...


@dataclass(frozen=True)
class Rows:
    """Rows from a list, a generator or any other iterable.

    :param rows: Mappings: columns, or rows in the vendor's own format. A generator is read once.
    """

    rows: Iterable[Any]
    name: str = "the list of requests"

    def __iter__(self) -> Iterator[Record]:
        """Number the rows from 1."""
        for number, row in enumerate(self.rows, 1):
            yield Record(number, row)
