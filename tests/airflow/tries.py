"""Several tries of one task instance, each with its own rows, and what Airflow 3.3 keeps between them."""

from __future__ import annotations

from types import SimpleNamespace

from airflow_provider_batch.operators.gemini import GeminiBatchOperator


class StateStore:
    """Airflow's task state store: survives tries."""

    def __init__(self):
        self._kept = {}

    def get(self, key):
        return self._kept.get(key)

    def set(self, key, value, retention=None):
        self._kept[key] = value


def tries(folder, rows_of_each, **arguments):
    """The manifests of successive tries."""
    store = StateStore()
    for keys in rows_of_each:
        operator = GeminiBatchOperator(
            task_id="label",
            model="gemini-2.5-flash",
            requests=[{"key": key, "request": {"contents": [{"parts": [{"text": key}]}]}} for key in keys],
            result_path=str(folder / "out"),
            deferrable=False,
            poll_interval=1,
            **arguments,
        )
        ti = SimpleNamespace(dag_id="dag", task_id="label", run_id="run", map_index=-1, xcom_push=lambda **_: None)
        yield operator.execute({"ti": ti, "task_state_store": store})
