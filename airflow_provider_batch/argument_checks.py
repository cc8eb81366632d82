"""What an argument may be. Each check takes its name and its value, and gives the value in its own type.

A template yields text, so each check takes text as well. Imports nothing heavy: DAGs are parsed often.
"""

from __future__ import annotations

import ast
import inspect
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_batch.airflow_compat import ensure_absolute
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.templates import check_system_prompt, check_template

Check = Callable[[str, Any], Any]

MIN_POLL_INTERVAL_S = 1.0
MAX_POLL_INTERVAL_S = 3_600.0

_JOB_NAME = re.compile(r"batches/[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

_YES = ("true", "yes", "on", "1")
_NO = ("false", "no", "off", "0")

MAX_SHOWN = 80
"""Characters of a wrong value that a message shows."""


def is_reference(value: object) -> bool:
    """Whether Airflow resolves it: what upstream tasks return, arguments of a DAG or of a mapped task group."""
    return hasattr(value, "iter_references") and hasattr(value, "resolve")


def is_template(value: object) -> bool:
    """Whether Airflow renders it to something else: a reference, Jinja, or a function of the context."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value or "{#" in value
    if isinstance(value, os.PathLike) or hasattr(value, "protocol"):
        return is_template(str(value))
    return is_reference(value) or (callable(value) and not inspect.isclass(value))


def has_references(value: object) -> bool:
    """Whether there is a reference in it, at any depth of lists and dicts."""
    if isinstance(value, Mapping):
        return any(map(has_references, value.values()))
    return any(map(has_references, value)) if isinstance(value, list | tuple) else is_reference(value)


def resolved(value: Any, context: Any) -> Any:
    """The same with what its references lead to. No text in it is rendered."""
    if isinstance(value, Mapping):
        return {name: resolved(inner, context) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(inner, context) for inner in value]
    return value.resolve(context) if is_reference(value) else value


def path_text(value: Any) -> Any:
    """A path of ``pathlib``, of Airflow's object storage or of ``upath`` as text, with its connection.

    :raises ConfigError: The path has options of its own, which a text does not hold.
    """
    if not isinstance(value, os.PathLike) and not hasattr(value, "protocol"):
        return value
    text, connection = str(value), getattr(value, "conn_id", None)
    options = {name for name in getattr(value, "storage_options", {}) if name != "conn_id"}
    if options:
        raise ConfigError(
            f"The path {text} has storage options of its own ({', '.join(sorted(options))}), which the tasks that "
            "read the results would not have.",
            code="AGB-C08",
            remedy="Put them into an Airflow connection, and name it in the path, as in s3://my_conn@bucket/folder.",
        )
    return f"file://{connection}@{text}" if connection and "://" not in text else text


def path(name: str, value: Any) -> str:
    """An absolute path or a URI, as text.

    :raises ConfigError: As all of these, where it is something else.
    """
    text = path_text(value)
    if not isinstance(text, str):
        raise wrong(name, "an absolute path or a URI", value, "AGB-C08")
    ensure_absolute(text, name)
    return text


def maybe(check: Check) -> Check:
    """A check that lets None pass."""
    return lambda name, value: None if value is None else check(name, value)


def text(name: str, value: Any) -> str:
    """A text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise wrong(name, "a text", value)
    return value


def model_name(name: str, value: Any) -> str:
    """A name that a model can have, with or without ``models/``."""
    from airflow_provider_batch.gemini.client.calls import model_path

    if not isinstance(value, str):
        raise wrong(name, "the name of a model", value)
    model_path(value)
    return value


def prompt_spec(name: str, value: Any) -> Any:
    """A template with names of columns, or a function of the row."""
    if not callable(value):
        check_template(value)
    elif inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        raise ConfigError(
            "The prompt is an async function, which cannot be used.",
            code="AGB-C13",
            remedy="Give a plain function of the row.",
        )
    return value


def system_prompt_spec(name: str, value: Any) -> str:
    """A text, without what only Airflow could have filled in."""
    check_system_prompt(value)
    return str(value)


def flag(name: str, value: Any) -> bool:
    """True or False, or a text for it: ``true``, ``yes``, ``on``, ``1`` and their opposites, in any case."""
    written = str(value).strip().lower() if isinstance(value, str | int) else ""
    if written not in _YES and written not in _NO:
        raise wrong(name, "True or False", value)
    return written in _YES


def seconds(least: float, most: float) -> Check:
    """A number of seconds within bounds, or a ``timedelta``, or a text for either."""

    def check(name: str, value: Any) -> float:
        given = _seconds_of(value)
        if not least <= given <= most:
            raise wrong(name, f"a number of seconds from {least:,.0f} to {most:,.0f}", value)
        return given

    return check


between_looks = seconds(MIN_POLL_INTERVAL_S, MAX_POLL_INTERVAL_S)
"""Time between looks at jobs, or between readings of the listing."""


def ready_time(name: str, value: Any) -> datetime | timedelta:
    """A time with its zone, a ``timedelta`` above 0, or a text for either."""
    given = value
    if isinstance(value, str):
        try:
            given = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", value.strip()))
        except ValueError:
            length_s = _seconds_of(value) if ":" in value else math.nan
            given = timedelta(seconds=length_s) if length_s > 0 else None
    if isinstance(given, timedelta) and given > timedelta(0):
        return given
    if isinstance(given, datetime) and given.tzinfo is not None:
        return given
    raise wrong(name, "a time with its time zone, or a timedelta after the end of the data interval", value)


def tier_names(name: str, value: Any) -> tuple[str, ...]:
    """Service tiers, each once, in the order in which they are used."""
    given = tuple(value) if isinstance(value, list | tuple) else ()
    if given and len(set(given)) == len(given) and set(given) <= {tier.value for tier in Tier}:
        return tuple(map(str, given))
    raise wrong(name, f"a tuple of {' or '.join(repr(tier.value) for tier in Tier)}, each once", value)


def _seconds_of(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    number = _number(value)
    if math.isnan(number) and isinstance(value, str) and ":" in value:
        from pydantic import TypeAdapter, ValidationError

        try:
            # "1 day, 2:00:00", which is what a template makes of a timedelta.
            return TypeAdapter(timedelta).validate_python(value.strip()).total_seconds()
        except ValidationError:
            return math.nan
    return number


def _number(value: Any) -> float:
    """Not a number where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def checked_usd(name: str, value: Any) -> Decimal:
    """A sum of money above 0."""
    try:
        given = Decimal(str(value).strip()) if isinstance(value, int | float | Decimal | str) else Decimal(0)
    except InvalidOperation:
        given = Decimal(0)
    if given.is_finite() and given > 0 and not isinstance(value, bool):
        return given
    raise wrong(name, "a sum in USD above 0", value)


def share(name: str, value: Any) -> float:
    """A share, 0 to 1."""
    given = _number(value)
    if not 0 <= given <= 1:
        raise wrong(name, "a share from 0 to 1, such as 0.05 for 5 %", value)
    return given


def whole(least: int, most: int | None = None) -> Check:
    """A whole number within bounds."""

    def check(name: str, value: Any) -> int:
        try:
            given = int(value) if isinstance(value, str) else value
        except ValueError:
            given = None
        if not isinstance(given, int) or isinstance(given, bool) or given < least or (most and given > most):
            raise wrong(name, f"a whole number from {least}{f' to {most}' if most else ''}", value)
        return given

    return check


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(name: str, value: Any) -> str:
        if value not in words:
            raise wrong(name, f"one of {', '.join(words)}", value)
        return str(value)

    return check


def names(name: str, value: Any) -> list[str]:
    """Names of columns, in a list. A text is a list of letters to Python, so it is refused."""
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise wrong(name, 'a list of names, such as ["photo"]', value)
    given = list(value)
    if not all(isinstance(one, str) and one for one in given):
        raise wrong(name, 'a list of names, such as ["photo"]', given)
    return given


def mapping(name: str, value: Any) -> dict[str, Any]:
    """A dict with texts as its keys, or the text that a template makes of one."""
    if isinstance(value, str):
        value = _dict_of(value)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise wrong(name, "a dict", value)
    return dict(value)


def submitted(name: str, value: Any) -> Any:
    """A job's name, or what an operator that does not wait returned. Also the text that a template makes of it."""
    given = _dict_of(value) if isinstance(value, str) else value
    if isinstance(given, str) and given.strip():
        return job_name_of(name, given)
    if isinstance(given, Mapping):
        jobs = given.get("job_names") or given.get("job_name")
        if jobs and all(isinstance(job, str) for job in ([jobs] if isinstance(jobs, str) else jobs)):
            return dict(given)
        if given.get("ledger") and given.get("job_name") == "":
            # All rows of the batch were tried, so no job was needed.
            return dict(given)
    raise ConfigError(
        f"{name}: the task was given no job, but {_shown(value)}.",
        code="AGB-C08",
        remedy="Pass the output of GeminiBatchOperator(wait_for_completion=False), or a job name.",
    )


def job_name_of(name: str, value: Any) -> str:
    """The name of a remote job, ``batches/...``."""
    if not isinstance(value, str) or not _JOB_NAME.fullmatch(value.strip()):
        raise wrong(name, "the name of a job, such as batches/abc123", value, "AGB-C08")
    return value.strip()


def _dict_of(written: str) -> Any:
    """What ``{{ ti.xcom_pull(...) }}`` gives is Python's text of a dict. ``| tojson`` gives JSON."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return written


def output_spec(name: str, value: Any) -> Any:
    """A pydantic model or a JSON Schema that the API can express, or where to import one from, unopened."""
    if isinstance(value, str):
        return text(name, value)
    if not isinstance(value, dict | type):
        raise wrong(name, "a pydantic model, where to import it from, or a JSON Schema", value)
    from airflow_provider_batch.gemini.rows.schema import response_schema
    from airflow_provider_batch.rows.output.type import OutputType

    response_schema(OutputType.of(value).json_schema)
    return value


def wrong(name: str, wanted: str, value: object, code: str = "AGB-C06") -> ConfigError:
    """The error that says what an argument must be."""
    return ConfigError(f"{name} must be {wanted}, got {_shown(value)}.", code=code, remedy="Correct the argument.")


def _shown(value: object) -> str:
    if is_reference(value):
        return f"{type(value).__name__}, which is resolved in template_fields only"
    shown = repr(value)[:MAX_SHOWN]
    return f"{shown}, and it is not templated" if isinstance(value, str) and is_template(value) else shown
