"""Before a batch is sent: what it will cost, whether that is too much, and whether its files live long enough."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import BinaryIO

from airflow_provider_batch.batch.cost.estimate import (
    Caps,
    Estimate,
    Span,
    Text,
    cost_span,
    input_span,
    output_span,
)
from airflow_provider_batch.batch.cost.receipts import Prices, cost_of, no_prices
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.errors import BudgetError, InputError
from airflow_provider_batch.rows.check.staging import Staged
from airflow_provider_batch.rows.money import Price

log = logging.getLogger(__name__)

MAX_FILES_ASKED = 200
"""Uploaded files whose end of life is asked for. The rest is taken on trust."""


@dataclass(frozen=True)
class Budget:
    """What a batch may cost, and how to find out.

    :param max_usd: None = any sum, also an unknown one.
    :param prices: What the model costs on a day.
    :param earlier: Gives the output tokens of earlier answers, for the estimate.
    """

    max_usd: Decimal | None = None
    prices: Prices = no_prices
    earlier: Callable[[], Sequence[int]] = tuple

    def spent_at_most(self, batch: BatchState) -> float:
        """USD of all that has landed, and what jobs that may run on can still come to."""
        spent = cost_of(batch.landed, batch.plan.model, self.prices).batch_usd
        span = batch.plan.estimate.batch_usd if batch.plan.estimate else None
        dearest = math.inf if span is None or span.most is None else span.most / batch.plan.rows
        left = sum(sum(one.counts.values()) for one in batch.landed if one.may_run_on)
        lost = sum(one.lost_usd for one in batch.landed)
        return (math.inf if spent is None else spent) + (left * dearest if left else 0.0) + lost

    def affords(self, batch: BatchState, rows: int) -> bool:
        """Rows may be sent again: what was spent, and the same again for them, is within the budget."""
        if self.max_usd is None:
            return True
        plan = batch.plan
        spent = cost_of(batch.landed, plan.model, self.prices).batch_usd
        if spent is None:
            log.warning("%d rows are not sent again: what the batch has cost so far is not known.", rows)
            return False
        dearest = max(spent, (plan.estimate and plan.estimate.batch_usd and plan.estimate.batch_usd.most) or 0.0)
        again = dearest / plan.rows * rows
        if Decimal(str(spent + again)) <= self.max_usd:
            return True
        log.warning(
            "%d rows are not sent again: USD %.2f are spent, they may cost %.2f, max_cost_usd is %s.",
            rows,
            spent,
            again,
            self.max_usd,
        )
        return False


def estimate(
    service: BatchService,
    model: str,
    rows: BinaryIO,
    staged: Staged,
    budget: Budget,
    max_enqueued_tokens: int | None = None,
) -> Estimate:
    """What the rows, in their spool, will cost. Asks the API for the model's limits and for a sample's tokens.

    :param max_enqueued_tokens: What one task may have enqueued, None = not limited here.
    :raises ConfigError: The API does not know the model.
    """
    facts = service.check_model(model)
    content = staged.content
    text = Text(content.text_bytes, content.longest_bytes, content.media, content.rough_tokens)
    counted = [
        (rough, service.count_tokens(model, _line(rows, start, size))) for start, size, rough in staged.sample
    ]
    tokens_in, input_basis = input_span(text, counted)
    if facts.embeds:
        tokens_out, output_basis = Span(0, 0), "vectors are not billed by tokens"
    else:
        caps = Caps(content.output_caps, content.answers - content.capped, facts.output_tokens)
        tokens_out, output_basis = output_span(staged.requests, caps, budget.earlier())
    limits = service.limits
    prices = prices_ahead(budget.prices, model, service.now(), limits.job_life_s)
    cost = cost_span(prices, text, tokens_in, tokens_out, limits.long_prompt_tokens)
    return Estimate(
        rows=staged.requests,
        size_bytes=staged.size_bytes,
        jobs=len(staged.cuts),
        input_tokens=tokens_in,
        input_basis=input_basis,
        output_tokens=tokens_out,
        output_basis=output_basis,
        batch_usd=cost[0] if cost else None,
        standard_usd=cost[1] if cost else None,
        largest_job_tokens=max(cut.tokens for cut in staged.cuts),
        max_enqueued_tokens=max_enqueued_tokens,
    )


def report(estimate: Estimate, model: str, max_usd: Decimal | None) -> tuple[str, ...]:
    """The estimate for the task log, a line for each thing."""
    price = "no price is known for this model" if estimate.batch_usd is None else dollars(estimate.batch_usd)
    limit = (
        "the project's own limit decides, and a full queue is waited out"
        if estimate.max_enqueued_tokens is None
        else f"max_enqueued_tokens is {estimate.max_enqueued_tokens:,}"
    )
    single = "" if estimate.standard_usd is None else f"; in single calls {dollars(estimate.standard_usd)}"
    return (
        f"jobs:          {estimate.jobs}, with {model}",
        f"input tokens:  {estimate.input_tokens} ({estimate.input_basis})",
        f"output tokens: {estimate.output_tokens} ({estimate.output_basis})",
        f"cost:          {price}{single}",
        f"max_cost_usd:  {'not set' if max_usd is None else max_usd}",
        f"queue:         about {estimate.largest_job_tokens:,} input tokens in the largest job; {limit}",
    )


def ensure_priced(estimate: Estimate, model: str, max_usd: Decimal) -> None:
    """Make sure that the model has a price.

    :raises BudgetError: No price is known, so no limit could be kept.
    """
    if estimate.batch_usd is None:
        raise BudgetError(
            f"max_cost_usd is {max_usd}, and no price is known for {model}.",
            code="AGB-C09",
            remedy="Nothing was uploaded. Give the connection's extra prices a file with the model, or leave "
            "max_cost_usd out.",
        )


def ensure_affordable(estimate: Estimate, model: str, max_usd: Decimal | None) -> None:
    """Make sure that the batch cannot cost more than it may, as far as the estimate goes.

    :raises BudgetError: It can, or the cost is not known.
    """
    if max_usd is None:
        return
    ensure_priced(estimate, model, max_usd)
    if estimate.batch_usd is None or estimate.batch_usd.most is None:
        basis = estimate.output_basis if estimate.output_tokens.most is None else estimate.input_basis
        raise BudgetError(
            f"max_cost_usd is {max_usd}, and the cost of the batch is not known: {basis}.",
            code="AGB-C09",
            remedy="Nothing was uploaded. Set maxOutputTokens, trial_rows, earlier_results or count_tokens_rows. "
            "Or leave max_cost_usd out.",
        )
    if Decimal(str(estimate.batch_usd.most)) > max_usd:
        raise BudgetError(
            f"The batch may cost up to USD {estimate.batch_usd.most:,.4f}, and max_cost_usd is {max_usd}. "
            f"Input tokens: {estimate.input_tokens} ({estimate.input_basis}); output tokens: "
            f"{estimate.output_tokens} ({estimate.output_basis}).",
            code="AGB-C09",
            remedy="Nothing was uploaded. Raise max_cost_usd, lower maxOutputTokens, send fewer rows, or narrow "
            "the estimate with trial_rows, earlier_results and count_tokens_rows.",
        )


def ensure_files_last(service: BatchService, staged: Staged, source: str, needed_s: float) -> None:
    """Make sure that the uploaded files that rows refer to are there when their turn comes.

    :param needed_s: Seconds from now.
    :raises InputError: One is gone, or its time ends before.
    """
    until = datetime.fromtimestamp(service.now(), timezone.utc) + timedelta(seconds=needed_s)
    for file, place in list(staged.content.files.items())[:MAX_FILES_ASKED]:
        expires = service.file_expiry(file)
        if expires is not None and expires >= until:
            continue
        what = (
            "does not exist for this credential"
            if expires is None
            else f"is deleted by the API at {expires:%F %T} UTC"
        )
        raise InputError(
            f"{source} {place}: {file} {what}, and the batch may run until {until:%F %T} UTC.",
            source=source,
            code="AGB-I18",
            remedy="Nothing was uploaded or spent. Upload the file anew right before the batch (the API keeps "
            f"files for {service.limits.file_life_s / 3600:.0f} h), or lower the task's timeout.",
        )
    if len(staged.content.files) > MAX_FILES_ASKED:
        log.warning(
            "%d uploaded files are used; only the first %d were checked.",
            len(staged.content.files),
            MAX_FILES_ASKED,
        )


def _line(rows: BinaryIO, start: int, size_bytes: int) -> bytes:
    rows.seek(start)
    return rows.read(size_bytes)


def prices_ahead(prices: Prices, model: str, now: float, job_life_s: float) -> list[Price | None]:
    """What a model costs on each day on which a job that begins now may run."""
    first = datetime.fromtimestamp(now, timezone.utc)
    longest = timedelta(seconds=job_life_s).days
    days: set[date] = {(first + timedelta(days=day)).date() for day in range(longest + 1)}
    return [prices(model, day) for day in sorted(days)]


def dollars(span: Span) -> str:
    """A range of USD in words."""
    most = "an unknown sum" if span.most is None else f"{span.most:,.4f}"
    return f"USD {span.least:,.4f} to {most}"
