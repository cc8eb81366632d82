"""What the options of the batch operators may be."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_batch.arguments import (
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
    seconds,
    share,
    system_prompt_spec,
    text,
    whole,
)
from airflow_provider_batch.contract import MAX_TIMEOUT_S

DEFAULT_INLINE_BYTES = 64 * 1024
"""Of a file that is put into its row: a thumbnail. Larger ones would make the rows much larger than the text."""

MAX_INLINE_BYTES = 20 * 1024 * 1024
"""What the API takes in a request (its documentation of file input methods)."""

MAX_COUNTED_ROWS = 1000
"""Rows whose tokens the API counts before a batch is sent; each is a call."""

CHECKS: Mapping[str, Check] = {
    "model": model_name,
    "result_path": path,
    "conn_id": text,
    "prompt": maybe(prompt_spec),
    "key": text,
    "system_prompt": maybe(system_prompt_spec),
    "request_params": mapping,
    "input_format": one_of("gemini", "openai"),
    "files_path": maybe(path),
    "file_columns": names,
    "inline_files_up_to": whole(0, MAX_INLINE_BYTES),
    "keep_columns": names,
    "keep_order": flag,
    "_output_type": maybe(output_spec),
    "output_format": one_of("jsonl", "parquet"),
    "on_bad_row": one_of("fail", "skip"),
    "on_empty": one_of("fail", "skip"),
    "allow_unknown_fields": flag,
    "max_cost_usd": maybe(checked_usd),
    "is_dry_run": flag,
    "estimate_from": maybe(path),
    "count_tokens_rows": whole(0, MAX_COUNTED_ROWS),
    "wait_for_completion": flag,
    "deferrable": flag,
    "poll_interval": between_looks,
    "timeout": seconds(1.0, MAX_TIMEOUT_S),
    "max_failed_fraction": maybe(share),
    "fail_on_partial_error": flag,
    "retry_failed_rows": flag,
    "max_row_attempts": whole(1, 10),
    "cancel_on_timeout": flag,
    "cancel_on_kill": flag,
    "on_content_change": one_of("fail", "resubmit", "adopt"),
    "on_ambiguous": one_of("resubmit", "fail"),
    "shard_rows": maybe(whole(1)),
    "keep_remote_files": flag,
}
"""By the name of the attribute."""
