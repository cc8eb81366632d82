"""Where the links of a task lead to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_batch.links.gemini import LINKS, batch_url, results_url, show

TI = SimpleNamespace(dag_id="d/ä", run_id="r+1", task_id="t", map_index=3)
PAGE = "/plugin/gemini-batches?dag_id=d%2F%C3%A4&run_id=r%2B1&task_id=t&map_index=3"


def test_the_batch_is_below_the_address_of_airflow(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://a.example/airflow/")
    assert batch_url(TI) == f"https://a.example/airflow{PAGE}"


@pytest.mark.parametrize(
    ("folder", "url"),
    [
        ("gs://lake/labels/2026", "https://console.cloud.google.com/storage/browser/lake/labels/2026"),
        ("s3://conn@lake/a b/", "https://console.aws.amazon.com/s3/buckets/lake?prefix=a%20b/"),
    ],
)
def test_results_in_a_bucket_are_shown_by_its_console(folder, url):
    assert results_url(folder, TI) == url


@pytest.mark.parametrize("folder", ["/lake/labels", "abfs://lake@account/labels", "", "javascript:alert(1)"])
def test_results_anywhere_else_are_shown_by_the_page(folder):
    assert results_url(folder, TI).endswith(f"{PAGE}&show=results")


def test_a_task_that_only_lands_links_to_the_results_of_its_submission():
    operator = SimpleNamespace(submission={"result_path": "gs://lake/labels"})
    assert LINKS[1].get_link(operator, ti_key=TI).endswith("/browser/lake/labels")


def test_what_cannot_be_shown_fails_no_task(caplog):
    show(SimpleNamespace(), "k", SimpleNamespace())
    assert "not shown" in caplog.text
