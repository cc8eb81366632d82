"""The application: which path is which call, and the replies to paths that are none."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from airflow_provider_batch.emulator.answers.single import SingleAnswers
from airflow_provider_batch.emulator.answers.texts import AnswerFunction
from airflow_provider_batch.emulator.faults import FaultPlan
from airflow_provider_batch.emulator.routes import batches, content, files, models, upload, webhooks
from airflow_provider_batch.emulator.routes.control import Control
from airflow_provider_batch.emulator.state.alarms import Alarms
from airflow_provider_batch.emulator.state.deliveries import Deliveries
from airflow_provider_batch.emulator.state.journal import Journal
from airflow_provider_batch.emulator.state.limits import Limits
from airflow_provider_batch.emulator.state.rates import Rates
from airflow_provider_batch.emulator.state.store import Store
from airflow_provider_batch.emulator.state.uploads import PartFiles
from airflow_provider_batch.emulator.state.worker import Worker
from airflow_provider_batch.emulator.wire.auth import project_keys
from airflow_provider_batch.emulator.wire.context import Emulation, reply
from airflow_provider_batch.emulator.wire.errors import error_body
from airflow_provider_batch.emulator.wire.gate import Connections, Gate, Handler, Namer

VERSIONS = ("v1", "v1beta", "v1alpha")

_Served = tuple[str, str, "str | Namer", Handler]

# Order matters: a custom verb after a colon would otherwise be taken for a part of the name.
_CALLS: list[_Served] = [
    ("POST", "/upload/{v}/files", upload.upload_call_names, upload.upload),
    ("POST", "/resumable/upload/{v}/files", upload.upload_call_names, upload.upload),
    ("GET", "/{v}/files/{file}:download", "files.download", files.download_file),
    ("GET", "/download/{v}/files/{file}:download", "files.download", files.download_file),
    ("GET", "/{v}/files/{file}", "files.get", files.get_file),
    ("DELETE", "/{v}/files/{file}", "files.delete", files.delete_file),
    ("GET", "/{v}/files", "files.list", files.list_files),
    ("POST", "/{v}/models/{model}:batchGenerateContent", "batches.create", batches.create_generate_batch),
    ("POST", "/{v}/models/{model}:asyncBatchEmbedContent", "batches.create", batches.create_embed_batch),
    ("POST", "/{v}/models/{model}:generateContent", "models.generateContent", content.generate_content),
    ("POST", "/{v}/models/{model}:embedContent", "models.embedContent", content.embed_content),
    ("POST", "/{v}/models/{model}:batchEmbedContents", "models.batchEmbedContents", content.embed_contents),
    ("POST", "/{v}/models/{model}:countTokens", "models.countTokens", models.count_tokens),
    ("GET", "/{v}/models/{model}", "models.get", models.get_model),
    ("GET", "/{v}/models", "models.list", models.list_models),
    ("POST", "/{v}/batches/{batch}:cancel", "batches.cancel", batches.cancel_batch),
    ("PATCH", "/{v}/batches/{batch}:updateGenerateContentBatch", "batches.update", batches.update_generate_batch),
    ("PATCH", "/{v}/batches/{batch}:updateEmbedContentBatch", "batches.update", batches.update_embed_batch),
    ("GET", "/{v}/batches/{batch}", "batches.get", batches.get_batch),
    ("DELETE", "/{v}/batches/{batch}", "batches.delete", batches.delete_batch),
    ("GET", "/{v}/batches", "batches.list", batches.list_batches),
    ("POST", "/{v}/webhooks/{webhook}:rotateSigningSecret", "webhooks.rotate", webhooks.rotate_secret),
    ("GET", "/{v}/webhooks/{webhook}", "webhooks.get", webhooks.get_webhook),
    ("DELETE", "/{v}/webhooks/{webhook}", "webhooks.delete", webhooks.delete_webhook),
    ("POST", "/{v}/webhooks", "webhooks.create", webhooks.create_webhook),
    ("GET", "/{v}/webhooks", "webhooks.list", webhooks.list_webhooks),
]


def build_emulation(
    data_dir: Path,
    *,
    job_seconds: float,
    call_seconds: float,
    clock_speed: float,
    api_keys: list[str],
    limits: Limits,
    function: AnswerFunction | None,
    workers: int,
) -> Emulation:
    """Read the state of a data directory and assemble the parts around it."""
    store = Store(data_dir, clock_speed)
    faults = FaultPlan(data_dir / "faults.json")
    journal = Journal(data_dir, store.clock)
    journal.complete(store.all_batches())
    deliveries = Deliveries(store)
    return Emulation(
        store=store,
        journal=journal,
        faults=faults,
        parts=PartFiles(),
        worker=Worker(store, journal, deliveries, faults, function, workers),
        deliveries=deliveries,
        answers=SingleAnswers(function, workers),
        alarms=Alarms(store.clock),
        rates=Rates(limits, store.clock),
        keys=project_keys(api_keys),
        job_seconds=job_seconds,
        call_seconds=call_seconds,
        limits=limits,
    )


def build_app(emulation: Emulation, connections: Connections) -> Starlette:
    """Make the ASGI application of one server."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(emulation.worker.run())
        yield
        emulation.worker.stop()
        emulation.answers.stop()
        work.cancel()

    app = Starlette(
        routes=[*_api_routes(emulation, connections), *_control_routes(Control(emulation))],
        lifespan=lifespan,
        exception_handlers={HTTPException: _no_such_path},
    )
    # A path with a slash too many is another path to the API. It is no reason to send the client elsewhere.
    app.router.redirect_slashes = False
    return app


def _api_routes(emulation: Emulation, connections: Connections) -> list[BaseRoute]:
    routes: list[BaseRoute] = []
    for version in VERSIONS:
        for method, path, names, handler in _CALLS:
            gate = Gate(emulation, handler, names, connections)
            routes.append(Route(path.replace("{v}", version), gate, methods=[method]))
    return routes


def _control_routes(control: Control) -> list[BaseRoute]:
    calls = [
        ("GET", "health", control.health),
        ("GET", "journal", control.journal),
        ("GET", "faults", control.list_faults),
        ("POST", "faults", control.add_fault),
        ("DELETE", "faults", control.clear_faults),
        ("POST", "jobs/{batch}", control.force_job),
        ("POST", "clock", control.move_clock),
    ]
    return [Route(f"/emulator/{path}", _for_loopback(call), methods=[method]) for method, path, call in calls]


def _for_loopback(call: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Serve a control call to this machine only: it can change everything.

    Not to a page of a browser on this machine either. A foreign name may lead here (DNS rebinding), and a foreign
    page may send a form here.
    """

    async def served(request: Request) -> Response:
        origin = request.headers.get("origin")
        client = request.client.host if request.client else ""
        try:
            asked = [
                request.url.hostname or "",
                *([urlsplit(origin).hostname or ""] if origin is not None else []),
            ]
        except ValueError:
            # A Host or an Origin that is no address.
            asked = [""]
        if not all(map(_is_loopback, (client, *asked))):
            return await _no_such_path(request, HTTPException(404))
        return await call(request)

    return served


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _no_such_path(request: Request, problem: Exception) -> Response:
    # A path of another method is no path at all to the API.
    return reply(error_body(404, f"Method not found: {request.method} {request.url.path}"), 404)
