"""The same commands as ``airflow gemini-batch ...``, where Airflow takes commands from providers."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_batch.cli.parsers import COMMANDS, Command

if TYPE_CHECKING:
    from airflow.cli.cli_config import GroupCommand


def get_commands() -> list[GroupCommand]:
    """What ``get_provider_info`` names under ``cli``. Called by every ``airflow`` command."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    arg: Callable[..., Arg] = Arg
    return [
        GroupCommand(
            name="gemini-batch",
            help="Batches of the Gemini API",
            subcommands=[
                ActionCommand(
                    name=command.name,
                    help=command.help,
                    func=_runner(command),
                    args=[arg(flags, **settings) for flags, settings in _options(command)],
                )
                for command in COMMANDS
            ],
        )
    ]


def _runner(command: Command) -> Callable[[Namespace], None]:
    def run(options: Namespace) -> None:
        from airflow_provider_batch.cli.running import run

        options.in_airflow = True
        sys.exit(run(command, options))

    return run


@dataclass
class _Noted:
    """Takes options as a parser does and remembers them. Groups are all one."""

    options: list[tuple[tuple[str, ...], dict[str, object]]] = field(default_factory=list)

    def add_argument(self, *flags: str, **settings: object) -> None:
        self.options.append((flags, settings))

    def add_argument_group(self, *_: object) -> _Noted:
        return self

    def add_mutually_exclusive_group(self) -> _Noted:
        return self


def _options(command: Command) -> list[tuple[tuple[str, ...], dict[str, object]]]:
    noted = _Noted()
    command.add_options(noted)
    return noted.options
