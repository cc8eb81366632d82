"""Several tries of one task instance, each with its own rows, and what Airflow 3.3 keeps between them."""

from __future__ import annotations

import time
from types import SimpleNamespace

from airflow_provider_batch.errors import JobError
from airflow_provider_batch.operators.gemini import GeminiBatchOperator


class StateStore:
    """Airflow's task state store: survives tries."""

    def __init__(self):
        self._kept = {}

    def get(self, key):
        return self._kept.get(key)

    def set(self, key, value, retention=None):
        self._kept[key] = value


def batch_of(folder, keys, **arguments):
    """An operator that waits in its worker, over rows with these keys."""
    rows = [{"key": key, "request": {"contents": [{"parts": [{"text": key}]}]}} for key in keys]
    given = {"model": "gemini-2.5-flash", "requests": rows, "deferrable": False, "poll_interval": 1} | arguments
    return GeminiBatchOperator(task_id="label", result_path=str(folder / "out"), **given)


def run_try(operator, store=None, *, until_ready=False):
    """One try of it; what it returns.

    :param until_ready: Again while the job is not finished, as with a sensor before it.
    """
    ti = SimpleNamespace(dag_id="dag", task_id="label", run_id="run", map_index=-1, xcom_push=lambda **_: None)
    give_up = time.monotonic() + 30
    while True:
        try:
            return operator.execute({"ti": ti, "task_state_store": store, "outlet_events": {}})
        except JobError as error:
            if not until_ready or error.code != "AGB-J04" or time.monotonic() > give_up:
                raise
            time.sleep(0.2)


def deferral_of(call):
    """What a step of a task that ends in a deferral asks the triggerer for."""
    return deferred_by(call).trigger


def deferred_by(call):
    """The deferral in which a step of a task ends."""
    try:
        ended = call()
    except BaseException as deferred:
        # It moved to the SDK after 3.1, and the old place warns.
        if type(deferred).__name__ != "TaskDeferred":
            raise
        return deferred
    raise AssertionError(f"it was not deferred and returned {ended}")


def tries(folder, rows_of_each, **arguments):
    """The manifests of successive tries."""
    store = StateStore()
    for keys in rows_of_each:
        yield run_try(batch_of(folder, keys, **arguments), store)
