"""``show``: a job, or the history of a batch."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.cli import printing, targets, views
from airflow_provider_batch.cli.access import access, open_plain
from airflow_provider_batch.cli.running import WELL

if TYPE_CHECKING:
    from airflow_provider_batch.batch.ledger.state import BatchState
    from airflow_provider_batch.batch.ledger.store import Ledger


def show(options: Namespace) -> int:
    """Tell what is known. Of a batch, its ledger alone is read: no network, no key."""
    if not targets.is_job(options.target):
        return _batch(options)
    with access(options).connect() as client:
        view = views.job_view(client.get_batch(options.target))
    if options.json:
        printing.document(view)
    else:
        views.say_job(view)
    return WELL


def _batch(options: Namespace) -> int:
    from airflow_provider_batch.batch.ledger.history import history
    from airflow_provider_batch.batch.state_words import Standing, by_ledger
    from airflow_provider_batch.cli.ledgers import newest, owner_of, shard_view
    from airflow_provider_batch.rows.manifest import Manifest

    open_path = access(options).open_path if options.conn_id else open_plain
    folder = targets.result_folder(open_path, options.target)
    ledger, batch = newest(folder)
    manifest = Manifest.read(folder, ledger.folder)
    plan = batch.plan
    events, left_out = history(ledger)
    standing = by_ledger(batch)
    view: dict[str, Any] = {
        "result_path": str(folder),
        "sent_by": owner_of(batch),
        "state": standing.value,
        "model": plan.model,
        "rows": plan.rows,
        "skipped": plan.skipped,
        "shards": [shard_view(round_, shard) for round_ in batch.rounds for shard in round_.shards],
        "estimate": asdict(plan.estimate) if plan.estimate else None,
        "trial": _trial(ledger, batch),
        "results": manifest.to_xcom() if manifest else None,
        "history": [asdict(event) for event in events],
        "history_left_out": left_out,
        "ledger": str(ledger.folder),
    }
    if options.json:
        printing.document(view)
        return WELL
    _say(view)
    if manifest is not None:
        views.say_results(manifest)
    elif standing in (Standing.REFUSED, Standing.UNSENT, Standing.PARTLY):
        printing.say("next: the same airflow-batch submit again, which goes on with what exists")
    elif standing in (Standing.TRYING, Standing.RESCUING):
        printing.say("next: what has begun the calls goes on with them; run it again if it has stopped")
    elif standing in (Standing.SUBMITTED, Standing.ENDING, Standing.UNPUBLISHED):
        printing.say(f"next: {views.command(options, 'wait', options.target)}")
    return WELL


def _trial(ledger: Ledger, batch: BatchState) -> dict[str, Any] | None:
    """The estimate by the trial, None if there is none."""
    from airflow_provider_batch.batch.ledger import names
    from airflow_provider_batch.batch.ledger.documents import TRIAL_ROUND, TrialForecast

    if batch.trial is None:
        return None
    forecast = ledger.read(names.name_of(names.FORECAST, TRIAL_ROUND), TrialForecast)
    return None if forecast is None else forecast.model_dump(exclude={"batch"})


def _say(view: dict[str, Any]) -> None:
    skipped = f", {view['skipped']:,} left out" if view["skipped"] else ""
    printing.say(f"{view['result_path']}: {view['state']}")
    printing.say(
        f"  {printing.counted(view['rows'], 'row')}{skipped} with {view['model']}, sent by {view['sent_by']}"
    )
    usd = (view["estimate"] or {}).get("batch_usd")
    if usd and usd["most"] is not None:
        printing.say(f"  estimated USD {usd['least']:,.4f} to {usd['most']:,.4f}")
    _say_trial(view["trial"])
    printing.say(f"  ledger {view['ledger']}\n")
    printing.table(
        ("ROUND", "SHARD", "ROWS", "JOB", "STATE", "ANSWERS"),
        [
            (
                shard["round"] or "trial",
                shard["shard"],
                f"{shard['rows']:,}",
                _job_or_calls(shard),
                shard["state"],
                ", ".join(f"{n} {status}" for status, n in sorted(shard["counts"].items())),
            )
            for shard in view["shards"]
        ],
    )
    printing.say("")
    for event in view["history"]:
        text = f": {event['text']}" if event["text"] else ""
        printing.say(f"{printing.moment(event['at'])}  {_part(event)}{event['title']}{text}")
    if view["history_left_out"]:
        printing.say(f"and {printing.counted(view['history_left_out'], 'document')} more, in the ledger")
    printing.say("")


def _say_trial(trial: dict[str, Any] | None) -> None:
    usd = trial and trial["usd"]
    if trial and usd:
        most = "an unknown sum" if usd["most"] is None else f"{usd['most']:,.4f}"
        printing.say(f"  by {trial['rows_tried']} tried rows USD {usd['least']:,.4f} to {most} (95 %)")


def _job_or_calls(shard: dict[str, Any]) -> str:
    if shard["kind"] == "batch":
        return shard["job"] or "-"
    tiers = ", ".join(f"{rows:,} {tier}" for tier, rows in shard["calls"].items())
    lost = f"; {shard['lost_calls']:,} lost" if shard["lost_calls"] else ""
    return f"single calls{f': {tiers}' if tiers else ''}{lost}"


def _part(event: dict[str, Any]) -> str:
    if not event["round"]:
        return ""
    shard = f" shard {event['shard']}" if event["shard"] else ""
    return f"round {event['round']}{shard}: "
