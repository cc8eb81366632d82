"""The option classes of the batch operators, and what each argument may be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_batch.argument_checks import (
    Check,
    between_looks,
    checked_usd,
    flag,
    mapping,
    maybe,
    model_name,
    names,
    one_of,
    output_spec,
    path,
    prompt_spec,
    ready_time,
    seconds,
    share,
    system_prompt_spec,
    text,
    tier_names,
    whole,
)
from airflow_provider_batch.arguments import Options, options
from airflow_provider_batch.contract import DEFAULT_INLINE_BYTES, MAX_TIMEOUT_S

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow_provider_batch.rows.prompt import Prompt

MAX_INLINE_BYTES = 20 * 1024 * 1024
"""What the API takes in a request (its documentation of file input methods)."""

MAX_TRIAL_ROWS = 1000
"""More would be a batch."""

MAX_CONCURRENCY = 1000

MAX_COUNTED_ROWS = 1000
"""Rows whose tokens the API counts before a batch is sent. Each is a call."""


@dataclass(frozen=True)
class MediaOptions(Options):
    """The media files that rows name: images, sound, video, documents.

    Each file is uploaded once, after all rows are checked. It is deleted when the batch is complete.

    :param path: Folder of the files, an absolute path or a URI. Templated. Rows name files relative to it, as
        ``fileData.fileUri`` or in ``columns``. Nothing outside it is read. None = rows name only what is uploaded
        already.
    :param columns: Columns that hold the name of a file, or a list of names, for rows with a ``prompt``. The files
        stand before the text.
    :param inline_up_to: Files of at most so many bytes are put into the row: no upload, no end of life.
    """

    templated: ClassVar[frozenset[str]] = frozenset({"path"})
    checks: ClassVar[Mapping[str, Check]] = {
        "path": maybe(path),
        "columns": names,
        "inline_up_to": whole(0, MAX_INLINE_BYTES),
    }

    path: str | os.PathLike[str] | None = None
    columns: Sequence[str] = ()
    inline_up_to: int = DEFAULT_INLINE_BYTES


@dataclass(frozen=True)
class ResultOptions(Options):
    """The form of the results. The first try of a run fixes it: a clear after a change goes on as the first began.

    :param output_format: ``jsonl`` or ``parquet`` (needs the extra ``[parquet]``).
    :param keep_columns: Columns of the source that are put beside the answers, as ``row.source``. Each must be in
        some row. Keeps the order.
    :param keep_order: Results stand in the order of the input, not as they came.
    :param strict_output: An answer in a code fence ends as ``invalid_output``. Otherwise what fills the fence is
        taken, even with other text around it, and ``row.note`` says so.
    :param keep_remote_files: Leave the uploaded and the result files on the server, which deletes them after 48 h.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "output_format": one_of("jsonl", "parquet"),
        "keep_columns": names,
        "keep_order": flag,
        "strict_output": flag,
        "keep_remote_files": flag,
    }

    output_format: Literal["jsonl", "parquet"] = "jsonl"
    keep_columns: Sequence[str] = ()
    keep_order: bool = False
    strict_output: bool = False
    keep_remote_files: bool = False


@dataclass(frozen=True)
class FailureOptions(Options):
    """What to do where something goes wrong: with rows, with jobs, with the task.

    :param on_bad_row: A row that cannot be sent fails the task before anything is uploaded (``fail``). Or it is
        left out, counted as skipped, and put into ``failed.jsonl`` (``skip``).
    :param on_empty: An input without any row fails the task (``fail``), or skips it (``skip``), as on a night
        without new rows.
    :param allow_unknown_fields: Send request fields that this version does not know and cannot place elsewhere.
        The API refuses a batch with a field that it does not know.
    :param max_row_attempts: How often a row is sent at most, over all tries, 1 to 10. A row is sent again if it
        failed for a passing reason (429, 5xx, expired, missing). So is a row whose answer is not of the
        ``output_type``.
    :param on_content_change: Rows or model are not those that were submitted for this task before: ``fail``
        names both and touches nothing. ``cancel_and_resubmit`` cancels what runs and pays for the new ones.
        ``adopt`` goes on with the old ones. Templated.
    :param on_ambiguous: ``resubmit`` or ``fail``, for a create call whose answer was lost. It applies if no job
        shows for at least 12 minutes of complete listings, after the input of the job was deleted.
    :param at_timeout: What becomes of jobs that are late. ``fail``: the task fails and the jobs run on.
        ``cancel``: the jobs are asked to end, and what finished is landed. ``answer``: the same, and the rows that
        are left are answered by single calls.
    :param cancel_on_kill: Ask the jobs to end when the task is marked failed.
    """

    templated: ClassVar[frozenset[str]] = frozenset({"on_content_change"})
    checks: ClassVar[Mapping[str, Check]] = {
        "on_bad_row": one_of("fail", "skip"),
        "on_empty": one_of("fail", "skip"),
        "allow_unknown_fields": flag,
        "max_row_attempts": whole(1, 10),
        "on_content_change": one_of("fail", "cancel_and_resubmit", "adopt"),
        "on_ambiguous": one_of("resubmit", "fail"),
        "at_timeout": one_of("fail", "cancel", "answer"),
        "cancel_on_kill": flag,
    }

    on_bad_row: Literal["fail", "skip"] = "fail"
    on_empty: Literal["fail", "skip"] = "fail"
    allow_unknown_fields: bool = False
    max_row_attempts: int = 3
    on_content_change: Literal["fail", "cancel_and_resubmit", "adopt"] | str = "fail"
    on_ambiguous: Literal["resubmit", "fail"] = "resubmit"
    at_timeout: Literal["fail", "cancel", "answer"] = "fail"
    cancel_on_kill: bool = True


@dataclass(frozen=True)
class SingleCalls(Options):
    """How rows are answered one by one, in a trial before the batch or in place of jobs that are late.

    The pace is that of the connection: its extras ``requests_per_minute`` and ``tokens_per_minute``.

    :param tiers: ``flex`` answers in 1 to 15 minutes at the price of batch mode, and is refused when there is no
        capacity. ``standard`` answers in seconds to minutes, at twice the price. With ``("flex", "standard")`` a
        row is answered by standard only if flex has no capacity, or no time.
    :param concurrency: Calls at the same time, at most.
    :param capacity_refusals: So many refusals for capacity in a row, and rows go to the next tier.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "tiers": tier_names,
        "concurrency": whole(1, MAX_CONCURRENCY),
        "capacity_refusals": whole(1, 100),
    }

    tiers: Sequence[str] = ("flex",)
    concurrency: int = 300
    capacity_refusals: int = 3


@dataclass(frozen=True)
class EstimateOptions(Options):
    """What makes the estimate before a batch narrower.

    :param earlier_results: Folder with the results of an earlier run of the same kind. The output tokens are
        estimated from it, thinking included. Templated.
    :param count_tokens_rows: Have the API count the input tokens of so many rows, up to 1,000. One free call each.
    """

    templated: ClassVar[frozenset[str]] = frozenset({"earlier_results"})
    checks: ClassVar[Mapping[str, Check]] = {
        "earlier_results": maybe(path),
        "count_tokens_rows": whole(0, MAX_COUNTED_ROWS),
    }

    earlier_results: str | os.PathLike[str] | None = None
    count_tokens_rows: int = 0


CHECKS: Mapping[str, Check] = {
    "model": model_name,
    "result_path": path,
    "gemini_conn_id": text,
    "prompt": maybe(prompt_spec),
    "key_column": text,
    "system_prompt": maybe(system_prompt_spec),
    "request_params": maybe(mapping),
    "output_type": maybe(output_spec),
    "media": options(MediaOptions),
    "results": options(ResultOptions),
    "failures": options(FailureOptions),
    "estimate": options(EstimateOptions),
    "trial_rows": whole(0, MAX_TRIAL_ROWS),
    "ready_by": maybe(ready_time),
    "single_calls": options(SingleCalls),
    "max_cost_usd": maybe(checked_usd),
    "is_dry_run": flag,
    "wait_for_completion": flag,
    "deferrable": flag,
    "poll_interval": between_looks,
    "timeout": seconds(1.0, MAX_TIMEOUT_S),
    "max_failed_fraction": maybe(share),
    "fail_on_partial_error": flag,
    "max_rows_per_job": maybe(whole(1)),
}
"""By the name of the attribute."""

_MEDIA, _RESULTS, _FAILURES, _ESTIMATE = (
    f"{argument}={kind.__name__}({{}}=...)"
    for argument, kind in (
        ("media", MediaOptions),
        ("results", ResultOptions),
        ("failures", FailureOptions),
        ("estimate", EstimateOptions),
    )
)

RENAMED: Mapping[str, str] = {
    "conn_id": "gemini_conn_id",
    "key": "key_column",
    "shard_rows": "max_rows_per_job",
    "files_path": _MEDIA.format("path"),
    "file_columns": _MEDIA.format("columns"),
    "inline_files_up_to": _MEDIA.format("inline_up_to"),
    "estimate_from": _ESTIMATE.format("earlier_results"),
    "count_tokens_rows": _ESTIMATE.format("count_tokens_rows"),
    "cancel_on_timeout": 'failures=FailureOptions(at_timeout="cancel")',
    "retry_failed_rows": "failures=FailureOptions(max_row_attempts=1)",
    "input_format": "no argument: rows in OpenAI's batch format are known by their custom_id",
    **{name: _RESULTS.format(name) for name in ResultOptions.checks},
    **{name: _FAILURES.format(name) for name in FailureOptions.checks},
}
"""Arguments of version 0.1.0, and what took their place. For one release."""


@dataclass(frozen=True)
class BatchArguments:
    """The arguments of a batch operator, rendered and checked: what one try of a task works with.

    :param timeout: Seconds.
    :param poll_interval: Seconds.
    """

    model: str
    result_path: str
    gemini_conn_id: str
    prompt: Prompt | None
    key_column: str
    system_prompt: str | None
    request_params: dict[str, Any] | None
    output_type: Any
    media: MediaOptions
    results: ResultOptions
    failures: FailureOptions
    estimate: EstimateOptions
    trial_rows: int
    ready_by: datetime | timedelta | None
    single_calls: SingleCalls
    max_cost_usd: Decimal | None
    dry_run: bool
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float
    max_failed_fraction: float | None
    fail_on_partial_error: bool
    max_rows_per_job: int | None

    @property
    def allowed_failures(self) -> float | None:
        """The share of rows that may end without a usable answer. None = any, but not all."""
        return 0.0 if self.fail_on_partial_error else self.max_failed_fraction
