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
from typing import TYPE_CHECKING

from airflow_provider_batch.emulator.options import UPSTREAM_KEY, add_options
from airflow_provider_batch.emulator.state.limits import Limits

if TYPE_CHECKING:
    from airflow_provider_batch.emulator.answers.texts import AnswerFunction

_EXAMPLES = """examples:
  python -m airflow_provider_batch.emulator --data-dir ./emulator-data

  the official SDK:
    genai.Client(api_key="any", http_options=types.HttpOptions(base_url="http://127.0.0.1:8484"))

  an Airflow connection of this provider:
    AIRFLOW_CONN_GEMINI_DEFAULT='{"conn_type": "gemini", "host": "http://127.0.0.1:8484", "password": "any"}'

  what it accepted and would have been billed:
    curl http://127.0.0.1:8484/emulator/journal
"""

_PARENT_CHECK_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :returns: the exit code: 0 after a signal, 2 if it cannot start.
    """
    return run(_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Serve until a signal.

    :param options: Those of :func:`~airflow_provider_batch.emulator.options.add_options`.
    :returns: the exit code, as :func:`main`.
    """
    if not _is_loopback(options.host) and not options.allow_remote:
        return _wrong(
            f"--host {options.host} is not a loopback address: the emulator has no real authentication and no "
            "encryption. --allow-remote listens there all the same"
        )
    if options.upstream and not options.upstream_model:
        return _wrong("--upstream needs --upstream-model")
    if options.exit_with_parent:
        threading.Thread(target=_follow_parent, args=[options.exit_with_parent], daemon=True).start()
    signal.signal(signal.SIGTERM, _leave)
    with contextlib.ExitStack() as stack:
        data_dir = options.data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emulator-")))
        with contextlib.suppress(KeyboardInterrupt):
            _run(options, data_dir)
    return 0


def _wrong(what: str) -> int:
    sys.stderr.write(f"error: {what}.\n")
    return 2


def _run(options: argparse.Namespace, data_dir: Path) -> None:
    from airflow_provider_batch.emulator.app import build_emulation
    from airflow_provider_batch.emulator.server import listen, serve

    try:
        function = _answers(options)
        listener = listen(options.host, options.port)
    except (ImportError, OSError, ValueError) as problem:
        sys.exit(f"The emulator cannot start: {problem}")
    emulation = build_emulation(
        data_dir,
        job_seconds=options.job_seconds,
        call_seconds=options.call_seconds,
        clock_speed=options.clock_speed,
        api_keys=options.api_key,
        limits=Limits(**{name: getattr(options, name) for name in Limits._fields}),
        function=function,
        workers=options.upstream_concurrency if options.upstream else 1,
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    sys.stdout.write(f"Gemini Batch emulator listening on {address} (data in {data_dir})\n")
    if options.upstream:
        sys.stdout.write(f"This is a local imitation of the Gemini API. It sends the rows to {options.upstream}\n")
    else:
        sys.stdout.write(
            "This is a local imitation: it calls no model, is not the Gemini API and bills nothing.\n"
        )
    if not _is_loopback(options.host):
        sys.stdout.write("Whoever reaches this port can read all prompts and answers.\n")
    sys.stdout.flush()
    serve(emulation, listener)


def _answers(options: argparse.Namespace) -> AnswerFunction | None:
    if options.upstream:
        from airflow_provider_batch.emulator.answers.upstream import Upstream

        return Upstream(options.upstream, options.upstream_model, os.environ.get(UPSTREAM_KEY, ""))
    if options.answers:
        from airflow_provider_batch.emulator.answers.texts import load_answer_function

        return load_answer_function(options.answers)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_batch.emulator",
        description="A local server with the Batch Mode of the Gemini API. It calls no model and bills nothing.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
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
