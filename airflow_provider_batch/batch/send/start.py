"""From checked rows to a ledger: go on with the one that exists, or begin one.

Each try writes its plan first and looks for others in the folder afterwards. So of two at the same moment at most
one goes on (:mod:`claim`).
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from airflow_provider_batch.batch.cost.budget import (
    ensure_affordable,
    ensure_files_last,
    ensure_priced,
    estimate,
    report,
)
from airflow_provider_batch.batch.cost.estimate import Estimate
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import (
    Sending,
    Superseded,
)
from airflow_provider_batch.batch.ledger.folder_owner import ensure_free, ensure_not_replaced
from airflow_provider_batch.batch.ledger.job_names import content_digest
from airflow_provider_batch.batch.ledger.state import BatchState, read_batch
from airflow_provider_batch.batch.ledger.storage_errors import coded_storage_errors
from airflow_provider_batch.batch.ledger.store import (
    Ledger,
    check_store,
    generation,
    generations,
    is_retired,
    remove_ledgers,
)
from airflow_provider_batch.batch.send.end_jobs import EndRequest, ask_to_end
from airflow_provider_batch.batch.send.plan import plan_of
from airflow_provider_batch.batch.send.spec import BatchSpec, StagedRows
from airflow_provider_batch.batch.send.unrecorded_jobs import adopt, ensure_expected, jobs_without_ledger
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.errors import (
    BatchError,
    ConfigError,
    InputError,
)
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.check.staging import Intake, Staged, spools, stage
from airflow_provider_batch.rows.dialect import RowDialect

log = logging.getLogger(__name__)

MAX_NAMED = 3
"""Jobs that one message names."""


def ledger_for(service: BatchService, spec: BatchSpec, intake: Intake, dialect: RowDialect) -> Ledger:
    """Check the rows and open the ledger for them, as each try of a task does first.

    Rows that cannot be read any more are no reason to lose what was paid for. The ledger has a copy.

    :raises InputError: The input, or any row, cannot be sent, and nothing has been yet.
    :raises ConfigError: As :func:`open_ledger`.
    """
    with coded_storage_errors(), spools(spec.folder) as files, KeyTable() as keys:
        try:
            staged = stage(intake, dialect, files, keys, spec.limits.within(service.limits.file_bytes))
        except InputError as error:
            known = generations(spec.folder, spec.identity.task_digest)
            batch = current(spec, known)
            if batch is None or not batch.has_spent or batch.superseded:
                raise
            log.warning("The rows cannot be read any more; going on with what was sent. %s", error)
            return known[-1]
        _tell(staged)
        return open_ledger(service, spec, StagedRows(files, staged, intake.source.name, dialect.read_key))


def estimated(service: BatchService, spec: BatchSpec, intake: Intake, dialect: RowDialect) -> Estimate:
    """Check the rows and say what they would cost. Nothing is uploaded, written or sent.

    :raises InputError: The input, or any row, cannot be sent.
    :raises BudgetError: The batch may cost more than it is allowed to.
    """
    with coded_storage_errors(), spools() as files, KeyTable() as keys:
        staged = stage(intake, dialect, files, keys, spec.limits.within(service.limits.file_bytes))
        _tell(staged)
        cost_estimate = estimate(service, spec.model, files.rows, staged, spec.budget, spec.limits.tokens)
        _ensure_acceptable(
            service, spec, StagedRows(files, staged, intake.source.name, dialect.read_key), cost_estimate
        )
        return cost_estimate


def _tell(staged: Staged) -> None:
    log.info("Checked %s rows, %s bytes.", f"{staged.requests:,}", f"{staged.size_bytes:,}")
    if staged.content.uploads:
        log.info("Files are named %d times; each is uploaded once.", staged.content.uploads)
    for caution, (count, first) in staged.content.told().items():
        log.warning("%d rows, the first at %s: %s.", count, first, caution)
    if staged.skipped:
        log.warning("%d bad rows are left out; they will be in failed.jsonl.", staged.skipped)


def open_ledger(service: BatchService, spec: BatchSpec, rows: StagedRows) -> Ledger:
    """The ledger to go on with, begun if there is none for these rows.

    :raises ConfigError: The folder, the model or the credential is not the right one. The rows have changed.
        Nothing was uploaded or cancelled.
    :raises LedgerError: The ledger cannot be read.
    """
    content = content_digest(rows.staged.sha256, spec.model)
    known = generations(spec.folder, spec.identity.task_digest)
    batch = current(spec, known)
    if batch is not None and _goes_on(service, spec, known[-1], batch, content):
        if batch.plan.layout != spec.layout or (batch.plan.columns_file is None) != (
            not rows.files.columns.tell()
        ):
            log.warning(
                "output_format, keep_order, keep_columns and keep_remote_files stay as they were when this batch "
                "was submitted; a new DAG run takes the new ones."
            )
        if not batch.has_spent:
            ensure_free(spec.folder, spec.identity)
            _ensure_acceptable(service, spec, rows, _estimate(service, spec, rows))
        return known[-1]
    for earlier in map(read_batch, known):
        if earlier.superseded:
            _end(service, earlier)
    ledger = generation(spec.folder, spec.identity.task_digest, len(known) + 1)
    if _begin(service, spec, rows, content, ledger, known):
        return ledger
    log.info("Another try of this task has begun at the same moment; going on with its plan.")
    return open_ledger(service, spec, rows)


def current(spec: BatchSpec, known: list[Ledger]) -> BatchState | None:
    """The batch of the newest generation, None if there is none.

    :raises ConfigError: Another credential pays for it.
    """
    if not known:
        return None
    batch = read_batch(known[-1])
    ensure_payer(batch, spec.account)
    return batch


def ensure_payer(batch: BatchState, account: str) -> None:
    """Make sure that a credential is the one that has paid for the jobs so far, if there are any.

    :param account: Its label.
    :raises ConfigError: It is another.
    """
    if batch.has_spent and batch.plan.account != account:
        raise ConfigError(
            f"The jobs of this task were submitted with another credential ({batch.plan.account}) than the "
            f"connection has now ({account}).",
            code="AGB-S06",
            remedy="Nothing was sent or cancelled. Restore the credential. If it is a new key of the same "
            f'project, set the extra "account" of the connection to {batch.plan.account!r}.',
        )


def _goes_on(service: BatchService, spec: BatchSpec, ledger: Ledger, batch: BatchState, content: str) -> bool:
    """The batch is the one for these rows, or the user wants to go on with it all the same."""
    if batch.superseded is not None:
        return False
    if batch.plan.content == content and not _is_trial_void(spec, batch):
        return True
    if not batch.has_spent:
        _abandon(service, ledger, content)
        return False
    named = _named(batch.jobs) or "a job whose create call is not answered yet"
    if spec.on_content_change == "adopt":
        log.warning(
            "Rows or model have changed (%s, now %s); going on with %s.", batch.plan.content, content, named
        )
        return True
    if spec.on_content_change == "cancel_and_resubmit":
        ledger.put(names.SUPERSEDED, Superseded(at=_time(service), by_content=content))
        return False
    raise ConfigError(
        f"{named} was submitted for this task with other rows or another model (content {batch.plan.content}, "
        f"now {content}).",
        code="AGB-S05",
        remedy="Nothing was sent or cancelled. Restore the input and run the task again to go on with what was "
        'paid for. Or set on_content_change="cancel_and_resubmit" to pay for the new rows, or "adopt" to keep the '
        "old ones.",
    )


def _is_trial_void(spec: BatchSpec, batch: BatchState) -> bool:
    """No row of a trial was answered, or it is wanted by now, so a new try makes it anew."""
    if batch.has_spent:
        return False
    if batch.trial is None:
        return spec.trial_rows > 0
    landed = [shard.landed for shard in batch.trial.shards if shard.landed]
    return bool(landed) and not any(one.calls for one in landed)


def _named(jobs: tuple[str, ...]) -> str:
    return ", ".join(jobs[:MAX_NAMED]) + (f" and {len(jobs) - MAX_NAMED} more" if len(jobs) > MAX_NAMED else "")


def _abandon(service: BatchService, ledger: Ledger, content: str) -> None:
    """Give up a plan that sent nothing.

    A visit that sends writes so first and looks for this document then. A visit that gives up does it the other
    way round. So of two at the same moment at least one notices.

    :raises BatchError: Another try was sending at this moment.
    """
    ledger.put(names.SUPERSEDED, Superseded(at=_time(service), by_content=content))
    if read_batch(ledger).has_spent:
        raise BatchError(
            "Another try of this task has just sent other rows.",
            code="AGB-S07",
            remedy="This try sent nothing. Its next try asks the jobs of the other rows to end, and sends its "
            "own rows.",
        )


def _end(service: BatchService, batch: BatchState) -> None:
    """Ask the jobs of a superseded batch to end, and take away the input of those that may still begin.

    Before each new batch, until nothing is left to be asked: a call that failed is made up for.

    :raises BatchError: A job was not asked. It may run on.
    """
    for shard in batch.shards:
        if shard.is_unresolved and shard.last and not shard.landed:
            service.unstage(shard.last.sending.input_file)
    request = EndRequest("Other rows take its place, what it finished is billed", log)
    ask_to_end(service, [job for round_ in batch.rounds for job in round_.open_jobs], request)
    request.raise_refusal()


def _begin(
    service: BatchService, spec: BatchSpec, rows: StagedRows, content: str, ledger: Ledger, known: list[Ledger]
) -> bool:
    ensure_free(spec.folder, spec.identity)
    if spec.on_content_change != "cancel_and_resubmit":
        ensure_not_replaced(spec.folder, spec.identity)
    strangers = jobs_without_ledger(service, spec, known)
    cost_estimate = _estimate(service, spec, rows)
    wanted = {content_digest(cut.sha256, spec.model) for cut in rows.staged.cuts}
    if not wanted <= {tag.content for tag, _ in strangers}:
        # Something is sent. What exists already is paid for, even above the limit.
        _ensure_acceptable(service, spec, rows, cost_estimate)
    check_store(spec.folder)
    if is_retired(spec.folder, spec.identity.task_digest):
        # By the user's wish the rows are paid for again. What is left of the time before must not be read.
        remove_ledgers(spec.folder, spec.identity.task_digest)
    ledger.bind(content)
    for name in ledger.names():
        if names.kind_of(name)[0] == names.SENDING:
            # Noted by a try that was gone before it had a plan. If the note is of other rows, it must not be taken
            # over.
            ledger.read(name, Sending)
    plan = plan_of(service, spec, rows, content, ledger, cost_estimate)
    ensure_expected(strangers, plan)
    adopt(ledger, plan, strangers, plan.first.created_at)
    if not ledger.put(names.PLAN, plan):
        return False
    ledger.is_new = True
    try:
        ensure_free(spec.folder, spec.identity)
    except BatchError:
        withdraw(ledger)
        raise
    return True


def _estimate(service: BatchService, spec: BatchSpec, rows: StagedRows) -> Estimate:
    return estimate(service, spec.model, rows.files.rows, rows.staged, spec.budget, spec.limits.tokens)


def _ensure_acceptable(service: BatchService, spec: BatchSpec, rows: StagedRows, estimate: Estimate) -> None:
    """Log the estimate, and make sure that the batch may be sent.

    :raises BudgetError: It may cost more than it is allowed to.
    :raises InputError: A file that a row refers to will not be there.
    """
    for line in report(estimate, spec.model, spec.budget.max_usd):
        log.info("%s", line)
    if not spec.trial_rows:
        ensure_affordable(estimate, spec.model, spec.budget.max_usd)
    elif spec.budget.max_usd is not None:
        # What the batch may cost is judged after the trial.
        ensure_priced(estimate, spec.model, spec.budget.max_usd)
    ensure_files_last(service, rows.staged, rows.source, spec.files_needed_s)


def withdraw(ledger: Ledger) -> None:
    """Forget a generation for which nothing was sent."""
    ledger.path(names.PLAN).unlink(missing_ok=True)
    for name in ledger.names():
        ledger.path(name).unlink(missing_ok=True)


def _time(service: BatchService) -> datetime:
    return datetime.fromtimestamp(service.now(), timezone.utc)
