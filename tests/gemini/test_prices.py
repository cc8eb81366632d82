"""Prices have days, an unknown one is unknown, and costs add up to the last digit."""

import json
from datetime import date
from decimal import Decimal

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.prices import PriceTable
from airflow_provider_batch.rows.dialect import Usage
from airflow_provider_batch.rows.money import Price, Rates

TODAY = date(2026, 11, 24)
MILLION = 1_000_000
NONE = Usage()


def batch_usd(model, usage, day=TODAY, of_long=NONE):
    return PriceTable.shipped().price(model, day).batch_usd(usage, of_long)


@pytest.mark.parametrize(
    ("model", "day", "usd"),
    [
        ("gemini-4-argon", date(2026, 11, 30), "1.00"),
        ("gemini-4-argon", date(2026, 12, 1), "2.00"),
        ("gemini-3.8-flash", date(2026, 12, 31), "0.375"),
        ("gemini-3.8-flash", date(2027, 1, 1), "0.75"),
        ("gemini-2.5-flash", date(2030, 1, 1), "0.15"),
        ("models/gemini-2.5-flash", TODAY, "0.15"),
        ("gemini-embedding-001", TODAY, "0.075"),
    ],
)
def test_a_million_input_tokens_cost_what_the_list_says_for_the_day(model, day, usd):
    assert batch_usd(model, Usage(input=MILLION), day) == Decimal(usd)


@pytest.mark.parametrize("model", ["gemini-9-flash", "gemini-2.5", "gemini-3-pro-image-preview", ""])
def test_a_model_that_is_not_in_the_list_has_no_price(model):
    assert PriceTable.shipped().price(model, TODAY) is None


def test_every_entry_has_batch_below_standard_and_days_that_do_not_overlap():
    table = PriceTable.shipped()
    for day in (date(2026, 11, 23), date(2026, 12, 15), date(2027, 6, 1)):
        for model in {entry["model"] for entry in table.entries}:
            assert sum(PriceTable((e,)).price(model, day) is not None for e in table.entries) == 1, (model, day)
            price = table.price(model, day)
            assert price.batch.input * 2 == price.standard.input
            assert price.batch.output * 2 == price.standard.output


def test_thinking_is_billed_as_output_and_cached_tokens_at_the_standard_cache_rate():
    usage = Usage(input=3 * MILLION, cached=MILLION, output=MILLION, thinking=MILLION)
    assert batch_usd("gemini-2.5-flash", usage) == Decimal("2") * Decimal("0.15") + Decimal("0.03") + Decimal(
        "2.50"
    )


def test_rows_with_long_prompts_cost_more_where_the_list_says_so():
    usage, of_long = Usage(input=2 * MILLION), Usage(input=MILLION)
    assert batch_usd("gemini-2.5-pro", usage, of_long=of_long) == Decimal("0.625") + Decimal("1.25")
    assert batch_usd("gemini-2.5-flash", usage, of_long=of_long) == Decimal("0.30")


def test_audio_has_a_price_of_its_own_or_the_cost_is_unknown():
    usage = Usage(input=2 * MILLION, audio=MILLION)
    assert batch_usd("gemini-2.5-flash", usage) == Decimal("0.15") + Decimal("0.50")
    assert batch_usd("gemini-3.8-flash", usage) is None


def test_a_billion_tenths_of_a_cent_do_not_drift():
    rates = Rates(Decimal("0.1"), Decimal(0), Decimal(0))
    assert Price(rates, rates).batch_usd(Usage(input=3), NONE) * 10 == Decimal("0.000003")


ENTRY = {"model": "m", "standard": {"input": 1, "cached": 0, "output": 2}, "batch": {"input": 0.5, "output": 1}}


def test_a_file_of_ones_own_takes_the_same_form():
    table = PriceTable.read(json.dumps({"models": [ENTRY]}), "mine.json")
    assert table.price("m", TODAY).batch_usd(Usage(output=MILLION), NONE) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "not a JSON object with a list of models"),
        ("{}", "not a JSON object with a list of models"),
        (json.dumps({"models": [ENTRY, {"model": "m"}]}), "entry 2 is wrong"),
        (json.dumps({"models": [ENTRY | {"until": "soon"}]}), "entry 1 is wrong"),
        (json.dumps({"models": [ENTRY | {"batch": {"input": -1, "output": 1}}]}), "entry 1 is wrong"),
        (json.dumps({"models": [ENTRY | {"batch": {"input": "free", "output": 1}}]}), "entry 1 is wrong"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_entry(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        PriceTable.read(text, "mine.json")
    assert (caught.value.code, "mine.json" in caught.value.message) == ("AGB-C09", True)
