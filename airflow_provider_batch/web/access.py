"""Whose page it is: Airflow's own users and rights, and its database. Imported by the API server only.

The DAG that a question is about is handed to the auth manager by name. Airflow's own dependencies take it from the
path of the request. Before 3.2 they take it from nowhere else, so a DAG in the query would be any DAG to them.
"""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, Header, HTTPException, Query, Request

from airflow_provider_batch.web.views import Task

__all__ = ["EDITOR", "FROM_PAGE", "VIEWER", "VIEWER_OF_DAG", "GetUserDep", "Named", "SessionDep"]

ASKED_BY = "gemini-batches"
"""What the page says in a header of its own: another site's page cannot, unless Airflow's CORS settings let it."""

Named = Annotated[Task, Query()]
"""The task instance that a question is about."""


def dags_of(user: BaseUser) -> set[str]:
    """DAGs that the user may read."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def may_edit(user: BaseUser, dag_id: str) -> bool:
    """The user may change task instances of the DAG."""
    return _may(user, "PUT", DagAccessEntity.TASK_INSTANCE, dag_id)


def _ensure_viewer(user: GetUserDep) -> None:
    # All that is shown came by XCom.
    _ensure(_may(user, "GET", DagAccessEntity.XCOM, None))


def _ensure_viewer_of_dag(user: GetUserDep, task: Named) -> None:
    _ensure(task.dag_id in dags_of(user) and _may(user, "GET", DagAccessEntity.XCOM, task.dag_id))


def _ensure_editor(user: GetUserDep, task: Named) -> None:
    _ensure(may_edit(user, task.dag_id))


def _ensure_from_page(request: Request, x_requested_with: str = Header("")) -> None:
    """Refuse what another site makes a browser send along with Airflow's cookie."""
    if x_requested_with != ASKED_BY or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "This is asked for by the page itself only.")


VIEWER = Depends(_ensure_viewer)
"""Lets through users who may read XComs of any DAG. The DAGs are what :func:`dags_of` says."""

VIEWER_OF_DAG = Depends(_ensure_viewer_of_dag)
"""Lets through who may read XComs of the DAG."""

EDITOR = Depends(_ensure_editor)
"""Lets through who may change task instances of the DAG."""

FROM_PAGE = Depends(_ensure_from_page)
"""Lets through what the page itself asks for."""


def _may(user: BaseUser, method: ResourceMethod, entity: DagAccessEntity, dag_id: str | None) -> bool:
    details = None if dag_id is None else DagDetails(id=dag_id, **_team(dag_id))
    return bool(
        get_auth_manager().is_authorized_dag(method=method, access_entity=entity, details=details, user=user)
    )


def _ensure(allowed: bool) -> None:
    if not allowed:
        raise HTTPException(403, "Forbidden")


def _team(dag_id: str) -> dict[str, str | None]:
    """Airflow 3.2 and newer know teams."""
    from airflow.models.dag import DagModel

    of_dag = getattr(DagModel, "get_team_name", None)
    return {} if of_dag is None else {"team_name": of_dag(dag_id)}
