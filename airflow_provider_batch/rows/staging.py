r"""Input to a checked local spool: one pass that validates, counts and hashes what will be sent.

Every bad row is found before a byte is uploaded. What is hashed is what is sent: lines are copied as they
are, with one ``\\n`` each and without a byte more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

import msgspec
from upath import UPath

from airflow_provider_batch.errors import InputError
from airflow_provider_batch.rows.dialect import BadRowError, RowDialect
from airflow_provider_batch.rows.framing import MAX_LINE_BYTES, read_lines
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.storage import opened

MAX_FINDINGS = 20
"""Bad rows named in one error. The total is given as well."""

_REMEDY = "Nothing was uploaded or spent. Correct the input and run the task again."

_MAGICS = (
    (b"\xef\xbb\xbf", "AGB-I03", "starts with a UTF-8 byte-order mark; save it as UTF-8 without one"),
    (b"\xff\xfe", "AGB-I03", "looks like UTF-16; convert it to UTF-8"),
    (b"\xfe\xff", "AGB-I03", "looks like UTF-16; convert it to UTF-8"),
    (b"\x1f\x8b", "AGB-I04", "is gzip data, not JSON Lines; unpack it first"),
    (b"PK\x03\x04", "AGB-I04", "is zip data, not JSON Lines; unpack it first"),
    (b"PAR1", "AGB-I04", "is Parquet data, not JSON Lines"),
)


@dataclass(frozen=True)
class Staged:
    """What one pass over the input found.

    :param requests: Number of rows.
    :param size_bytes: Size of the spool, bytes.
    :param sha256: Hex digest of the spool's bytes.
    """

    requests: int
    size_bytes: int
    sha256: str


@dataclass
class _Findings:
    """Bad rows: the first few in words, and how many there are."""

    source: str
    texts: list[str] = field(default_factory=list)
    total: int = 0
    first: tuple[int, str] | None = None

    def add(self, line: int, code: str, what: str, key: str | None) -> None:
        self.total += 1
        self.first = self.first or (line, code)
        if len(self.texts) < MAX_FINDINGS:
            shown = f" (key {_shown(key)})" if key is not None else ""
            self.texts.append(f"{code} line {line}{shown}: {what}")

    def raise_if_any(self) -> None:
        if self.first is None:
            return
        more = f"; and {self.total - len(self.texts)} more" if self.total > len(self.texts) else ""
        count = "1 bad row" if self.total == 1 else f"{self.total} bad rows"
        message = f"{self.source} has {count}: {'; '.join(self.texts)}{more}."
        raise InputError(message, source=self.source, line=self.first[0], code=self.first[1], remedy=_REMEDY)


def stage(source: UPath | list[Mapping[str, Any]], dialect: RowDialect, spool: BinaryIO, keys: KeyTable) -> Staged:
    """Check every row of the input, copy the rows to ``spool`` and the keys to ``keys``.

    :param source: A JSON Lines file, or a short list of rows in the vendor's own format.
    :raises InputError: The file, or any row, cannot be sent. Names up to 20 rows and the total.
    """
    if isinstance(source, list):
        return _copy(BytesIO(_encode(source)), "the list of requests", dialect, spool, keys)
    name = str(source)
    with _opened(source) as file:
        return _copy(file, name, dialect, spool, keys)


def _copy(file: BinaryIO, name: str, dialect: RowDialect, spool: BinaryIO, keys: KeyTable) -> Staged:
    findings = _Findings(name)
    digest = hashlib.sha256()
    requests = size = 0
    for number, data in read_lines(file):
        try:
            key = dialect.check_request(_readable(data, number))
        except BadRowError as bad:
            findings.add(number, bad.code, bad.what, bad.key)
            continue
        if (first_line := keys.add(key, number)) is not None:
            findings.add(number, "AGB-I14", f"the same key as on line {first_line}", key)
            continue
        if not findings.total:
            line = (data or b"") + b"\n"
            spool.write(line)
            digest.update(line)
            requests, size = requests + 1, size + len(line)
    findings.raise_if_any()
    if not requests:
        raise _unusable(name, "AGB-I01", "is empty: a batch needs at least one row")
    return Staged(requests, size, digest.hexdigest())


def _readable(data: bytes | None, number: int) -> bytes:
    """The line, after the checks that need no JSON. The first line also tells what kind of file this is."""
    if data is None:
        raise BadRowError("AGB-I19", f"longer than the limit of {MAX_LINE_BYTES // 2**20} MiB")
    if number == 1:
        for magic, code, what in _MAGICS:
            if data.startswith(magic):
                raise BadRowError(code, f"the file {what}")
        if data.lstrip().startswith(b"["):
            raise BadRowError("AGB-I05", "the file is a JSON array, not JSON Lines; write one object a line")
    if not data.strip():
        raise BadRowError("AGB-I02", "blank; remove the line")
    return data


@contextmanager
def _opened(path: UPath) -> Iterator[BinaryIO]:
    name = str(path)
    if "{{" in name:
        raise _unusable(name, "AGB-I24", "holds a template that was not rendered; is the field templated?")
    if path.is_dir():
        raise _unusable(name, "AGB-I23", "is a directory, not a file")
    try:
        with opened(path) as file:
            yield file
    except FileNotFoundError:
        raise _unusable(name, "AGB-I24", "does not exist") from None
    except PermissionError:
        raise _unusable(name, "AGB-I24", "may not be read by this task") from None


def _encode(rows: Iterable[Mapping[str, Any]]) -> bytes:
    try:
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    except (TypeError, msgspec.MsgspecError) as error:
        raise InputError(
            f"The list of requests holds something that JSON cannot express: {error}.",
            source="the list of requests",
            code="AGB-I12",
            remedy=_REMEDY,
        ) from None


def _unusable(name: str, code: str, what: str) -> InputError:
    return InputError(f"{name} {what}.", source=name, code=code, remedy=_REMEDY)


def _shown(key: str) -> str:
    """A key for a message: escaped, at most 80 characters."""
    text = ascii(key)
    return text if len(text) <= 80 else f"{text[:76]}...'"
