"""``python -m benchmarks.trial_coverage [draws]``: how often the range that a trial gives holds the true total.

Fifty workloads of 5,000 rows each. From each, a trial of 10, 20, 50 and 100 rows is drawn many times. Each range
is held against the sum over all rows. Fifty more workloads are put together by chance from the same parts. The
method was chosen with the first fifty in view. One of its terms was chosen with the others in view, too.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from airflow_provider_batch.batch.cost.estimate import Caps, Span, output_span
from airflow_provider_batch.batch.cost.trial_range import Forecast, TriedRow, Whole, row_usd
from airflow_provider_batch.rows.dialect import Usage
from airflow_provider_batch.rows.money import Price, Rates
from benchmarks.trial_workloads import ANSWERS, LENGTHS, THOUGHTS, WORKLOADS, Row, Workload

ROWS = 5_000
DRAWS = 100
TRIALS = (10, 20, 50, 100)
KINDS = ("input", "output", "thinking", "usd")
BAR_TRIAL = 50
BAR_INSIDE = 0.90
BAR_HALF_WIDTH = 0.20
LANGUAGES = ("en", "de", "ja", "code", "en de", "en ja", "de code", "en de ja code")
PRICES = [
    Price(*[Rates(Decimal(one) / 100, Decimal(0), Decimal(other) / 100) for one, other in ((15, 125), (30, 250))])
]
LONG = 200_000


class Found(NamedTuple):
    """Of one workload and one kind of figure.

    :param inside: Share of the ranges that hold the true total.
    :param half_width: Median, over the true total.
    """

    name: str
    inside: float
    half_width: float


class Input(NamedTuple):
    """A workload with its rows, and what they take in all."""

    workload: Workload
    rows: list[TriedRow]
    whole: Whole
    totals: dict[str, float]


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    chosen = [_input(workload) for workload in WORKLOADS]
    print(f"{len(chosen)} workloads of {ROWS:,} rows, {draws} trials each\n")
    found = _table(chosen, draws, _forecast)
    _judge(found)
    print("\nfifty others, put together by chance\n")
    _table([_input(workload) for workload in _others()], draws, _forecast)
    print("\noutput by the mean and three standard errors, as of earlier answers (the first fifty)\n")
    _table(chosen, draws, _by_three_errors)


def _others() -> list[Workload]:
    rng = random.Random(2026)
    parts = [
        (
            rng.choice(LANGUAGES),
            rng.choice(list(LENGTHS)),
            rng.choice([0, 50, 200, 800, 3000]),
            rng.choice(list(ANSWERS)),
            rng.choice(list(THOUGHTS)),
        )
        for _ in range(50)
    ]
    return [Workload(f"{number}: {' / '.join(map(str, part))}", *part) for number, part in enumerate(parts, 1)]


def _input(workload: Workload) -> Input:
    rows = [_row(row) for row in workload.rows(ROWS)]
    totals = {kind: sum(_value(row, kind) for row in rows) for kind in KINDS}
    whole = Whole(ROWS, sum(row.size_bytes for row in rows), workload.cap)
    return Input(workload, rows, whole, totals)


def _row(row: Row) -> TriedRow:
    usage = Usage(input=row.input, output=row.output, thinking=row.thinking)
    return TriedRow(row.size_bytes, usage, row_usd(PRICES, usage, LONG))


def _value(row: TriedRow, kind: str) -> float:
    return row.usd if kind == "usd" else getattr(row.usage, kind)


Spans = dict[str, Span]


def _forecast(trial: Sequence[TriedRow], whole: Whole) -> Spans:
    forecast = Forecast.of(trial, whole)
    return {kind: getattr(forecast, kind) for kind in KINDS}


def _by_three_errors(trial: Sequence[TriedRow], whole: Whole) -> Spans:
    caps = Caps(int((whole.row_cap or 0) * whole.rows), 0 if whole.row_cap else whole.rows, 0)
    return {"output": output_span(whole.rows, caps, [row.usage.output for row in trial])[0]}


Way = Callable[[Sequence[TriedRow], Whole], Spans]


def _table(inputs: Sequence[Input], draws: int, way: Way) -> dict[tuple[int, str], list[Found]]:
    print(f"{'trial':>6} {'of':<9}{'inside':>8}{'below 90 %':>12}{'half width':>12}{'widest':>8}   worst")
    found: dict[tuple[int, str], list[Found]] = {}
    for size in TRIALS:
        for one in inputs:
            for kind, line in _draw(one, size, draws, way):
                found.setdefault((size, kind), []).append(line)
        for kind in KINDS:
            if (size, kind) in found:
                _show(size, kind, found[size, kind])
    return found


def _draw(one: Input, size: int, draws: int, way: Way) -> Iterable[tuple[str, Found]]:
    """A kind of which the workload takes nothing is left out: it would be inside, with no width."""
    rng = random.Random(f"{one.workload.name} {size}")
    spans = [way(rng.sample(one.rows, size), one.whole) for _ in range(draws)]
    for kind in spans[0]:
        total = one.totals[kind]
        if total:
            # A millionth: sums of floats differ in their last digits.
            inside = [
                span[kind].least <= total * 1.000001 and total * 0.999999 <= span[kind].most for span in spans
            ]
            widths = [(span[kind].most - span[kind].least) / 2 / total for span in spans]
            yield kind, Found(one.workload.name, sum(inside) / draws, statistics.median(widths))


def _show(size: int, kind: str, lines: Sequence[Found]) -> None:
    worst = min(lines, key=lambda line: line.inside)
    inside = statistics.mean(line.inside for line in lines)
    half = statistics.median(line.half_width for line in lines)
    print(
        f"{size:>6} {kind:<9}{inside:>8.1%}{sum(line.inside < BAR_INSIDE for line in lines):>5} of {len(lines):<4}"
        f"{'±' + format(half, '.1%'):>11}{'±' + format(max(line.half_width for line in lines), '.0%'):>8}"
        f"   {worst.inside:.0%}, {worst.name}"
    )


def _judge(found: dict[tuple[int, str], list[Found]]) -> None:
    lines = [line for kind in KINDS for line in found[BAR_TRIAL, kind]]
    inside = statistics.mean(line.inside for line in lines)
    half = statistics.median(line.half_width for line in lines)
    is_ok = inside >= BAR_INSIDE and half <= BAR_HALF_WIDTH
    print(
        f"\n{BAR_TRIAL} rows, all kinds: {inside:.1%} inside (bar: {BAR_INSIDE:.0%}), "
        f"median half width ±{half:.1%} (bar: ±{BAR_HALF_WIDTH:.0%}): {'ok' if is_ok else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
