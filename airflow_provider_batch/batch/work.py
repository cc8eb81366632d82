"""What a visit to a batch works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from upath import UPath

from airflow_provider_batch.batch.cost.receipts import Prices, no_prices
from airflow_provider_batch.batch.decide.call_rules import CallRules, Keeping
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.contract_calls import CallingService
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.dialect import RowDialect
from airflow_provider_batch.rows.output.type import CheckedAnswers, OutputType


@dataclass(frozen=True)
class Calling:
    """How rows are answered by single calls.

    :param connect: Opens the connections.
    :param account: The label of the credential, whose pace all tasks of a machine share.
    :param max_usd: What the batch may cost, single calls included. None = any sum.
    :param spent: What the batch has cost at most so far, USD, without the calls that have not landed.
    :param max_failed: The greatest share of a trial's rows that may have no usable answer, 0 to 1. None = any, but
        not all.
    :param is_stopped: The process is about to be ended, so no more calls are begun.
    """

    connect: Callable[[], CallingService]
    account: str
    rules: CallRules = field(default_factory=CallRules)
    keeping: Keeping = field(default_factory=Keeping)
    max_usd: float | None = None
    spent: Callable[[BatchState], float] = lambda _: 0.0
    max_failed: float | None = None
    is_stopped: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Work:
    """What a visit works with.

    :param folder: For the results.
    :param output: The type of the answers. None = what the ledger says.
    :param prices: What the model costs, for the receipt.
    :param fence: Raises :class:`SupersededError` if another try of the task has taken over.
    :param keep_remote_files: Keep them even if the ledger says otherwise.
    :param on_job: Told the name of each job as soon as it exists.
    :param files: Folder of the files that rows name.
    :param observer: Told what the visit does.
    :param calls: How rows are answered by single calls. None = none are.
    """

    service: BatchService
    ledger: Ledger
    folder: UPath
    dialect: RowDialect
    policy: Policy
    limits: ShardLimits = field(default_factory=ShardLimits)
    keep_remote_files: bool = False
    prices: Prices = no_prices
    output: OutputType | None = None
    fence: Callable[[], None] = lambda: None
    on_job: Callable[[str], object] = lambda _: None
    files: UPath | None = None
    observer: Observer = field(default_factory=Observer)
    calls: Calling | None = None


def reader_of(work: Work, batch: BatchState) -> RowDialect:
    """The dialect, with the check of the answers that the rows were sent for."""
    schema = batch.plan.output_schema
    if schema is None:
        return work.dialect
    # A type that has changed since must not judge answers to the old one. Each would be sent and paid for again.
    known = work.output is not None and work.output.json_schema == schema
    output = work.output if work.output and known else OutputType.of(schema)
    return CheckedAnswers(work.dialect, output, is_strict=batch.plan.is_strict)
