"""Batches: create from a file or inline, get, list, update, cancel, delete."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from starlette.responses import Response

from airflow_provider_batch.emulator.answers.schema_check import InputFacts, RowError, check_lines, check_request
from airflow_provider_batch.emulator.faults import JOB_CALL, LISTED_CALL, OUTPUT_CALL
from airflow_provider_batch.emulator.routes.models import known_model
from airflow_provider_batch.emulator.state.lifecycle import PENDING_SHARE, as_it_was, forced, job_view
from airflow_provider_batch.emulator.state.limits import check_new_batch
from airflow_provider_batch.emulator.state.records import BatchRecord, Kind, new_batch_id
from airflow_provider_batch.emulator.wire.context import Call, reply
from airflow_provider_batch.emulator.wire.errors import ApiError, file_not_visible, invalid, not_found
from airflow_provider_batch.emulator.wire.json import Message, camel_case, field, operation_json
from airflow_provider_batch.emulator.wire.paging import page_of

MAX_PAGE = 1000
DEFAULT_PAGE = 50


async def create_generate_batch(call: Call) -> Response:
    """Create a batch of GenerateContentRequests."""
    return await _create(call, "generate")


async def create_embed_batch(call: Call) -> Response:
    """Create a batch of EmbedContentRequests."""
    return await _create(call, "embed")


class _Input(NamedTuple):
    """The checked input of a new batch, already under the batch's own name."""

    facts: InputFacts
    file_name: str | None


async def _create(call: Call, kind: Kind) -> Response:
    method = "batchGenerateContent" if kind == "generate" else "asyncBatchEmbedContent"
    model = known_model(call.parameter("model"), kind, method)
    message = field(await call.json("BatchGenerateContentRequest"), "batch")
    if message is None:
        raise invalid("* BatchRequest.batch: batch is not specified")
    config = field(message, "inputConfig", {})
    file_name, inline = field(config, "fileName"), field(config, "requests")
    if (file_name is None) == (inline is None):
        raise invalid("* BatchRequest.batch.input_config: exactly one of file_name and requests must be specified")
    batch_id = new_batch_id()
    if file_name is not None:
        given = await _file_input(call, kind, batch_id, file_name)
    else:
        given = await _inline_input(call, kind, batch_id, field(inline, "requests", []))
    batch = _record(call, kind, batch_id, model, message, given)
    try:
        check_new_batch(call.emulation.limits, batch, _unfinished(call))
    except ApiError:
        call.emulation.store.input_path(batch_id).unlink(missing_ok=True)
        raise
    batch = _struck(call, batch)
    call.emulation.store.save_batch(batch)
    call.emulation.journal.accept_batch(batch)
    call.emulation.worker.schedule(batch)
    return reply(_operation(call, batch, call.emulation.now(), full=True))


def _unfinished(call: Call) -> Iterator[BatchRecord]:
    """Yield the batches that count: also those that a fault keeps out of sight."""
    now = call.emulation.now()
    for batch in call.emulation.store.all_batches():
        if batch.project == call.project and not job_view(batch, now).done:
            yield batch


def _struck(call: Call, batch: BatchRecord) -> BatchRecord:
    """Apply the faults that are about a job and not about a call."""
    faults = call.emulation.faults
    for fault in faults.strike(JOB_CALL):
        batch = forced(batch, fault.state, fault.error, batch.created_at)
    for fault in faults.strike(LISTED_CALL):
        batch = msgspec.structs.replace(batch, listed_at=batch.created_at + fault.seconds)
    for fault in faults.strike(OUTPUT_CALL):
        batch = msgspec.structs.replace(batch, output_delay_s=fault.seconds)
    return batch


def _record(call: Call, kind: Kind, batch_id: str, model: str, message: Message, given: _Input) -> BatchRecord:
    now = call.emulation.now()
    seconds = call.emulation.job_seconds
    return BatchRecord(
        id=batch_id,
        project=call.project,
        kind=kind,
        model=f"models/{model}",
        display_name=field(message, "displayName", ""),
        priority=_priority(message),
        input_file=given.file_name,
        rows=given.facts.rows,
        input_tokens=given.facts.tokens,
        created_at=now,
        starts_at=now + seconds * PENDING_SHARE,
        finishes_at=now + seconds,
    )


def _priority(message: Message) -> str | None:
    given = field(message, "priority")
    return None if given is None else str(int(given))


async def _file_input(call: Call, kind: Kind, batch_id: str, file_name: str) -> _Input:
    store = call.emulation.store
    file = store.file(file_name.removeprefix("files/"), call.project)
    if file is None:
        raise file_not_visible(file_name.removeprefix("files/"))
    if call.emulation.now() < file.active_at:
        raise invalid(f"The File {file.id} is not in an ACTIVE state and usage is not allowed.")
    # Linked before it is read: the file may be deleted meanwhile.
    store.keep_input(batch_id, store.file_path(file.id))
    facts = await asyncio.to_thread(_check_file, kind, store.input_path(batch_id))
    if facts.errors or not facts.rows:
        store.input_path(batch_id).unlink(missing_ok=True)
        raise invalid("\n".join(facts.errors) or "The input file has no requests.")
    return _Input(facts, file.name)


def _check_file(kind: Kind, path: Path) -> InputFacts:
    with path.open("rb") as lines:
        return check_lines(kind, lines)


async def _inline_input(call: Call, kind: Kind, batch_id: str, items: object) -> _Input:
    if not isinstance(items, list) or not items:
        raise invalid("* BatchRequest.batch.input_config.requests: requests must not be empty")
    lines = [_inline_line(kind, index, item) for index, item in enumerate(items)]
    await asyncio.to_thread(_write_lines, call.emulation.store.input_path(batch_id), lines)
    return _Input(check_lines(kind, lines), None)


def _inline_line(kind: Kind, index: int, item: Message) -> bytes:
    place = f"batch.input_config.requests.requests[{index}]"
    try:
        if not isinstance(item.get("request"), dict):
            raise RowError("request is not specified")
        check_request(kind, item["request"])
    except RowError as fault:
        message = f"Invalid JSON payload received. Invalid value at '{place}.request': {fault.reason}"
        violation = {"field": f"{place}.request", "description": fault.reason}
        detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
        raise invalid(message, [detail]) from None
    return msgspec.json.encode({"request": item["request"], "metadata": item.get("metadata")}) + b"\n"


def _write_lines(path: Path, lines: Iterable[bytes]) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as beside:
        beside.writelines(lines)
    Path(beside.name).replace(path)


async def get_batch(call: Call) -> Response:
    """Return the operation, with the results if there are any."""
    return reply(_operation(call, _visible_batch(call), call.emulation.now(), full=True))


async def list_batches(call: Call) -> Response:
    """Return a page of operations, newest first.

    Inline results are left out here. Whether the API lists them is unknown, and a client that relies on them would
    be wrong to.
    """
    at = call.listed_at()
    page, token = page_of(
        call, call.emulation.store.batches(call.project, at), default=DEFAULT_PAGE, maximum=MAX_PAGE
    )
    listed: dict[str, object] = {}
    if page:
        listed["operations"] = [_operation(call, as_it_was(batch, at), at, full=False) for batch in page]
    if token:
        listed["nextPageToken"] = token
    return reply(listed)


async def update_generate_batch(call: Call) -> Response:
    """Change a batch of GenerateContentRequests. The answer is the batch and not its operation."""
    return await _update(call, "generate")


async def update_embed_batch(call: Call) -> Response:
    """Change a batch of EmbedContentRequests."""
    return await _update(call, "embed")


async def _update(call: Call, kind: Kind) -> Response:
    batch = _visible_batch(call)
    if batch.kind != kind:
        raise not_found()
    message = await call.json("GenerateContentBatch")
    mask = call.request.query_params.get("updateMask") or call.request.query_params.get("update_mask") or ""
    paths = {camel_case(path.strip()) for path in mask.split(",") if path.strip()}
    if not paths or not paths <= {"displayName", "priority"}:
        raise invalid(f"Invalid update_mask: {mask!r}. The fields displayName and priority can be updated.")
    if "displayName" in paths:
        batch = msgspec.structs.replace(batch, display_name=field(message, "displayName", ""))
    if "priority" in paths:
        batch = msgspec.structs.replace(batch, priority=_priority(message))
    call.emulation.store.save_batch(batch)
    call.accept("batches.update", batch=batch.name)
    metadata = _operation(call, batch, call.emulation.now(), full=True)["metadata"]
    # Only an Any says its type. Here the call says it.
    return reply({name: value for name, value in metadata.items() if name != "@type"})


async def cancel_batch(call: Call) -> Response:
    """Cancel: before the start it is CANCELLED, later it succeeds with the remaining rows cancelled."""
    batch = _visible_batch(call)
    now = call.emulation.now()
    if not job_view(batch, now).done and batch.cancelled_at is None:
        batch = _cancelled(batch, now)
        call.emulation.store.save_batch(batch)
        call.emulation.worker.schedule(batch)
        call.emulation.deliveries.ended(batch, job_view(batch, now).state)
    call.accept("batches.cancel", batch=batch.name)
    return reply({})


def _cancelled(batch: BatchRecord, now: float) -> BatchRecord:
    if batch.verdict is None:
        return msgspec.structs.replace(batch, cancelled_at=now)
    # A batch that was made to hang in one state can still be cancelled, in that state.
    pending = batch.verdict.state == "BATCH_STATE_PENDING"
    started_at = now + 1 if pending else min(batch.starts_at, batch.verdict.at)
    return msgspec.structs.replace(batch, verdict=None, cancelled_at=now, starts_at=started_at)


async def delete_batch(call: Call) -> Response:
    """Delete a batch. One that still runs is stopped."""
    batch = _visible_batch(call)
    call.emulation.store.delete_batch(batch.id)
    call.accept("batches.delete", batch=batch.name)
    return reply({})


def _visible_batch(call: Call) -> BatchRecord:
    batch = call.emulation.store.batch(call.parameter("batch"), call.project)
    if batch is None:
        raise not_found()
    return batch


def _operation(call: Call, batch: BatchRecord, at: float, *, full: bool) -> Message:
    output: dict[str, object] | None = None
    shown = batch.outcome is not None and batch.outcome.output_at <= at
    if shown and batch.input_file is not None:
        output = {"responsesFile": f"files/{batch.output_file_id}"}
    elif shown and full:
        output = {"inlinedResponses": {"inlinedResponses": _inline_results(call, batch)}}
    return operation_json(batch, job_view(batch, at), output)


def _inline_results(call: Call, batch: BatchRecord) -> list[msgspec.Raw]:
    content = call.emulation.store.inline_output_path(batch.id).read_bytes()
    # Not splitlines: an answer may hold a character that only Python takes for the end of a line.
    return [msgspec.Raw(line) for line in content.split(b"\n") if line]
