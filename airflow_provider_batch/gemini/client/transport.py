"""Everything about httpx that the sync and the async client share.

Invariants: redirects are never followed, and the credential goes to the configured origin only. Answers are read
up to a limit, and bodies of files never are in memory as a whole. No upload session URL reaches a log, as it is a
credential by itself. This module and the two clients are the only ones that know httpx.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypedDict

import httpx

from airflow_provider_batch import __version__
from airflow_provider_batch.errors import ProtocolError
from airflow_provider_batch.gemini.client.auth import DEFAULT_BASE_URL, Credential, checked_base_url, origin
from airflow_provider_batch.gemini.client.exchange import (
    ApiAnswer,
    ApiRequest,
    Download,
    Lost,
    ReadBlock,
)
from airflow_provider_batch.gemini.client.repeats import MAX_CALL_S, SLOWEST_BYTES_PER_S

CONNECT_S = 15.0
"""Seconds until a connection must be there."""

TIMEOUT = httpx.Timeout(75.0, connect=CONNECT_S)
"""Seconds. The API's front end gives up at about 60 s, so its own answer arrives before we stop listening."""

KEEP_ALIVE_S = 60
"""Seconds without a byte after which the network is shown that a connection is in use.

A flex call is silent for up to 15 minutes, and gateways of clouds forget a silent connection after 5 to 10. Its
answer would be billed and lost.
"""

CONNECTIONS = 100
"""Connections that a client has open at a time, unless it is told otherwise."""

COPY_BYTES = 1024 * 1024
"""Size of the pieces in which a download is written."""

PIECE_BYTES = 128 * 1024
"""Size of the pieces in which a block of an upload goes to the socket."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True)
class Endpoint:
    """Where the API is and how to speak to it.

    :param credential: Gives the authentication headers.
    :param base_url: ``https://host[/path]``. ``http`` on loopback only.
    :param api_version: ``v1beta`` (documented for batches) or ``v1``.
    :param trust_env: Let proxy and CA environment variables steer the connection that carries the key.
    :raises ConfigError: The base URL must not receive a credential.
    """

    credential: Credential
    base_url: str = DEFAULT_BASE_URL
    api_version: str = "v1beta"
    trust_env: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", checked_base_url(self.base_url))

    def address(self, request: ApiRequest) -> str:
        """The absolute URL of a request. An absolute one (upload session) must stay on our origin."""
        if request.url.startswith("/"):
            return self.base_url + request.url.replace("{v}", self.api_version)
        if origin(request.url) != origin(self.base_url):
            raise ProtocolError(
                f"In answer to {request.call} the server named an address on another host, which is refused.",
                code="AGB-A10",
                remedy="Set the host of the connection to the API's own address.",
            )
        return request.url

    def headers(self, request: ApiRequest) -> dict[str, str]:
        """All headers of a request. May block where the credential has to be refreshed."""
        credential = self.credential.headers() if request.with_credentials else {}
        return {**request.headers, **credential}


class ForeignError(httpx.TransportError):
    """An answer to a download that is not the file."""


class Taken:
    """Takes one answer's body: into memory up to a limit, or into the sink of a download."""

    def __init__(
        self, request: ApiRequest, download: Download | None = None, sink: BinaryIO | None = None
    ) -> None:
        self._request = request
        self._download = download
        self._sink = sink
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._total: int | None = None
        self._began = time.monotonic()
        self._size = 0
        self.to_file = False

    def begin(self, response: httpx.Response) -> None:
        """Look at the head of the answer and decide where its body goes.

        :raises ForeignError: It is a success and not of the file that is downloaded.
        """
        self._status, self._headers = response.status_code, dict(response.headers)
        self._began = time.monotonic()
        if self._download is not None and response.status_code in (200, 206):
            self._ensure_file()
            start, self._total = self._place(self._download)
            self.to_file = True
            sink = self._file()
            sink.seek(start)
            sink.truncate()

    def _ensure_file(self) -> None:
        kind = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        coding = self._headers.get("content-encoding", "identity").strip().lower()
        if "html" in kind:
            raise ForeignError("a page of HTML came in place of the file")
        if coding not in ("", "identity"):
            raise ForeignError("the file came in a coding that was not asked for")

    def _place(self, download: Download) -> tuple[int, int | None]:
        """Where the body begins in the file, and how long the file is: a server may ignore a range."""
        if self._status == 200:
            length = self._headers.get("content-length", "")
            return 0, int(length) if length.isdigit() else None
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", self._headers.get("content-range", "").strip())
        if content_range is None or int(content_range[1]) != download.from_byte:
            raise ForeignError("another range came than was asked for")
        return download.from_byte, None if content_range[2] == "*" else int(content_range[2])

    def add(self, chunk: bytes) -> None:
        """Take a piece of the body.

        :raises httpx.ReadTimeout: The body comes so slowly that it may never end.
        """
        self._size += len(chunk)
        # The head may come at once and the body when a model has thought: a paid answer must not be cut.
        patience_s = max(MAX_CALL_S, self._request.timeout_s or 0.0)
        if time.monotonic() - self._began > patience_s + self._size / SLOWEST_BYTES_PER_S:
            raise httpx.ReadTimeout(f"{self._size} bytes in {time.monotonic() - self._began:.0f} s")
        if self.to_file:
            self._file().write(chunk)
            return
        self._body += chunk
        if len(self._body) > self._request.max_bytes:
            raise ProtocolError(
                f"An answer is larger than {self._request.max_bytes // 2**20} MiB.",
                code="AGB-A09",
                remedy="Use file input, so that results go to a file instead of into the answer.",
            )

    def answer(self) -> ApiAnswer:
        """The complete answer."""
        received = self._file().tell() if self.to_file else 0
        return ApiAnswer(self._status, self._headers, bytes(self._body), received, self._total)

    def lost(self, error: httpx.TransportError) -> Lost:
        """What there is of an answer that broke off."""
        reason = f"{type(error).__name__} {error}".strip()
        if "CERTIFICATE_VERIFY_FAILED" in reason and any(map(os.environ.get, _OWN_CERTIFICATES)):
            reason += "; SSL_CERT_FILE counts only if the connection's extra trust_env is true"
        received = self._file().tell() if self.to_file else 0
        return Lost(
            str(error) if isinstance(error, ForeignError) else reason,
            was_sent=not isinstance(error, _NOT_SENT),
            received=received,
            total=self._total,
            is_foreign=isinstance(error, ForeignError),
        )

    def _file(self) -> BinaryIO:
        return _present(self._sink)


def api_date(response: httpx.Response) -> str | None:
    """The ``Date`` of an answer of the API. What a proxy says in its place is no clock to end a wait by."""
    is_page = "html" in response.headers.get("content-type", "")
    return response.headers.get("date") if response.is_success and not is_page else None


def parts(step: ApiRequest | Download) -> tuple[ApiRequest, Download | None]:
    """The request of a step, and the download if it is one."""
    return (step.request, step) if isinstance(step, Download) else (step, None)


class RequestArguments(TypedDict):
    """What ``stream()`` of either httpx client is called with, but for the content."""

    method: str
    url: str
    params: dict[str, str] | None
    headers: dict[str, str]
    json: Mapping[str, object] | None
    timeout: httpx.Timeout


def http_request(
    request: ApiRequest, download: Download | None, url: str, headers: dict[str, str]
) -> RequestArguments:
    """Arguments for ``stream()`` of either httpx client."""
    if download is not None and download.from_byte:
        headers = {**headers, "Range": f"bytes={download.from_byte}-"}
    if request.content is not None:
        headers = {**headers, "Content-Length": str(len(request.content))}
    return {
        "method": request.method,
        "url": url,
        "params": dict(request.params) or None,
        "headers": headers,
        "json": request.json_body,
        "timeout": TIMEOUT if request.timeout_s is None else httpx.Timeout(request.timeout_s, connect=CONNECT_S),
    }


def pieces(content: bytes | None) -> Iterator[bytes] | None:
    """A block in small pieces. httpcore copies what the socket did not take at once.

    Of 8 MiB, that is 190 MiB in all.
    """
    return None if content is None else _pieces(content)


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


def read_block(file: BinaryIO | None, block: ReadBlock) -> bytes:
    """Read the block that a script asks for."""
    file = _present(file)
    file.seek(block.offset)
    return file.read(block.size)


def _present(file: BinaryIO | None) -> BinaryIO:
    if file is None:
        raise TypeError("this call needs a file to read from or write to")
    return file


class ClientOptions(TypedDict):
    """What either httpx client is made with."""

    timeout: httpx.Timeout
    follow_redirects: bool
    trust_env: bool
    verify: ssl.SSLContext
    headers: dict[str, str]
    limits: httpx.Limits


def http_options(endpoint: Endpoint, connections: int = CONNECTIONS) -> ClientOptions:
    """Arguments for the constructor of either httpx client.

    :param connections: How many may be open at a time. More calls than that wait for one.
    """
    return {
        "timeout": TIMEOUT,
        "follow_redirects": False,
        "trust_env": endpoint.trust_env,
        "verify": _tls(endpoint.trust_env),
        # Nothing is decompressed, so no answer can grow while it is read.
        "headers": {"User-Agent": f"airflow-provider-batch/{__version__}", "Accept-Encoding": "identity"},
        "limits": _limits(connections),
    }


def blocking_transport(endpoint: Endpoint, connections: int = CONNECTIONS) -> httpx.HTTPTransport | None:
    """With connections that are kept alive. None where proxies of the environment count: httpx sets those up."""
    if endpoint.trust_env:
        return None
    options = _keep_alive()
    return httpx.HTTPTransport(verify=_tls(False), limits=_limits(connections), socket_options=options)


def async_transport(endpoint: Endpoint, connections: int = CONNECTIONS) -> httpx.AsyncHTTPTransport | None:
    """The same for an event loop."""
    if endpoint.trust_env:
        return None
    options = _keep_alive()
    return httpx.AsyncHTTPTransport(verify=_tls(False), limits=_limits(connections), socket_options=options)


def _limits(connections: int) -> httpx.Limits:
    return httpx.Limits(max_connections=connections, max_keepalive_connections=connections)


def _keep_alive() -> list[tuple[int, int, int]]:
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    # The first is Linux's name of the time, the second that of macOS.
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), KEEP_ALIVE_S))
    return options


_OWN_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where the environment names certificates to trust. ``httpx`` reads them with ``trust_env`` only."""


@functools.cache
def _tls(trust_env: bool) -> ssl.SSLContext:
    """One TLS context per process: building one takes tens of milliseconds, which a trigger must not spend."""
    return httpx.create_ssl_context(trust_env=trust_env)


class _OwnTraffic(logging.Filter):
    """Drops httpx's line per request to our hosts, and blanks upload sessions in all other lines."""

    hosts: frozenset[str] = frozenset()
    _session = re.compile(r"upload_id=[^&\s'\"\\]+")

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        if any(isinstance(a, httpx.URL) and a.host in self.hosts for a in arguments):
            return False
        text = record.getMessage()
        if "upload_id=" in text:
            record.msg, record.args = self._session.sub("upload_id=***", text), None
        return True


_own_traffic = _OwnTraffic()


def quiet_own_traffic(endpoint: Endpoint) -> None:
    """Keep the log of a task free of a line per request, and of upload sessions."""
    _OwnTraffic.hosts |= {httpx.URL(endpoint.base_url).host}
    for name in ("httpx", "httpcore.http11", "httpcore.http2", "httpcore.connection"):
        logging.getLogger(name).addFilter(_own_traffic)
