"""Any history of tries, crashes, lost answers and remote ends: every key in one status, no row paid for twice."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from upath import UPath

from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.decide.evidence import LostCallPatience
from airflow_provider_batch.batch.ledger.job_names import Identity, JobTag
from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.rows.check.shards import ShardLimits
from faults.task import Task, ask

INSTANT = LostCallPatience(revoke_after=0.1, absent_after=0.1, scans=3, retry=0.01)
KEYS = [f"k{number}" for number in range(5)]


class Crash(BaseException):
    """The worker is gone at this call; nothing after it happens."""


class Crashing:
    """A service that ends the worker before or after its nth call."""

    def __init__(self, service, at, *, after):
        self._service, self._left, self._after = service, at, after

    def __getattr__(self, name):
        method = getattr(self._service, name)
        if name == "now" or not callable(method):
            return method

        def call(*arguments, **named):
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Crash
            result = method(*arguments, **named)
            if self._left == 0:
                raise Crash
            return result

        return call


class Histories(RuleBasedStateMachine):
    """One task instance with three shards, on an emulator of its own."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        here = Path(self._folder.name)
        self._running = running_emulator(here / "emulator", job_seconds=0.02)
        self.emulator = self._running.__enter__()
        self.task = Task(
            self.emulator.base_url,
            UPath(here / "out"),
            [ask(key) for key in KEYS],
            Identity("dag", "label", "run"),
            limits=ShardLimits(rows=2),
        ).but(patience=INSTANT)
        self.began = False

    def teardown(self):
        """However it went, the batch ends, and everything adds up."""
        try:
            self.emulator.clear_faults()
            self.finish()
            self.check_rows()
            self.check_money()
        finally:
            self._running.__exit__(None, None, None)
            self._folder.cleanup()

    def finish(self):
        for _ in range(5):
            try:
                self.task.finish()
                return
            except BatchError:
                continue
        raise AssertionError("the batch does not end")

    @initialize(
        lost=st.lists(
            st.tuples(st.sampled_from(["accept_then_drop", "drop"]), st.integers(0, 2)), min_size=1, max_size=3
        ),
        hidden_s=st.sampled_from([0, 0, 0.05]),
    )
    def some_creates_will_be_lost(self, lost, hidden_s):
        for action, after in lost:
            self.emulator.add_fault(call="batches.create", action=action, after=after)
        if hidden_s:
            self.emulator.add_fault(action="hide", seconds=hidden_s, times=None)

    @rule()
    def a_new_try(self):
        self.visit(self.task.attempt)

    @precondition(lambda self: self.began)
    @rule()
    def a_resume(self):
        self.visit(self.task.resume)

    @rule(at=st.integers(1, 14), after=st.booleans())
    def a_worker_that_dies(self, at, after):
        dying = self.task.but(wrap=lambda service: Crashing(service, at, after=after))
        self.visit(dying.attempt)

    @rule(action=st.sampled_from(["drop", "accept_then_drop"]))
    def the_next_create_is_lost(self, action):
        self.emulator.add_fault(call="batches.create", action=action)

    @rule(status=st.sampled_from([400, 403, 429, 503]))
    def the_next_create_is_refused(self, status):
        self.emulator.add_fault(call="batches.create", action="status", status=status, retry_delay=0.01)

    @rule(state=st.sampled_from(["EXPIRED", "FAILED"]))
    def the_next_job_ends_badly(self, state):
        self.emulator.add_fault(action="job", state=state)

    @rule(key=st.sampled_from(KEYS))
    def a_row_fails_once(self, key):
        self.emulator.add_fault(action="rows", mutation="error", keys=[key])

    @rule(call=st.sampled_from(["batches.get", "files.download", "files.upload.start"]))
    def a_call_is_forbidden_once(self, call):
        self.emulator.add_fault(call=call, action="status", status=403)

    def visit(self, step):
        try:
            result = step()
        except (BatchError, Crash):
            pass
        else:
            assert isinstance(result, Wait) or result.manifest.request_count == len(KEYS)
        ledger = self.task.folder / "_ledger" / self.task.identity.task_digest / "1" / "plan.json"
        self.began = self.began or ledger.exists()

    @invariant()
    def check_money(self):
        """At most one job for each shard of each round, whatever became of the answer."""
        tags = [
            JobTag.read(call["displayName"])
            for call in self.emulator.journal()
            if call["call"] == "batches.create"
        ]
        parts = Counter((tag.generation, tag.round, tag.shard) for tag in tags)
        assert [part for part, count in parts.items() if count > 1] == []

    def check_rows(self):
        lines = (self.task.folder / "results.jsonl").read_text().splitlines()
        manifest = json.loads((self.task.folder / "manifest.json").read_text())
        assert Counter(json.loads(line)["key"] for line in lines) == Counter(KEYS)
        assert sum(manifest["counts"].values()) == len(KEYS)


TestAnyHistory = Histories.TestCase
TestAnyHistory.settings = settings(
    max_examples=25,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
