"""A remote job, a published batch and what to do next, as people and scripts see them."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import TYPE_CHECKING, TypedDict

from airflow_provider_batch.cli import printing

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_batch.contract import JobSnapshot
    from airflow_provider_batch.gemini.wire import Batch
    from airflow_provider_batch.rows.manifest import Manifest


class JobView(TypedDict):
    """What is printed of a job, also as JSON."""

    name: str
    state: str
    raw_state: str
    model: str
    display_name: str
    created_at: datetime | None
    ended_at: datetime | None
    rows: int
    succeeded: int
    failed: int
    error: str
    error_code: int
    input_file: str | None
    output_file: str | None


def job_view(batch: Batch) -> JobView:
    """Plain values of a job."""
    from airflow_provider_batch.gemini.service import snapshot

    job = snapshot(batch)
    return {
        "name": job.name,
        "state": job.state.value,
        "raw_state": job.raw_state,
        "model": batch.metadata.model.removeprefix("models/"),
        "display_name": job.display_name,
        "created_at": job.created_at,
        "ended_at": job.ended_at,
        "rows": job.requests,
        "succeeded": job.succeeded,
        "failed": job.failed,
        "error": job.error,
        "error_code": job.error_code,
        "input_file": job.input_file,
        "output_file": job.output_file,
    }


def say_job(view: JobView) -> None:
    """A job for people: a line for each thing that is known."""
    printing.say(str(view["name"]))
    facts = {
        "state": view["state"],
        "model": view["model"],
        "display_name": view["display_name"],
        "created_at": printing.moment(view["created_at"]),
        "ended_at": printing.moment(view["ended_at"]),
    }
    for name, shown in facts.items():
        if shown:
            printing.say(f"  {name.replace('_', ' '):<13} {shown}")
    # The API counts rows at the end only, as far as was seen.
    counted = view["succeeded"] + view["failed"]
    ended = f", {view['succeeded']:,} succeeded, {view['failed']:,} failed" if counted else ""
    printing.say(f"  {'rows':<13} {view['rows']:,}{ended}")
    if view["error"]:
        printing.say(f"  {'error':<13} {view['error']}")


def ended_well(job: JobSnapshot) -> bool:
    """It succeeded, with every row."""
    from airflow_provider_batch.contract import JobState

    return job.state is JobState.SUCCEEDED and not job.failed


def say_results(manifest: Manifest) -> None:
    """Results that have landed, for people."""
    from airflow_provider_batch.rows.manifest import counts_in_words, way_in_words

    tokens = manifest.tokens
    printing.say(f"landed   {manifest.result_uri}")
    printing.say(f"rows     {manifest.request_count:,} ({counts_in_words(manifest.counts)})")
    if manifest.skipped:
        printing.say(f"left out {printing.counted(manifest.skipped, 'bad row')}")
    if manifest.failed_uri:
        printing.say(f"failed   {manifest.failed_uri}")
    printing.say(f"tokens   {tokens.input:,} in, {tokens.output:,} out, {tokens.thinking:,} thinking")
    printing.say(f"cost     {cost_in_words(manifest)}")
    for way, totals in (manifest.ways or {}).items():
        printing.say(f"{way:<8} {way_in_words(totals)}")
    if manifest.rescue_extra_usd is not None:
        printing.say(f"rescue   USD {manifest.rescue_extra_usd:.6f} more than in batch mode, included in the cost")
    if manifest.lost_calls:
        lost = printing.counted(manifest.lost_calls, "call")
        printing.say(f"lost     up to {lost} may be billed, and are not in the cost")
    if manifest.called_again:
        again = printing.counted(manifest.called_again, "answer")
        printing.say(f"again    {again} to rows that had one, in the cost")
    if manifest.jobs_left_running:
        jobs = printing.counted(manifest.jobs_left_running, "job")
        printing.say(f"running  {jobs} had not ended when the rows were called; airflow-batch reconcile says more")


def cost_in_words(manifest: Manifest) -> str:
    """By the price list, never a bill. As the report in a task's log."""
    has = "has" if manifest.unmetered == 1 else "have"
    bare = f"{printing.counted(manifest.unmetered, 'answer')} {has} no token count" if manifest.unmetered else ""
    if manifest.cost_usd is None or manifest.standard_usd is None:
        why = f"no price for {manifest.model}, or not for all of its tokens"
        return f"unknown: {f'{bare}, or {why}' if bare else why}"
    rest = f"; {bare}, which is not in it" if bare else ""
    return f"USD {manifest.cost_usd:.6f} by the price list; at standard USD {manifest.standard_usd:.6f}{rest}"


def command(options: Namespace, *words: str) -> str:
    """What to type, with the same connection."""
    start = "airflow gemini-batch" if options.in_airflow else "airflow-batch"
    conn = ["--conn-id", options.conn_id] if options.conn_id else []
    return f"{start} {shlex.join([*words, *conn])}"
