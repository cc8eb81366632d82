"""What the page is told, as JSON. Times are Unix seconds. None is what is not known."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints, computed_field

from airflow_provider_batch.batch.state_words import Standing

OVER = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
"""States of a task instance that will not change by themselves."""


NAME = r"^[^\x00]*$"
"""Of a text that goes to the database: PostgreSQL knows no NUL."""

Name = Annotated[str, StringConstraints(max_length=1000, pattern=NAME)]


class Task(BaseModel):
    """Which task instance is meant."""

    dag_id: Name
    run_id: Name
    task_id: Name
    map_index: Annotated[int, Field(ge=-1, le=2**31 - 1)] = -1


class Row(Task):
    """A batch in the table.

    :param state: :attr:`Standing.key <airflow_provider_batch.batch.state_words.Standing.key>`.
    :param landed_by: The task that landed it, where that is another one.
    """

    state: str
    task_state: str | None
    try_number: int
    changed_at: int
    conn_id: str = ""
    model: str = ""
    ledger: str = ""
    folder: str = ""
    task_digest: str = ""
    rows: int | None = None
    skipped: int = 0
    submitted_at: int | None = None
    deadline: int | None = None
    rescue_at: int | None = None
    least_usd: float | None = None
    most_usd: float | None = None
    counts: dict[str, int] | None = None
    tokens: dict[str, int] | None = None
    cost_usd: float | None = None
    standard_usd: float | None = None
    unmetered: int = 0
    jobs: int | None = None
    rounds: int | None = None
    landed_at: int | None = None
    landed_by: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state_words(self) -> str:
        """The state, for people."""
        return Standing[self.state.upper()].value


class BatchesPage(BaseModel):
    """Some of the batches that a user may see.

    :param total: How many there are.
    :param now: The server's clock.
    """

    rows: list[Row]
    total: int
    now: int


class Live(Task):
    """What the API says about the jobs of a batch that has not landed.

    :param state: Of the jobs together, in the words of :class:`~airflow_provider_batch.contract.JobState`.
    :param lost_at: When the API deletes the results, of the first job that ended.
    """

    state: str
    jobs: int
    requests: int
    succeeded: int
    failed: int
    lost_at: int | None = None


class LivePage(BaseModel):
    """What the API says now.

    :param troubles: Connections that could not be asked, and why.
    """

    batches: list[Live]
    troubles: dict[str, str]


class Totals(BaseModel):
    """For the filters, the figures on top and the charts.

    :param per_day: ``[day, model, batches, cost_usd, saved_usd, batches without a known cost]``.
    :param turnaround: By model, how many batches took up to each of ``bounds_s``, and longer.
    :param is_all: No notes were left out for being too many.
    """

    models: list[str]
    connections: list[str]
    active: int
    landed: int
    failed: int
    rows: int
    cost_usd: float
    saved_usd: float
    unknown_costs: int
    days: int
    per_day: list[tuple[str, str, int, float, float, int]]
    bounds_s: list[int]
    turnaround: dict[str, list[int]]
    is_all: bool


class Detail(BaseModel):
    """Everything about a batch.

    :param trial: The estimate by the trial: ranges of 95 % for all rows.
    :param phase: In words, where single calls are made now.
    :param bill: What came by single calls, as in the manifest. None if there were none.
    :param trouble: Why the ledger could not be read, empty if it was.
    :param cause_trouble: The same of the results.
    """

    row: Row
    now: int
    may_cancel: bool
    trouble: str = ""
    history: list[dict[str, object]] = []
    left_out: int = 0
    rounds: list[dict[str, object]] = []
    estimate: dict[str, object] | None = None
    trial: dict[str, object] | None = None
    phase: str = ""
    bill: dict[str, object] | None = None
    places: dict[str, str] = {}
    causes: list[dict[str, object]] = []
    causes_of: int = 0
    causes_are_all: bool = True
    cause_trouble: str = ""
