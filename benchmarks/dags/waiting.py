"""A mapped task whose instances wait. The benchmark puts them into the state that they have after deferring."""

from __future__ import annotations

import os

from airflow.sdk import DAG, BaseOperator


class Wait(BaseOperator):
    """Waits for one job. Nobody runs it: what is measured is the triggerer."""

    def __init__(self, number: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.number = number


with DAG("waiting", schedule=None):
    Wait.partial(task_id="wait").expand(number=list(range(int(os.environ.get("WAITS", "1")))))
