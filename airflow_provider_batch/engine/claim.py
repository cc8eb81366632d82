"""A result folder belongs to one task instance at a time, and holds the keys of the rows that it sent.

The claim is one file, ``requests.<digest>.keys``: who, then one key a line. It is written before the upload,
because landing may happen on another machine and no job may exist whose rows are not known. It stays beside
the landed results, so that they can be landed again.

Two task instances with one folder would replace each other's paid results. Each writes its claim first and
looks for others afterwards, so of two at the same moment at most one goes on.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from upath import UPath

from airflow_provider_batch.engine.identity import Identity, identity_mark
from airflow_provider_batch.errors import BatchError, ConfigError
from airflow_provider_batch.rows.framing import read_lines
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.storage import opened, published

_PREFIX, _SUFFIX = "requests.", ".keys"


class Claim:
    """The claim of one task instance on a folder.

    :param folder: Where its results will be.
    :param mark: The digest of the task instance, as in the display names of its jobs.
    """

    def __init__(self, folder: UPath, mark: str) -> None:
        self._folder = folder
        self._mark = mark
        self.path = folder / f"{_PREFIX}{mark}{_SUFFIX}"

    @classmethod
    def of_job(cls, folder: UPath, display_name: str) -> Claim:
        """The claim under which a job was submitted."""
        return cls(folder, identity_mark(display_name))

    def take(self, identity: Identity, keys: KeyTable) -> None:
        """Write the claim, then make sure that no other task instance has one.

        :raises ConfigError: Another one has; this claim is taken back.
        """
        self.take_again(identity, keys)
        try:
            self._ensure_alone(identity)
        except BaseException:
            self.release()
            raise

    def take_again(self, identity: Identity, keys: KeyTable) -> None:
        """Write the claim for a job that exists: what was paid for is landed, whoever else is there."""
        with published(self.path) as file:
            file.write(msgspec.json.encode(identity) + b"\n")
            for key in keys.outstanding():
                file.write(msgspec.json.encode(key) + b"\n")

    def release(self) -> None:
        """Give the folder up: no results will come."""
        self.path.unlink(missing_ok=True)

    def keys(self, expected: int, into: KeyTable) -> None:
        """Read the keys back.

        :param expected: How many there must be.
        :raises BatchError: They are gone, unreadable or not so many.
        """
        try:
            with opened(self.path) as file:
                lines = read_lines(file)
                next(lines, None)
                for number, data in lines:
                    into.add(msgspec.json.decode(data or b"", type=str), number)
        except (FileNotFoundError, msgspec.MsgspecError) as error:
            raise self._lost(type(error).__name__) from None
        if len(into) != expected:
            raise self._lost(f"{len(into)} keys instead of {expected}")

    def retire_previous(self) -> None:
        """Drop the claim whose landed results are about to be replaced."""
        landed = _landed_mark(self._folder)
        if landed not in (None, self._mark):
            (self._folder / f"{_PREFIX}{landed}{_SUFFIX}").unlink(missing_ok=True)

    def _ensure_alone(self, identity: Identity) -> None:
        landed = _landed_mark(self._folder)
        for other in self._others():
            owner = _owner(other)
            done = other.name == f"{_PREFIX}{landed}{_SUFFIX}"
            if done and owner is not None and owner.is_other_run_of(identity):
                continue
            raise ConfigError(
                f"{self._folder} {'holds' if done else 'awaits'} the results of another task instance, "
                f"{owner or other.name}.",
                code="AGB-C09",
                remedy="Nothing was uploaded. Give each task instance a result_path of its own, with {{ run_id }} "
                "and, in mapped tasks, {{ ti.map_index }} in it; or, if nobody wants those results, delete "
                f"{other}.",
            )

    def _others(self) -> Iterator[UPath]:
        for path in self._folder.iterdir():
            if path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX) and path.name != self.path.name:
                yield path

    def _lost(self, what: str) -> BatchError:
        return BatchError(
            f"The keys of the rows, in {self.path}, cannot be used: {what}.",
            code="AGB-L02",
            remedy="The results stay on the server. Clear the submitting task with its input unchanged: it writes "
            "the keys again and goes on with the finished job.",
        )


def _landed_mark(folder: UPath) -> str | None:
    """Whose results the folder holds, None if it holds none."""
    manifest = Manifest.read(folder)
    return identity_mark(manifest.display_name) if manifest is not None else None


def _owner(claim: UPath) -> Identity | None:
    try:
        with opened(claim) as file:
            return msgspec.json.decode(file.readline(), type=Identity)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
