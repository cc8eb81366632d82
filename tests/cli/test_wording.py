"""Messages of the engine, in the words of a shell."""

from __future__ import annotations

import pytest

from airflow_provider_batch.cli.printing import counted
from airflow_provider_batch.cli.wording import in_shell_words
from tests.cli.conftest import SUBMIT


@pytest.mark.parametrize(
    ("engine", "shell"),
    [
        ("max_cost_usd is 5, or leave max_cost_usd out.", "--max-cost-usd is 5, or leave --max-cost-usd out."),
        (
            'set on_content_change="cancel_and_resubmit" to pay',
            "set --on-content-change cancel_and_resubmit to pay",
        ),
        ("set allow_unknown_fields=True if", "set --allow-unknown-fields if"),
        ('Or on_bad_row="skip".', "Or --skip-bad-rows."),
        (
            "Clear the task later to fetch the results.",
            "Run airflow-batch submit again later to fetch the results.",
        ),
        ("Nothing was sent. Run the task again.", "Nothing was sent. Run the command again."),
        ("correct it and run the task again", "correct it and run the command again"),
        ("A new try of this task sends the rest.", "Running airflow-batch submit again sends the rest."),
        ("Set the extra \"account\" of the connection to 'a1'.", "Give --account 'a1'."),
        ("Uploaded 1 rows, 1 bytes, 11 rows, 2.1 rows", "Uploaded 1 row, 1 byte, 11 rows, 2.1 rows"),
        ("1 rows are sent again", "1 row is sent again"),
        ("1,001 rows are sent again", "1,001 rows are sent again"),
    ],
)
def test_a_shell_speaks_of_commands_and_options(engine, shell):
    assert in_shell_words(engine) == shell


@pytest.mark.parametrize(
    "text",
    [
        "/data/result_path/rows.jsonl",
        "the column 'output_type' is empty",
        'unknown field "task_type"',
        "my_result_path",
        "result_path.jsonl",
        "the batch of dag.label of run r, which lands it",
    ],
)
def test_names_of_files_and_columns_stay_as_they_are(text):
    assert in_shell_words(text) == text


def test_one_is_singular_and_thousands_are_grouped():
    assert [counted(n, "row") for n in (0, 1, 2, 1200)] == ["0 rows", "1 row", "2 rows", "1,200 rows"]


def test_a_batch_that_may_cost_too_much_names_the_option(ab, rows, calls):
    ended = ab(*SUBMIT, "--max-cost-usd", "0.000001")
    assert (ended.status, calls("batches.create")) == (1, [])
    assert "--max-cost-usd" in ended.err
    assert "max_cost_usd" not in ended.err


def test_other_rows_are_refused_in_the_words_of_the_shell(ab, rows):
    ab(*SUBMIT)
    rows("x", "y")
    ended = ab(*SUBMIT)
    assert ended.status == 2
    assert "set --on-content-change cancel_and_resubmit to pay for the new rows" in ended.err
    assert "task" not in ended.err.rpartition("error:")[2]


def test_a_file_of_one_row_is_one_row_everywhere(ab, rows):
    rows("a")
    assert "rows.jsonl: 1 row, " in ab("validate", "rows.jsonl").out
    assert ": 1 row with gemini-2.5-flash" in ab(*SUBMIT).out or "1 row with" in ab(*SUBMIT).out
    waited = ab("wait", "out", "--poll-interval", "1")
    shown = ab("show", "out")
    assert "  1 row with gemini-2.5-flash" in shown.out
    for ended in (waited, shown):
        assert "1 rows" not in ended.out + ended.err


def test_times_have_one_form_for_people_and_one_for_scripts(ab, rows, job):
    name = job()
    ab("wait", name, "--poll-interval", "1")
    created = ab("show", name, "--json").json["created_at"]
    assert created[10] == "T"
    assert created.endswith("Z")
    assert f"{created[:19].replace('T', ' ')} UTC" in ab("show", name).out
    ab(*SUBMIT, "--wait")
    view = ab("show", "out", "--json").json
    times = [event["at"] for event in view["history"]] + [ab(*SUBMIT, "--wait", "--json").json["submitted_at"]]
    assert all(time[10] == "T" and time.endswith("Z") for time in times)
