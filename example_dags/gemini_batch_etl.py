"""A chain with ETL steps before and after: table of reviews -> batch -> table of labels beside human ratings.

The reviews are real (3,708 sentences with ratings by people, see ``data/README.md``). Any SQL database would
do; SQLite keeps the example free of set-up.
"""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pendulum
from airflow.sdk import dag, task

from airflow_provider_batch import GeminiBatchOperator, read_results

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
REVIEWS = Path(__file__).parent / "data" / "product_reviews.tsv"
RUN = "{{ run_id | replace(':', '') }}"

INSTRUCTION = "You label sentences of product reviews. Answer with the sentiment that the customer expresses."
LABEL_SCHEMA = {
    "type": "OBJECT",
    "properties": {"sentiment": {"type": "STRING", "enum": ["negative", "neutral", "positive"]}},
    "required": ["sentiment"],
}


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_etl():
    @task
    def extract(folder: str) -> str:
        """Load the reviews into a table, as a stand-in for a warehouse."""
        database = Path(folder) / "reviews.db"
        database.parent.mkdir(parents=True, exist_ok=True)
        with REVIEWS.open(encoding="utf-8", newline="") as source, closing(sqlite3.connect(database)) as db, db:
            db.execute("DROP TABLE IF EXISTS reviews")
            db.execute("CREATE TABLE reviews (id TEXT PRIMARY KEY, human_rating REAL, text TEXT)")
            reviews = csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE)
            db.executemany("INSERT INTO reviews VALUES (:id, :human_rating, :text)", reviews)
        return str(database)

    @task
    def build_requests(database: str) -> str:
        """One request a row; the row's id is the key, so the answer finds its row again."""
        target = Path(database).with_name("requests.jsonl")
        with closing(sqlite3.connect(database)) as db, target.open("w", encoding="utf-8") as out:
            for key, text in db.execute("SELECT id, text FROM reviews"):
                request = {
                    "systemInstruction": {"parts": [{"text": INSTRUCTION}]},
                    "contents": [{"role": "user", "parts": [{"text": text}]}],
                    "generationConfig": {
                        "responseMimeType": "application/json",
                        "responseSchema": LABEL_SCHEMA,
                        "temperature": 0,
                    },
                }
                out.write(json.dumps({"key": key, "request": request}) + "\n")
        return str(target)

    @task
    def load(manifest: dict, database: str) -> int:
        """Parse the answers into a table. Running it again gives the same table."""
        with closing(sqlite3.connect(database)) as db, db:
            db.execute("DROP TABLE IF EXISTS labels")
            db.execute("CREATE TABLE labels (id TEXT PRIMARY KEY, status TEXT, sentiment TEXT, tokens INTEGER)")
            db.executemany("INSERT INTO labels VALUES (?, ?, ?, ?)", map(_label, read_results(manifest)))
            return db.execute("SELECT count(*) FROM labels WHERE status = 'success'").fetchone()[0]

    database = extract(f"{LAKE}/{RUN}")
    label = GeminiBatchOperator(
        task_id="label",
        model="gemini-2.5-flash",
        requests=build_requests(database),
        result_path=f"{LAKE}/{RUN}/labels",
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )
    load(label.output, database)


def _label(row):
    """A table row for a result row: the sentiment if there is a usable answer."""
    sentiment = json.loads(row.text)["sentiment"] if row.status == "success" else None
    tokens = row.usage.input + row.usage.output + row.usage.thinking if row.usage else 0
    return row.key, row.status.value, sentiment, tokens


DAG = gemini_batch_etl()
