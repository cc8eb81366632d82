"""Rows of embeddings jobs: ``{"key": ..., "request": {EmbedContentRequest}}`` in, a vector out.

There is one content a row, so that each key has one vector. Models are reported to fold a list of contents into
one (graphiti issue 1467). Results are read by :class:`~airflow_provider_batch.gemini.rows.dialect.GeminiRows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.rows.checks import Facts, RequestCheck
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.field_types import check_range
from airflow_provider_batch.gemini.rows.fields import EMBED
from airflow_provider_batch.gemini.rows.requests import given_row, has_more, laid_over, parsed_request
from airflow_provider_batch.rows.check.staging import encode_row
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.prompt import Prompt, check_prompt, columns_of, evaluated, key_of, with_text_key

TASK_TYPES = (
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
)
"""``TaskType`` of the API's published document, revision 20251218."""


def check_options(task_type: str | None, dimensions: int | None) -> None:
    """Whether a template can be made of these.

    :raises ConfigError: The API does not know the task type, or a vector cannot have so many numbers.
    """
    if task_type is not None and task_type not in TASK_TYPES:
        raise _wrong(f"task_type must be one of {', '.join(TASK_TYPES)}, got {task_type!r}")
    if dimensions is not None and (not isinstance(dimensions, int) or dimensions < 1):
        raise _wrong(f"output_dimensionality must be a whole number from 1, got {dimensions!r}")


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"{what}.", code="AGB-C06", remedy="Correct it.")


class EmbeddingCheck(RequestCheck):
    """Checks EmbedContentRequest objects and what stands beside them."""

    _homes: ClassVar[Mapping[str, str]] = {
        **{name: f"request.{name}" for name in EMBED},
        "contents": "request.content (one for each row, as each key has one vector)",
        "text": 'request.content: {"parts": [{"text": ...}]}',
        "input": 'request.content: {"parts": [{"text": ...}]}',
        "dimensions": "request.outputDimensionality",
        "config": "request (an embeddings request has no config around its fields)",
        "embedContentConfig": "request (an embeddings request has no config around its fields)",
    }

    def request(self, request: Mapping[str, object]) -> Facts:
        """Check a request.

        :raises BadRowError: The API would refuse it, or it is not one content with something in it.
        """
        fields = self._fields(request, EMBED, "request")
        self._check_model(fields.get("model"))
        check_range(fields.get("outputDimensionality"), 1, None, "request.outputDimensionality")
        facts = self._content(fields.get("content"), "request.content")
        if not facts.text_bytes and not facts.media:
            raise BadRowError("AGB-I16", "request.content has an empty text, which has no vector")
        return facts


class EmbeddingRows(GeminiRows):
    """The dialect of embeddings jobs."""

    _checks = EmbeddingCheck

    def __init__(
        self, model: str | None = None, *, allow_unknown_fields: bool = False, with_files: bool = False
    ) -> None:
        super().__init__(model, allow_unknown_fields=allow_unknown_fields, with_files=with_files)
        self._lengths = set()


@dataclass(frozen=True)
class EmbeddingTemplate:
    """How a row of columns becomes a text to embed.

    :param prompt: Template or function that gives the text. None = rows are requests already.
    :param key: Column with the key.
    :param task_type: What the vectors are for.
    :param dimensions: Numbers in each vector, None = what the model gives.
    :param beside: Columns that are kept beside the answers: they are no fields of rows that are requests.
    """

    prompt: Prompt | None
    key: str = "key"
    task_type: str | None = None
    dimensions: int | None = None
    beside: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_prompt(self.prompt)

    def line(self, data: bytes | Mapping[str, object]) -> bytes:
        """The request line of a record.

        :raises BadRowError: A column is missing, or the record cannot be a request.
        """
        if self.prompt is None:
            return self._given(data)
        row = columns_of(data)
        key = key_of(row, self.key)
        text = evaluated(self.prompt, row, key)
        if not isinstance(text, str):
            raise BadRowError("AGB-I25", f"the prompt function gave {type(text).__name__}, not text", key)
        return encode_row({"key": key, "request": {"content": {"parts": [{"text": text}]}, **self._options()}})

    def _given(self, data: bytes | Mapping[str, object]) -> bytes:
        """A row that is a request already: as it stands if nothing is to be added."""
        if isinstance(data, bytes) and not self._options() and not has_more(data, self.beside):
            return data
        row = with_text_key(given_row(data, self.beside))
        request = parsed_request(row)
        if isinstance(request, Mapping):
            row["request"] = laid_over(self._options(), request)
        key = row.get("key")
        return encode_row(row, key if isinstance(key, str) else None)

    def _options(self) -> dict[str, object]:
        options = {"taskType": self.task_type, "outputDimensionality": self.dimensions}
        return {name: value for name, value in options.items() if value is not None}
