"""``@task.gemini_batch``: a function that gives the rows of a batch."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory

from airflow_provider_batch.airflow_compat import determine_kwargs
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.operators.gemini import GeminiBatchOperator
from airflow_provider_batch.rows.read.tables import SqlQuery

if TYPE_CHECKING:
    from airflow.sdk import Context


class GeminiBatchDecoratedOperator(DecoratedOperator, GeminiBatchOperator):
    """Run a batch of the rows that a function returns or yields. The function may be async.

    The function may return anything that ``requests`` of :class:`GeminiBatchOperator` takes. A :class:`SqlQuery`
    is rendered with the task's context, everything else is taken as it is. What the function yields is checked and
    spooled row by row. No row is rendered or stored in Airflow's database. The function is called by each try of
    the task, but not by the resumes after a wait for jobs. It should give the same rows each time: see
    ``on_content_change``.

    :param python_callable: The function.
    """

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *GeminiBatchOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = DecoratedOperator.template_fields_renderers
    custom_operator_name = "@task.gemini_batch"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, requests=(), **kwargs
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """As the operator does, with the rows that the function gives."""
        return GeminiBatchOperator.execute(self, context)

    def _rows(self, context: Context) -> Any:
        arguments = determine_kwargs(self.python_callable, self.op_args, {**context, **self.op_kwargs})
        given = _awaited(self.python_callable(*self.op_args, **arguments))
        # A query is templated wherever it comes from. Rows never are. A copy, as the function may give it again.
        return self.render_template(copy(given), context) if isinstance(given, SqlQuery) else given


def _awaited(given: Any) -> Any:
    """What a function gives. Of an async one its result, or its rows one by one."""
    if inspect.isawaitable(given):
        return asyncio.run(_result(given))
    return _pulled(given) if isinstance(given, AsyncIterator) else given


async def _result(given: Awaitable[Any]) -> Any:
    return await given


def _pulled(rows: AsyncIterator[Any]) -> Iterator[Any]:
    loop = asyncio.new_event_loop()
    try:
        while True:
            yield loop.run_until_complete(_result(anext(rows)))
    except StopAsyncIteration:
        return
    finally:
        if isinstance(rows, AsyncGenerator):
            loop.run_until_complete(rows.aclose())
        loop.close()


def gemini_batch_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a task of a function that returns or yields rows.

    :param python_callable: The function.
    :param kwargs: Arguments of :class:`GeminiBatchOperator` except ``requests``.
    :raises ConfigError: ``requests`` is given all the same.
    """
    if "requests" in kwargs:
        raise ConfigError(
            "@task.gemini_batch takes no requests: the function returns or yields the rows.",
            code="AGB-C06",
            remedy="Return them from the function, or use GeminiBatchOperator.",
        )
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=GeminiBatchDecoratedOperator, **kwargs
    )
