"""After the calls of a trial: what came back, what the batch will come to by it, and whether it may be sent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal

import msgspec

from airflow_provider_batch.batch.cost.budget import dollars, prices_ahead
from airflow_provider_batch.batch.cost.estimate import Span
from airflow_provider_batch.batch.cost.receipts import cost_of
from airflow_provider_batch.batch.cost.trial_range import Forecast, TriedRow, Whole, row_usd
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import TRIAL_ROUND, TrialForecast
from airflow_provider_batch.batch.ledger.kept_rows import requests_of, result_rows
from airflow_provider_batch.batch.ledger.state import BatchState, Round
from airflow_provider_batch.batch.live.caller import End
from airflow_provider_batch.batch.work import Calling, Work
from airflow_provider_batch.errors import TrialError
from airflow_provider_batch.redaction import blanked
from airflow_provider_batch.rows.dialect import LandedRow, RowStatus
from airflow_provider_batch.rows.manifest import counts_in_words

log = logging.getLogger(__name__)

SHOWN_ROWS = 5
"""Of a trial, in the log."""

SHOWN_CHARS = 100
"""Of an answer, in the log."""


def judge(work: Work, calls: Calling, batch: BatchState) -> None:
    """Show the answers of a trial, and estimate the batch by them.

    :raises TrialError: Too many of its rows have no usable answer, or the batch may cost more than it is allowed
        to.
    """
    trial = batch.trial
    if trial is None:
        return
    counts: Counter[RowStatus] = Counter()
    empty = 0
    for number, row in enumerate(tried_rows(work, trial)):
        counts[row.status] += 1
        empty += row.is_empty
        if number < SHOWN_ROWS:
            log.info("Trial: %s, %s: %s", ascii(row.key)[:60], row.status.value, shown(row))
    cost = cost_of(
        (shard.landed for shard in trial.shards if shard.landed), batch.plan.model, work.prices
    ).batch_usd
    paid = "an unknown sum" if cost is None else f"USD {cost:,.6f}"
    log.info("The trial of %d rows has cost %s: %s.", counts.total(), paid, counts_in_words(counts))
    if not batch.plan.first.shards:
        log.info("All rows were tried, so no batch is sent.")
        return
    ensure_usable(trial, counts, empty, calls.max_failed, paid)
    forecast = forecast_of(work, batch, trial, cost)
    _note(work, forecast)
    for line in in_words(forecast):
        log.info("%s", line)
    _ensure_affordable(forecast, calls.max_usd, paid)


def in_words(forecast: Forecast) -> tuple[str, ...]:
    """The estimate for a log, a line for each thing."""
    usd = "no price is known for this model" if forecast.usd is None else dollars(forecast.usd)
    return (
        f"by the trial:  {forecast.rows_tried} rows tried, and for all rows these ranges of 95 %",
        f"input tokens:  {forecast.input}",
        f"output tokens: {_output(forecast)}",
        f"cost:          {usd} in batch mode, the trial included",
    )


def _output(forecast: Forecast) -> str:
    thinking = "no" if forecast.thinking.most == 0 else str(forecast.thinking)
    return f"{forecast.output}, and {thinking} thinking tokens"


def tried_rows(work: Work, trial: Round) -> Iterator[LandedRow]:
    """The landed rows of a trial."""
    for shard in trial.shards:
        yield from result_rows(work.ledger, shard)


def shown(row: LandedRow) -> str:
    """The answer of a row, or why it has none, cut to a line."""
    if row.error is not None and not row.has_text:
        return _one_line(row.error.message)
    return _one_line(str(msgspec.json.decode(row.text) or ""))


def _one_line(text: str) -> str:
    words = " ".join(blanked(text).split())
    return words if len(words) <= SHOWN_CHARS else f"{words[:SHOWN_CHARS]}…"


def ensure_usable(
    trial: Round, counts: Counter[RowStatus], empty: int, most_failed: float | None, paid: str
) -> None:
    """Make sure that enough rows of a trial have a usable answer.

    :param empty: Successes with nothing in them.
    :param most_failed: The greatest share of the rows that may have none, 0 to 1. None = any, but not all.
    :param paid: What the trial has cost, in words.
    :raises TrialError: There are too few.
    """
    # A row that was not called tells nothing of the prompt.
    rows, usable = counts.total() - counts[RowStatus.EXPIRED], counts[RowStatus.SUCCESS] - empty
    without = rows - usable
    if usable and (most_failed is None or without / rows <= most_failed):
        return
    if not rows:
        raise _none_answered(trial)
    allowed = "" if most_failed is None else f" At most {most_failed * 100:g} % may."
    raised = "" if most_failed is None or not usable else " Or raise max_failed_fraction."
    raise TrialError(
        f"{without} of {rows} rows of the trial have no usable answer ({counts_in_words(counts)}).{allowed}",
        code="AGB-T01",
        remedy=f"No batch was sent. The trial has cost {paid}. Correct the prompt, the output type or the model, "
        f"which begins a new trial.{raised}",
    )


def _none_answered(trial: Round) -> TrialError:
    reasons = {shard.landed.error for shard in trial.shards if shard.landed and shard.landed.error}
    bound = "Raise max_cost_usd, or give the requests a maxOutputTokens: it bounds what a call may cost. "
    error = TrialError(
        f"No row of the trial was answered: {'; '.join(sorted(reasons))}.",
        code="AGB-T01",
        remedy=f"No batch was sent. {bound if End.UNAFFORDABLE.value in reasons else ''}"
        "The next try of the task begins a new trial.",
    )
    error.is_final = End.UNAFFORDABLE.value in reasons
    return error


def forecast_of(work: Work, batch: BatchState, trial: Round, cost: float | None) -> Forecast:
    """The estimate of all rows, by those that were tried.

    :param cost: Of the trial, USD. None if it is not known.
    """
    sizes = {
        key: work.dialect.check_request(line).text_bytes
        for shard in trial.shards
        for key, line in requests_of(work.ledger, shard, work.dialect)
    }
    limits = work.service.limits
    prices = prices_ahead(work.prices, batch.plan.model, work.service.now(), limits.job_life_s)
    tried = []
    for row in tried_rows(work, trial):
        usage = row.usage
        usd = None if usage is None else row_usd(prices, usage, limits.long_prompt_tokens)
        tried.append(TriedRow(sizes[row.key], usage, usd))
    forecast = Forecast.of(tried, Whole(batch.plan.rows, max(batch.plan.text_bytes, sum(sizes.values()))))
    if forecast.usd is None or cost is None:
        return replace(forecast, usd=None)
    # What the trial took is paid already, and may not have had the price of batch mode.
    more = cost - sum(row.usd or 0.0 for row in tried)
    span = batch.plan.estimate.batch_usd if batch.plan.estimate else None
    bounds = [usd for usd in (forecast.usd.most, span.most if span else None) if usd is not None]
    return replace(forecast, usd=Span(forecast.usd.least + more, min(bounds) + more if bounds else None))


def _note(work: Work, forecast: Forecast) -> None:
    spans = {name: getattr(forecast, name) for name in ("input", "output", "thinking", "usd")}
    at = datetime.fromtimestamp(work.service.now(), timezone.utc)
    note = TrialForecast(at=at, rows_tried=forecast.rows_tried, unmetered=forecast.unmetered, **spans)
    work.ledger.put(names.name_of(names.FORECAST, TRIAL_ROUND), note)


def _ensure_affordable(forecast: Forecast, max_usd: float | None, paid: str) -> None:
    if max_usd is None:
        return
    most = forecast.usd.most if forecast.usd else None
    if most is not None and Decimal(str(most)) <= Decimal(str(max_usd)):
        return
    spent = "will cost an unknown sum" if most is None else f"may cost USD {most:,.4f}"
    raise TrialError(
        f"By the trial the batch {spent}, and max_cost_usd is {max_usd:g}. Input tokens: "
        f"{forecast.input}. Output tokens: {_output(forecast)}.",
        code="AGB-T02",
        remedy=f"No batch was sent. The trial has cost {paid}, and its answers are kept. Raise max_cost_usd, or "
        "lower maxOutputTokens or the thinking budget. In a new DAG run, more trial rows give a narrower range.",
    )
