"""``reconcile`` and ``sweep``: look after batches from a shell or a monitor.

``reconcile`` compares the ledgers below some folders with what the API lists, and says what does not fit.
``sweep`` also takes what was paid for and not taken. Exit status: 0 = all is well, 1 = a person should look, 2 =
it could not be told.
"""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from airflow_provider_batch.cli import printing
from airflow_provider_batch.cli.access import Access, access, open_folder
from airflow_provider_batch.cli.running import LOOK, WELL, WRONG, failed, log_to_stderr
from airflow_provider_batch.errors import BatchError, ConfigError

if TYPE_CHECKING:
    from upath import UPath

    from airflow_provider_batch.batch.observer import Observer
    from airflow_provider_batch.batch.sweep import Report
    from airflow_provider_batch.gemini.service import GeminiBatchService
    from airflow_provider_batch.observability.metrics import BatchMetrics

Look = Callable[["GeminiBatchService", "Sequence[UPath]", Access, "Observer | None"], "Report"]


def reconcile(options: Namespace) -> int:
    """Compare and report."""

    def look(service: GeminiBatchService, roots: Sequence[UPath], given: Access, _: Observer | None) -> Report:
        from airflow_provider_batch.batch.sweep import reconcile

        return reconcile(service, roots, account=given.label)

    return _reported(options, look)


def sweep(options: Namespace) -> int:
    """Land what no task landed, then report."""

    def look(
        service: GeminiBatchService, roots: Sequence[UPath], given: Access, observer: Observer | None
    ) -> Report:
        from airflow_provider_batch.batch.sweep import sweep
        from airflow_provider_batch.gemini.rows.dialect import GeminiRows

        abandoned_s = options.older_than_hours * 3600
        prices = given.read_prices()
        return sweep(
            service,
            roots,
            GeminiRows(),
            account=given.label,
            abandoned_s=abandoned_s,
            prices=prices,
            observer=observer,
        )

    return _reported(options, look)


def prune(options: Namespace) -> int:
    """Delete old ledgers, and keep their results."""
    from airflow_provider_batch.batch.sweep import prune

    try:
        given = access(options, connection_first=True)
        roots = [_root(given, folder) for folder in options.folders]
        before = datetime.now(timezone.utc) - timedelta(days=options.older_than_days)
        pruned = prune(roots, before, is_tried=options.dry_run)
    except BatchError as error:
        failed(error, options)
        return WRONG
    word = "would be pruned" if options.dry_run else "pruned"
    if options.json:
        printing.document({word.replace(" ", "_"): pruned})
    else:
        sys.stdout.write("".join(f"{word}  {folder}\n" for folder in pruned))
        sys.stdout.write(f"{printing.counted(len(pruned), 'ledger')} {word}\n")
    return WELL


def _reported(options: Namespace, look: Look) -> int:
    try:
        # A monitor has one meaning of the default, even if a user sets a variable beside it.
        given = access(options, connection_first=True)
        log_to_stderr(chatty=True)
        roots = [_root(given, folder) for folder in options.folders]
        metrics = _metrics(given)
        with given.service() as service:
            report = look(service, roots, given, metrics)
        if metrics and given.conn_id:
            metrics.found(report, given.conn_id)
    except BatchError as error:
        failed(error, options)
        return WRONG
    if options.json:
        printing.document(dataclasses.asdict(report))
    else:
        sys.stdout.write(_as_text(report))
    return LOOK if report.findings else WELL


def _metrics(given: Access) -> BatchMetrics | None:
    """Airflow's own. None where the command does without Airflow."""
    if given.conn_id is None:
        return None
    from airflow_provider_batch.airflow_compat import start_stats
    from airflow_provider_batch.observability.metrics import BatchMetrics

    start_stats()
    return BatchMetrics()


def _root(given: Access, folder: str) -> UPath:
    """A folder that is there: below one that is not, all would seem well. An object store has no folders."""
    from airflow_provider_batch.rows.storage import local_path

    root = open_folder(given.open_path, folder, "folder")
    local = local_path(root)
    if local is not None and not local.exists():
        raise ConfigError(
            f"folder {str(root)!r} does not exist.",
            code="AGB-C08",
            remedy="Give folders above the result paths. Relative ones begin at the folder of the command.",
        )
    return root


def _as_text(report: Report) -> str:
    lines = [f"landed      {uri}" for uri in report.landed]
    lines += [f"kept        the answers of a trial in {folder}; no batch was sent" for folder in report.kept]
    for finding in report.findings:
        left = "" if finding.hours_left is None else f" {finding.hours_left:.0f} h until the results are deleted."
        where = f" Ledger: {finding.ledger}" if finding.ledger else ""
        lines.append(f"{finding.kind.value:<11} {finding.text}{left}{where}")
    lines += [f"passed over {folder} is of another credential" for folder in report.passed_over]
    if report.too_young and report.taken_after_s is not None:
        batches = "1 batch is" if len(report.too_young) == 1 else f"{len(report.too_young):,} batches are"
        hours = f"{report.taken_after_s / 3600:g} h after its last job ended"
        lines.append(f"too young   {batches} left to the tasks; a sweep takes one {hours} (--older-than-hours)")
    counts = (report.ledgers, "ledger"), (report.jobs, "job"), (len(report.findings), "finding")
    lines.append(", ".join(printing.counted(count, noun) for count, noun in counts))
    return "\n".join(lines) + "\n"
