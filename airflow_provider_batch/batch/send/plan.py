"""The plan of a batch: its rows kept beside the ledger, those of a trial apart."""

from __future__ import annotations

import io
import secrets
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import BinaryIO

from airflow_provider_batch.batch.cost.estimate import Estimate
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.digests import digest
from airflow_provider_batch.batch.ledger.documents import (
    LEDGER_VERSION,
    PLAIN_VERSION,
    TRIAL_ROUND,
    BatchPlan,
    RoundKind,
    RoundPlan,
)
from airflow_provider_batch.batch.ledger.kept_rows import keep_shards
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.send.spec import BatchSpec, StagedRows
from airflow_provider_batch.batch.send.trial_rows import chosen_apart
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.rows.storage import keep


def plan_of(
    service: BatchService, spec: BatchSpec, rows: StagedRows, content: str, ledger: Ledger, estimate: Estimate
) -> BatchPlan:
    """The plan of the batch. Its rows are kept beside the ledger."""
    now = datetime.fromtimestamp(service.now(), timezone.utc)
    with ExitStack() as stack:
        trial: RoundPlan | None = None
        places: tuple[int, ...] = ()
        rest, cuts = rows.files.rows, rows.staged.cuts
        if spec.trial_rows:
            limits = spec.limits.within(service.limits.file_bytes)
            split = stack.enter_context(
                chosen_apart(rows.files.rows, spec.trial_rows, limits, rows.read_key, spec.folder)
            )
            kept = keep_shards(ledger, TRIAL_ROUND, split.tried.rows, split.tried.cuts, spec.model)
            trial = RoundPlan(
                kind=RoundKind.TRIAL,
                shards=tuple(kept),
                created_at=now,
                clock_from=now,
                ends_at=now + timedelta(seconds=spec.trial_s),
            )
            places, rest, cuts = split.places, split.others.rows, split.others.cuts
        shards = keep_shards(ledger, 1, rest, cuts, spec.model) if cuts else []
    return BatchPlan(
        ledger_version=PLAIN_VERSION if trial is None else LEDGER_VERSION,
        text_bytes=rows.staged.content.text_bytes,
        trial=trial,
        trial_places=places,
        identity=spec.identity,
        account=spec.account,
        model=spec.model,
        content=content,
        place=spec.folder_digest,
        rows=rows.staged.requests,
        size_bytes=rows.staged.size_bytes,
        skipped=rows.staged.skipped,
        names_files=rows.staged.content.uploads > 0,
        estimate=estimate,
        layout=spec.layout,
        output_schema=spec.output.json_schema if spec.output else None,
        is_strict=spec.is_strict,
        columns_file=_keep(rows.files.columns, ledger, "columns"),
        columns_sha256=digest(rows.files.columns),
        skipped_file=_keep(rows.files.skipped, ledger, "skipped"),
        skipped_sha256=digest(rows.files.skipped),
        first=RoundPlan(shards=tuple(shards), created_at=now, clock_from=now),
    )


def _keep(part: BinaryIO, ledger: Ledger, what: str) -> str | None:
    """Keep a spool beside the plan. It has a name of its own, as two tries may do so at the same moment."""
    if not part.seek(0, io.SEEK_END):
        return None
    name = names.spool_name(what, secrets.token_hex(4))
    keep(part, ledger.path(name))
    return name
