"""The operator for embeddings: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.operators.gemini import GeminiBatchOperator, prompt_of

if TYPE_CHECKING:
    from airflow_provider_batch.gemini.rows.form import EmbeddingForm
    from airflow_provider_batch.operators.options import BatchArguments
    from airflow_provider_batch.rows.prompt import Prompt
    from airflow_provider_batch.rows.read.tables import SqlQuery

_NOT_FOR_VECTORS = (
    "system_prompt",
    "request_params",
    "output_type",
    "media",
)


class GeminiEmbeddingsBatchOperator(GeminiBatchOperator):
    """Run a batch of texts through an embedding model and land one vector for each.

    Everything else is as in :class:`GeminiBatchOperator`. Retries, clears and lost workers go on with the jobs
    that exist, and what happens to the bill is the same. ``row.vector`` holds the vector.

    :param requests: As there. Without ``prompt`` each row is ``{"key": ..., "request": {EmbedContentRequest}}``.
    :param prompt: Makes the text of each row: a template with names of columns, or a function of the row.
    :param model: Embedding model such as ``gemini-embedding-001``. Templated.
    :param task_type: What the vectors are for, such as ``RETRIEVAL_DOCUMENT`` or ``CLUSTERING``.
    :param output_dimensionality: Numbers in each vector, None = what the model gives. Vectors shorter than the
        model's full length are not of unit length on every model. See the API's documentation.
    """

    def __init__(
        self,
        *,
        model: str = "gemini-embedding-001",
        requests: str | SqlQuery | Iterable[Mapping[str, Any]],
        prompt: Prompt | None = None,
        task_type: str | None = None,
        output_dimensionality: int | None = None,
        **kwargs: Any,
    ) -> None:
        from airflow_provider_batch.gemini.rows.embeddings import check_options

        if stray := [name for name in _NOT_FOR_VECTORS if name in kwargs]:
            raise ConfigError(
                f"{stray[0]} means nothing to an embedding model.",
                code="AGB-C06",
                remedy="Leave it out, or use GeminiBatchOperator.",
            )
        check_options(task_type, output_dimensionality)
        super().__init__(model=model, requests=requests, prompt=prompt, **kwargs)
        self._ensure_no_calls()
        # Not task_type: that is Airflow's name for the class of a task.
        self.embedding_task_type = task_type
        self.output_dimensionality = output_dimensionality

    def _ensure_no_calls(self) -> None:
        """Make sure that no argument asks for single calls.

        :raises ConfigError: One does.
        """
        from airflow_provider_batch.operators.options import FailureOptions

        asked = {
            "trial_rows": self.trial_rows,
            "ready_by": self.ready_by,
            'failures.at_timeout="answer"': FailureOptions.of(self.failures).at_timeout == "answer",
        }
        for name, is_asked in asked.items():
            if is_asked:
                from airflow_provider_batch.batch.send.before_calls import no_calls_for_vectors

                raise no_calls_for_vectors(f"{name} is given to {type(self).__name__}")

    def _form(self, given: BatchArguments) -> EmbeddingForm:
        from airflow_provider_batch.gemini.rows.form import EmbeddingForm

        return EmbeddingForm(
            model=given.model,
            prompt=prompt_of(given),
            key_column=given.key_column,
            keep_columns=given.results.keep_columns,
            allow_unknown_fields=given.failures.allow_unknown_fields,
            task_type=self.embedding_task_type,
            output_dimensionality=self.output_dimensionality,
        )
