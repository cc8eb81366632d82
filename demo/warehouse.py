"""The warehouse of the demo: the connection ``warehouse``, with reviews that have no label yet. A SQLite file."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from itertools import islice
from pathlib import Path

REVIEWS = Path(__file__).resolve().parent.parent / "example_dags" / "data" / "product_reviews.tsv"
ROWS = 100


def make_warehouse(database: Path) -> None:
    """Make the tables that ``example_dags/gemini_batch_table_to_table.py`` names, with a hundred reviews."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with REVIEWS.open(encoding="utf-8", newline="") as source, closing(sqlite3.connect(database)) as db, db:
        db.execute("CREATE TABLE reviews (id text PRIMARY KEY, created_on date, text text)")
        db.execute("CREATE TABLE labels (id text PRIMARY KEY, sentiment text, created_on date, output_tokens int)")
        reviews = islice(csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE), ROWS)
        db.executemany(
            "INSERT INTO reviews VALUES (?, '2026-01-01', ?)", [(row["id"], row["text"]) for row in reviews]
        )
