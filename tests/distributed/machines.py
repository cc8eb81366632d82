"""An Airflow on several machines, each a process of its own here: Celery workers, and triggerers by queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.real_airflow.servers import Postgres, Redis
from tests.real_airflow.stack import COMPONENTS, Airflow

SLOTS = 4
"""Tasks that one worker runs at a time."""

WORKERS = ("worker-1", "worker-2")
QUEUES = {"triggerer-1": "all,north", "triggerer-2": "all,south"}
"""Waits of the queue ``all`` are for either triggerer, the others for one only."""

SETTINGS = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__PARALLELISM": str(SLOTS * len(WORKERS)),
    # Each component is a host of its own name, as if it had a machine to itself. The name is in LOGNAME.
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "getpass.getuser",
    "AIRFLOW__TRIGGERER__QUEUES_ENABLED": "True",
    # A message that no worker has confirmed goes to another one after 60 s, not a day: what a killed worker had
    # is delivered a second time while the next try of the task may be at work.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "60",
    # A task that no worker takes is queued again after 120 s, not 600. The token in a message lives as long: long
    # enough that the API server does not turn away a second delivery for its token alone.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}

MORE_SETTINGS = dict(pair.split("=", 1) for pair in os.environ.get("DISTRIBUTED_SETTINGS", "").split())
"""What is to be tried out."""


def airflow_on_machines(
    folder: Path, database: Postgres, broker: Redis, connections: dict[str, dict[str, str]]
) -> Airflow:
    """An Airflow with the CeleryExecutor, two workers and two triggerers; not started yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return Airflow(
        folder,
        database.url,
        connections,
        Path(__file__).parent / "dags",
        commands=_commands(folder),
        settings={**SETTINGS, **MORE_SETTINGS, "AIRFLOW__CELERY__BROKER_URL": broker.url},
        probes={name: _answers(name, broker.url) for name in WORKERS},
    )


def _commands(folder: Path) -> Mapping[str, tuple[str, ...]]:
    queues = ",".join(sorted({queue for each in QUEUES.values() for queue in each.split(",")}))
    commands = dict(COMPONENTS)
    for name, of_triggerer in QUEUES.items():
        commands[name] = (*COMPONENTS[name], "--queues", of_triggerer)
    for name in WORKERS:
        options = ("--celery-hostname", name, "--concurrency", str(SLOTS), "--queues", queues)
        commands[name] = ("celery", "worker", *options, "--skip-serve-logs", "--pid", str(folder / f"{name}.pid"))
    return commands


def are_idle(broker: Redis) -> bool:
    """Whether no worker is in the middle of a task."""
    from celery import Celery

    with Celery(broker=broker.url) as app:
        active = app.control.inspect(
            [f"celery@{name}" for name in WORKERS], timeout=2, limit=len(WORKERS)
        ).active()
    return bool(active) and len(active) == len(WORKERS) and not any(active.values())


def _answers(name: str, broker_url: str) -> Callable[[], bool]:
    def look() -> bool:
        from celery import Celery

        with Celery(broker=broker_url) as app:
            return bool(app.control.ping(destination=[f"celery@{name}"], timeout=2, limit=1))

    return look
