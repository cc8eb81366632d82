"""Files that rows name. A file is found below one folder, read once to know its content, and then named by that.

A row says where a file is, such as ``cats/1.jpg``. Checking the row makes that ``cats/1.jpg#sha256=...``. So the
digest of the rows covers what is in the files. A file that has changed since is noticed before it is sent. The
vendor's address of the uploaded file takes its place at the last moment. That address is another one after each
upload.
"""

from __future__ import annotations

import errno
import hashlib
import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from upath import UPath

from airflow_provider_batch.errors import InputError
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.storage import READ_BYTES, local_path, opened

_BAD_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
"""What no file can be named by. Other failures of a store are no fault of the row."""

REMEMBERED = 10_000
"""Files whose content is not read again when another row names them."""

_REFERENCE = re.compile(r"(?P<path>.+)#sha256=(?P<sha256>[0-9a-f]{64})", re.DOTALL)

CODE = "AGB-I18"


class MediaFile(NamedTuple):
    """A file as a checked row names it.

    :param path: Below the folder of the files.
    :param sha256: Hex digest of its content.
    """

    path: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.path}#sha256={self.sha256}"

    @classmethod
    def parse(cls, text: str) -> MediaFile | None:
        """Read what :meth:`__str__` wrote. None if it is something else."""
        found = _REFERENCE.fullmatch(text)
        return cls(found["path"], found["sha256"]) if found and not _leads_out(found["path"]) else None


class FileContent(NamedTuple):
    """What is in a file.

    :param data: All of it, if it is small. Else None.
    :param sha256: Hex digest.
    """

    data: bytes | None
    sha256: str


def _leads_out(path: str) -> bool:
    """It may be outside the folder that it is put below."""
    return path.startswith("/") or "://" in path or ".." in PurePosixPath(path).parts


class MediaFolder:
    """The folder below which rows may name files. Nothing outside it is ever read.

    :param folder: Local or object storage.
    :param inline_up_to: Files of at most so many bytes are given back whole.
    """

    def __init__(self, folder: UPath, inline_up_to: int) -> None:
        self._folder = folder
        self._inline_up_to = inline_up_to
        self._prefixes = [f"{str(start).rstrip('/')}/" for start in (folder, folder.path)]
        self._digest = lru_cache(REMEMBERED)(self._read)

    def relative(self, name: str) -> str:
        """The path below the folder of what a row names.

        :param name: Relative to the folder, or absolute and inside it. A digest of an earlier check is dropped.
        :raises BadRowError: It lies elsewhere.
        """
        digested = _REFERENCE.fullmatch(name)
        path = digested["path"] if digested else name
        for prefix in self._prefixes:
            path = path.removeprefix(prefix)
        if _leads_out(path):
            raise BadRowError(CODE, f"the file {_shown(name)} is not in the media folder")
        return str(PurePosixPath(path))

    def content(self, path: str, max_bytes: int) -> FileContent:
        """Read a file, or remember what it holds.

        :param path: What :meth:`relative` gave.
        :param max_bytes: The largest file that the API takes.
        :raises BadRowError: The file does not exist, is empty, or larger than the API takes.
        """
        sha256 = self._digest(path, max_bytes)
        return self._small(path) if sha256 is None else FileContent(None, sha256)

    def _small(self, path: str) -> FileContent:
        with opened(self._folder / path) as file:
            data = file.read()
        return FileContent(data, hashlib.sha256(data).hexdigest())

    def _read(self, path: str, max_bytes: int) -> str | None:
        """Digest of the file, None if it is small: then its content is wanted, and not to be remembered."""
        self._ensure_plain(path)
        try:
            with opened(self._folder / path) as file:
                size, sha256 = digest_of(file)
        except (FileNotFoundError, NotADirectoryError):
            raise BadRowError(CODE, f"there is no file {_shown(path)} in the media folder") from None
        except (IsADirectoryError, PermissionError) as error:
            raise _unreadable(path, type(error).__name__) from None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _BAD_NAMES:
                raise
            raise _unreadable(path, "its name cannot be one") from None
        if not size:
            raise BadRowError(CODE, f"the file {_shown(path)} is empty")
        if size > max_bytes:
            most = f"{max_bytes / 2**30:g} GiB"
            raise BadRowError(CODE, f"the file {_shown(path)} has {size} bytes. The API takes {most}")
        return None if size <= self._inline_up_to else sha256

    def _ensure_plain(self, path: str) -> None:
        """Links may lead anywhere on this machine, and a pipe would be waited for."""
        folder = local_path(self._folder)
        if folder is None:
            return
        try:
            file = (folder / path).resolve()
            is_other = file.exists() and not file.is_file()
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, OSError) and error.errno not in _BAD_NAMES:
                raise
            raise _unreadable(path, "its name cannot be one, or it is a link to itself") from None
        if not file.is_relative_to(folder.resolve()):
            raise BadRowError(CODE, f"the file {_shown(path)} is a link that leads out of the media folder")
        if is_other:
            raise BadRowError(CODE, f"{_shown(path)} is not a regular file")


def _unreadable(path: str, why: str) -> BadRowError:
    return BadRowError(CODE, f"the file {_shown(path)} cannot be read ({why})")


def digest_of(file: BinaryIO, to: BinaryIO | None = None) -> tuple[int, str]:
    """Size in bytes and hex digest of the rest of a file.

    The rest is copied on the way if there is a place for it.
    """
    digest, size = hashlib.sha256(), 0
    while block := file.read(READ_BYTES):
        digest.update(block)
        size += len(block)
        if to is not None:
            to.write(block)
    return size, digest.hexdigest()


def copy_checked(folder: UPath, media_file: MediaFile, to: BinaryIO) -> int:
    """Copy a file of a checked row. Returns its size in bytes.

    :raises InputError: It is gone, or not what it was when the row was checked.
    """
    try:
        with opened(folder / media_file.path) as file:
            size, sha256 = digest_of(file, to)
    except FileNotFoundError:
        raise _changed(media_file, "is gone") from None
    if sha256 != media_file.sha256:
        raise _changed(media_file, "has changed")
    return size


def _changed(media_file: MediaFile, what: str) -> InputError:
    return InputError(
        f"The file {_shown(media_file.path)} in the media folder {what} since its row was checked.",
        source=media_file.path,
        code="AGB-I22",
        remedy="Nothing was sent for this file. Restore it and run the task again. Or keep the new file, and set "
        'on_content_change="cancel_and_resubmit".',
    )


def _shown(path: str) -> str:
    return ascii(path)[:120]
