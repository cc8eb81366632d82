"""The operator: rows in, landed results out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_batch.airflow_compat import default_deferrable, ending_tasks, object_path, saving_retries
from airflow_provider_batch.argument_checks import Check, checked_usd, path_text, resolved
from airflow_provider_batch.arguments import (
    CheckedArguments,
    argument,
    ensure_no_old_names,
    ensure_one_knob,
    ensure_waits,
    rendered,
)
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S
from airflow_provider_batch.deferring import NO_TRIGGERER, WaitCut, cut_of, last_line
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.links.gemini import LINKS
from airflow_provider_batch.operators.options import (
    CHECKS,
    RENAMED,
    BatchArguments,
    EstimateOptions,
    FailureOptions,
    MediaOptions,
    ResultOptions,
    SingleCalls,
)
from airflow_provider_batch.operators.requests import (
    check_requests,
    ensure_consistent,
    is_rendered,
    wait_for_upstream,
)
from airflow_provider_batch.operators.running import TaskRun

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow.sdk import BaseOperatorLink, Context
    from pydantic import BaseModel

    from airflow_provider_batch.gemini.rows.form import RequestForm
    from airflow_provider_batch.rows.prompt import Prompt
    from airflow_provider_batch.rows.read.tables import SqlQuery


class GeminiBatchOperator(BaseOperator, CheckedArguments):
    """Run a JSON Lines file of Gemini requests as a batch and land the results.

    Validates every row, uploads the file, creates the job and waits. Then writes three files to ``result_path``.
    ``results.jsonl`` has one line per input row. ``failed.jsonl`` has the requests of rows that are not a success,
    to be fed back as they are. It also has the rows that ``on_bad_row="skip"`` left out. ``manifest.json`` is
    written last. Returns the manifest. A large input becomes several jobs. Rows that failed for a passing reason
    are sent again, alone.

    What was sent is kept in a ledger beside the results, ``_ledger/``. So each try goes on where the last one
    stopped. What happens to the job and the bill:

    - *Retry, clear, lost worker, recreated DAG run*: the next try goes on with the jobs that exist. Rows that have
      a usable answer are never sent again. Rows that are left over are, by a new try, until ``max_row_attempts``.
    - *Triggerer restart*: nothing. The trigger only looks.
    - *Mark failed*: the jobs are asked to end (``cancel_on_kill``). What finished is billed, and landed by the
      next try. *Clear, mark success, timeout of the DAG run, eviction of a worker*: the jobs are left alone.
    - *Timeout*: the task fails. The jobs run on and a retry goes on with them. With ``at_timeout="cancel"``, they
      are asked to end and what finished is landed first. With ``"answer"``, rows that are left are answered by
      single calls.
    - *Cancelled by a person or another program*: what finished is landed and the task fails without a retry.
    - *Rows or model changed between tries*: see ``on_content_change``.
    - *An error that no retry can mend*, such as rows that cannot be sent: the task fails at once. It uses up no
      retries. The error is an ``AirflowFailException`` as well.

    The events of outlet assets have the manifest as their ``extra``.

    Every argument is checked: where the DAG is read if it is a value, in the task if it is templated. A templated
    argument takes any value that Airflow resolves. A text that a template yields, such as ``"False"``, ``"60"`` or
    ``"1:30:00"``, is read as what it says. A subclass may add others to ``template_fields``. Paths may be texts,
    or of ``pathlib``, ``upath`` or Airflow's object storage.

    :param model: Model name such as ``gemini-2.5-flash``. Templated.
    :param requests: Where the rows are: a path, a :class:`SqlQuery` or rows. A path is absolute or a URI
        (templated). It names a JSON Lines, CSV, Parquet or text file, plain or compressed, a pattern with ``*``,
        or a folder. A text file is one row, with the columns ``key``, its name, and ``text``. Rows are a list, a
        data frame or any iterable (never templated), given here or returned by an upstream task. Without
        ``prompt`` each row is a request already: ``{"key": ..., "request": {GenerateContentRequest}}``. It may
        also be a row of OpenAI's batch format, which is converted.
    :param result_path: Folder for the results: an absolute path or a URI that every worker reaches. Templated.
        Must be the same in every try.
    :param gemini_conn_id: Airflow connection of type ``gemini``. Templated.
    :param prompt: Makes a request of each row. It may be a template such as ``"Summarise: {text}"`` with names of
        columns. It may be a function of the row. The function returns a text, a list of contents (several turns),
        or a dict of GenerateContentRequest fields for this row. It may raise ``AirflowSkipException`` or
        ``AirflowFailException``. Not templated by Jinja: what looks like it, ``{{ ds }}``, is refused. Braces that
        are text are written twice, as in ``{{"a": 1}}``.
    :param key_column: Column with the key, unique in the input, for rows with a ``prompt``.
    :param system_prompt: System instruction of every row. Templated. No column is put in.
    :param request_params: GenerateContentRequest fields of every row: ``generationConfig``, ``tools``,
        ``safetySettings`` and so on. What a row says itself wins, in either spelling of a name.
    :param output_type: What each answer must be: a pydantic model, where to import one from
        (``package.module.Class``), or a JSON Schema. Never templated. It is sent with every row that has no
        response schema of its own. Every answer is checked, and ``row.parsed`` holds its value. An answer of the
        wrong type ends as ``invalid_output``. It is sent again like a row that failed for a passing reason.
    :param media: The media files that rows name, as :class:`MediaOptions` or a dict of its fields. Its folder is
        templated. None = rows name only what is uploaded already.
    :param results: The form of the results, as :class:`ResultOptions` or a dict of its fields: Parquet, kept
        columns, the order of the input.
    :param failures: What to do about failures, as :class:`FailureOptions` or a dict of its fields. These are bad
        rows, an empty input, changed rows, attempts, cancelling.
    :param estimate: What makes the estimate narrower, as :class:`EstimateOptions` or a dict of its fields.
    :param trial_rows: So many rows, spread over the input, are answered by single calls before the batch is sent.
        Their answers are checked and shown in the log. The task fails before the batch is sent in two cases: a
        greater share of them than ``max_failed_fraction`` has no usable answer (all of them, if it is not set), or
        the batch would cost more than ``max_cost_usd``. They are results like any other, and are not sent again.
    :param ready_by: When all rows are to be answered: a time with its zone, or a ``timedelta`` after the end of
        the data interval. Templated. If jobs are late, they are asked to end early enough before it, and the rows
        that are left are answered by single calls.
    :param single_calls: How rows are answered one by one, as :class:`SingleCalls` or a dict of its fields.
    :param max_cost_usd: The task fails before anything is uploaded if the batch may cost more, by the upper end of
        the estimate. It also fails if the cost is not known. Rows that failed are sent again only within it. USD,
        above 0. Templated. A template that gives nothing is refused.
    :param dry_run: Check the rows, log and return the estimate, and stop. Nothing is uploaded, the tasks
        downstream are skipped. Templated. The attribute is ``is_dry_run``, as Airflow has a method of this name.
    :param wait_for_completion: False = return after submission, for :class:`GeminiBatchSensor` and
        :class:`~airflow_provider_batch.operators.fetch.GeminiBatchFetchResultsOperator`. Rows are not sent again
        then.
    :param deferrable: Wait in the triggerer instead of on a worker slot. Default:
        ``[operators] default_deferrable``.
    :param poll_interval: Seconds between looks at the job, 1 to 3,600, or a ``timedelta``.
    :param timeout: Seconds or a ``timedelta`` from submission, by the server's clock, up to two weeks. Templated.
        ``execution_timeout`` ends the wait as well if it is shorter. Airflow itself does not apply it while a task
        is deferred.
    :param max_failed_fraction: Fail the task, after landing, if a greater share of the rows has no usable answer,
        0 to 1. Rows left out as bad are among them. None = any number of them, but not all.
    :param fail_on_partial_error: The word of other operators for ``max_failed_fraction=0``. Both at once are
        refused.
    :param max_rows_per_job: Most rows in one remote job, None = as many as fit into 2 GB.
    """

    template_fields: Sequence[str] = (
        "model",
        "requests",
        "result_path",
        "gemini_conn_id",
        "system_prompt",
        "media",
        "failures",
        "estimate",
        "ready_by",
        "max_cost_usd",
        "timeout",
        "is_dry_run",
    )
    template_ext: Sequence[str] = (".sql",)
    ui_color = "#e8f0fe"
    operator_extra_links: Collection[BaseOperatorLink] = LINKS

    checks: ClassVar[Mapping[str, Check]] = CHECKS
    rendered_checks: ClassVar[Mapping[str, Check]] = {"max_cost_usd": checked_usd}

    _run: TaskRun | None = None

    def __init__(
        self,
        *,
        model: str,
        requests: str | os.PathLike[str] | SqlQuery | Iterable[Mapping[str, Any]],
        result_path: str | os.PathLike[str],
        gemini_conn_id: str = GeminiBatchHook.default_conn_name,
        prompt: Prompt | None = None,
        key_column: str = "key",
        system_prompt: str | None = None,
        request_params: Mapping[str, Any] | None = None,
        output_type: type[BaseModel] | str | dict[str, Any] | None = None,
        media: MediaOptions | Mapping[str, Any] | None = None,
        results: ResultOptions | Mapping[str, Any] | None = None,
        failures: FailureOptions | Mapping[str, Any] | None = None,
        estimate: EstimateOptions | Mapping[str, Any] | None = None,
        trial_rows: int = 0,
        ready_by: datetime | timedelta | str | None = None,
        single_calls: SingleCalls | Mapping[str, Any] | None = None,
        max_cost_usd: float | str | None = None,
        dry_run: bool | str = False,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 60.0,
        timeout: float | str | timedelta = DEFAULT_TIMEOUT_S,
        max_failed_fraction: float | None = None,
        fail_on_partial_error: bool = False,
        max_rows_per_job: int | None = None,
        **kwargs: Any,
    ) -> None:
        ensure_no_old_names(type(self).__name__, kwargs, RENAMED)
        super().__init__(**kwargs)
        # Rows stay out of the templated attribute, so they are neither rendered nor stored in the database.
        self._given: Any = None if is_rendered(requests) else requests
        self.model = model
        self.requests = requests if self._given is None else None
        self.result_path = result_path
        self.gemini_conn_id = gemini_conn_id
        self.prompt = prompt
        self.key_column = key_column
        self.system_prompt = system_prompt
        self.request_params = request_params
        self.output_type = output_type
        self.media = media
        self.results = results
        self.failures = failures
        self.estimate = estimate
        self.trial_rows = trial_rows
        self.ready_by = ready_by
        self.single_calls = single_calls
        self.max_cost_usd = max_cost_usd
        # Not dry_run: that is a method of Airflow's operators.
        self.is_dry_run = dry_run
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.max_failed_fraction = max_failed_fraction
        self.fail_on_partial_error = fail_on_partial_error
        self.max_rows_per_job = max_rows_per_job
        self._check_given()

    def _check_given(self) -> None:
        super()._check_given()
        check_requests(self, path_text(self.requests) if self._given is None else self._given)
        wait_for_upstream(self, [self.media, self.failures, self.estimate])
        ensure_one_knob(self.max_failed_fraction, self.fail_on_partial_error)
        media, failures = MediaOptions.of(self.media), FailureOptions.of(self.failures)
        if "failures" not in self._pending:
            ensure_waits(self.wait_for_completion, self.ready_by, failures.at_timeout)
        params = None if "request_params" in self._pending else self.request_params
        ensure_consistent(self.prompt, media, params, self.output_type, failures.allow_unknown_fields)

    def render_template(self, content: Any, context: Context, *others: Any, **named: Any) -> Any:
        """As Airflow's, also of paths and of options."""
        render = super().render_template
        return rendered(content, lambda value: render(value, context, *others, **named))

    def execute(self, context: Context) -> dict[str, Any]:
        """Begin, or go on with what an earlier try began."""
        with saving_retries():
            return self._new_run(context).execute()

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Resume after the trigger. The ledger and the API say what is next, not the event."""
        with saving_retries():
            return self._new_run(context).resume(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As Airflow's. After a wait that no trigger has ended, the ledger and the API are asked all the same."""
        cut = cut_of(next_method, next_kwargs)
        if cut is None:
            return super().resume_execution(next_method, next_kwargs, context)
        if cut is WaitCut.BROKEN:
            self.log.warning("The triggerer cannot wait (%s): this worker does.", last_line(next_kwargs))
            self.deferrable = False
        else:
            self.log.warning("No trigger has fired in time, so the scheduler has ended the wait. %s", NO_TRIGGERER)
        return self.execute_complete(context, {"outcome": cut.name.lower(), "message": cut.value})

    def on_kill(self) -> None:
        """Ask the jobs to end if the task was marked failed. Leave them alone in every other case."""
        if self._run is not None:
            self._run.on_kill()

    def get_openlineage_facets_on_start(self) -> Any:
        """What the OpenLineage provider asks before the task runs."""
        from airflow_provider_batch.observability.openlineage import lineage

        return lineage(self._lineage_inputs())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the OpenLineage provider asks when the task has succeeded."""
        from airflow_provider_batch.observability.openlineage import lineage

        landed = (self._run.manifest, self._run.ledger) if self._run else ()
        return lineage(self._lineage_inputs(), *landed)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """The same when it has failed: what was sent, and what has landed all the same."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _lineage_inputs(self) -> list[Any]:
        return [path_text(self.requests), path_text(MediaOptions.of(self.media).path)]

    def _new_run(self, context: Context) -> TaskRun:
        given = BatchArguments(**{argument(name): value for name, value in self._checked().items()})
        ensure_waits(given.wait_for_completion, given.ready_by, given.failures.at_timeout)
        unknown = given.failures.allow_unknown_fields
        ensure_consistent(given.prompt, given.media, given.request_params, given.output_type, unknown)
        self._run = TaskRun(self, context, given, self._form(given), lambda: self._rows(context))
        return self._run

    def _rows(self, context: Context) -> Any:
        """What is to be read. Asked each time that the rows are read."""
        return self.requests if self._given is None else resolved(self._given, context)

    def _form(self, given: BatchArguments) -> RequestForm:
        """How the rows become requests, and how the answers are read."""
        from airflow_provider_batch.gemini.rows.form import RequestForm
        from airflow_provider_batch.rows.output.type import OutputType

        media = given.media
        return RequestForm(
            model=given.model,
            prompt=prompt_of(given),
            key_column=given.key_column,
            keep_columns=given.results.keep_columns,
            allow_unknown_fields=given.failures.allow_unknown_fields,
            system_prompt=given.system_prompt,
            request_params=given.request_params or {},
            output=None if given.output_type is None else OutputType.of(given.output_type),
            media_folder=None if media.path is None else object_path(str(media.path), "media.path"),
            media_columns=media.columns,
            inline_up_to=media.inline_up_to,
        )


def prompt_of(given: BatchArguments) -> Prompt | None:
    """The prompt. What a function raises to end the task, ends the task."""
    return ending_tasks(given.prompt) if callable(given.prompt) else given.prompt
