"""What OpenLineage is told: where rows come from, where results go, and how a batch ended.

Only the OpenLineage provider calls this, and only here is anything of it imported. Datasets are named by
OpenLineage's conventions. What has no name of its own (rows that a task made, a data frame) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_batch.airflow_compat import sql_hook
from airflow_provider_batch.rows.read.tables import SqlQuery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset

    from airflow_provider_batch.batch.ledger.state import BatchState
    from airflow_provider_batch.batch.ledger.store import Ledger
    from airflow_provider_batch.observability.facet import GeminiBatchRunFacet
    from airflow_provider_batch.rows.manifest import Manifest

    # Of datasets and facets in the classes of either version of OpenLineage.
    Lineage = OperatorLineage[Any, Any]

MAX_JOBS = 100
"""Names of remote jobs in the facet."""

_PLACEHOLDER = re.compile(r"%s|%\(\w+\)s")
"""Of drivers. OpenLineage's parser reads SQL only."""

_SAME_STORE = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
_ACCOUNT_IN_HOST = re.compile(r"[^@]+@[^@]+\.(dfs|blob)\.core\.")
"""Azure's addresses are ``container@account.host``: what stands before the @ is no user there."""


def lineage(
    inputs: Iterable[object], manifest: Manifest | None = None, ledger: Ledger | None = None
) -> Lineage | None:
    """The datasets and the facet of a batch, as an ``OperatorLineage``. None without the OpenLineage provider.

    :param inputs: What the operator was given: paths, URIs, queries. Others are passed over.
    :param manifest: How it ended, None if it has not.
    :param ledger: What was sent, None if nothing was.
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
    except ImportError:
        return None
    from airflow_provider_batch.observability.facet import NAME

    operator_lineage: Lineage = OperatorLineage(inputs=[], outputs=[], run_facets={}, job_facets={})
    for given in inputs:
        if isinstance(given, SqlQuery):
            _add_query(operator_lineage, given)
        elif isinstance(given, str):
            operator_lineage.inputs.append(_dataset(given))
    if manifest is not None:
        operator_lineage.outputs.append(_dataset(manifest.result_uri))
        if manifest.failed_uri:
            operator_lineage.outputs.append(_dataset(manifest.failed_uri))
    if ledger is not None:
        operator_lineage.run_facets[NAME] = _facet(ledger, manifest)
    return operator_lineage


def loading_lineage(manifest: Mapping[str, object], conn_id: str, table: str) -> Lineage | None:
    """The datasets of loading results into a table. None without the OpenLineage provider."""
    from airflow_provider_batch.rows.manifest import Manifest

    operator_lineage = lineage([Manifest.load(dict(manifest)).result_uri])
    # This statement is never run, and it is in no facet. OpenLineage's parser finds the table's full name in it.
    statement = f"INSERT INTO {table} VALUES (1)"  # noqa: S608
    if operator_lineage is not None and (loaded := _of_sql(conn_id, statement)):
        operator_lineage.outputs.extend(loaded.outputs)
    return operator_lineage


def dataset_name(uri: str) -> tuple[str, str]:
    """Namespace and name of a path or URI. A pattern is its folder. Credentials and queries are dropped."""
    whole = _folder_of_pattern(uri)
    if "://" not in whole:
        return "file", whole.rstrip("/") or "/"
    parts = urlsplit(whole)
    scheme = _SAME_STORE.get(parts.scheme, parts.scheme)
    if scheme == "file":
        return "file", parts.path.rstrip("/") or "/"
    path = parts.path.rstrip("/")
    # Stores of objects have keys, which begin without a slash. The others have paths.
    return f"{scheme}://{_host(parts.netloc)}", (path if scheme == "hdfs" else path.lstrip("/")) or "/"


def _folder_of_pattern(uri: str) -> str:
    first = re.search(r"[*?\[#]", uri)
    if first is None:
        return uri
    return uri[: first.start()] if uri[first.start()] == "#" else _parent(uri[: first.start()], uri)


def _parent(before: str, uri: str) -> str:
    # A question mark is a query where addresses have them, and a pattern everywhere else.
    if uri.startswith(("http://", "https://")) and uri[len(before)] == "?":
        return before
    return before.rpartition("/")[0] or "/"


def _host(netloc: str) -> str:
    return netloc if _ACCOUNT_IN_HOST.match(netloc) else netloc.rpartition("@")[2]


def _dataset(uri: str) -> Dataset:
    from openlineage.client.event_v2 import Dataset

    namespace, name = dataset_name(uri)
    return Dataset(namespace=namespace, name=name)


def _add_query(operator_lineage: Lineage, query: SqlQuery) -> None:
    from openlineage.client.facet_v2 import sql_job

    operator_lineage.job_facets["sql"] = sql_job.SQLJobFacet(query=query.sql)
    if found := _of_sql(query.conn_id, _PLACEHOLDER.sub("NULL", query.sql)):
        operator_lineage.inputs.extend(found.inputs)


def _of_sql(conn_id: str, sql: str) -> Lineage | None:
    """What the OpenLineage provider reads out of a statement, None if it knows nothing of that database."""
    from airflow.providers.openlineage.sqlparser import SQLParser

    # Even if something goes wrong in there, the rest of the lineage is worth having.
    with suppress(Exception):
        hook = sql_hook(conn_id)
        connection = hook.get_connection(conn_id)
        parser = SQLParser(
            dialect=hook.get_openlineage_database_dialect(connection),
            default_schema=hook.get_openlineage_default_schema(),
        )
        return parser.generate_openlineage_metadata_from_sql(
            sql=sql,
            hook=hook,
            database_info=hook.get_openlineage_database_info(connection),
            use_connection=False,
        )
    return None


def _facet(ledger: Ledger, manifest: Manifest | None) -> GeminiBatchRunFacet:
    from airflow_provider_batch.batch.ledger.state import read_batch
    from airflow_provider_batch.observability.facet import GeminiBatchRunFacet

    batch = read_batch(ledger)
    jobs = _jobs(batch)
    tokens = manifest.tokens.model_dump() if manifest else None
    return GeminiBatchRunFacet(
        model=batch.plan.model,
        jobs=jobs[:MAX_JOBS],
        jobCount=len(jobs),
        rounds=batch.round.number,
        rows=batch.plan.rows,
        rowsByStatus={status.value: n for status, n in manifest.counts.items()} if manifest else None,
        tokens=tokens,
        costUsd=manifest.cost_usd if manifest else None,
        standardUsd=manifest.standard_usd if manifest else None,
        unmetered=manifest.unmetered if manifest else None,
        ledgerUri=_bare(str(ledger.folder)),
        **(_of_calls(manifest) if manifest and manifest.ways is not None else {}),
    )


def _of_calls(manifest: Manifest) -> dict[str, Any]:
    """The fields of the facet about single calls."""
    ways = manifest.ways or {}
    return {
        "ways": {way: totals.model_dump(exclude_none=True) for way, totals in ways.items()},
        "rescueExtraUsd": manifest.rescue_extra_usd,
        "lostCalls": manifest.lost_calls,
        "calledAgain": manifest.called_again,
        "jobsLeftRunning": manifest.jobs_left_running,
    }


def _jobs(batch: BatchState) -> list[str]:
    names = [shard.landed.job if shard.landed else shard.job for shard in batch.shards]
    return [name for name in names if name]


def _bare(uri: str) -> str:
    """Without what might be a credential."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    return f"{parts.scheme}://{_host(parts.netloc)}{parts.path}"
