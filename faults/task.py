"""A task instance without Airflow: tries and resumes of the engine, as the operator makes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from upath import UPath

from airflow_provider_batch.batch.assemble import to_send
from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.cost.estimate import Estimate
from airflow_provider_batch.batch.cost.receipts import Prices, no_prices
from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.decide.belief import BeliefPatience
from airflow_provider_batch.batch.decide.call_rules import CallRules, Keeping
from airflow_provider_batch.batch.decide.evidence import LostCallPatience
from airflow_provider_batch.batch.decide.outcome import ensure_done
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.batch.run import LandedBatch, Result, Run
from airflow_provider_batch.batch.send.spec import BatchSpec
from airflow_provider_batch.batch.send.start import estimated, ledger_for
from airflow_provider_batch.batch.work import Calling, Work
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.contract_calls import CallingService
from airflow_provider_batch.gemini.calling import GeminiCallingService
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.media import RowFiles
from airflow_provider_batch.gemini.rows.schema import asking_for
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.check.staging import Intake
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.media import MediaFolder
from airflow_provider_batch.rows.output.type import OutputType
from airflow_provider_batch.rows.read.choice import source_of

MODEL = "gemini-2.5-flash"

QUICK = LostCallPatience(
    revoke_after=0.6, absent_after=0.6, scans=3, retry=0.1, results=BeliefPatience(fetches=3, seconds=0.3)
)
"""The evidence about an unknown create call, in tenths of seconds instead of minutes."""


def ask(key: str) -> dict[str, Any]:
    """A row."""
    return {"key": key, "request": {"contents": [{"parts": [{"text": f"hello {key}"}]}]}}


def _same(service: BatchService) -> BatchService:
    return service


@dataclass
class Task:
    """One task instance.

    :param base_url: Of the emulator.
    :param folder: For the results.
    :param rows: What it sends.
    :param trial_rows: Rows that are tried.
    :param trial_s: For how long, at most, seconds.
    :param calls: How rows are called. None = none are.
    :param keeping: How answers are noted, in tenths of seconds instead of minutes.
    :param is_stopped: The process is about to be ended.
    :param max_failed: The share of tried rows that may have no usable answer.
    :param wrap: Puts something around the service of each visit.
    :param observer: Told what the visits do.
    """

    base_url: str
    folder: UPath
    rows: list[Mapping[str, Any]] | UPath
    identity: Identity = field(default_factory=lambda: Identity("dag", "label", "run"))
    account: str = "account"
    model: str = MODEL
    key: str = "k"
    policy: Policy = field(default_factory=lambda: Policy(patience=QUICK))
    limits: ShardLimits = field(default_factory=ShardLimits)
    on_content_change: Any = "fail"
    layout: Layout = field(default_factory=Layout)
    keep_columns: tuple[str, ...] = ()
    output: OutputType | None = None
    is_strict: bool = False
    budget: Budget = field(default_factory=Budget)
    prices: Prices = no_prices
    sample_rows: int = 0
    files: UPath | None = None
    inline_up_to: int = 0
    fence: Callable[[], None] = lambda: None
    trial_rows: int = 0
    trial_s: float = 60.0
    calls: CallRules | None = None
    max_failed: float | None = None
    is_stopped: Callable[[], bool] = lambda: False
    keeping: Keeping = field(default_factory=lambda: Keeping(lease_s=30.0, note_s=0.05))
    wrap: Callable[[Any], Any] = _same
    jobs: list[str] = field(default_factory=list)
    observer: Observer = field(default_factory=Observer)

    def attempt(self) -> Result:
        """A new try, up to its first wait or its end."""
        with self.service() as service:
            ledger = ledger_for(service, self.order, self._intake(), self._dialect)
            return Run(self._work(service, ledger, self.policy)).go()

    def estimated(self) -> Estimate:
        """What a dry run says."""
        with self.service() as service:
            return estimated(service, self.order, self._intake(), self._dialect)

    def resume(self) -> Result:
        """A resume after a wait."""
        with self.service() as service:
            policy = replace(self.policy, is_new_try=False)
            return Run(self._work(service, self.ledger, policy)).go()

    def finish(self, within_s: float = 30.0) -> Manifest:
        """A new try to the end of the batch, waits included; raises as the task would."""
        result = self.attempt()
        give_up = time.monotonic() + within_s
        while isinstance(result, Wait):
            if time.monotonic() > give_up:
                raise TimeoutError(f"still waiting: {result}")
            time.sleep(0.03)
            result = self.resume()
        assert isinstance(result, LandedBatch)
        ensure_done(result.batch, result.manifest)
        return result.manifest

    @property
    def order(self) -> BatchSpec:
        """What the engine is asked for."""
        return BatchSpec(
            self.identity,
            self.account,
            self.model,
            self.folder,
            self.limits,
            self.on_content_change,
            self.layout,
            self.output,
            self.budget,
            is_strict=self.is_strict,
            trial_rows=self.trial_rows,
            trial_s=self.trial_s,
        )

    @property
    def ledger(self) -> Ledger:
        """Its newest ledger."""
        from airflow_provider_batch.batch.ledger.store import generations

        return generations(self.folder, self.identity.task_digest)[-1]

    def but(self, **changes: Any) -> Task:
        """The same task with other arguments; those of the policy by their names too."""
        of_policy = {name: changes.pop(name) for name in list(changes) if hasattr(self.policy, name)}
        return replace(self, policy=replace(self.policy, **of_policy), **changes)

    @contextmanager
    def service(self) -> Iterator[BatchService]:
        """The emulator as the engine sees it."""
        with GeminiClient(Endpoint(ApiKey(self.key), base_url=self.base_url)) as client:
            yield self.wrap(GeminiBatchService(client))

    def _intake(self) -> Intake:
        rewrite = asking_for(self.output.json_schema) if self.output else None
        intake = Intake(
            source_of(self.rows), rewrite=rewrite, keep_columns=self.keep_columns, sample_rows=self.sample_rows
        )
        if self.files is None:
            return intake
        files = RowFiles(MediaFolder(self.files, self.inline_up_to))
        return replace(intake, to_line=lambda row: files.line(intake.to_line(row)))

    @property
    def _dialect(self) -> GeminiRows:
        return GeminiRows(self.model, with_files=self.files is not None)

    def _work(self, service: BatchService, ledger: Ledger, policy: Policy) -> Work:
        order = replace(self.order, budget=replace(self.budget, prices=self.prices))
        work = to_send(
            order,
            service,
            ledger,
            self._dialect,
            policy,
            files=self.files,
            fence=self.fence,
            on_job=self.jobs.append,
            observer=self.observer,
            calls=self._calling,
        )
        tokens = policy.max_tokens_in_flight or work.policy.max_tokens_in_flight
        return replace(work, policy=replace(work.policy, max_tokens_in_flight=tokens))

    @property
    def _calling(self) -> Calling | None:
        if self.calls is None:
            return None
        account = f"{self.identity.run_id} of {self.folder}"
        return Calling(
            self._callers,
            account,
            self.calls,
            self.keeping,
            max_failed=self.max_failed,
            is_stopped=self.is_stopped,
        )

    def _callers(self) -> CallingService:
        endpoint = Endpoint(ApiKey(self.key), base_url=self.base_url)
        return GeminiCallingService(AsyncGeminiClient(endpoint, connections=100))
