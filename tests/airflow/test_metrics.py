"""What Airflow's own metrics say about batches, and what a person reads in a task's log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow.apart import otlp, run_apart, statsd
from tests.airflow.conftest import BEFORE_3_2

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/metrics.md").read_text()
DASHBOARD = json.loads((ROOT / "docs/grafana/gemini-batch.json").read_text())
TAGS = "dag_id=case_sharded,task_id=batch,model=gemini-2.5-flash"

SEND_ALL = """
import datetime
from airflow_provider_batch.airflow_compat import start_stats
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.batch.cost.receipts import JobReceipt
from airflow_provider_batch.batch.ledger.documents import BatchPlan, RoundKind, RoundPlan
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.sweep import Finding, Kind, Report
from airflow_provider_batch.observability.metrics import BatchMetrics
from airflow_provider_batch.rows.dialect import RowStatus, Usage

start_stats()
now = datetime.datetime.now(datetime.timezone.utc)
first = RoundPlan(shards=(), created_at=now, clock_from=now)
whose = {"identity": Identity("dag", "task", "run"), "account": "a", "place": "p"}
plan = BatchPlan(ledger_version=1, model="m", content="c", rows=1, size_bytes=1, first=first, **whose)
every = {status: 1 for status in RowStatus}
metrics = BatchMetrics()
metrics.submitted(plan)
for state, usd in (JobState.SUCCEEDED, 0.25), (JobState.EXPIRED, None):
    receipt = JobReceipt("batches/a", state, "m", every, Usage(1, 2, 3, 4, 5), cost_usd=usd, standard_usd=usd)
    metrics.landed(plan, receipt, datetime.timedelta(seconds=90))
called = JobReceipt(
    "", JobState.SUCCEEDED, "m", {RowStatus.SUCCESS: 2}, Usage(1, 2, 3, 4, 5), cost_usd=0.5, standard_usd=0.5,
    way="standard", kind=RoundKind.RESCUE, round=2, rows=2, lost_calls=3,
)
metrics.called(plan, [called], 0.125)
metrics.found(Report(1, 1, (Finding(Kind.UNLANDED, ""), Finding(Kind.DUPLICATE, ""))), "gemini_default")
"""


@pytest.fixture(scope="module")
def sent():
    """The lines of everything that the code can send."""
    with statsd() as receiver:
        subprocess.run([sys.executable, "-c", SEND_ALL], env=os.environ | receiver.settings, check=True, cwd=ROOT)
        return receiver.received()


def names(lines):
    return {re.split("[,:]", line)[0] for line in lines}


@pytest.mark.matrix
def test_a_run_reaches_statsd_once_for_each_job_and_reads_like_a_report(airflow_db, connection, tmp_path):
    with statsd() as receiver:
        log = run_apart("case_sharded", tmp_path, receiver.settings, "a", "b", "c")
        lines = receiver.received()
    assert lines.count(f"gemini_batch.submitted,{TAGS}:1|c") == 2, log
    assert lines.count(f"gemini_batch.landed,{TAGS}:1|c") == 2
    rows = [line for line in lines if line.startswith("gemini_batch.rows.success,")]
    assert sorted(line.rpartition(":")[2] for line in rows) == ["1|c", "2|c"]
    assert [line for line in lines if "turnaround" in line and line.endswith("|ms")]
    assert names(lines) >= {"gemini_batch.tokens.input", "gemini_batch.cost_micro_usd"}
    # The jobs end apart or together, so they may land in one visit or in two.
    assert list(dict.fromkeys(titles(log))) == ["Submission", "Landing"]
    assert "rows:         3 (3 success)" in log


def titles(log):
    """The sections of the batch's task, each of which must be ended before the next one begins."""
    found = re.findall(r"::(group::(?:Submission|Landing)|endgroup::)", log)
    after = [found[n + 1] for n, one in enumerate(found) if one.startswith("group")]
    assert set(after) == {"endgroup::"}
    return [one.removeprefix("group::") for one in found if one.startswith("group")]


def test_each_kind_of_metric_arrives_with_its_type(sent):
    assert "gemini_batch.failed,dag_id=dag,task_id=task,model=m,state=expired:1|c" in sent
    assert "gemini_batch.turnaround,dag_id=dag,task_id=task,model=m:90000.000000|ms" in sent
    assert "gemini_batch.cost_micro_usd,dag_id=dag,task_id=task,model=m,way=batch:250000|c" in sent
    assert "gemini_batch.unpriced,dag_id=dag,task_id=task,model=m,way=batch:1|c" in sent
    assert "gemini_batch.unlanded,conn_id=gemini_default:1|g" in sent
    assert "gemini_batch.rows.invalid_output,dag_id=dag,task_id=task,model=m:1|c" in sent
    assert "gemini_batch.tokens.thinking,dag_id=dag,task_id=task,model=m,way=batch:4|c" in sent


def test_single_calls_arrive_by_the_tier_that_served_them(sent):
    by_tier = "dag_id=dag,task_id=task,model=m,way=standard"
    assert f"gemini_batch.answers,{by_tier}:2|c" in sent
    assert f"gemini_batch.cost_micro_usd,{by_tier}:500000|c" in sent
    assert f"gemini_batch.tokens.thinking,{by_tier}:4|c" in sent
    assert "gemini_batch.lost_calls,dag_id=dag,task_id=task,model=m:3|c" in sent
    assert "gemini_batch.rescue_extra_micro_usd,dag_id=dag,task_id=task,model=m:125000|c" in sent
    # Of eight rows of a job, one in each status, five were answered.
    assert sent.count("gemini_batch.answers,dag_id=dag,task_id=task,model=m,way=batch:5|c") == 2


@pytest.mark.skipif(BEFORE_3_2, reason="Airflow 3.1 drops what a process that ends early has counted")
def test_the_same_arrives_by_opentelemetry_as_differences_when_the_process_ends(sent):
    with otlp() as receiver:
        subprocess.run([sys.executable, "-c", SEND_ALL], env=os.environ | receiver.settings, check=True, cwd=ROOT)
        metrics = receiver.received()
    assert set(metrics) == names(sent)
    points = metrics["gemini_batch.cost_micro_usd"].sum.data_points
    by_way = {tags(point)["way"]: (point.as_int, tags(point)) for point in points}
    task = {"dag_id": "dag", "task_id": "task", "model": "m"}
    assert by_way == {
        "batch": (250_000, {**task, "way": "batch"}),
        "standard": (500_000, {**task, "way": "standard"}),
    }
    delta = 1
    assert metrics["gemini_batch.landed"].sum.aggregation_temporality == delta
    assert metrics["gemini_batch.unlanded"].gauge.data_points[0].as_int == 1


def tags(point):
    return {tag.key: tag.value.string_value for tag in point.attributes}


def test_the_page_names_every_metric_that_is_sent_and_no_other(sent):
    table = re.findall(r"^\| `gemini_batch\.([a-z_.<>]+)`", PAGE, re.MULTILINE)
    kinds = {"rows.<status>": "rows", "tokens.<kind>": "tokens"}
    on_page = set()
    for name in table:
        if name in kinds:
            (listed,) = re.findall(rf"^\| `gemini_batch\.{name}`.*?\((.*?)\)", PAGE, re.MULTILINE)
            on_page |= {f"gemini_batch.{kinds[name]}.{kind}" for kind in re.findall(r"`(\w+)`", listed)}
        else:
            on_page.add(f"gemini_batch.{name}")
    assert on_page == names(sent)


def test_the_dashboard_shows_every_metric_that_is_sent_and_no_other(sent):
    shown = set(re.findall(r"airflow_(gemini_batch_\w+)", json.dumps(DASHBOARD)))
    suffixes = "(_total|_milliseconds)?(_sum|_count|_bucket)?$"
    wanted = {name.replace(".", "_") for name in names(sent)}
    of_kind = {"gemini_batch_rows_", "gemini_batch_tokens_"}
    # Rows and tokens are selected by the beginning of their names.
    rest = {re.sub(suffixes, "", name) for name in shown - of_kind}
    assert shown >= of_kind
    assert rest == {name for name in wanted if not name.startswith(tuple(of_kind))}


def test_every_alert_and_panel_has_a_query_that_is_closed():
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    queries += re.findall(r"expr: (.*)", PAGE)
    assert len(queries) > 10
    assert [
        query for query in queries if any(query.count(a) != query.count(b) for a, b in ("()", "{}", "[]"))
    ] == []


def test_a_panel_of_the_dashboard_lies_on_no_other():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
