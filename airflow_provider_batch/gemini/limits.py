"""What the API takes at most, and for how long it keeps what it has. The numbers are here and nowhere else."""

from __future__ import annotations

from airflow_provider_batch.contract import Limits

LIMITS = Limits(
    # Files API, discovery document: maxSize 2147483648. A job's rows are one file.
    file_bytes=2 * 1024**3,
    # The guide of the Files API: uploaded files are deleted after 48 h.
    file_life_s=48 * 3600.0,
    # One page of the guide says six weeks for the results of batches, another 48 h for files. The shorter is
    # believed (docs/conformance.md).
    result_life_s=48 * 3600.0,
    # The guide of Batch Mode: a job that is pending or running for more than 48 h expires.
    job_life_s=48 * 3600.0,
    # The price list of the Pro models has a second price for prompts above 200,000 tokens.
    long_prompt_tokens=200_000,
)
