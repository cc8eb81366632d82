"""``list``, ``download`` and ``cancel``: remote jobs by name, of any submitter."""

from __future__ import annotations

import heapq
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from airflow_provider_batch.cli import printing, targets, views
from airflow_provider_batch.cli.access import Access, access
from airflow_provider_batch.cli.running import LOOK, NOT_FINISHED, WELL
from airflow_provider_batch.errors import ConfigError, JobError

if TYPE_CHECKING:
    from airflow_provider_batch.gemini.client.blocking import GeminiClient
    from airflow_provider_batch.gemini.wire import Batch

SETTLED = 500
"""After so many older jobs in a row no newer one is expected. The newest come first, as far as was seen."""

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def list_jobs(options: Namespace) -> int:
    """The newest jobs."""
    from airflow_provider_batch.batch.wait.watch import duration

    with access(options).connect() as client:
        jobs = [views.job_view(job) for job in _newest(_readable(client), options)]
        now = client.clock.now()
    if options.json:
        for job in jobs:
            printing.line(job)
        return WELL
    printing.table(
        ("JOB", "STATE", "ROWS", "FAILED", "AGE", "MODEL", "DISPLAY NAME"),
        [
            (
                job["name"],
                job["state"],
                f"{job['rows']:,}",
                f"{job['failed']:,}" if job["succeeded"] + job["failed"] else "",
                duration(now - job["created_at"].timestamp()) if job["created_at"] else "",
                job["model"],
                job["display_name"],
            )
            for job in jobs
        ],
    )
    return WELL


def _readable(client: GeminiClient) -> Iterator[Batch]:
    """The whole listing, newest first. What cannot be read hides no other."""
    from airflow_provider_batch.gemini.client.answers import UnreadableEntry

    for job in client.list_batch_entries():
        if isinstance(job, UnreadableEntry):
            printing.tell(f"warning: a job is left out, as it cannot be read. {job.error}")
        else:
            yield job


def _newest(jobs: Iterable[Batch], options: Namespace) -> list[Batch]:
    if not options.limit:
        return sorted((job for job in jobs if _matches(job, options)), key=_age, reverse=True)
    # The oldest of the newest is on top. Names are distinct, so jobs are never compared.
    found: list[tuple[tuple[datetime, str], Batch]] = []
    older = 0
    for job in jobs:
        if len(found) == options.limit and _age(job) < found[0][0]:
            older += 1
            if older == SETTLED:
                break
            continue
        older = 0
        if _matches(job, options):
            heapq.heappush(found, (_age(job), job))
            if len(found) > options.limit:
                heapq.heappop(found)
    return [job for _, job in sorted(found, key=lambda one: one[0], reverse=True)]


def _matches(job: Batch, options: Namespace) -> bool:
    from airflow_provider_batch.gemini.service import snapshot

    if not job.metadata.display_name.startswith(options.prefix):
        return False
    return not options.state or snapshot(job).state.value in options.state


def _age(job: Batch) -> tuple[datetime, str]:
    return job.metadata.create_time or _LONG_AGO, job.name


def download(options: Namespace) -> int:
    """The raw result lines of a job, as the API gives them."""
    with access(options).connect() as client:
        batch = client.get_batch(options.job)
        if batch.output is None:
            return _no_results(batch)
        if options.output == "-":
            _to_stdout(client, batch)
            return WELL
        target = Path(options.output or f"{batch.name.removeprefix('batches/')}.jsonl")
        if target.exists() and not options.force:
            raise ConfigError(
                f"{target} is there already.", code="AGB-C08", remedy="Give another -o, or --force to replace it."
            )
        size = _to_file(client, batch, target)
    printing.say(f"{target}: {printing.counted(size, 'byte')}")
    return WELL


def _to_file(client: GeminiClient, batch: Batch, target: Path) -> int:
    """The file appears when it is whole. What a broken download left behind is gone on with."""
    assert batch.output is not None
    source = batch.output.responses_file or batch.name
    part = target.with_name(f".{target.name}.{source.replace('/', '-')}.part")
    # Answers may be private.
    part.touch(0o600)
    with part.open("r+b") as file:
        size = _fetch(client, batch, file, file.seek(0, os.SEEK_END))
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)
    return size


def _fetch(client: GeminiClient, batch: Batch, to: BinaryIO, begun: int) -> int:
    from airflow_provider_batch.gemini.service import GeminiBatchService, snapshot

    assert batch.output is not None
    if batch.output.responses_file:
        return client.download_file(batch.output.responses_file, to, begun)
    to.seek(0)
    to.truncate()
    return GeminiBatchService(client).fetch_results(snapshot(batch), to) or 0


def _to_stdout(client: GeminiClient, batch: Batch) -> None:
    import shutil

    from airflow_provider_batch.rows.storage import spool

    with spool() as file:
        _fetch(client, batch, file, 0)
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _no_results(batch: Batch) -> int:
    from airflow_provider_batch.gemini.service import snapshot

    job = snapshot(batch)
    if not job.state.is_terminal:
        raise JobError(
            f"{job.name} is {job.state.value}, not finished.",
            job_name=job.name,
            code=NOT_FINISHED,
            remedy=f"airflow-batch wait {job.name} waits for it.",
        )
    why = f" Reason given: {job.error}" if job.error else ""
    printing.tell(f"error: {job.name} is {job.state.value}, and the API names no results of it.{why}")
    return LOOK


def cancel(options: Namespace) -> int:
    """Ask jobs to end, after a question."""
    results = []
    given = access(options)
    names = list(dict.fromkeys(name for target in options.targets for name in _jobs_of(given, target)))
    with given.connect() as client:
        # All names are checked before the first is cancelled.
        for view in [views.job_view(client.get_batch(name)) for name in names]:
            results.append(
                {"name": view["name"], "was": view["state"], "asked": _cancelled(client, view, options)}
            )
    if options.json:
        printing.document(results)
    return LOOK if any(one["asked"] is None for one in results) else WELL


def _jobs_of(given: Access, target: str) -> list[str]:
    """The job of that name, or those of the batch in a folder that have not landed."""
    from airflow_provider_batch.batch.state_words import by_ledger
    from airflow_provider_batch.cli.ledgers import OWNER, newest, owner_of

    if targets.is_job(target):
        return [target]
    folder = targets.result_folder(given.open_path, target)
    _, batch = newest(folder)
    jobs = list(batch.round.open_jobs)
    if not jobs:
        printing.tell(
            f"{folder}: {by_ledger(batch).value}. No job of it waits or runs, as far as its ledger knows."
        )
    elif batch.plan.identity.dag_id != OWNER:
        rest = "a new try of that task sends, and pays for, what is left over"
        printing.tell(f"This is the batch of {owner_of(batch)}: {rest}.")
    return jobs


def _cancelled(client: GeminiClient, view: views.JobView, options: Namespace) -> bool | None:
    """Whether it was asked to end. None if the user said no."""
    name = view["name"]
    if view["state"] in ("succeeded", "failed", "cancelled", "expired"):
        printing.tell(f"{name} is {view['state']} already.")
        return False
    if not options.yes and not agreed(
        f"Cancel {name} ({view['state']}, {printing.counted(view['rows'], 'row')})?"
    ):
        printing.tell(f"{name} was left alone.")
        return None
    client.cancel_batch(name)
    printing.tell(
        f"{name} is asked to end. What it has finished is billed and can be downloaded when it has ended."
    )
    return True


def agreed(question: str) -> bool:
    """Ask before a job is ended.

    :raises ConfigError: No person can answer.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{question} This is no terminal, so the question cannot be answered.",
            code="AGB-C06",
            remedy="Nothing was cancelled. Give --yes.",
        )
    sys.stderr.write(f"{question} What it has finished is billed. [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
