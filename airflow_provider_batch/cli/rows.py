"""``validate`` and ``estimate``, and how the options about rows become what a batch is made of."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_batch.cli import printing
from airflow_provider_batch.cli.access import access, open_plain, prices_of
from airflow_provider_batch.cli.printing import counted
from airflow_provider_batch.cli.running import LOOK, WELL, bad_rows
from airflow_provider_batch.cli.wording import in_shell_words
from airflow_provider_batch.errors import ConfigError, InputError

if TYPE_CHECKING:
    from upath import UPath

    from airflow_provider_batch.batch.cost.estimate import Estimate
    from airflow_provider_batch.gemini.rows.form import RequestForm
    from airflow_provider_batch.rows.check.shards import ShardLimits
    from airflow_provider_batch.rows.check.staging import Intake, Staged
    from airflow_provider_batch.rows.output.type import OutputType

_ONLY_FOR_ANSWERS = (
    "system_prompt",
    "request_params",
    "output_type",
    "media_path",
    "media_column",
)
_ONLY_FOR_VECTORS = ("task_type", "output_dimensionality")

Open = Callable[[str, str], "UPath"]


def validate(options: Namespace) -> int:
    """Check files. Nothing leaves this machine."""
    found = [_checked(options, file) for file in options.files]
    if options.json:
        printing.document(
            [_refused(file, one) if isinstance(one, InputError) else _accepted(file, one) for file, one in found]
        )
    else:
        for file, one in found:
            printing.say(_problems(one) if isinstance(one, InputError) else _praise(file, one))
    return LOOK if any(isinstance(one, InputError) for _, one in found) else WELL


def _checked(options: Namespace, file: str) -> tuple[str, Staged | InputError]:
    from airflow_provider_batch.rows.check.keys import KeyTable
    from airflow_provider_batch.rows.check.shards import ShardLimits
    from airflow_provider_batch.rows.check.staging import spools, stage
    from airflow_provider_batch.rows.read.choice import source_of

    asked = form(options, open_plain)
    rows = asked.intake(source_of(open_plain(file, "FILE")))
    with spools() as files, KeyTable() as keys:
        try:
            return file, stage(rows, asked.dialect(), files, keys, ShardLimits())
        except InputError as error:
            return file, error


def _accepted(file: str, staged: Staged) -> dict[str, object]:
    cautions = [{"rows": n, "first": first, "what": what} for what, (n, first) in staged.content.told().items()]
    return {
        "file": file,
        "ok": True,
        "rows": staged.requests,
        "size_bytes": staged.size_bytes,
        "cautions": cautions,
    }


def _refused(file: str, error: InputError) -> dict[str, object]:
    return {
        "file": file,
        "ok": False,
        "bad_rows": error.bad_rows,
        "problems": [bad._asdict() for bad in error.rows],
        "whole_file": None if error.rows else {"code": error.code, "what": error.message},
    }


def _praise(file: str, staged: Staged) -> str:
    lines = [f"{file}: {counted(staged.requests, 'row')}, {counted(staged.size_bytes, 'byte')}, all can be sent"]
    for what, (count, first) in staged.content.told().items():
        lines.append(f"  caution: {counted(count, 'row')}, the first at {first}: {what}")
    return "\n".join(lines)


def _problems(error: InputError) -> str:
    if not error.rows:
        return f"{in_shell_words(error.message)} [{error.code}]"
    return f"{bad_rows(error)}\n  Nothing was sent. Correct them, or submit the rest with --skip-bad-rows."


def estimate(options: Namespace) -> int:
    """Check a file and say what it would cost. Nothing is uploaded, and only ``--trial`` costs money."""
    from upath import UPath

    from airflow_provider_batch.batch.cost.budget import Budget
    from airflow_provider_batch.batch.ledger.job_names import Identity
    from airflow_provider_batch.batch.send.spec import BatchSpec
    from airflow_provider_batch.batch.send.start import estimated
    from airflow_provider_batch.cli.calling import ensure_text
    from airflow_provider_batch.cli.trying import estimate_by_trial

    ensure_text(options)
    given = access(options)
    asked = form(options, given.open_path)
    most = parsed_usd(options.max_cost_usd)
    spec = BatchSpec(
        Identity("airflow-batch", "estimate", ""),
        given.label,
        asked.model_name,
        UPath("/"),
        limits(options, asked, given.max_enqueued_tokens),
        budget=Budget(most, prices_of(options, given)),
    )
    if options.trial:
        return estimate_by_trial(options, given, asked, spec)
    rows = intake(options, asked, options.file, given.open_path)
    with given.service(embeddings=options.embeddings) as service:
        cost_estimate = estimated(service, spec, rows, asked.dialect())
    if options.json:
        printing.document({"model": spec.model, **asdict(cost_estimate)})
    else:
        printing.say("\n".join(lines_of(cost_estimate, spec.model, most)))
    return WELL


def lines_of(estimate: Estimate, model: str, most: Decimal | None) -> list[str]:
    """An estimate for people, a line for each thing.

    :param most: What the batch may cost, USD.
    """
    from airflow_provider_batch.batch.cost.budget import report

    rows = f"rows:          {estimate.rows:,}, {counted(estimate.size_bytes, 'byte')}"
    return [rows, *report(estimate, model, most)]


def form(options: Namespace, open_path: Open) -> RequestForm:
    """How the rows become requests, and how the answers are read."""
    from airflow_provider_batch.gemini.rows.form import EmbeddingForm, RequestForm

    _ensure_of_one_kind(options)
    if options.embeddings:
        return EmbeddingForm(
            model=options.model,
            prompt=_prompt(options),
            key_column=options.key_column,
            allow_unknown_fields=options.allow_unknown_fields,
            task_type=options.task_type,
            output_dimensionality=options.output_dimensionality,
        )
    folder = options.media_path
    return RequestForm(
        model=options.model,
        prompt=_prompt(options),
        key_column=options.key_column,
        allow_unknown_fields=options.allow_unknown_fields,
        system_prompt=options.system_prompt,
        request_params=_params(options.request_params),
        output=output_type(options),
        media_folder=open_path(folder, "--media-path") if folder else None,
        media_columns=options.media_column,
    )


def intake(options: Namespace, asked: RequestForm, file: str, open_path: Open) -> Intake:
    """Where the rows come from."""
    from airflow_provider_batch.rows.read.choice import source_of

    return asked.intake(
        source_of(open_path(file, "FILE")),
        on_bad_row="skip" if options.skip_bad_rows else "fail",
        sample_rows=options.count_tokens_rows,
    )


def _ensure_of_one_kind(options: Namespace) -> None:
    names = _ONLY_FOR_ANSWERS if options.embeddings else _ONLY_FOR_VECTORS
    given = [name for name in names if getattr(options, name) not in (None, [], "")]
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        what, remedy = (
            ("means nothing to an embedding model", "Leave it out.")
            if options.embeddings
            else ("is for vectors", "Leave it out, or add --embeddings.")
        )
        raise _wrong(f"{flag} {what}", remedy)


def limits(options: Namespace, asked: RequestForm, max_enqueued_tokens: int | None) -> ShardLimits:
    """Of one remote job."""
    from airflow_provider_batch.rows.check.shards import ShardLimits

    with_media = asked.media_folder is not None
    return ShardLimits(rows=options.max_rows_per_job or None, tokens=max_enqueued_tokens, with_media=with_media)


def output_type(options: Namespace) -> OutputType | None:
    """What answers must be: a model to import, or a schema.

    A model may also lie in the folder that the command is run in.
    """
    from airflow_provider_batch.rows.output.type import OutputType

    spec = options.output_type
    if not spec:
        return None
    if spec.endswith(".json"):
        schema = _json(_text(spec, "--output-type"), f"--output-type {spec}")
        return OutputType.of(schema)
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return OutputType.of(spec)


def parsed_usd(text: str | None) -> Decimal | None:
    """A sum of money, None if none was given."""
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise _wrong(f"--max-cost-usd {text!r} is not a sum in USD above 0", "Give a number such as 5 or 0.25.")
    return value


def _prompt(options: Namespace) -> str | None:
    if options.prompt_file and options.prompt:
        raise _wrong("--prompt and --prompt-file exclude each other", "Leave one of them out.")
    if options.prompt_file:
        return _text(options.prompt_file, "--prompt-file")
    return str(options.prompt) if options.prompt else None


def _params(given: str | None) -> dict[str, object]:
    if not given:
        return {}
    if given.lstrip().startswith("{"):
        return _json(given, "--request-params")
    return _json(_text(given, "--request-params"), f"--request-params {given}")


def _text(file: str, flag: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        what = f"{flag} {file} is not UTF-8: byte {error.object[error.start]:#04x} at {error.start:,}"
        raise _wrong(what, "Save it as UTF-8.") from None


def _json(text: str, what: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _wrong(f"{what} is not JSON ({error})", "Correct it.") from None
    if not isinstance(value, dict):
        raise _wrong(f"{what} is not a JSON object", "Correct it.")
    return value


def _wrong(what: str, remedy: str) -> ConfigError:
    return ConfigError(f"{what}.", code="AGB-C06", remedy=remedy)
