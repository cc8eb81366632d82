"""DAGs for the tests: one operator each, fed from the run's conf."""

from __future__ import annotations

import datetime

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_batch.operators.embeddings import GeminiEmbeddingsBatchOperator
from airflow_provider_batch.operators.fetch import GeminiBatchFetchResultsOperator
from airflow_provider_batch.operators.gemini import GeminiBatchOperator
from airflow_provider_batch.rows.read.tables import SqlQuery
from airflow_provider_batch.rows.results import read_results

CONF = {
    "gemini_conn_id": "{{ dag_run.conf.get('conn_id', 'gemini_default') }}",
    "model": "{{ dag_run.conf.get('model', 'gemini-2.5-flash') }}",
    "requests": "{{ dag_run.conf['requests'] }}",
    "result_path": "{{ dag_run.conf['result_path'] }}",
}
ROWS = [{"key": k, "request": {"contents": [{"parts": [{"text": "100 {% off {{ ds }}"}]}]}} for k in ("a", "b")]


def case(dag_id: str, retries: int = 0, **arguments):
    """A DAG of one batch and one reader."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:
        batch = GeminiBatchOperator(
            task_id="batch",
            retries=retries,
            retry_delay=datetime.timedelta(seconds=1),
            **({"poll_interval": 1} | CONF | arguments),
        )

        @task
        def read(manifest: dict) -> dict[str, str]:
            return {row.key: row.status.value for row in read_results(manifest)}

        read(batch.output)
    return dag


deferred = case("case_deferred", deferrable=True)
seldom = case("case_seldom", deferrable=True, poll_interval=600)
deferred_retry = case("case_deferred_retry", deferrable=True, retries=2)
synchronous = case("case_synchronous", deferrable=False)
partial = case("case_partial", deferrable=True, fail_on_partial_error=True)
half = case("case_half", retries=2, deferrable=True, max_failed_fraction=0.5)
short = case("case_short", deferrable=True, timeout=2)
short_synchronous = case("case_short_synchronous", deferrable=False, timeout=2)
short_cancelled = case("case_short_cancelled", deferrable=True, timeout=2, failures={"at_timeout": "cancel"})
once = case("case_once", deferrable=True, failures={"max_row_attempts": 1})
sharded = case("case_sharded", deferrable=True, max_rows_per_job=2)
typed = case(
    "case_typed",
    deferrable=True,
    output_type={"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]},
    results={"output_format": "parquet"},
)
listed = case("case_listed", deferrable=True, requests=ROWS)


def table_case(dag_id: str, **arguments):
    """A DAG over a table of texts that the run's conf names, and a reader of answers and kept columns."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:
        batch = GeminiBatchOperator(
            task_id="batch",
            deferrable=True,
            **({"poll_interval": 1, "key_column": "id", "prompt": "Rate: {text}"} | CONF | arguments),
        )

        @task
        def read(manifest: dict) -> dict[str, list]:
            return {row.key: [row.status.value, row.text] for row in read_results(manifest)}

        read(batch.output)
    return dag


table = table_case("case_table")
table_dry = table_case("case_table_dry", dry_run=True, estimate={"count_tokens_rows": 2})
table_cheap = table_case("case_table_cheap", max_cost_usd="0.00001")
table_skipping = table_case("case_table_skipping", failures={"on_bad_row": "skip"})
queried = table_case(
    "case_queried",
    requests=SqlQuery(
        "SELECT id, text FROM reviews WHERE day = ? ORDER BY id",
        conn_id="warehouse",
        parameters=["{{ dag_run.conf['day'] }}"],
    ),
    failures={"on_empty": "skip"},
)


def decorated_query_case(dag_id: str):
    """A DAG whose batch gets its rows from a query that a function returns."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:

        @task.gemini_batch(
            model="gemini-2.5-flash",
            result_path=CONF["result_path"],
            key_column="id",
            prompt="{text}",
            poll_interval=1,
            deferrable=True,
        )
        def batch():
            return SqlQuery("SELECT id, text FROM reviews WHERE day = '{{ dag_run.conf['day'] }}'", "warehouse")

        @task
        def read(manifest: dict) -> dict[str, str]:
            return {row.key: row.text for row in read_results(manifest)}

        read(batch())
    return dag


def decorated_case(dag_id: str):
    """A DAG whose batch gets its rows from a generator."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:

        @task.gemini_batch(
            model="gemini-2.5-flash",
            result_path=CONF["result_path"],
            prompt="{text}",
            poll_interval=1,
            deferrable=True,
        )
        def batch(prefix: str, ti=None):
            for number in range(3):
                yield {"key": f"{prefix}{number}", "text": f"{ti.task_id} {{{{ ds }}}}"}

        @task
        def read(manifest: dict) -> dict[str, str]:
            return {row.key: row.text for row in read_results(manifest)}

        read(batch("r"))
    return dag


def embeddings_case(dag_id: str, **arguments):
    """A DAG over a table of texts, and a reader of vectors."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:
        batch = GeminiEmbeddingsBatchOperator(
            task_id="batch",
            requests=CONF["requests"],
            result_path=CONF["result_path"],
            key_column="id",
            prompt="{text}",
            poll_interval=1,
            deferrable=True,
            **arguments,
        )

        @task
        def read(manifest: dict) -> dict[str, list[float]]:
            return {row.key: row.vector for row in read_results(manifest)}

        read(batch.output)
    return dag


embeddings = embeddings_case("case_embeddings", task_type="CLUSTERING", output_dimensionality=64)
decorated = decorated_case("case_decorated")
decorated_query = decorated_query_case("case_decorated_query")


def mapped_case(dag_id: str, result_path: str):
    """A DAG whose upstream task returns three lists of rows, one batch each."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:

        @task
        def rows() -> list:
            return [[{"key": f"r{n}", "request": ROWS[0]["request"]}] for n in range(3)]

        batch = GeminiBatchOperator.partial(
            task_id="batch",
            model="gemini-2.5-flash",
            result_path="{{ dag_run.conf['result_path'] }}" + result_path,
            poll_interval=1,
            deferrable=True,
            max_active_tis_per_dagrun=1,
        ).expand(requests=rows())

        @task
        def read(manifests: list) -> list[str]:
            return sorted(row.key for manifest in manifests for row in read_results(manifest))

        read(batch.output)
    return dag


mapped = mapped_case("case_mapped", "/{{ ti.map_index }}")
mapped_together = mapped_case("case_mapped_together", "")
tried = case("case_tried", deferrable=True, trial_rows=2)
late_answered = case("case_late_answered", deferrable=True, timeout=3, failures={"at_timeout": "answer"})
late_answered_synchronous = case(
    "case_late_answered_synchronous", deferrable=False, timeout=3, failures={"at_timeout": "answer"}
)
ready = case("case_ready", deferrable=True, ready_by="{{ dag_run.conf['ready_by'] }}")
ready_after_interval = case("case_ready_after_interval", deferrable=True, ready_by=datetime.timedelta(hours=2))


def fetched_case(dag_id: str, **arguments):
    """A DAG with one task that submits, and another that lands, and does something about late jobs."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:
        batch = GeminiBatchOperator(task_id="batch", wait_for_completion=False, **CONF)
        fetch = GeminiBatchFetchResultsOperator(
            task_id="fetch", submission=batch.output, poll_interval=1, deferrable=True, **arguments
        )

        @task
        def read(manifest: dict) -> dict[str, str]:
            return {row.key: row.status.value for row in read_results(manifest)}

        read(fetch.output)
    return dag


fetched_late = fetched_case("case_fetched_late", at_timeout="answer", timeout="{{ dag_run.conf['timeout'] }}")
fetched_ready = fetched_case("case_fetched_ready", ready_by=datetime.timedelta(seconds=12), max_cost_usd=1)
