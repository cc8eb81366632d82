"""What is noted about deliveries, and what a reader makes of it."""

import json

import pytest

from airflow_provider_batch.batch.wait.webhook_notes import ALL, KEEP_S, MOST, Reader, key_of, noted

NOW = 1_795_000_000.0


def jobs(note):
    return list(json.loads(note)["jobs"])


def test_what_two_writers_noted_within_a_minute_is_there_for_both():
    first = noted(None, ["batches/a"], NOW)
    assert jobs(noted(first, ["batches/b"], NOW + 1)) == ["batches/a", "batches/b"]


def test_a_job_is_forgotten_after_a_minute():
    first = noted(None, ["batches/a"], NOW)
    assert jobs(noted(first, ["batches/b"], NOW + KEEP_S)) == ["batches/b"]


def test_a_time_that_another_clock_wrote_ahead_does_not_stay_for_ever():
    ahead = noted(None, ["batches/a"], NOW + 1000)
    assert jobs(noted(ahead, ["batches/b"], NOW)) == ["batches/b"]


def test_more_jobs_than_are_named_become_all():
    full = noted(None, [f"batches/{number}" for number in range(MOST)], NOW)
    assert len(jobs(full)) == MOST
    assert jobs(noted(full, ["batches/another"], NOW + 1)) == [ALL]


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_delivery_without_a_usable_name_is_about_any_job(name):
    assert jobs(noted(None, [name], NOW)) == [ALL]


def test_a_reader_tells_each_delivery_once():
    reader = Reader()
    note = noted(None, ["batches/a"], NOW)
    assert reader.news(note) == ["batches/a"]
    assert reader.news(note) == []
    assert reader.news(noted(note, ["batches/b"], NOW + 1)) == ["batches/b"]


def test_a_second_delivery_about_the_same_job_is_news():
    reader = Reader()
    note = noted(None, ["batches/a"], NOW)
    reader.news(note)
    assert reader.news(noted(note, ["batches/a"], NOW + 1)) == ["batches/a"]


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "1", '{"jobs": 1}', '{"jobs": {"a": "b"}}', '{"jobs": [1]}']
)
def test_whatever_people_write_there_is_no_news_and_no_obstacle(text):
    assert Reader().news(text) == []
    assert jobs(noted(text, ["batches/a"], NOW)) == ["batches/a"]


def test_the_note_has_a_name_that_airflow_does_not_take_for_a_secret():
    assert key_of("gemini_api_key") == "gemini_batch_woken_d1a5d4cc0ff5"
    assert key_of("gemini_default") != key_of("gemini_api_key")
