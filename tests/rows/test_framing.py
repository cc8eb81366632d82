"""Where a line ends."""

from io import BytesIO

from airflow_provider_batch.rows.framing import Line, read_lines


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
