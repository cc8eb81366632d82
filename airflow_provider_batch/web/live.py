"""What the API says about jobs that run: one listing for each connection, however many look at the page."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from itertools import islice

from airflow_provider_batch.batch.cost.lifetime import results_until
from airflow_provider_batch.batch.ledger.job_names import JobTag, folder_digest
from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.gemini.limits import LIMITS
from airflow_provider_batch.web.bounded import Bounded, TookTooLongError
from airflow_provider_batch.web.views import Live, LivePage, Row, Task

MOST_JOBS = 2000
"""Newest jobs of a connection that are looked through."""

READING_S = 8.0

Jobs = dict[tuple[str, str], list[JobSnapshot]]
"""By the mark of a task instance and of a result folder."""

# No bound for each reader: all readers share a connection's listing, and only administrators make connections.
_listings = Bounded(threads=16, keep_s=15.0, patience_s=10.0)

_ORDER = (
    JobState.RUNNING,
    JobState.PENDING,
    JobState.UNKNOWN,
    JobState.FAILED,
    JobState.EXPIRED,
    JobState.CANCELLED,
    JobState.SUCCEEDED,
)
"""The state of several jobs is the first of these that one of them has."""


def live(rows: Iterable[Row]) -> LivePage:
    """What the API says about these batches. Connections that cannot be asked are named."""
    by_connection: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_connection[row.conn_id].append(row)
    # All are asked before one is waited for.
    begun = {conn_id: _listings.begin(conn_id, partial(_listing, conn_id)) for conn_id in by_connection}
    until = _listings.patience()
    found: list[Live] = []
    troubles: dict[str, str] = {}
    for conn_id, batches in by_connection.items():
        try:
            jobs = begun[conn_id].wait(until)
        except TookTooLongError:
            troubles[conn_id] = "the API has not answered in time"
        except BatchError as error:
            troubles[conn_id] = error.message
        except Exception as error:  # noqa: BLE001
            # Secrets backends raise anything. The text of it could hold a credential.
            troubles[conn_id] = f"it cannot be asked ({type(error).__name__})"
        else:
            found += [seen for row in batches if (seen := seen_as(row, jobs))]
    return LivePage(batches=found, troubles=troubles)


def seen_as(row: Row, jobs: Jobs) -> Live | None:
    """A batch by its jobs, None if the listing has none of them. Of each shard the newest job counts."""
    mine: dict[tuple[int, int], tuple[int, JobSnapshot]] = {}
    generation = _generation(row.ledger)
    for job in jobs.get((row.task_digest, folder_digest(row.folder)), ()):
        tag = JobTag.read(job.display_name)
        if tag is not None and tag.generation == generation:
            place = tag.round, tag.shard
            mine[place] = max(mine.get(place, (0, job)), (tag.attempt, job), key=lambda pair: pair[0])
    newest = max((round_ for round_, _ in mine), default=0)
    last = [job for (round_, _), (_, job) in mine.items() if round_ == newest]
    if not last:
        return None
    ends = [
        until
        for job in last
        if job.state is JobState.SUCCEEDED and (until := results_until(job, LIMITS.result_life_s))
    ]
    return Live(
        **row.model_dump(include=set(Task.model_fields)),
        state=min((job.state for job in last), key=_ORDER.index).value,
        jobs=len(last),
        requests=sum(job.requests for job in last),
        succeeded=sum(job.succeeded for job in last),
        failed=sum(job.failed for job in last),
        lost_at=int(min(ends)) if ends else None,
    )


def _generation(ledger: str) -> int | None:
    """Which one a ledger is. None if it is none, even if the note says otherwise."""
    try:
        return int(ledger.rpartition("/")[2])
    except ValueError:
        return None


def _listing(conn_id: str) -> Jobs:
    from airflow_provider_batch.gemini.client.answers import UnreadableEntry
    from airflow_provider_batch.gemini.service import snapshot
    from airflow_provider_batch.web.server_hook import ServerHook

    jobs: Jobs = defaultdict(list)
    until = time.monotonic() + READING_S
    with ServerHook(conn_id).get_conn() as client:
        for batch in islice(client.list_batch_entries(), MOST_JOBS):
            # One that cannot be read most likely belongs to another user, and must not hide the others.
            job = None if isinstance(batch, UnreadableEntry) else snapshot(batch)
            if job and (tag := JobTag.read(job.display_name)):
                jobs[tag.task_digest, tag.folder].append(job)
            if time.monotonic() > until:
                break
    return dict(jobs)
