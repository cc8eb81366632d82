"""Where the credential comes from: the environment, without Airflow, or an Airflow connection."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_batch.cli.parsers import DEFAULT_CONN_ID
from airflow_provider_batch.errors import ConfigError, NoConnectionError

if TYPE_CHECKING:
    from upath import UPath

    from airflow_provider_batch.batch.cost.receipts import Prices
    from airflow_provider_batch.gemini.calling import GeminiCallingService
    from airflow_provider_batch.gemini.client.blocking import GeminiClient
    from airflow_provider_batch.gemini.service import GeminiBatchService

KEY = "GEMINI_API_KEY"
BASE_URL = "GOOGLE_GEMINI_BASE_URL"
"""As the official SDK calls it (google-genai, ``_base_url.py``)."""


@dataclass(frozen=True)
class Access:
    """A credential, and what belongs to it.

    :param calling: Opens connections for single calls, so many at most.
    :param label: Whose it is, without the credential.
    :param deployment: Tells apart two Airflows with the same DAGs.
    :param requests_per_minute: Single calls, at most. None = not said.
    :param tokens_per_minute: Input tokens of single calls, at most. None = not said.
    :param conn_id: The Airflow connection that it is of, None without Airflow.
    """

    connect: Callable[[], GeminiClient]
    calling: Callable[[int], GeminiCallingService]
    open_path: Callable[[str, str], UPath]
    read_prices: Callable[[], Prices]
    label: str
    deployment: str = ""
    max_enqueued_tokens: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    conn_id: str | None = None

    @contextmanager
    def service(self, *, embeddings: bool = False) -> Iterator[GeminiBatchService]:
        """What a run works with, for the length of a block.

        :param embeddings: Jobs that are submitted are embeddings jobs.
        """
        from airflow_provider_batch.gemini.service import GeminiBatchService

        with self.connect() as client:
            yield GeminiBatchService(client, embeddings=embeddings)


def access(options: Namespace, *, connection_first: bool = False) -> Access:
    """The access that the options ask for.

    :param connection_first: The default connection wins over the environment, if there is one.
    :raises ConfigError: There is none.
    """
    if options.conn_id:
        return _of_connection(options.conn_id)
    has_key = bool(os.environ.get(KEY))
    if has_key and not connection_first and not options.in_airflow:
        return _of_environment()
    try:
        return _of_connection(DEFAULT_CONN_ID)
    except NoConnectionError:
        # One that is there and cannot be used must not be passed over.
        pass
    if has_key:
        return _of_environment()
    raise ConfigError(
        f"There is no key: {KEY} is not set, and there is no Airflow connection {DEFAULT_CONN_ID!r}.",
        code="AGB-C01",
        remedy=f"export {KEY}=..., or name a connection with --conn-id.",
    )


def open_plain(given_path: str, what: str) -> UPath:
    """A path as a shell means it, or a URI. Relative paths begin at the folder that the command is run in.

    :raises ConfigError: It cannot be opened.
    """
    from upath import UPath

    if not given_path:
        raise _unusable(what, given_path, "it is empty")
    if "://" not in given_path:
        return UPath(str(Path(given_path).expanduser().absolute()))
    try:
        path = UPath(given_path)
        path.fs  # noqa: B018 (looks the scheme up, reads nothing)
    except (ValueError, ImportError) as error:
        raise _unusable(what, given_path, str(error)) from None
    return path


def open_folder(open_path: Callable[[str, str], UPath], given_path: str, what: str) -> UPath:
    """A folder of results. A batch is known by it, so one folder has one path, however it is spelled.

    :param open_path: Of the access.
    :raises ConfigError: It cannot be opened.
    """
    scheme, is_uri, rest = given_path.partition("://")
    if is_uri and scheme != "file":
        return open_path(f"{scheme}://{rest.rstrip('/') or rest}", what)
    given_path = rest if is_uri else given_path
    return open_path(str(Path(given_path).expanduser().resolve()) if given_path else given_path, what)


def prices_of(options: Namespace, given: Access) -> Prices:
    """The price list: the file that the options name, else that of the access."""
    if not options.prices:
        return given.read_prices()
    from airflow_provider_batch.gemini.prices import PriceTable

    return PriceTable.read(given.open_path(options.prices, "--prices").read_text(), options.prices).price


def _of_environment() -> Access:
    from airflow_provider_batch.gemini.client.auth import DEFAULT_BASE_URL, ApiKey, account_label
    from airflow_provider_batch.gemini.prices import PriceTable

    key = os.environ.get(KEY, "")
    base_url = os.environ.get(BASE_URL) or DEFAULT_BASE_URL
    credential = ApiKey(key)

    def connect() -> GeminiClient:
        from airflow_provider_batch.gemini.client.blocking import GeminiClient
        from airflow_provider_batch.gemini.client.transport import Endpoint

        return GeminiClient(Endpoint(credential, base_url=base_url))

    def calling(connections: int) -> GeminiCallingService:
        from airflow_provider_batch.gemini.calling import GeminiCallingService
        from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
        from airflow_provider_batch.gemini.client.transport import Endpoint

        endpoint = Endpoint(credential, base_url=base_url)
        return GeminiCallingService(AsyncGeminiClient(endpoint, connections=connections))

    label = account_label(base_url, "api_key", key)
    return Access(connect, calling, open_plain, lambda: PriceTable.shipped().price, label)


def _of_connection(conn_id: str) -> Access:
    from airflow_provider_batch.cli.running import log_to_stderr
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook

    # Airflow's own set-up, at its import, would log to where the data go.
    log_to_stderr(chatty=False)
    hook = GeminiBatchHook(conn_id)
    account = hook.account()
    return Access(
        hook.get_conn,
        hook.calling_service,
        _open_with_airflow,
        lambda: hook.prices().price,
        account.label,
        account.deployment,
        account.max_enqueued_tokens,
        account.requests_per_minute,
        account.tokens_per_minute,
        conn_id,
    )


def _open_with_airflow(given_path: str, what: str) -> UPath:
    """URIs may name an Airflow connection."""
    from airflow_provider_batch.airflow_compat import object_path

    return object_path(given_path, what) if "://" in given_path else open_plain(given_path, what)


def _unusable(what: str, given_path: str, why: str) -> ConfigError:
    return ConfigError(
        f"{what} {given_path!r} cannot be opened: {why}.",
        code="AGB-C08",
        remedy="Give a path, or a URI of an installed file system. --conn-id uses Airflow's.",
    )
