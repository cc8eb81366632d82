"""What is used of Airflow's own values. Their classes moved between its versions, or come late to be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypedDict

if TYPE_CHECKING:
    from datetime import timedelta


class TaskLog(Protocol):
    """The log of a task: Airflow's, or one of Python's."""

    def info(self, event: str, *args: object) -> object:
        """What is worth knowing."""
        ...

    def warning(self, event: str, *args: object) -> object:
        """What should be looked at."""
        ...

    def error(self, event: str, *args: object) -> object:
        """What went wrong."""
        ...


class TaskName(Protocol):
    """What names a task instance: Airflow's task instances do, and their keys."""

    @property
    def dag_id(self) -> str:
        """Of its DAG."""
        ...

    @property
    def run_id(self) -> str:
        """Of its DAG run."""
        ...

    @property
    def task_id(self) -> str:
        """Of its task."""
        ...

    @property
    def map_index(self) -> int | None:
        """Its number if it is mapped. None or -1 if not."""
        ...


class RunningTask(TaskName, Protocol):
    """A task instance that runs."""

    def xcom_push(self, key: str, value: object) -> None:
        """Leave a value for others."""
        ...


class TaskKey(TypedDict):
    """The name of a task instance as triggers are serialized with it. ``map_index`` is -1 if it is not mapped."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int


class StatsClient(Protocol):
    """Airflow's metrics."""

    def incr(self, stat: str, count: int = 1, *, tags: dict[str, str]) -> object:
        """Add to a counter."""
        ...

    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> object:
        """Set a value."""
        ...

    def timing(self, stat: str, dt: float | timedelta, *, tags: dict[str, str]) -> object:
        """Note how long something took."""
        ...
