"""The control plane of the Gemini Developer API as values: files, batches, models, errors.

Facts come from the API's published schemas (revision 20251218) and from published live captures. Two habits follow
from what they leave open. New fields, missing fields and new enum words are survived. Unknown fields are dropped,
absent counts are 0 (proto3 leaves zeros out), and an unknown state word stays readable. And int64 values are
accepted as JSON strings, which is how proto3 JSON writes them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel

FileName = Annotated[str, StringConstraints(pattern=r"^files/[a-z0-9][a-z0-9-]{0,63}$")]
"""``files/{id}``. The documented limit is 40 characters. Result files have 42 (``batch-`` + 36)."""

BatchName = Annotated[str, StringConstraints(pattern=r"^batches/[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]


class WireModel(BaseModel):
    """Reads lowerCamelCase and snake_case alike, ignores what it does not know, never changes."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class RpcStatus(WireModel):
    """``google.rpc.Status``: numeric google.rpc code, message, typed details."""

    code: int = 0
    message: str = ""
    status: str = ""
    details: tuple[dict[str, object], ...] = ()


class File(WireModel):
    """A file of the Files API. Uploaded ones are deleted by the server after 48 h."""

    name: FileName
    display_name: str = ""
    mime_type: str = ""
    size_bytes: int = 0
    state: str = ""
    uri: str = ""
    update_time: datetime | None = None
    expiration_time: datetime | None = None
    error: RpcStatus | None = None


class BatchStats(WireModel):
    """Row counts of a batch. Absent means 0."""

    request_count: int = 0
    successful_request_count: int = 0
    failed_request_count: int = 0
    pending_request_count: int = 0


class InputConfig(WireModel):
    """Where a batch reads from. Inline requests are not echoed by the server."""

    file_name: str | None = None


def _unwrap_inlined(value: object) -> object:
    """``{"inlinedResponses": {"inlinedResponses": [...]}}`` as well as a bare list (both were seen)."""
    if isinstance(value, dict):
        return value.get("inlinedResponses", value.get("inlined_responses", []))
    return value


class BatchOutput(WireModel):
    """Results: a file to download, or rows in the answer itself. Small file jobs may answer inline too."""

    responses_file: FileName | None = None
    inlined_responses: Annotated[tuple[dict[str, object], ...] | None, BeforeValidator(_unwrap_inlined)] = None

    @property
    def is_empty(self) -> bool:
        """True if there is neither a file nor rows."""
        return self.responses_file is None and self.inlined_responses is None


class BatchMetadata(WireModel):
    """The batch resource, which the API nests as the ``metadata`` of an Operation."""

    name: BatchName | None = None
    model: str = ""
    display_name: str = ""
    state: str = ""
    create_time: datetime | None = None
    update_time: datetime | None = None
    end_time: datetime | None = None
    input_config: InputConfig | None = None
    priority: int = 0
    batch_stats: BatchStats = BatchStats()
    output: BatchOutput | None = None


class _OperationResponse(BatchOutput):
    """Captures show the output's fields directly. The schema wraps them in ``output``. Both are read."""

    output: BatchOutput | None = None


class Batch(WireModel):
    """A batch job: an Operation around the batch (create, get, list), or the bare batch that update returns."""

    name: BatchName
    done: bool = False
    error: RpcStatus | None = None
    metadata: BatchMetadata = BatchMetadata()
    response: _OperationResponse | None = None

    @model_validator(mode="before")
    @classmethod
    def _wrap_bare(cls, value: object) -> object:
        if isinstance(value, dict) and "state" in value and "metadata" not in value:
            return {"name": value.get("name"), "metadata": value}
        return value

    @property
    def state(self) -> str:
        """State word without its prefix, such as ``SUCCEEDED``. Both known prefixes are accepted."""
        word = self.metadata.state
        for prefix in ("BATCH_STATE_", "JOB_STATE_"):
            word = word.removeprefix(prefix)
        return word or "UNSPECIFIED"

    @property
    def output(self) -> BatchOutput | None:
        """The results, wherever the server put them. None while there are none."""
        places = (self.response, self.response.output if self.response else None, self.metadata.output)
        return next((place for place in places if place is not None and not place.is_empty), None)


class FilePage(WireModel):
    """One page of ``files.list``."""

    items: tuple[File, ...] = Field((), validation_alias=AliasChoices("files", "items"))
    next_page_token: str = ""


class Model(WireModel):
    """A model that the key may use."""

    name: str
    display_name: str = ""
    input_token_limit: int = 0
    output_token_limit: int = 0
    supported_generation_methods: tuple[str, ...] = ()


class ModelPage(WireModel):
    """One page of ``models.list``."""

    items: tuple[Model, ...] = Field((), validation_alias=AliasChoices("models", "items"))
    next_page_token: str = ""


class Webhook(WireModel):
    """A receiver of events. ``new_signing_secret`` is told once, when the webhook is created."""

    name: str = ""
    id: str = ""
    uri: str = ""
    subscribed_events: tuple[str, ...] = ()
    state: str = ""
    new_signing_secret: str = Field("", repr=False)


class WebhookPage(WireModel):
    """One page of ``webhooks.list``."""

    items: tuple[Webhook, ...] = Field((), validation_alias=AliasChoices("webhooks", "items"))
    next_page_token: str = ""


class RotatedSecret(WireModel):
    """A new secret, told once."""

    secret: str = Field("", repr=False)


class TokenCount(WireModel):
    """What a request comes to."""

    total_tokens: int
    cached_content_token_count: int = 0


class UploadedFile(WireModel):
    """The body that ends an upload."""

    file: File


class InlineRequest(WireModel):
    """One row of an inline batch.

    :param request: A GenerateContentRequest or EmbedContentRequest, camelCase or snake_case.
    :param key: Comes back as the row's ``metadata.key``.
    """

    request: dict[str, object]
    key: str
