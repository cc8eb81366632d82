"""Who calls: an API key or an OAuth token, and the project that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from airflow_provider_batch.emulator.wire.errors import invalid_api_key, invalid_token, missing_api_key

DEFAULT_PROJECT = "default"


def project_keys(entries: Sequence[str]) -> dict[str, str]:
    """Read ``KEY`` and ``KEY=PROJECT`` entries of the command line into key -> project."""
    pairs = (entry.partition("=") for entry in entries)
    return {key: project or DEFAULT_PROJECT for key, _, project in pairs}


def project_of(request: Request, keys: Mapping[str, str]) -> str:
    """Return the project of the caller.

    :param keys: the known credentials. If there are none, any non-empty one is accepted.
    :raises ApiError: no credential, or one that is not known.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = request.headers.get("x-goog-api-key") or request.query_params.get("key")
    if key:
        if keys and key not in keys:
            raise invalid_api_key()
        return keys.get(key, DEFAULT_PROJECT)
    if scheme.lower() != "bearer" or not token.strip():
        raise missing_api_key()
    if keys and token.strip() not in keys:
        raise invalid_token()
    named = request.headers.get("x-goog-user-project")
    return named or keys.get(token.strip(), DEFAULT_PROJECT)
