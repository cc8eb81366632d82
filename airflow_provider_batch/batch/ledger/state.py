"""A ledger as one value: the batch, its rounds, their shards, and the create calls for each shard."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import (
    TRIAL_ROUND,
    BatchPlan,
    Cancel,
    Extended,
    Fetched,
    Landed,
    Outcome,
    Refusal,
    Revoked,
    RoundKind,
    RoundPlan,
    Sending,
    Session,
    ShardPlan,
    Superseded,
    Uploaded,
    UploadedMedia,
)
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.publication import Published
from airflow_provider_batch.batch.ledger.store import ADOPTED, D, Ledger, hole
from airflow_provider_batch.errors import LedgerError


@dataclass(frozen=True)
class Attempt:
    """One create call, or the right to send it.

    :param scans: Complete listings since the revocation that show no job of it.
    """

    number: int
    sending: Sending
    outcome: Outcome | None
    revoked: Revoked | None
    scans: int


@dataclass(frozen=True)
class Upload:
    """The newest upload of a shard.

    :param number: 0 if there is none.
    :param media: The newest note of the files that its rows name.
    """

    number: int
    session: Session | None = None
    file: Uploaded | None = None
    media: UploadedMedia | None = None


@dataclass(frozen=True)
class Shard:
    """One part of a round.

    ``attempts`` and ``upload`` are left empty when it has landed, as they are not needed then.

    :param fetched: Results that came and were not believed, in their order.
    """

    round: int
    number: int
    plan: ShardPlan
    attempts: tuple[Attempt, ...]
    upload: Upload
    landed: Landed | None
    fetched: tuple[Fetched, ...] = ()

    @property
    def name(self) -> str:
        """What the names of its documents begin with."""
        return names.shard_name(self.round, self.number)

    @property
    def title(self) -> str:
        """What the log calls it."""
        if self.round == TRIAL_ROUND:
            return "the trial" if self.number == 1 else f"the trial, shard {self.number}"
        return f"round {self.round}, shard {self.number}"

    def document(self, kind: str, *numbers: int) -> str:
        """The name of one of its files.

        :param kind: A constant of :mod:`names`.
        """
        return names.name_of(kind, self.round, self.number, *numbers)

    @property
    def last(self) -> Attempt | None:
        """The newest create call."""
        return self.attempts[-1] if self.attempts else None

    @property
    def outcome(self) -> Outcome | None:
        """What came of the newest create call, None if that is not known or there is none."""
        return self.last.outcome if self.last else None

    @property
    def job(self) -> str | None:
        """The remote job that works on it."""
        return self.outcome.job if self.outcome else None

    @property
    def is_unresolved(self) -> bool:
        """A create call may have been sent, and its outcome was not noted."""
        return self.last is not None and self.last.outcome is None

    def usable_file(self, until: datetime) -> Uploaded | None:
        """The upload, if it was not deleted and lives until then."""
        file = self.upload.file
        deleted = {
            e.sending.input_file for e in self.attempts if e.revoked or (e.outcome and e.outcome.input_deleted)
        }
        if file is None or file.name in deleted or (file.expires_at is not None and file.expires_at < until):
            return None
        return file


@dataclass(frozen=True)
class Round:
    """Rows that were sent together.

    :param publishing: Names of the notes of visits that began to publish.
    :param extended: When a person gave its jobs new time, in that order.
    """

    number: int
    plan: RoundPlan
    shards: tuple[Shard, ...]
    cancel: Cancel | None
    published: Published | None
    is_tidied: bool = False
    publishing: tuple[str, ...] = ()
    extended: tuple[Extended, ...] = ()

    @property
    def is_live(self) -> bool:
        """Its rows are answered by single calls, not by jobs."""
        return self.plan.kind is not RoundKind.BATCH

    @property
    def open_shards(self) -> tuple[Shard, ...]:
        """Those that have not landed."""
        return tuple(shard for shard in self.shards if shard.landed is None)

    @property
    def open_jobs(self) -> tuple[str, ...]:
        """The jobs that exist and have not landed."""
        return tuple(shard.job for shard in self.shards if shard.job and not shard.landed)

    def document(self, kind: str, *numbers: int) -> str:
        """The name of one of its documents. See :meth:`Shard.document`."""
        return names.name_of(kind, self.number, *numbers)


@dataclass(frozen=True)
class BatchState:
    """Everything that a ledger says.

    :param rounds: In their order, that of the trial included.
    """

    plan: BatchPlan
    generation: int
    rounds: tuple[Round, ...]
    superseded: Superseded | None

    @property
    def round(self) -> Round:
        """The newest round."""
        return self.rounds[-1]

    @property
    def trial(self) -> Round | None:
        """The round before the first, None if there was no trial."""
        return self.rounds[0] if self.rounds[0].number == TRIAL_ROUND else None

    @property
    def clock_from(self) -> datetime:
        """Where the time of the newest round is counted from. That of jobs begins when the trial is over."""
        planned = self.round.plan.clock_from
        if self.trial is None or self.round.number > 1:
            return planned
        return max([planned, *(shard.landed.at for shard in self.trial.shards if shard.landed)])

    def round_of(self, shard: Shard) -> Round:
        """The round that a shard is part of."""
        return next(round_ for round_ in self.rounds if round_.number == shard.round)

    @property
    def originals(self) -> tuple[Shard, ...]:
        """The shards in which each row of the input is exactly once."""
        return tuple(shard for shard in self.shards if shard.round <= 1)

    @property
    def latest(self) -> tuple[Shard, ...]:
        """The shards whose rows may be sent again: of the newest round, and of the trial before the first."""
        return self.originals if self.round.number == 1 else self.round.shards

    @property
    def attempts(self) -> int:
        """How often rows were sent in jobs."""
        return sum(not round_.is_live for round_ in self.rounds)

    @property
    def shards(self) -> Iterator[Shard]:
        """The shards of all rounds."""
        return (shard for round_ in self.rounds for shard in round_.shards)

    @property
    def jobs(self) -> tuple[str, ...]:
        """The remote jobs of all rounds, those included that have landed."""
        jobs = (shard.landed.job if shard.landed else shard.job for shard in self.shards)
        return tuple(job for job in jobs if job)

    @property
    def landed(self) -> Iterator[Landed]:
        """The jobs of all rounds whose results are here."""
        return (shard.landed for shard in self.shards if shard.landed)

    @property
    def has_spent(self) -> bool:
        """A create call was accepted or may have been. What a trial has spent is not meant."""
        return any(
            s.landed or s.is_unresolved or any(e.outcome and e.outcome.job for e in s.attempts)
            for s in self.shards
            if s.round != TRIAL_ROUND
        )

    @property
    def is_refused(self) -> bool:
        """Nothing was accepted and the API said a final no: no results will come unless a new try sends again."""
        return not self.has_spent and any(o.refusal is Refusal.FINAL for s in self.shards if (o := s.outcome))

    def tag(self, shard: Shard, attempt: int) -> JobTag:
        """What the display name of a create call says."""
        plan = self.plan
        return JobTag(
            plan.identity.task_digest,
            plan.place,
            shard.plan.content,
            self.generation,
            shard.round,
            shard.number,
            attempt,
        )


def read_batch(ledger: Ledger) -> BatchState:
    """Read a ledger that has a plan.

    :raises LedgerError: It cannot be read or misses a part.
    """
    plan = ledger.read(names.PLAN, BatchPlan)
    if plan is None:
        raise LedgerError(
            f"The ledger at {ledger.folder} has no plan.",
            code="AGB-L02",
            remedy="Nothing was sent or cancelled. Restore the folder. If its jobs are not wanted, delete the "
            "folder.",
        )
    ledger.bind(plan.content)
    there = ledger.documents()
    trial = [] if plan.trial is None else [_round(ledger, there, TRIAL_ROUND, plan.trial)]
    rounds = [*trial, _round(ledger, there, 1, plan.first)]
    while (name := names.plan_of(rounds[-1].number + 1)) in there:
        rounds.append(_round(ledger, there, rounds[-1].number + 1, _there(ledger, name, RoundPlan)))
    for round_ in rounds:
        _ensure_landed(ledger, there, round_)
    superseded = ledger.read(names.SUPERSEDED, Superseded) if names.SUPERSEDED in there else None
    return BatchState(plan, ledger.generation, tuple(rounds), superseded)


def _there(ledger: Ledger, name: str, kind: type[D]) -> D:
    """A document that the listing shows."""
    document = ledger.read(name, kind)
    if document is None:
        raise LedgerError(f"{name} vanished from {ledger.folder}.", code="AGB-L02", remedy="Restore the folder.")
    return document


def _if_there(ledger: Ledger, there: set[str], name: str, kind: type[D]) -> D | None:
    """A document, None if the listing does not show it."""
    return ledger.read(name, kind) if name in there else None


def _ensure_landed(ledger: Ledger, there: set[str], round_: Round) -> None:
    """Make sure that all has landed of a round that was published, or that another followed."""
    number = max(round_.number, 1)
    after = {names.name_of(names.PUBLISHED, number), names.plan_of(number + 1)} & there
    for shard in round_.shards:
        landed = shard.document(names.LANDED)
        if after and shard.landed is None:
            raise hole(ledger, min(after), landed)
        # Without the first outcome a later one has no call that it belongs to, which is a hole by itself.
        first = shard.document(names.OUTCOME, 1)
        if shard.landed and shard.landed.job and first not in there:
            raise hole(ledger, landed, first)


def _round(ledger: Ledger, there: set[str], number: int, plan: RoundPlan) -> Round:
    return Round(
        number,
        plan,
        tuple(_shard(ledger, there, (number, n), shard) for n, shard in enumerate(plan.shards, 1)),
        _if_there(ledger, there, names.name_of(names.CANCEL, number), Cancel),
        _if_there(ledger, there, names.name_of(names.PUBLISHED, number), Published),
        names.name_of(names.TIDIED, number) in there,
        tuple(sorted(name for name in there if name.startswith(names.publishing_prefix(number)))),
        tuple(_series(ledger, there, Extended, names.EXTENDED, number)),
    )


def _series(ledger: Ledger, there: set[str], kind: type[D], name: str, *numbers: int) -> Iterator[D]:
    """Documents that are numbered from 1.

    :param numbers: Those before that number.
    """
    for number in range(1, _length(there, name, *numbers) + 1):
        yield _there(ledger, names.name_of(name, *numbers, number), kind)


def _length(there: set[str], name: str, *numbers: int) -> int:
    """How many of them there are without a gap."""
    return next(n for n in itertools.count() if names.name_of(name, *numbers, n + 1) not in there)


def _shard(ledger: Ledger, there: set[str], place: tuple[int, int], plan: ShardPlan) -> Shard:
    landed = _if_there(ledger, there, names.name_of(names.LANDED, *place), Landed)
    if landed is not None:
        return Shard(*place, plan, (), Upload(0), landed)
    sent = range(1, _length(there, names.SENDING, *place) + 1)
    attempts = tuple(_attempt(ledger, there, (*place, number), plan.content) for number in sent)
    upload = _upload(ledger, there, place)
    is_ours = any(attempt.sending.owner != ADOPTED for attempt in attempts)
    if is_ours and upload.file is None and not names.newest(there, names.UPLOADED, *place):
        raise hole(ledger, names.name_of(names.SENDING, *place, 1), names.name_of(names.UPLOADED, *place, 1))
    fetched = tuple(_series(ledger, there, Fetched, names.FETCHED, *place))
    return Shard(*place, plan, attempts, upload, None, fetched)


def _attempt(ledger: Ledger, there: set[str], place: tuple[int, int, int], content: str) -> Attempt:
    name = names.name_of(names.SENDING, *place)
    sending = _there(ledger, name, Sending)
    tag = JobTag.read(sending.display_name)
    if tag is None or tag.content != content:
        raise LedgerError(
            f"{name} in {ledger.folder} is of other rows than the plan.",
            code="AGB-L02",
            remedy="Nothing was sent or cancelled. Restore the input with which the jobs were submitted. Or "
            "delete the folder to pay for the rows anew.",
        )
    return Attempt(
        place[-1],
        sending,
        _if_there(ledger, there, names.name_of(names.OUTCOME, *place), Outcome),
        _if_there(ledger, there, names.name_of(names.REVOKED, *place), Revoked),
        _length(there, names.SCAN, *place),
    )


def _upload(ledger: Ledger, there: set[str], place: tuple[int, int]) -> Upload:
    media = names.newest(there, names.MEDIA, *place)
    uploaded = _there(ledger, names.name_of(names.MEDIA, *place, media), UploadedMedia) if media else None
    number = max(names.newest(there, kind, *place) for kind in (names.SESSION, names.UPLOADED))
    if not number:
        return Upload(0, media=uploaded)
    session = _if_there(ledger, there, names.name_of(names.SESSION, *place, number), Session)
    file = _if_there(ledger, there, names.name_of(names.UPLOADED, *place, number), Uploaded)
    return Upload(number, session, file, uploaded)
