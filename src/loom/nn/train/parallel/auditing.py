"""Audits of a training by a pool: which changes are audited, and who was wrong where records differ.

Layer: nn. Of an audited change each worker computes again what another one gives, and tells sums over the bits of what
it saw (``AuditRecord``). Where these differ this process computes the change and compares stage by stage, so that who
took something wrong from another is not taken for who made it. Invariant: nobody is named whose part was right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from loom.core.errors import DeviceError, LoomTimeout
from loom.core.tracebacks import warn_caller
from loom.nn.base.wrongwork import WrongWorkError
from loom.nn.train.parallel.courses import are_sliced, audit_checks, cut_slice, sums_by_place
from loom.nn.train.parallel.messages import AuditRecord, Change, TrainState
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.tree import join
from loom.workers import WorkerPool
from loom.workers.members import Member

__all__ = ["Auditor", "WrongWorkError", "are_alike", "records_here", "wrong_records"]


def are_alike(records: Sequence[AuditRecord]) -> bool:
    """Tell whether the records of workers, by rank, say that all was right: each was confirmed by another one."""
    ranks = len(records)
    if ranks < 2 or len({(r.before, r.root, r.loss, r.after) for r in records}) > 1:
        return False
    return all(r.seen == r.again == records[(n + 1) % ranks].made for n, r in enumerate(records))


def records_here(
    home: MicroPrograms, state: TrainState, change: Change, ranges: Sequence[tuple[int, int]]
) -> list[AuditRecord]:
    """Return the records of workers, by rank, that are right, computed by ``home``, which is afterwards what it was."""
    ranks, kept = len(ranges), TrainState(home.version, home.arrays())
    try:
        home.load(state)
        made, root, loss = [("", "")] * ranks, "", 0.0
        if change.batch is not None:
            count = change.batch.count
            sums = [home.gradients(change.batch, *each) for each in ranges]
            parts = [s for each in sums for s in each]
            change = replace(change, sums=tuple(parts))
            arrays = join(parts, count)[0].arrays
            root, is_sliced = audit_checks(arrays), are_sliced([p.node for p in parts], count)
            for n, each in enumerate(sums):
                own = audit_checks(sums_by_place([s.arrays for s in each]))
                made[n] = own, audit_checks(cut_slice(arrays, n, ranks)) if is_sliced else ""
        loss = home.change(change)
        before, after = audit_checks(state.arrays), audit_checks(home.arrays())
    finally:
        home.load(kept)
    records: list[AuditRecord] = []
    for n, own in enumerate(made):
        following = made[(n + 1) % ranks]
        records.append(AuditRecord(before, after, root, own, following, following if ranks > 1 else ("", ""), loss))
    return records


def wrong_records(records: Sequence[AuditRecord], right: Sequence[AuditRecord]) -> dict[int, tuple[str, str]]:
    """Return whose records are wrong, by rank, with what they say and what is right, of the first stage that any is.

    What follows from a stage that was wrong may be wrong of anybody.
    """
    pairs = [(r.stages(), wanted.stages()) for r, wanted in zip(records, right, strict=True)]
    for stage in range(len(pairs[0][0])):
        found: dict[int, tuple[str, str]] = {}
        for n, (said, truth) in enumerate(pairs):
            different = [each for each in zip(said[stage], truth[stage], strict=True) if each[0] != each[1]]
            if different:
                found[n] = different[0]
        if found:
            return found
    return {}


class Auditor:
    """Audits the trainings of a crew. ``is_of_all``: all their changes, since it was not plain who was wrong."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self.is_of_all = False
        self.has_changed = False
        self._key, self._home = "", None
        self._faults, self._is_update_next = 0, False
        self._settled: set[int] = set()

    def start(self, key: str, home: MicroPrograms) -> None:
        """Begin with replicas that are kept under a key, all of which are given the state of ``home``."""
        self._key, self._home = key, home
        self._faults, self._is_update_next, self.has_changed = len(self._pool.faults), False, False
        self._settled = {m.number for m in self._pool.ready()}

    # which

    @property
    def is_on(self) -> bool:
        """Whether any change is audited."""
        return self.is_of_all or self._pool.audit > 0

    def is_next(self, change: Change) -> bool:
        """Tell whether the next change is audited: the update too that ends the batches of which one was."""
        return self.cut([change])[1]

    def cut(self, changes: Sequence[Change]) -> tuple[list[Change], bool]:
        """Return the next changes up to the first that is audited, and whether there is one."""
        free = 0 if self.is_of_all else self._pool.calls_before_audit()
        for n, change in enumerate(changes):
            if self._is_update_next if change.batch is None else free == 0:
                return list(changes[: n + 1]), True
            free -= change.batch is not None
        return list(changes), False

    def count(self, changes: Iterable[Change], *, is_audited: bool) -> None:
        """Note changes that were made, of which the last was audited; one that was to be and was not is the next."""
        made = list(changes)
        self._pool.count_calls(sum(c.batch is not None for c in made))
        if is_audited:
            self._is_update_next = made[-1].batch is not None and made[-1].share is not None
        self.has_changed = self.has_changed or bool(made)

    # replicas

    @property
    def are_settled(self) -> bool:
        """Whether all workers began with the state of this process, or were seen to have that of the others."""
        return {m.number for m in self._pool.ready()} <= self._settled

    def unsettle(self, member: Member) -> None:
        """Note that a worker was given a state by another one."""
        self._settled.discard(member.number)

    def compare(self, told: Mapping[Member, str], redo: Callable[[], str], version: int) -> str:
        """Return what all tell of their states. WrongWorkError where they do not tell the same: the fewer are named.

        Who was given a state by another one, and halves, are not: then all is to be made again, each change audited;
        if it was already ``redo`` says what is right.
        """
        (right, votes), *_ = Counter(told.values()).most_common()
        if votes == len(told):
            self._settled |= {m.number for m in told}
            return right
        if self.is_of_all:
            right = redo()
        elif votes * 2 <= len(told) or not {m.number for m in told} <= self._settled:
            self.begin_again("replicas of one state have different bits", told)
        wrong = [m for m, digest in told.items() if digest != right]
        if len(wrong) == len(told):
            raise _nobody_is_right("replicas of one state have different bits", told)
        for member in wrong:
            self.convict(member, version, said=told[member], truth=right)
        raise self._wrong_work()

    def begin_again(self, what: str, told: Mapping[Member, str]) -> None:
        """Have all be made again and audited; DeviceError if it was already."""
        if self.is_of_all:
            raise _nobody_is_right(what, told)
        self.is_of_all = True
        who = f"{what} ({', '.join(map(str, told))}), and it is not plain whose are wrong"
        warn_caller(f"train, workers: {who}. All since the start is computed again, each batch by two workers.")
        raise WrongWorkError("train, workers", what, remedy="All since the start is computed again, twice")

    # who

    def judge(
        self,
        change: Change,
        ranges: Sequence[tuple[int, int]] | None,
        told: Mapping[Member, AuditRecord],
        redo: Callable[[], str],
    ) -> None:
        """See that an audited change was made rightly, of which workers, by rank, tell. WrongWorkError if not.

        ``ranges``: of each, the micro-batches that it made in a course; None where sums were made by calls, which are
        audited as such: then only what became of the state is looked at.
        """
        agreed = self.compare({m: r.before for m, r in told.items()}, redo, change.version)
        records = list(told.values())
        if are_alike(records):
            return
        state = self._state_before(list(told), change.version, agreed)
        self.require_no_faults()
        if state is None:  # who had it is no more
            if len(told) > 1:
                self.begin_again("records of an audit differ", {m: r.after for m, r in told.items()})
            return
        assert self._home is not None
        members = list(told)
        count = 0 if change.batch is None else change.batch.count
        right = records_here(self._home, state, change, ranges or [(0, count), *[(count, count)] * (len(members) - 1)])
        if ranges is None:
            right = [replace(r, after=wanted.after) for r, wanted in zip(records, right, strict=True)]
        for rank, (said, truth) in wrong_records(records, right).items():
            self.convict(members[rank], change.version, said=said, truth=truth)
        self.require_no_faults()

    def _state_before(self, members: Sequence[Member], version: int, agreed: str) -> TrainState | None:
        """Return the state of which all told that they had it; who gives another one is named."""
        for member in members:
            try:
                (state,) = self._pool.fetch([self._pool.ask(member, self._key, "state_before", version)])
            except (DeviceError, LoomTimeout):
                continue
            if state is not None and self.is_sent_right(member, version, agreed, audit_checks(state.arrays)):
                return state
        return None

    def is_sent_right(self, member: Member, version: int, told: str, came: str) -> bool:
        """Tell whether what came of a worker is what it told; it is named if not."""
        if came != told:
            self.convict(member, version, said=came, truth=told)
        return came == told

    def convict(self, member: Member, version: int, *, said: str, truth: str) -> None:
        """Name a worker that was wrong about a version of the state, and leave it out."""
        if member.facts is not None and member.state != "faulty":
            self._pool.convict(member, version, said=said, truth=truth)

    def require_no_faults(self) -> None:
        """Raise WrongWorkError if a worker was convicted that may have been wrong in earlier batches too."""
        if len(self._pool.faults) > self._faults and self.has_changed:
            raise self._wrong_work()
        self._faults = len(self._pool.faults)

    def _wrong_work(self) -> WrongWorkError:
        faults = self._pool.faults[self._faults :]
        self._faults = len(self._pool.faults)
        what = "; ".join(map(str, faults)) or "a worker was wrong"
        return WrongWorkError("train, audit", what, remedy="All since the start is computed again")


def _nobody_is_right(what: str, told: Mapping[Member, str]) -> DeviceError:
    got = ", ".join(f"{digest[:16]} in {m}" for m, digest in told.items())
    remedy = "See loom verify on their machines; go on from a checkpoint"
    return DeviceError("train, workers", what, expected="the same in all", got=got, remedy=remedy)
