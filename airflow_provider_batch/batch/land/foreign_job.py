"""A job that another program submitted, as a ledger of its own. From there on it lands as any other job does.

The rows that were sent are not known here. The API gives an uploaded file to no one, so the rows are those that
the results speak of. A line without a key gets its number as the key, from 1. Inline jobs of other clients have no
keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import BinaryIO, cast

import msgspec
from upath import UPath

from airflow_provider_batch.batch.decide.outcome import ensure_succeeded
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import (
    PLAIN_VERSION,
    BatchPlan,
    Layout,
    RoundPlan,
    Superseded,
)
from airflow_provider_batch.batch.ledger.folder_owner import ensure_free
from airflow_provider_batch.batch.ledger.job_names import Identity, JobTag, content_digest, folder_digest
from airflow_provider_batch.batch.ledger.kept_rows import keep_shards
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.ledger.store import Ledger, check_store, generation, generations, note_adopted
from airflow_provider_batch.contract import BatchService, JobSnapshot
from airflow_provider_batch.errors import JobError, ResultsNotReadyError
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.check.shards import ShardLimits, ShardWriter
from airflow_provider_batch.rows.dialect import BadRowError, CheckedRow, LandedRow, RowDialect
from airflow_provider_batch.rows.read.lines import Incoming
from airflow_provider_batch.rows.storage import spool

_NOTHING = (b"null", b'""', b"{}")


@dataclass(frozen=True)
class ForeignJob:
    """What is to be landed where.

    :param identity: The task instance that lands it.
    :param account: Whose credential looks at the job, as a label without a secret.
    :param model: The job's, without ``models/``.
    :param output_schema: JSON Schema of the answers, None = any answer will do.
    """

    identity: Identity
    account: str
    model: str
    folder: UPath
    layout: Layout
    output_schema: dict[str, object] | None = None


class NumberedRows:
    """A dialect that gives result lines without a key their number. Reads one pass over the results.

    :param dialect: The vendor's.
    """

    def __init__(self, dialect: RowDialect) -> None:
        self._dialect = dialect
        self._number = 0

    def check_request(self, line: bytes) -> CheckedRow:
        """As the vendor's dialect."""
        return self._dialect.check_request(line)

    def read_key(self, line: bytes) -> str:
        """As the vendor's dialect. The rows are read before their results, each time that these are fetched."""
        self._number = 0
        return self._dialect.read_key(line)

    def with_addresses(self, line: bytes, address: Callable[..., str]) -> bytes:
        """As the vendor's dialect."""
        return self._dialect.with_addresses(line, address)

    def read_result(self, line: bytes) -> LandedRow:
        """As the vendor's dialect."""
        self._number += 1
        try:
            fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return self._dialect.read_result(line)
        if all(bytes(fields.get(name, b"null")) in _NOTHING for name in ("key", "metadata")):
            fields["key"] = msgspec.Raw(msgspec.json.encode(str(self._number)))
            line = msgspec.json.encode(fields)
        return self._dialect.read_result(line)


def foreign_ledger(service: BatchService, wanted: ForeignJob, job: JobSnapshot, dialect: RowDialect) -> Ledger:
    """The ledger of a job that has ended, begun if there is none. Sends nothing.

    :raises JobError: The job has not ended, or ended without a row.
    :raises ConfigError: The folder belongs to another task instance.
    """
    if not job.state.is_terminal:
        ensure_succeeded(job)
    content = content_digest(hashlib.sha256(job.name.encode()).hexdigest(), wanted.model)
    known = generations(wanted.folder, wanted.identity.task_digest)
    if known and read_batch(known[-1]).plan.content == content:
        return known[-1]
    ensure_free(wanted.folder, wanted.identity)
    check_store(wanted.folder)
    for earlier in known:
        # Another job takes the place of that of an earlier try.
        earlier.put(names.SUPERSEDED, Superseded(at=_now(service), by_content=content))
    ledger = generation(wanted.folder, wanted.identity.task_digest, len(known) + 1)
    _begin(service, wanted, job, ledger, content, dialect)
    return ledger


def _begin(
    service: BatchService, wanted: ForeignJob, job: JobSnapshot, ledger: Ledger, content: str, dialect: RowDialect
) -> None:
    now = _now(service)
    with spool(ledger.folder) as rows:
        writer = ShardWriter(rows, ShardLimits())
        count = _keys(service, job, writer, dialect)
        cuts = writer.close()
        if not count:
            raise _without_rows(job)
        shards = keep_shards(ledger, 1, rows, cuts, wanted.model)
    place = folder_digest(str(wanted.folder))
    # The job has a name of its own. The note has a name that belongs to this ledger.
    task = wanted.identity.task_digest
    name = JobTag(task, place, shards[0].content, ledger.generation, 1, 1, 1).new_display_name()
    ledger.bind(content)
    note_adopted(ledger, 1, job, name, now)
    plan = BatchPlan(
        ledger_version=PLAIN_VERSION,
        identity=wanted.identity,
        account=wanted.account,
        model=wanted.model,
        content=content,
        place=place,
        rows=count,
        size_bytes=sum(shard.size_bytes for shard in shards),
        layout=wanted.layout,
        output_schema=wanted.output_schema,
        first=RoundPlan(shards=tuple(shards), created_at=job.created_at or now, clock_from=job.created_at or now),
    )
    ledger.put(names.PLAN, plan)


def _keys(service: BatchService, job: JobSnapshot, writer: ShardWriter, dialect: RowDialect) -> int:
    """Write a line for each key of the results. Returns how many there are.

    :raises ResultsNotReadyError: What came has fewer lines than the job has finished rows.
    """
    numbered = NumberedRows(dialect)
    came = 0
    with KeyTable() as keys:

        def take(lines: list[bytes | None]) -> None:
            nonlocal came
            for line in lines:
                if line == b"":
                    continue
                came += 1
                try:
                    key: str | None = numbered.read_result(line or b"").key
                except BadRowError as bad:
                    # What cannot be read goes to quarantine when it lands.
                    key = bad.key
                if key and keys.add(key, 0) is None:
                    writer.add(msgspec.json.encode({"key": key}))

        incoming = Incoming(take)
        service.fetch_results(job, cast(BinaryIO, incoming))
        take(incoming.rest())
        _ensure_all(job, came, len(keys))
        return len(keys)


def _ensure_all(job: JobSnapshot, lines: int, keys: int) -> None:
    finished = job.succeeded + job.failed
    if lines < finished or (finished and not keys):
        raise ResultsNotReadyError(
            f"The results that came for {job.name} cannot be right: {lines} lines came, {keys} of them with a "
            f"key of their own, and {finished} rows are finished.",
            job_name=job.name,
            code="AGB-R12",
            remedy="The job and its results are left as they are. Look for a proxy on the way to the API.",
        )


def _without_rows(job: JobSnapshot) -> JobError:
    try:
        ensure_succeeded(job)
    except JobError as error:
        return error
    return JobError(
        f"The results of {job.name} hold no row.",
        job_name=job.name,
        code="AGB-R02",
        remedy="Nothing was landed. airflow-batch download gives the results as the API has them.",
    )


def _now(service: BatchService) -> datetime:
    return datetime.fromtimestamp(service.now(), timezone.utc)
