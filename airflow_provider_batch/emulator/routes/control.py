"""The control calls, under ``/emulator/``: the API has none of them, tests need them all."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_batch.emulator.faults import Fault
from airflow_provider_batch.emulator.state.lifecycle import forced
from airflow_provider_batch.emulator.wire.context import Emulation, reply
from airflow_provider_batch.emulator.wire.errors import ApiError, invalid, not_found


class Control:
    """The control calls of one server."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation

    async def health(self, _: Request) -> Response:
        """Say that the server answers, its time, and how many single calls wait for their answer."""
        return reply({"status": "ok", "now": self._emulation.now(), "waiting": self._emulation.alarms.waiting()})

    async def journal(self, _: Request) -> Response:
        """Return accepted changes and all requests."""
        journal = self._emulation.journal
        return reply({"calls": journal.calls(), "requests": journal.requests()})

    async def list_faults(self, _: Request) -> Response:
        """Return the faults that can still strike."""
        return reply({"faults": self._emulation.faults.armed()})

    async def add_fault(self, request: Request) -> Response:
        """Arm a fault."""
        try:
            fault = msgspec.json.decode(await request.body(), type=Fault)
            self._emulation.faults.add(fault)
        except (msgspec.DecodeError, ValueError) as problem:
            return _refusal(invalid(str(problem)))
        return reply(msgspec.to_builtins(fault))

    async def clear_faults(self, _: Request) -> Response:
        """Disarm all faults."""
        self._emulation.faults.clear()
        return reply({})

    async def force_job(self, request: Request) -> Response:
        """Force an outcome upon a batch. SUCCEEDED lets it finish now, and answers when it has."""
        batch = self._emulation.store.batch(request.path_params["batch"])
        if batch is None:
            return _refusal(not_found())
        try:
            wanted = msgspec.json.decode(await request.body(), type=_Forced)
        except msgspec.DecodeError as problem:
            return _refusal(invalid(str(problem)))
        batch = forced(batch, wanted.state, wanted.error, self._emulation.now())
        self._emulation.store.save_batch(batch)
        self._emulation.worker.schedule(batch)
        if batch.verdict is not None:
            self._emulation.deliveries.ended(batch, batch.verdict.state)
        await self._emulation.worker.ended(batch.id)
        return reply({"name": batch.name, "state": wanted.state})

    async def move_clock(self, request: Request) -> Response:
        """Move the clock forward."""
        try:
            step = msgspec.json.decode(await request.body(), type=_Step)
        except msgspec.DecodeError as problem:
            return _refusal(invalid(str(problem)))
        if step.advance_seconds < 0:
            return _refusal(invalid("the clock moves forward only"))
        self._emulation.store.clock.advance(step.advance_seconds)
        self._emulation.worker.clock_moved()
        self._emulation.alarms.clock_moved()
        return reply({"now": self._emulation.now()})


class _Forced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    state: str
    error: dict[str, Any] | None = None


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    advance_seconds: float


def _refusal(error: ApiError) -> Response:
    return reply(error.body(), error.status)
