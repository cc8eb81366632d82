"""What a user gives as ``requests`` to a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from upath import UPath

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.read import Rows, Source
from airflow_provider_batch.rows.read.files import Files
from airflow_provider_batch.rows.read.tables import Frame, is_frame


def source_of(given: Any, name: str = "the list of requests") -> Source:
    """The source for an opened path, a data frame, a list, a generator or another iterable of rows.

    :param name: What an iterable is called in messages.
    :raises ConfigError: It is none of these.
    """
    if isinstance(given, UPath) or hasattr(given, "protocol"):
        # Airflow's ObjectStoragePath wraps a path without being one.
        return Files(given)
    if is_frame(given):
        return Frame(given)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        return Rows(given, name)
    raise ConfigError(
        f"requests must be a path, a URI, a query, a data frame or rows, got {type(given).__name__}.",
        code="AGB-C08",
        remedy="Nothing was uploaded. Check what the upstream task returned.",
    )
