"""DAGs for the tests: arguments in every form in which Airflow passes them."""

from __future__ import annotations

import asyncio
import datetime

import pendulum
from airflow.sdk import DAG, ObjectStoragePath, Param, dag, get_current_context, task, task_group
from upath import UPath

from airflow_provider_batch.airflow_compat import airflow_exception
from airflow_provider_batch.operators.gemini import GeminiBatchOperator
from airflow_provider_batch.operators.options import EstimateOptions
from airflow_provider_batch.rows.read.tables import SqlQuery
from airflow_provider_batch.rows.results import read_results

AirflowSkipException = airflow_exception("AirflowSkipException")
AirflowFailException = airflow_exception("AirflowFailException")

WHEN = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1)}
GOOD = {"model": "gemini-2.5-flash", "deferrable": False, "poll_interval": 1}
ROWS, OUT = "{{ dag_run.conf['requests'] }}", "{{ dag_run.conf['result_path'] }}"
RENDERED = {
    "max_cost_usd": "{{ dag_run.conf['max_cost_usd'] }}",
    "timeout": "{{ dag_run.conf['timeout'] }}",
    "failures": {"on_content_change": "{{ dag_run.conf['on_content_change'] }}"},
}


@task
def read(manifest: dict) -> dict[str, str]:
    """What the rows say, by key."""
    return {row.key: row.text for row in read_results(manifest)}


@task
def paths() -> dict:
    """Paths of Airflow's object storage, by way of XCom."""
    conf = get_current_context()["dag_run"].conf
    return {"rows": ObjectStoragePath(f"file://{conf['requests']}"), "out": ObjectStoragePath(conf["result_path"])}


@task
def rows(keys: str) -> list[dict]:
    return [{"key": key, "text": f"{key} {{{{ ds }}}}"} for key in keys]


@task
def word() -> str:
    return "wednesday"


@dag("arguments_of_a_dag", **WHEN)
def of_a_dag(requests: str = "-", result_path: str = "-", cap: float = 5.0, system: str = "x"):
    batch = GeminiBatchOperator(
        task_id="batch",
        requests=requests,
        result_path=result_path,
        max_cost_usd=cap,
        system_prompt=system,
        timeout="{{ macros.timedelta(days=1, hours=2) }}",
        **GOOD,
    )
    read(batch.output)


of_a_dag = of_a_dag()


@dag("arguments_of_a_dag_with_param", **WHEN)
def of_a_dag_with_param(cap: float = Param(5.0, minimum=1)):
    batch = GeminiBatchOperator(task_id="batch", requests=ROWS, result_path=OUT, max_cost_usd=cap, **GOOD)
    read(batch.output)


of_a_dag_with_param = of_a_dag_with_param()


with DAG("arguments_of_a_group", **WHEN) as of_a_group:

    @task
    def sources() -> list[str]:
        return [get_current_context()["dag_run"].conf["requests"]] * 2

    @task_group
    def each(source):
        batch = GeminiBatchOperator(
            task_id="batch", requests=source, result_path=OUT + "/{{ ti.map_index }}", **GOOD
        )
        read(batch.output)

    each.expand(source=sources())


def one(name: str, make, *, native: bool = False) -> DAG:
    """A DAG of one batch and one reader; the arguments are made inside of it."""
    with DAG(f"arguments_{name}", render_template_as_native_obj=native, **WHEN) as made:
        given = {"requests": ROWS, "result_path": OUT, **GOOD, **make()}
        batch = GeminiBatchOperator(task_id="batch", retries=1, retry_delay=datetime.timedelta(seconds=1), **given)
        read(batch.output)
    return made


from_xcom = one("from_xcom", lambda: {"requests": paths()["rows"]})
out_from_xcom = one("out_from_xcom", lambda: {"result_path": paths()["out"]})
mapped_rows = one(
    "mapped_rows",
    lambda: {
        "requests": rows("ab").concat(rows.override(task_id="more")("c")).map(lambda row: row | {"day": "1"}),
        "prompt": "{day} {text}",
    },
)
inside_rows = one(
    "inside_rows",
    lambda: {"requests": [{"key": "a", "text": "{{ ds }}", "day": word()}], "prompt": "{day} {text}"},
)
inside_query = one(
    "inside_query",
    lambda: {
        "requests": SqlQuery("SELECT id, text FROM reviews WHERE day = ?", "warehouse", [word()]),
        "key_column": "id",
        "prompt": "{text}",
    },
)
with_connection = one("with_connection", lambda: {"result_path": "file://lake@" + OUT})
as_objects = one(
    "as_objects",
    lambda: {
        "requests": ObjectStoragePath("file:///{{ dag_run.conf['requests'][1:] }}"),
        "result_path": UPath("/{{ dag_run.conf['result_path'][1:] }}"),
        "estimate": EstimateOptions(earlier_results=UPath("/{{ dag_run.conf['result_path'][1:] }}")),
    },
)
called = one("called", lambda: {"requests": lambda context, jinja_env: context["dag_run"].conf["requests"]})
rendered = one(
    "rendered",
    lambda: {
        **RENDERED,
        "dry_run": "{{ dag_run.conf['dry_run'] }}",
        "system_prompt": "It is {{ dag_run.conf.get('day', 'monday') }}",
        "results": {"keep_remote_files": "True"},
    },
)
native = one("native", lambda: {**RENDERED, "dry_run": "{{ dag_run.conf['dry_run'] }}"}, native=True)
query_file = one(
    "query_file",
    lambda: {"requests": SqlQuery("queries/rows.sql", "warehouse"), "key_column": "id", "prompt": "{text}"},
)


def decorated(name: str, function) -> DAG:
    """A DAG of one batch, of the rows that a function gives."""
    with DAG(f"arguments_{name}", **WHEN) as made:
        batch = task.gemini_batch(**GOOD, result_path=OUT, prompt="{text}", task_id="batch")(function)
        read(batch())
    return made


async def some_later() -> list[dict]:
    await asyncio.sleep(0)
    return [{"key": "a", "text": "a"}, {"key": "b", "text": "b"}]


async def one_by_one():
    for row in await some_later():
        await asyncio.sleep(0)
        yield row


async_rows = decorated("async_rows", some_later)
async_generator = decorated("async_generator", one_by_one)


def nothing_today(row) -> str:
    raise AirflowSkipException("nothing today")


def never_again(row) -> str:
    raise AirflowFailException("never again")


ROW = [{"key": "a", "text": "x"}]
skipping = one("skipping", lambda: {"requests": ROW, "prompt": nothing_today})
failing = one("failing", lambda: {"requests": ROW, "prompt": never_again})
