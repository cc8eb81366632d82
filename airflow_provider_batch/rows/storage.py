"""Files on local disks and object storage: read fast, written so that readers see all or nothing.

Writing on a local disk: a hidden part file beside the target is synced, then renamed over the target. On object
storage: a temporary local file is uploaded under the final name when it is complete. A store publishes at the end
of an upload. And fsspec would also publish a half-written file whose writer failed.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from upath import UPath

log = logging.getLogger(__name__)

READ_BYTES = 1024 * 1024
"""Read-ahead, bytes."""

MAX_BEHIND = 4
"""Pieces that wait to be written."""

PIECE_BYTES = 1024 * 1024
"""Of one piece, bytes: to hand over a small one costs more than to write it."""


def path_of(uri: str) -> UPath:
    """The path that a URI names, opened as Airflow does where Airflow runs: a connection in it is looked up.

    Airflow is not imported for that. In a task it is there.
    """
    airflow = sys.modules.get("airflow.sdk")
    return cast(UPath, UPath(uri) if airflow is None else airflow.ObjectStoragePath(uri))


@contextmanager
def published(target: UPath) -> Iterator[BinaryIO]:
    """Yield a binary file to write. It appears at ``target`` if the block ends without an exception."""
    local = local_path(target)
    if local is not None:
        local.parent.mkdir(parents=True, exist_ok=True)
        with _part_file(local.parent, f".{local.name}.") as (part, name):
            yield part
            part.flush()
            os.fsync(part.fileno())
            Path(name).replace(local)
        return
    with _part_file(None, "airflow-provider-batch-") as (part, _):
        yield part
        try:
            _copy(part, target)
        except FileNotFoundError:
            # Only some file systems have folders. Where they mean nothing, making one can ask for more rights.
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(part, target)


def _copy(part: BinaryIO, target: UPath) -> None:
    part.seek(0)
    with target.open("wb") as remote:
        shutil.copyfileobj(part, remote, READ_BYTES)


@contextmanager
def _part_file(folder: Path | None, prefix: str) -> Iterator[tuple[BinaryIO, str]]:
    """A new file, mode 0600 as model answers may be private, removed afterwards if it is still there."""
    with tempfile.NamedTemporaryFile(
        "w+b", READ_BYTES, dir=folder, prefix=prefix, suffix=".part", delete=False
    ) as part:
        try:
            yield cast(BinaryIO, part), part.name
        finally:
            Path(part.name).unlink(missing_ok=True)


class Behind:
    """Writes to a file in a thread. So the next bytes are made while the system takes the last ones.

    Use as a context manager. The file must not be used by other code meanwhile.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[int]] = deque()
        self._piece = bytearray()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._thread:
            if kind is None:
                self._hand_over()
            while self._waiting and kind is None:
                self._waiting.popleft().result()

    def write(self, data: bytes) -> None:
        """Take bytes. Waits if too much is not written yet.

        :raises OSError: Writing failed, of these or of earlier bytes.
        """
        self._piece += data
        if len(self._piece) >= PIECE_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        if len(self._waiting) == MAX_BEHIND:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._file.write, self._piece))
        self._piece = bytearray()


@contextmanager
def opened(path: UPath) -> Iterator[BinaryIO]:
    """Open for reading, buffered. Local files are read directly, past Airflow's per-call tracking wrapper.

    :raises FileNotFoundError: The file does not exist.
    :raises OSError: It is a pipe, a device or a folder: to open one could wait for ever.
    """
    local = local_path(path)
    if local is not None:
        with _regular(local) as file:
            yield file
        return
    with path.open("rb") as remote:
        yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, remote), READ_BYTES))


def _regular(path: Path) -> BinaryIO:
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    try:
        kind = os.fstat(number).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
        if not stat.S_ISREG(kind):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        return os.fdopen(number, "rb", READ_BYTES)
    except OSError:
        os.close(number)
        raise


def created(target: UPath, data: bytes) -> bool:
    """Write a small file unless there is one of that name. True if it is this one now.

    Of any number of writers at the same moment, one gets True. On a local disk a hard link decides. Elsewhere the
    store's conditional write decides, such as ``If-None-Match`` on S3 or ``ifGenerationMatch=0`` on GCS. fsspec
    calls that write ``mode="create"``. A write whose answer was lost is recognised by what is there afterwards.

    :raises OSError: The store failed, also when asked again.
    """
    local = local_path(target)
    if local is not None:
        return _created_locally(local, data)
    for wait_s in (0.2, 1.0, 3.0, None):
        try:
            target.fs.pipe_file(target.path, data, mode="create")
        except FileExistsError:
            return target.read_bytes() == data
        except OSError:
            if wait_s is None:
                raise
            time.sleep(wait_s)
        else:
            return True
    return False


def _created_locally(target: Path, data: bytes) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _part_file(target.parent, f".{target.name}.") as (part, name):
        part.write(data)
        part.flush()
        os.fsync(part.fileno())
        try:
            os.link(name, target)
        except FileExistsError:
            return False
    return True


def listed(folder: UPath) -> set[str]:
    """Names of the files in a folder. Empty if the folder does not exist. Never from a cache."""
    local = local_path(folder)
    try:
        if local is not None:
            return {path.name for path in local.iterdir() if not path.name.startswith(".")}
        folder.fs.invalidate_cache()
        return {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def local_path(path: UPath) -> Path | None:
    """The path on this machine, None for object storage."""
    return Path(path.path) if path.protocol in ("", "file", "local") else None


@contextmanager
def spool(near: UPath | None = None) -> Iterator[BinaryIO]:
    """A private temporary file on local disk that disappears with the block, also if the process is killed.

    :param near: Where :func:`keep` may put it: it is made on that file system if that is a local one.
    """
    with _nameless(near) as file:
        yield file


def keep(file: BinaryIO, target: UPath) -> None:
    """Publish a whole spool in place of what is there. Where the system can give it a name, nothing is copied."""
    with ready(file, target) as put_in_place:
        put_in_place()


@contextmanager
def ready(file: BinaryIO, target: UPath, twin: UPath | None = None) -> Iterator[Callable[[], object]]:
    """A whole file beside its target, synced. Yields the call that puts it in place, in one step.

    On object storage the step is the upload, which shows when it is complete.

    :param file: Open for reading, and for as long as the block lasts.
    :param twin: The same file by its path, if it is never changed. On the same local disk it gets a second name,
        and nothing is copied.
    """
    there = local_path(target)
    if there is None:
        yield partial(_put, file, target)
        return
    there.parent.mkdir(parents=True, exist_ok=True)
    part = there.with_name(f".{there.name}.{secrets.token_hex(4)}.part")
    try:
        _name(file, part, None if twin is None else local_path(twin))
        yield partial(part.replace, there)
    finally:
        part.unlink(missing_ok=True)


def _put(file: BinaryIO, target: UPath) -> None:
    file.seek(0)
    with published(target) as part:
        shutil.copyfileobj(file, part, READ_BYTES)


def _name(file: BinaryIO, part: Path, twin: Path | None) -> None:
    """Give a file its name on a local disk, by a link if that can be."""
    try:
        if twin is not None:
            os.link(twin, part)
            return
        file.flush()
        os.fsync(file.fileno())
        # With a folder's descriptor Python asks for linkat, which follows the link to the nameless file.
        os.link(f"/proc/self/fd/{file.fileno()}", part, src_dir_fd=file.fileno(), follow_symlinks=True)
    except (OSError, NotImplementedError):
        log.debug("%s is copied: its file system cannot give a file a second name.", part)
        file.seek(0)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            shutil.copyfileobj(file, out, READ_BYTES)
            out.flush()
            os.fsync(out.fileno())


def _nameless(near: UPath | None) -> BinaryIO:
    folder = None if near is None else local_path(near)
    if folder is not None and hasattr(os, "O_TMPFILE"):
        folder = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        try:
            return os.fdopen(os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600), "w+b")
        except OSError:
            log.debug("%s has no nameless files; the rows are put into the folder for temporary files.", folder)
    return cast(BinaryIO, tempfile.TemporaryFile("w+b", prefix="airflow-provider-batch-"))
