"""What a batch will cost is a range with its reasons, and unknown where nobody can say."""

from decimal import Decimal

import pytest

from airflow_provider_batch.batch.cost.estimate import Caps, Span, Text, cost_span, input_span, output_span
from airflow_provider_batch.rows.money import Price, Rates

RATES = Rates(Decimal(1), Decimal(0), Decimal(10), audio=Decimal(3))
TWICE = Rates(Decimal(2), Decimal(0), Decimal(20))
PRICE = Price(RATES, TWICE)
LONG = 200_000
TEXT = Text(text_bytes=1_200_000, longest_bytes=1200, media=0, rough_tokens=300_000)
WITH_MEDIA = Text(text_bytes=1_200_000, longest_bytes=1200, media=7, rough_tokens=301_806)


def test_without_a_count_the_size_of_the_text_gives_a_wide_range():
    span, basis = input_span(TEXT, [])
    assert span == Span(200_000, 600_000)
    assert "6 to 2 bytes a token" in basis


def test_a_counted_sample_narrows_it_to_its_own_extremes():
    span, basis = input_span(TEXT, [(100, 90), (200, 220)])
    assert span == Span(270_000, 330_000)
    assert "count of 2 rows" in basis


def test_media_that_nobody_counted_leave_the_upper_end_open():
    assert input_span(WITH_MEDIA, [])[0] == Span(200_000, None)
    assert input_span(WITH_MEDIA, [(100, 300)])[0].most == 905_418


@pytest.mark.parametrize(
    ("caps", "sample", "span", "words"),
    [
        (Caps(500, 0, 65_536), [], Span(0, 500), "the rows' maxOutputTokens"),
        (Caps(500, 2, 100), [], Span(0, 700), "at most 100 an answer without a cap"),
        (Caps(500, 2, 0), [], Span(0, None), "2 answers have no maxOutputTokens"),
        (Caps(0, 10, 100), [20, 20, 20], Span(200, 200), "as 3 earlier answers, mean 20"),
        (Caps(150, 0, 100), [20, 20, 20], Span(200, 150), "earlier answers"),
        (Caps(0, 10, 100), [20], Span(0, 1000), "at most 100"),
    ],
    ids=["all capped", "some capped", "unbounded", "like last time", "no more than the caps", "one is no sample"],
)
def test_output_is_bounded_by_caps_and_narrowed_by_earlier_answers(caps, sample, span, words):
    found, basis = output_span(10, caps, sample)
    assert (found, words in basis) == (span, True)


def test_tokens_are_whole_numbers():
    odd = Text(text_bytes=100, longest_bytes=100, media=0, rough_tokens=25)
    spans = [
        input_span(odd, [])[0],
        input_span(odd, [(7, 5), (9, 8)])[0],
        output_span(3, Caps(0, 3, 100), [1, 3, 7])[0],
    ]
    assert {type(end) for span in spans for end in (span.least, span.most)} == {int}


def test_a_scattered_sample_gives_a_wider_range():
    narrow, _ = output_span(10, Caps(0, 10, 1000), [90, 100, 110] * 10)
    wide, _ = output_span(10, Caps(0, 10, 1000), [1, 100, 199] * 10)
    assert wide.least < narrow.least < 1000 < narrow.most < wide.most


def test_the_cost_is_that_of_both_ends():
    batch, single = cost_span([PRICE], TEXT, Span(1_000_000, 2_000_000), Span(0, 100_000), LONG)
    assert batch == Span(1.0, 3.0)
    assert single == Span(2.0, 6.0)


def test_the_dearest_price_of_the_days_counts():
    batch, _ = cost_span([PRICE, Price(TWICE, TWICE)], TEXT, Span(1_000_000, 1_000_000), Span(0, 0), LONG)
    assert batch == Span(1.0, 2.0)


def test_a_day_without_a_price_leaves_the_cost_unknown():
    assert cost_span([PRICE, None], TEXT, Span(1, 1), Span(1, 1), LONG) is None
    assert cost_span([], TEXT, Span(1, 1), Span(1, 1), LONG) is None


def test_an_open_end_has_no_upper_price():
    assert cost_span([PRICE], TEXT, Span(1_000_000, None), Span(0, 1), LONG)[0] == Span(1.0, None)


def test_media_may_be_audio_and_long_prompts_have_their_own_price():
    one = Span(1_000_000, 1_000_000), Span(0, 0)
    assert cost_span([PRICE], WITH_MEDIA, *one, LONG)[0].most == 3.0
    long = Price(RATES, TWICE, long_batch=TWICE, long_standard=TWICE)
    assert cost_span([long], TEXT, *one, LONG)[0].most == 1.0
    very_long = Text(1_200_000, longest_bytes=500_000, media=0, rough_tokens=300_000)
    assert cost_span([long], very_long, *one, LONG)[0] == Span(1.0, 2.0)
