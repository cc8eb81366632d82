"""A trial: some rows are answered by single calls before the batch is sent, and say what it will come to."""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest
from upath import UPath

from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.errors import TrialError
from airflow_provider_batch.gemini.prices import PriceTable
from faults.task import ask
from tests.batch.conftest import statuses

ROWS = [ask(f"row-{number}") for number in range(40)]
PRICES = PriceTable.shipped().price


@pytest.fixture
def folder(tmp_path):
    return UPath(tmp_path / "out")


@pytest.fixture
def trying(task):
    """A task of forty rows that tries ten of them."""
    calls = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
    return task.but(rows=ROWS, trial_rows=10, calls=calls, prices=PRICES, may_call=True)


@pytest.fixture
def called(gemini_emulator):
    """The single calls that were billed so far."""
    return gemini_emulator.billed_calls


def test_tried_rows_are_results_like_any_other_and_are_not_sent_again(trying, created, called, gemini_emulator):
    manifest = trying.finish()
    assert manifest.counts == {"success": 40}
    assert len(statuses(trying)) == 40
    assert [call["tier"] for call in called()] == ["flex"] * 10
    [job] = created()
    assert gemini_emulator.bills()[job]["rows"] == 30


def test_a_second_start_calls_and_sends_nothing_again(trying, created, called):
    trying.finish()
    assert trying.finish().counts == {"success": 40}
    assert (len(called()), len(created())) == (10, 1)
