"""The options of the command, for the emulator's own command line and for those that offer it as theirs.

Light: command lines import it to show their help.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_batch.emulator.state.limits import Limits


class Parser(Protocol):
    """What options are added to: argparse's parser, a group in one, or what takes options like them."""

    def add_argument(self, *flags: str, **settings: Any) -> object:
        """As argparse."""
        ...

    def add_argument_group(self, title: str) -> Parser:
        """As argparse."""
        ...

    def add_mutually_exclusive_group(self) -> Parser:
        """As argparse."""
        ...


UPSTREAM_KEY = "EMULATOR_UPSTREAM_KEY"


def add_options(parser: Parser) -> None:
    """Add them."""
    _add_server(parser.add_argument_group("server"))
    _add_jobs(parser.add_argument_group("jobs and answers"))
    _add_limits(parser.add_argument_group("limits of each project"))


def _add_server(group: Parser) -> None:
    group.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    group.add_argument("--port", type=int, default=8484, help="0 takes a free one (default: %(default)s)")
    group.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow a --host that is not loopback: there is no real authentication and no encryption, and whoever "
        "reaches the port can read all prompts and answers; control calls stay on loopback",
    )
    group.add_argument("--data-dir", type=Path, help="where state is kept (default: a temporary directory)")
    group.add_argument(
        "--api-key", action="append", default=[], metavar="KEY[=PROJECT]", help="accept only these (repeatable)"
    )
    group.add_argument("--exit-with-parent", type=int, metavar="PID", help=argparse.SUPPRESS)


def _add_jobs(group: Parser) -> None:
    group.add_argument(
        "--job-seconds",
        type=float,
        default=10.0,
        help="how long a batch takes, on its clock (default: %(default)s)",
    )
    group.add_argument(
        "--call-seconds",
        type=_not_negative,
        default=0.5,
        help="how long a single call takes, on its clock: half as long with priority, ten times as long with flex "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--clock-speed",
        type=_positive,
        default=1.0,
        metavar="FACTOR",
        help="seconds of its clock in a real second: 3600 makes a day pass in 24 s (default: %(default)s)",
    )
    source = group.add_mutually_exclusive_group()
    source.add_argument("--answers", metavar="MODULE:FUNCTION", help="your function (request, key) -> answer")
    source.add_argument(
        "--upstream",
        metavar="URL",
        help="an OpenAI-compatible server that answers the rows, such as http://127.0.0.1:11434/v1; its key, if "
        f"any, goes into {UPSTREAM_KEY}",
    )
    group.add_argument("--upstream-model", metavar="NAME", default="", help="its name for the model")
    group.add_argument(
        "--upstream-concurrency", type=int, default=8, help="rows that are asked at a time (default: %(default)s)"
    )


def _add_limits(group: Parser) -> None:
    limits = Limits()
    group.add_argument(
        "--max-jobs", type=int, default=limits.max_jobs, help="batches that have not ended (default: %(default)s)"
    )
    group.add_argument(
        "--max-file-bytes",
        type=int,
        default=limits.max_file_bytes,
        help="of one uploaded file (default: %(default)s)",
    )
    group.add_argument(
        "--max-storage-bytes",
        type=int,
        default=limits.max_storage_bytes,
        help="of all files together (default: %(default)s)",
    )
    group.add_argument(
        "--tier",
        type=int,
        choices=range(4),
        default=limits.tier,
        help="1 to 3: the documented limits of queued tokens by model (default: 0, none)",
    )
    group.add_argument("--max-queued-tokens", type=int, help="instead of a tier: one limit for every model")
    group.add_argument("--requests-per-minute", type=int, help="single calls of each model (default: any number)")
    group.add_argument(
        "--tokens-per-minute", type=int, help="of the input of single calls of each model (default: any number)"
    )
    group.add_argument(
        "--priority-requests-per-minute",
        type=int,
        help="what goes beyond is served as standard (default: any number)",
    )


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("0 or a greater number is needed")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("a number greater than 0 is needed")
    return value
