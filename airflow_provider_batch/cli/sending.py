"""``submit``: a file as a batch, by the code of the operators.

The result path stands for the task instance. The same command goes on with what it has sent, from any folder it is
run in. A second batch needs a second result path.
"""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_batch.cli import printing, rows, targets, views, waiting
from airflow_provider_batch.cli.access import Access, access, open_folder, prices_of
from airflow_provider_batch.cli.calling import CallProgress, calls_of, ensure_text, ready_time
from airflow_provider_batch.cli.running import STOPPED, WELL, log_to_stderr
from airflow_provider_batch.cli.trying import tell_most
from airflow_provider_batch.errors import ConfigError

if TYPE_CHECKING:
    from airflow_provider_batch.batch.run import LandedBatch, SubmittedBatch
    from airflow_provider_batch.batch.send.spec import BatchSpec
    from airflow_provider_batch.gemini.rows.form import RequestForm


def submit(options: Namespace) -> int:
    """Begin, or go on with what an earlier run began."""
    from airflow_provider_batch.batch.decide.call_rules import trial_s

    targets.ensure_rows(options.file)
    targets.ensure_no_job(options.result_path, "--result-path")
    ensure_text(options)
    _ensure_waits(options)
    ready_by = ready_time(options)
    given = access(options)
    # What was checked, what it will cost and what exists already is worth reading.
    log_to_stderr(chatty=True)
    form = rows.form(options, given.open_path)
    spec = replace(_spec(options, given, form), trial_s=trial_s(ready_by, time.time()))
    patience = waiting.WaitLimits.of(options, None)
    try:
        result = _sent(options, given, form, spec, patience, ready_by)
    except KeyboardInterrupt:
        _tell_stopped(options, patience)
        return STOPPED
    from airflow_provider_batch.batch.run import SubmittedBatch

    if isinstance(result, SubmittedBatch):
        return _submitted(options, spec, result, patience.created)
    return waiting.landed(options, result)


def _spec(options: Namespace, given: Access, form: RequestForm) -> BatchSpec:
    from airflow_provider_batch.batch.cost.budget import Budget
    from airflow_provider_batch.batch.ledger.documents import Layout
    from airflow_provider_batch.batch.ledger.job_names import Identity
    from airflow_provider_batch.batch.send.spec import BatchSpec
    from airflow_provider_batch.cli.ledgers import OWNER
    from airflow_provider_batch.rows.write.parquet import require_pyarrow

    if options.output_format == "parquet":
        require_pyarrow()
    folder = open_folder(given.open_path, options.result_path, "--result-path")
    return BatchSpec(
        identity=Identity(OWNER, "submit", str(folder), deployment=given.deployment),
        account=options.account or given.label,
        model=form.model_name,
        folder=folder,
        limits=rows.limits(options, form, given.max_enqueued_tokens),
        on_content_change=options.on_content_change,
        layout=Layout(format=options.output_format, in_input_order=options.keep_order),
        budget=Budget(rows.parsed_usd(options.max_cost_usd), prices_of(options, given)),
        output=form.output,
        is_strict=options.strict_output,
        trial_rows=options.trial,
    )


def _ensure_waits(options: Namespace) -> None:
    """Make sure that a command that is to be ready by a time waits for it.

    :raises ConfigError: It does not.
    """
    if options.ready_by and not options.wait:
        raise ConfigError(
            "--ready-by needs --wait: a command that has ended makes no single calls.",
            code="AGB-C06",
            remedy="Add --wait. Or leave --ready-by out, and run airflow-batch rescue when it is time.",
        )


def _sent(
    options: Namespace,
    given: Access,
    form: RequestForm,
    spec: BatchSpec,
    patience: waiting.WaitLimits,
    ready_by: float | None,
) -> LandedBatch | SubmittedBatch:
    from airflow_provider_batch.batch.assemble import to_send
    from airflow_provider_batch.batch.decide.policy import Policy
    from airflow_provider_batch.batch.send.start import ledger_for
    from airflow_provider_batch.contract import MAX_TIMEOUT_S

    intake = rows.intake(options, form, options.file, given.open_path)
    with given.service(embeddings=options.embeddings) as service:
        ledger = ledger_for(service, spec, intake, form.dialect())
        progress = CallProgress(spec.budget.prices)
        progress.watch(ledger)
        work = to_send(
            spec,
            service,
            ledger,
            form.dialect(),
            Policy(timeout_s=MAX_TIMEOUT_S, submit_only=not options.wait, ready_by=ready_by),
            files=form.media_folder,
            on_job=patience.created.append,
            observer=progress,
            calls=calls_of(options, given) if options.trial or ready_by else None,
        )
        tell_most(work)
        return waiting.go_on(work, patience)


def _submitted(options: Namespace, spec: BatchSpec, sent: SubmittedBatch, created: list[str]) -> int:
    plan = sent.batch.plan
    if options.json:
        printing.document(
            {
                "state": "submitted",
                "job_names": sent.batch.jobs,
                "created": created,
                "model": plan.model,
                "request_count": plan.rows,
                "result_path": str(spec.folder),
                "submitted_at": plan.first.created_at,
            }
        )
        return WELL
    how = "submitted" if created else "submitted before, so nothing was sent:"
    printing.say(f"{how} {printing.counted(plan.rows, 'row')} with {plan.model}")
    for name in sent.batch.jobs:
        printing.say(f"  {name}")
    printing.say(f"next: {views.command(options, 'wait', options.result_path)}")
    return WELL


def _tell_stopped(options: Namespace, patience: waiting.WaitLimits) -> None:
    if jobs := patience.jobs | set(patience.created):
        waiting.tell_left_alone(options, jobs, "Stopped.", options.result_path)
    printing.tell("Run the same command again: it goes on with what was sent and pays for nothing twice.")
