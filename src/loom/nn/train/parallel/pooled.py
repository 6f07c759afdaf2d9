"""A crew of workers in processes of their own, on this machine or others: those of a ``loom.workers`` pool.

Layer: nn. Each worker has a replica. Sums go from worker to worker; this process sees losses, and the state when it is
looked at. A worker that is lost is replaced by one that gets another's state, or, where none has it any more, the last
one seen here and the changes since. Invariant: the state follows from recipe and changes alone: workers may be killed,
added, slow, and of different devices.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from loom.core.errors import DeviceError, LoomTimeout, StateError
from loom.nn.digests import digest_of
from loom.nn.train.parallel.ahead import Ahead
from loom.nn.train.parallel.messages import Change, MicroBatches, Recipe, TrainState
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.replicas import PooledReplica, packed, redo, unpacked
from loom.nn.train.parallel.tree import join, share_out
from loom.workers import WorkerFault, WorkerPool
from loom.workers.members import Member

__all__ = ["PoolCrew", "WrongWorkError"]

_SPEEDS_KEPT = 8
"""Of each worker: one that became slower is known as such after so many batches."""
_BATCHES_BETWEEN_MEASURES = 32
"""After so many all get the same, also those that were found too slow for any."""


class WrongWorkError(DeviceError):
    """A worker was found to compute wrongly, which it may have done before: all since the start is to be done again."""


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
        self._faults, self._has_changed = 0, False
        self._ahead = Ahead(pool, "", 0.0)
        self._is_going_ahead = False
        self._found: list[Any] = []
        self._givers: list[int | None] = []

    def start(self, home: MicroPrograms, recipe: Recipe) -> None:
        """Give every worker the recipe and the state that ``home`` has."""
        self.release()
        self._home, self._version = home, home.version
        self._changes, self._behind, self._speeds = [], set(), {}
        self._faults, self._has_changed = len(self._pool.faults), False
        self._recipe = self._pool.ray.put(recipe)
        self._base = self._pool.ray.put(TrainState(home.version, home.arrays()))
        self._key = self._pool.hold(PooledReplica, self._arguments)
        self._ahead = Ahead(self._pool, self._key, self._pool.patience)

    def _arguments(self) -> tuple[Any, ...]:
        """Return what a worker that joins now makes its replica of: the state of another one, or what is kept here.

        One that joins while others are in a course begins with what was seen here last, and is given their state later.
        """
        if self._is_going_ahead:
            return self._kept()[:2]
        there = self._in_step()
        if self._version == self._now.version or not there:
            return self._kept()
        return self._recipe, self._state_of_one(there)

    def _kept(self) -> tuple[Any, Any, tuple[Change, ...]]:
        """Return the recipe, the state that ``home`` has, and the changes since."""
        if self._base is None:
            self._base = self._pool.ray.put(TrainState(self._now.version, self._now.arrays()))
        return self._recipe, self._base, tuple(self._changes)

    def _state_of_one(self, there: Sequence[Member]) -> Any:
        """Return a reference of the state, of a worker that has nothing else to do if there is one.

        Nobody may have asked it for anything else: if it is dead that is noticed by this.
        """
        giver = min(there, key=lambda m: len(m.sent))
        return self._pool.ask(giver, self._key, "state", self._version, is_watched=True)

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
        self._version, self._has_changed = self._version + len(made), self._has_changed or bool(made)
        self._behind |= self._ahead.behind
        return bool(self._ahead.told)

    # a batch

    def gradients(self, batch: MicroBatches) -> float:
        """Have all micro-batches of a batch computed; return its loss. WrongWorkError after an audit that convicts."""
        if self._ahead.told:
            return self._loss_told(batch)
        self._catch_up()
        if self._go_ahead():
            return self._loss_told(batch)
        ranges, prefers = self._shared_out(batch.count)
        calls = self._pool.run(
            self._key, "gradients", [(batch, *each) for each in ranges], judge=self._judge, prefers=prefers,
            is_fit=self._is_fit, make_fit=self._make_fit,
        )  # fmt: skip
        self._require_no_faults()
        for call, (first, last) in zip(calls, ranges, strict=True):
            assert call.by is not None
            self._learn(call.by.number, (last - first) / max(call.seconds, 1e-6))
        self._found = [call.value for call in calls]
        self._givers = [None if call.by is None else call.by.number for call in calls]
        return float(join(unpacked([call.summary for call in calls]), batch.count)[0].arrays["loss"])

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
        if late and there:
            self._load(late, self._state_of_one(there))
        elif late:
            self._make_fit()

    def _make_fit(self) -> bool:
        """Have workers that were not told of all changes make these again, since nobody else has the state."""
        late = [m for m in self._pool.ready() if not self._is_fit(m)]
        _, base, changes = self._kept()
        self._load(late, base, changes)
        return bool(late)

    def _load(self, members: Sequence[Member], *state: Any) -> None:
        for member in members:
            self._pool.ask(member, self._key, "load", *state)
            self._behind.discard(member.number)

    def _shared_out(self, count: int) -> tuple[list[tuple[int, int]], list[int | None]]:
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
        parts = [] if change.batch is None else self._reduced(change.batch.count)
        self._changes.append(change)
        for member in self._in_step():
            if member.sent:  # with a call that another has ended for it
                self._behind.add(member.number)
            else:
                self._pool.ask(member, self._key, "change", change, not self._pool.audit, *parts)
        self._version, self._has_changed, self._found = self._version + 1, True, []

    def _reduced(self, count: int) -> list[Any]:
        """Have neighbours' sums joined by workers until two are left, which each worker joins itself."""
        parts, givers = self._found, self._givers
        while len(parts) > 2:
            pairs = [tuple(parts[n : n + 2]) for n in range(0, len(parts), 2)]
            single: list[Any] = [pairs.pop()[0]] if len(pairs[-1]) == 1 else []
            calls = self._pool.run(
                self._key, "join", [(count, *pair) for pair in pairs], judge=self._judge_of_join,
                prefers=givers[: 2 * len(pairs) : 2], is_fit=self._is_fit, make_fit=self._make_fit,
            )  # fmt: skip
            self._require_no_faults()
            parts = [*(call.value for call in calls), *single]
            givers = [*(None if c.by is None else c.by.number for c in calls), *givers[len(givers) - len(single) :]]
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
            (state,) = self._pool.fetched([given[1]])
        except (DeviceError, LoomTimeout):
            return None
        return state

    def _state_asked(self) -> TrainState:
        self._compare_states()
        call = self._pool.run(
            self._key, "state", [(self._version,)], is_fit=self._is_fit, make_fit=self._make_fit, audited=False
        )[0]
        (state,) = self._pool.fetched([call.value])
        return state

    def _compare_states(self) -> None:
        """See that the replicas have the same bits. WrongWorkError names one that others, or this process, deny."""
        digests = self._digests(self._resting())
        if len(set(digests.values())) < 2:
            return
        (truth, votes), *_ = Counter(digests.values()).most_common()
        if votes * 2 <= len(digests):
            truth = self._digest_here()
        wrong = [m for m, digest in digests.items() if digest != truth]
        if len(wrong) == len(digests):
            raise DeviceError("train, workers", "replicas of one state have different bits", expected="the same in all",
                              got=", ".join(f"{d[:16]} in {m}" for m, d in digests.items()),
                              remedy="See loom verify on their machines; go on from a checkpoint")  # fmt: skip
        for member in wrong:
            facts = member.facts
            assert facts is not None
            self._pool.convict(member, WorkerFault(member.number, facts.device, facts.node, facts.pid, member.calls,
                                                   digests[member], truth))  # fmt: skip
        self._require_no_faults()

    def _resting(self) -> list[Member]:
        return [m for m in self._in_step() if not m.sent]

    def _digests(self, members: Sequence[Member]) -> dict[Member, str]:
        """Return the digest of each replica's state; one that does not tell it is replaced."""
        asked = {m: self._pool.ask(m, self._key, "state_digest", self._version) for m in members}
        found: dict[Member, str] = {}
        for member, ref in asked.items():
            try:
                (digest,) = self._pool.fetched([ref])
            except Exception as error:
                self._pool.lose(member, f"{type(error).__name__}: it did not tell the digest of its state")
                continue
            if digest is None:
                self._pool.lose(member, "its state is of another version")
            else:
                found[member] = digest
        return found

    def _digest_here(self) -> str:
        """Return the digest of the state that the changes since ``home``'s make of it, computed by this process."""
        home = self._now
        before = TrainState(home.version, home.arrays())
        try:
            redo(home, self._changes)
            return digest_of(home.arrays())
        finally:
            home.load(before)

    # audits

    def _judge(self, batch: MicroBatches, first: int, last: int) -> Any:
        """Compute sums of a batch by this process, with the state that all workers say that they have.

        If none is left that has it the changes are made here.
        """
        home = self._now
        digests = self._digests(self._in_step())
        if len(set(digests.values())) > 1:
            raise DeviceError("train, audit", "sums differ, and so do the states that they were taken at",
                              expected="one state in all workers", got=f"{len(set(digests.values()))} different ones",
                              remedy="Train from a checkpoint, with three workers or more")  # fmt: skip
        before = TrainState(home.version, home.arrays())
        try:
            if digests:
                home.load(*self._pool.fetched([self._state_of_one(list(digests))]))
            else:
                redo(home, self._changes)
            return packed(home.gradients(batch, first, last))
        finally:
            home.load(before)

    def _judge_of_join(self, count: int, *parts: Any) -> Any:
        return packed(join(unpacked(self._pool.fetched(parts)), count))

    def _require_no_faults(self) -> None:
        """Raise WrongWorkError if a worker was convicted that may have been wrong in earlier batches too."""
        faults = self._pool.faults[self._faults :]
        self._faults += len(faults)
        if faults and self._has_changed:
            raise WrongWorkError("train, audit", str(faults[0]), remedy="All since the start is computed again")

    def release(self) -> None:
        """Have the workers forget their replicas."""
        if self._key:
            self._pool.drop(self._key)
        self._key, self._home, self._recipe, self._base, self._found = "", None, None, None, []
        self._ahead = Ahead(self._pool, "", 0.0)
