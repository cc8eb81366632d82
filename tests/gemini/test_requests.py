"""Columns become requests: a key, a prompt, and what is the same for all rows."""

import json

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.requests import RequestTemplate
from airflow_provider_batch.rows.dialect import BadRowError

ROW = {"id": 7, "text": "Good {quality}", "score": 0.25}


def request(template, row=ROW):
    line = json.loads(template.line(row))
    GeminiRows().check_request(template.line(row))
    return line["request"]


def text_of(template, row=ROW):
    return request(template, row)["contents"][0]["parts"][0]["text"]


def test_a_template_takes_columns_by_name_and_the_key_is_text():
    line = json.loads(RequestTemplate("Rate: {text} ({score:.1f}) {{as is}}", key="id").line(ROW))
    assert line["key"] == "7"
    assert line["request"]["contents"] == [
        {"role": "user", "parts": [{"text": "Rate: Good {quality} (0.2) {as is}"}]}
    ]


def test_what_stands_in_a_column_is_never_a_template():
    assert text_of(RequestTemplate("{text}", key="id"), ROW | {"text": "{id} {{ ds }}"}) == "{id} {{ ds }}"


def test_a_line_of_json_lines_has_columns_too():
    assert text_of(RequestTemplate("{text}", key="id"), json.dumps(ROW).encode()) == "Good {quality}"


def test_system_prompt_and_parameters_go_to_every_row():
    template = RequestTemplate(
        "{text}", "id", system="Be brief. {not a field}", params={"generationConfig": {"temperature": 0}}
    )
    made = request(template)
    assert made["systemInstruction"] == {"parts": [{"text": "Be brief. {not a field}"}]}
    assert made["generationConfig"] == {"temperature": 0}


def test_a_function_may_give_a_text_a_conversation_or_fields():
    turns = [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]
    assert text_of(RequestTemplate(lambda row: row["text"].upper(), "id")) == "GOOD {QUALITY}"
    assert request(RequestTemplate(lambda row: turns, "id"))["contents"] == turns
    assert request(RequestTemplate(lambda row: {"contents": turns}, "id"))["contents"] == turns


def test_what_a_row_says_wins_over_what_all_rows_say():
    template = RequestTemplate(
        lambda row: {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"temperature": 1}},
        "id",
        params={"generationConfig": {"temperature": 0, "maxOutputTokens": 5}},
    )
    assert request(template)["generationConfig"] == {"temperature": 1, "maxOutputTokens": 5}


@pytest.mark.parametrize("row_spells", ["generation_config", "generationConfig"])
@pytest.mark.parametrize("all_spell", ["generation_config", "generationConfig"])
def test_what_a_row_says_wins_in_either_spelling_of_the_name(row_spells, all_spell):
    contents = [{"parts": [{"text": "x"}]}]
    row = {
        "contents": contents,
        row_spells: {"max_output_tokens": 9},
        "system_instruction": {"parts": [{"text": "r"}]},
    }
    params = {all_spell: {"maxOutputTokens": 5, "temperature": 0}}
    made = request(RequestTemplate(system="all", params=params), {"key": "a", "request": row})
    assert made == {
        "contents": contents,
        row_spells: {"temperature": 0, "max_output_tokens": 9},
        "system_instruction": {"parts": [{"text": "r"}]},
    }


AS_JSON = {"responseMimeType": "application/json"}


def test_a_schema_of_a_row_replaces_the_whole_schema_of_all_rows():
    def schema(name):
        return {"responseSchema": {"type": "OBJECT", "properties": {name: {"type": "STRING"}}}}

    row = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": schema("own")}
    template = RequestTemplate(params={"generationConfig": schema("shared") | AS_JSON})
    made = request(template, {"key": "a", "request": row})
    assert made["generationConfig"] == schema("own") | AS_JSON


def test_a_row_that_is_a_request_passes_through_byte_for_byte():
    line = b'{ "key":"a",  "request":{"contents":[{"parts":[{"text":"x"}]}]} }'
    assert RequestTemplate().line(line) == line


def test_parameters_are_laid_under_rows_that_are_requests():
    row = {"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}], "safetySettings": []}}
    made = request(RequestTemplate(params={"safetySettings": [{"category": "c"}], "tools": [{}]}), row)
    assert (made["safetySettings"], made["tools"]) == ([], [{}])


def test_a_request_in_a_column_may_be_json_text():
    row = {"key": "a", "request": '{"contents": [{"parts": [{"text": "x"}]}]}'}
    assert text_of(RequestTemplate(), row) == "x"


def raising(row):
    raise RuntimeError(row["text"])


@pytest.mark.parametrize(
    ("prompt", "row", "code", "words"),
    [
        ("{missing}", ROW, "AGB-I25", "no column 'missing' for the prompt"),
        ("{text}", ROW | {"text": None}, "AGB-I25", "'text' has no value"),
        ("{text:d}", ROW, "AGB-I25", "cannot be formatted"),
        ("{text}", {"text": "x"}, "AGB-I25", "no column 'id' for the key"),
        ("{text}", ROW | {"id": None}, "AGB-I13", "not empty"),
        ("{text}", ROW | {"id": ""}, "AGB-I13", "the key column 'id' is empty"),
        ("{text}", ROW | {"id": 1.5}, "AGB-I13", "not float"),
        ("{text}", ROW | {"id": True}, "AGB-I13", "not bool"),
        ("{text}", b"[1]", "AGB-I12", "must be an object"),
        ("{text}", b"{", "AGB-I06", "not JSON"),
        (raising, ROW, "AGB-I25", "the prompt function raised RuntimeError at line"),
        (lambda row: 7, ROW, "AGB-I25", "gave int, not text"),
        (lambda row: {"contents": object()}, ROW, "AGB-I12", "JSON cannot express"),
    ],
)
def test_a_row_that_cannot_be_asked_says_why_without_its_content(prompt, row, code, words):
    with pytest.raises(BadRowError, match=words) as caught:
        RequestTemplate(prompt, "id").line(row)
    assert caught.value.code == code
    assert "Good" not in str(caught.value)


@pytest.mark.parametrize(
    "prompt", ["{", "{}", "{0}", "{a.b}", "{a[0]}", "}", 7, ["{text}"], 'Say {"a": 1}', "{\n}"]
)
def test_a_template_that_is_more_than_names_is_refused(prompt):
    with pytest.raises(ConfigError, match="AGB-C13"):
        RequestTemplate(prompt)


JINJA = [
    "Day {{ ds }}: {text}",
    "Day {{ds}}: {text}",
    "{{ dag_run.conf['day'] }} {text}",
    "{{ params.tone | upper }} {text}",
    "{{ macros.ds_add(ds, -1) }} {text}",
    "{{ ti.xcom_pull(task_ids='a') }} {text}",
    "{{- logical_date.year -}} {text}",
    "{{ my_macro }} {text}",
    "{% if ds %}x{% endif %} {text}",
]


@pytest.mark.parametrize("prompt", JINJA)
def test_a_prompt_with_jinja_is_refused_rather_than_sent_as_it_stands(prompt):
    with pytest.raises(
        ConfigError, match="which Jinja does not render here: it would be sent as it stands"
    ) as caught:
        RequestTemplate(prompt, "id")
    assert caught.value.code == "AGB-C13"
    assert "function of the row" in caught.value.remedy


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('Answer as {{"a": 1}}: {id}', 'Answer as {"a": 1}: 7'),
        ('{{ "sentiment": "good" }} {id}', '{ "sentiment": "good" } 7'),
        ("{{ a: 1, ds: 2 }} {id}", "{ a: 1, ds: 2 } 7"),
        ("Fill in {{name}} and {{task}} {id}", "Fill in {name} and {task} 7"),
        ("{{{id}}}", "{7}"),
        ("{{ a, b }} {id}", "{ a, b } 7"),
        ("Write {{{{ ds }}}} for the day {id}", "Write {{ ds }} for the day 7"),
        ("{{% if x %}} {id}", "{% if x %} 7"),
        ("100 % of {id}", "100 % of 7"),
    ],
)
def test_braces_that_are_text_stay_text(prompt, text):
    assert text_of(RequestTemplate(prompt, "id")) == text


@pytest.mark.parametrize("system", ["Today is {{ ds }}.", "{{ params.tone }}", "{{ti.run_id}}", ["Be brief"]])
def test_a_system_prompt_that_only_airflow_could_fill_in_is_refused(system):
    with pytest.raises(ConfigError, match="AGB-C13"):
        RequestTemplate("{text}", "id", system=system)


@pytest.mark.parametrize("system", ["Use {{ name }} and {{task}}", "Write dbt: {{ ref('a') }}, {{ var('b') }}"])
def test_templates_of_other_tools_pass_in_a_system_prompt(system):
    assert (
        request(RequestTemplate("{text}", "id", system=system))["systemInstruction"]["parts"][0]["text"] == system
    )


OPENAI = {
    "custom_id": "r1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {
        "model": "gpt-4o",
        "temperature": 0,
        "max_tokens": 9,
        "stop": "END",
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, None]},
            {"role": "assistant", "content": "A cat."},
            {"role": "user", "content": "Sure?"},
        ],
    },
}
OPENAI["body"]["messages"][1]["content"][1] = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64,AAAA"},
}


def test_a_row_in_openais_format_is_converted_whatever_stands_around_it():
    line = json.loads(RequestTemplate().line(json.dumps(OPENAI).encode()))
    assert line == {
        "key": "r1",
        "request": {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "What is it?"},
                        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                    ],
                },
                {"role": "model", "parts": [{"text": "A cat."}]},
                {"role": "user", "parts": [{"text": "Sure?"}]},
            ],
            "generationConfig": {
                "temperature": 0,
                "maxOutputTokens": 9,
                "stopSequences": ["END"],
                "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object"},
            },
        },
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logit_bias": {}}, "body.logit_bias has no counterpart"),
        ({"messages": "hi"}, "not a chat completion"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool'"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "type 'input_audio'"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": []}]}, "tool calls"),
        ({"messages": [{"role": "user", "content": None}]}, "no content"),
        ({"response_format": {"type": "grammar"}}, "response_format 'grammar'"),
    ],
)
def test_what_openai_has_and_gemini_has_not_is_refused_by_name(change, words):
    row = OPENAI | {"body": OPENAI["body"] | change}
    with pytest.raises(BadRowError, match=words):
        RequestTemplate().line(row)


ASK = {"contents": [{"parts": [{"text": "hi"}]}]}


@pytest.mark.parametrize(
    "row",
    [
        {"key": "a", "request": ASK, "custom_id": "b", "body": {}},
        {"key": "a", "request": {"contents": [{"parts": [{"text": '"custom_id"'}]}]}},
        {"key": "a", "custom_id": "b"},
    ],
    ids=["a request beside it", "its name in a text", "no body"],
)
def test_a_row_that_is_not_in_openais_format_stays_as_it_is(row):
    assert json.loads(RequestTemplate().line(json.dumps(row).encode())) == row
