"""The operator: rows in, landed results out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_batch.airflow_compat import (
    Fence,
    default_deferrable,
    fail_without_retry,
    object_path,
    result_path_type,
    skip,
    sql_hook,
    task_state,
    tell_outlets,
)
from airflow_provider_batch.errors import BatchError, ConfigError, EmptyInputError, JobCancelledError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.links.gemini import LINKS, show
from airflow_provider_batch.operators.arguments import (
    count,
    is_rendered,
    one_of,
    output_spec,
    path_text,
    seconds,
    usd,
    whole,
)
from airflow_provider_batch.rows.templates import check_system_prompt, check_template, columns_in
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import BaseModel

    from airflow_provider_batch.engine.actions import Wait
    from airflow_provider_batch.engine.begin import OnContentChange, Order
    from airflow_provider_batch.engine.glance import Glance
    from airflow_provider_batch.engine.identity import Identity
    from airflow_provider_batch.engine.ledger import Ledger
    from airflow_provider_batch.engine.run import Landed, Result, Work
    from airflow_provider_batch.engine.state import Batch
    from airflow_provider_batch.engine.step import Policy
    from airflow_provider_batch.gemini.service import GeminiBatchService
    from airflow_provider_batch.hooks.gemini import Account
    from airflow_provider_batch.lineage.report import TaskReport
    from airflow_provider_batch.rows.dialect import RowDialect
    from airflow_provider_batch.rows.manifest import Manifest
    from airflow_provider_batch.rows.prompts import Prompt
    from airflow_provider_batch.rows.shards import ShardLimits
    from airflow_provider_batch.rows.sources import Source
    from airflow_provider_batch.rows.sources.tables import SqlQuery
    from airflow_provider_batch.rows.staging import Intake
    from airflow_provider_batch.rows.structured import OutputType

DEFAULT_TIMEOUT_S = 86_400.0
"""24 h, the API's own target for a batch. It ends a job itself at 48 h."""

MAX_TIMEOUT_S = 14 * 86_400.0
"""Two weeks: room for rounds and for a full queue."""

MIN_POLL_INTERVAL_S = 1.0
MAX_POLL_INTERVAL_S = 3_600.0

BLIND_WAIT_S = 300.0
"""Between looks of workers while the triggerer cannot ask about the jobs, seconds."""

DEFAULT_INLINE_BYTES = 64 * 1024
"""Of a file that is put into its row: a thumbnail. Larger ones would make the rows much larger than the text."""

MAX_INLINE_BYTES = 20 * 1024 * 1024
"""What the API takes in a request (its documentation of file input methods)."""

MAX_COUNTED_ROWS = 1000
"""Rows whose tokens the API counts before a batch is sent; each is a call."""

MAX_EARLIER_ROWS = 2000
"""Earlier answers that an estimate looks at."""

JOB_NAME_KEY = "job_name"
"""XCom key of the newest remote job, pushed as soon as the job exists."""


class GeminiBatchOperator(BaseOperator):
    """Run a JSON Lines file of Gemini requests as a batch and land the results.

    Validates every row, uploads the file, creates the job, waits, and writes ``results.jsonl`` (one line per
    input row), ``failed.jsonl`` (the requests of rows that are not a success, to be fed back as they are; and the
    rows that ``on_bad_row="skip"`` left out) and
    then ``manifest.json`` to ``result_path``. Returns the manifest. A large input becomes several jobs; rows that
    failed for a passing reason are sent again, alone.

    What was sent is kept in a ledger beside the results, ``_ledger/``, so each try goes on where the last one
    stopped. What happens to the job and the bill:

    - *Retry, clear, lost worker, recreated DAG run*: the next try goes on with the jobs that exist. Rows that have
      a usable answer are never sent again. Rows that are left over are, by a new try, until ``max_row_attempts``.
    - *Triggerer restart*: nothing; the trigger only looks.
    - *Mark failed*: the jobs are asked to end (``cancel_on_kill``); what finished is billed, and landed by the
      next try. *Clear, mark success, timeout of the DAG run, eviction of a worker*: the jobs are left alone.
    - *Timeout*: the task fails. The jobs run on and a retry goes on with them; or, with ``cancel_on_timeout``,
      they are asked to end and what finished is landed first.
    - *Cancelled by somebody else*: what finished is landed and the task fails without a retry.
    - *Rows or model changed between tries*: see ``on_content_change``.

    The events of outlet assets have the manifest as their ``extra``.

    :param model: Model name such as ``gemini-2.5-flash``. Templated.
    :param requests: Where the rows are. An absolute path or a URI (templated) of a JSON Lines, CSV or
        Parquet file, plain or compressed, of a pattern with ``*``, or of a folder; a :class:`SqlQuery`; or rows,
        as a list, a data frame or any iterable (never templated), given here or returned by an upstream task.
        Without ``prompt`` each row is a request already: ``{"key": ..., "request": {GenerateContentRequest}}``.
    :param result_path: Folder for the results: an absolute path or a URI that every worker reaches.
        Templated; must be the same in every try.
    :param conn_id: Airflow connection of type ``gemini``.
    :param prompt: Makes a request of each row: a template such as ``"Summarise: {text}"`` with names of columns,
        or a function of the row that returns a text, a list of contents (several turns), or a dict of
        GenerateContentRequest fields for this row. Not templated by Jinja: what looks like it, ``{{ ds }}``, is
        refused. Braces that are text are written twice, as in ``{{"a": 1}}``.
    :param key: Column with the key, unique in the input, for rows with a ``prompt``.
    :param system_prompt: System instruction of every row. Taken as it is, not templated; ``{{ ds }}`` and
        other names of Airflow's are refused.
    :param request_params: GenerateContentRequest fields of every row: ``generationConfig``, ``tools``,
        ``safetySettings`` and so on. What a row says itself wins, in either spelling of a name.
    :param input_format: ``openai`` = rows are in OpenAI's batch format and are converted.
    :param files_path: Folder of images, sound, video or documents that rows name, an absolute path or a URI.
        Templated. Rows name files relative to it, as ``fileData.fileUri`` or in ``file_columns``; nothing
        outside it is read. Each is uploaded once, after all rows are checked, and deleted when the batch is
        complete. None = rows name only what is uploaded already.
    :param file_columns: Columns that hold the name of a file, or a list of names, for rows with a ``prompt``.
        The files stand before the text.
    :param inline_files_up_to: Files of at most so many bytes are put into the row: no upload, no end of life.
    :param keep_columns: Columns of the source that are put beside the answers, as ``row.source``; each must be in
        some row. Keeps the order.
    :param output_type: What each answer must be: a pydantic model, where to import one from
        (``package.module.Class``), or a JSON Schema. Never templated. It is sent with every row that has no
        response schema of its own, and every answer is checked: ``row.parsed`` holds its value; one of the wrong
        type ends as ``invalid_output`` and is sent again like a row that failed for a passing reason.
    :param keep_order: Results stand in the order of the input, not as they came.
    :param output_format: ``jsonl`` or ``parquet`` (needs the extra ``[parquet]``).
    :param on_bad_row: A row that cannot be sent fails the task before anything is uploaded (``fail``), or is left
        out, counted as skipped, and put into ``failed.jsonl`` (``skip``).
    :param on_empty: An input without any row fails the task (``fail``), or skips it (``skip``), as on a night
        without new rows.
    :param allow_unknown_fields: Send request fields that this version does not know and cannot place elsewhere.
        The API refuses a batch with a field that it does not know.
    :param max_cost_usd: The task fails before anything is uploaded if the batch may cost more, by the upper end of
        the estimate, or if that is not known; rows that failed are sent again only within it. USD, above 0.
    :param dry_run: Check the rows, log and return the estimate, and stop. Nothing is uploaded.
    :param estimate_from: Folder with the results of an earlier run of the same kind, from which the output
        tokens are estimated, thinking included. Templated.
    :param count_tokens_rows: Have the API count the input tokens of so many rows for the estimate, up to 1,000.
        One free call each.
    :param wait_for_completion: False = return after submission, for :class:`GeminiBatchSensor` and
        :class:`~airflow_provider_batch.operators.fetch.GeminiBatchFetchResultsOperator`. Rows are not sent again
        then.
    :param deferrable: Wait in the triggerer instead of on a worker slot. Default:
        ``[operators] default_deferrable``.
    :param poll_interval: Seconds between looks at the job, 1 to 3,600.
    :param timeout: Seconds from submission, by the server's clock, up to two weeks. ``execution_timeout`` ends
        the wait as well if it is shorter, as Airflow itself does not apply it while a task is deferred.
    :param fail_on_partial_error: Fail the task, after landing, if any row has no usable answer.
    :param retry_failed_rows: Send rows again that failed for a passing reason (429, 5xx, expired, missing).
    :param max_row_attempts: How often a row is sent at most, over all tries, 1 to 10.
    :param cancel_on_timeout: At the deadline, ask the jobs to end and land what finished.
    :param cancel_on_kill: Ask the jobs to end when the task is marked failed.
    :param on_content_change: Rows or model are not those that were submitted for this task before: ``fail``
        names both and touches nothing; ``resubmit`` cancels what runs and pays for the new ones; ``adopt`` goes on
        with the old ones.
    :param on_ambiguous: A create call's answer was lost and no job shows for at least 12 minutes of complete
        listings, after its input was deleted: ``resubmit`` or ``fail``.
    :param shard_rows: Most rows in one remote job, None = as many as fit into 2 GB.
    :param keep_remote_files: Leave the uploaded and the result files on the server, which deletes them after 48 h.
    """

    template_fields: Sequence[str] = ("model", "requests", "result_path", "conn_id", "estimate_from", "files_path")
    ui_color = "#e8f0fe"
    operator_extra_links = LINKS
    _embeds = False

    def __init__(
        self,
        *,
        model: str,
        requests: str | os.PathLike[str] | SqlQuery | Iterable[Mapping[str, Any]],
        result_path: str | os.PathLike[str],
        conn_id: str = GeminiBatchHook.default_conn_name,
        prompt: Prompt | None = None,
        key: str = "key",
        system_prompt: str | None = None,
        request_params: Mapping[str, Any] | None = None,
        input_format: str = "gemini",
        files_path: str | os.PathLike[str] | None = None,
        file_columns: Sequence[str] = (),
        inline_files_up_to: int = DEFAULT_INLINE_BYTES,
        keep_columns: Sequence[str] = (),
        keep_order: bool = False,
        output_type: type[BaseModel] | str | dict[str, Any] | None = None,
        output_format: str = "jsonl",
        on_bad_row: str = "fail",
        on_empty: str = "fail",
        allow_unknown_fields: bool = False,
        max_cost_usd: float | str | None = None,
        dry_run: bool = False,
        estimate_from: str | os.PathLike[str] | None = None,
        count_tokens_rows: int = 0,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float = 60.0,
        timeout: float = DEFAULT_TIMEOUT_S,
        fail_on_partial_error: bool = False,
        retry_failed_rows: bool = True,
        max_row_attempts: int = 3,
        cancel_on_timeout: bool = False,
        cancel_on_kill: bool = True,
        on_content_change: OnContentChange = "fail",
        on_ambiguous: str = "resubmit",
        shard_rows: int | None = None,
        keep_remote_files: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        requests = path_text(requests)
        # Rows stay out of the templated field, so they are neither rendered nor stored in the database.
        self._given: Any = None if is_rendered(requests) else requests
        self.requests = requests if is_rendered(requests) else None
        self.result_path = path_text(result_path)
        self.conn_id = conn_id
        if prompt is not None and not callable(prompt):
            check_template(prompt)
        self.prompt = prompt
        self.key = key
        check_system_prompt(system_prompt)
        self.system_prompt = system_prompt
        self.request_params = dict(request_params or {})
        self.input_format = one_of("input_format", input_format, ("gemini", "openai"))
        self.files_path = path_text(files_path)
        self.file_columns = list(file_columns)
        if self.file_columns and files_path is None:
            raise ConfigError(
                "file_columns needs files_path, the folder of the files.",
                code="AGB-C06",
                remedy="Set files_path; nothing outside it is read.",
            )
        self.inline_files_up_to = count("inline_files_up_to", inline_files_up_to, MAX_INLINE_BYTES)
        self.keep_columns = list(keep_columns)
        self.keep_order = keep_order
        # A class has no place in the serialized DAG, so it stays out of the templated fields.
        self._output_type = output_spec(output_type)
        if output_type is not None and self.request_params:
            from airflow_provider_batch.gemini.schema import ensure_only_schema

            ensure_only_schema(self.request_params)
        self.output_format = one_of("output_format", output_format, ("jsonl", "parquet"))
        self.on_bad_row = one_of("on_bad_row", on_bad_row, ("fail", "skip"))
        self.on_empty = one_of("on_empty", on_empty, ("fail", "skip"))
        self.allow_unknown_fields = allow_unknown_fields
        self.max_cost_usd = None if max_cost_usd is None else usd(max_cost_usd)
        # Not dry_run: that is a method of Airflow's operators.
        self.is_dry_run = dry_run
        self.estimate_from = path_text(estimate_from)
        self.count_tokens_rows = count("count_tokens_rows", count_tokens_rows, MAX_COUNTED_ROWS)
        self.wait_for_completion = wait_for_completion
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.poll_interval = seconds("poll_interval", poll_interval, MIN_POLL_INTERVAL_S, MAX_POLL_INTERVAL_S)
        self.timeout = seconds("timeout", timeout, 1.0, MAX_TIMEOUT_S)
        self.fail_on_partial_error = fail_on_partial_error
        self.retry_failed_rows = retry_failed_rows
        self.max_row_attempts = whole("max_row_attempts", max_row_attempts, 10)
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.on_content_change = one_of("on_content_change", on_content_change, ("fail", "resubmit", "adopt"))
        self.on_ambiguous = one_of("on_ambiguous", on_ambiguous, ("resubmit", "fail"))
        self.shard_rows = None if shard_rows is None else whole("shard_rows", shard_rows, None)
        self.keep_remote_files = keep_remote_files
        self._live: tuple[Identity, Ledger] | None = None
        self._manifest: Manifest | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Begin, or go on with what an earlier try began."""
        from dataclasses import asdict

        from airflow_provider_batch.engine.begin import estimated, ledger_for
        from airflow_provider_batch.engine.ledger import generations
        from airflow_provider_batch.engine.observer import PREFLIGHT
        from airflow_provider_batch.lineage.report import TaskReport
        from airflow_provider_batch.rows.sinks.parquet import require_pyarrow

        if self.output_format == "parquet":
            require_pyarrow()
        intake = self._intake()
        hook = GeminiBatchHook(self.conn_id)
        account = hook.account()
        with hook.service(embeddings=self._embeds) as service, TaskReport(self.log) as report:
            order = self._order(context, account, hook)
            report.chapter(PREFLIGHT)
            try:
                if self.is_dry_run:
                    return asdict(estimated(service, order, intake, self._dialect()))
                for earlier in generations(order.folder, order.identity.mark)[-1:]:
                    # Whoever stops this try while it reads its rows means the jobs of the try before.
                    self._live = order.identity, earlier
                ledger = ledger_for(service, order, intake, self._dialect())
            except EmptyInputError as error:
                if self.on_empty == "skip":
                    raise skip(error) from None
                raise
            policy = self._policy(order, account, is_new_try=True)
            return self._go_on(context, order, self._work(context, service, order, ledger, policy, report))

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Resume after the trigger: the ledger and the API say what is next, whatever the event says."""
        from airflow_provider_batch.engine.begin import current
        from airflow_provider_batch.engine.ledger import generations
        from airflow_provider_batch.lineage.report import TaskReport

        hook = GeminiBatchHook(self.conn_id)
        account = hook.account()
        order = self._order(context, account, hook)
        known = generations(order.folder, order.identity.mark)
        if not known or event.get("ledger") != str(known[-1].folder):
            raise ConfigError(
                f"The ledger of this task, {event.get('ledger')}, is not where result_path says, {order.folder}.",
                code="AGB-C08",
                remedy="Nothing was sent or cancelled. Use a path that renders the same in every try, or restore "
                "the ledger.",
            )
        current(order, known)
        self.log.info("Resumed: %s", event.get("message") or event.get("outcome"))
        with hook.service(embeddings=self._embeds) as service, TaskReport(self.log) as report:
            policy = self._policy(order, account, is_new_try=False)
            work = self._work(context, service, order, known[-1], policy, report)
            return self._go_on(context, order, work, event)

    def on_kill(self) -> None:
        """Ask the jobs to end if the task was marked failed; leave them alone in every other case."""
        from airflow_provider_batch.engine.cancelling import RECHECK_S, may_cancel
        from airflow_provider_batch.engine.ledger import note_cancel
        from airflow_provider_batch.engine.state import read_batch

        if not self.cancel_on_kill or self._live is None:
            return
        identity, ledger = self._live
        task = _task(identity)
        first = task_state(task)
        time.sleep(RECHECK_S)
        states = [first, task_state(task)]
        batch = read_batch(ledger)
        jobs = [shard.job for shard in batch.round.shards if shard.job and not shard.landed]
        if not may_cancel(states) or not jobs:
            self.log.info("The task is %s: its jobs are left alone.", states[-1] or "in an unknown state")
            return
        asked, errors = [], []
        try:
            with GeminiBatchHook(self.conn_id).service() as service:
                for name in jobs:
                    self.log.warning("The task is %s: %s is asked to end.", states[-1], name)
                    try:
                        service.cancel(name)
                        asked.append(name)
                    except BatchError as error:
                        self.log.error("%s could not be asked to end and may run on: %s", name, error)
                        errors.append(error)
        finally:
            if asked:
                note_cancel(ledger, f"r{batch.round.number}.cancel.json", "the task was stopped")
        if errors:
            raise errors[0]

    def get_openlineage_facets_on_start(self) -> Any:
        """What the OpenLineage provider asks before the task runs."""
        from airflow_provider_batch.lineage.gemini import lineage

        return lineage([self.requests, self.files_path])

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the OpenLineage provider asks when the task has succeeded."""
        from airflow_provider_batch.lineage.gemini import lineage

        ledger = self._live[1] if self._live else None
        return lineage([self.requests, self.files_path], self._manifest, ledger)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """The same when it has failed: what was sent, and what has landed all the same."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _intake(self) -> Intake:
        """Where the rows come from, and how each becomes a request."""
        from airflow_provider_batch.rows.staging import Intake

        return Intake(
            _source(self._given if self._given is not None else self.requests),
            self._to_line_with_files(),
            self._rewrite(),
            tuple(self.keep_columns),
            self.on_bad_row,  # type: ignore[arg-type]
            self.count_tokens_rows,
            columns_in(self.prompt),
        )

    def _to_line_with_files(self) -> Callable[[bytes | Mapping[str, Any]], bytes]:
        from airflow_provider_batch.gemini.attachments import RowFiles
        from airflow_provider_batch.rows.attachments import FileFolder

        to_line, folder = self._to_line(), self._files()
        if folder is None:
            return to_line
        files = RowFiles(FileFolder(folder, self.inline_files_up_to))
        return lambda data: files.line(to_line(data))

    def _to_line(self) -> Callable[[bytes | Mapping[str, Any]], bytes]:
        from airflow_provider_batch.gemini.requests import RequestTemplate

        return RequestTemplate(
            self.prompt, self.key, self.system_prompt, self.request_params, self.input_format, self.file_columns
        ).line

    def _files(self) -> Any:
        """The folder of the files that rows name, None if they name none."""
        return None if self.files_path is None else object_path(self.files_path, "files_path")

    def _output(self) -> OutputType | None:
        from airflow_provider_batch.rows.structured import OutputType

        return None if self._output_type is None else OutputType.of(self._output_type)

    def _rewrite(self) -> Callable[[bytes], bytes] | None:
        from airflow_provider_batch.gemini.schema import asking_for

        output = self._output()
        return asking_for(output.json_schema) if output else None

    def _dialect(self) -> RowDialect:
        from airflow_provider_batch.gemini.rows import GeminiRows

        return GeminiRows(
            self._model_name(),
            allow_unknown_fields=self.allow_unknown_fields,
            with_files=self.files_path is not None,
        )

    def _model_name(self) -> str:
        from airflow_provider_batch.gemini.calls import model_path

        return model_path(self.model).removeprefix("models/")

    def _order(self, context: Context, account: Account, hook: GeminiBatchHook) -> Order:
        from airflow_provider_batch.engine.begin import Order
        from airflow_provider_batch.engine.documents import Layout
        from airflow_provider_batch.engine.preflight import Budget

        output = self._output()
        return Order(
            identity=_identity(context, account.deployment),
            account=account.label,
            model=self._model_name(),
            folder=object_path(self.result_path, "result_path"),
            limits=self._limits(account),
            on_content_change=self.on_content_change,  # type: ignore[arg-type]
            budget=Budget(self.max_cost_usd, hook.prices().price, self._earlier),
            files_needed_s=min(self.timeout, DEFAULT_TIMEOUT_S),
            output_schema=output.json_schema if output else None,
            layout=Layout(
                format=self.output_format,  # type: ignore[arg-type]
                in_input_order=self.keep_order,
                keeps_remote_files=self.keep_remote_files,
            ),
        )

    def _earlier(self) -> list[int]:
        """Output tokens of earlier answers, thinking included."""
        from itertools import islice

        from airflow_provider_batch.rows.manifest import Manifest
        from airflow_provider_batch.rows.results import read_results

        if not self.estimate_from:
            return []
        folder = object_path(self.estimate_from, "estimate_from")
        manifest = Manifest.read(folder)
        if manifest is None:
            self.log.warning("There are no results in %s to estimate from.", folder)
            return []
        rows = islice(read_results(manifest, path_type=result_path_type()), MAX_EARLIER_ROWS)
        return [row.usage.output + row.usage.thinking for row in rows if row.usage is not None]

    def _limits(self, account: Account) -> ShardLimits:
        from airflow_provider_batch.rows.shards import MAX_SHARD_BYTES, ShardLimits

        # The API's address of a file may be longer than its name.
        size = MAX_SHARD_BYTES if self.files_path is None else MAX_SHARD_BYTES * 3 // 4
        return ShardLimits(rows=self.shard_rows, size_bytes=size, tokens=account.max_enqueued_tokens)

    def _policy(self, order: Order, account: Account, *, is_new_try: bool) -> Policy:
        from airflow_provider_batch.engine.step import Policy

        shorter = [] if self.execution_timeout is None else [self.execution_timeout.total_seconds()]
        return Policy(
            timeout_s=min([self.timeout, *shorter]),
            max_row_attempts=self.max_row_attempts,
            retry_failed_rows=self.retry_failed_rows,
            cancel_on_timeout=self.cancel_on_timeout,
            resubmit_ambiguous=self.on_ambiguous == "resubmit",
            max_tokens_in_flight=account.max_enqueued_tokens,
            affords=order.budget.affords,
            is_new_try=is_new_try,
            submit_only=not self.wait_for_completion,
        )

    def _go_on(
        self, context: Context, order: Order, work: Work, event: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        from dataclasses import replace

        from airflow_provider_batch.engine.actions import Wait
        from airflow_provider_batch.engine.glance import KEY
        from airflow_provider_batch.engine.run import Landed, Run

        self._live = order.identity, work.ledger
        glance = self._glance(work.ledger, work.policy)
        show(context["ti"], KEY, glance)
        while True:
            result: Result = Run(work).go()
            if isinstance(result, Landed) and self.wait_for_completion:
                return self._ended(context, result, glance)
            if not isinstance(result, Wait):
                return self._submission(result.batch, work.ledger)
            if self.deferrable:
                self._defer(result, order.identity, work, event or {})
            time.sleep(max(0.1, min(self.poll_interval, left_s(result, work.service.now()))))
            work = replace(work, policy=replace(work.policy, is_new_try=False))

    def _work(
        self,
        context: Context,
        service: GeminiBatchService,
        order: Order,
        ledger: Ledger,
        policy: Policy,
        report: TaskReport,
    ) -> Work:
        from airflow_provider_batch.engine.run import Work

        fence = Fence(context.get("task_state_store"), str(ledger.folder.parent))
        fence.check_pointer()
        ti = context["ti"]
        return Work(
            service=service,
            ledger=ledger,
            folder=order.folder,
            dialect=self._dialect(),
            policy=policy,
            limits=order.limits,
            prices=order.budget.prices,
            output=self._output(),
            fence=fence,
            files=self._files(),
            on_job=lambda name: ti.xcom_push(key=JOB_NAME_KEY, value=name),
            observer=report,
        )

    def _defer(self, wait: Wait, identity: Identity, work: Work, event: Mapping[str, Any]) -> None:
        from airflow_provider_batch.engine.state import read_batch

        looks, until = True, wait.until
        if event.get("outcome") in ("unreadable", "unknown_state"):
            # This worker has just looked. The triggerer would end the next wait at once, and so on for ever.
            looks, until = False, min(wait.until or wait.deadline, work.service.now() + BLIND_WAIT_S)
            self.log.warning(
                "The triggerer cannot wait for the jobs, and this worker can: %s A worker looks again in %.0f s. "
                "Make the connection %r, and this package, the same on triggerers and workers.",
                event.get("message"),
                BLIND_WAIT_S,
                self.conn_id,
            )
        self.defer(
            trigger=GeminiBatchTrigger(
                conn_id=self.conn_id,
                deadline=wait.deadline,
                job_names=wait.jobs,
                display_names=wait.names,
                until=until,
                poll_interval=self.poll_interval,
                ledger=str(work.ledger.folder),
                waiting_task=_task(identity) if self.cancel_on_kill else None,
                cancel_note=f"r{read_batch(work.ledger).round.number}.cancel.json",
                looks=looks,
            ),
            method_name="execute_complete",
        )

    def _glance(self, ledger: Ledger, policy: Policy) -> Glance:
        from airflow_provider_batch.engine.glance import of_plan
        from airflow_provider_batch.engine.state import read_batch
        from airflow_provider_batch.engine.step import deadline

        batch = read_batch(ledger)
        return of_plan(batch.plan, str(ledger.folder), self.conn_id, deadline(batch.round, policy))

    def _ended(self, context: Context, landed: Landed, glance: Glance) -> dict[str, Any]:
        from airflow_provider_batch.engine import glance as glances
        from airflow_provider_batch.engine.outcome import ensure_complete, ensure_done

        self._manifest = landed.manifest
        show(context["ti"], glances.KEY, glances.landed(glance, landed.manifest))
        try:
            ensure_done(landed.batch, landed.manifest)
        except JobCancelledError as error:
            raise fail_without_retry(error) from error
        if self.fail_on_partial_error:
            ensure_complete(landed.manifest)
        tell_outlets(context, self.outlets, landed.manifest.to_xcom())
        return landed.manifest.to_xcom()

    def _submission(self, batch: Batch, ledger: Ledger) -> dict[str, Any]:
        from airflow_provider_batch.engine.submission import Submission

        plan, jobs = batch.plan, batch.jobs
        return Submission(
            job_name=jobs[0] if jobs else "",
            job_names=jobs,
            model=plan.model,
            result_path=self.result_path,
            ledger=str(ledger.folder),
            request_count=plan.rows,
            submitted_at=plan.first.created_at,
        ).to_xcom()


def left_s(wait: Wait, now: float) -> float:
    """Seconds until something is due."""
    return min(wait.deadline, wait.until if wait.until is not None else wait.deadline) - now


def _source(requests: Any) -> Source:
    """What is to be read: an opened path, a query, a data frame, or rows."""
    from airflow_provider_batch.rows.sources.choice import source_of
    from airflow_provider_batch.rows.sources.tables import QueryRows, SqlQuery

    requests = path_text(requests)
    if isinstance(requests, str):
        return source_of(object_path(requests, "requests"))
    if isinstance(requests, SqlQuery):
        connect = sql_hook(requests.conn_id).get_conn
        return QueryRows(connect, requests.sql, requests.parameters, f"the query on {requests.conn_id}")
    return source_of(requests)


def _identity(context: Context, deployment: str) -> Identity:
    from airflow_provider_batch.engine.identity import Identity

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return Identity(ti.dag_id, ti.task_id, ti.run_id, map_index, deployment)


def _task(identity: Identity) -> dict[str, Any]:
    return {
        "dag_id": identity.dag_id,
        "task_id": identity.task_id,
        "run_id": identity.run_id,
        "map_index": identity.map_index,
    }
