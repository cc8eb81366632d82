"""What users pass as ``requests``: told apart and checked where the DAG is read, opened in the task."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.airflow_compat import ensure_absolute, object_path, plain, sql_hook
from airflow_provider_batch.argument_checks import is_template, path_text, text, wrong
from airflow_provider_batch.arguments import Options
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.read.tables import SqlQuery

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_batch.operators.options import MediaOptions
    from airflow_provider_batch.rows.prompt import Prompt
    from airflow_provider_batch.rows.read import Source


def is_rendered(requests: object) -> bool:
    """Whether Airflow renders it: paths, queries, what upstream tasks return and the like. Never rows."""
    if isinstance(requests, os.PathLike) or hasattr(requests, "protocol"):
        # A text would lose the options.
        return not getattr(requests, "storage_options", None) or hasattr(requests, "conn_id")
    return isinstance(requests, str | SqlQuery) or is_template(requests)


def check_requests(task: BaseOperator, requests: Any) -> None:
    """Check what is there when the DAG is read. The task waits for what stands inside rows or a query.

    :raises ConfigError: It can be no source of rows.
    """
    from airflow.sdk import XComArg

    from airflow_provider_batch.rows.read.choice import source_of

    if isinstance(requests, SqlQuery):
        _check_query(requests)
        # Airflow looks into lists and dicts by itself, and not into objects.
        XComArg.apply_upstream_relationship(task, [getattr(requests, name) for name in requests.template_fields])
    elif isinstance(requests, str):
        if not is_template(requests):
            _check_path(requests)
    elif not is_template(requests):
        source_of(requests)
        if isinstance(requests, list | tuple):
            XComArg.apply_upstream_relationship(task, requests)


def wait_for_upstream(task: BaseOperator, groups: Sequence[Options | Mapping[str, Any] | None]) -> None:
    """Have the task wait for what stands inside its options. Airflow looks into dicts, and not into objects."""
    from airflow.sdk import XComArg

    for group in groups:
        if isinstance(group, Options):
            XComArg.apply_upstream_relationship(task, [getattr(group, name) for name in group.templated])


def ensure_consistent(
    prompt: Prompt | None,
    media: MediaOptions,
    params: Mapping[str, Any] | None,
    output_type: object,
    allow_unknown_fields: bool,
) -> None:
    """Check what depends on more than one argument.

    :raises ConfigError: They contradict each other.
    """
    if media.columns and media.path is None:
        raise ConfigError(
            "media.columns needs media.path, the folder of the files.",
            code="AGB-C06",
            remedy="Set media.path. Nothing outside of that folder is read.",
        )
    if media.columns:
        from airflow_provider_batch.gemini.rows.requests import RequestTemplate

        RequestTemplate(prompt, media_columns=media.columns)
    if output_type is not None and params:
        from airflow_provider_batch.gemini.rows.schema import ensure_only_schema

        ensure_only_schema(params)
    if params:
        check_params(dict(params), allow_unknown_fields=allow_unknown_fields)


def _check_query(query: SqlQuery) -> None:
    """Check what is no template any more, or never was."""
    for name in ("sql", "conn_id"):
        if not is_template(value := getattr(query, name)):
            text(f"{name} of the SqlQuery", value)
    given = query.parameters
    is_fit = isinstance(given, Sequence | Mapping | None) and not isinstance(given, str | bytes)
    if not is_fit and not is_template(given):
        raise wrong("parameters of the SqlQuery", "a list or a dict", given)


def _check_path(requests: str) -> None:
    if requests.endswith(".sql"):
        raise ConfigError(
            f"requests {requests!r} is a query without a database.",
            code="AGB-C08",
            remedy=f"Give SqlQuery({requests!r}, conn_id=...).",
        )
    ensure_absolute(requests, "requests")


def check_params(params: dict[str, Any], *, allow_unknown_fields: bool) -> None:
    """Check the fields of every row by what the API has.

    :raises ConfigError: The API does not have the field, or does not take the value. Says which was meant, if that
        is near.
    """
    from airflow_provider_batch.gemini.rows.checks import RequestCheck
    from airflow_provider_batch.rows.dialect import BadRowError

    request = {"contents": [{"parts": [{"text": "a row"}]}]}
    try:
        RequestCheck(allow_unknown_fields=allow_unknown_fields).request(request | params)
    except BadRowError as bad:
        raise ConfigError(
            f"request_params cannot be sent with every row: {bad.what}",
            code="AGB-C06",
            remedy="Nothing was sent. The names are those of GenerateContentRequest in the API's reference.",
        ) from None


def source(requests: Any) -> Source:
    """What is to be read: an opened path, a query, a data frame, or rows."""
    from airflow_provider_batch.rows.read.choice import source_of
    from airflow_provider_batch.rows.read.tables import QueryRows

    requests = plain(requests)
    if is_rendered(requests):
        requests = path_text(requests)
    if isinstance(requests, str):
        return source_of(object_path(requests, "requests"))
    if isinstance(requests, SqlQuery):
        _check_query(requests)
        connect = sql_hook(requests.conn_id).get_conn
        return QueryRows(connect, requests.sql, requests.parameters, f"the query on {requests.conn_id}")
    return source_of(requests)
