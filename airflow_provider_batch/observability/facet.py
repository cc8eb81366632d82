"""The run facet of OpenLineage. Imported only where the OpenLineage client is installed."""

from __future__ import annotations

from typing import ClassVar

from attrs import define
from openlineage.client.facet_v2 import RunFacet

NAME = "gemini_batch"
"""Key among the facets of a run."""

SCHEMA = "urn:airflow-provider-batch:facets:1-0-1:GeminiBatchRunFacet"
"""Its version goes up with each change of the fields, the first number with one that breaks readers."""


@define(kw_only=True)
class GeminiBatchRunFacet(RunFacet):  # type: ignore[misc, unused-ignore]
    """What became of a batch. What is not known is left out, never 0. Nothing of a row's content is in it.

    :param jobs: Names of the remote jobs of all rounds, ``batches/...``. The first hundred.
    :param jobCount: How many there are.
    :param rows: Rows that were to be sent.
    :param rowsByStatus: How they ended. None while not all have.
    :param tokens: By kind, of all jobs that have landed.
    :param costUsd: By the price list, for batch mode and for single calls.
    :param standardUsd: The same tokens in single calls of the standard tier.
    :param ways: Rows, tokens and cost by ``batch``, ``flex`` and ``standard``. None without single calls.
    :param rescueExtraUsd: What a rescue cost more than the same tokens in batch mode.
    :param lostCalls: Single calls that may have been billed, and whose answers did not come.
    :param calledAgain: Answers of single calls to rows that had an answer.
    :param jobsLeftRunning: Jobs that were asked to end, and had not ended when their rows were called.
    :param unmetered: Answers without a token count, whose cost is not in ``costUsd``.
    :param ledgerUri: The record of what was sent.
    """

    model: str
    jobs: list[str]
    jobCount: int  # noqa: N815
    rounds: int
    rows: int
    rowsByStatus: dict[str, int] | None = None  # noqa: N815
    tokens: dict[str, int] | None = None
    costUsd: float | None = None  # noqa: N815
    standardUsd: float | None = None  # noqa: N815
    ways: dict[str, dict[str, float]] | None = None
    rescueExtraUsd: float | None = None  # noqa: N815
    lostCalls: int | None = None  # noqa: N815
    calledAgain: int | None = None  # noqa: N815
    jobsLeftRunning: int | None = None  # noqa: N815
    unmetered: int | None = None
    ledgerUri: str  # noqa: N815

    # Airflow takes anything with "token" in its name for a secret.
    _additional_skip_redact: ClassVar[list[str]] = ["tokens"]

    @staticmethod
    def _get_schema() -> str:
        return SCHEMA
