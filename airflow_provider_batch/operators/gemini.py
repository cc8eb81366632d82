"""The operator: rows in, landed results out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_batch.airflow_compat import default_deferrable, ending_tasks, object_path
from airflow_provider_batch.arguments import Check, checked_usd, has_references, path_text, resolved
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.links.gemini import LINKS
from airflow_provider_batch.operators.options import CHECKS, DEFAULT_INLINE_BYTES
from airflow_provider_batch.operators.requests import check_params, check_requests, is_rendered, source
from airflow_provider_batch.operators.running import BatchRun
from airflow_provider_batch.rows.templates import columns_in

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.sdk import Context
    from pydantic import BaseModel

    from airflow_provider_batch.batch.send.start import OnContentChange
    from airflow_provider_batch.rows.check.staging import Intake
    from airflow_provider_batch.rows.dialect import RowDialect
    from airflow_provider_batch.rows.output.type import OutputType
    from airflow_provider_batch.rows.prompt import Prompt
    from airflow_provider_batch.rows.read.tables import SqlQuery

MAX_EARLIER_ROWS = 2000
"""Earlier answers that an estimate looks at."""


class GeminiBatchOperator(BatchRun):
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
    - *An error that no retry can mend*, such as rows that cannot be sent: the task fails at once, by an
      ``AirflowFailException`` whose cause is the error, and uses up no retries.

    The events of outlet assets have the manifest as their ``extra``.

    Every argument is checked: where the DAG is read if it is a value, in the task if it is templated. A templated
    one takes whatever Airflow resolves. A text that a template yields, such as ``"False"``, ``"60"`` or
    ``"1:30:00"``, is read as what it says. A subclass may add others to ``template_fields``. Paths may be
    texts, or of ``pathlib``, ``upath`` or Airflow's object storage.

    :param model: Model name such as ``gemini-2.5-flash``. Templated.
    :param requests: Where the rows are. An absolute path or a URI (templated) of a JSON Lines, CSV, Parquet or
        text file, plain or compressed, of a pattern with ``*``, or of a folder (a text file is one row, with the
        columns ``key``, its name, and ``text``); a :class:`SqlQuery`; or rows, as a list, a data frame or any
        iterable (never templated), given here or returned by an upstream task.
        Without ``prompt`` each row is a request already: ``{"key": ..., "request": {GenerateContentRequest}}``.
    :param result_path: Folder for the results: an absolute path or a URI that every worker reaches.
        Templated; must be the same in every try.
    :param conn_id: Airflow connection of type ``gemini``.
    :param prompt: Makes a request of each row: a template such as ``"Summarise: {text}"`` with names of columns,
        or a function of the row that returns a text, a list of contents (several turns), or a dict of
        GenerateContentRequest fields for this row; it may raise ``AirflowSkipException`` or
        ``AirflowFailException``. Not templated by Jinja: what looks like it, ``{{ ds }}``, is
        refused. Braces that are text are written twice, as in ``{{"a": 1}}``.
    :param key: Column with the key, unique in the input, for rows with a ``prompt``.
    :param system_prompt: System instruction of every row. Templated; no column is put in.
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
    :param strict_output: An answer in a code fence ends as ``invalid_output``. Otherwise what fills the fence is
        taken, whatever stands around it, and ``row.note`` says so.
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
        Templated; a template that gives nothing is refused.
    :param dry_run: Check the rows, log and return the estimate, and stop. Nothing is uploaded, the tasks
        downstream are skipped. Templated.
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
    :param timeout: Seconds or a ``timedelta`` from submission, by the server's clock, up to two weeks. Templated.
        ``execution_timeout`` ends
        the wait as well if it is shorter, as Airflow itself does not apply it while a task is deferred.
    :param max_failed_fraction: Fail the task, after landing, if a greater share of the rows has no usable answer,
        0 to 1. Rows left out by ``on_bad_row="skip"`` are among them. None = any number of them, but not all.
    :param fail_on_partial_error: The same as ``max_failed_fraction=0``: fail if any row has no usable answer.
    :param retry_failed_rows: Send rows again that failed for a passing reason (429, 5xx, expired, missing).
    :param max_row_attempts: How often a row is sent at most, over all tries, 1 to 10.
    :param cancel_on_timeout: At the deadline, ask the jobs to end and land what finished.
    :param cancel_on_kill: Ask the jobs to end when the task is marked failed.
    :param on_content_change: Rows or model are not those that were submitted for this task before: ``fail``
        names both and touches nothing; ``resubmit`` cancels what runs and pays for the new ones; ``adopt`` goes on
        with the old ones. Templated.
    :param on_ambiguous: A create call's answer was lost and no job shows for at least 12 minutes of complete
        listings, after its input was deleted: ``resubmit`` or ``fail``.
    :param shard_rows: Most rows in one remote job, None = as many as fit into 2 GB.
    :param keep_remote_files: Leave the uploaded and the result files on the server, which deletes them after 48 h.
    """

    template_fields: Sequence[str] = (
        "model",
        "requests",
        "result_path",
        "conn_id",
        "estimate_from",
        "files_path",
        "system_prompt",
        "max_cost_usd",
        "timeout",
        "on_content_change",
        "is_dry_run",
    )
    template_ext: Sequence[str] = (".sql",)
    ui_color = "#e8f0fe"
    operator_extra_links = LINKS

    prompt: Prompt | None
    key: str
    system_prompt: str | None
    request_params: dict[str, Any]
    input_format: str
    file_columns: list[str]
    inline_files_up_to: int
    keep_columns: list[str]
    on_bad_row: str
    allow_unknown_fields: bool
    estimate_from: str | None
    count_tokens_rows: int
    _output_type: Any

    checks: ClassVar[Mapping[str, Check]] = CHECKS
    rendered_checks: ClassVar[Mapping[str, Check]] = {"max_cost_usd": checked_usd}

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
        strict_output: bool = False,
        output_format: str = "jsonl",
        on_bad_row: str = "fail",
        on_empty: str = "fail",
        allow_unknown_fields: bool = False,
        max_cost_usd: float | str | None = None,
        dry_run: bool | str = False,
        estimate_from: str | os.PathLike[str] | None = None,
        count_tokens_rows: int = 0,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 60.0,
        timeout: float | str | timedelta = DEFAULT_TIMEOUT_S,
        max_failed_fraction: float | None = None,
        fail_on_partial_error: bool = False,
        retry_failed_rows: bool = True,
        max_row_attempts: int = 3,
        cancel_on_timeout: bool = False,
        cancel_on_kill: bool = True,
        on_content_change: OnContentChange | str = "fail",
        on_ambiguous: str = "resubmit",
        shard_rows: int | None = None,
        keep_remote_files: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Rows stay out of the templated field, so they are neither rendered nor stored in the database.
        self._given: Any = None if is_rendered(requests) else requests
        self.requests = path_text(requests) if is_rendered(requests) else None
        self._take(
            model=model,
            result_path=result_path,
            conn_id=conn_id,
            prompt=prompt,
            key=key,
            system_prompt=system_prompt,
            request_params={} if request_params is None else request_params,
            input_format=input_format,
            files_path=files_path,
            file_columns=file_columns,
            inline_files_up_to=inline_files_up_to,
            keep_columns=keep_columns,
            keep_order=keep_order,
            output_format=output_format,
            on_bad_row=on_bad_row,
            on_empty=on_empty,
            allow_unknown_fields=allow_unknown_fields,
            max_cost_usd=max_cost_usd,
            estimate_from=estimate_from,
            count_tokens_rows=count_tokens_rows,
            wait_for_completion=wait_for_completion,
            poll_interval=poll_interval,
            timeout=timeout,
            max_failed_fraction=max_failed_fraction,
            fail_on_partial_error=fail_on_partial_error,
            retry_failed_rows=retry_failed_rows,
            max_row_attempts=max_row_attempts,
            cancel_on_timeout=cancel_on_timeout,
            cancel_on_kill=cancel_on_kill,
            on_content_change=on_content_change,
            on_ambiguous=on_ambiguous,
            shard_rows=shard_rows,
            keep_remote_files=keep_remote_files,
            # A class has no place in the serialized DAG, so it stays out of the templated fields.
            _output_type=output_type,
            # Not dry_run: that is a method of Airflow's operators.
            is_dry_run=dry_run,
            deferrable=default_deferrable() if deferrable is None else deferrable,
        )
        check_requests(self, self.requests if self._given is None else self._given)
        self._check_together()

    def _check_rendered(self, context: Context) -> None:
        super()._check_rendered(context)
        self._check_together()
        if has_references(self._given):
            self._given = resolved(self._given, context)

    def _check_together(self) -> None:
        """Check what depends on more than one argument, as far as it is known when the DAG is read.

        :raises ConfigError: They contradict each other.
        """
        if self.file_columns and self.files_path is None:
            raise ConfigError(
                "file_columns needs files_path, the folder of the files.",
                code="AGB-C06",
                remedy="Set files_path; nothing outside it is read.",
            )
        if self.request_params:
            if self._output_type is not None:
                from airflow_provider_batch.gemini.rows.schema import ensure_only_schema

                ensure_only_schema(self.request_params)
            check_params(self.request_params, allow_unknown_fields=self.allow_unknown_fields)
        if (self.file_columns or self.input_format != "gemini") and "system_prompt" not in self._pending:
            self._to_line()

    def _intake(self) -> Intake:
        """Where the rows come from, and how each becomes a request."""
        from airflow_provider_batch.rows.check.staging import Intake

        return Intake(
            source(self._given if self._given is not None else self.requests),
            self._to_line_with_files(),
            self._rewrite(),
            tuple(self.keep_columns),
            self.on_bad_row,  # type: ignore[arg-type]
            self.count_tokens_rows,
            columns_in(self.prompt),
        )

    def _to_line_with_files(self) -> Callable[[bytes | Mapping[str, Any]], bytes]:
        from airflow_provider_batch.gemini.rows.media import RowFiles
        from airflow_provider_batch.rows.media import MediaFolder

        to_line, folder = self._to_line(), self._files()
        if folder is None:
            return to_line
        files = RowFiles(MediaFolder(folder, self.inline_files_up_to))
        return lambda data: files.line(to_line(data))

    def _to_line(self) -> Callable[[bytes | Mapping[str, Any]], bytes]:
        from airflow_provider_batch.gemini.rows.requests import RequestTemplate

        return RequestTemplate(
            self._prompt(),
            self.key,
            self.system_prompt,
            self.request_params,
            self.input_format,
            self.file_columns,
            self.keep_columns,
        ).line

    def _prompt(self) -> Prompt | None:
        return ending_tasks(self.prompt) if callable(self.prompt) else self.prompt

    def _files(self) -> Any:
        """The folder of the files that rows name, None if they name none."""
        return None if self.files_path is None else object_path(self.files_path, "files_path")

    def _output(self) -> OutputType | None:
        from airflow_provider_batch.rows.output.type import OutputType

        return None if self._output_type is None else OutputType.of(self._output_type)

    def _rewrite(self) -> Callable[[bytes], bytes] | None:
        from airflow_provider_batch.gemini.rows.schema import asking_for

        output = self._output()
        return asking_for(output.json_schema) if output else None

    def _dialect(self) -> RowDialect:
        from airflow_provider_batch.gemini.rows.dialect import GeminiRows

        return GeminiRows(
            self._model_name(),
            allow_unknown_fields=self.allow_unknown_fields,
            with_files=self.files_path is not None,
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
        rows = islice(read_results(manifest), MAX_EARLIER_ROWS)
        return [row.usage.output + row.usage.thinking for row in rows if row.usage is not None]
