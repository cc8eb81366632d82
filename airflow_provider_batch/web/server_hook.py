"""The hook in the API server: it finds connections there, and lends credentials to nothing but the Gemini API."""

from __future__ import annotations

from typing import Any

from airflow_provider_batch.airflow_compat import CONN_TYPE, not_found_error, server_connection
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook


class ServerHook(GeminiBatchHook):
    """A hook for a name that a task has noted. Any user may have written the note."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Look a connection up.

        :raises ConfigError: There is none of our type: the password of another one must not go to its host.
        """
        try:
            connection = server_connection(conn_id)
        except not_found_error():
            connection = None
        if connection is None or connection.conn_type != CONN_TYPE:
            raise ConfigError(f"There is no connection {conn_id!r} of type {CONN_TYPE}", code="AGB-C01")
        return connection
