"""The names of a ledger's files: built and read here alone, so that they are the same for all.

They never change, as ledgers of earlier versions have them. A ``#`` in a kind stands for a number, from 1. The
order is the round, the shard in it, then the create call, the upload or what else is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PLAN = "plan.json"
"""Of the first round, of the trial before it, and of the batch."""

SUPERSEDED = "superseded.json"

NEXT_PLAN = "r#.plan.json"
"""Of the second round and those after it."""

CANCEL = "r#.cancel.json"
EXTENDED = "r#.extended#.json"
PUBLISHED = "r#.published.json"
TIDIED = "r#.tidied.json"

SESSION = "r#.s#.f#.session.json"
UPLOADED = "r#.s#.f#.file.json"
MEDIA = "r#.s#.a#.attached.json"
SENDING = "r#.s#.e#.sending.json"
OUTCOME = "r#.s#.e#.outcome.json"
REVOKED = "r#.s#.e#.revoked.json"
SCAN = "r#.s#.e#.scan#.json"
FETCHED = "r#.s#.fetched#.json"
LANDED = "r#.s#.landed.json"

NOTE = "r#.s#.note#.jsonl"
"""What single calls brought, and the right to make more of them."""

FORECAST = "r#.forecast.json"

RESULTS = "r#.s#.results.jsonl"
"""Result rows of a shard."""

QUARANTINE = "r#.s#.quarantine.jsonl"
"""Result lines that belong to no row of a shard."""


def name_of(kind: str, *numbers: int) -> str:
    """The name of a file.

    :param kind: One of the constants of this module.
    :param numbers: One for each ``#``.
    """
    first, *others = kind.split("#")
    return first + "".join(f"{number}{text}" for number, text in zip(numbers, others, strict=True))


def kind_of(name: str) -> tuple[str, tuple[int, ...]]:
    """The kind and the numbers of a file. The kind is none of the constants if the file is no ledger's."""
    return re.sub(r"\d+", "#", name), tuple(int(number) for number in re.findall(r"\d+", name))


def newest(names: Iterable[str], kind: str, *numbers: int) -> int:
    """The highest last number among the files of a kind, 0 if there is none.

    :param numbers: Those before the last.
    """
    # There are as many names as shards, and each shard asks.
    stem = name_of(kind.rpartition("#")[0], *numbers)
    found = (kind_of(name) for name in names if name.startswith(stem))
    return max((of[-1] for there, of in found if there == kind), default=0)


def publishing(round_number: int, owner: str) -> str:
    """The note that a visit has begun to publish a round.

    :param owner: The visit.
    """
    return f"{publishing_prefix(round_number)}{owner}.json"


def publishing_prefix(round_number: int) -> str:
    """What the names of all these notes of a round begin with."""
    return f"r{round_number}.publishing."


def spool_name(what: str, nonce: str) -> str:
    """A file of rows beside the plan.

    :param what: What the file holds: ``columns`` or ``skipped``.
    :param nonce: Keeps two tries apart that write at the same moment.
    """
    return f"{what}.{nonce}.jsonl"


def requests_name(round_number: int, shard_number: int, nonce: str) -> str:
    """The rows of a shard, as they are sent. See :func:`spool_name`."""
    return f"{shard_name(round_number, shard_number)}.{nonce}.requests.jsonl"


def shard_name(round_number: int, shard_number: int) -> str:
    """What the names of a shard's files begin with."""
    return f"r{round_number}.s{shard_number}"


def plan_of(round_number: int) -> str:
    """The plan of a round. The trial, round 0, and the first round are planned together."""
    return PLAN if round_number <= 1 else name_of(NEXT_PLAN, round_number)
