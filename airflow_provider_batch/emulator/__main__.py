"""``python -m airflow_provider_batch.emulator``: start the server in the foreground."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_PARENT_CHECK_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :returns: the exit code: 0 after a signal, 2 if it cannot start.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if not _is_loopback(options.host):
        parser.error(f"--host {options.host} is not a loopback address; the emulator has no real authentication")
    if options.exit_with_parent:
        threading.Thread(target=_follow_parent, args=[options.exit_with_parent], daemon=True).start()
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.ExitStack() as stack:
        data_dir = options.data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emulator-")))
        with contextlib.suppress(KeyboardInterrupt):
            _run(options, data_dir)
    return 0


def _run(options: argparse.Namespace, data_dir: Path) -> None:
    from airflow_provider_batch.emulator.answers import load_answer_function
    from airflow_provider_batch.emulator.app import build_emulation
    from airflow_provider_batch.emulator.server import listen, serve

    try:
        function = load_answer_function(options.answers) if options.answers else None
        listener = listen(options.host, options.port)
    except (ImportError, OSError, ValueError) as problem:
        sys.exit(f"The emulator cannot start: {problem}")
    emulation = build_emulation(
        data_dir, job_seconds=options.job_seconds, api_keys=options.api_key, function=function
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    sys.stdout.write(f"Gemini Batch emulator listening on {address} (data in {data_dir})\n")
    sys.stdout.write("This is a local imitation: it calls no model, is not the Gemini API and bills nothing.\n")
    sys.stdout.flush()
    serve(emulation, listener)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_batch.emulator",
        description="A local server that speaks the Batch Mode of the Gemini API.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8484, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="where state is kept (default: a temporary directory)")
    parser.add_argument(
        "--job-seconds", type=float, default=10.0, help="how long a batch takes (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key", action="append", default=[], metavar="KEY[=PROJECT]", help="accept only these"
    )
    parser.add_argument("--answers", metavar="MODULE:FUNCTION", help="your function (request, key) -> answer")
    parser.add_argument("--exit-with-parent", type=int, metavar="PID", help=argparse.SUPPRESS)
    return parser


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _follow_parent(parent: int) -> None:
    """End the process when its parent is gone: a test run that was killed must leave no server."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(0)


def _leave(_signal: int, _frame: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
