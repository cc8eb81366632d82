"""What disks and object stores raise, as errors of this package, with a code and a remedy."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_batch.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WORDS = {
    errno.ENAMETOOLONG: "a name is longer than the file system takes",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "access is denied",
}


@contextmanager
def coded_storage_errors() -> Iterator[None]:
    """Give each error that a file system raises a code and a remedy.

    :raises StorageError: A file could not be read or written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        # Keys are kept in a temporary database.
        raise _coded(f"{error}, in the folder for temporary files, {tempfile.gettempdir()}") from error
    except OSError as error:
        raise _coded(_words(error)) from error


def _words(error: OSError) -> str:
    where = f": {str(error.filename)[:300]}" if error.filename else f" ({type(error).__name__})"
    if error.errno in _FULL:
        place = f"{where}; the folder for temporary files is {tempfile.gettempdir()}"
        return f"no space is left{place}"
    return f"{_WORDS.get(error.errno or 0) or error.strerror or str(error)[:300]}{where}"


def _coded(what: str) -> StorageError:
    return StorageError(
        f"A file could not be read or written: {what}.",
        code="AGB-L05",
        remedy="Jobs run on, and their results stay on the server for 48 h after their end. Correct the cause "
        "and run the task again: nothing is paid for twice.",
    )
