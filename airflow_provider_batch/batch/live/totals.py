"""Adds up what single calls took, by the tier that served them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_provider_batch.batch.ledger.documents import CallTotals
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.rows.dialect import LandedRow, Usage
from airflow_provider_batch.rows.manifest import TokenTotals


def added(totals: Mapping[Tier, CallTotals], more: Iterable[CallTotals]) -> dict[Tier, CallTotals]:
    """The totals with others added."""
    result = dict(totals)
    for one in more:
        before = result.get(one.tier)
        result[one.tier] = one if before is None else _sum(before, one)
    return result


def of_row(row: LandedRow, tier: Tier, *, is_tier_said: bool, long_prompt_tokens: int) -> CallTotals:
    """What one answer took.

    :param long_prompt_tokens: Prompt tokens of one row above which some models cost more.
    """
    usage = row.usage or Usage()
    tokens = TokenTotals.of(usage)
    is_long = usage.input > long_prompt_tokens
    return CallTotals(
        tier=tier,
        rows=1,
        tokens=tokens,
        long_tokens=tokens if is_long else TokenTotals(),
        unmetered=int(not usage.output and row.has_text),
        assumed=int(not is_tier_said),
    )


def _sum(one: CallTotals, other: CallTotals) -> CallTotals:
    return CallTotals(
        tier=one.tier,
        rows=one.rows + other.rows,
        tokens=TokenTotals.of(one.tokens.usage() + other.tokens.usage()),
        long_tokens=TokenTotals.of(one.long_tokens.usage() + other.long_tokens.usage()),
        unmetered=one.unmetered + other.unmetered,
        assumed=one.assumed + other.assumed,
    )
