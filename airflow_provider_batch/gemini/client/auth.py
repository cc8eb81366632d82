"""Where the credential comes from and which addresses it may reach.

Two kinds: an API key in the ``x-goog-api-key`` header, or an OAuth token in ``Authorization``. Neither ever
goes into a URL (those are logged), and none leaves the configured origin.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import urlsplit

from airflow_provider_batch.errors import ConfigError, TemporaryError
from airflow_provider_batch.redaction import conceal

DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
"""The usual scope of Google's APIs. Which smaller scope would do for batches is not documented."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_KEY = re.compile(r"[\x21-\x7e]+")


class Credential(Protocol):
    """Gives the headers that authenticate a request. May block: call it off the event loop."""

    def headers(self) -> Mapping[str, str]:
        """Headers for one request."""
        ...


class ApiKey:
    """An API key of Google AI Studio.

    :param key: The key. Shown nowhere.
    :raises ConfigError: The key is empty, or has white space in or around it.
    """

    def __init__(self, key: str) -> None:
        if not key:
            raise ConfigError(
                "There is no API key.",
                code="AGB-C01",
                remedy="Put the key in the connection's password field.",
            )
        if not _KEY.fullmatch(key):
            raise ConfigError(
                "The API key has white space or other unprintable characters in or around it.",
                code="AGB-C01",
                remedy="Copy the key again without a trailing line break.",
            )
        conceal(key)
        self._key = key

    def headers(self) -> Mapping[str, str]:
        """The key in its header."""
        return {"x-goog-api-key": self._key}

    def __repr__(self) -> str:
        return "ApiKey(***)"


class OAuthToken:
    """A bearer token that other code obtained, and will replace when it ends.

    :param token: The access token.
    :param quota_project: Google Cloud project that pays for the quota, or empty.
    """

    def __init__(self, token: str, quota_project: str = "") -> None:
        self._token = ApiKey(token)._key
        self._quota_project = quota_project

    def headers(self) -> Mapping[str, str]:
        """The token in its header, and the project if there is one."""
        return _bearer(self._token, self._quota_project)

    def __repr__(self) -> str:
        return "OAuthToken(***)"


class ApplicationDefault:
    """Google's Application Default Credentials, refreshed when they end. Needs the extra ``adc``.

    The credential is looked up and refreshed when first needed, so building this object does no I/O.

    :param quota_project: Google Cloud project that pays for the quota. Empty = the credential's own.
    """

    def __init__(self, quota_project: str = "") -> None:
        self._quota_project = quota_project
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._project = ""

    def headers(self) -> Mapping[str, str]:
        """Headers with a token that is valid now.

        :raises ConfigError: google-auth is not installed, or finds no credential, or may not refresh it.
        :raises TemporaryError: The token could not be obtained this time. A later call may succeed.
        """
        with self._found(refreshed=True) as credentials:
            project = self._quota_project or getattr(credentials, "quota_project_id", "") or ""
            conceal(credentials.token or "")
            return _bearer(credentials.token, project)

    def project(self) -> str:
        """The project that pays, as far as the credential says. Empty if it does not.

        :raises ConfigError: As :meth:`headers`.
        """
        with self._found(refreshed=False) as credentials:
            return self._quota_project or getattr(credentials, "quota_project_id", "") or self._project

    @contextmanager
    def _found(self, *, refreshed: bool) -> Iterator[Any]:
        """The credential, looked up once."""
        try:
            import google.auth
            import google.auth.exceptions
            import google.auth.transport.requests
        except ImportError:
            raise ConfigError(
                "Application Default Credentials need the google-auth package.",
                code="AGB-C02",
                remedy='Install "airflow-provider-batch[adc]".',
            ) from None
        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials, project = google.auth.default(scopes=SCOPES)
                    self._project = project or ""
                if refreshed and not self._credentials.valid:
                    self._credentials.refresh(google.auth.transport.requests.Request())
            except google.auth.exceptions.GoogleAuthError as error:
                if isinstance(error, google.auth.exceptions.TransportError) or error.retryable:
                    raise TemporaryError(
                        f"No access token could be obtained this time: {error}",
                        code="AGB-C02",
                        remedy="Run the task again. A wait goes on by itself.",
                    ) from None
                raise ConfigError(
                    f"Application Default Credentials did not work: {error}",
                    code="AGB-C02",
                    remedy="Check GOOGLE_APPLICATION_CREDENTIALS on this worker or triggerer.",
                ) from None
            yield self._credentials


def _bearer(token: str, quota_project: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | ({"x-goog-user-project": quota_project} if quota_project else {})


def account_label(base_url: str, kind: str, secret: str) -> str:
    """Whose credential it is: the same wherever the same one is used, with Airflow and without.

    Not keyed by a secret of Airflow's, as those are rotated, and differ where none is set. A key of the API is
    long and random. So twelve digits of its digest are of no use to a reader.

    :param kind: How it authenticates.
    :param secret: The API key. The project that pays, where the credential itself changes by the hour.
    """
    text = "\0".join((base_url.rstrip("/"), kind, secret))
    return hmac.new(b"airflow-provider-batch", text.encode(), hashlib.sha256).hexdigest()[:12]


def checked_base_url(url: str) -> str:
    """The base URL without a trailing slash, after the check that a credential may be sent there.

    :raises ConfigError: It is not ``https://host[:port][/path]`` (``http`` is allowed on loopback only).
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad_host("is not a URL") from None
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        raise _bad_host("holds a user name or password", code="AGB-C02")
    if parts.query or parts.fragment:
        raise _bad_host("holds a query or fragment", code="AGB-C02")
    if not host or parts.scheme not in ("https", "http"):
        raise _bad_host("is not of the form https://host")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise _bad_host(f"({host}) would send the credential unencrypted; http is allowed on loopback only")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port, for comparing two URLs."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)


def _bad_host(what: str, code: str = "AGB-C03") -> ConfigError:
    return ConfigError(
        f"The host {what}.",
        code=code,
        remedy=f"Leave the host empty for {DEFAULT_BASE_URL}. The API key belongs in the password field.",
    )
