"""Writing the results of a batch: one row in, one row out, in constant memory.

Runs in a worker thread. Results are written beside their final name and renamed when complete. So a killed process
leaves none rather than half of them, and the next process writes the same ones again.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from airflow_provider_batch.emulator.answers.in_order import in_order
from airflow_provider_batch.emulator.answers.schema_check import InputRow, read_row
from airflow_provider_batch.emulator.answers.texts import (
    AnswerFunction,
    answer_row,
    embedded,
    files_in,
    prompt_tokens,
)
from airflow_provider_batch.emulator.faults import INTERNAL_ERROR, Fault
from airflow_provider_batch.emulator.state.lifecycle import rows_served
from airflow_provider_batch.emulator.state.records import BatchRecord, Tokens
from airflow_provider_batch.emulator.wire.errors import file_not_visible
from airflow_provider_batch.emulator.wire.json import Message

# Rows are shuffled within windows of this many: the whole of a large file would not fit in memory.
_SHUFFLED_ROWS = 10_000
_FEW = 3

_CANCELLED_ROW: dict[str, object] = {"error": {"code": 1}}


class StoppedError(Exception):
    """The batch was deleted or the server is stopping. Nothing was published."""


class ResultFacts(NamedTuple):
    """What the record of a results file needs to know."""

    succeeded: int
    failed: int
    size_bytes: int
    sha256: str
    tokens: Tokens


class _Asked(NamedTuple):
    """A row, the batch as it was when the row's turn came, and whether the row still gets an answer."""

    row: InputRow
    batch: BatchRecord
    served: bool


class _Result(msgspec.Struct, frozen=True):
    """What became of one row. Its line may be written more than once, or not at all.

    :ivar key: by which faults choose the row, wherever it has one.
    :ivar named: what the answer's line repeats of the row's.
    :ivar body: the answer, or the error.
    """

    key: str | None
    named: Message
    body: dict[str, object]
    tokens: Tokens
    broken: bool = False
    lines: int = 1


class ResultJob(NamedTuple):
    """One writing of results.

    :param inline: the answers stay with the batch, with their metadata and without keys.
    :param current: returns the batch as it is now, or None when it is to stop. Asked for every row, because a
        cancellation may arrive in the middle.
    :param has_file: says whether a file of this id is there for the batch's project when the batch ends.
    """

    input_path: Path
    output_path: Path
    inline: bool
    faults: list[Fault]
    function: AnswerFunction | None
    workers: int
    current: Callable[[], BatchRecord | None]
    has_file: Callable[[str], bool]


def write_results(job: ResultJob) -> ResultFacts:
    """Answer every row of the input and publish the results.

    :raises StoppedError: see there.
    """
    beside = job.output_path.with_name(f".{job.output_path.name}.new")
    try:
        facts = _write(job, beside)
    except StoppedError:
        beside.unlink(missing_ok=True)
        raise
    beside.replace(job.output_path)
    return facts


def _write(job: ResultJob, path: Path) -> ResultFacts:
    digest = hashlib.sha256()
    tokens = Tokens()
    succeeded = failed = size = 0
    with path.open("wb", buffering=1 << 20) as output:
        for result in _mutated(_answered(job), job.faults):
            lines = _line(result, inline=job.inline) * result.lines
            output.write(lines)
            digest.update(lines)
            size += len(lines)
            # A row is billed once, even if a fault spoils its line. It is counted if there is a line.
            tokens += result.tokens
            if result.lines:
                succeeded += "response" in result.body
                failed += "response" not in result.body
    return ResultFacts(succeeded, failed, size, digest.hexdigest(), tokens)


def _answered(job: ResultJob) -> Iterator[_Result]:
    def answer(asked: _Asked) -> tuple[_Asked, Message]:
        return asked, _answer(asked, job)

    for asked, body in in_order(answer, _asked(job), job.workers):
        yield _result(asked.row, body, billed(asked.row.request, body))


def _asked(job: ResultJob) -> Iterator[_Asked]:
    number = 0
    with job.input_path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            batch = job.current()
            if batch is None:
                raise StoppedError
            yield _Asked(read_row(line), batch, served=number < rows_served(batch))
            number += 1


def _answer(asked: _Asked, job: ResultJob) -> dict[str, object]:
    row, batch = asked.row, asked.batch
    if not asked.served:
        return dict(_CANCELLED_ROW)
    for file_id in files_in(row.request):
        if not job.has_file(file_id):
            return {"error": {"code": 7, "message": file_not_visible(file_id).message}}
    if batch.kind == "embed":
        return {"response": embedded(row.request, batch.model)}
    return answer_row(row.request, _key(row), batch.model, job.function)


def billed(request: Message, body: Message) -> Tokens:
    """Return what an answer costs. One that failed costs nothing.

    :param body: ``{"response": ...}`` or ``{"error": ...}``.
    """
    response = body.get("response")
    if response is None:
        return Tokens()
    usage = response.get("usageMetadata") or {}
    return Tokens(
        input=usage.get("promptTokenCount", 0) if usage else sum(prompt_tokens(request)),
        cached=usage.get("cachedContentTokenCount", 0),
        output=usage.get("candidatesTokenCount", 0),
        thinking=usage.get("thoughtsTokenCount", 0),
    )


def _result(row: InputRow, body: dict[str, object], tokens: Tokens) -> _Result:
    named = {"key": row.key, "metadata": row.metadata}
    return _Result(_key(row), {name: value for name, value in named.items() if value is not None}, body, tokens)


def _key(row: InputRow) -> str | None:
    if row.key is not None:
        return row.key
    key = (row.metadata or {}).get("key")
    return key if isinstance(key, str) else None


def _line(result: _Result, *, inline: bool) -> bytes:
    if result.broken and inline:
        # Half a JSON object would break the whole reply, not one row: an empty one is the closest.
        return b"{}\n"
    encoded = msgspec.json.encode({**result.named, **result.body})
    return (encoded[: len(encoded) // 2] if result.broken else encoded) + b"\n"


def _mutated(results: Iterable[_Result], faults: list[Fault]) -> Iterator[_Result]:
    mutated: Iterator[_Result] = iter(results)
    for fault in faults:
        mutated = _shuffled(mutated) if fault.mutation == "shuffle" else _changed(mutated, fault)
    return mutated


def _shuffled(results: Iterator[_Result]) -> Iterator[_Result]:
    shuffle = random.Random(0).shuffle  # noqa: S311 - the same disorder every time is the point
    window: list[_Result] = []
    for result in results:
        window.append(result)
        if len(window) == _SHUFFLED_ROWS:
            shuffle(window)
            yield from window
            window = []
    shuffle(window)
    # Two or three rows may come out of a shuffle as they went in.
    yield from window if len(window) > _FEW else window[::-1]


def _changed(results: Iterator[_Result], fault: Fault) -> Iterator[_Result]:
    for number, result in enumerate(results, start=1):
        if _is_chosen(fault, result, number):
            yield _change(fault, result)
        else:
            yield result


def _is_chosen(fault: Fault, result: _Result, number: int) -> bool:
    if fault.keys:
        return result.key in fault.keys
    return number % max(fault.every, 1) == 0


def _change(fault: Fault, result: _Result) -> _Result:
    change = functools.partial(msgspec.structs.replace, result)
    if fault.mutation == "drop":
        return change(lines=0)
    if fault.mutation == "duplicate":
        return change(lines=2)
    if fault.mutation == "corrupt":
        return change(broken=True)
    if fault.mutation == "error":
        return change(body={"error": fault.error or INTERNAL_ERROR}, tokens=Tokens())
    return change(body={"response": fault.response})
