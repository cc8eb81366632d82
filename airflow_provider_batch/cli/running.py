"""Runs a command: what goes where, and what an error becomes."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_batch.cli.parsers import Command, build

if TYPE_CHECKING:
    from airflow_provider_batch.errors import BatchError, InputError

WELL, LOOK, WRONG, NO_ANSWER, UNFINISHED, STOPPED = 0, 1, 2, 3, 4, 130

NOT_FINISHED = "AGB-J04"
"""The code of errors about a job that goes on."""

Run = Callable[[Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``airflow-batch`` and return the exit status."""
    options = build("airflow-batch").parse_args(arguments)
    options.in_airflow = False
    return run(options.command, options)


def run(command: Command, options: Namespace) -> int:
    """Run a command whose options were read. Return the exit status."""
    from airflow_provider_batch.errors import BatchError

    log_to_stderr(chatty=options.debug)
    try:
        return _function(command)(options)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        return STOPPED
    except BrokenPipeError:
        # The reader has seen enough (head). Python must not complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WELL
    except BatchError as error:
        return failed(error, options)
    except OSError as error:
        _trace(options)
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        sys.stderr.write(f"error: {what}. Correct the path or the rights and run the command again.\n")
        return WRONG
    except Exception as error:  # noqa: BLE001
        # A monitor must not take a crash for a finding. Not its text, as what it holds is not known.
        _trace(options)
        sys.stderr.write(
            f"error: something unexpected went wrong ({type(error).__name__}). "
            "--debug shows where; please report it.\n"
        )
        return WRONG


def failed(error: BatchError, options: Namespace) -> int:
    """Tell an error of ours. Returns the exit status for it."""
    from airflow_provider_batch.cli.printing import tell
    from airflow_provider_batch.cli.wording import in_shell_words
    from airflow_provider_batch.errors import InputError

    _trace(options)
    if isinstance(error, InputError) and error.rows:
        tell("\n".join([f"error: {bad_rows(error)}", in_shell_words(error.remedy)]))
    else:
        tell(f"error: {in_shell_words(str(error))}")
    return status_of(error)


def bad_rows(error: InputError) -> str:
    """The rows that cannot be sent, a line for each."""
    from airflow_provider_batch.cli.printing import counted
    from airflow_provider_batch.cli.wording import in_shell_words

    lines = [f"{error.source}: {counted(error.bad_rows, 'bad row')}"]
    for bad in error.rows:
        key = f", key {bad.key}" if bad.key else ""
        lines.append(f"  {bad.place}{key}: {in_shell_words(bad.what)} [{bad.code}]")
    if error.bad_rows > len(error.rows):
        lines.append(f"  and {error.bad_rows - len(error.rows):,} more")
    return "\n".join(lines)


def _trace(options: Namespace) -> None:
    if options.debug:
        logging.getLogger(__name__).exception("Where it comes from:")


def status_of(error: BatchError) -> int:
    """The exit status for an error of ours."""
    from airflow_provider_batch import errors

    looks = (errors.InputError, errors.BudgetError, errors.TrialError)
    ended = (errors.JobFailedError, errors.JobExpiredError, errors.JobCancelledError, errors.PartialResultsError)
    no_answer = (
        errors.ApiError,
        errors.ApiUnreachableError,
        errors.ProtocolError,
        errors.SubmitRefusedError,
        errors.SubmitUnknownError,
        errors.JobError,
        errors.FileNotReadyError,
    )
    if isinstance(error, errors.JobTimeoutError) or error.code == NOT_FINISHED:
        return UNFINISHED
    if isinstance(error, (*looks, *ended)):
        return LOOK
    return NO_ANSWER if isinstance(error, no_answer) else WRONG


def log_to_stderr(*, chatty: bool) -> None:
    """Send the log to stderr, even if Airflow set it up otherwise at its import: stdout is for the data."""
    level = logging.INFO if chatty else logging.WARNING
    handler = _Stderr()
    handler.setFormatter(_Shell("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _Stderr(logging.Handler):
    """Writes to what stderr is by now: a bar that moves puts the line above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        from airflow_provider_batch.cli.printing import tell

        try:
            tell(self.format(record))
        except Exception:  # noqa: BLE001
            # As handlers of the standard library do: a line that cannot be written ends no command.
            self.handleError(record)


class _Shell(logging.Formatter):
    """The log in a shell's words."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        from airflow_provider_batch.cli.wording import in_shell_words

        return in_shell_words(super().formatMessage(record))


def _function(command: Command) -> Run:
    module, _, name = command.run.partition(":")
    function: Run = getattr(importlib.import_module(module), name)
    return function
