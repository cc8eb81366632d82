"""The few places where Airflow's versions differ, or where its defaults need a word of ours."""

from __future__ import annotations

from typing import Any

from airflow_provider_batch.errors import ConfigError


def default_deferrable() -> bool:
    """``[operators] default_deferrable``."""
    from airflow.configuration import conf

    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def not_found_error() -> type[Exception]:
    """What Airflow raises for a connection that does not exist. It moved to the SDK after 3.1."""
    import airflow.exceptions

    error: type[Exception] = airflow.exceptions.AirflowNotFoundException  # type: ignore[attr-defined]
    return error


def object_path(uri: str, parameter: str) -> Any:
    """An ``ObjectStoragePath`` for an absolute local path or a URI, which may name an Airflow connection.

    :raises ConfigError: It is empty, relative, or of a scheme that no installed provider serves.
    """
    from airflow.sdk import ObjectStoragePath

    if not uri or ("://" not in uri and not uri.startswith("/")):
        raise ConfigError(
            f"{parameter} {uri!r} must be an absolute path or a URI such as s3://bucket/folder/.",
            code="AGB-C08",
            remedy="A relative path would mean another place on each worker.",
        )
    path = ObjectStoragePath(uri)
    try:
        path.fs  # noqa: B018 (looks the scheme up, reads nothing)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"{parameter} {uri!r} cannot be opened: {error}",
            code="AGB-C08",
            remedy="Install the Airflow provider of that object storage on the workers.",
        ) from None
    return path
