"""The commands and their options, in argparse, for ``airflow-batch`` and for Airflow's own command line.

Imports nothing heavy: every ``airflow`` command imports this module.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from airflow_provider_batch import __version__
from airflow_provider_batch.cli.option_types import above_zero, days, hours, seconds, tiers, whole

DEFAULT_CONN_ID = "gemini_default"

STATES = ("pending", "running", "succeeded", "failed", "cancelled", "expired")

_ROOM = "airflow_provider_batch.cli"

_STATUSES = """exit status: 0 all is well; 1 somebody should look: bad rows, rows without an answer, a job that
ended badly, a batch that may cost too much; 2 wrong usage or configuration; 3 the API refused or did not answer;
4 not finished yet; 130 stopped with Ctrl-C. Where several apply, the first of 130, 2, 3, 4, 1, 0 counts: an error
that ended the command comes before what it found. reconcile, sweep and prune: 2 whenever it could not be told."""


class Parser(Protocol):
    """What options are added to: argparse's parser, or a list of them for Airflow."""

    def add_argument(self, *flags: str, **settings: Any) -> object:
        """As argparse."""
        ...

    def add_argument_group(self, title: str) -> Parser:
        """As argparse."""
        ...

    def add_mutually_exclusive_group(self) -> Parser:
        """As argparse."""
        ...


@dataclass(frozen=True)
class Command:
    """One command.

    :param options: Adds its options.
    :param run: ``package.module:function``, which gets the options and returns the exit status.
    :param prints: It prints data, which ``--json`` gives as JSON.
    :param has_access: It may talk to the API.
    """

    name: str
    help: str
    options: Callable[[Parser], None]
    run: str
    prints: bool = True
    has_access: bool = True

    def add_options(self, parser: Parser) -> None:
        """Its own options and those of all."""
        self.options(parser)
        if self.has_access:
            parser.add_argument(
                "--conn-id",
                metavar="ID",
                help=f"Airflow connection (default: GEMINI_API_KEY, or {DEFAULT_CONN_ID})",
            )
        if self.prints:
            parser.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")
        parser.add_argument("--debug", action="store_true", help="show where an error comes from")


def build(prog: str) -> argparse.ArgumentParser:
    """The parser of ``airflow-batch``. The chosen :class:`Command` is ``options.command``."""
    parser = _Plain(
        prog=prog,
        description="Batches of the Gemini API from a shell: a key and a file are enough.",
        epilog=_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Plain)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        command.add_options(sub)
        sub.set_defaults(command=command)
    return parser


class _Plain(argparse.ArgumentParser):
    """Errors as all of ours: ``error: what. what to do next``."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}. {self.prog} --help shows the options.\n")


def _rows(parser: Parser) -> None:
    parser.add_argument("--prompt", metavar="TEXT", help="makes a request of each row: text with {columns}")
    parser.add_argument("--prompt-file", metavar="FILE", help="the same from a file")
    parser.add_argument(
        "--key-column", default="key", metavar="COLUMN", help="column with the key (default: %(default)s)"
    )
    parser.add_argument("--system-prompt", metavar="TEXT", help="system instruction of every row")
    parser.add_argument(
        "--request-params",
        metavar="JSON",
        help="GenerateContentRequest fields of every row: a JSON object, or a file with one",
    )
    parser.add_argument(
        "--output-type",
        metavar="TYPE",
        help="what answers must be: package.module.Class of a pydantic model, or a .json file with a JSON Schema",
    )
    parser.add_argument("--media-path", metavar="DIR", help="folder of the media files that rows name")
    parser.add_argument(
        "--media-column",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column with the name of a media file (repeatable)",
    )
    parser.add_argument("--embeddings", action="store_true", help="vectors for texts, by an embedding model")
    parser.add_argument("--task-type", metavar="TYPE", help="what vectors are for, such as RETRIEVAL_DOCUMENT")
    parser.add_argument(
        "--output-dimensionality", type=whole, metavar="N", help="numbers in each vector (default: the model's)"
    )
    parser.add_argument(
        "--allow-unknown-fields", action="store_true", help="send request fields that are not known here"
    )


def _validate(parser: Parser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="JSON Lines, CSV or Parquet, plain or compressed; a folder or a quoted pattern is one input",
    )
    parser.add_argument("--model", default="", help="check what depends on the model, too")
    _rows(parser)


def _sized(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON Lines, CSV or Parquet; a folder or a quoted pattern")
    parser.add_argument("--model", required=True, help="such as gemini-2.5-flash")
    _rows(parser)
    parser.add_argument("--skip-bad-rows", action="store_true", help="leave rows out that cannot be sent")
    parser.add_argument(
        "--max-cost-usd", metavar="USD", help="refuse a batch that may cost more, or an unknown sum"
    )
    parser.add_argument("--prices", metavar="FILE", help="price file in place of the package's own")
    parser.add_argument(
        "--count-tokens-rows",
        type=whole,
        default=0,
        metavar="N",
        help="have the API count the tokens of so many rows, one free call each",
    )
    parser.add_argument("--max-rows-per-job", type=whole, metavar="N", help="most rows in one job (default: 2 GB)")
    parser.add_argument(
        "--trial",
        type=whole,
        default=0,
        metavar="N",
        help="first have so many rows answered by single calls, which cost money, and estimate the rest by them",
    )
    _calls(parser)


def _calls(parser: Parser) -> None:
    """How rows are answered by single calls."""
    parser.add_argument(
        "--tiers",
        type=tiers,
        default=("flex",),
        metavar="TIERS",
        help="of single calls: flex, standard, or flex,standard; flex costs what batch mode does (default: flex)",
    )
    parser.add_argument(
        "--concurrency",
        type=above_zero,
        default=300,
        metavar="N",
        help="single calls at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--requests-per-minute", type=above_zero, metavar="N", help="pace of single calls (default: 60)"
    )
    parser.add_argument(
        "--tokens-per-minute", type=above_zero, metavar="N", help="of their input (default: 250,000)"
    )


def _submit(parser: Parser) -> None:
    _sized(parser)
    parser.add_argument(
        "--result-path", required=True, metavar="DIR", help="folder for the results: a path or a URI; one a batch"
    )
    parser.add_argument("--wait", action="store_true", help="wait, and land the results")
    _ready_by(parser, "with --wait: rows that jobs have not answered early enough get single calls")
    parser.add_argument("--output-format", choices=("jsonl", "parquet"), default="jsonl", help="of the results")
    parser.add_argument(
        "--strict-output", action="store_true", help="an answer in a code fence is not of the --output-type"
    )
    parser.add_argument("--keep-order", action="store_true", help="results in the order of the input")
    parser.add_argument(
        "--on-content-change",
        choices=("fail", "cancel_and_resubmit", "adopt"),
        default="fail",
        help="if other rows were submitted for this result path: cancel_and_resubmit pays for these, "
        "adopt goes on with those (default: %(default)s)",
    )
    parser.add_argument(
        "--account", metavar="NAME", help="whose key it is, to go on with a new key of the same project"
    )
    _waiting(parser)


def _wait(parser: Parser) -> None:
    parser.add_argument("target", metavar="DIR|batches/...", help="a result path, or the name of a job")
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="wait so long at most; the jobs run on (default: 14 days)",
    )
    _waiting(parser)


def _ready_by(parser: Parser, help_text: str) -> None:
    parser.add_argument(
        "--ready-by",
        metavar="TIME",
        help=f"{help_text}: 2026-11-24T07:00+01:00, or 1:30 for an hour and a half from now",
    )


def _rescue(parser: Parser) -> None:
    parser.add_argument(
        "target", metavar="DIR|batches/...", help="a result path or a ledger, or a job of one below --below"
    )
    parser.add_argument(
        "--below", default=".", metavar="DIR", help="where the ledger of a job is looked for (default: here)"
    )
    _ready_by(parser, "wait for the jobs for as long as that leaves time for single calls (default: no longer)")
    _calls(parser)
    parser.add_argument("--max-cost-usd", metavar="USD", help="what the whole batch may cost, with single calls")
    parser.add_argument("--prices", metavar="FILE", help="price file in place of the package's own")
    parser.add_argument("--media-path", metavar="DIR", help="folder of the media files that rows name")
    parser.add_argument(
        "--account", metavar="NAME", help="whose key it is, to go on with a new key of the same project"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _waiting(parser)


def _waiting(parser: Parser) -> None:
    parser.add_argument(
        "--poll-interval",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="longest time between looks (default: %(default)g)",
    )


def _list(parser: Parser) -> None:
    parser.add_argument("--limit", type=whole, default=20, metavar="N", help="0 = all (default: %(default)s)")
    parser.add_argument("--state", action="append", choices=STATES, help="only these (repeatable)")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="only display names that begin with this")


def _show(parser: Parser) -> None:
    parser.add_argument("target", metavar="DIR|batches/...", help="a result path, or the name of a job")


def _download(parser: Parser) -> None:
    parser.add_argument("job", metavar="batches/...", help="a job that has ended")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="- = stdout (default: the job's id with .jsonl, in this folder)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def _cancel(parser: Parser) -> None:
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="DIR|batches/...",
        help="result paths, or names of jobs; what they finished is billed",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _folders(parser: Parser) -> None:
    parser.add_argument("folders", nargs="+", help="folders above the result paths, or URIs")


def _sweep(parser: Parser) -> None:
    _folders(parser)
    parser.add_argument(
        "--older-than-hours",
        type=hours,
        default=6.0,
        help="leave a batch to its task until its last job ended so long ago (default: %(default)g)",
    )


def _prune(parser: Parser) -> None:
    _folders(parser)
    parser.add_argument(
        "--older-than-days",
        type=days,
        default=30.0,
        help="results were published so long ago (default: %(default)g)",
    )
    parser.add_argument("--dry-run", action="store_true", help="name the ledgers and delete nothing")


def _emulator(parser: Parser) -> None:
    from airflow_provider_batch.emulator.options import add_options

    add_options(parser)


COMMANDS = (
    Command(
        "validate", "check the rows of files; no network", _validate, f"{_ROOM}.rows:validate", has_access=False
    ),
    Command("estimate", "check a file and say what it would cost", _sized, f"{_ROOM}.rows:estimate"),
    Command(
        "submit", "send a file as a batch; run again, it goes on and pays once", _submit, f"{_ROOM}.sending:submit"
    ),
    Command("wait", "wait for a batch or a job, and land the batch's results", _wait, f"{_ROOM}.waiting:wait"),
    Command(
        "rescue", "end the jobs of a batch, and have the rest answered now", _rescue, f"{_ROOM}.rescuing:rescue"
    ),
    Command("list", "the jobs of the project, newest first", _list, f"{_ROOM}.jobs:list_jobs"),
    Command("show", "a job, or the history of a batch", _show, f"{_ROOM}.showing:show"),
    Command("download", "the raw result lines of a job", _download, f"{_ROOM}.jobs:download", prints=False),
    Command("cancel", "ask jobs, or all jobs of a batch, to end", _cancel, f"{_ROOM}.jobs:cancel"),
    Command("reconcile", "compare ledgers with the API and report", _folders, f"{_ROOM}.upkeep:reconcile"),
    Command("sweep", "land what was left behind, then report", _sweep, f"{_ROOM}.upkeep:sweep"),
    Command("prune", "delete old ledgers whose results are published", _prune, f"{_ROOM}.upkeep:prune"),
    Command(
        "emulator",
        "run a local imitation of the API",
        _emulator,
        "airflow_provider_batch.emulator.__main__:run",
        prints=False,
        has_access=False,
    ),
)
