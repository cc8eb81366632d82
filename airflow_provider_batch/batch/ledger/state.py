"""A ledger as one value: the batch, its rounds, their shards, and the create calls for each shard."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_batch.batch.ledger.documents import (
    Attached,
    Cancel,
    Extended,
    Fetched,
    Landed,
    Outcome,
    Plan,
    Published,
    Refusal,
    Revoked,
    RoundPlan,
    Sending,
    Session,
    ShardPlan,
    Superseded,
    Uploaded,
)
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.store import ADOPTED, D, Ledger, hole
from airflow_provider_batch.errors import LedgerError

_FILE = re.compile(r"f(\d+)\.(session|file)\.json")
_ATTACHED = re.compile(r"a(\d+)\.attached\.json")


@dataclass(frozen=True)
class Epoch:
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
    :param attached: The newest note of the files that its rows name.
    """

    number: int
    session: Session | None = None
    file: Uploaded | None = None
    attached: Attached | None = None


@dataclass(frozen=True)
class Shard:
    """One part of a round. ``epochs`` and ``upload`` are left empty when it has landed: nobody needs them.

    :param fetched: Results that came and were not believed, in their order.
    """

    round: int
    number: int
    plan: ShardPlan
    epochs: tuple[Epoch, ...]
    upload: Upload
    landed: Landed | None
    fetched: tuple[Fetched, ...] = ()

    @property
    def name(self) -> str:
        """What the names of its documents begin with."""
        return shard_name(self.round, self.number)

    @property
    def last(self) -> Epoch | None:
        """The newest create call."""
        return self.epochs[-1] if self.epochs else None

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
        """A create call may have been sent, and nobody has noted what came of it."""
        return self.last is not None and self.last.outcome is None

    def usable_file(self, until: datetime) -> Uploaded | None:
        """The upload, if it was not deleted and lives until then."""
        file = self.upload.file
        deleted = {
            e.sending.input_file for e in self.epochs if e.revoked or (e.outcome and e.outcome.input_deleted)
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


@dataclass(frozen=True)
class Batch:
    """Everything that a ledger says."""

    plan: Plan
    generation: int
    rounds: tuple[Round, ...]
    superseded: Superseded | None

    @property
    def round(self) -> Round:
        """The newest round."""
        return self.rounds[-1]

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
        """A create call was accepted or may have been."""
        return any(
            s.landed or s.is_unresolved or any(e.outcome and e.outcome.job for e in s.epochs) for s in self.shards
        )

    @property
    def is_refused(self) -> bool:
        """Nothing was accepted and the API said a final no: no results will come unless a new try sends again."""
        return not self.has_spent and any(o.refusal is Refusal.FINAL for s in self.shards if (o := s.outcome))

    def tag(self, shard: Shard, epoch: int) -> JobTag:
        """What the display name of a create call says."""
        plan = self.plan
        return JobTag(
            plan.identity.mark, plan.place, shard.plan.content, self.generation, shard.round, shard.number, epoch
        )


def shard_name(round_number: int, shard_number: int) -> str:
    """What the names of a shard's documents begin with."""
    return f"r{round_number}.s{shard_number}"


def read_batch(ledger: Ledger) -> Batch:
    """Read a ledger that has a plan.

    :raises LedgerError: It cannot be read or misses a part.
    """
    plan = ledger.read("plan.json", Plan)
    if plan is None:
        raise LedgerError(
            f"The ledger at {ledger.folder} has no plan.",
            code="AGB-L02",
            remedy="Nothing was sent or cancelled. Restore the folder, or delete it if its jobs are not wanted.",
        )
    ledger.bind(plan.content)
    names = ledger.documents()
    rounds = [_round(ledger, names, 1, plan.first)]
    while f"r{len(rounds) + 1}.plan.json" in names:
        number = len(rounds) + 1
        rounds.append(_round(ledger, names, number, _there(ledger, f"r{number}.plan.json", RoundPlan)))
    for round_ in rounds:
        _ensure_landed(ledger, names, round_)
    superseded = ledger.read("superseded.json", Superseded) if "superseded.json" in names else None
    return Batch(plan, ledger.generation, tuple(rounds), superseded)


def _there(ledger: Ledger, name: str, kind: type[D]) -> D:
    """A document that the listing shows."""
    document = ledger.read(name, kind)
    if document is None:
        raise LedgerError(f"{name} vanished from {ledger.folder}.", code="AGB-L02", remedy="Restore the folder.")
    return document


def _ensure_landed(ledger: Ledger, names: set[str], round_: Round) -> None:
    """Make sure that all has landed of a round that was published, or that another followed."""
    after = {f"r{round_.number}.published.json", f"r{round_.number + 1}.plan.json"} & names
    for shard in round_.shards:
        if after and shard.landed is None:
            raise hole(ledger, min(after), f"{shard.name}.landed.json")
        # Without the first outcome a later one has no call that it belongs to, which is a hole by itself.
        first = f"{shard.name}.e1.outcome.json"
        if shard.landed and shard.landed.job and first not in names:
            raise hole(ledger, f"{shard.name}.landed.json", first)


def _round(ledger: Ledger, names: set[str], number: int, plan: RoundPlan) -> Round:
    cancel, published = f"r{number}.cancel.json", f"r{number}.published.json"
    return Round(
        number,
        plan,
        tuple(_shard(ledger, names, number, n, shard) for n, shard in enumerate(plan.shards, 1)),
        ledger.read(cancel, Cancel) if cancel in names else None,
        ledger.read(published, Published) if published in names else None,
        f"r{number}.tidied.json" in names,
        tuple(sorted(name for name in names if name.startswith(f"r{number}.publishing."))),
        tuple(_series(ledger, names, f"r{number}.extended", Extended)),
    )


def _series(ledger: Ledger, names: set[str], stem: str, kind: type[D]) -> Iterator[D]:
    """Documents that are numbered from 1."""
    for number in itertools.count(1):
        if f"{stem}{number}.json" not in names:
            return
        yield _there(ledger, f"{stem}{number}.json", kind)


def _shard(ledger: Ledger, names: set[str], round_number: int, number: int, plan: ShardPlan) -> Shard:
    name = shard_name(round_number, number)
    if f"{name}.landed.json" in names:
        landed = _there(ledger, f"{name}.landed.json", Landed)
        return Shard(round_number, number, plan, (), Upload(0), landed)
    epochs: list[Epoch] = []
    while f"{name}.e{len(epochs) + 1}.sending.json" in names:
        epochs.append(_epoch(ledger, names, f"{name}.e{len(epochs) + 1}", len(epochs) + 1, plan.content))
    upload = _upload(ledger, names, name)
    is_uploaded = any(f"{name}.f{n}.file.json" in names for n in range(1, upload.number + 1))
    if not is_uploaded and any(epoch.sending.owner != ADOPTED for epoch in epochs):
        raise hole(ledger, f"{name}.e1.sending.json", f"{name}.f1.file.json")
    fetched = tuple(_series(ledger, names, f"{name}.fetched", Fetched))
    return Shard(round_number, number, plan, tuple(epochs), upload, None, fetched)


def _epoch(ledger: Ledger, names: set[str], name: str, number: int, content: str) -> Epoch:
    sending = _there(ledger, f"{name}.sending.json", Sending)
    tag = JobTag.read(sending.display_name)
    if tag is None or tag.content != content:
        raise LedgerError(
            f"{name}.sending.json in {ledger.folder} is of other rows than the plan.",
            code="AGB-L02",
            remedy="Nothing was sent or cancelled. A try was interrupted while it took over jobs that a lost "
            "ledger had known. Restore the input of then; or delete the folder to begin anew.",
        )
    outcome = ledger.read(f"{name}.outcome.json", Outcome) if f"{name}.outcome.json" in names else None
    revoked = ledger.read(f"{name}.revoked.json", Revoked) if f"{name}.revoked.json" in names else None
    scans = 0
    while f"{name}.scan{scans + 1}.json" in names:
        scans += 1
    return Epoch(number, sending, outcome, revoked, scans)


def _upload(ledger: Ledger, names: set[str], name: str) -> Upload:
    attached = _newest_attached(ledger, names, name)
    numbers = _numbers(names, name, _FILE)
    if not numbers:
        return Upload(0, attached=attached)
    stem = f"{name}.f{max(numbers)}"
    session = ledger.read(f"{stem}.session.json", Session) if f"{stem}.session.json" in names else None
    file = ledger.read(f"{stem}.file.json", Uploaded) if f"{stem}.file.json" in names else None
    return Upload(max(numbers), session, file, attached)


def _newest_attached(ledger: Ledger, names: set[str], name: str) -> Attached | None:
    numbers = _numbers(names, name, _ATTACHED)
    return _there(ledger, f"{name}.a{max(numbers)}.attached.json", Attached) if numbers else None


def _numbers(names: set[str], name: str, pattern: re.Pattern[str]) -> list[int]:
    return [int(m[1]) for n in names if n.startswith(f"{name}.") and (m := pattern.fullmatch(n[len(name) + 1 :]))]
