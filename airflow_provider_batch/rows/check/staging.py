r"""Input to checked local spools: one pass that validates, counts and hashes what will be sent.

Every bad row is found before a byte is uploaded. What is hashed is what is sent. Lines are copied as they are,
with one ``\\n`` each and without a byte more.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import msgspec
from upath import UPath

from airflow_provider_batch.errors import EmptyInputError, InputError
from airflow_provider_batch.rows.check.findings import REMEDY, Findings, left_out, place_of
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.check.shards import Cut, ShardLimits, ShardWriter
from airflow_provider_batch.rows.dialect import BadRowError, CheckedRow, RowDialect
from airflow_provider_batch.rows.prompt import columns_of, names_in
from airflow_provider_batch.rows.read import Record, Source, UnreadableRow
from airflow_provider_batch.rows.read.lines import MAX_LINE_BYTES
from airflow_provider_batch.rows.read.values import NoTextError, plain_of
from airflow_provider_batch.rows.storage import spool

_MAGICS = (
    (b"\xef\xbb\xbf", "AGB-I03", "starts with a UTF-8 byte-order mark. Save it as UTF-8 without one"),
    (b"\xff\xfe", "AGB-I03", "looks like UTF-16. Convert it to UTF-8"),
    (b"\xfe\xff", "AGB-I03", "looks like UTF-16. Convert it to UTF-8"),
    (b"{\x00", "AGB-I03", "looks like UTF-16 (NUL every second byte). Convert it to UTF-8"),
    (b"\x00{", "AGB-I03", "looks like UTF-16 (NUL every second byte). Convert it to UTF-8"),
    (b"\x1f\x8b", "AGB-I04", "is gzip data, not JSON Lines. Give it a name that ends in .gz"),
    (b"PK\x03\x04", "AGB-I04", "is zip data, not JSON Lines. Unpack it first"),
    (b"PAR1", "AGB-I04", "is Parquet data, not JSON Lines. Give it a name that ends in .parquet"),
)

_TOO_LONG = f"longer than the limit of {MAX_LINE_BYTES // 2**20} MiB"

OnBadRow = Literal["fail", "skip"]


def _as_it_is(data: bytes | Mapping[str, object]) -> bytes:
    return data if isinstance(data, bytes) else encode_row(data)


def encode_row(row: object, key: str | None = None) -> bytes:
    """A row as one line of JSON.

    :param key: For the error.
    :raises BadRowError: It holds something that JSON cannot express.
    """
    try:
        return _encode(row)
    except (TypeError, UnicodeEncodeError, RecursionError, msgspec.MsgspecError) as error:
        # Only the texts of type errors are free of content.
        why = str(error) if isinstance(error, TypeError) else type(error).__name__
        raise BadRowError("AGB-I12", f"holds something that JSON cannot express ({why})", key) from None


def _as_json(value: object) -> object:
    """What data frames and Airflow's macros have in place of Python's own dates and numbers."""
    try:
        return plain_of(value)
    except NoTextError as error:
        raise TypeError(error.what) from None


_encode = msgspec.json.Encoder(enc_hook=_as_json).encode


@dataclass(frozen=True)
class Intake:
    """How input becomes rows that can be sent.

    :param to_line: Makes a line in the vendor's format of a record, or raises :class:`BadRowError`.
    :param rewrite: Changes a checked line before it is hashed and kept, the same way every time. May raise
        :class:`BadRowError`.
    :param keep_columns: Columns of the source that are put beside the answers. Each must be in some row.
    :param on_bad_row: ``fail``, or ``skip`` to send the rest.
    :param sample_rows: How many rows, drawn evenly, are remembered for counting their tokens.
    :param asked_columns: Columns that the prompt names. An empty text in one is a caution: CSV files have no NULL.
    """

    source: Source
    to_line: Callable[[bytes | Mapping[str, object]], bytes] = _as_it_is
    rewrite: Callable[[bytes], bytes] | None = None
    keep_columns: tuple[str, ...] = ()
    on_bad_row: OnBadRow = "fail"
    sample_rows: int = 0
    asked_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spools:
    """Where rows are put before anything is sent.

    :param rows: The rows that can be sent.
    :param columns: Their kept columns, a JSON object a line, in the same order. Empty if none are kept.
    :param skipped: Bad rows with what is wrong with them, a JSON object a line.
    """

    rows: BinaryIO
    columns: BinaryIO
    skipped: BinaryIO


@contextmanager
def spools(near: UPath | None = None) -> Iterator[Spools]:
    """Temporary files that disappear with the block.

    :param near: Where the rows may be kept later.
    """
    with spool(near) as rows, spool() as columns, spool() as skipped:
        yield Spools(rows, columns, skipped)


@dataclass
class StagedContent:
    """What the rows of an input add up to, for the estimate of its cost.

    :param text_bytes: UTF-8 bytes of text.
    :param longest_bytes: Of the row with the most text.
    :param rough_tokens: Input tokens by the rule of thumb.
    :param media: Parts whose tokens cannot be told from their size.
    :param answers: How many are asked for, one a row if it says nothing else.
    :param capped: Answers with a cap on their output.
    :param output_caps: The sum of those caps, tokens.
    :param uploads: How often rows name files that are yet to be uploaded.
    :param files: Uploaded files that rows refer to, in the order of their first use.
    :param cautions: What is allowed and seldom meant: how many rows, and the place of the first.
    :param repeats: Rows that ask the same as an earlier one. ``first_repeat`` is the place of the first.
    """

    text_bytes: int = 0
    longest_bytes: int = 0
    rough_tokens: int = 0
    media: int = 0
    answers: int = 0
    capped: int = 0
    output_caps: int = 0
    uploads: int = 0
    files: dict[str, str] = field(default_factory=dict)
    cautions: dict[str, tuple[int, str]] = field(default_factory=dict)
    repeats: int = 0
    first_repeat: str = ""

    def add(
        self, row: CheckedRow, record: Record, asked_columns: tuple[str, ...], *, is_again: bool = False
    ) -> None:
        """Count a row.

        :param is_again: It asks the same as an earlier row.
        """
        self.text_bytes += row.text_bytes
        self.longest_bytes = max(self.longest_bytes, row.text_bytes)
        self.rough_tokens += row.tokens
        self.media += row.media
        self.uploads += row.uploads
        self.answers += row.answers
        if row.max_output is not None:
            self.capped += row.answers
            self.output_caps += row.max_output * row.answers
        for file in row.files:
            self.files.setdefault(file, place_of(record))
        if is_again:
            self.repeats += 1
            self.first_repeat = self.first_repeat or place_of(record)
        for caution in filter(None, (row.caution, _odd_key(row.key), _empty(record, asked_columns))):
            count, first = self.cautions.get(caution, (0, place_of(record)))
            self.cautions[caution] = count + 1, first

    def told(self) -> dict[str, tuple[int, str]]:
        """All that a user should hear before anything is paid for, as ``cautions``."""
        again = {REPEATED: (self.repeats, self.first_repeat)} if self.repeats else {}
        return {**self.cautions, **again}


REPEATED = (
    "the request is the same as that of an earlier row, and each is paid for; does the prompt name the columns "
    "that differ?"
)


@dataclass(frozen=True)
class Staged:
    """What one pass over the input found.

    :param sha256: Hex digest of the rows that can be sent.
    :param cuts: What of them goes to which remote job.
    :param skipped: Number of bad rows that were left out.
    :param content: What the rows add up to.
    :param sample: Rows drawn evenly: where they begin in the spool, their size in bytes, their rough tokens.
    """

    sha256: str
    cuts: list[Cut]
    skipped: int
    content: StagedContent
    sample: list[tuple[int, int, int]]

    @property
    def requests(self) -> int:
        """Number of rows that can be sent."""
        return sum(cut.rows for cut in self.cuts)

    @property
    def size_bytes(self) -> int:
        """Their size, bytes."""
        return sum(cut.size_bytes for cut in self.cuts)


class _Draw:
    """Each row is as likely to be among those that are taken as any other."""

    def __init__(self, rows: int) -> None:
        self.taken: list[tuple[int, int, int]] = []
        self._rows = rows
        self._seen = 0
        # The same rows at each try, so that a repeated estimate is the same.
        self._chance = random.Random(0)  # noqa: S311

    def offer(self, start: int, size_bytes: int, row: CheckedRow) -> None:
        """The next row. The API cannot count one whose files are not uploaded yet."""
        if row.uploads or not self._rows:
            return
        self._seen += 1
        if len(self.taken) < self._rows:
            self.taken.append((start, size_bytes, row.tokens))
        elif (slot := self._chance.randrange(self._seen)) < self._rows:
            self.taken[slot] = start, size_bytes, row.tokens


MOST_REQUESTS = 10_000
"""Different requests that are remembered. Later ones are compared with these only."""


class _Repeats:
    """Which rows ask the same as one before, even under other keys."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def has_come(self, line: bytes, key: str) -> bool:
        """Note a request."""
        before, _, after = line.partition(msgspec.json.encode(key))
        mark = hash((before, after))
        if mark in self._seen:
            return True
        if len(self._seen) < MOST_REQUESTS:
            self._seen.add(mark)
        return False


class _Beside:
    """Columns that are put beside the answers. A row may lack one, as JSON Lines often leave out what is NULL."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._unseen = set(names)
        self._has = ""

    def line(self, record: Record) -> bytes:
        """The kept columns of a row as JSON."""
        columns = columns_of(record.data if isinstance(record.data, bytes | Mapping) else b"")
        if self._unseen:
            self._unseen.difference_update(columns)
            self._has = self._has or names_in(columns)
        return encode_row({name: _kept(name, columns.get(name)) for name in self._names})

    def ensure_found(self, source: str) -> None:
        """Make sure that each column is in some row: one that is in none is a typing error.

        :raises InputError: One is not.
        """
        if missing := [name for name in self._names if name in self._unseen]:
            what = f"has no column {missing[0]!r} to keep (has {self._has})"
            raise _unusable(source, "AGB-I25", what)


def _kept(name: str, value: object) -> object:
    try:
        return plain_of(value)
    except NoTextError as error:
        what = f"the column {name!r} holds something that JSON cannot express ({error.what})"
        raise BadRowError("AGB-I12", what) from None


def stage(intake: Intake, dialect: RowDialect, out: Spools, keys: KeyTable, limits: ShardLimits) -> Staged:
    """Check every row of the input, copy the rows to ``out`` and the keys to ``keys``.

    :param limits: Of one remote job.

    :raises InputError: The input, or any row, cannot be sent. Names up to 20 rows and the total.
    """
    name = intake.source.name
    findings = Findings(name)
    writer = ShardWriter(out.rows, limits)
    content = StagedContent()
    draw = _Draw(intake.sample_rows)
    beside = _Beside(intake.keep_columns)
    repeats = _Repeats()
    is_fussy = intake.on_bad_row == "fail"
    for seen, record in enumerate(intake.source, 1):
        try:
            if seen == 1 and isinstance(record.data, bytes):
                _check_kind(name, record.data)
            row, line = _checked(intake, dialect, record)
            kept = beside.line(record) if intake.keep_columns else b""
            if (first := keys.add(row.key, seen)) is not None:
                whole = " of the whole input" if record.file else ""
                raise BadRowError("AGB-I14", f"the same key as on {record.unit} {first}{whole}", row.key)
        except BadRowError as bad:
            findings.add(record, bad.code, bad.what, bad.key)
            if not is_fussy:
                out.skipped.write(left_out(record, bad) + b"\n")
            continue
        if findings.total and is_fussy:
            continue
        draw.offer(writer.add(line, row.tokens), len(line), row)
        content.add(row, record, intake.asked_columns, is_again=repeats.has_come(line, row.key))
        if intake.keep_columns:
            out.columns.write(kept + b"\n")
    cuts = writer.close()
    if findings.total and (is_fussy or not cuts):
        raise findings.error()
    if not cuts:
        raise EmptyInputError(
            f"{name} is empty: a batch needs at least one row.", source=name, code="AGB-I01", remedy=REMEDY
        )
    beside.ensure_found(name)
    return Staged(writer.sha256, cuts, findings.total, content, draw.taken)


def _checked(intake: Intake, dialect: RowDialect, record: Record) -> tuple[CheckedRow, bytes]:
    line = intake.to_line(_readable(record))
    row = dialect.check_request(line)
    line = line if intake.rewrite is None else intake.rewrite(line)
    if len(line) > MAX_LINE_BYTES:
        raise BadRowError("AGB-I19", _TOO_LONG, row.key)
    return row, line


def _check_kind(name: str, data: bytes) -> None:
    """The first line tells what kind of file this is."""
    for magic, code, what in _MAGICS:
        if data.startswith(magic):
            raise _unusable(name, code, what)
    text = data.strip()
    if text.startswith(b"["):
        raise _unusable(name, "AGB-I05", "is a JSON array, not JSON Lines. Write one object on each line")
    if text == b"{":
        raise _unusable(name, "AGB-I05", "has objects over several lines. Write one object on each line")
    if b"}\r{" in text:
        raise _unusable(name, "AGB-I05", "has no line feeds but carriage returns; end each line with a line feed")


def _readable(record: Record) -> bytes | Mapping[str, object]:
    """The record's data, after the checks that need no JSON."""
    data = record.data
    if data is None:
        raise BadRowError("AGB-I19", _TOO_LONG)
    if isinstance(data, UnreadableRow):
        raise BadRowError(data.code, data.what)
    if isinstance(data, bytes):
        if not data.strip():
            raise BadRowError("AGB-I02", "the line is blank. Remove the line")
        return data
    if not isinstance(data, Mapping):
        raise BadRowError("AGB-I12", f"a row must be a mapping, got {type(data).__name__}")
    if not data:
        raise BadRowError("AGB-I12", "no columns, or another number of them than the header")
    return data


def _unusable(name: str, code: str, what: str) -> InputError:
    return InputError(f"{name} {what}.", source=name, line=None, code=code, remedy=REMEDY)


def _empty(record: Record, names: tuple[str, ...]) -> str | None:
    columns = record.data if isinstance(record.data, Mapping) else {}
    empty = [name for name in names if isinstance(text := columns.get(name), str) and not text.strip()]
    return f"the column {empty[0]!r} is empty, so the prompt has nothing in its place" if empty else None


def _odd_key(key: str) -> str | None:
    """Keys are compared byte for byte. Some look the same to a person."""
    if key == key.strip() and unicodedata.is_normalized("NFC", key):
        return None
    return "the key has spaces around it or is not in Unicode's normal form NFC; keys are compared as they are"
