"""The range that a trial gives holds what all rows take, and is as wide as the trial's rows make it."""

from __future__ import annotations

import math
import random
import statistics
from decimal import Decimal

import pytest

from airflow_provider_batch.batch.cost.estimate import Span
from airflow_provider_batch.batch.cost.trial_range import (
    Forecast,
    Tried,
    TriedRow,
    Whole,
    row_usd,
    student,
    total_range,
)
from airflow_provider_batch.rows.dialect import Usage
from airflow_provider_batch.rows.money import Price, Rates

FIVE = [Tried(400, 100), Tried(800, 210), Tried(1200, 290), Tried(1600, 400), Tried(2000, 510)]
VARIED = [Tried(100, value) for value in (10, 12, 9, 14, 11, 13, 10, 8)]


def width(span):
    return span.most - span.least


# What is known for certain


def test_a_trial_of_all_rows_has_their_sum_at_both_ends():
    assert total_range(FIVE, Whole(5, 6000)) == Span(1510, 1510)


def test_one_row_shows_no_spread_so_the_upper_end_is_open():
    assert total_range([Tried(400, 100)], Whole(1000, 400_000)) == Span(100, None)


def test_one_row_and_a_cap_leave_the_others_between_nothing_and_the_cap():
    assert total_range([Tried(400, 100)], Whole(1000, 400_000, row_cap=512)) == Span(100, 100 + 999 * 512)


def test_no_row_says_nothing_but_what_the_cap_says():
    assert total_range([], Whole(1000, 400_000)) == Span(0, None)
    assert total_range([], Whole(1000, 400_000, row_cap=512)) == Span(0, 512_000)


def test_the_lower_end_is_never_below_what_the_trial_took():
    span = total_range([Tried(100, 0), Tried(100, 1), Tried(100, 900)], Whole(1000, 100_000))
    assert span.least == 901


def test_the_upper_end_is_never_above_the_cap_of_each_row_that_is_left():
    tried = [Tried(100, value) for value in (500, 510, 3, 512, 480, 512)]
    assert total_range(tried, Whole(1000, 100_000)).most > 512_000
    assert total_range(tried, Whole(1000, 100_000, row_cap=512)).most == 2517 + 994 * 512


@pytest.mark.parametrize("whole", [Whole(4, 6000), Whole(9, 5999)])
def test_an_input_that_is_smaller_than_its_trial_is_a_mistake(whole):
    with pytest.raises(ValueError, match="5 rows were tried, and the input is said to be smaller"):
        total_range(FIVE, whole)


def test_a_row_that_took_less_than_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="-1"):
        total_range([Tried(100, 5), Tried(100, -1)], Whole(10, 1000))


# Rows that are alike


def test_equal_values_leave_room_for_a_few_rows_that_are_unlike_them():
    span = total_range([Tried(size, 7) for size in range(100, 150)], Whole(1050, 130_000))
    assert span.least == pytest.approx(350 + 7000 * 0.05 ** (1 / 50))
    assert span.most == pytest.approx(350 + 7000 * (2 - 0.05 ** (1 / 50)))


def test_a_trial_without_thinking_expects_none():
    assert total_range([Tried(100, 0)] * 20, Whole(1000, 100_000)) == Span(0, 0)


@pytest.mark.parametrize("size", [0, 100])
def test_rows_of_one_size_are_judged_by_their_mean(size):
    tried = [row._replace(size_bytes=size) for row in VARIED]
    span = total_range(tried, Whole(1008, size * 1008))
    assert span.least < 87 + 1000 * 87 / 8 < span.most
    assert width(span) == pytest.approx(2 * 1000 * 2.365 * math.sqrt(4.125 / 8 * 1008 / 1000), rel=0.1)


# Sizes


def sample(count, value, seed=0):
    """Rows of 200 to 4,000 bytes."""
    rng = random.Random(seed)
    sizes = [rng.randint(200, 4000) for _ in range(count)]
    return [Tried(size, value(rng, size)) for size in sizes]


def by_mean_alone(tried, whole):
    return total_range([row._replace(size_bytes=0) for row in tried], whole._replace(size_bytes=0))


def test_where_values_follow_sizes_the_range_is_a_tenth_of_that_of_the_mean():
    tried = sample(50, lambda rng, size: 90 + size / 4 * rng.uniform(0.95, 1.05))
    whole = Whole(5000, 2100 * 5000)
    assert width(total_range(tried, whole)) < width(by_mean_alone(tried, whole)) / 10


def test_where_values_do_not_follow_sizes_nine_of_ten_ranges_are_no_wider_than_those_of_the_mean():
    wider = 0
    for seed in range(100):
        tried = sample(50, lambda rng, size: rng.gauss(200, 40), seed)
        whole = Whole(5000, 2100 * 5000)
        wider += width(total_range(tried, whole)) > width(by_mean_alone(tried, whole)) * 1.001
    assert wider <= 10


def test_rows_much_larger_than_those_of_the_trial_widen_the_range_to_both_ways():
    tried = sample(20, lambda rng, size: size / 4 * rng.uniform(0.7, 1.3))
    span = total_range(tried, Whole(5000, 9000 * 5000))
    assert span.least < by_mean_alone(tried, Whole(5000, 0)).most
    assert span.most > 9000 / 4 * 5000


def test_rows_of_one_size_before_larger_ones_may_stand_for_either():
    tried = [Tried(100, value) for value in (10, 12, 9, 14, 11, 13, 10, 8)]
    alike, larger = total_range(tried, Whole(1008, 100_800)), total_range(tried, Whole(1008, 504_000))
    assert larger.least == alike.least
    assert larger.most > 4 * alike.most


# How sure


def test_more_rows_narrow_the_range():
    few, some, many = (sample(count, lambda rng, size: rng.gauss(200, 40)) for count in (5, 20, 80))
    widths = [width(by_mean_alone(tried, Whole(5000, 0))) for tried in (few, some, many)]
    assert widths[0] > 1.8 * widths[1] > 2.7 * widths[2]


def test_the_fewer_rows_are_left_the_narrower_the_range():
    tried = [row._replace(size_bytes=0) for row in sample(50, lambda rng, size: rng.gauss(200, 40))]
    few, many = total_range(tried, Whole(54, 0)), total_range(tried, Whole(5050, 0))
    assert width(few) < width(many) * 4 / 5000 * 5
    assert width(few) > width(many) * 4 / 5000 * 3


def test_a_tail_to_the_right_puts_the_upper_end_further_away():
    rng = random.Random(5)
    tried = [Tried(0, rng.lognormvariate(5, 1)) for _ in range(40)]
    span = total_range(tried, Whole(5000, 0))
    guess = 5000 * statistics.mean(row.value for row in tried)
    assert span.most - guess > 1.3 * (guess - span.least)


def test_a_skewed_range_has_the_ends_of_halls_formula():
    """The figures of this and the next two tests were worked out apart from the package."""
    span = total_range([Tried(0, value) for value in (3, 4, 4, 5, 6, 9, 25)], Whole(7007, 0))
    assert (span.least, span.most) == (pytest.approx(22_346, rel=0.001), pytest.approx(213_849, rel=0.001))


def test_a_few_rows_that_are_left_are_more_skewed_than_the_mean_of_many():
    span = total_range([Tried(0, value) for value in (3, 4, 4, 5, 6, 9, 25)], Whole(9, 0))
    assert (span.least, span.most) == (56, pytest.approx(151.93, rel=0.001))


def test_a_line_has_the_ends_of_its_formula_and_its_doubts():
    values = ((100, 31), (200, 52), (250, 60), (300, 77), (420, 108), (500, 122), (900, 230))
    span = total_range([Tried(*one) for one in values], Whole(7007, 2670 + 7000 * 500))
    assert (span.least, span.most) == (pytest.approx(818_308, rel=1e-4), pytest.approx(1_092_383, rel=1e-4))


def test_three_rows_on_a_line_do_not_prove_one():
    assert width(total_range([Tried(100, 10), Tried(200, 20), Tried(300, 30)], Whole(1003, 200 * 1003))) > 10_000


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (9, 2.262), (11, 2.201), (15, 2.131), (30, 2.042), (98, 1.984)],
)
def test_quantiles_are_those_of_students_table(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, abs=0.003)


POPULATIONS = {
    "even": lambda rng, size: rng.gauss(200, 40),
    "by size": lambda rng, size: 120 + size / 4 * rng.gauss(1, 0.1),
    "two languages": lambda rng, size: size / rng.choice((2.2, 4.1)),
    "tail": lambda rng, size: rng.lognormvariate(5, 1),
    "now and then": lambda rng, size: rng.lognormvariate(6, 0.6) if rng.random() < 0.3 else 0,
    "capped": lambda rng, size: min(rng.lognormvariate(6, 0.8), 512),
    "root of the size": lambda rng, size: 5 * math.sqrt(size) * rng.gauss(1, 0.2),
}


def inside(value, length, count):
    """Of 200 trials, how many ranges hold the total of 2,000 rows."""
    rng = random.Random(11)
    sizes = [length(rng) for _ in range(2000)]
    rows = [Tried(size, max(value(rng, size), 0)) for size in sizes]
    total, whole = sum(row.value for row in rows), Whole(2000, sum(sizes))
    spans = [total_range(rng.sample(rows, count), whole) for _ in range(200)]
    return sum(span.least <= total <= span.most for span in spans)


@pytest.mark.parametrize("value", POPULATIONS.values(), ids=POPULATIONS)
def test_of_200_trials_of_50_rows_at_least_180_hold_the_total(value):
    assert inside(value, lambda rng: rng.randint(200, 4000), 50) >= 180


@pytest.mark.parametrize("value", POPULATIONS.values(), ids=POPULATIONS)
def test_of_200_trials_at_least_180_hold_the_total_where_one_row_in_ten_is_long(value):
    length = lambda rng: rng.randint(100, 400) if rng.random() < 0.9 else rng.randint(8000, 20_000)  # noqa: E731
    assert inside(value, length, 50) >= 180


# All kinds at once


USED = [
    Usage(input=100 + number, output=20 + number % 7, thinking=300 + 31 * (number % 5)) for number in range(20)
]
RATES = Rates(Decimal(1), Decimal(0), Decimal(10))
DEARER = Rates(Decimal(2), Decimal(0), Decimal(20))


def test_a_forecast_has_a_range_for_each_kind_of_token_and_for_usd():
    tried = [TriedRow(400 + number, usage, 0.001 * (1 + number % 3)) for number, usage in enumerate(USED)]
    forecast = Forecast.of(tried, Whole(1020, 410 * 1020))
    assert forecast.rows_tried == 20
    assert forecast.input.least < 1020 * 110 < forecast.input.most
    assert forecast.output.least < 1020 * 23 < forecast.output.most
    assert forecast.thinking.least < 1020 * 362 < forecast.thinking.most
    assert forecast.usd.least < 1020 * 0.002 < forecast.usd.most


def test_the_cap_bounds_output_and_thinking_and_neither_input_nor_usd():
    tried = [TriedRow(400 + number, usage, 5.0 + number % 2) for number, usage in enumerate(USED)]
    forecast = Forecast.of(tried, Whole(1020, 410 * 1020, row_cap=1))
    assert forecast.output.most == sum(usage.output for usage in USED) + 1000
    assert forecast.thinking.most == sum(usage.thinking for usage in USED) + 1000
    assert forecast.input.most > 100_000
    assert forecast.usd.most > 5000


def test_rows_without_a_count_are_as_rows_that_were_not_tried():
    metered = [TriedRow(400 + number, usage, 0.001 + number / 1e4) for number, usage in enumerate(USED)]
    forecast = Forecast.of([*metered, TriedRow(410, None), TriedRow(500, None)], Whole(1020, 410 * 1020))
    without = Forecast.of(metered, Whole(1020, 410 * 1020))
    assert (forecast.rows_tried, forecast.unmetered) == (22, 2)
    assert (forecast.input, forecast.usd) == (without.input, without.usd)
    assert width(Forecast.of([*metered, TriedRow(410, None)], Whole(21, 8800)).input) > 0


def test_without_a_price_there_are_tokens_and_no_usd():
    forecast = Forecast.of([TriedRow(400, usage) for usage in USED], Whole(1020, 408_000))
    assert forecast.usd is None
    assert forecast.input.most > 0


def test_a_trial_without_any_count_knows_nothing():
    forecast = Forecast.of([TriedRow(400, None)] * 3, Whole(1020, 408_000))
    assert (forecast.input, forecast.usd, forecast.unmetered) == (Span(0, None), None, 3)


def test_a_row_costs_what_it_would_on_the_dearest_day():
    usage = Usage(input=1000, output=10, thinking=90)
    assert row_usd([Price(RATES, DEARER), Price(DEARER, DEARER)], usage, 200_000) == 0.004
    assert row_usd([Price(RATES, DEARER)], usage, 200_000) == 0.002


def test_a_row_with_a_long_prompt_has_the_price_of_long_prompts():
    usage = Usage(input=1000, output=100)
    price = Price(RATES, RATES, long_batch=DEARER)
    assert [row_usd([price], usage, most) for most in (1000, 999)] == [0.002, 0.004]


@pytest.mark.parametrize("prices", [[], [None], [Price(RATES, DEARER), None]])
def test_a_row_has_no_cost_if_the_price_of_a_day_is_missing(prices):
    assert row_usd(prices, Usage(input=1000), 200_000) is None
