"""Who wants what done where, and the checked rows that it is to be done with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from upath import UPath

from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.batch.ledger.job_names import Identity, folder_digest
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.check.staging import Spools, Staged
from airflow_provider_batch.rows.output.type import OutputType

OnContentChange = Literal["fail", "cancel_and_resubmit", "adopt"]


@dataclass(frozen=True)
class BatchSpec:
    """Who wants what done where.

    :param identity: The task instance.
    :param account: Whose credential pays, as a label without a secret.
    :param folder: For the results.
    :param limits: Of one remote job.
    :param on_content_change: What to do if the task instance has submitted other rows or another model before.
    :param layout: How the results are written, if this order begins the batch.
    :param budget: What the batch may cost.
    :param trial_rows: Rows that are answered by single calls before the batch is sent. 0 = none are.
    :param trial_s: For how long these rows are called at most, seconds.
    :param files_needed_s: How long uploaded files that rows refer to must still live, seconds.
    :param output: The type of the answers, None = any answer will do.
    :param is_strict: An answer in a code fence is not of that type.
    """

    identity: Identity
    account: str
    model: str
    folder: UPath
    limits: ShardLimits = field(default_factory=ShardLimits)
    on_content_change: OnContentChange = "fail"
    layout: Layout = field(default_factory=Layout)
    output: OutputType | None = None
    budget: Budget = field(default_factory=Budget)
    trial_rows: int = 0
    trial_s: float = 0.0
    files_needed_s: float = DEFAULT_TIMEOUT_S
    is_strict: bool = False

    @property
    def folder_digest(self) -> str:
        """Digest of the folder."""
        return folder_digest(str(self.folder))


@dataclass(frozen=True)
class StagedRows:
    """Checked rows.

    :param files: The rows and what belongs to them, seekable.
    :param staged: What checking them found.
    :param source: What the input is called in messages.
    :param read_key: Gives the key of a row.
    """

    files: Spools
    staged: Staged
    source: str
    read_key: Callable[[bytes], str]
