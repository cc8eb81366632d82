"""``python -m tests.browser.queries``: the queries of the page, on the database of the environment, as JSON."""

from __future__ import annotations

import json

from airflow.utils.session import create_session

from airflow_provider_batch.web import index
from airflow_provider_batch.web.totals import totals
from airflow_provider_batch.web.views import Task
from tests.web.rows import Written, landed, noted, write

DAGS = {"a", "b"}


def _found(session, **wanted):
    return [row.run_id for row in index.page(session, DAGS, index.Filter(**wanted), 0, 50).rows]


if __name__ == "__main__":
    note = noted(ledger="/lake/_ledger/abc/1", conn_id="other")
    write(
        Written("a", "r1", value=landed(model="gemini-2.5-pro")),
        Written("b", "r2", state="deferred", value=noted()),
        Written("b", "r3", value=note),
        Written("b", "r3", task_id="fetch", value=landed(**note), key="gemini_batch_landed"),
        Written("hidden", "r4", value=landed()),
        Written("b", "r5", state="failed", value="s3://kept/elsewhere"),
        Written("a", "r6", value=landed(submitted_at="2026-01-01", landed_at="today", cost_usd="much")),
        Written("hidden", "r7", value=landed(submitted_at=10**12, landed_at=10**30, rows=10**20)),
    )
    with create_session(scoped=False) as session:
        said = totals(session, DAGS, 30)
        print(
            json.dumps(
                {
                    "all": sorted(_found(session)),
                    "model": _found(session, model="gemini-2.5-pro"),
                    "connection": _found(session, connection="other"),
                    "text": _found(session, text="R2"),
                    "active": _found(session, state="active"),
                    "since": sorted(_found(session, since=1)),
                    "unlanded": [row.run_id for row in index.unlanded(session, DAGS)],
                    "landed_by": index.one(session, Task(dag_id="b", run_id="r3", task_id="batch")).landed_by,
                    "totals": [said.landed, said.cost_usd, said.active, said.failed],
                }
            )
        )
