"""One pass: rows to a spool, cut where a job is full, with the digest of each part and of all."""

import hashlib
import io

import pytest

from airflow_provider_batch.rows.check.shards import ShardLimits, ShardWriter

LINES = [f"line {n} ".encode() * (n % 7 + 1) for n in range(1000)]


@pytest.mark.parametrize(
    "limits",
    [ShardLimits(), ShardLimits(rows=333), ShardLimits(size_bytes=5000), ShardLimits(tokens=900)],
    ids=["one part", "by rows", "by size", "by tokens"],
)
def test_parts_and_whole_have_the_digests_of_their_bytes(limits):
    out = io.BytesIO()
    writer = ShardWriter(out, limits)
    for line in LINES:
        writer.add(line, tokens=3)
    cuts = writer.close()
    data = out.getvalue()
    assert data == b"".join(line + b"\n" for line in LINES)
    assert writer.sha256 == hashlib.sha256(data).hexdigest()
    assert sum(cut.rows for cut in cuts) == len(LINES)
    for cut in cuts:
        part = data[cut.start : cut.start + cut.size_bytes]
        assert (cut.sha256, cut.rows) == (hashlib.sha256(part).hexdigest(), part.count(b"\n"))
        assert limits.admit(cut.rows, cut.size_bytes, cut.tokens)


def test_a_row_larger_than_the_limit_goes_alone():
    writer = ShardWriter(io.BytesIO(), ShardLimits(size_bytes=10))
    for line in (b"1234", b"1234", b"0123456789", b"1"):
        writer.add(line)
    assert [(cut.rows, cut.size_bytes) for cut in writer.close()] == [(2, 10), (1, 11), (1, 2)]


def test_no_shard_is_larger_than_a_file_of_the_vendor():
    assert ShardLimits(rows=5).within(1000) == ShardLimits(rows=5, size_bytes=1000)
    assert ShardLimits(size_bytes=400).within(1000).size_bytes == 400


def test_rows_that_name_media_files_leave_room_for_longer_names():
    assert ShardLimits(with_media=True).within(1000).size_bytes == 750


def test_without_rows_there_is_no_part():
    writer = ShardWriter(io.BytesIO(), ShardLimits())
    assert writer.close() == []
    assert writer.sha256 == hashlib.sha256().hexdigest()
