"""Files: JSON Lines, CSV, Parquet and texts, plain or compressed. One file, a pattern, or all of a folder.

What a file is follows from its name. ``.csv``, ``.tsv`` and ``.parquet`` are tables. ``.txt`` and ``.md`` are
texts, each one row with the columns ``key`` (its name) and ``text``. Everything else is JSON Lines. ``.gz``,
``.bz2``, ``.xz`` and ``.zst`` at the end are unpacked while reading. Several files are read in the order of their
names. Values of a CSV file are text.
"""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from upath import UPath

from airflow_provider_batch.errors import InputError
from airflow_provider_batch.rows.read import Record, UnreadableRow, same_names
from airflow_provider_batch.rows.read.arrow import rows_of
from airflow_provider_batch.rows.read.lines import MAX_LINE_BYTES, read_lines
from airflow_provider_batch.rows.storage import READ_BYTES, local_path, opened

PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
"""Endings to the names that fsspec knows."""

TEXTS = frozenset({".txt", ".md"})
"""Endings of files that are one text each."""

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Longest text of a file, bytes. Far above what a model reads."""

PARQUET_ROWS = 1024
"""Rows of a Parquet file that are in memory at a time."""

_REMEDY = "Nothing was uploaded or spent. Correct the input and run the task again."


@dataclass(frozen=True)
class Files:
    """One file, all files that match a pattern (``*``, ``?``, ``[a-z]``, ``**``), or all of a folder.

    Files whose names begin with ``.`` or ``_`` are passed over in a folder: they are markers of other tools.
    """

    path: UPath

    @property
    def name(self) -> str:
        """The path or URI."""
        return str(self.path)

    def __iter__(self) -> Iterator[Record]:
        """Read file after file.

        :raises InputError: There is none, or one cannot be read or changes while it is read.
        """
        files = _resolved(self.path)
        for path, key in files:
            if len(files) == 1:
                yield from _read(path, key)
            else:
                yield from (record._replace(file=str(path)) for record in _read(path, key))


def _resolved(path: UPath) -> list[tuple[UPath, str]]:
    """The files, each with its name below the folder that they were looked for in."""
    name = str(path)
    if "{{" in name:
        raise _unusable(name, "AGB-I24", "holds a template that was not rendered; is the field templated?")
    pattern = set("*?[") & set(name) and not path.exists()
    if pattern:
        base, matching = _fixed(path)
        found = sorted((p for p in base.glob(matching) if not p.is_dir()), key=str)
    elif path.is_dir():
        base = path
        found = sorted(
            (p for p in path.iterdir() if p.name[:1] not in (".", "_") and not p.is_dir()), key=lambda p: p.name
        )
    else:
        return [(path, path.name)]
    if not found:
        raise _unusable(name, "AGB-I24", "matches no file" if pattern else "is a folder without files")
    return [(one, str(one).removeprefix(str(base)).lstrip("/")) for one in found]


def _fixed(path: UPath) -> tuple[UPath, str]:
    """The folder before a pattern, and the pattern."""
    parts = path.parts
    first = next(i for i, part in enumerate(parts) if set("*?[") & set(part))
    base = path
    for _ in parts[first:]:
        base = base.parent
    return base, "/".join(parts[first:])


def _read(path: UPath, key: str) -> Iterator[Record]:
    suffixes = [suffix.lower() for suffix in PurePosixPath(path.name).suffixes]
    packing = PACKED.get(suffixes[-1]) if suffixes else None
    kind = suffixes[-2] if packing and len(suffixes) > 1 else (suffixes[-1] if suffixes and not packing else "")
    with _opened(path, packing) as file:
        if kind in TEXTS:
            yield _text(file, key)
        else:
            yield from _READERS.get(kind, _lines)(file)


def _text(file: BinaryIO, key: str) -> Record:
    data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        return Record(1, UnreadableRow("AGB-I19", f"a text of more than {MAX_TEXT_BYTES // 2**20} MiB"))
    try:
        return Record(1, {"key": key, "text": data.decode("utf-8-sig")})
    except UnicodeDecodeError as error:
        what = f"a text that is not valid UTF-8 at byte {error.start + 1}. Save it as UTF-8"
        return Record(1, UnreadableRow("AGB-I08", what))


def _lines(file: BinaryIO) -> Iterator[Record]:
    for number, data in read_lines(file, MAX_LINE_BYTES):
        yield Record(number, data, "line")


def _csv(delimiter: str) -> Callable[[BinaryIO], Iterator[Record]]:
    def read(file: BinaryIO) -> Iterator[Record]:
        csv.field_size_limit(MAX_LINE_BYTES)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        taken: list[str] = []
        table = csv.reader(_noted(text, taken), delimiter=delimiter, strict=True)
        header = next(table, None)
        if header is None:
            return
        _ensure_distinct(header)
        while True:
            first = table.line_num + 1
            taken.clear()
            try:
                values = next(table, None)
            except csv.Error as error:
                # The reader goes on with the next line.
                yield Record(first, _misquoted(error, first, table.line_num, taken), "line")
                continue
            if values is None:
                return
            if not values:
                continue
            # A row of another length would put values under wrong names, so it is not taken for columns at all.
            columns = dict(zip(header, values, strict=True)) if len(values) == len(header) else {}
            yield Record(table.line_num, columns, "line")

    return read


def _noted(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _misquoted(error: csv.Error, first: int, last: int, taken: list[str]) -> UnreadableRow:
    """A row with a quotation mark where none may be.

    A quote that is never closed has taken the rest of the file. No row of that may be left out in silence.
    """
    if "unexpected end" in str(error):
        raise _DamageError(
            "AGB-I26", f"cannot be read: a quotation mark in the row of line {first} is never closed"
        )
    return UnreadableRow("AGB-I26", f"a bad quotation mark on line {last} ({error})", "".join(taken).encode())


def _parquet(file: BinaryIO) -> Iterator[Record]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise _DamageError("AGB-C11", 'needs pyarrow: install "airflow-provider-batch[parquet]"') from None
    number = 0
    table = parquet.ParquetFile(file)
    _ensure_distinct(table.schema_arrow.names)
    for batch in table.iter_batches(batch_size=PARQUET_ROWS):
        for row in rows_of(batch):
            number += 1
            yield Record(number, cast(Mapping[str, object], row))


_READERS: dict[str, Callable[[BinaryIO], Iterator[Record]]] = {
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _parquet,
}


class _DamageError(Exception):
    def __init__(self, code: str, what: str) -> None:
        self.code = code
        self.what = what
        super().__init__(what)


def _ensure_distinct(columns: list[str]) -> None:
    if (what := same_names(columns)) is not None:
        raise _DamageError("AGB-I26", what)


@contextmanager
def _opened(path: UPath, packing: str | None) -> Iterator[BinaryIO]:
    """Open, unpack, and turn each failure while reading into an error about the file."""
    name = str(path)
    local = local_path(path)
    try:
        before = local.stat() if local is not None else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            raise _unusable(name, "AGB-I23", "is not a regular file")
        with opened(path) as file:
            yield _unpacked(file, packing)
        after = local.stat() if local is not None else None
    except FileNotFoundError:
        raise _unusable(name, "AGB-I24", "does not exist") from None
    except PermissionError:
        raise _unusable(name, "AGB-I24", "may not be read by this task") from None
    except _DamageError as damage:
        raise _unusable(name, damage.code, damage.what) from None
    except UnicodeDecodeError as error:
        # Its text holds what could not be decoded.
        raise _unusable(name, "AGB-I08", f"is not UTF-8 ({error.reason}). Save it as UTF-8") from None
    except (OSError, EOFError, csv.Error, ValueError, KeyError) as error:
        raise _unusable(name, "AGB-I26", f"cannot be read ({type(error).__name__}: {str(error)[:200]})") from None
    if before and after and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _unusable(
            name,
            "AGB-I22",
            f"changed while it was read (size {before.st_size} -> {after.st_size}). Write it under another name "
            "and rename it when it is complete",
        )


def _unpacked(file: BinaryIO, packing: str | None) -> BinaryIO:
    if packing is None:
        return file
    from fsspec.compression import compr

    if packing not in compr:
        raise _DamageError("AGB-I04", f"is packed with {packing}, for which no library is installed")
    return cast(BinaryIO, io.BufferedReader(compr[packing](file, mode="rb"), READ_BYTES))


def _unusable(name: str, code: str, what: str) -> InputError:
    return InputError(f"{name} {what}.", source=name, code=code, remedy=_REMEDY)
