"""The end of the demo: what happened, from the manifest and the table that the DAG wrote."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SAMPLE = """
    SELECT r.text, l.sentiment, r.human_rating FROM labels l JOIN reviews r USING (id)
    WHERE length(r.text) BETWEEN 30 AND 80 AND l.sentiment = ? ORDER BY r.id LIMIT 2
"""
AGREEMENT = """
    SELECT avg((r.human_rating > 0) = (l.sentiment = 'positive')), count(*) FROM labels l JOIN reviews r USING (id)
    WHERE l.sentiment <> 'neutral' AND abs(r.human_rating) >= 0.5
"""


def print_report(manifest: dict[str, Any], database: Path) -> None:
    """Print the job, the rows by status, the tokens, the places of the output, and a few answers."""
    tokens = manifest["tokens"]
    print("\nWhat happened\n")
    _line("job", f"{manifest['job_name']} on {manifest['model']}")
    _line("rows sent", f"{manifest['request_count']:,}")
    for status, count in sorted(manifest["counts"].items()):
        _line(f"  {status}", f"{count:,}")
    _line("tokens", f"{tokens['input']:,} in, {tokens['output']:,} out, {tokens['thinking']:,} thinking")
    _line("results", manifest["result_uri"])
    _line("table", f"{database} (labels, beside reviews)")
    with closing(sqlite3.connect(database)) as db:
        print("\nA few answers, beside what people thought (-4 to +4)\n")
        for sentiment in ("positive", "negative", "neutral"):
            for text, label, rating in db.execute(SAMPLE, (sentiment,)):
                print(f"  {label:<9} {rating:+.1f}  {text}")
        share, count = db.execute(AGREEMENT).fetchone()
    print(
        f"\nLabels agree with people in {share:.0%} of {count:,} clear cases. They come from the emulator's\n"
        "word lists (demo/answers.py), not from a model; nothing left this machine and nothing was billed.\n"
        "With an API key in the connection gemini_default, the same DAG runs on the real API."
    )


def _line(name: str, value: str) -> None:
    print(f"  {name:<12} {value}")
