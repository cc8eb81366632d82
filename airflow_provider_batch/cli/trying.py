"""``estimate --trial``: some rows are answered for money, and say what all will come to. Nothing of it is kept.

The trial is that of a batch, on a ledger in a folder for temporary files. So its rows are chosen, called, checked
and judged as those of ``submit --trial`` are. Only the batch does not follow.
"""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from airflow_provider_batch.cli import printing, rows, waiting
from airflow_provider_batch.cli.calling import CallProgress, calls_of
from airflow_provider_batch.cli.running import STOPPED, WELL

if TYPE_CHECKING:
    from airflow_provider_batch.batch.ledger.state import BatchState
    from airflow_provider_batch.batch.send.spec import BatchSpec
    from airflow_provider_batch.batch.work import Calling, Work
    from airflow_provider_batch.cli.access import Access
    from airflow_provider_batch.contract_calls import Tier
    from airflow_provider_batch.gemini.rows.form import RequestForm

TRIAL_S = 2 * 3600.0
"""For how long the rows of a trial are called at most, seconds. As in a task."""

SHOWN_ROWS = 10
"""Of a trial, for people. ``--json`` has all."""

NOT_KEPT = "The answers of this trial are not kept: submit --trial calls for its rows anew, and keeps them."


def estimate_by_trial(options: Namespace, given: Access, asked: RequestForm, spec: BatchSpec) -> int:
    """Call the rows of a trial, show them, and say what all rows will come to.

    :raises TrialError: Too few of them have a usable answer, or all rows may cost too much.
    """
    with _opened(options, given, asked, spec) as work:
        tell_most(work)
        try:
            return _tried(options, work)
        except KeyboardInterrupt:
            printing.tell(f"\nStopped. The trial has cost {_in_words(_spent(work))} so far. {NOT_KEPT}")
            return STOPPED


@contextmanager
def _opened(options: Namespace, given: Access, asked: RequestForm, spec: BatchSpec) -> Iterator[Work]:
    """The batch of the trial, in a folder that is gone afterwards."""
    from upath import UPath

    from airflow_provider_batch.batch.assemble import to_send
    from airflow_provider_batch.batch.decide.policy import Policy
    from airflow_provider_batch.batch.send.start import ledger_for

    intake = rows.intake(options, asked, options.file, given.open_path)
    progress = CallProgress(spec.budget.prices)
    with tempfile.TemporaryDirectory() as folder, given.service() as service:
        spec = replace(spec, folder=UPath(folder) / "trial", trial_rows=options.trial, trial_s=TRIAL_S)
        ledger = ledger_for(service, spec, intake, asked.dialect())
        progress.watch(ledger)
        yield to_send(
            spec,
            service,
            ledger,
            asked.dialect(),
            Policy(may_send=False),
            files=asked.media_folder,
            observer=progress,
            calls=calls_of(options, given),
        )


def tell_most(work: Work) -> None:
    """Say what the trial of a batch may cost, before it begins."""
    from airflow_provider_batch.batch.ledger.kept_rows import requests_of
    from airflow_provider_batch.batch.ledger.state import read_batch

    batch = read_batch(work.ledger)
    if batch.trial is None or work.calls is None or not batch.trial.open_shards:
        return
    shards, tiers = batch.trial.open_shards, work.calls.rules.tiers
    lines = [line for shard in shards for _, line in requests_of(work.ledger, shard, work.dialect)]
    most = _most_usd(work, batch.plan.model, lines, tiers)
    usd = "and nothing bounds what they cost" if most is None else f"USD {most:,.6f} at most"
    printing.tell(f"trial: {printing.counted(len(lines), 'row')} by single calls ({' then '.join(tiers)}), {usd}")


def _most_usd(work: Work, model: str, lines: Iterable[bytes], tiers: Iterable[Tier]) -> float | None:
    """What single calls for some rows may cost, each in the dearest of the tiers. None if nothing bounds it."""
    from airflow_provider_batch.batch.live.purse import RowCosts

    today = datetime.fromtimestamp(work.service.now(), timezone.utc).date()
    costs = RowCosts(work.prices(model, today), work.service.check_model(model))
    rows_of_trial = map(work.dialect.check_request, lines)
    dearest = [costs.most_usd(row, tier) for row in rows_of_trial for tier in [_dearest(tiers)]]
    return None if None in dearest else sum(usd or 0.0 for usd in dearest)


def _dearest(tiers: Iterable[Tier]) -> Tier:
    from airflow_provider_batch.contract_calls import Tier

    return Tier.STANDARD if Tier.STANDARD in tiers else Tier.FLEX


def _tried(options: Namespace, work: Work) -> int:
    from airflow_provider_batch.batch.live.trial import (
        ensure_usable,
        forecast_of,
        in_words,
        judge,
        shown,
        tried_rows,
    )

    assert work.calls is not None
    batch = _called(work, work.calls)
    trial = batch.trial
    assert trial is not None
    landed = list(tried_rows(work, trial))
    answers = [(row.key, row.status.value, shown(row)) for row in landed]
    cost = _cost(work, batch)
    if not options.json:
        for key, status, text in answers[:SHOWN_ROWS]:
            printing.say(f"trial: {printing.printable(key)[:60]}, {status}: {text}")
    printing.tell(f"The trial of {printing.counted(len(answers), 'row')} has cost {_in_words(cost)}. {NOT_KEPT}")
    judge(work, work.calls, batch)
    counts, empty = Counter(row.status for row in landed), sum(row.is_empty for row in landed)
    ensure_usable(trial, counts, empty, None, _in_words(cost))
    forecast = forecast_of(work, batch, trial, cost)
    estimate = batch.plan.estimate
    assert estimate is not None
    if options.json:
        kept = [{"key": key, "status": status, "text": text} for key, status, text in answers]
        tried = {"rows": kept, "cost_usd": cost, **asdict(forecast)}
        printing.document({"model": batch.plan.model, **asdict(estimate), "trial": tried})
        return WELL
    most = rows.parsed_usd(options.max_cost_usd)
    printing.say("\n".join([*rows.lines_of(estimate, batch.plan.model, most), *in_words(forecast)]))
    return WELL


def _called(work: Work, calls: Calling) -> BatchState:
    """The batch, once its trial has landed. Nothing is published, so the rows of the trial are still at hand."""
    from airflow_provider_batch.batch.ledger.state import read_batch
    from airflow_provider_batch.batch.live.caller import End
    from airflow_provider_batch.batch.live.visit import call_rows, land_called
    from airflow_provider_batch.cli.progress import board

    batch = read_batch(work.ledger)
    patience = waiting.WaitLimits(time.monotonic() + 2 * TRIAL_S, 1.0)
    with board() as shown:
        for shard in batch.trial.open_shards if batch.trial else ():
            while (called := call_rows(work, calls, batch, shard)).until is not None:
                waiting.pause(work.service, (), called.until, patience, shown)
            land_called(work, batch, shard, "" if called.end is End.ALL_ANSWERED else called.end.value)
    return read_batch(work.ledger)


def _cost(work: Work, batch: BatchState) -> float | None:
    """What the trial has cost so far, as far as it is noted, USD."""
    from airflow_provider_batch.batch.cost.receipts import cost_of

    trial = batch.trial
    landed = [shard.landed for shard in trial.shards if shard.landed] if trial else []
    return cost_of(landed, batch.plan.model, work.prices).batch_usd


def _spent(work: Work) -> float | None:
    """What a trial has cost that is still called for, USD."""
    from airflow_provider_batch.batch.ledger.state import read_batch
    from airflow_provider_batch.batch.live.visit import spent_in_notes

    batch = read_batch(work.ledger)
    today = datetime.fromtimestamp(work.service.now(), timezone.utc).date()
    price = work.prices(batch.plan.model, today)
    return None if price is None else spent_in_notes(work, batch, price)


def _in_words(usd: float | None) -> str:
    return "an unknown sum" if usd is None else f"USD {usd:,.6f}"
