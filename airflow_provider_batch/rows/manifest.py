"""The manifest: where the results are and how the rows ended, small enough for XCom.

It is written last, so a manifest that exists speaks of results that are complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import RowStatus, Usage
from airflow_provider_batch.rows.storage import opened

FILE_NAME = "manifest.json"
MAX_XCOM_BYTES = 2048
MAX_FILE_BYTES = 64 * 1024


class TokenTotals(BaseModel):
    """Tokens of all rows, as the API reported them. Thinking is billed as output."""

    model_config = ConfigDict(frozen=True)

    input: int = 0
    cached: int = 0
    output: int = 0
    thinking: int = 0
    audio: int = 0

    @classmethod
    def of(cls, usage: Usage) -> TokenTotals:
        """What was added up, as it is written down."""
        return cls(**msgspec.structs.asdict(usage))

    def usage(self) -> Usage:
        """The same, to be added up."""
        return Usage(self.input, self.cached, self.output, self.thinking, self.audio)


Way = Literal["batch", "flex", "standard"]
"""How rows are answered: by jobs, or by single calls in the tier that served them."""


class WayTotals(BaseModel):
    """What came by one way, over all rounds.

    :param rows: Answers. A row that was answered in two rounds counts in both, as both are billed.
    :param input: Tokens.
    :param output: Tokens, thinking included.
    :param cost_usd: By the price list of this way. None if a price is not known.
    """

    model_config = ConfigDict(frozen=True)

    rows: int = 0
    input: int = 0
    output: int = 0
    cost_usd: float | None = None


class Manifest(BaseModel):
    """What the operator returns.

    :param job_name: The first remote job, ``batches/...``. Empty if none was submitted before the deadline.
    :param job_count: How many remote jobs there were, over all shards and rounds.
    :param rounds: How often rows were sent. 1 if none was sent again.
    :param task_mark: Digest of the task instance, as in the display names of its jobs.
    :param result_uri: The landed results, JSON Lines, one line per input row.
    :param failed_uri: The requests of all rows that are not a success, to be fed back as they are. The rows that
        were left out, if any, are there, too.
    :param ledger_uri: The record of what was sent.
    :param request_count: Rows that were to be sent. The counts add up to it.
    :param counts: Rows by status. Statuses without rows are left out.
    :param empty: Successes with nothing but white space in them. The gates of a task count them as rows without a
        usable answer.
    :param skipped: Bad rows that were left out before anything was sent. They are in ``failed.jsonl``.
    :param tokens: Totals as reported by the API, of all rounds.
    :param cost_usd: What all tokens cost by the price list, those of single calls too, USD. None if a price is not
        known.
    :param standard_usd: What they would have cost in single calls of the standard tier. The difference is saved.
    :param ways: Rows, tokens and cost by how they were answered: ``batch``, ``flex``, ``standard``. They add up to
        ``cost_usd``. None where no single calls were made.
    :param rescue_extra_usd: What the single calls of a rescue cost more than the same tokens in batch mode. It is
        in ``cost_usd``. None where there was no rescue, or a price is not known.
    :param lost_calls: Single calls that may have been billed, and whose answers did not come. Their cost is not in
        ``cost_usd``.
    :param called_again: Answers of single calls to rows that had an answer. Their cost is in ``cost_usd``.
    :param jobs_left_running: Jobs that were asked to end, and had not ended when their rows were called. What they
        finish is billed, and not in ``cost_usd``.
    :param unmetered: Answers without a token count. Their cost is not in ``cost_usd``.
    :param quarantine_uri: Result lines that belong to no row (unreadable, unknown key, said twice), if any.
    :param quarantined: How many result lines belong to no row.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = 2
    job_name: str
    job_count: int = 1
    rounds: int = 1
    model: str
    task_mark: str = ""
    result_uri: str
    failed_uri: str | None = None
    ledger_uri: str = ""
    request_count: int
    counts: dict[RowStatus, int]
    empty: int = 0
    skipped: int = 0
    tokens: TokenTotals = TokenTotals()
    cost_usd: float | None = None
    standard_usd: float | None = None
    ways: dict[Way, WayTotals] | None = None
    rescue_extra_usd: float | None = None
    lost_calls: int = 0
    called_again: int = 0
    jobs_left_running: int = 0
    unmetered: int = 0
    quarantine_uri: str | None = None
    quarantined: int = 0
    submitted_at: datetime | None = None
    landed_at: datetime | None = None

    def to_xcom(self) -> dict[str, object]:
        """Plain JSON values, under 2 KiB unless the result path alone is longer.

        Every name is there. What does not exist, or is not known, is None.
        """
        return self.model_dump(mode="json")

    def to_file(self) -> bytes:
        """What ``manifest.json`` holds."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def read(cls, folder: UPath, ledger: UPath | None = None) -> Manifest | None:
        """The manifest in ``folder``, None if there is none that can be read.

        :param ledger: That of the batch. The manifest of another batch does not count.
        """
        try:
            with opened(folder / FILE_NAME) as file:
                found = cls.model_validate_json(file.read(MAX_FILE_BYTES))
        except (FileNotFoundError, ValidationError):
            return None
        return found if ledger is None or found.ledger_uri == str(ledger) else None

    @classmethod
    def load(cls, source: Manifest | Mapping[str, object]) -> Manifest:
        """Read back what :meth:`to_xcom` gave.

        :raises ConfigError: It is not a manifest.
        """
        if isinstance(source, Manifest):
            return source
        try:
            return cls.model_validate(dict(source) if isinstance(source, Mapping) else source)
        except ValidationError as error:
            raise ConfigError(
                f"This is not a manifest of a batch ({wrong_fields(error)}).",
                code="AGB-R10",
                remedy="Pass the output of the batch's task, as in read_results(label.output).",
            ) from None


def wrong_fields(error: ValidationError) -> str:
    """Which fields of a document are wrong, such as ``wrong: rows, model``. Never what is in them."""
    return f"wrong: {', '.join(str(e['loc'][0]) for e in error.errors() if e['loc']) or 'its form'}"


def way_in_words(totals: WayTotals) -> str:
    """``1,000 rows, 5,000 tokens in, 200 out, USD 0.001200``."""
    usd = "at an unknown cost" if totals.cost_usd is None else f"USD {totals.cost_usd:.6f}"
    rows = f"{totals.rows:,} row{'' if totals.rows == 1 else 's'}"
    return f"{rows}, {totals.input:,} tokens in, {totals.output:,} out, {usd}"


def counts_in_words(counts: dict[RowStatus, int]) -> str:
    """``3 error, 997 success``."""
    return ", ".join(f"{n} {status.value}" for status, n in sorted(counts.items())) or "no rows"
