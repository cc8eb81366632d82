"""The routes: a page, its files, and JSON for it. Every route with data asks Airflow who is there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from airflow.models.log import Log
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.orm import Session

from airflow_provider_batch.batch.summary import MOST
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.web import index
from airflow_provider_batch.web.access import (
    EDITOR,
    FROM_PAGE,
    VIEWER,
    VIEWER_OF_DAG,
    GetUserDep,
    Named,
    SessionDep,
    dags_of,
    may_edit,
)
from airflow_provider_batch.web.bounded import Bounded, TookTooLongError
from airflow_provider_batch.web.cancelling import Asked, cancel
from airflow_provider_batch.web.detail import detail, message_for_page
from airflow_provider_batch.web.live import live
from airflow_provider_batch.web.totals import totals
from airflow_provider_batch.web.views import NAME, BatchesPage, Detail, LivePage, Row, Task, Totals

log = logging.getLogger(__name__)

# As with details, a ledger's place may not answer. Nothing is kept: each press of the button asks anew.
_cancels = Bounded(threads=32, keep_s=0.0, patience_s=60.0, each=2)

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def create_app() -> FastAPI:
    """What the API server mounts."""
    app = FastAPI(title="Gemini batches", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_with_headers)
    app.mount("/static", StaticFiles(directory=STATIC), "static")
    app.add_api_route("/", _page)
    app.add_api_route("/api/batches", _batches, dependencies=[VIEWER])
    app.add_api_route("/api/totals", _totals, dependencies=[VIEWER])
    app.add_api_route("/api/live", _live, dependencies=[VIEWER])
    app.add_api_route("/api/batch", _batch, dependencies=[VIEWER_OF_DAG])
    cancelling = [FROM_PAGE, VIEWER_OF_DAG, EDITOR]
    app.add_api_route("/api/batch/cancel", _cancel, methods=["POST"], dependencies=cancelling)
    return app


Word = Annotated[str, Query(max_length=250, pattern=NAME)]


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(HEADERS)
    # Files are asked for again each time and answered with "not modified". Data are kept nowhere.
    response.headers["Cache-Control"] = "no-store" if "/api/" in request.url.path else "no-cache"
    return response


def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html")


def _batches(
    user: GetUserDep,
    session: SessionDep,
    dag: Word = "",
    state: Word = "",
    model: Word = "",
    connection: Word = "",
    text: Word = "",
    since: Annotated[int | None, Query(ge=0, le=MOST)] = None,
    offset: Annotated[int, Query(ge=0, le=MOST)] = 0,
    limit: Annotated[int, Query(ge=1, le=index.MOST_ROWS)] = 50,
) -> BatchesPage:
    wanted = index.Filter(dag, state, model, connection, text.strip(), since)
    return index.page(session, dags_of(user), wanted, offset, limit)


def _totals(user: GetUserDep, session: SessionDep, days: Annotated[int, Query(ge=1, le=366)] = 30) -> Totals:
    return totals(session, dags_of(user), days)


def _live(user: GetUserDep, session: SessionDep) -> LivePage:
    rows = index.unlanded(session, dags_of(user))
    # The API is asked without holding a connection to the database.
    session.close()
    return live(rows)


def _batch(user: GetUserDep, session: SessionDep, task: Named) -> Detail:
    row = _known(session, task)
    session.close()
    return Detail(
        row=row,
        now=int(time.time()),
        may_cancel=_is_cancellable(row) and may_edit(user, row.dag_id),
        **(
            detail(row, str(user.get_name()))
            if row.ledger
            else {"trouble": "What the task noted is kept by an XCom backend."}
        ),
    )


def _cancel(user: GetUserDep, session: SessionDep, task: Named) -> dict[str, object]:
    row = _known(session, task)
    if not _is_cancellable(row):
        raise HTTPException(409, "There is nothing left to cancel: the batch has landed.")
    who = str(user.get_name())
    # Neither the store nor the API is waited for with a connection to the database in hand.
    session.close()
    asked, trouble = _asked(row, who)
    details = {"jobs": asked.jobs[:20]} | ({"trouble": trouble} if trouble else {})
    session.add(
        Log(
            "gemini_batch_cancel",
            owner=who,
            owner_display_name=who,
            extra=json.dumps(details),
            **task.model_dump(),
        )
    )
    # What was tried stays written down, even if the answer is an error.
    session.commit()
    if trouble:
        raise HTTPException(502, trouble)
    return {"jobs": asked.jobs}


def _asked(row: Row, who: str) -> tuple[Asked, str]:
    try:
        asked = _cancels.get((row.ledger, who), lambda: cancel(row, who), who)
    except TookTooLongError:
        return Asked(), (
            "The jobs are not all asked to end yet: the result path or the API is slow, or another batch is being "
            "cancelled for you. Reload, and try again if its jobs run on."
        )
    except BatchError as error:
        return Asked(), message_for_page(error)
    except Exception as error:
        # Stores and secrets backends raise anything. The text of it could hold a credential.
        log.exception("A batch could not be cancelled.")
        return Asked(), f"It could not be cancelled ({type(error).__name__})."
    return asked, asked.trouble


def _known(session: Session, task: Task) -> Row:
    row = index.one(session, task)
    if row is None:
        raise HTTPException(404, "There is no batch of this task instance.")
    return row


def _is_cancellable(row: Row) -> bool:
    return bool(row.ledger) and row.landed_at is None and row.state != "skipped"
