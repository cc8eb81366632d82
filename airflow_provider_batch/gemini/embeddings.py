"""Rows of embeddings jobs: ``{"key": ..., "request": {EmbedContentRequest}}`` in, a vector out.

One content a row, so that each key has one vector: models are reported to fold a list of contents into one
(graphiti issue 1467). Results are read by :class:`~airflow_provider_batch.gemini.rows.GeminiRows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.gemini.rows import GeminiRows, checked_row
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.prompts import Prompt, check_template, columns_of, key_of, render
from airflow_provider_batch.rows.staging import encode_row

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

_FIELDS = {"model", "content", "taskType", "task_type", "title", "outputDimensionality", "output_dimensionality"}


class EmbeddingRows(GeminiRows):
    """The dialect of embeddings jobs."""

    def check_request(self, line: bytes) -> str:
        """The key of an input line.

        :raises BadRowError: Not JSON, no usable key, or not one content with something in it.
        """
        key, request = checked_row(line)
        if stray := sorted(set(request) - _FIELDS):
            hint = '; it wants one "content"' if stray[0] == "contents" else ""
            raise BadRowError("AGB-I15", f"an embeddings request has no field {ascii(stray[0])[:40]}{hint}", key)
        content = request.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) and p for p in parts):
            raise BadRowError("AGB-I16", "request.content needs parts with something in them", key)
        if any(part.get("text") == "" for part in parts):
            raise BadRowError("AGB-I16", "request.content has an empty text, which has no vector", key)
        return key


@dataclass(frozen=True)
class EmbeddingTemplate:
    """How a row of columns becomes a text to embed.

    :param prompt: Template or function that gives the text; None = rows are requests already.
    :param key: Column with the key.
    :param task_type: What the vectors are for.
    :param dimensions: Numbers in each vector, None = what the model gives.
    """

    prompt: Prompt | None
    key: str = "key"
    task_type: str | None = None
    dimensions: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.prompt, str):
            check_template(self.prompt)

    def line(self, data: bytes | Mapping[str, Any]) -> bytes:
        """The request line of a record.

        :raises BadRowError: A column is missing, or the record cannot be a request.
        """
        if self.prompt is None and isinstance(data, bytes) and not self._options():
            return data
        row = columns_of(data)
        if self.prompt is None:
            request = row.get("request")
            given = {**self._options(), **request} if isinstance(request, Mapping) else request
            return encode_row({**row, "request": given})
        key = key_of(row, self.key)
        text = self.prompt(row) if callable(self.prompt) else render(self.prompt, row)
        if not isinstance(text, str):
            raise BadRowError("AGB-I25", f"the prompt function gave {type(text).__name__}, not text", key)
        return encode_row({"key": key, "request": {"content": {"parts": [{"text": text}]}, **self._options()}})

    def _options(self) -> dict[str, Any]:
        options = {"taskType": self.task_type, "outputDimensionality": self.dimensions}
        return {name: value for name, value in options.items() if value is not None}
