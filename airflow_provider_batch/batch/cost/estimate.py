"""What a batch will cost, before it is sent: ranges, and where they come from. Pure.

Input tokens follow from the size of the text, by the documentation's rule of four characters a token. How far that
is off was not measured here. The range is from a sixth to a half of the UTF-8 bytes. That is the rule with room
for other languages, and no bound. Counting a sample by the API narrows it. Output is bounded by the caps (thinking
counts towards them) or by the model's limit. A sample of earlier results narrows it, thinking included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_batch.rows.dialect import BYTES_PER_TOKEN, Usage
from airflow_provider_batch.rows.money import Price, Rates

FEWEST_BYTES_PER_TOKEN = 2
MOST_BYTES_PER_TOKEN = 6

CONFIDENT = 3
"""Standard errors on either side of the mean of a sample."""


@dataclass(frozen=True)
class Span:
    """From the least to the most. ``most`` is None where it cannot be known."""

    least: float
    most: float | None = None

    def __str__(self) -> str:
        if self.most is None:
            return f"at least {self.least:,.0f}"
        return f"{self.least:,.0f} to {self.most:,.0f}"


@dataclass(frozen=True)
class Estimate:
    """A batch before it is sent.

    :param rows: Number of rows.
    :param size_bytes: Of what is uploaded.
    :param jobs: Remote jobs.
    :param input_tokens: Of all rows.
    :param input_basis: Where that comes from, in words.
    :param output_tokens: Of all rows, thinking included.
    :param output_basis: Where that comes from, in words.
    :param batch_usd: By the price list, at the dearest price while it may run. None if the model has none.
    :param standard_usd: The same in single calls.
    :param largest_job_tokens: Rough number of input tokens, as they count in the queue.
    :param max_enqueued_tokens: What the connection lets one task have enqueued, None = not limited by it.
    """

    rows: int
    size_bytes: int
    jobs: int
    input_tokens: Span
    input_basis: str
    output_tokens: Span
    output_basis: str
    batch_usd: Span | None = None
    standard_usd: Span | None = None
    largest_job_tokens: int = 0
    max_enqueued_tokens: int | None = None


@dataclass(frozen=True)
class Text:
    """What is asked, added up.

    :param text_bytes: UTF-8 bytes of all texts.
    :param longest_bytes: Of the row with the most text.
    :param media: Parts whose tokens cannot be told from their size.
    :param rough_tokens: By the rule, of all rows.
    """

    text_bytes: int
    longest_bytes: int
    media: int
    rough_tokens: int


@dataclass(frozen=True)
class Caps:
    """What bounds the output.

    :param total: The sum of the rows' own caps, tokens.
    :param uncapped: Answers of rows without one.
    :param model_limit: The most that the model says in one answer. 0 = not known.
    """

    total: int
    uncapped: int
    model_limit: int

    @property
    def most(self) -> int | None:
        """Tokens, None if nothing bounds them."""
        if self.uncapped and not self.model_limit:
            return None
        return self.total + self.uncapped * self.model_limit


def input_span(text: Text, counted: Sequence[tuple[int, int]]) -> tuple[Span, str]:
    """Input tokens and where they come from.

    :param counted: Of a sample of rows, the tokens by the rule and as the API counted them.
    """
    if counted:
        ratios = [exact / max(rough, 1) for rough, exact in counted]
        basis = f"by the API's count of {len(counted)} rows, from their lowest to their highest ratio to the size"
        return Span(math.floor(text.rough_tokens * min(ratios)), math.ceil(text.rough_tokens * max(ratios))), basis
    least = text.text_bytes // MOST_BYTES_PER_TOKEN
    if text.media:
        return Span(
            least, None
        ), f"{text.media} images, recordings, documents, cached contexts or looked-up pages are not counted"
    return (
        Span(least, math.ceil(text.text_bytes / FEWEST_BYTES_PER_TOKEN)),
        f"by the size of the text, {MOST_BYTES_PER_TOKEN} to {FEWEST_BYTES_PER_TOKEN} bytes a token, "
        f"{BYTES_PER_TOKEN} is usual",
    )


def output_span(rows: int, caps: Caps, sample: Sequence[int]) -> tuple[Span, str]:
    """Output tokens, thinking included, and where they come from.

    :param sample: Output tokens of earlier answers.
    """
    if len(sample) > 1:
        mean = sum(sample) / len(sample)
        spread = math.sqrt(sum((n - mean) ** 2 for n in sample) / (len(sample) - 1))
        error = CONFIDENT * spread / math.sqrt(len(sample))
        most = math.ceil(rows * (mean + error))
        bound = caps.most
        span = Span(math.floor(rows * max(mean - error, 0.0)), most if bound is None else min(most, bound))
        return span, f"as {len(sample)} earlier answers, mean {mean:,.0f} a row"
    if caps.most is None:
        return Span(0, None), f"{caps.uncapped} answers have no maxOutputTokens"
    if caps.uncapped:
        return Span(0, caps.most), f"at most {caps.model_limit:,} an answer without a cap, the model's limit"
    return Span(0, caps.most), "at most the rows' maxOutputTokens"


def cost_span(
    prices: Sequence[Price | None], text: Text, tokens_in: Span, tokens_out: Span, long_prompt_tokens: int
) -> tuple[Span, Span] | None:
    """USD in batch mode and in single calls, None if a price is missing.

    :param prices: Of each day on which the batch may run. The dearest counts.
    :param long_prompt_tokens: Prompt tokens of one row above which some models cost more.
    """
    known = [price for price in prices if price is not None]
    if not known or len(known) != len(prices):
        return None
    may_be_long = text.longest_bytes / FEWEST_BYTES_PER_TOKEN > long_prompt_tokens or text.media > 0
    tokens = text, tokens_in, tokens_out
    batch = [_usd(price.batch, price.long_batch if may_be_long else None, *tokens) for price in known]
    single = [_usd(price.standard, price.long_standard if may_be_long else None, *tokens) for price in known]
    return _widest(batch), _widest(single)


def _usd(rates: Rates, long: Rates | None, text: Text, tokens_in: Span, tokens_out: Span) -> Span:
    least = rates.usd(Usage(input=int(tokens_in.least), output=int(tokens_out.least)))
    most = None
    if tokens_in.most is not None and tokens_out.most is not None:
        dear = long or rates
        highest = dear.usd(Usage(input=int(tokens_in.most), output=int(tokens_out.most))) or Decimal(0)
        if text.media and dear.audio is not None and dear.audio > dear.input:
            # Some of the media may be audio.
            highest += (dear.audio - dear.input) * int(tokens_in.most) / 1_000_000
        most = float(round(highest, 6))
    return Span(float(round(least or Decimal(0), 6)), most)


def _widest(spans: Sequence[Span]) -> Span:
    most = [span.most for span in spans if span.most is not None]
    return Span(min(span.least for span in spans), max(most) if len(most) == len(spans) else None)
