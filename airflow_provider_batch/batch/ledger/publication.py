"""What a ledger says of the publication of results, and of what is gone since."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_batch.batch.ledger.documents import Document


class Publishing(Document):
    """``r<round>.publishing.<owner>.json``: a visit begins to put results in place of those that are there.

    If it was not finished, its writer may wake up later and go on. A visit that publishes after it keeps what is
    needed to publish once more.

    :param machine: Where the writer runs, as far as its process can be looked up from there.
    :param process: Number of the writer's process.
    """

    at: datetime
    machine: str = ""
    process: int = 0


class Published(Document):
    """``r<round>.published.json``: the results of all rounds so far are in the result folder.

    :param by: Owner of the note ``publishing`` that it ends. Empty in ledgers of earlier versions.
    """

    at: datetime
    by: str = ""


class Tidied(Document):
    """``r<round>.tidied.json``: what is not needed after the publication is deleted."""

    at: datetime


class Retired(Document):
    """``_ledger/retired/<task instance>.json``: landed jobs whose results a later run has replaced."""

    at: datetime
    jobs: tuple[str, ...]
