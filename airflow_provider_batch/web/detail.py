"""Everything about one batch: its ledger, its receipts, and why rows have no answer."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice

import msgspec
from upath import UPath

from airflow_provider_batch.airflow_compat import object_path
from airflow_provider_batch.batch.cost.receipts import JobReceipt
from airflow_provider_batch.batch.land.publish import JOBS_FILE
from airflow_provider_batch.batch.ledger.history import history
from airflow_provider_batch.batch.ledger.state import BatchState, Shard, read_batch
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.state_words import of_shard
from airflow_provider_batch.errors import BatchError, LedgerError
from airflow_provider_batch.rows.causes import read_causes
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import opened
from airflow_provider_batch.web.bounded import Bounded, TookTooLongError
from airflow_provider_batch.web.views import Row

MOST_SHARDS = 500
MOST_RECEIPTS = 2000

# Sixteen users with places that do not answer hold all threads. Threads that wait cost next to nothing.
_details = Bounded(threads=32, keep_s=5.0, patience_s=10.0, each=2)


def detail(row: Row, reader: str) -> dict[str, object]:
    """What files say about a batch: fields of :class:`~airflow_provider_batch.web.views.Detail`.

    :param reader: The user, who may keep only some of the threads busy: any XCom can name a folder that is slow.
    """
    try:
        return _details.get(_key(row), lambda: _read(row), reader)
    except TookTooLongError:
        return {"trouble": "The ledger could not be read in time; reload to try again."}
    except BatchError as error:
        return {"trouble": message_for_page(error)}
    except Exception as error:  # noqa: BLE001
        # Stores raise anything. The text of it could hold a credential.
        return {"trouble": f"The ledger cannot be read from the API server ({type(error).__name__})."}


def message_for_page(error: BatchError) -> str:
    """Its message for the user of the page, without the words of a store: they could hold a credential."""
    cause = error.__context__
    if not isinstance(cause, OSError):
        return error.message
    name = type(cause).__name__
    return f"{error.message.partition(f': {name}')[0].rstrip('.')} ({name})."


def forget(row: Row) -> None:
    """Read it anew the next time."""
    _details.forget(_key(row))


def ledger_of(row: Row) -> tuple[Ledger, BatchState]:
    """The ledger of a batch.

    :raises BatchError: It is not reachable from here, or is not of the DAG run that names it. An XCom is easily
        written, and this server may reach more than its writer.
    """
    ledger = Ledger(object_path(row.ledger, "the ledger"))
    try:
        batch = read_batch(ledger)
    except LedgerError as error:
        raise LedgerError(
            f"{message_for_page(error)} The API server must reach the result path to show more.", code=error.code
        ) from None
    whose = batch.plan.identity
    if (whose.dag_id, whose.run_id) != (row.dag_id, row.run_id) or whose.task_digest != row.task_digest:
        raise LedgerError("The ledger is not of this DAG run.", code="AGB-L02")
    return ledger, batch


def _key(row: Row) -> tuple[str, ...]:
    return row.ledger, row.dag_id, row.run_id


def _read(row: Row) -> dict[str, object]:
    ledger, batch = ledger_of(row)
    folder = ledger.folder.parent.parent.parent
    events, left_out = history(ledger)
    receipts = _receipts(folder)
    found: dict[str, object] = {
        "history": [asdict(event) | {"at": event.at.timestamp()} for event in events],
        "left_out": left_out,
        "rounds": _rounds(batch, receipts),
        "estimate": _estimate(batch),
    }
    places = {"Folder": row.folder, "Ledger": row.ledger}
    manifest = Manifest.read(folder, ledger.folder)
    if manifest is None:
        return found | {"places": places}
    results = {"Results": manifest.result_uri, "Failed rows": manifest.failed_uri}
    results["Quarantine"] = manifest.quarantine_uri
    places |= {name: uri for name, uri in results.items() if uri}
    return found | {"places": places} | _causes(folder, manifest)


def _causes(folder: UPath, manifest: Manifest) -> dict[str, object]:
    if not manifest.failed_uri:
        return {}
    try:
        # Where the manifest is, even if it names another folder: any user may have written that file.
        causes = read_causes(folder / manifest.result_uri.rpartition("/")[2])
    except (OSError, ValueError, ImportError, BatchError) as error:
        return {"cause_trouble": f"The results cannot be read from the API server ({type(error).__name__})."}
    return {
        "causes": [asdict(cause) for cause in causes.causes],
        "causes_of": causes.looked_at,
        "causes_are_all": causes.is_all,
    }


def _estimate(batch: BatchState) -> dict[str, object] | None:
    return None if batch.plan.estimate is None else asdict(batch.plan.estimate)


def _rounds(batch: BatchState, receipts: dict[str, JobReceipt]) -> list[dict[str, object]]:
    room = MOST_SHARDS
    rounds = []
    for round_ in batch.rounds:
        shards = [_shard(shard, receipts) for shard in islice(round_.shards, room)]
        room -= len(shards)
        rounds.append(
            {
                "number": round_.number,
                "rows": sum(shard.plan.rows for shard in round_.shards),
                "cancelled": round_.cancel is not None,
                "shards": shards,
                "left_out": len(round_.shards) - len(shards),
            }
        )
    return rounds


def _shard(shard: Shard, receipts: dict[str, JobReceipt]) -> dict[str, object]:
    landed = shard.landed
    job = landed.job if landed else shard.job
    document: dict[str, object] = {
        "number": shard.number,
        "rows": shard.plan.rows,
        "size_bytes": shard.plan.size_bytes,
        "job": job,
        "state": of_shard(shard),
    }
    if landed:
        document |= {
            "counts": {status.value: count for status, count in landed.counts.items()},
            "tokens": landed.tokens.model_dump(),
            "error": landed.error[:1000],
        }
    receipt = receipts.get(job or "")
    if receipt is not None:
        document |= {"cost_usd": receipt.cost_usd, "standard_usd": receipt.standard_usd}
    return document


def _receipts(folder: UPath) -> dict[str, JobReceipt]:
    """What each job cost, once the results are published."""
    decode = msgspec.json.Decoder(JobReceipt).decode
    try:
        with opened(folder / JOBS_FILE) as file:
            receipts = [decode(data or b"") for _, data in islice(read_lines(file), MOST_RECEIPTS)]
    except (OSError, msgspec.MsgspecError):
        return {}
    return {receipt.job: receipt for receipt in receipts}
