"""Which documents of a ledger are missing, by what the others say. Pure: names in, names out.

Each document was written after those that it rests on, and none is ever taken away while the ledger is in use. So
one that is there without them tells of a loss, and a loss must stop the task: where the right to send is lost,
and what came of it is not, a second job would be paid for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_ROUND = re.compile(r"r(\d+)\.(.+)")
_OF_SHARD = re.compile(r"s\d+\.(.+)")
_CALL = re.compile(r"e(\d+)\.(sending|outcome|revoked|scan(\d+))\.json")
_FILE = re.compile(r"f(\d+)\.file\.json")
_NUMBERED = re.compile(r"(a|fetched)(\d+)((?:\.attached)?\.json)")


def holes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each document that is not there, after one that rests on it.

    :param names: All documents of a generation.
    """
    there = set(names)
    for name in sorted(there):
        for needed in _needs(name):
            if needed not in there:
                yield name, needed


def _needs(name: str) -> Iterator[str]:
    if name == "superseded.json":
        yield "plan.json"
    match = _ROUND.fullmatch(name)
    if match is None or not name.endswith(".json"):
        return
    number, what = int(match[1]), match[2]
    is_plan = what == "plan.json"
    yield from [f"r{number - 1 if is_plan else number}.plan.json"] if number > 1 + is_plan else ["plan.json"]
    if what == "tidied.json":
        yield f"r{number}.published.json"
    of_shard = _OF_SHARD.fullmatch(what)
    if of_shard:
        stem = name.removesuffix(of_shard[1])
        yield from (stem + needed for needed in _needed_by(of_shard[1]))


def _needed_by(what: str) -> Iterator[str]:
    """The same within the documents of a shard."""
    if call := _CALL.fullmatch(what):
        number, kind, scan = int(call[1]), call[2], int(call[3] or 0)
        if kind != "sending":
            yield f"e{number}.sending.json"
        elif number > 1:
            yield f"e{number - 1}.outcome.json"
        if scan:
            yield f"e{number}.revoked.json"
        if scan > 1:
            yield f"e{number}.scan{scan - 1}.json"
    elif upload := _FILE.fullmatch(what):
        yield f"f{upload[1]}.session.json"
    elif (numbered := _NUMBERED.fullmatch(what)) and int(numbered[2]) > 1:
        yield f"{numbered[1]}{int(numbered[2]) - 1}{numbered[3]}"
