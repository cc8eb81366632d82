"""The hook: an Airflow connection of type ``gemini`` to clients and services. The one place where they meet."""

from __future__ import annotations

import asyncio
import difflib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_provider_batch.airflow_compat import not_found_error
from airflow_provider_batch.errors import BatchError, ConfigError, NoConnectionError, TemporaryError
from airflow_provider_batch.gemini.client.auth import (
    DEFAULT_BASE_URL,
    ApiKey,
    ApplicationDefault,
    Credential,
    OAuthToken,
    account_label,
)
from airflow_provider_batch.hooks import extras

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.sdk import Connection

    from airflow_provider_batch.batch.decide.call_rules import CallRules
    from airflow_provider_batch.contract_calls import Tier
    from airflow_provider_batch.gemini.calling import GeminiCallingService
    from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
    from airflow_provider_batch.gemini.client.blocking import GeminiClient
    from airflow_provider_batch.gemini.client.single import SingleAnswer
    from airflow_provider_batch.gemini.client.transport import Endpoint
    from airflow_provider_batch.gemini.prices import PriceTable
    from airflow_provider_batch.gemini.service import AsyncGeminiBatchService, GeminiBatchService

API_VERSIONS = ("v1beta", "v1")
AUTH_TYPES = ("api_key", "oauth_token", "adc")

EXTRAS = frozenset(
    {
        "auth_type",
        "quota_project",
        "api_version",
        "trust_env",
        "account",
        "deployment",
        "max_enqueued_tokens",
        "requests_per_minute",
        "tokens_per_minute",
        "prices",
        "webhook_secret",
    }
)
"""What the extra of a connection may hold."""


@dataclass(frozen=True)
class Account:
    """Who pays, and what they set for all their tasks.

    :param prices: Path or URI of a price file in place of the package's own.
    :param label: The same for the same credential. Holds nothing of it.
    :param max_enqueued_tokens: Rough number of input tokens that one task may have enqueued, None = no limit.
    :param requests_per_minute: Single calls that leave a machine in a minute, at most. None = 60.
    :param tokens_per_minute: Input tokens of single calls in a minute, at most. None = 250,000.
    """

    label: str
    deployment: str = ""
    prices: str = ""
    max_enqueued_tokens: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def call_rules(self, tiers: Sequence[str], concurrency: int, capacity_refusals: int) -> CallRules:
        """How rows are answered by single calls, at the pace of this connection."""
        from airflow_provider_batch.batch.decide.call_rules import (
            REQUESTS_PER_MINUTE,
            TOKENS_PER_MINUTE,
            CallRules,
        )
        from airflow_provider_batch.contract_calls import Tier

        return CallRules(
            tiers=tuple(map(Tier, tiers)),
            concurrency=concurrency,
            capacity_refusals=capacity_refusals,
            requests_per_minute=self.requests_per_minute or REQUESTS_PER_MINUTE,
            tokens_per_minute=self.tokens_per_minute or TOKENS_PER_MINUTE,
        )


class GeminiBatchHook(BaseHook):
    """Authenticated access to the Batch and Files API of the Gemini Developer API.

    The connection: API key in the password, base URL in the host (empty = the real API). All extras are optional.
    ``auth_type`` is ``api_key``, ``oauth_token`` for a bearer token in the password, or ``adc`` for Application
    Default Credentials. ``quota_project`` is the project that pays for the quota. ``api_version`` is ``v1beta`` or
    ``v1``. ``trust_env`` lets proxy variables apply. ``account`` names whose credential it is, in place of a
    digest of the key. So it can be the same for an old and a new key of one project. ``deployment`` tells apart
    two Airflows that run the same DAGs with the same credential. ``max_enqueued_tokens`` is what one task may have
    enqueued at a time. ``requests_per_minute`` and ``tokens_per_minute`` are the pace of single calls of each
    worker machine. ``prices`` is the path or URI of a price file. ``webhook_secret`` is what creating a webhook
    returned.

    :param gemini_conn_id: Airflow connection id.
    :ivar has_webhook: The connection has a ``webhook_secret``, as far as it was looked up for a client.
    """

    conn_name_attr = "gemini_conn_id"
    default_conn_name = "gemini_default"
    conn_type = "gemini"
    hook_name = "Google Gemini (Batch Mode)"

    def __init__(self, gemini_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.gemini_conn_id = gemini_conn_id
        self.has_webhook = False

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, object]:
        """How the connection form shows the standard fields."""
        return {
            "hidden_fields": ["schema", "port", "login"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {"host": f"empty = {DEFAULT_BASE_URL}", "password": "key from Google AI Studio"},
        }

    def get_conn(self) -> GeminiClient:
        """A blocking client. Use it as a context manager.

        :raises ConfigError: The connection does not exist or cannot work.
        :raises BatchError: It could not be looked up this time.
        """
        from airflow_provider_batch.gemini.client.blocking import GeminiClient

        return GeminiClient(self._endpoint(self._connection()))

    async def aget_conn(self, connections: int = 100) -> AsyncGeminiClient:
        """A client for an event loop. The connection is looked up without blocking.

        :param connections: How many may be open at a time.
        :raises ConfigError: The connection does not exist or cannot work.
        :raises BatchError: It could not be looked up this time.
        """
        from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient

        # In a thread: TLS takes tens of milliseconds to set up.
        endpoint = self._endpoint(await self._aconnection())
        return await asyncio.to_thread(AsyncGeminiClient, endpoint, connections=connections)

    @contextmanager
    def service(self, *, embeddings: bool = False) -> Iterator[GeminiBatchService]:
        """What the operators work with, for the length of a block.

        :param embeddings: Jobs that are submitted are embeddings jobs.
        """
        from airflow_provider_batch.gemini.service import GeminiBatchService

        with self.get_conn() as client:
            yield GeminiBatchService(client, embeddings=embeddings)

    async def aservice(self) -> AsyncGeminiBatchService:
        """What the triggers work with. Close it with ``aclose()``."""
        from airflow_provider_batch.gemini.service import AsyncGeminiBatchService

        return AsyncGeminiBatchService(await self.aget_conn())

    def calling_service(self, connections: int = 100) -> GeminiCallingService:
        """What calls single rows in an event loop: each answer is billed. Close it with ``aclose()``.

        :param connections: Calls that may be on their way at a time. More than that wait for a connection.
        :raises ConfigError: The connection does not exist or cannot work.
        """
        from airflow_provider_batch.gemini.calling import GeminiCallingService
        from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient

        return GeminiCallingService(AsyncGeminiClient(self._endpoint(self._connection()), connections=connections))

    def generate_content(
        self, model: str, request: Mapping[str, object], *, tier: Tier | str = "standard", timeout_s: float = 900.0
    ) -> SingleAnswer:
        """Have one GenerateContentRequest answered now, as one stands in the row of a batch.

        A refusal for now (429, 503) is repeated for a while. A lost answer is not asked for again.

        :param tier: ``standard``, or ``flex``: in 1 to 15 minutes at the price of batch mode.
        :param timeout_s: After which the API is to give up, seconds.
        :raises ApiError: A definite no. Nothing is billed.
        :raises AnswerLostError: The answer did not arrive and may be billed.
        """
        with self.get_conn() as client:
            return client.generate_content(model, request, tier=tier, timeout_s=timeout_s)

    async def agenerate_content(
        self, model: str, request: Mapping[str, object], *, tier: Tier | str = "standard", timeout_s: float = 900.0
    ) -> SingleAnswer:
        """As :meth:`generate_content`, without blocking the event loop."""
        async with await self.aget_conn() as client:
            return await client.generate_content(model, request, tier=tier, timeout_s=timeout_s)

    def account(self) -> Account:
        """Whose credential this is, without the credential.

        :raises ConfigError: The connection does not exist or its extra cannot be used.
        """
        connection = self._connection()
        extra = self._extra(connection)
        with self._naming_itself():
            return Account(
                label=str(extra.get("account") or "") or _account_label(connection, extra),
                deployment=str(extra.get("deployment") or ""),
                prices=str(extra.get("prices") or ""),
                max_enqueued_tokens=extras.count(extra, "max_enqueued_tokens"),
                requests_per_minute=extras.count(extra, "requests_per_minute"),
                tokens_per_minute=extras.count(extra, "tokens_per_minute"),
            )

    def prices(self) -> PriceTable:
        """The price list: the one that the connection names, else the package's own.

        :raises ConfigError: The file cannot be read or used.
        """
        from airflow_provider_batch.airflow_compat import object_path
        from airflow_provider_batch.gemini.prices import PriceTable

        name = self.account().prices
        if not name:
            return PriceTable.shipped()
        try:
            return PriceTable.read(object_path(name, "the connection's extra prices").read_text(), name)
        except OSError as error:
            raise ConfigError(
                f"The price file {name} cannot be read ({type(error).__name__}).",
                code="AGB-C09",
                remedy="Nothing was sent. Correct the connection's extra prices.",
            ) from None

    def cancel_batch(self, name: str) -> None:
        """Ask for the cancellation of a job, ``batches/...``. Rows that have finished may be billed."""
        with self.get_conn() as client:
            client.cancel_batch(name)

    def test_connection(self) -> tuple[bool, str]:
        """Judge every field of the connection, and make one cheap real call: list a model.

        Called by the button in the Airflow UI, which is there with ``[core] test_connection = Enabled``.

        :return: Whether all is well, and what is not. A line for each.
        """
        wrong = []
        for judge in (self._judge_extra, self.account, self.prices, self._first_model):
            try:
                verdict = judge()
            except BatchError as error:
                if str(error) not in wrong:
                    wrong.append(str(error))
        if wrong:
            return False, "\n".join(wrong)
        return True, f"The API answered; a model that this credential may use: {verdict}"

    def _first_model(self) -> str:
        with self.get_conn() as client:
            model = next(client.list_models(page_size=1), None)
        return model.name if model else "none"

    def _judge_extra(self) -> None:
        """What no other look at the extra finds."""
        extra = self._extra(self._connection())
        for name in extra.keys() - EXTRAS:
            near = difflib.get_close_matches(name, EXTRAS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(EXTRAS))}."
            raise ConfigError(
                f"The connection {self.gemini_conn_id!r} has an extra {name[:40]!r}, which means nothing here. "
                f"{hint}",
                code="AGB-C02",
                remedy="Correct the extra in the connection form.",
            )

    def _connection(self) -> Connection:
        with self._looking_up():
            connection = self.get_connection(self.gemini_conn_id)
        return self._checked(connection)

    async def _aconnection(self) -> Connection:
        with self._looking_up():
            connection = await self.aget_connection(self.gemini_conn_id)
        return self._checked(connection)

    @contextmanager
    def _looking_up(self) -> Iterator[None]:
        try:
            yield
        except BatchError:
            raise
        except not_found_error():
            raise NoConnectionError(
                f"There is no connection {self.gemini_conn_id!r}.",
                code="AGB-C01",
                remedy='Create it with type "gemini" and the API key as its password.',
            ) from None
        except Exception as error:  # noqa: BLE001
            # Secrets backends raise anything. A wait must outlive a failed lookup. So the failure becomes one
            # error that the wait is patient with. Its type is enough, as its text could hold a credential.
            raise TemporaryError(
                f"The connection {self.gemini_conn_id!r} could not be looked up ({type(error).__name__}).",
                code="AGB-C01",
                remedy="Check the API server and the secrets backend.",
            ) from None

    def _checked(self, connection: Connection) -> Connection:
        """The connection, if it is one of ours: the password of another must not leave as a key."""
        if connection.conn_type != self.conn_type:
            raise ConfigError(
                f"The connection {self.gemini_conn_id!r} is of type {connection.conn_type!r}, "
                f"not {self.conn_type!r}.",
                code="AGB-C01",
                remedy="Nothing was sent. Give gemini_conn_id the name of a connection of that type.",
            )
        return connection

    @contextmanager
    def _naming_itself(self) -> Iterator[None]:
        """What is wrong with the connection is told with its name."""
        try:
            yield
        except ConfigError as error:
            raise ConfigError(
                f"The connection {self.gemini_conn_id!r} cannot be used. {error.message}",
                code=error.code,
                remedy=error.remedy,
            ) from None

    def _endpoint(self, connection: Connection) -> Endpoint:
        from airflow_provider_batch.gemini.client.transport import Endpoint

        extra = self._extra(connection)
        self.has_webhook = bool(extra.get("webhook_secret"))
        with self._naming_itself():
            return Endpoint(
                self._credential(connection, extra),
                base_url=_base_url(connection),
                api_version=extras.choice(extra, "api_version", API_VERSIONS),
                trust_env=extras.flag(extra, "trust_env"),
            )

    def _extra(self, connection: Connection) -> dict[str, object]:
        # Not connection.extra_dejson: it calls the supervisor to mask the extra. That would block the triggerer's
        # event loop. Airflow masked the extra when it looked the connection up.
        try:
            extra = json.loads(connection.extra or "{}")
        except ValueError:
            extra = None
        if not isinstance(extra, dict):
            raise ConfigError(
                f"The extra of connection {self.gemini_conn_id!r} is not a JSON object.",
                code="AGB-C02",
                remedy="Correct the extra in the connection form.",
            )
        return extra

    def _credential(self, connection: Connection, extra: dict[str, object]) -> Credential:
        kind = extras.choice(extra, "auth_type", AUTH_TYPES)
        project = str(extra.get("quota_project") or "")
        if kind == "adc":
            return ApplicationDefault(project)
        if kind == "oauth_token":
            return OAuthToken(connection.password or "", project)
        return ApiKey(connection.password or "")


def _base_url(connection: Connection) -> str:
    host = (connection.host or "").strip()
    if not host:
        return DEFAULT_BASE_URL
    url = host if "://" in host else f"https://{host}"
    return f"{url.rstrip('/')}:{connection.port}" if connection.port else url


def _account_label(connection: Connection, extra: dict[str, object]) -> str:
    kind = extras.choice(extra, "auth_type", AUTH_TYPES)
    if kind == "api_key":
        return account_label(_base_url(connection), kind, connection.password or "")
    # Tokens change by the hour. The project that pays does not, and it alone sees its jobs.
    project = str(extra.get("quota_project") or "") or (ApplicationDefault().project() if kind == "adc" else "")
    if not project:
        raise ConfigError(
            "The credential does not say which project pays, so another project would not be noticed.",
            code="AGB-C02",
            remedy='Nothing was sent. Set the extra "quota_project" to the project, or "account" to a name of '
            "your own for the credential.",
        )
    return account_label(_base_url(connection), kind, project)
