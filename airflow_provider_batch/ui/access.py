"""Whose page it is: Airflow's own users and rights, and its database. Imported by the API server only."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, Header, HTTPException, Request

__all__ = [
    "GetUserDep",
    "SessionDep",
    "may_cancel",
    "may_cancel_here",
    "may_look",
    "may_look_here",
    "of_this_page",
]

ASKED_BY = "gemini-batches"
"""What the page says in a header of its own: another site's page cannot, unless Airflow's CORS settings let it."""

may_look = Depends(requires_access_dag("GET", DagAccessEntity.XCOM))
"""The user may read XComs, of the DAG in ``dag_id`` or of any: all that is listed came that way."""

may_cancel = Depends(requires_access_dag("PUT", DagAccessEntity.TASK_INSTANCE))
"""The user may change task instances of the DAG in ``dag_id``."""


def may_look_here(user: Any) -> set[str]:
    """DAGs that the user may read."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def may_cancel_here(user: Any, dag_id: str) -> bool:
    """Whether :data:`may_cancel` would let the user through, to show a button or not."""
    return bool(
        get_auth_manager().is_authorized_dag(
            method="PUT",
            access_entity=DagAccessEntity.TASK_INSTANCE,
            details=DagDetails(id=dag_id, **_team(dag_id)),
            user=user,
        )
    )


def _team(dag_id: str) -> dict[str, Any]:
    """Airflow 3.2 and newer know teams."""
    from airflow.models.dag import DagModel

    of_dag = getattr(DagModel, "get_team_name", None)
    return {} if of_dag is None else {"team_name": of_dag(dag_id)}


def of_this_page(request: Request, x_requested_with: str = Header("")) -> None:
    """Refuse what another site makes a browser send along with Airflow's cookie."""
    if x_requested_with != ASKED_BY or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "This is asked for by the page itself only.")
