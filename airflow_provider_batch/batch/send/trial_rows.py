"""Which rows of an input are tried: as if drawn by lot, and the same ones at each try."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from upath import UPath

from airflow_provider_batch.rows.check.shards import Cut, ShardLimits, ShardWriter
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import spool


class Part(NamedTuple):
    """Rows in a spool, and what of them goes together."""

    rows: BinaryIO
    cuts: list[Cut]


class Split(NamedTuple):
    """An input in two parts, each in the order of the input.

    :param places: Of the tried rows among all, from 0.
    """

    tried: Part
    others: Part
    places: tuple[int, ...]


@contextmanager
def chosen_apart(
    rows: BinaryIO, count: int, limits: ShardLimits, read_key: Callable[[bytes], str], near: UPath
) -> Iterator[Split]:
    """Put the rows of a trial apart: those whose keys have the lowest hashes.

    :param rows: All rows, a line each.
    :param count: How many are tried, at most.
    :param near: Where the rows may be kept later.
    """
    places = frozenset(_lowest(rows, count, read_key))
    with spool(near) as tried, spool(near) as others:
        writers = ShardWriter(tried, ShardLimits()), ShardWriter(others, limits)
        for place, line in _lines(rows):
            writers[place not in places].add(line)
        parts = Part(tried, writers[0].close()), Part(others, writers[1].close())
        yield Split(*parts, tuple(sorted(places)))


def _lowest(rows: BinaryIO, count: int, read_key: Callable[[bytes], str]) -> Iterator[int]:
    marks = ((hashlib.sha256(read_key(line).encode()).digest(), place) for place, line in _lines(rows))
    return (place for _, place in heapq.nsmallest(count, marks))


def _lines(rows: BinaryIO) -> Iterator[tuple[int, bytes]]:
    rows.seek(0)
    return ((number - 1, line or b"") for number, line in read_lines(rows))
