"""What a user says, made into what a run works with: the one place for operators, shell and sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypedDict

from upath import UPath

from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.cost.receipts import Prices, no_prices
from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.batch.decide.policy import AtTimeout, Policy
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.batch.send.spec import BatchSpec
from airflow_provider_batch.batch.work import Calling, Work
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
    calls: Calling | None = None,
) -> Work:
    """What a run works with that may send rows. Money and queue are bounded as the spec says.

    :param policy: Without what the spec and the service know.
    :param files: Folder of the media files that rows name.
    :param fence: Raises :class:`SupersededError` if another try of the task has taken over.
    :param on_job: Told the name of each job as soon as it exists.
    :param calls: How rows are answered by single calls. None = none are.
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
            tries=spec.trial_rows > 0,
            **_calling(calls),
        ),
        limits=spec.limits,
        prices=spec.budget.prices,
        output=spec.output,
        files=files,
        fence=fence,
        on_job=on_job,
        observer=observer or Observer(),
        calls=None if calls is None else within(calls, spec.budget),
    )


def within(calls: Calling, budget: Budget) -> Calling:
    """Single calls that keep within what the batch may cost."""
    most = budget.max_usd
    return replace(calls, max_usd=None if most is None else float(most), spent=budget.spent_at_most)


class _Calling(TypedDict, total=False):
    may_call: bool
    rules: CallRules


def _calling(calls: Calling | None) -> _Calling:
    return {} if calls is None else {"may_call": True, "rules": calls.rules}


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
    calls: Calling | None = None,
    at_timeout: AtTimeout = "fail",
    ready_by: float | None = None,
) -> Work:
    """What a run works with that takes what is there and never sends.

    :param folder: For the results.
    :param timeout_s: From the submission. 0 = nothing is waited for.
    :param calls: How rows that are late are answered by single calls. None = none are.
    :param at_timeout: As of :class:`Policy`.
    :param ready_by: As of :class:`Policy`.
    """
    policy = Policy(
        timeout_s=timeout_s,
        max_row_attempts=1,
        is_new_try=False,
        may_send=False,
        job_life_s=service.limits.job_life_s,
        at_timeout=at_timeout,
        ready_by=ready_by,
        **_calling(calls),
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
        calls=calls,
    )
