"""The few places where Airflow's versions differ, or where its defaults need a word of ours."""

from __future__ import annotations

import importlib
import inspect
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_provider_batch.errors import BatchError, ConfigError, InputError, SupersededError

if TYPE_CHECKING:
    from airflow.models.connection import Connection
    from airflow.sdk import BaseOperator
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from upath import UPath

    from airflow_provider_batch.airflow_types import StatsClient, TaskKey

log = logging.getLogger(__name__)


Given = TypeVar("Given")
Made = TypeVar("Made")


def plain(value: object) -> object:
    """The value of a ``Param``: Airflow gives the object where it is the default of a ``@dag`` argument."""
    from airflow.sdk import Param

    return value.resolve() if isinstance(value, Param) else value


def default_deferrable() -> bool:
    """``[operators] default_deferrable``."""
    from airflow.configuration import conf

    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def not_found_error() -> type[Exception]:
    """What Airflow raises for a connection that does not exist. It moved to the SDK after 3.1."""
    import airflow.exceptions

    error: type[Exception] = airflow.exceptions.AirflowNotFoundException  # type: ignore[attr-defined]
    return error


def determine_kwargs(
    function: Callable[..., object], args: Collection[object], context: Mapping[str, object]
) -> dict[str, object]:
    """The parts of the context that a function asks for by name. Airflow's own way moved between versions."""
    parameters = list(inspect.signature(function).parameters.values())[len(args) :]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(context)
    return {parameter.name: context[parameter.name] for parameter in parameters if parameter.name in context}


def sql_hook(conn_id: str) -> Any:
    """The hook of a database connection, one with DB-API connections.

    :raises ConfigError: The connection does not exist, or it is not of a database.
    """
    from airflow.sdk import BaseHook

    try:
        hook = BaseHook.get_hook(conn_id)
    except not_found_error():
        raise ConfigError(
            f"There is no connection {conn_id!r}.",
            code="AGB-C01",
            remedy="Create it with the type of the database.",
        ) from None
    if not hasattr(hook, "placeholder") or not hasattr(hook, "get_conn"):
        raise ConfigError(
            f"The connection {conn_id!r} is not of a SQL database ({type(hook).__name__} is no DbApiHook).",
            code="AGB-C01",
            remedy="Give the connection of a database.",
        )
    return hook


def ensure_absolute(uri: str, parameter: str) -> None:
    """Make sure that a text is an absolute local path or a URI. Opens nothing.

    :raises ConfigError: It is neither.
    """
    if "://" not in uri and not uri.startswith("/"):
        raise ConfigError(
            f"{parameter} {uri!r} must be an absolute path or a URI such as s3://bucket/folder/.",
            code="AGB-C08",
            remedy="A relative path would mean another place on each worker.",
        )


def object_path(uri: str, parameter: str) -> UPath:
    """An ``ObjectStoragePath`` for an absolute local path or a URI, which may name an Airflow connection.

    :raises ConfigError: It is empty, relative, or of a scheme that no installed provider serves.
    """
    from airflow.sdk import ObjectStoragePath

    ensure_absolute(uri, parameter)
    try:
        path = ObjectStoragePath(uri)
        path.fs  # noqa: B018 (looks the scheme up, reads nothing)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"{parameter} {uri!r} cannot be opened: {error}",
            code="AGB-C08",
            remedy="Install the Airflow provider of that object storage on the workers.",
        ) from None
    # It wraps one, and does what one does.
    return cast("UPath", path)


def skip(error: BatchError) -> Exception:
    """What ends a task as skipped."""
    return airflow_exception("AirflowSkipException")(error.message)


def fail(error: BatchError) -> Exception:
    """What fails a task without a retry: the error itself, which is an ``AirflowFailException`` as well.

    Were it the cause of another exception, Airflow's log would have its text twice.
    """
    kind = type(error)
    bases = (kind, airflow_exception("AirflowFailException"))
    both: Callable[..., Exception] = type(kind.__name__, bases, {"__module__": kind.__module__, "__init__": _bare})
    final = both()
    final.args = error.args
    final.__dict__.update(error.__dict__)
    return final.with_traceback(error.__traceback__)


def _bare(_: object) -> None:
    """Makes an exception whose facts are put in afterwards."""


def overdue(error: BatchError) -> Exception:
    """What fails a sensor at its timeout, without a retry."""
    return airflow_exception("AirflowSensorTimeout")(str(error))


class TaskEnd(BaseException):
    """What a function of the user raised to end its task. It passes through code that takes exceptions for rows.

    :param ending: Airflow's exception.
    """

    def __init__(self, ending: Exception) -> None:
        super().__init__()
        self.ending = ending


def ending_tasks(function: Callable[[Given], Made]) -> Callable[[Given], Made]:
    """A function of a row that may skip or fail its task, as any function of a task may."""
    ends = (airflow_exception("AirflowSkipException"), airflow_exception("AirflowFailException"))

    def call(row: Given) -> Made:
        try:
            return function(row)
        except ends as ending:
            raise TaskEnd(ending) from None

    return call


@contextmanager
def saving_retries() -> Iterator[None]:
    """What no retry can mend fails the task at once, so that a person hears of it at once.

    :raises AirflowFailException: Instead of a final :class:`BatchError`, and of its class too.
    :raises AirflowSkipException: A function of the user said so.
    """
    try:
        yield
    except TaskEnd as end:
        raise end.ending from None
    except InputError as error:
        for bad in error.rows:
            log.error("%s", bad.in_words)
        if error.bad_rows > len(error.rows):
            log.error("and %s more bad rows.", f"{error.bad_rows - len(error.rows):,}")
        brief = error.in_one_line()
        raise (fail(brief) if error.is_final else brief) from None
    except BatchError as error:
        if error.is_final:
            raise fail(error) from None
        raise


def airflow_exception(name: str) -> type[Exception]:
    """One of Airflow's own. They moved to the SDK after 3.1, and the old place warns."""
    import airflow.exceptions
    import airflow.sdk.exceptions

    place = airflow.sdk.exceptions if hasattr(airflow.sdk.exceptions, name) else airflow.exceptions
    exception: type[Exception] = getattr(place, name)
    return exception


def task_state(task: TaskKey, within_s: float) -> str | None:
    """The state of a task instance as the API server has it now. None if it has none or it cannot be read in time.

    Blocks. It asks in a thread of its own. Called from a signal handler it may have interrupted another request to
    the supervisor. It would wait for that one forever.
    """
    answers: list[str | None] = []

    def ask() -> None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        mapped = task["map_index"] if task["map_index"] >= 0 else None
        try:
            states = RuntimeTaskInstance.get_task_states(
                dag_id=task["dag_id"], task_ids=[task["task_id"]], run_ids=[task["run_id"]], map_index=mapped
            )
        except Exception as error:  # noqa: BLE001
            # The supervisor raises anything. A state that cannot be read leaves the jobs alone.
            log.info("The task's state cannot be read: %s", type(error).__name__)
            return
        found = list(states.get(task["run_id"], {}).values())
        answers.append(found[0] if len(found) == 1 else None)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(within_s)
    return answers[0] if answers else None


def server_connection(conn_id: str) -> Connection:
    """A connection as the API server knows it: in 3.1 the SDK looks up none in there. Blocks."""
    from airflow.models.connection import Connection

    return Connection.get_connection_from_secrets(conn_id)


def webhook_secret(conn_id: str) -> str:
    """The ``webhook_secret`` of a connection of our type, empty if there is none. For the API server. Blocks."""
    try:
        connection = server_connection(conn_id)
    except not_found_error():
        return ""
    if connection.conn_type != CONN_TYPE:
        return ""
    # Reading the extra like this also has Airflow hide the secret in logs, for what its name is.
    extra = connection.extra_dejson
    return str(extra.get("webhook_secret") or "") if isinstance(extra, dict) else ""


def change_variable(key: str, change: Callable[[str | None], str], description: str) -> None:
    """Set an Airflow Variable by what it was. For the API server. Blocks."""
    from airflow.models.variable import Variable

    Variable.set(key, change(Variable.get(key, default_var=None)), description)


async def aget_variable(key: str) -> str | None:
    """An Airflow Variable as the API server has it, None if there is none. For triggers.

    Straight through the triggerer. ``Variable.get`` would block the event loop, and ask the secrets backends of
    this process each time. Never cancel this. Airflow 3.1 would take the answer for that to the next question,
    even of another caller.
    """
    from airflow.sdk.execution_time import comms, task_runner

    answer = await task_runner.SUPERVISOR_COMMS.asend(comms.GetVariable(key=key))
    if isinstance(answer, comms.VariableResult):
        return answer.value
    error = getattr(answer, "error", answer)
    if getattr(error, "value", error) == "VARIABLE_NOT_FOUND":
        return None
    raise OSError(f"the answer is {error}")


async def aput_variable(key: str, value: str, description: str) -> None:
    """Set an Airflow Variable. For triggers. Never cancel this either."""
    from airflow.sdk.execution_time import comms, task_runner

    await task_runner.SUPERVISOR_COMMS.asend(comms.PutVariable(key=key, value=value, description=description))


def tell_outlets(context: Mapping[str, Any], outlets: Iterable[object], extra: dict[str, object]) -> None:
    """Put the same extra into the events of all assets that a task is said to update, also by ``Asset.ref``."""
    from airflow.sdk import Asset
    from airflow.sdk.definitions.asset import AssetRef

    for outlet in outlets:
        if isinstance(outlet, Asset | AssetRef):
            try:
                context["outlet_events"][outlet].extra = extra
            except Exception as error:  # noqa: BLE001
                # A reference is looked up, and one that leads nowhere must not fail what has landed.
                log.warning("The event of %r has no manifest (%s).", outlet, type(error).__name__)


def end_without_results(
    task: BaseOperator, context: Mapping[str, Any], returned: dict[str, object]
) -> dict[str, object]:
    """End a task as a success that has no results. Its outlets get no event, and the tasks after it are skipped.

    :param returned: What it returns.
    :raises DownstreamTasksSkipped: There are tasks after it.
    """
    task.outlets = []
    # Without any, the task need not belong to a DAG.
    following = task.get_direct_relatives(upstream=False) if task.downstream_task_ids else ()
    after = [one.task_id for one in following if not one.is_teardown]
    if not after:
        return returned
    if task.do_xcom_push:
        # What is raised returns nothing.
        context["ti"].xcom_push(key="return_value", value=returned)
    skipped: Callable[..., Exception] = airflow_exception("DownstreamTasksSkipped")
    raise skipped(tasks=after)


def stats() -> StatsClient:
    """Airflow's metrics, as code in tasks sends them. They moved to the SDK after 3.1, and the old place warns."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:
        from airflow.stats import Stats
    return Stats


def start_stats() -> None:
    """Set the metrics up in a process that is no part of Airflow. Its own processes have done so."""
    # It measures its own import, for which it sets them up (3.2, 3.3). In 3.1 they set themselves up.
    importlib.import_module("airflow.sdk.serde" if find_spec("airflow.sdk.observability") else "airflow.stats")


def is_cleared(ti: object, retries: int) -> bool:
    """A person has cleared the task, and this is its first try since: not a retry of Airflow's own.

    A clear sets the most tries to the tries so far and the retries (``clear_task_instances``).
    """
    number, most = getattr(ti, "try_number", 1), getattr(ti, "max_tries", 0)
    return bool(number > 1 and number == most - retries + 1)


class Fence:
    """Airflow's task state store (3.3). It points to the ledger and proves that this try is the current one.

    The server refuses a write from a try that another one has replaced. Where there is no store, the ledger
    alone decides who may send, and it is enough for that.
    """

    def __init__(self, store: TaskStateStoreAccessor | None, ledger: str) -> None:
        self._store = store
        self._ledger = ledger

    def check_pointer(self) -> None:
        """Make sure that earlier tries used the same ledger.

        :raises ConfigError: ``result_path`` was another one.
        """
        known = self._store.get(POINTER) if self._store is not None else None
        if isinstance(known, str) and known != self._ledger:
            raise ConfigError(
                f"result_path differs between tries: the ledger was at {known}, now it is to be {self._ledger}.",
                code="AGB-C08",
                remedy="Nothing was sent or cancelled. Use a path that renders the same in every try, without "
                "{{ try_number }}, random parts or the current time. A new DAG run pays for the rows anew.",
            )

    def __call__(self) -> None:
        """Prove that this try is the current one.

        :raises SupersededError: It is not, or that cannot be told.
        """
        if self._store is None:
            return
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        try:
            self._store.set(POINTER, self._ledger, retention=NEVER_EXPIRE)
        except Exception as error:
            # The supervisor may raise anything. A proof that was not given is none.
            raise SupersededError(
                f"Airflow does not confirm that this try is the current one ({type(error).__name__}).",
                code="AGB-S07",
                remedy="Nothing was sent. If no other try runs, run the task again when the API server answers.",
            ) from error


CONN_TYPE = "gemini"

PAGE_ROUTE = "gemini-batches"
"""Of the page in Airflow's navigation, and of what serves it."""

POINTER = "gemini_batch_ledger"
"""Key in the task state store."""
