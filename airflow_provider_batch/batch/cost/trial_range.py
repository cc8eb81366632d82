"""What all rows will take, from the counts of a few that were answered: ranges of 95 %. Pure.

The rows of a trial are a simple random sample. Their own sum is known, so only the rows that are left need a
range. There are two ways to it, and the narrower range counts.

- The mean of the trial's values. Sizes play no part in it.
- A line through sizes and values, at the mean size of the rows that are left. A row weighs one over its size.

Either way leaves each row out once, to see how far the result moves. Token counts have long tails to the right.
So the range has one, too, by Hall's transformation of Student's t (1992). Two things widen the range of the line.
A line with other weights may end elsewhere. The rows that are left may be larger or smaller than those of the
trial. Where chance does not explain that difference, the range holds both ways.

A kind of row that is not among those of the trial is in no range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from airflow_provider_batch.batch.cost.estimate import Span
from airflow_provider_batch.rows.dialect import Usage
from airflow_provider_batch.rows.money import Price

FEWEST_FOR_A_LINE = 4
"""Rows. A line through three leaves one of them to tell how far it is off."""

_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Quantiles of 97.5 % for 1 to 10 degrees of freedom."""
_NORMAL = 1.959964
_MOST_LEVERAGE = 0.98
_SAME_SIZE = 1e-9


class Tried(NamedTuple):
    """A row of a trial.

    :param size_bytes: Of its text.
    :param value: What it took, tokens or USD. None if the answer has no count.
    """

    size_bytes: int
    value: float | None


class TriedRow(NamedTuple):
    """A row of a trial with all that it took.

    :param size_bytes: Of its text.
    :param usage: None if the answer has no token count.
    :param usd: At the price of batch mode. None if there is none.
    """

    size_bytes: int
    usage: Usage | None
    usd: float | None = None


class Whole(NamedTuple):
    """All rows of an input, those of the trial among them.

    :param size_bytes: Of their texts.
    :param row_cap: The most output tokens of a row, thinking included. None = not bounded.
    """

    rows: int
    size_bytes: int
    row_cap: float | None = None


@dataclass(frozen=True)
class Forecast:
    """Ranges of 95 % for all rows of an input. Each is one of its own.

    :param rows_tried: Rows of the trial, also those without a token count.
    :param input: Tokens.
    :param output: Tokens without thinking.
    :param thinking: Tokens.
    :param usd: At the price of batch mode. None if no price is known.
    :param unmetered: Rows of the trial without a token count. They count as not tried.
    """

    rows_tried: int
    input: Span
    output: Span
    thinking: Span
    usd: Span | None = None
    unmetered: int = 0

    @classmethod
    def of(cls, tried: Sequence[TriedRow], whole: Whole) -> Forecast:
        """Of the rows of a trial.

        :raises ValueError: The input has fewer rows or bytes than the trial.
        """
        uncapped = whole._replace(row_cap=None)
        metered = [row for row in tried if row.usage is not None]

        def tokens(of: Callable[[Usage], int], within: Whole) -> Span:
            counts = [Tried(row.size_bytes, None if row.usage is None else of(row.usage)) for row in tried]
            return total_range(counts, within)

        usd = [Tried(row.size_bytes, None if row.usage is None else row.usd) for row in tried]
        is_priced = bool(metered) and all(row.usd is not None for row in metered)
        return cls(
            rows_tried=len(tried),
            input=tokens(lambda usage: usage.input, uncapped),
            output=tokens(lambda usage: usage.output, whole),
            thinking=tokens(lambda usage: usage.thinking, whole),
            usd=total_range(usd, uncapped) if is_priced else None,
            unmetered=len(tried) - len(metered),
        )


def row_usd(prices: Sequence[Price | None], usage: Usage, long_prompt_tokens: int) -> float | None:
    """USD of one row in batch mode, for :class:`TriedRow`. None if a price is missing.

    :param prices: Of each day on which the batch may run. The dearest counts.
    :param long_prompt_tokens: Prompt tokens of a row above which some models cost more.
    """
    of_long = usage if usage.input > long_prompt_tokens else Usage()
    costs = [None if price is None else price.batch_usd(usage, of_long) for price in prices]
    known = [float(cost) for cost in costs if cost is not None]
    return max(known) if known and len(known) == len(costs) else None


def total_range(tried: Sequence[Tried], whole: Whole) -> Span:
    """The range of 95 % for the sum of the values of all rows.

    A single row shows no spread. Its range begins at its value, and ends at the cap or nowhere. That of no row
    begins at 0. A trial of all rows has their sum at both ends.

    :raises ValueError: The input has fewer rows or bytes than the trial, or a value is below 0.
    """
    sizes = [float(row.size_bytes) for row in tried if row.value is not None]
    values = [float(row.value) for row in tried if row.value is not None]
    left, left_bytes, known = whole.rows - len(values), whole.size_bytes - sum(sizes), math.fsum(values)
    if whole.rows < len(tried) or whole.size_bytes < sum(row.size_bytes for row in tried):
        raise ValueError(f"{len(tried)} rows were tried, and the input is said to be smaller: {whole}")
    if values and min(values) < 0:
        raise ValueError(f"a row is said to have taken {min(values)}")
    if not left:
        return Span(known, known)
    bound = None if whole.row_cap is None else known + whole.row_cap * left
    if len(values) < 2:
        return Span(known, bound)
    least, most = _mean_of_the_rest(sizes, values, left_bytes / left, whole.rows / left)
    highest = known + left * most
    return Span(known + left * max(least, 0.0), highest if bound is None else min(highest, bound))


class _Guess(NamedTuple):
    """The mean of the rows that are left.

    :param moves: By how much each row of the trial moves it.
    :param freedom: Degrees of freedom.
    :param doubt: A standard error that the rows of the trial do not show.
    """

    mean: float
    moves: Sequence[float]
    freedom: int
    doubt: float = 0.0


Ends = tuple[float, float]


def _mean_of_the_rest(sizes: Sequence[float], values: Sequence[float], aim: float, few: float) -> Ends:
    """The range of the mean of the rows that are left.

    :param aim: Their mean size.
    :param few: All rows over those that are left. Much above 1 if hardly any are left.
    """
    count, mean, size = len(values), math.fsum(values) / len(values), math.fsum(sizes) / len(sizes)
    if min(values) == max(values):
        # With 95 %, a smaller share than this is unlike the trial's rows. It may take nothing, or twice as much.
        unlike = 1 - 0.05 ** (1 / count)
        return mean * (1 - unlike), mean * (1 + unlike)
    by_mean = _ends(_Guess(mean, [(value - mean) / (count - 1) for value in values], count - 1), few)
    spread = math.sqrt(sum((one - size) ** 2 for one in sizes) / (count - 1) / count * few)
    is_alike = abs(aim - size) <= student(count - 1) * spread
    guess = _by_size(sizes, values, aim)
    if guess is None:
        scale = 1.0 if is_alike or not size else aim / size
        return min(by_mean[0], by_mean[0] * scale), max(by_mean[1], by_mean[1] * scale)
    by_size = _ends(guess, few)
    if not is_alike:
        return min(by_mean[0], by_size[0]), max(by_mean[1], by_size[1])
    return min(by_size, by_mean, key=lambda ends: ends[1] - ends[0])


class _Line(NamedTuple):
    """A straight line through sizes and values, and its value at the size that is aimed at."""

    start: float
    slope: float
    at_aim: float
    moves: Sequence[float]


def _by_size(sizes: Sequence[float], values: Sequence[float], aim: float) -> _Guess | None:
    """By a line. None if there are too few rows, or all have the same size."""
    count = len(values)
    line, other = _line(sizes, values, aim, 1), _line(sizes, values, aim, 2)
    if count < FEWEST_FOR_A_LINE or line is None or other is None:
        return None
    # What a further byte may take besides: how far the rows are off the line, for each byte.
    off = math.fsum((y - line.start - line.slope * x) ** 2 for x, y in zip(sizes, values, strict=True))
    per_byte = math.sqrt(off / math.fsum(x * x for x in sizes) * count / (count - 2))
    further = (aim - math.fsum(sizes) / count) * per_byte
    return _Guess(line.at_aim, line.moves, count - 2, math.hypot(line.at_aim - other.at_aim, further))


def _line(sizes: Sequence[float], values: Sequence[float], aim: float, power: int) -> _Line | None:
    """The line of least squares. None if all sizes are the same.

    :param power: A row counts by one over its size to this power.
    """
    weights = [max(size, 1.0) ** -power for size in sizes]
    whole = math.fsum(weights)
    x_mean = math.fsum(weight * x for weight, x in zip(weights, sizes, strict=True)) / whole
    y_mean = math.fsum(weight * y for weight, y in zip(weights, values, strict=True)) / whole
    spread = math.fsum(weight * (x - x_mean) ** 2 for weight, x in zip(weights, sizes, strict=True))
    if spread <= _SAME_SIZE * whole * max(x_mean, 1.0) ** 2:
        return None
    rows = list(zip(weights, sizes, values, strict=True))
    slope = math.fsum(weight * (x - x_mean) * (y - y_mean) for weight, x, y in rows) / spread
    moves = []
    for weight, x, y in rows:
        leverage = weight * (1 / whole + (x - x_mean) ** 2 / spread)
        pull = weight * (1 / whole + (aim - x_mean) * (x - x_mean) / spread)
        error = y - y_mean - slope * (x - x_mean)
        moves.append(pull * error / (1 - min(leverage, _MOST_LEVERAGE)))
    return _Line(y_mean - slope * x_mean, slope, y_mean + slope * (aim - x_mean), moves)


def _ends(guess: _Guess, few: float) -> Ends:
    """The range of 95 % around a guess."""
    error = math.sqrt(sum(move * move for move in guess.moves) * few)
    quantile = student(guess.freedom)
    skew = _skew(guess.moves) * (1 + 1 / few) / 2 * math.sqrt(few)
    below, above = error * _hall(skew, quantile), -error * _hall(skew, -quantile)
    doubt = quantile * guess.doubt
    return guess.mean - math.hypot(below, doubt), guess.mean + math.hypot(above, doubt)


def _skew(moves: Sequence[float]) -> float:
    """Skewness of the moves over the root of their number, corrected for their number."""
    count = len(moves)
    mean = math.fsum(moves) / count
    square = math.fsum((move - mean) ** 2 for move in moves)
    if count < 3 or square <= 0:
        return 0.0
    cube = math.fsum((move - mean) ** 3 for move in moves)
    return cube / (square * math.sqrt(square)) * math.sqrt(count * (count - 1)) / (count - 2)


def _hall(skew: float, quantile: float) -> float:
    """The quantile of a studentized mean of skewed values, from that of Student's t."""
    if abs(skew) < 1e-6:
        return quantile
    inner = 1 + skew * (quantile - skew / 6)
    return 3 / skew * (math.copysign(abs(inner) ** (1 / 3), inner) - 1)


def student(freedom: int) -> float:
    """The quantile of 97.5 % of Student's t, to two digits after the point.

    :param freedom: Degrees of freedom, at least 1.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2
