"""Which documents of a ledger are missing, by what the others say. Pure: names in, names out.

Each document was written after those that it rests on. None is ever taken away while the ledger is in use. So a
document that is there without them tells of a loss, and a loss must stop the task. Where the right to send is
lost, and its outcome is not, a second job would be paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_provider_batch.batch.ledger import names


def holes(there: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each document that is not there, after one that rests on it.

    :param there: All documents of a generation.
    """
    known = set(there)
    for name in sorted(known):
        for needed in _needs(name):
            if needed not in known:
                yield name, needed


def _needs(name: str) -> Iterator[str]:
    """Documents that this one rests on."""
    kind, numbers = names.kind_of(name)
    if kind == names.SUPERSEDED:
        yield names.PLAN
    elif kind == names.NEXT_PLAN:
        yield names.plan_of(numbers[0] - 1)
    elif kind in _OF_ROUND:
        yield names.plan_of(numbers[0])
        if needed := _WITH.get(kind):
            yield names.name_of(needed, *numbers[: needed.count("#")])
        if kind in _IN_ORDER and numbers[-1] > 1:
            yield names.name_of(_IN_ORDER[kind], *numbers[:-1], numbers[-1] - 1)


_WITH = {
    names.TIDIED: names.PUBLISHED,
    names.OUTCOME: names.SENDING,
    names.REVOKED: names.SENDING,
    names.SCAN: names.REVOKED,
    names.UPLOADED: names.SESSION,
}
"""Of the same numbers, as many as the other has."""

_IN_ORDER = {
    names.SENDING: names.OUTCOME,
    names.SCAN: names.SCAN,
    names.MEDIA: names.MEDIA,
    names.FETCHED: names.FETCHED,
}
"""Of the number before."""

_OF_ROUND = {*_WITH, *_IN_ORDER, names.CANCEL, names.EXTENDED, names.PUBLISHED, names.SESSION, names.LANDED}
