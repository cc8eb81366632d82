"""The type that answers are asked for. Its JSON Schema is sent and noted, and each answer is checked by it.

A pydantic model lives in the DAG's code. Its JSON Schema goes into the ledger. So a process without that code (the
sweep, a later version of the DAG) checks the answers as well.
"""

from __future__ import annotations

import importlib
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import CheckedRow, LandedRow, RowDialect, RowError, RowStatus
from airflow_provider_batch.rows.media import MediaFile
from airflow_provider_batch.rows.output.fences import fenced_values
from airflow_provider_batch.rows.output.models import as_described, not_finite, untitled
from airflow_provider_batch.rows.output.schemas import Schema, nodes_of, resolved, usual, with_null

if TYPE_CHECKING:
    from pydantic import BaseModel

CODE = "AGB-C14"

MAX_REASONS = 5
"""Faults of an answer that one row names."""

_TIMES: dict[str, type] = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
}

_PLAIN_FORMATS = ("email", "ipv4", "ipv6")


class NotOfTypeError(Exception):
    """An answer that is not of the type.

    :param reason: Where and what kind of fault, without the answer's content.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class OutputType:
    """What answers must look like. Made by :meth:`of`.

    :param json_schema: JSON Schema of an answer, plain JSON values.
    """

    def __init__(self, json_schema: Schema, model: type[BaseModel] | None) -> None:
        self.json_schema = json_schema
        self._model = model
        self._names = frozenset(_property_names(json_schema))
        self._check = _schema_checker(json_schema) if model is None else None

    @classmethod
    def of(cls, spec: type[BaseModel] | str | Mapping[str, object]) -> OutputType:
        """Read what the user gave.

        :param spec: A pydantic model, where to import one from (``package.module.Class`` or
            ``package.module:Class``), or a JSON Schema.
        :raises ConfigError: It cannot be imported, is no model, or is no valid schema.
        """
        given = _imported(spec) if isinstance(spec, str) else spec
        if isinstance(given, Mapping):
            return cls(_valid(given), None)
        model = _model(given)
        return cls(_valid(_schema_of(model)), model)

    def parse(self, text: str) -> object:
        """An answer that is JSON and nothing else, as a JSON value, as the type reads it.

        :raises NotOfTypeError: It is not of the type.
        """
        return self._dumped(self._instance(text))

    def find(self, text: str) -> tuple[object, bool]:
        """The answer as :meth:`parse` gives it, and whether it stood in a code fence.

        :raises NotOfTypeError: It is not of the type, and neither is what fills one of its code fences. Or several
            fences hold different values of the type.
        """
        instance, is_fenced = self._found(text)
        return self._dumped(instance), is_fenced

    def read(self, text: str) -> object:
        """The answer as an instance of the model, or as a JSON value if the type is a schema. Also from a fence.

        :raises NotOfTypeError: As :meth:`find`.
        """
        return self._found(text)[0]

    def _found(self, text: str) -> tuple[object, bool]:
        try:
            return self._instance(text), False
        except NotOfTypeError as fault:
            found = []
            reason = fault.reason
            for number, part in enumerate(fenced_values(text)):
                try:
                    found.append(self._instance(part))
                except NotOfTypeError as inside:
                    reason = inside.reason if number == 0 else reason
            if not found:
                raise NotOfTypeError(reason) from None
        if any(one != found[0] for one in found[1:]):
            raise NotOfTypeError("the answer: several code fences with different values")
        return found[0], True

    def _instance(self, text: str) -> object:
        """An instance of the model, or a JSON value if the type is a schema."""
        value = _decoded(text)
        if self._model is not None:
            return self._validated(text)
        assert self._check is not None
        if reasons := self._check(value, self._names):
            raise NotOfTypeError(reasons)
        return value

    def _validated(self, text: str) -> BaseModel:
        from pydantic import ValidationError

        assert self._model is not None
        try:
            return self._model.model_validate_json(text)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            found = [f"{self._place(fault['loc'])}: {fault['type']}" for fault in faults[:MAX_REASONS]]
            raise NotOfTypeError(_joined(found, len(faults))) from None
        except Exception as error:  # noqa: BLE001 - a validator of the user must not keep paid rows from landing
            raise NotOfTypeError(f"the model's own code raised {type(error).__name__}") from None

    def _dumped(self, instance: object) -> object:
        if self._model is None:
            return instance
        try:
            # A validator of the user may give anything in place of an instance.
            assert isinstance(instance, self._model)
            value = as_described(instance)
            plain = msgspec.json.decode(msgspec.json.encode(value))
        except Exception as error:  # noqa: BLE001 - as above, for serializers
            raise NotOfTypeError(f"the model cannot write it as JSON ({type(error).__name__})") from None
        # The text "NaN" is a number to pydantic, and null in JSON.
        if (path := not_finite(value)) is not None:
            raise NotOfTypeError(f"{self._place(path)}: finite_number")
        return plain

    def _place(self, path: tuple[int | str, ...]) -> str:
        return place_in_answer(path, self._names)


IN_FENCE = "parsed is what stood in a code fence of the text"

_decode_text = msgspec.json.Decoder(str | None).decode


class CheckedAnswers:
    """A dialect whose successes are of a type.

    :param dialect: The vendor's.
    :param is_strict: An answer in a code fence is not of the type.
    """

    def __init__(self, dialect: RowDialect, output: OutputType, *, is_strict: bool = False) -> None:
        self._dialect = dialect
        self._output = output
        self._is_strict = is_strict

    def check_request(self, line: bytes) -> CheckedRow:
        """As the vendor's dialect."""
        return self._dialect.check_request(line)

    def read_key(self, line: bytes) -> str:
        """As the vendor's dialect."""
        return self._dialect.read_key(line)

    def with_addresses(self, line: bytes, address: Callable[[MediaFile, str], str]) -> bytes:
        """As the vendor's dialect."""
        return self._dialect.with_addresses(line, address)

    def read_result(self, line: bytes) -> LandedRow:
        """As the vendor's dialect. A success gets ``parsed`` or becomes ``invalid_output``."""
        row = self._dialect.read_result(line)
        if row.status is not RowStatus.SUCCESS:
            return row
        text = _decode_text(row.text) or ""
        try:
            value, is_fenced = (self._output.parse(text), False) if self._is_strict else self._output.find(text)
            return msgspec.structs.replace(row, parsed=value, note=IN_FENCE if is_fenced else None)
        except NotOfTypeError as fault:
            error = RowError(message=f"the answer is not of the output type: {fault.reason}")
            return msgspec.structs.replace(row, status=RowStatus.INVALID_OUTPUT, error=error)


def place_in_answer(path: tuple[int | str, ...], names: frozenset[str]) -> str:
    """``items[0].tags``. What is not a name in the schema came from the model, so it is shown as ``*``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step if step in names else '*'}"
    return text.lstrip(".") or "the answer"


def _joined(found: list[str], total: int) -> str:
    return "; ".join(found) + (f"; and {total - len(found)} more" if total > len(found) else "")


def _decoded(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise NotOfTypeError("the answer: nested too deep") from None
    except (msgspec.MsgspecError, UnicodeError):
        raise NotOfTypeError("the answer: json_invalid") from None


def _schema_checker(schema: Schema) -> Callable[[object, frozenset[str]], str]:
    """A function that gives the faults of a value in words, empty if there are none."""
    from jsonschema import FormatChecker
    from jsonschema.validators import validator_for
    from referencing import Registry

    formats = FormatChecker(formats=_PLAIN_FORMATS)
    for name, kind in _TIMES.items():
        formats.checks(name)(_readable_as(kind))
    # An empty registry: nothing is ever fetched to resolve a reference.
    validator = validator_for(schema)(with_null(schema), format_checker=formats, registry=Registry())

    def check(value: object, names: frozenset[str]) -> str:
        try:
            faults = list(validator.iter_errors(value))
        except RecursionError:
            return "the answer: nested too deep"
        found = [f"{place_in_answer(tuple(f.absolute_path), names)}: {f.validator}" for f in faults[:MAX_REASONS]]
        return _joined(found, len(faults))

    return check


def _readable_as(kind: type) -> Callable[[object], bool]:
    def is_readable(value: object) -> bool:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return not isinstance(value, str)
        return True

    return is_readable


def _imported(spec: str) -> object:
    module, colon, name = spec.partition(":")
    if not colon:
        module, _, name = spec.rpartition(".")
    if not module or not name:
        raise _unusable(f"{spec!r} is not of the form package.module.Class")
    try:
        return operator.attrgetter(name)(importlib.import_module(module))
    except Exception as fault:
        # To import a module is to run it: anything can be raised.
        error = _unusable(f"{spec!r} cannot be imported ({type(fault).__name__}: {fault})")
        # Another worker may have it.
        error.is_final = False
        raise error from fault


def _model(spec: object) -> type[BaseModel]:
    from pydantic import BaseModel

    if not isinstance(spec, type) or not issubclass(spec, BaseModel):
        raise _unusable(f"{getattr(spec, '__qualname__', type(spec).__name__)} is not a pydantic model")
    return spec


def _schema_of(model: type[BaseModel]) -> Schema:
    from pydantic.errors import PydanticUserError

    try:
        schema = model.model_json_schema(schema_generator=untitled())
    except (PydanticUserError, NameError, TypeError, ValueError) as error:
        raise _unusable(f"{model.__qualname__} has no JSON Schema ({str(error).splitlines()[0]})") from None
    return {"title": model.__name__, **schema}


def _valid(schema: Mapping[str, object]) -> Schema:
    """The schema as plain JSON values.

    :raises ConfigError: It is none, or one that the check of an answer would stumble over.
    """
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for
    from referencing.exceptions import Unresolvable

    try:
        plain: Schema = msgspec.json.decode(msgspec.json.encode(dict(schema)))
        plain = usual(plain)
        validator_for(plain).check_schema(plain)
    except SchemaError as error:
        place = "/".join(str(step) for step in error.absolute_path) or "the top"
        raise _unusable(f"it is no valid JSON Schema, at {place}: {error.message[:200]}") from None
    except (TypeError, ValueError, RecursionError, Unresolvable) as error:
        raise _unusable(f"it is no JSON Schema ({type(error).__name__})") from None
    for node in nodes_of(plain):
        _ensure_checkable(node, plain)
    return plain


def _ensure_checkable(node: Schema, root: Schema) -> None:
    reference = node.get("$ref")
    if isinstance(reference, str) and resolved(root, reference) is None:
        raise _unusable(f"the reference {reference!r} leads nowhere inside the schema")
    pattern = node.get("pattern")
    if isinstance(pattern, str):
        try:
            re.compile(pattern)
        except re.error as error:
            raise _unusable(f"the pattern {pattern!r} cannot be read by Python's re ({error})") from None


def _property_names(schema: Schema) -> Iterator[str]:
    for node in nodes_of(schema):
        yield from node.get("properties", {})


def _unusable(what: str) -> ConfigError:
    return ConfigError(
        f"output_type cannot be used: {what}.",
        code=CODE,
        remedy="Nothing was sent or cancelled. Give a pydantic model, where to import it from "
        "(package.module.Class), or a JSON Schema.",
    )
