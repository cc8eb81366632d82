"""An answer is of the type that was asked for, or it is said where it is not, without its content."""

import pytest
from pydantic import BaseModel, Field, field_validator

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.output.type import NotOfTypeError, OutputType

SCHEMA = {"type": "object", "properties": {"stars": {"type": "integer", "minimum": 1}}, "required": ["stars"]}


class Label(BaseModel):
    stars: int = Field(ge=1, le=5)
    tags: list[str] = []

    @field_validator("tags")
    @classmethod
    def few(cls, tags):
        if len(tags) > 2:
            raise RuntimeError("too many tags: " + ", ".join(tags))
        return tags


def test_an_answer_is_read_as_json_and_as_an_instance():
    output = OutputType.of(Label)
    assert output.parse('{"stars": 4}') == {"stars": 4, "tags": []}
    assert output.read('{"stars": 4}') == Label(stars=4)


def test_a_model_may_be_named_by_where_to_import_it():
    assert OutputType.of("airflow_provider_batch.rows.manifest.TokenTotals").read('{"input": 3}').input == 3
    assert OutputType.of("airflow_provider_batch.rows.manifest:TokenTotals").parse("{}")["input"] == 0


@pytest.mark.parametrize("spec", [Label, SCHEMA], ids=["model", "schema"])
@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ('{"stars": 0}', "stars"),
        ('{"stars": "secret"}', "stars"),
        ("{}", ""),
        ("secret", "the answer"),
        ('["secret"]', "the answer"),
        ("", "the answer"),
    ],
)
def test_a_wrong_answer_says_where_and_not_what(spec, answer, where):
    with pytest.raises(NotOfTypeError) as caught:
        OutputType.of(spec).parse(answer)
    assert where in caught.value.reason
    assert "secret" not in caught.value.reason


def test_a_validator_that_breaks_keeps_no_paid_row_from_landing():
    with pytest.raises(NotOfTypeError, match="RuntimeError") as caught:
        OutputType.of(Label).parse('{"stars": 1, "tags": ["secret", "b", "c"]}')
    assert "secret" not in caught.value.reason


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere.Label", "cannot be imported"),
        ("Label", "is not of the form"),
        (int, "is not a pydantic model"),
        ({"type": "thing"}, "no valid JSON Schema"),
        ({"$ref": "#/$defs/Gone"}, "leads nowhere"),
    ],
)
def test_a_type_that_is_none_is_refused(spec, words):
    with pytest.raises(ConfigError, match=words) as caught:
        OutputType.of(spec)
    assert caught.value.code == "AGB-C14"
