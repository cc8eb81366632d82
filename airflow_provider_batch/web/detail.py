"""Everything about one batch: its ledger, its receipts, and why rows have no answer."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice

import msgspec
from upath import UPath

from airflow_provider_batch.airflow_compat import object_path
from airflow_provider_batch.batch.cost.receipts import JobReceipt, no_prices
from airflow_provider_batch.batch.cost.ways import receipts_of_calls
from airflow_provider_batch.batch.land.publish import JOBS_FILE
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import TRIAL_ROUND, TrialForecast
from airflow_provider_batch.batch.ledger.history import history
from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard, read_batch
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.state_words import Standing, by_ledger, of_shard
from airflow_provider_batch.errors import BatchError, LedgerError
from airflow_provider_batch.rows.causes import read_causes
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import opened
from airflow_provider_batch.web.bounded import Bounded, TookTooLongError
from airflow_provider_batch.web.views import Row

MOST_SHARDS = 500
MOST_RECEIPTS = 2000

Receipts = dict[object, JobReceipt]
"""By the name of the job, or by round and tier of single calls."""

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
        "trial": _trial(ledger, batch),
        "phase": _phase(batch),
    }
    places = {"Folder": row.folder, "Ledger": row.ledger}
    manifest = Manifest.read(folder, ledger.folder)
    if manifest is None:
        return found | {"places": places}
    results = {"Results": manifest.result_uri, "Failed rows": manifest.failed_uri}
    results["Quarantine"] = manifest.quarantine_uri
    places |= {name: uri for name, uri in results.items() if uri}
    return found | {"places": places, "bill": _bill(manifest)} | _causes(folder, manifest)


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


def _trial(ledger: Ledger, batch: BatchState) -> dict[str, object] | None:
    """The estimate by the trial, None if there is none."""
    if batch.trial is None:
        return None
    forecast = ledger.read(names.name_of(names.FORECAST, TRIAL_ROUND), TrialForecast)
    return None if forecast is None else forecast.model_dump(mode="json", exclude={"batch", "at"})


def _phase(batch: BatchState) -> str:
    """In words, where single calls are made now."""
    standing = by_ledger(batch)
    return standing.value if standing in (Standing.TRYING, Standing.RESCUING) else ""


def _bill(manifest: Manifest) -> dict[str, object] | None:
    """What came by single calls, None if there were none."""
    figures = {"ways", "rescue_extra_usd", "lost_calls", "called_again", "jobs_left_running"}
    return None if manifest.ways is None else manifest.model_dump(mode="json", include=figures)


def _rounds(batch: BatchState, receipts: Receipts) -> list[dict[str, object]]:
    room = MOST_SHARDS
    rounds: list[dict[str, object]] = []
    for round_ in batch.rounds:
        shards = [_shard(shard, receipts, is_live=round_.is_live) for shard in islice(round_.shards, room)]
        room -= len(shards)
        rounds.append(
            {
                "number": round_.number,
                "kind": round_.plan.kind.value,
                "calls": _calls(batch, round_, receipts),
                "rows": sum(shard.plan.rows for shard in round_.shards),
                "cancelled": round_.cancel is not None,
                "shards": shards,
                "left_out": len(round_.shards) - len(shards),
            }
        )
    return rounds


def _calls(batch: BatchState, called: Round, receipts: Receipts) -> list[dict[str, object]]:
    """What the single calls of a round have brought so far, by tier. The cost is there once it is published."""
    landed = [shard.landed for shard in called.shards if shard.landed and called.is_live]
    lines = receipts_of_calls(called, landed, batch.plan.model, no_prices)
    return [_call_line(line, receipts.get((called.number, line.way))) for line in lines]


def _call_line(line: JobReceipt, published: JobReceipt | None) -> dict[str, object]:
    return {
        "way": line.way,
        "rows": line.rows,
        "lost_calls": line.lost_calls,
        "called_again": line.called_again,
        "assumed": line.assumed,
        "cost_usd": published.cost_usd if published else None,
    }


def _shard(shard: Shard, receipts: Receipts, *, is_live: bool) -> dict[str, object]:
    landed = shard.landed
    job = landed.job if landed else shard.job
    document: dict[str, object] = {
        "number": shard.number,
        "rows": shard.plan.rows,
        "size_bytes": shard.plan.size_bytes,
        "job": job,
        "state": of_shard(shard, is_live=is_live),
    }
    if landed:
        document |= {
            "counts": {status.value: count for status, count in landed.counts.items()},
            "tokens": landed.tokens.model_dump(),
            "error": landed.error[:1000],
        }
    receipt = receipts.get(job)
    if receipt is not None:
        document |= {"cost_usd": receipt.cost_usd, "standard_usd": receipt.standard_usd}
    return document


def _receipts(folder: UPath) -> Receipts:
    """What each job cost, and the calls of each round and tier, once the results are published."""
    decode = msgspec.json.Decoder(JobReceipt).decode
    try:
        with opened(folder / JOBS_FILE) as file:
            receipts = [decode(data or b"") for _, data in islice(read_lines(file), MOST_RECEIPTS)]
    except (OSError, msgspec.MsgspecError):
        return {}
    return {receipt.job or (receipt.round, receipt.way): receipt for receipt in receipts}
