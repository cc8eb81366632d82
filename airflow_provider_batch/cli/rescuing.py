"""``rescue``: the jobs of a batch are asked to end, and the rows that are left are answered by single calls.

The ledger says all that is needed: the model, the rows and the type of the answers. So it works for the batch of a
task as well. Leases in the ledger keep two visits from calling for the same rows.
"""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_batch.cli import printing, targets, views, waiting
from airflow_provider_batch.cli.access import Access, access, prices_of
from airflow_provider_batch.cli.calling import CallProgress, calls_of, ready_time
from airflow_provider_batch.cli.jobs import agreed
from airflow_provider_batch.cli.rows import parsed_usd
from airflow_provider_batch.cli.running import LOOK, STOPPED, log_to_stderr
from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from upath import UPath

    from airflow_provider_batch.batch.cost.budget import Budget
    from airflow_provider_batch.batch.ledger.state import BatchState
    from airflow_provider_batch.batch.ledger.store import Ledger
    from airflow_provider_batch.batch.run import LandedBatch, SubmittedBatch
    from airflow_provider_batch.batch.work import Work
    from airflow_provider_batch.gemini.service import GeminiBatchService

MANY_ATTEMPTS = 1_000_000
"""A person who asks for a rescue wants no count of earlier attempts to stop it."""


def rescue(options: Namespace) -> int:
    """Have the rows answered now that the newest batch has no answer for."""
    from airflow_provider_batch.batch.cost.budget import Budget
    from airflow_provider_batch.batch.decide.deadlines import rows_left
    from airflow_provider_batch.batch.send.start import ensure_payer

    given = access(options)
    log_to_stderr(chatty=True)
    ready_by = ready_time(options)
    budget = Budget(parsed_usd(options.max_cost_usd), prices_of(options, given))
    folder, ledger, batch = _found(options, given)
    ensure_payer(batch, options.account or given.label)
    patience = waiting.WaitLimits.of(options, None)
    progress = CallProgress(budget.prices)
    progress.watch(ledger)
    try:
        with given.service() as service:
            work = replace(_work(options, given, service, (folder, ledger), budget, ready_by), observer=progress)
            if rows_left(batch):
                _ensure_callable(work, batch, budget)
                if not _is_wanted(options, batch):
                    printing.tell("Nothing was cancelled or called.")
                    return LOOK
            return waiting.landed(options, _answered(work, batch, patience))
    except KeyboardInterrupt:
        _tell_stopped(options, ledger, progress)
        return STOPPED


def _found(options: Namespace, given: Access) -> tuple[UPath, Ledger, BatchState]:
    """The newest batch of a result folder, of a ledger, or of a job."""
    from airflow_provider_batch.batch.ledger.store import FOLDER
    from airflow_provider_batch.cli.ledgers import newest

    if targets.is_job(options.target):
        folder = _folder_of_job(options, given)
    else:
        place, is_ledger, _ = options.target.partition(f"/{FOLDER}")
        folder = targets.result_folder(given.open_path, (place or "/") if is_ledger else options.target)
    ledger, batch = newest(folder)
    if targets.is_job(options.target) and options.target not in batch.jobs:
        raise ConfigError(
            f"{options.target} is of an earlier batch in {folder}, which others have taken the place of.",
            code="AGB-C08",
            remedy=f"Nothing was cancelled. To rescue the newest batch there, give {folder}.",
        )
    return folder, ledger, batch


def _folder_of_job(options: Namespace, given: Access) -> UPath:
    """The result folder whose ledger knows a job."""
    from airflow_provider_batch.batch.ledger.state import read_batch
    from airflow_provider_batch.batch.sweep import find_ledgers

    root = targets.result_folder(given.open_path, options.below)
    for ledger in find_ledgers(root):
        if options.target in read_batch(ledger).jobs:
            return ledger.folder.parent.parent.parent
    raise ConfigError(
        f"No ledger below {root} knows {options.target}, so its rows are not known.",
        code="AGB-C08",
        remedy="Nothing was cancelled. Give the result folder of its batch, or --below a folder above it.",
    )


def _work(
    options: Namespace,
    given: Access,
    service: GeminiBatchService,
    place: tuple[UPath, Ledger],
    budget: Budget,
    ready_by: float | None,
) -> Work:
    from airflow_provider_batch.batch.assemble import to_land, within
    from airflow_provider_batch.batch.decide.deadlines import rescue_needs_s
    from airflow_provider_batch.batch.ledger.state import read_batch
    from airflow_provider_batch.contract import MAX_TIMEOUT_S
    from airflow_provider_batch.gemini.rows.dialect import GeminiRows

    folder, ledger = place
    work = to_land(
        service,
        ledger,
        folder,
        # The rows were checked before they were sent.
        GeminiRows(allow_unknown_fields=True, with_files=True),
        prices=budget.prices,
        # Without a time to be ready by, the jobs are late already.
        timeout_s=0.0 if ready_by is None else MAX_TIMEOUT_S,
        calls=within(calls_of(options, given), budget),
        at_timeout="answer",
        ready_by=ready_by,
    )
    if ready_by is not None and time.time() >= ready_by - rescue_needs_s(read_batch(ledger), work.policy):
        # The jobs get no time of their own any more: a person has said that they are late.
        work = replace(work, policy=replace(work.policy, timeout_s=0.0))
    files = options.media_path
    return replace(work, files=given.open_path(str(Path(files)), "--media-path") if files else None)


def _ensure_callable(work: Work, batch: BatchState, budget: Budget) -> None:
    from airflow_provider_batch.batch.send.before_calls import ensure_may_call

    ensure_may_call(work.service, batch, budget.prices, budget.max_usd, has_files=work.files is not None)


def _is_wanted(options: Namespace, batch: BatchState) -> bool:
    """Say what is about to happen, and ask."""
    from airflow_provider_batch.batch.decide.deadlines import rows_left
    from airflow_provider_batch.cli.ledgers import OWNER, owner_of

    if batch.plan.identity.dag_id != OWNER:
        printing.tell(
            f"This is the batch of {owner_of(batch)}. If a task still works on it, leases in the ledger keep both "
            "from calling for the same rows, and the task finds what lands here."
        )
    jobs = batch.round.open_jobs
    ends = f"Ask {', '.join(jobs)} to end, and have" if jobs else "Have"
    rows, most = printing.counted(rows_left(batch), "row"), _most_usd(options, batch)
    plan = f"{ends} up to {rows} answered by single calls ({' then '.join(options.tiers)}, {most})"
    if options.yes:
        printing.tell(f"To do: {plan[0].lower()}{plan[1:]}.")
    printing.tell(
        "Ctrl-C stops: what is answered by then is noted, and calls under way are waited for. A second Ctrl-C "
        "does not wait for them."
    )
    return bool(options.yes) or agreed(f"{plan}?")


def _most_usd(options: Namespace, batch: BatchState) -> str:
    """What the calls may cost, by the estimate that was made before the batch was sent."""
    from airflow_provider_batch.batch.decide.deadlines import rows_left

    estimate = batch.plan.estimate
    dear = "standard" in options.tiers
    span = None if estimate is None else estimate.standard_usd if dear else estimate.batch_usd
    limit = f", and --max-cost-usd is {options.max_cost_usd}" if options.max_cost_usd else ""
    if span is None or span.most is None:
        return f"the most that they may cost is not known{limit}"
    return f"USD {span.most * rows_left(batch) / batch.plan.rows:,.4f} at most{limit}"


def _answered(work: Work, batch: BatchState, patience: waiting.WaitLimits) -> LandedBatch | SubmittedBatch:
    """Visit the batch until its rows are answered. Those of a published batch get a round of their own."""
    from airflow_provider_batch.batch.decide.rows_again import left_for_calls
    from airflow_provider_batch.batch.run import LandedBatch

    again = replace(work, policy=replace(work.policy, is_new_try=True, max_row_attempts=MANY_ATTEMPTS))
    if batch.round.published:
        return waiting.go_on(again if left_for_calls(batch) else work, patience)
    result = waiting.go_on(work, patience)
    # A person, or the task of the batch, may have ended it and published what there was.
    is_done = not isinstance(result, LandedBatch) or result.batch.round.is_live or not left_for_calls(result.batch)
    return result if is_done else waiting.go_on(again, patience)


def _tell_stopped(options: Namespace, ledger: Ledger, progress: CallProgress) -> None:
    from airflow_provider_batch.batch.ledger.state import read_batch

    batch = read_batch(ledger)
    jobs = batch.round.open_jobs
    asked = "asked to end" if batch.round.cancel else "not asked to end"
    noted = f" ({progress.answered:,} of {printing.counted(progress.total, 'row')})" if progress.total else ""
    ends = f" {', '.join(jobs)} {'was' if len(jobs) == 1 else 'were'} {asked}." if jobs else ""
    printing.tell(
        f"\nStopped. What single calls have answered is noted{noted}.{ends} "
        f"{views.command(options, 'rescue', options.target)} goes on, and pays for no answer again."
    )
