"""A crew of workers in processes of their own, on this machine or others: those of a ``loom.workers`` pool.

Layer: nn. Each worker has a replica. Sums go from worker to worker; this process sees losses, and the state when it is
looked at. A worker that is lost is replaced by one that gets another's state, or, where none has it any more, the last
one seen here and the changes since. Invariant: the state follows from recipe and changes alone: workers may be killed,
added, slow, and of different devices.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from loom.core.arrays import Array
from loom.core.errors import DeviceError, LoomError, LoomTimeout, StateError
from loom.nn.base.digests import digest_of
from loom.nn.train.parallel.ahead import Ahead
from loom.nn.train.parallel.auditing import Auditor
from loom.nn.train.parallel.courses import audit_checks, checks_of
from loom.nn.train.parallel.messages import Change, MicroBatches, Recipe, TrainState
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.replicas import PooledReplica, join_parts, redo, report_of, unpack_sums
from loom.nn.train.parallel.tree import join, share_out
from loom.workers import WorkerPool
from loom.workers.audit import result_digest
from loom.workers.computing import WorkerCall
from loom.workers.members import Member
from loom.workers.worker import Reported

__all__ = ["PoolCrew"]

_SPEEDS_KEPT = 8
"""Of each worker: one that became slower is known as such after so many batches."""
_BATCHES_BETWEEN_MEASURES = 32
"""After so many all get the same, also those that were found too slow for any."""


class PoolCrew:
    """Trains with the workers of an open pool, all of them, those that join later too."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._key = ""
        self._home: MicroPrograms | None = None
        self._version = 0
        self._changes: list[Change] = []  # since the version that ``home`` is of
        self._recipe: Any = None
        self._base: Any = None  # the state that ``home`` has, in Ray's store
        self._behind: set[int] = set()  # workers that were too busy to be told of a change
        self._speeds: dict[int, deque[float]] = {}
        self._auditor = Auditor(pool)
        self._ahead = Ahead(pool, "", 0.0, self._auditor)
        self._is_going_ahead, self._is_audited = False, False
        self._found: list[WorkerCall] = []  # whose results are the sums of the batch

    def start(self, home: MicroPrograms, recipe: Recipe) -> None:
        """Give every worker the recipe and the state that ``home`` has."""
        self.release()
        self._home, self._version = home, home.version
        self._changes, self._behind, self._speeds = [], set(), {}
        self._recipe = self._pool.ray.put(recipe)
        self._base = self._pool.ray.put(TrainState(home.version, home.arrays()))
        self._key = self._pool.hold(PooledReplica, self._arguments)
        self._auditor.start(self._key, home)
        self._ahead = Ahead(self._pool, self._key, self._pool.patience, self._auditor)
        if self._auditor.is_on:
            self._require_start(digest_of(home.arrays()))

    def _require_start(self, right: str) -> None:
        """Leave out who begins with another state than it was given; what else goes wrong is told by later calls."""
        asked = {m: self._pool.ask(m, self._key, "state_digest", self._version) for m in self._pool.ready()}
        for member, ref in asked.items():
            with suppress(LoomError):
                (digest,) = self._pool.fetch([ref])
                self._auditor.is_sent_right(member, self._version, right, digest or right)

    def _arguments(self) -> tuple[Any, ...]:
        """Return what a worker that joins now makes its replica of: the state of another one, or what is kept here.

        One that joins while others are in a course begins with what was seen here last, and is given their state later;
        where all is audited nobody's state is taken.
        """
        if self._is_going_ahead:
            return self._snapshot()[:2]
        there = self._in_step()
        if self._version == self._now.version or not there or self._auditor.is_of_all:
            return self._snapshot()
        state = self._state_of_one(there)
        return self._snapshot() if state is None else (self._recipe, state)

    def _snapshot(self) -> tuple[Any, Any, tuple[Change, ...]]:
        """Return the recipe, the state that ``home`` has, and the changes since."""
        if self._base is None:
            self._base = self._pool.ray.put(TrainState(self._now.version, self._now.arrays()))
        return self._recipe, self._base, tuple(self._changes)

    def _state_of_one(self, there: Sequence[Member]) -> Any:
        """Return a reference of the state, of a worker that has nothing else to do if there is one; None if all who
        were asked are named as giving another state than they have, which is looked at where work is audited.

        Nobody may have asked it for anything else: if it is dead that is noticed by this.
        """
        for giver in sorted(there, key=lambda m: len(m.sent)):
            state = self._pool.ask(giver, self._key, "state", self._version, is_watched=True)
            if not self._auditor.is_on:
                return state
            digest = self._pool.ask(giver, self._key, "state_digest", self._version)
            try:
                told, came = self._pool.fetch([digest, state])
            except (DeviceError, LoomTimeout):
                return state
            if not told or self._auditor.is_sent_right(giver, self._version, told, digest_of(came.arrays)):
                return state
        return None

    @property
    def _now(self) -> MicroPrograms:
        if self._home is None:
            raise StateError("train, workers", "the crew has not started", expected="start before anything else",
                             got="no model", remedy="Train with Network.train")  # fmt: skip
        return self._home

    def _in_step(self) -> list[Member]:
        return [m for m in self._pool.ready() if self._is_fit(m)]

    def _is_fit(self, member: Member) -> bool:
        return member.number not in self._behind

    # batches ahead

    def foresee(self, changes: Iterable[Change]) -> None:
        """Take it that these changes are to come."""
        self._ahead.foresee(changes)

    @property
    def is_at_rest(self) -> bool:
        """Whether the workers are where the training is, and not ahead of it."""
        return not self._ahead.told

    def _go_ahead(self) -> bool:
        """Have workers make some batches by themselves, if all are of one node and have nothing else to do."""
        members = self._resting()
        if len(members) < len(self._pool.ready()):
            return False
        speeds = self._speeds_of(members)
        self._is_going_ahead = True
        try:
            found = self._ahead.go(self._version, members, speeds)
        finally:
            self._is_going_ahead = False
        self._behind |= {m.number for m in self._pool.ready()} - {m.number for m in members}
        for member, told in found.items():
            if told.micro_batches:
                self._learn(member.number, told.micro_batches / max(told.seconds, 1e-6))
        made = [change for change, _ in self._ahead.told if change.version < self._ahead.version]
        self._changes += made
        self._version += len(made)
        self._auditor.has_changed |= bool(made)
        self._behind |= self._ahead.behind
        if self._ahead.audited is not None:
            change, ranges, records = self._ahead.audited
            self._auditor.judge(change, ranges, records, lambda: audit_checks(self._redo(change.version)))
        if len(set(self._ahead.losses.values())) > 1:
            self._auditor.begin_again("workers tell different losses of one batch", self._ahead.losses)
        return bool(self._ahead.told)

    # a batch

    def gradients(self, batch: MicroBatches) -> float:
        """Have all micro-batches of a batch computed; return its loss. WrongWorkError after an audit that convicts."""
        if self._is_told:
            return self._loss_told(batch)
        self._catch_up()
        if self._go_ahead() and self._is_told:
            return self._loss_told(batch)
        self._is_audited = self._auditor.is_next(Change(self._version, batch)) or bool(self._ahead.told)
        self._ahead.told.clear()
        loss = self._sum_up(batch)
        if not math.isfinite(loss) and self._auditor.is_on and not self._is_audited:
            self._is_audited = True
            loss = self._sum_up(batch)
        return loss

    @property
    def _is_told(self) -> bool:
        """Whether the next loss is there already; that it is not finite is believed of an audited batch alone."""
        if not self._ahead.told:
            return False
        loss = self._ahead.told[0][1]
        return loss is None or math.isfinite(loss) or not self._auditor.is_on

    def _sum_up(self, batch: MicroBatches) -> float:
        """Have all micro-batches of a batch computed by calls; return its loss."""
        if self._is_audited and not self._auditor.are_settled:
            self._compare_states()
        ranges, prefers = self._share_out(batch.count)
        calls = self._pool.run(
            self._key, "gradients", [(batch, *each) for each in ranges], judge=self._judge, prefers=prefers,
            is_fit=self._is_fit, make_fit=self._make_fit, audit=float(self._is_audited),
        )  # fmt: skip
        self._auditor.require_no_faults()
        for call, (first, last) in zip(calls, ranges, strict=True):
            assert call.by is not None
            self._learn(call.by.number, (last - first) / max(call.seconds, 1e-6))
        self._found = calls
        return float(join(unpack_sums([call.summary for call in calls]), batch.count)[0].arrays["loss"])

    def _loss_told(self, batch: MicroBatches) -> float:
        change, loss = self._ahead.told[0]
        if change.batch != batch or loss is None:
            raise StateError("train, workers", "another batch was foreseen", expected=batch, got=change.batch,
                             remedy="Train with Network.train")  # fmt: skip
        if not math.isfinite(loss):
            self._ahead.told.clear()  # no change follows
        return loss

    def _catch_up(self) -> None:
        """Give the state to workers that were too busy to be told of changes, and are not any more."""
        late = [m for m in self._pool.ready() if not self._is_fit(m) and not m.sent]
        there = self._in_step()
        state = self._state_of_one(there) if late and there and not self._auditor.is_of_all else None
        if state is not None:
            self._load(late, state)
        elif late:
            self._make_fit()

    def _make_fit(self) -> bool:
        """Have workers that were not told of all changes make these again, since nobody else has the state."""
        late = [m for m in self._pool.ready() if not self._is_fit(m)]
        _, base, changes = self._snapshot()
        self._load(late, base, changes)
        return bool(late)

    def _load(self, members: Sequence[Member], *state: Any) -> None:
        for member in members:
            self._pool.ask(member, self._key, "load", *state)
            self._auditor.unsettle(member)
            self._behind.discard(member.number)

    def _share_out(self, count: int) -> tuple[list[tuple[int, int]], list[int | None]]:
        """Return ranges of micro-batches, and whom each is for: as many as there are workers, by their speeds."""
        idle = self._resting()
        if not idle:
            pieces = max(1, len(self._pool))
            return [r for r in share_out(count, [1.0] * pieces) if r[1] > r[0]], [None] * min(pieces, count)
        ranges = share_out(count, self._speeds_of(idle))
        given = [(r, m.number) for r, m in zip(ranges, idle, strict=True) if r[1] > r[0]]
        return [r for r, _ in given], [n for _, n in given]

    def _speeds_of(self, members: Sequence[Member]) -> list[float]:
        """Return micro-batches a second of each; equal ones now and then, so that who was slow is measured again."""
        known = [max(self._speeds[m.number]) for m in members if len(self._speeds.get(m.number, ())) > 1]
        if len(known) < len(members) or self._version % _BATCHES_BETWEEN_MEASURES == 0:
            return [1.0] * len(members)
        return known

    def _learn(self, worker: int, speed: float) -> None:
        """Note how many micro-batches a second a worker computed, of which the best of the last few are its speed."""
        self._speeds.setdefault(worker, deque(maxlen=_SPEEDS_KEPT)).append(speed)

    def change(self, change: Change) -> None:
        """Tell all workers of a change, and give them what is left of the tree; they may have made it already."""
        if self._ahead.told:
            made, _ = self._ahead.told.popleft()
            if (made.version, made.batch, made.rate, made.share) != (
                change.version, change.batch, change.rate, change.share
            ):  # fmt: skip
                raise StateError("train, workers", "another change was foreseen", expected=made.version,
                                 got=change.version, remedy="Train with Network.train")  # fmt: skip
            return
        self._ahead.forget(change)
        if change.batch is None:
            self._found, self._is_audited = [], self._auditor.is_next(change)
        parts = [] if change.batch is None else self._reduce(change.batch.count)
        self._changes.append(change)
        asked: list[Member] = []
        for member in self._in_step():
            if member.sent:  # with a call that another has ended for it
                self._behind.add(member.number)
            else:
                asked.append(member)
        self._version, self._auditor.has_changed, self._found = self._version + 1, True, []
        if self._is_audited:
            self._change_audited(change, asked, parts)
        else:
            for member in asked:
                self._pool.ask(member, self._key, "change", change, not self._auditor.is_on, *[c.value for c in parts])
        self._auditor.count([change], is_audited=self._is_audited)

    def _change_audited(self, change: Change, asked: Sequence[Member], parts: Sequence[WorkerCall]) -> None:
        """Have workers make a change, and see what they tell of it."""
        values = [c.value for c in parts]
        answers = self._pool.gather(self._key, "record_change", dict.fromkeys(asked, (change, *values)))
        told = {m: answer.summary for m, (answer, _) in answers.items()}
        for place, part in enumerate(parts):
            self._require_sent(part, {m: record.seen[place] for m, record in told.items()})
        if told:
            told = {m: replace(record, seen=()) for m, record in told.items()}
            self._auditor.judge(change, None, told, lambda: audit_checks(self._redo(change.version)))

    def _require_sent(self, part: WorkerCall, seen: Mapping[Member, str]) -> None:
        """See that workers were given the sums that were audited: who sends others is named, or who sees others."""
        wrong = {m: digest for m, digest in seen.items() if digest != part.value_digest}
        if not wrong:
            return
        assert part.by is not None
        (value,) = self._pool.fetch([part.value])
        if self._auditor.is_sent_right(part.by, self._version, part.value_digest, result_digest(value)):
            for member, digest in wrong.items():
                self._auditor.convict(member, self._version, said=digest, truth=part.value_digest)
        self._auditor.has_changed = True  # sums that cannot be sent again: all is made again
        self._auditor.require_no_faults()

    def _reduce(self, count: int) -> list[WorkerCall]:
        """Have neighbours' sums joined by workers until two are left, which each worker joins itself."""
        parts: list[WorkerCall] = self._found
        while len(parts) > 2:
            pairs: list[list[WorkerCall]] = [parts[n : n + 2] for n in range(0, len(parts), 2)]
            single = pairs.pop() if len(pairs[-1]) == 1 else []
            calls = self._pool.run(
                self._key, "join", [(count, self._is_audited, *[c.value for c in pair]) for pair in pairs],
                judge=self._judge_of_join, prefers=[None if p[0].by is None else p[0].by.number for p in pairs],
                is_fit=self._is_fit, make_fit=self._make_fit, audit=float(self._is_audited),
            )  # fmt: skip
            self._auditor.require_no_faults()
            if self._is_audited:
                for call, pair in zip(calls, pairs, strict=True):
                    for part, digest in zip(pair, call.summary, strict=True):
                        self._require_sent(part, {} if call.by is None else {call.by: digest})
            parts = [*calls, *single]
        return parts

    # what is looked at

    def sync(self) -> None:
        """Have ``home`` be of the version that the replicas are of, all of which must have the same bits."""
        home = self._now
        if home.version == self._version:
            return
        if not self.is_at_rest:
            raise StateError("train, workers", "the workers are ahead", expected=f"version {self._version}",
                             got=f"{len(self._ahead.told)} changes before it",
                             remedy="Take what they have made first")  # fmt: skip
        home.load(self._state_told() or self._state_asked())
        self._changes, self._base = [], None

    def _state_told(self) -> TrainState | None:
        """Return the state that was told with the last course, if all replicas are of it and have the same bits."""
        told, given = self._ahead.checks, self._ahead.state
        if given is None or given[0] != self._version or not {m.number for m in self._in_step()} <= told.keys():
            return None
        if set(told.values()) != {(self._version, next(iter(told.values()))[1])}:
            return None
        try:
            (state,) = self._pool.fetch([given[1]])
        except (DeviceError, LoomTimeout):
            return None
        self._require_state(self._ahead.giver, next(iter(told.values()))[1], state, checks_of)
        return state

    def _state_asked(self) -> TrainState:
        agreed = self._compare_states()
        call = self._pool.run(
            self._key, "state", [(self._version,)], is_fit=self._is_fit, make_fit=self._make_fit, audit=0.0
        )[0]
        (state,) = self._pool.fetch([call.value])
        if agreed:
            self._require_state(call.by, agreed, state, digest_of)
            self._require_checks(state)
        return state

    def _require_checks(self, state: TrainState) -> None:
        """Name, where work is audited, who told other sums over the bits of a state that all have."""
        told = {n: checks for n, (version, checks) in self._ahead.checks.items() if version == self._version}
        if self._auditor.is_on and len(set(told.values())) > 1:
            right = checks_of(state.arrays)
            for member in self._in_step():
                self._auditor.is_sent_right(member, self._version, right, told.get(member.number, right))
            self._auditor.require_no_faults()

    def _require_state(
        self, giver: Member | None, told: str, state: TrainState, digest: Callable[[Mapping[str, Array]], str]
    ) -> None:
        """See, where work is audited, that a state that came is the one that its giver told of, which is else named."""
        if self._auditor.is_on and giver is not None:
            self._auditor.is_sent_right(giver, self._version, told, digest(state.arrays))
            self._auditor.require_no_faults()

    def _compare_states(self) -> str:
        """Return the digest of the state of all replicas, "" if none is there; see ``Auditor.compare``."""
        digests = self._digests(self._resting())
        if not digests:
            return ""
        return self._auditor.compare(digests, lambda: digest_of(self._redo(self._version)), self._version)

    def _resting(self) -> list[Member]:
        return [m for m in self._in_step() if not m.sent]

    def _digests(self, members: Sequence[Member]) -> dict[Member, str]:
        """Return the digest of each replica's state; one that does not tell it is replaced."""
        asked = {m: self._pool.ask(m, self._key, "state_digest", self._version) for m in members}
        found: dict[Member, str] = {}
        for member, ref in asked.items():
            try:
                (digest,) = self._pool.fetch([ref])
            except Exception as error:
                self._pool.lose(member, f"{type(error).__name__}: it did not tell the digest of its state")
                continue
            if digest is None:
                self._pool.lose(member, "its state is of another version")
            else:
                found[member] = digest
        return found

    def _redo(self, version: int) -> Mapping[str, Array]:
        """Return what the changes since ``home``'s state make of it up to a version, computed by this process."""
        home = self._now
        before = TrainState(home.version, home.arrays())
        try:
            redo(home, [change for change in self._changes if change.version < version])
            return home.arrays()
        finally:
            home.load(before)

    # audits

    def _judge(self, batch: MicroBatches, first: int, last: int) -> Reported:
        """Compute sums of a batch by this process, with the state that all workers say that they have.

        If none is left that has it the changes are made here.
        """
        home = self._now
        digests = self._digests(self._in_step())
        if len(set(digests.values())) > 1:
            self._auditor.compare(digests, lambda: digest_of(self._redo(self._version)), self._version)
        before = TrainState(home.version, home.arrays())
        try:
            if digests and self._version != home.version:
                giver = next(iter(digests))
                (state,) = self._pool.fetch([self._pool.ask(giver, self._key, "state", self._version)])
                self._require_state(giver, digests[giver], state, digest_of)
                home.load(state)
            else:
                redo(home, self._changes)
            return report_of(home.gradients(batch, first, last))
        finally:
            home.load(before)

    def _judge_of_join(self, count: int, is_audited: bool, *parts: Any) -> Reported:
        return join_parts(count, is_audited, self._pool.fetch(parts))

    def release(self) -> None:
        """Have the workers forget their replicas."""
        if self._key:
            self._pool.drop(self._key)
        self._key, self._home, self._recipe, self._base, self._found = "", None, None, None, []
        self._ahead = Ahead(self._pool, "", 0.0, self._auditor)
