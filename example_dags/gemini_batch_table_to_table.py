"""New rows of a table are labelled every night and their labels go back into the database.

Incremental: only reviews without a label, up to the night's date. A night without new rows is skipped.
Idempotent: labels of a key are replaced, never doubled. A night that is cleared after its labels were loaded finds
other rows than before, as those have a label now. With ``on_content_change="adopt"`` it goes on with the batch it
paid for, and loads that again. Rows that came late are for the next night.

It needs a connection ``warehouse`` of any SQL database that Airflow has a hook for, with these tables. ``make
airflow`` makes them in SQLite::

    CREATE TABLE reviews (id text PRIMARY KEY, created_on date, text text);
    CREATE TABLE labels (id text PRIMARY KEY, sentiment text, created_on date, output_tokens int);
"""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import dag

from airflow_provider_batch import (
    FailureOptions,
    GeminiBatchOperator,
    GeminiResultsToSqlOperator,
    ResultOptions,
    SqlQuery,
)

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
DAY = "{{ dag_run.run_after | ds }}"

NEW_REVIEWS = f"""
    SELECT review.id, review.created_on, review.text
    FROM reviews AS review LEFT JOIN labels AS label ON label.id = review.id
    WHERE label.id IS NULL AND review.created_on <= '{DAY}'
    ORDER BY review.id
"""
SCHEMA = {
    "type": "OBJECT",
    "properties": {"sentiment": {"type": "STRING", "enum": ["negative", "neutral", "positive"]}},
    "required": ["sentiment"],
}


@dag(schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_table_to_table():
    label = GeminiBatchOperator(
        task_id="label",
        model="gemini-2.5-flash",
        requests=SqlQuery(NEW_REVIEWS, conn_id="warehouse"),
        key_column="id",
        prompt="What does the customer express? {text}",
        system_prompt="You label sentences of product reviews.",
        request_params={
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseSchema": SCHEMA,
                "temperature": 0,
            }
        },
        results=ResultOptions(keep_columns=["created_on"]),
        failures=FailureOptions(on_empty="skip", on_content_change="adopt"),
        result_path=f"{LAKE}/labels/{DAY}/{{{{ run_id | replace(':', '') }}}}",
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )
    GeminiResultsToSqlOperator(
        task_id="load",
        manifest=label.output,
        conn_id="warehouse",
        table="labels",
        columns={
            "id": "key",
            "sentiment": "text.sentiment",
            "created_on": "source.created_on",
            "output_tokens": "usage.output",
        },
        key_column="id",
    )


DAG = gemini_batch_table_to_table()
