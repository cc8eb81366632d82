"""Where a line ends."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_batch.rows.read.lines import Cutter, Incoming, Line, read_lines


def lines(data, max_bytes=1000):
    return list(read_lines(BytesIO(data), max_bytes))


def test_lines_end_at_the_line_feed_byte_only():
    text = '{"a":"x\u2028y\u0085z\x0bw\x0c"}'.encode()
    assert lines(text + b"\n" + text) == [Line(1, text), Line(2, text)]


def test_carriage_returns_before_the_line_feed_are_dropped():
    assert lines(b"a\r\nb\r\n") == [Line(1, b"a"), Line(2, b"b")]


def test_a_last_line_without_line_feed_counts():
    assert lines(b"a\nb") == [Line(1, b"a"), Line(2, b"b")]


def test_a_line_over_the_cap_is_passed_over_and_the_next_is_read():
    assert lines(b"a\n" + b"x" * 50 + b"\nb\n", max_bytes=10) == [Line(1, b"a"), Line(2, None), Line(3, b"b")]


def test_a_line_of_exactly_the_cap_is_read():
    assert lines(b"x" * 10 + b"\ny", max_bytes=10) == [Line(1, b"x" * 10), Line(2, b"y")]


def test_an_empty_file_has_no_lines():
    assert lines(b"") == []


def test_carriage_returns_are_dropped_wherever_a_block_ends():
    cutter = Cutter()
    assert [*cutter.cut(b"a\r"), *cutter.cut(b"\nb"), *cutter.cut(b"\r\n\r\nc\r\n"), *cutter.rest()] == [
        b"a",
        b"b",
        b"",
        b"c",
    ]


@given(st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\r", b".")), max_size=8), st.integers(1, 9))
def test_lines_are_the_same_however_the_bytes_are_cut_into_blocks(blocks, cap):
    cutter = Cutter(cap)
    cut = [line for block in blocks for line in cutter.cut(block)] + cutter.rest()
    wanted = b"".join(blocks).split(b"\n")
    wanted = wanted if wanted[-1] else wanted[:-1]
    assert cut == [line if len(line) <= cap else None for line in wanted]


@pytest.fixture
def taken():
    return []


@pytest.fixture
def incoming(taken):
    return Incoming(taken.extend)


def test_lines_are_taken_while_they_come(incoming, taken):
    incoming.write(b"one\ntw")
    assert taken == [b"one"]
    incoming.write(b"o\nthree")
    taken += incoming.rest()
    assert taken == [b"one", b"two", b"three"]
    assert incoming.tell() == 13


@pytest.mark.parametrize("back_to", [0, 2, 4, 6])
def test_a_transfer_that_begins_again_gives_no_line_twice(incoming, taken, back_to):
    data = b"one\ntwo\nthree\n"
    incoming.write(data[:6])
    incoming.seek(back_to)
    incoming.truncate()
    for at in range(back_to, len(data)):
        incoming.write(data[at : at + 1])
    taken += incoming.rest()
    assert taken == [b"one", b"two", b"three"]
    assert incoming.seek(0, 2) == len(data)


def test_a_transfer_cannot_go_on_beyond_what_has_come(incoming):
    incoming.write(b"one\n")
    with pytest.raises(ValueError, match="only 4 bytes have come, 9 is beyond"):
        incoming.seek(9)
