"""What Airflow's API server serves for us: the receiver of webhooks.

Airflow imports this module in every process that loads plugins, tasks and the DAG processor among them, so what
the API server alone needs is imported when it asks for it.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/gemini-batch"


class GeminiBatchPlugin(AirflowPlugin):
    """Serves ``POST /gemini-batch/webhooks/{conn_id}``, without a login: deliveries are signed."""

    name = "gemini_batch"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The applications that the API server mounts."""
        from airflow_provider_batch.airflow_compat import webhook_secret
        from airflow_provider_batch.receiver import create_app

        return [
            {"name": "Gemini Batch", "app": create_app(webhook_secret, note_wakeups), "url_prefix": URL_PREFIX}
        ]


def note_wakeups(conn_id: str, jobs: Collection[str]) -> None:
    """Leave a note for the triggerers that something happened to these jobs."""
    from airflow_provider_batch.airflow_compat import change_variable
    from airflow_provider_batch.engine.wakeups import description_of, key_of, noted

    change_variable(key_of(conn_id), lambda before: noted(before, jobs, time.time()), description_of(conn_id))
