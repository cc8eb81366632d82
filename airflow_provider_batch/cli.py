"""``airflow-batch``: look after batches from a shell or a monitor.

``reconcile`` compares the ledgers below some folders with what the API lists, and says what does not fit.
``sweep`` also takes what was paid for and nobody took. Exit status: 0 = all is well, 1 = somebody should look,
2 = it could not be told.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_batch.engine.sweep import Report

WELL, LOOK, CANNOT_TELL = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    options = _parser().parse_args(arguments)
    from airflow_provider_batch.airflow_compat import object_path, start_stats
    from airflow_provider_batch.engine.sweep import reconcile, sweep
    from airflow_provider_batch.errors import BatchError
    from airflow_provider_batch.gemini.rows import GeminiRows
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook
    from airflow_provider_batch.lineage.metrics import BatchMetrics

    # Airflow's own set-up, at its import, would log to where the report goes.
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    try:
        roots = [object_path(folder, "folder") for folder in options.folders]
        start_stats()
        hook, metrics = GeminiBatchHook(options.conn_id), BatchMetrics()
        with hook.service() as service:
            if options.command == "sweep":
                abandoned_s = options.older_than_hours * 3600
                prices = hook.prices().price
                report = sweep(
                    service, roots, GeminiRows(), abandoned_s=abandoned_s, prices=prices, observer=metrics
                )
            else:
                report = reconcile(service, roots)
        metrics.found(report, options.conn_id)
    except BatchError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_TELL
    except Exception:
        # A monitor must not take a crash for a finding.
        logging.exception("It could not be told.")
        return CANNOT_TELL
    sys.stdout.write(_as_json(report) if options.json else _as_text(report))
    return LOOK if report.findings else WELL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="airflow-batch", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("reconcile", "compare and report"), ("sweep", "land what nobody landed, then report")):
        command = commands.add_parser(name, help=text)
        command.add_argument("folders", nargs="+", help="folders above the result paths: absolute paths or URIs")
        command.add_argument("--conn-id", default="gemini_default", help="default: %(default)s")
        command.add_argument("--json", action="store_true", help="for scripts")
        if name == "sweep":
            command.add_argument(
                "--older-than-hours",
                type=float,
                default=6.0,
                help="leave a batch to its task until its last job ended so long ago (default: %(default)g)",
            )
    return parser


def _as_json(report: Report) -> str:
    return json.dumps(dataclasses.asdict(report), indent=1) + "\n"


def _as_text(report: Report) -> str:
    lines = [f"landed      {uri}" for uri in report.landed]
    for finding in report.findings:
        left = "" if finding.hours_left is None else f" {finding.hours_left:.0f} h until the results are deleted."
        where = f" Ledger: {finding.ledger}" if finding.ledger else ""
        lines.append(f"{finding.kind.value:<11} {finding.text}{left}{where}")
    lines.append(f"{report.ledgers} ledgers, {report.jobs} jobs, {len(report.findings)} findings")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
