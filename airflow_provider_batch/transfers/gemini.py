"""The operator that loads results into a SQL table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_batch.airflow_compat import saving_retries, sql_hook
from airflow_provider_batch.argument_checks import Check, mapping, maybe, text
from airflow_provider_batch.arguments import CheckedArguments
from airflow_provider_batch.rows.write.sql import Target, ensure_statuses, ensure_table, key_column_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class GeminiResultsToSqlOperator(BaseOperator, CheckedArguments):
    """Load the results of a batch into a table of any database whose hook is a ``DbApiHook``.

    One transaction. Rows whose keys are in the table already are replaced. So a retry, a clear or a second landing
    of the same batch leaves the table as it was. The table must exist. An index on the key column makes it quick.
    NUL in an answer, which PostgreSQL cannot hold, becomes U+FFFD.

    :param manifest: What :class:`GeminiBatchOperator` returned, or a text of it. Templated.
    :param conn_id: Airflow connection of the database. Templated.
    :param table: ``table`` or ``schema.table``. Templated.
    :param columns: Column of the table to the path of a value in a row. Paths are ``key``, ``status``, ``text``,
        ``finish_reason``, ``usage.input``, ``error.message`` or ``source.day`` (a kept column). Also
        ``text.sentiment`` for a field of an answer that is JSON, or ``parsed.sentiment`` for one of an output
        type. If a path is in none of the loaded successes, the task fails and the table stays as it was. A null is
        a value.
    :param key_column: The column that gets the key. Default: the one that ``columns`` maps to ``key``.
    :param only: Statuses of the rows that are loaded, None = all.
    """

    template_fields: Sequence[str] = ("manifest", "conn_id", "table")
    template_fields_renderers: ClassVar[dict[str, str]] = {"manifest": "json"}
    ui_color = "#e8f0fe"
    checks: ClassVar[Mapping[str, Check]] = {
        "manifest": mapping,
        "conn_id": text,
        "table": lambda _, table: ensure_table(table),
        "columns": mapping,
        "key_column": maybe(text),
        "only": lambda _, statuses: ensure_statuses(statuses),
    }

    def __init__(
        self,
        *,
        manifest: Mapping[str, object] | str,
        conn_id: str,
        table: str,
        columns: Mapping[str, str],
        key_column: str | None = None,
        only: Sequence[str] | None = ("success",),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest: Any = manifest
        self.conn_id = conn_id
        self.table = table
        self.columns = columns
        self.key_column = key_column
        self.only = only
        self._check_given()
        # Judged as a whole. The table's own name may have to be rendered first.
        self._target("a_table")

    @saving_retries()
    def execute(self, context: Context) -> int:
        """Load, and return how many rows were loaded."""
        from airflow_provider_batch.rows.results import read_results
        from airflow_provider_batch.rows.write.sql import load_rows

        self._check_rendered()
        hook = sql_hook(self.conn_id)
        target = self._target(self.table, hook.placeholder)
        rows = read_results(self.manifest)
        wanted = (row for row in rows if self.only is None or row.status.value in self.only)
        with closing(hook.get_conn()) as connection:
            loaded = load_rows(connection, target, wanted)
        self.log.info("Loaded %d rows into %s.", loaded, self.table)
        return loaded

    def _target(self, table: str, *placeholder: str) -> Target:
        columns = mapping("columns", self.columns)
        return Target(table, columns, self.key_column or key_column_of(columns), *placeholder)

    def get_openlineage_facets_on_start(self) -> object:
        """What the OpenLineage provider asks: the results in, the table out."""
        from airflow_provider_batch.observability.openlineage import loading_lineage

        return loading_lineage(mapping("manifest", self.manifest), self.conn_id, self.table)
