"""Before a batch is rescued: whether single calls may answer its rows at all. Asked before any job is ended."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

from airflow_provider_batch.batch.cost.receipts import Prices
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.errors import BudgetError, ConfigError, ModelKindError


def ensure_may_call(
    service: BatchService, batch: BatchState, prices: Prices, max_usd: Decimal | None, *, has_files: bool
) -> None:
    """Make sure that the rows of a batch can be answered by single calls.

    :param service: For text, not for vectors.
    :param max_usd: What the batch may cost. None = any sum.
    :param has_files: The folder of the media files that rows name is known.
    :raises ConfigError: The batch is of embeddings. Its model is gone. Or its rows name files, and where these
        are is not known.
    :raises BudgetError: Its cost has a limit, and its model has no price.
    """
    model = batch.plan.model
    try:
        service.check_model(model)
    except ModelKindError:
        raise no_calls_for_vectors(f"{model} answers with vectors") from None
    if batch.plan.names_files and not has_files:
        raise ConfigError(
            "The rows of this batch name media files, and single calls need the folder of these files.",
            code="AGB-C06",
            remedy="Nothing was cancelled. Give media_path, the folder that the batch was submitted with.",
        )
    today = datetime.fromtimestamp(service.now(), timezone.utc).date()
    if max_usd is not None and prices(model, today) is None:
        raise BudgetError(
            f"max_cost_usd is {max_usd}, and no price is known for {model}, so single calls cannot keep to it.",
            code="AGB-C09",
            remedy="Nothing was cancelled or called. Give the connection's extra prices a file with the model, or "
            "leave max_cost_usd out.",
        )


def no_calls_for_vectors(what: str) -> ConfigError:
    """The error for single calls that would have to give vectors.

    :param what: What asks for vectors, as a sentence without its full stop.
    """
    return ConfigError(
        f"{what}, and single calls are made for text only.",
        code="AGB-T04",
        remedy="Nothing was sent or cancelled. Leave out the trial, the time at which rows are to be ready, and "
        "the answers at the deadline.",
    )
