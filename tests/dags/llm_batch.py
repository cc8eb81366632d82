"""DAGs that run Gemini by common-ai's ``@task.llm_batch``; none where that is not installed."""

from __future__ import annotations

import datetime
from importlib.util import find_spec
from typing import Literal

import pendulum
from airflow.sdk import DAG, task
from pydantic import BaseModel


class Label(BaseModel):
    """What a review says."""

    sentiment: Literal["negative", "neutral", "positive"]
    stars: int


def case(dag_id: str, **arguments):
    """A DAG of one batch of six reviews."""
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1)) as dag:

        @task.llm_batch(
            **{
                "llm_conn_id": "gemini_default",
                "model_id": "google:gemini-2.5-flash",
                "result_path": "{{ dag_run.conf['result_path'] }}",
                "system_prompt": "You read reviews.",
                "retry_delay": datetime.timedelta(seconds=1),
                "deferrable": True,
            }
            | arguments
        )
        def label():
            return [f"Review {number}: 100 {{% off" for number in range(5)] + [
                {"prompt": "Last", "max_tokens": 64}
            ]

        label()
    return dag


if find_spec("airflow.providers.common") and find_spec("airflow.providers.common.ai"):
    texts = case("llm_batch_texts")
    blocking = case("llm_batch_blocking", deferrable=False, llm_conn_id="pydanticai_default")
    labels = case("llm_batch_labels", output_type=list[Label])
    retried = case("llm_batch_retried", retries=6)
