"""The API's published OpenAPI document as strict JSON Schema: a field that it does not have is an error.

Requests may spell fields in snake_case, as proto3 JSON allows. A read-only field must not be sent. An Any says
with ``@type`` what it holds and is checked as that.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import jsonschema

from tests.conformance.recording import Exchange

Schema = dict[str, Any]
REF = "#/components/schemas/"


class Deviation(NamedTuple):
    """One thing that real traffic does and the document does not say.

    :param name: For switching it off.
    :param source: Who says so. *Capture*: published JSON of a live service. *SDK*: logged traffic of google-genai.
    """

    name: str
    source: str


DEVIATIONS = [
    # Answers.
    Deviation("results stand in the response itself, not in its field output", "capture of 2025-12-10"),
    Deviation("types are of v1main whatever the path says", "capture of 2025-12-10"),
    Deviation("inline requests are not echoed", "capture of 2025-12-10"),
    Deviation("a batch without a display name has none", "SDK sends none; the answer is our inference"),
    Deviation("an HTTP error has the word of its code in status", "every error that anybody published"),
    Deviation("usage names the service tier", "guide, priority-inference; SDK reads usageMetadata.serviceTier"),
    Deviation("an embedding says how many tokens it was made of", "Google's cookbook; SDK reads tokenCount"),
    # Requests.
    Deviation("the path names the model of a batch", "guide, api/batch-api; SDK"),
    Deviation("the path names the model of a row", "all examples of the guide; SDK"),
    Deviation("a single call asks for a service tier", "guide, flex-inference; SDK sends serviceTier"),
    Deviation("a batch may be created without a display name", "SDK"),
    Deviation("an upload says its MIME type and size", "SDK; both are read-only in the document"),
    Deviation("an update sends only what its mask names", "meaning of updateMask in Google's APIs; inference"),
    Deviation("a download is asked for with alt instead of $alt", "SDK"),
    Deviation("uploads have a path of their own", "discovery document"),
    Deviation("v1 is v1beta", "SDK 3.x calls v1, 2.x calls v1beta"),
]

_FORMATS: dict[str, Schema] = {
    "int64": {"type": "string", "pattern": r"^-?\d{1,19}$"},
    "int32": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "date-time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.(\d{3}|\d{6}|\d{9}))?Z$"},
    "google-duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$"},
    "byte": {"type": "string", "pattern": r"^[A-Za-z0-9+/_-]*={0,2}$"},
}
_TIER: Schema = {"enum": ["standard", "flex", "priority"]}
_TYPE_URL = re.compile(r"type\.googleapis\.com/google\.ai\.generativelanguage\.(v1main|v1beta)\.(\w+)")
_UPLOAD = re.compile(r"/(?:resumable/)?upload/v1(?:beta)?/files")
_BATCHES = ("GenerateContentBatch", "EmbedContentBatch")


class NotPublishedError(AssertionError):
    """The document does not have this."""


class Document:
    """The document with the deviations that are not switched off."""

    def __init__(self, content: dict[str, Any], without: Collection[str] = ()) -> None:
        self._content = content
        self._without = frozenset(without)
        unknown = self._without - {deviation.name for deviation in DEVIATIONS}
        assert not unknown, unknown
        self._requests = self._request_forms()
        self._answers = self._answer_forms()

    def problems(self, exchanges: list[Exchange], *, answers_only: bool = False) -> list[str]:
        """What does not fit, in words; empty if all is well."""
        found = []
        for exchange in exchanges:
            try:
                if not answers_only:
                    self.check_request(exchange)
                self.check_answer(exchange)
            except (NotPublishedError, jsonschema.ValidationError) as problem:
                found.append(f"{exchange.method} {exchange.path}: {problem}")
        return found

    def check_request(self, exchange: Exchange) -> None:
        """Path, query and body of a request."""
        operation = self._operation(exchange)
        self._check_query(operation, exchange)
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        is_chunk = "upload_id=" in exchange.query
        if exchange.sent is None or is_chunk or (schema is None and exchange.sent == {}):
            return
        if schema is None:
            raise NotPublishedError("the call has no body")
        self._valid(self._spelled(exchange.sent, schema, self._requests), schema, self._requests)

    def check_answer(self, exchange: Exchange) -> None:
        """Body of an answer."""
        if exchange.status >= 400:
            self._valid(exchange.answered, {"$ref": REF + "HttpError"}, self._answers)
            self._check_details(exchange.answered["error"])
            return
        if exchange.answered is None or exchange.path.endswith(":download"):
            return
        schema = self._operation(exchange)["responses"]["default"]["content"]["application/json"]["schema"]
        answer = copy.deepcopy(exchange.answered)
        for operation in self._operations_in(answer):
            self._check_typed(operation)
        self._valid(answer, schema, self._answers)

    def is_valid(self, value: Any, name: str, *, sent: bool) -> bool:
        """Whether a value has the form of a named schema."""
        forms, schema = (self._requests if sent else self._answers), {"$ref": REF + name}
        try:
            self._valid(self._spelled(value, schema, forms) if sent else value, schema, forms)
        except jsonschema.ValidationError:
            return False
        return True

    def _has(self, deviation: str) -> bool:
        assert deviation in {known.name for known in DEVIATIONS}, deviation
        return deviation not in self._without

    # What the document says, with the deviations.

    def _request_forms(self) -> dict[str, Schema]:
        forms = self._forms(with_read_only=False)
        for batch in _BATCHES:
            needed = set(forms[batch]["required"])
            if self._has("the path names the model of a batch"):
                needed -= {"model"}
            if self._has("a batch may be created without a display name"):
                needed -= {"displayName"}
            forms[f"{batch}.update"] = {**forms[batch], "required": []}
            forms[batch]["required"] = sorted(needed)
        if self._has("the path names the model of a row"):
            for row in ("GenerateContentRequest", "EmbedContentRequest"):
                forms[row]["required"] = [name for name in forms[row]["required"] if name != "model"]
        if self._has("a single call asks for a service tier"):
            forms["GenerateContentRequest"]["properties"] |= {"serviceTier": _TIER}
        if self._has("an upload says its MIME type and size"):
            forms["File"]["properties"] |= {
                "mimeType": {"type": "string"},
                "sizeBytes": {"type": ["integer", "string"]},
            }
        return forms

    def _answer_forms(self) -> dict[str, Schema]:
        forms = self._forms(with_read_only=True)
        for batch in _BATCHES:
            needed = set(forms[batch]["required"])
            if self._has("inline requests are not echoed"):
                needed -= {"inputConfig"}
            if self._has("a batch without a display name has none"):
                needed -= {"displayName"}
            forms[batch]["required"] = sorted(needed)
        if self._has("an embedding says how many tokens it was made of"):
            forms["EmbedContentResponse"]["properties"] |= {"tokenCount": _FORMATS["int64"]}
        if self._has("usage names the service tier"):
            forms["UsageMetadata"]["properties"] |= {"serviceTier": _TIER}
        error = copy.deepcopy(forms["Status"])
        if self._has("an HTTP error has the word of its code in status"):
            error["properties"]["status"] = {"type": "string", "pattern": "^[A-Z_]+$"}
        error["required"] = ["code", "message"]
        forms["HttpError"] = _closed_object({"error": error}, ["error"])
        # What an Any holds is checked apart, by its own type.
        for name in [name for name in forms if name.endswith("Operation")]:
            forms[name]["properties"] |= {"metadata": {"type": "object"}, "response": {"type": "object"}}
        return forms

    def _forms(self, *, with_read_only: bool) -> dict[str, Schema]:
        schemas = self._content["components"]["schemas"]
        return {name: self._strict(schema, with_read_only) for name, schema in schemas.items()}

    def _strict(self, schema: Schema, with_read_only: bool) -> Schema:
        if "$ref" in schema:
            return {"$ref": schema["$ref"]}
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        parts = [self._named(part) for part in schema.get("allOf", ())]
        if len(parts) == 1 and not schema.get("properties"):
            return self._strict(schema["allOf"][0], with_read_only)
        strict = {name: schema[name] for name in ("type", "enum") if name in schema}
        if "items" in schema:
            strict["items"] = self._strict(schema["items"], with_read_only)
        if schema.get("type") != "object":
            return strict
        if "additionalProperties" in schema:
            return strict | {"additionalProperties": self._strict(schema["additionalProperties"], with_read_only)}
        fields, needed = {}, []
        for part in (*parts, schema):
            fields |= part.get("properties", {})
            needed += part.get("required", [])
        kept = {name: field for name, field in fields.items() if with_read_only or not field.get("readOnly")}
        forms = {name: self._strict(field, with_read_only) for name, field in kept.items()}
        return _closed_object(forms, [name for name in needed if name in forms])

    def _named(self, schema: Schema) -> Schema:
        return (
            self._content["components"]["schemas"][schema["$ref"].removeprefix(REF)]
            if "$ref" in schema
            else schema
        )

    # Where a request goes.

    def call(self, exchange: Exchange) -> tuple[str, str]:
        """Method and path template of a request."""
        method, path = exchange.method.lower(), exchange.path
        if _UPLOAD.fullmatch(path) and self._has("uploads have a path of their own"):
            path = "/v1beta/files"
        if self._has("v1 is v1beta"):
            path = re.sub(r"^/v1/", "/v1beta/", path)
        for template, operations in self._content["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(template))
            if method in operations and re.fullmatch(pattern, path):
                return method, template
        raise NotPublishedError("the document has no such call")

    def _operation(self, exchange: Exchange) -> dict[str, Any]:
        method, template = self.call(exchange)
        operation: dict[str, Any] = self._content["paths"][template][method]
        return self._for_updates(operation) if method == "patch" else operation

    def _for_updates(self, operation: dict[str, Any]) -> dict[str, Any]:
        if not self._has("an update sends only what its mask names"):
            return operation
        changed = copy.deepcopy(operation)
        changed["requestBody"]["content"]["application/json"]["schema"]["$ref"] += ".update"
        return changed

    def _check_query(self, operation: dict[str, Any], exchange: Exchange) -> None:
        if _UPLOAD.fullmatch(exchange.path):
            return
        known = {item["name"] for item in operation.get("parameters", ()) if item.get("in") == "query"}
        known |= {item["name"] for item in self._content["components"]["parameters"].values()}
        if self._has("a download is asked for with alt instead of $alt"):
            known |= {"alt"}
        for pair in filter(None, exchange.query.split("&")):
            if pair.partition("=")[0] not in known:
                raise NotPublishedError(f"the call has no parameter {pair.partition('=')[0]}")

    # What an Any holds.

    def _operations_in(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "operations" in answer:
            yield from answer["operations"]
        elif "metadata" in answer:
            yield answer

    def _check_typed(self, operation: dict[str, Any]) -> None:
        for place in ("metadata", "response"):
            if place not in operation:
                continue
            held = dict(operation[place])
            match = _TYPE_URL.fullmatch(held.pop("@type", ""))
            if match is None:
                raise NotPublishedError(f"{place} does not say what it holds")
            version, kind = match.groups()
            if version != "v1beta" and not self._has("types are of v1main whatever the path says"):
                raise NotPublishedError(f"{place} is of {version}")
            if kind.endswith("Output") and not self._has(
                "results stand in the response itself, not in its field output"
            ):
                raise NotPublishedError(f"{place} is a {kind}")
            self._valid(held, {"$ref": REF + kind}, self._answers)
        if "error" in operation:
            self._check_details(operation["error"])

    def _check_details(self, error: dict[str, Any]) -> None:
        for detail in error.get("details", ()):
            if "@type" not in detail:
                raise NotPublishedError("a detail of an error does not say what it is")

    # Values.

    def _valid(self, value: Any, schema: Schema, forms: dict[str, Schema]) -> None:
        whole = {"components": {"schemas": forms}, **schema}
        jsonschema.Draft202012Validator(whole).validate(value)

    def _spelled(self, value: Any, schema: Schema, forms: dict[str, Schema]) -> Any:
        """The value with its fields in lowerCamelCase, and the keys of free objects as they are."""
        if "$ref" in schema:
            schema = forms[schema["$ref"].removeprefix(REF)]
        if isinstance(value, list):
            return [self._spelled(item, schema.get("items", {}), forms) for item in value]
        if not isinstance(value, dict) or "properties" not in schema:
            return value
        camel = {_camel(name): of for name, of in value.items()}
        return {name: self._spelled(of, schema["properties"].get(name, {}), forms) for name, of in camel.items()}


def _closed_object(properties: dict[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match.group(1).upper(), name)
