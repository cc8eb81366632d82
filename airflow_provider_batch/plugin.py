"""What Airflow's API server serves for us: the page about batches, and the receiver of webhooks.

Airflow imports this module in every process that loads plugins, tasks and the DAG processor among them. So what
the API server alone needs is imported when it asks for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from functools import cached_property

from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

URL_PREFIX = "/gemini-batch"

PAGE_ROUTE = "gemini-batches"
"""Also where the links of tasks lead to (``airflow_compat``)."""


class GeminiBatchPlugin(AirflowPlugin):
    """Serves the page ``/gemini-batches/``, to Airflow's users, and ``POST /gemini-batch/webhooks/{conn_id}``,
    without a login: deliveries are signed.
    """

    name = "gemini_batch"

    # Without a slash before them. So they are below the address of an Airflow that is not at the root.
    external_views = [  # noqa: RUF012
        {
            "name": "Gemini batches",
            "href": f"{PAGE_ROUTE}/",
            "url_route": PAGE_ROUTE,
            "destination": "nav",
            "category": "browse",
            "icon": f"{PAGE_ROUTE}/static/icon.svg",
            "icon_dark_mode": f"{PAGE_ROUTE}/static/icon-dark.svg",
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, object]]:  # type: ignore[override]
        """The applications that the API server mounts."""
        from airflow_provider_batch.airflow_compat import webhook_secret
        from airflow_provider_batch.web.webhooks import create_app as receiver

        apps: list[dict[str, object]] = [
            {"name": "Gemini Batch", "app": receiver(webhook_secret, note_wakeups), "url_prefix": URL_PREFIX}
        ]
        try:
            from airflow_provider_batch.web.app import create_app as page
        except ImportError:
            # It stands on parts of Airflow that are not its public interface. Webhooks do not.
            log.exception("This version of Airflow is not known to the page about batches; it is not served.")
            return apps
        return [*apps, {"name": "Gemini batches", "app": page(), "url_prefix": f"/{PAGE_ROUTE}"}]


def note_wakeups(conn_id: str, jobs: Collection[str]) -> None:
    """Leave a note for the triggerers that something happened to these jobs."""
    from airflow_provider_batch.airflow_compat import change_variable
    from airflow_provider_batch.batch.wait.webhook_notes import description_of, key_of, noted

    change_variable(key_of(conn_id), lambda before: noted(before, jobs, time.time()), description_of(conn_id))
