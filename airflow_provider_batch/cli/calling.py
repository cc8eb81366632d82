"""The options about single calls, and how far the calls are."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.cli import printing
from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from airflow_provider_batch.batch.cost.receipts import Prices
    from airflow_provider_batch.batch.ledger.documents import CallTotals
    from airflow_provider_batch.batch.ledger.state import Shard
    from airflow_provider_batch.batch.ledger.store import Ledger
    from airflow_provider_batch.batch.work import Calling
    from airflow_provider_batch.cli.access import Access

TELL_S = 60.0
"""Between two lines about the same tenth of the rows, seconds."""


def ensure_text(options: Namespace) -> None:
    """Make sure that single calls are not asked for vectors.

    :raises ConfigError: They are.
    """
    from airflow_provider_batch.batch.send.before_calls import no_calls_for_vectors

    for name in ("trial", "ready_by"):
        if options.embeddings and getattr(options, name, None):
            raise no_calls_for_vectors(f"--{name.replace('_', '-')} is given with --embeddings")


def calls_of(options: Namespace, given: Access) -> Calling:
    """How rows are called: what the options say, else what the connection does."""
    from airflow_provider_batch.batch.decide.call_rules import REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, CallRules
    from airflow_provider_batch.batch.work import Calling
    from airflow_provider_batch.contract_calls import Tier

    rules = CallRules(
        tiers=tuple(map(Tier, options.tiers)),
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute or given.requests_per_minute or REQUESTS_PER_MINUTE,
        tokens_per_minute=options.tokens_per_minute or given.tokens_per_minute or TOKENS_PER_MINUTE,
    )
    return Calling(connect=lambda: given.calling(rules.concurrency), account=given.label, rules=rules)


def ready_time(options: Namespace) -> float | None:
    """Unix time by which all rows are to be answered, None if the options give none.

    :raises ConfigError: It cannot be read, or has passed.
    """
    text = options.ready_by
    if text is None:
        return None
    ready, now = _time_of(text), datetime.now(timezone.utc)
    if ready is None:
        raise ConfigError(
            f"--ready-by {text!r} is neither a time with its zone nor hours and minutes from now.",
            code="AGB-C06",
            remedy="Give a time such as 2026-11-24T07:00+01:00, or a length such as 1:30.",
        )
    if ready <= now:
        raise ConfigError(
            f"--ready-by has passed: {printing.moment(ready)}.",
            code="AGB-T03",
            remedy="Nothing was sent, cancelled or called. Give a time that is ahead.",
        )
    return ready.timestamp()


def _time_of(text: str) -> datetime | None:
    if length := re.fullmatch(r"(\d{1,4}):([0-5]\d)(?::([0-5]\d))?", text):
        hours, minutes, seconds = (int(part or 0) for part in length.groups())
        return datetime.now(timezone.utc) + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    try:
        # Python 3.10 does not read the Z.
        given = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
    except ValueError:
        return None
    return given if given.tzinfo else None


class CallProgress(Observer):
    """Tells how far the single calls of a round are, a line for each tenth of its rows and for each minute.

    :ivar total: Rows of the round that is called, 0 while there is none.
    :ivar answered: Rows of it that are noted as answered.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._ledger: Ledger | None = None
        self._shard = ""
        self._before: list[CallTotals] = []
        self._ends_at: datetime | None = None
        self._model = ""
        self._told = (-1, -1)
        self._told_at = 0.0
        self.total = 0
        self.answered = 0

    def watch(self, ledger: Ledger) -> None:
        """Tell of the calls for this batch."""
        self._ledger = ledger

    def noted(self, shard: Shard, calls: Iterable[CallTotals]) -> None:
        """Tell what is new."""
        if self._shard != shard.name:
            self._begin(shard)
        totals = [*self._before, *calls]
        self.answered = sum(one.rows for one in totals)
        news = (shard.round, 10 * self.answered // max(1, self.total))
        if news == self._told and time.monotonic() < self._told_at + TELL_S:
            return
        self._told, self._told_at = news, time.monotonic()
        printing.tell(
            f"{self.answered:,} of {printing.counted(self.total, 'row')} answered{self._details(totals)}"
        )

    def _begin(self, shard: Shard) -> None:
        from airflow_provider_batch.batch.ledger.state import read_batch

        assert self._ledger is not None
        batch = read_batch(self._ledger)
        round_ = batch.round_of(shard)
        self._shard = shard.name
        self._model = batch.plan.model
        self._ends_at = round_.plan.ends_at
        self._before = [one for other in round_.shards if other.landed for one in other.landed.calls]
        self.total = sum(other.plan.rows for other in round_.shards)

    def _details(self, totals: list[CallTotals]) -> str:
        rows: dict[str, int] = {}
        for one in totals:
            rows[one.tier.value] = rows.get(one.tier.value, 0) + one.rows
        tiers = [f"{count:,} {tier}" for tier, count in rows.items() if count]
        usd = self._usd(totals)
        costs = [] if usd is None else [f"USD {usd:,.6f} so far"]
        ends = [f"ends by {printing.moment(self._ends_at)}"] if self._ends_at else []
        return "".join(f", {part}" for part in (*tiers, *costs, *ends))

    def _usd(self, totals: list[CallTotals]) -> float | None:
        from airflow_provider_batch.batch.live.purse import usd_of

        price = self._prices(self._model, datetime.now(timezone.utc).date())
        costs = [usd_of(one, price) for one in totals]
        return None if price is None or None in costs else sum(cost or 0.0 for cost in costs)
