"""How the rows of a batch become requests and how its answers are read. The user's arguments decide both.

The one place for the operators and the shell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from upath import UPath

from airflow_provider_batch.contract import DEFAULT_INLINE_BYTES
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.client.calls import model_path
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.embeddings import EmbeddingRows, EmbeddingTemplate, check_options
from airflow_provider_batch.gemini.rows.media import RowFiles
from airflow_provider_batch.gemini.rows.requests import RequestTemplate
from airflow_provider_batch.gemini.rows.schema import asking_for, ensure_only_schema
from airflow_provider_batch.rows.check.staging import Intake
from airflow_provider_batch.rows.media import MediaFolder
from airflow_provider_batch.rows.output.type import OutputType
from airflow_provider_batch.rows.prompt import Prompt
from airflow_provider_batch.rows.read import Source
from airflow_provider_batch.rows.templates import columns_in

ToLine = Callable[[bytes | Mapping[str, Any]], bytes]
"""A record, as it was read, to its request line."""


@dataclass(frozen=True)
class RequestForm:
    """What a user says of the rows of a batch, for requests that a model answers.

    :param model: With or without ``models/``. Empty = not known yet.
    :param prompt: Template or function. None = rows are requests already.
    :param key_column: Column with the key.
    :param keep_columns: Columns that are kept beside the answers.
    :param allow_unknown_fields: Send request fields that are not known here.
    :param system_prompt: System instruction of every row.
    :param request_params: GenerateContentRequest fields of every row.
    :param output: The type of the answers, None = anything.
    :param media_folder: Of the media files that rows name, None = rows name none.
    :param media_columns: Columns with the name of a media file.
    :param inline_up_to: Media files of at most so many bytes are put into the row.
    """

    model: str
    prompt: Prompt | None = None
    key_column: str = "key"
    keep_columns: Sequence[str] = ()
    allow_unknown_fields: bool = False
    system_prompt: str | None = None
    request_params: Mapping[str, Any] = field(default_factory=dict)
    output: OutputType | None = None
    media_folder: UPath | None = None
    media_columns: Sequence[str] = ()
    inline_up_to: int = DEFAULT_INLINE_BYTES

    embeds = False

    def __post_init__(self) -> None:
        if self.media_columns and self.media_folder is None:
            raise ConfigError(
                "Columns with media files need the folder of the files.",
                code="AGB-C06",
                remedy="Give the folder too. Nothing outside of that folder is read.",
            )
        if self.output is not None and self.request_params:
            ensure_only_schema(self.request_params)

    @property
    def model_name(self) -> str:
        """The bare name of the model. Empty if it is not known yet."""
        return model_path(self.model).removeprefix("models/") if self.model else ""

    def intake(
        self, source: Source, *, on_bad_row: Literal["fail", "skip"] = "fail", sample_rows: int = 0
    ) -> Intake:
        """Where the rows come from, and how each becomes a request.

        :param on_bad_row: ``skip`` leaves rows out that cannot be sent.
        :param sample_rows: Rows whose tokens the API will count.
        :raises ConfigError: The parts of the form exclude each other.
        """
        return Intake(
            source,
            self._to_line(),
            asking_for(self.output.json_schema) if self.output else None,
            tuple(self.keep_columns),
            on_bad_row,
            sample_rows,
            columns_in(self.prompt),
        )

    def dialect(self) -> GeminiRows:
        """What checks the requests and reads the answers."""
        return GeminiRows(
            self.model_name,
            allow_unknown_fields=self.allow_unknown_fields,
            with_files=self.media_folder is not None,
        )

    def _to_line(self) -> ToLine:
        to_line = RequestTemplate(
            self.prompt,
            self.key_column,
            self.system_prompt,
            self.request_params,
            self.media_columns,
            self.keep_columns,
        ).line
        if self.media_folder is None:
            return to_line
        files = RowFiles(MediaFolder(self.media_folder, self.inline_up_to))
        return lambda data: files.line(to_line(data))


@dataclass(frozen=True)
class EmbeddingForm(RequestForm):
    """The same for texts that become vectors.

    :param task_type: What the vectors are for, such as ``RETRIEVAL_DOCUMENT``.
    :param output_dimensionality: Numbers in each vector, None = what the model gives.
    """

    task_type: str | None = None
    output_dimensionality: int | None = None

    embeds = True

    def __post_init__(self) -> None:
        check_options(self.task_type, self.output_dimensionality)

    def dialect(self) -> EmbeddingRows:
        """What checks the requests and reads the vectors."""
        return EmbeddingRows(self.model_name, allow_unknown_fields=self.allow_unknown_fields)

    def _to_line(self) -> ToLine:
        return EmbeddingTemplate(
            self.prompt, self.key_column, self.task_type, self.output_dimensionality, self.keep_columns
        ).line
