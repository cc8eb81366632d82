"""What a prompt's template may be. Checked where a DAG is read, so nothing heavy is imported here.

Nothing in a prompt is rendered by Jinja. What looks as if it was meant to be is refused. It would be sent, and
paid for, as it stands.
"""

from __future__ import annotations

import re
import string

from airflow_provider_batch.errors import ConfigError

_AIRFLOWS = (
    "ds|ds_nodash|ts|ts_nodash|ts_nodash_with_tz|run_id|logical_date|execution_date|data_interval_start"
    "|data_interval_end|dag_run|ti|task_instance|task_instance_key_str|macros|prev_data_interval_start_success"
    "|prev_data_interval_end_success|prev_start_date_success|prev_end_date_success|triggering_asset_events"
    "|(?:dag|task|params|conn|var|inlets|outlets|inlet_events|outlet_events)(?=[.\\[])"
)
"""Names of Airflow's template context. Names that are plain words as well count only with a dot or an index."""

_PATH = r"(?:\.\w+|\[[^\[\]{}]*\]|\([^(){}]*\))*"
_REST = r"\s*(?:(?:\||~|if\s)[^{}]*)?"

_AIRFLOW = re.compile(rf"(?<!\{{)\{{\{{-?\s*(?:{_AIRFLOWS})\b{_PATH}{_REST}-?\}}\}}(?!\}})")
"""``{{ ds }}``, ``{{ds}}``, ``{{ dag_run.conf['day'] | upper }}``."""

_SPACED = re.compile(rf"(?<!\{{)\{{\{{-?\s+[A-Za-z_]\w*{_PATH}(?:\s+|{_REST}\s+)-?\}}\}}(?!\}})")
"""``{{ anything }}``, with the spaces that Jinja is written with."""

_BLOCK = re.compile(r"(?<!\{)\{%-?\s*[A-Za-z_][^{}]*%\}(?!\})")
"""``{% if day %}``."""


def check_template(prompt: object) -> None:
    """Make sure that a prompt is text with the names of columns in it, as ``str.format`` has them.

    :raises ConfigError: It has a field without a name, an attribute, an index, a single brace, or Jinja.
    """
    if not isinstance(prompt, str):
        raise _bad_prompt(f"it is of type {type(prompt).__name__}")
    if found := _AIRFLOW.search(prompt) or _SPACED.search(prompt) or _BLOCK.search(prompt):
        raise _not_rendered(
            "The prompt",
            found[0],
            "Write {column} for a column's value, or give a function of the row. If the text itself is meant, "
            "write each of its braces twice.",
        )
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(prompt) if name is not None]
    except ValueError as error:
        raise _bad_prompt(str(error)) from None
    for name in fields:
        # A quote or a line break comes from JSON whose braces are not doubled.
        if not name or set(".[\n") & set(name) or name.isdigit() or name.strip()[:1] in ('"', "'"):
            raise _bad_prompt(f"the field {{{name[:40]}}} is not the name of a column")


def columns_in(prompt: object) -> tuple[str, ...]:
    """The columns that a checked template names. None of a function, which may read any."""
    if not isinstance(prompt, str):
        return ()
    return tuple(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(prompt) if name))


def check_system_prompt(text: object) -> None:
    """Make sure that a system prompt is a text, without what only Airflow could fill in. Braces are text there.

    :raises ConfigError: It is not.
    """
    if text is None:
        return
    if not isinstance(text, str):
        raise ConfigError(
            f"system_prompt must be a text, got {type(text).__name__}.", code="AGB-C13", remedy="Give one text."
        )
    if found := _AIRFLOW.search(text):
        raise _not_rendered(
            "system_prompt",
            found[0],
            "Put what changes into the prompt: by a function of the row, or a column. If the text itself is "
            "meant, give it as request_params={'systemInstruction': {'parts': [{'text': ...}]}}.",
        )


def _not_rendered(what: str, found: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"{what} holds {found[:60]!r}, which Jinja does not render here: it would be sent as it stands.",
        code="AGB-C13",
        remedy=remedy,
    )


def _bad_prompt(why: str) -> ConfigError:
    return ConfigError(
        f"The prompt cannot be used: {why}.",
        code="AGB-C13",
        remedy="Write {column} for a column's value, and {{ and }} for braces that are text. Or give a "
        "function of the row.",
    )
