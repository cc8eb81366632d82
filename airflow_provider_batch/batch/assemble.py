"""What a user says, made into what a run works with: the one place for operators, shell and sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from upath import UPath

from airflow_provider_batch.batch.cost.receipts import Prices, no_prices
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.batch.run import Work
from airflow_provider_batch.batch.send.start import BatchSpec
from airflow_provider_batch.contract import MAX_TIMEOUT_S, BatchService
from airflow_provider_batch.rows.dialect import RowDialect


def to_send(
    spec: BatchSpec,
    service: BatchService,
    ledger: Ledger,
    dialect: RowDialect,
    policy: Policy,
    *,
    files: UPath | None = None,
    fence: Callable[[], None] = lambda: None,
    on_job: Callable[[str], object] = lambda _: None,
    observer: Observer | None = None,
) -> Work:
    """What a run works with that may send rows. Money and queue are bounded as the spec says.

    :param policy: Without what the spec and the service know.
    :param files: Folder of the media files that rows name.
    :param fence: Raises :class:`SupersededError` if another try of the task has taken over.
    :param on_job: Told the name of each job as soon as it exists.
    """
    return Work(
        service=service,
        ledger=ledger,
        folder=spec.folder,
        dialect=dialect,
        policy=replace(
            policy,
            max_tokens_in_flight=spec.limits.tokens,
            affords=spec.budget.affords,
            job_life_s=service.limits.job_life_s,
        ),
        limits=spec.limits,
        prices=spec.budget.prices,
        output=spec.output,
        files=files,
        fence=fence,
        on_job=on_job,
        observer=observer or Observer(),
    )


def to_land(
    service: BatchService,
    ledger: Ledger,
    folder: UPath,
    dialect: RowDialect,
    *,
    prices: Prices = no_prices,
    timeout_s: float = MAX_TIMEOUT_S,
    keep_remote_files: bool = False,
    observer: Observer | None = None,
) -> Work:
    """What a run works with that takes what is there and never sends.

    :param folder: For the results.
    :param timeout_s: From the submission. 0 = nothing is waited for.
    """
    policy = Policy(
        timeout_s=timeout_s,
        max_row_attempts=1,
        is_new_try=False,
        may_send=False,
        job_life_s=service.limits.job_life_s,
    )
    return Work(
        service,
        ledger,
        folder,
        dialect,
        policy,
        prices=prices,
        keep_remote_files=keep_remote_files,
        observer=observer or Observer(),
    )
