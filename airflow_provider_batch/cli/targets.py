"""What a command is about: a job by its name, or a batch by its result folder. Nothing else names either."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_batch.cli.access import open_folder
from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from upath import UPath

_JOB = "batches/"

NEEDED = "Give the result folder of a batch, or the name of a job, batches/..., as airflow-batch list shows them."


def is_job(target: str) -> bool:
    """The name of a job. Everything else is a path. ``./batches/a`` is one.

    :raises ConfigError: It begins as the name of a job does, and cannot be one.
    """
    if not target.startswith(_JOB):
        return False
    if not re.fullmatch(r"[A-Za-z0-9_-]+", target.removeprefix(_JOB)):
        raise _wrong(
            f"{target!r} is no name of a job, which looks like batches/abc123", f"A folder is ./{target}. {NEEDED}"
        )
    return True


def result_folder(open_path: Callable[[str, str], UPath], target: str) -> UPath:
    """The result folder that is meant.

    :raises ConfigError: It is the name of something else, or a file.
    """
    from airflow_provider_batch.batch.ledger.job_names import JobTag

    if JobTag.read(target):
        raise _wrong(
            f"{target!r} is the display name of a job",
            f"airflow-batch list --prefix {target.partition(' ')[0]} shows the job's name. {NEEDED}",
        )
    folder = open_folder(open_path, target, "DIR")
    if "://" not in target and Path(folder.path).is_file():
        raise _wrong(f"{target!r} is a file, not a result folder", f"Its folder is {folder.parent}. {NEEDED}")
    return folder


def ensure_no_job(target: str, what: str) -> None:
    """Make sure that a path is none that ``wait``, ``show`` and ``cancel`` would take for a job.

    :raises ConfigError: It is.
    """
    if target.startswith(_JOB):
        raise _wrong(f"{what} {target!r} reads as the name of a job", f"If a path is meant, give ./{target}.")


def ensure_rows(file: str) -> None:
    """Make sure that a FILE of rows is neither a job nor a result folder.

    :raises ConfigError: It is.
    """
    from airflow_provider_batch.batch.ledger.store import FOLDER

    if not Path(file).exists():
        ensure_no_job(file, "FILE")
    elif (Path(file) / FOLDER).is_dir():
        raise _wrong(
            f"FILE {file!r} is the result folder of a batch",
            "Give the file of its rows, and the folder as --result-path; or its failed.jsonl, and another folder.",
        )


def _wrong(what: str, remedy: str) -> ConfigError:
    return ConfigError(f"{what}.", code="AGB-C08", remedy=remedy)
