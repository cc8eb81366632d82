"""``python -m benchmarks.page``: how quick the page "Gemini batches" is with 10,000 batches in Airflow's database.

Airflow's API server over SQLite, with batches of four weeks as tasks would have left them. Measured from outside:
the JSON of the first page and of the charts, and in headless Chromium the time to the first paint and to the first
rows. ``--batches 2000`` makes it quicker, ``--shot FILE`` keeps a picture.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from tests.browser.browser import Tab, browser, chromium
from tests.browser.conftest import Stage, fill, staged

ROUNDS = 9


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.page", description=__doc__)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--shot", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, staged(Path(folder) / "stage") as stage:
        _until_found(stage)
        fill(stage, arguments.batches)
        # What is measured is the API server; the others would only compete for the cores.
        for component in ("scheduler", "dag-processor", "triggerer"):
            stage.airflow.kill_component(component)
        print(f"{arguments.batches:,} batches, milliseconds: first, then the median of {ROUNDS}")
        _json(stage)
        if chromium() is None:
            print("no Chromium: nothing is painted")
            return
        with browser() as tab:
            _paint(stage, tab, arguments.shot)


def _until_found(stage: Stage) -> None:
    while len(stage.api("GET", "/api/v2/dags")["dags"]) < 2:
        time.sleep(0.5)


def _json(stage: Stage) -> None:
    now = int(time.time())
    asked = {
        "table, first page": ("/api/batches", {"since": now - 30 * 86_400, "limit": 50}),
        "table, page 150": ("/api/batches", {"since": now - 30 * 86_400, "limit": 50, "offset": 7450}),
        "table, one model": ("/api/batches", {"model": "gemini-2.5-pro", "limit": 50}),
        "table, text": ("/api/batches", {"text": "2026-1", "limit": 50}),
        "charts of 30 days": ("/api/totals", {"days": 30}),
        "progress": ("/api/live", {}),
    }
    cookies = {"_token": stage.token("viewer")}
    url = f"{stage.url}/gemini-batches"
    with httpx.Client(cookies=cookies, trust_env=False, timeout=60) as client:
        client.get(f"{url}/")
        for name, (path, query) in asked.items():
            took = []
            for _ in range(ROUNDS + 1):
                began = time.perf_counter()
                answer = client.get(f"{url}{path}", params=query)
                took.append((time.perf_counter() - began) * 1000)
                answer.raise_for_status()
            print(
                f"  {name:<20} {took[0]:7.0f} {statistics.median(took[1:]):7.0f}   {len(answer.content):>9,} bytes"
            )


def _paint(stage: Stage, tab: Tab, shot: Path | None) -> None:
    tab.size(1440, 900)
    tab.cookie(stage.url, "_token", stage.token("viewer"))
    painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    rows = "performance.getEntriesByName('first-data')[0]?.startTime"
    figures: dict[str, list[float]] = {"first paint": [], "first rows": [], "charts": []}
    for _ in range(ROUNDS + 1):
        tab.go("about:blank")
        tab.call("Page.navigate", url=f"{stage.url}/gemini-batches/")
        tab.until("document.querySelectorAll('.chart rect').length > 20", 60)
        figures["charts"].append(tab.run("performance.now()"))
        figures["first paint"].append(tab.until(painted))
        figures["first rows"].append(tab.until(rows))
    for name, took in figures.items():
        print(f"  {name:<20} {took[0]:7.0f} {statistics.median(took[1:]):7.0f}   in Chromium")
    if shot is not None:
        tab.shot(shot)


if __name__ == "__main__":
    main()
