"""Courses: batches that workers of one node make by themselves, who see each other's sums where they are.

Layer: nn. For each batch a worker computes its micro-batches, tells that their sums are in its room, joins them with
those of others by the tree, and changes its own weights; whoever gave the course hears of it at its end. Of more than
two sums each worker joins a part of every array, which the others copy. Invariant: the additions are those of ``join``,
and a course that ends early has made whole changes.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from loom.core.arrays import Array
from loom.core.numerics import canonical_bits
from loom.nn.train.parallel.messages import AuditRecord, CourseTold, MicroBatches, TrainState, WorkerCourse
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.tree import Sums, TreeNode, add_into, are_siblings, cover, join, root_of
from loom.tensor import Tensor
from loom.workers.neighbours import ROOM_ALIGNMENT, LostNeighbourError, Neighbours, SharedRoom

__all__ = ["CourseRunner", "are_sliced", "audit_checks", "checks_of", "cut_slice", "room_for", "sums_by_place"]

_ROW = 1 << 13
"""Bytes of a row of what is summed up to be compared."""
_SLOW = 4.0
"""Times the longest step so far, and at least a second: a neighbour that takes longer is not waited for."""
_LEAST_SECONDS = 1.0
_LEAST_OF_AUDIT = 10.0
"""Seconds: an audit computes what others have, which may be of a size that was not yet compiled."""


def room_for(state: TrainState, micro_batches: int) -> SharedRoom:
    """Return a room for sums of a state's weights: the newest, those of a cover, and a root."""
    most = sum(8 * a.size + ROOM_ALIGNMENT for a in state.arrays.values()) + (1 << 12)  # none is wider than f64
    return SharedRoom(most * (3 + 2 * root_of(micro_batches).level))


def checks_of(arrays: Mapping[str, Array]) -> str:
    """Return sums over the bits of arrays, by rows and columns: other bits anywhere are others of both.

    Quicker than a digest by far, and enough to tell whether replicas have the same bits: what must cancel in its row
    must cancel in its column as well.
    """
    total = hashlib.sha256()
    for a in arrays.values():
        octets = np.ascontiguousarray(a).reshape(-1).view(np.uint8)
        whole = octets.size // _ROW * _ROW
        square = octets[:whole].view(np.uint64).reshape(-1, _ROW // 8)
        for sums in (square.sum(0), square.sum(1)):
            total.update(sums.data)
        total.update(octets[whole:].data)
    return total.hexdigest()


def audit_checks(arrays: Mapping[str, Array]) -> str:
    """Return ``checks_of`` arrays whose NaNs are one: devices may make others of the same operation."""
    with np.errstate(invalid="ignore"):  # the least of numbers of which one is a NaN is one
        return checks_of({n: canonical_bits(a) if a.size and np.isnan(a.min()) else a for n, a in arrays.items()})


def are_sliced(nodes: Sequence[TreeNode], count: int) -> bool:
    """Tell whether workers join a slice each of sums of these nodes: of more than two, or of two of several levels."""
    return len(nodes) > 2 or (len(nodes) == 2 and not are_siblings(nodes[0], nodes[1], count))


def cut_slice(arrays: Mapping[str, Array], rank: int, ranks: int) -> dict[str, Array]:
    """Return the part of each array that a worker of ``ranks`` joins."""
    return {n: a.reshape(-1)[a.size * rank // ranks : a.size * (rank + 1) // ranks] for n, a in arrays.items()}


def sums_by_place(sums: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays of several sums, by their places and names."""
    return {f"{place}/{name}": a for place, arrays in enumerate(sums) for name, a in arrays.items()}


class _Audit:
    """What is seen of a change while it is made: ``before``, the state before it, and sums over bits, by stage."""

    def __init__(self, replica: MicroPrograms) -> None:
        self._replica = replica
        self.before = TrainState(replica.version, replica.arrays())
        self.root = ""
        self.made, self.seen, self.again = ({"sums": "", "slice": ""} for _ in range(3))

    def record(self) -> AuditRecord:
        """Return what was seen, once the change is made."""
        before, after = audit_checks(self.before.arrays), audit_checks(self._replica.arrays())
        made, seen, again = (tuple(stages.values()) for stages in (self.made, self.seen, self.again))
        return AuditRecord(before, after, self.root, made, seen, again)


class CourseRunner:
    """Makes the changes of courses with ``replica``, whose newest sums are in ``room`` if its device can use it.

    ``before``: the state before the last change that was audited.
    """

    before: TrainState | None = None

    def __init__(self, replica: MicroPrograms, room: SharedRoom, neighbours: Neighbours) -> None:
        self._replica, self._neighbours = replica, neighbours
        self._slots = _Slots(replica, room)
        self._is_read = True
        self._computed, self._seconds = 0, 0.0
        self._longest, self._has_begun = 0.0, False

    def run(self, course: WorkerCourse) -> CourseTold:
        """Make the changes of a course, as far as they can be made."""
        replica, why, record = self._replica, "", None
        losses: list[float] = []
        self._computed, self._seconds = 0, 0.0
        for change in course.changes:
            begun = time.monotonic()
            audit = _Audit(replica) if course.is_audited and change is course.changes[-1] else None
            if change.batch is not None:
                try:
                    loss = self._sum_up(change.batch, course, audit)
                except LostNeighbourError as error:
                    why = str(error)
                    break
                losses.append(loss)
                if not math.isfinite(loss):
                    why = "the loss is not finite"
                    break
            replica.change(change)
            if audit is not None:
                self.before, record = audit.before, audit.record()
            elif change.batch is not None:
                if self._has_begun:  # in its first step programs are compiled
                    self._longest = max(self._longest, time.monotonic() - begun)
                self._has_begun = True
        return CourseTold(replica.version, tuple(losses), self._computed, self._seconds, "", why, record)

    def _sum_up(self, batch: MicroBatches, course: WorkerCourse, audit: _Audit | None) -> float:
        """Have the root of a batch be known to the replica; return the loss."""
        ranges = course.ranges(batch, is_audited=audit is not None)
        covers = [cover(first, last, batch.count) for first, last in ranges]
        neighbours, rank = self._neighbours, self._neighbours.rank
        least = _LEAST_SECONDS if audit is None else _LEAST_OF_AUDIT
        patience = course.seconds if not self._longest else min(course.seconds, max(least, _SLOW * self._longest))
        if not self._is_read:
            neighbours.hear(patience)
        begun = time.perf_counter()
        for place, node in reversed(list(enumerate(covers[rank]))):  # what is made last stays where it is made
            self._replica.collect(batch, node)
            self._slots.keep(place)
        self._seconds += time.perf_counter() - begun
        self._computed += ranges[rank][1] - ranges[rank][0]
        neighbours.tell()
        neighbours.hear(patience)
        parts = [Sums(node, self._slots.sums(neighbours.rooms[n], place))
                 for n, nodes in enumerate(covers) for place, node in enumerate(nodes)]  # fmt: skip
        loss = float(join([Sums(p.node, {"loss": p.arrays["loss"]}) for p in parts], batch.count)[0].arrays["loss"])
        if math.isfinite(loss):
            self._take(batch, parts, covers[rank], patience, audit)
            if audit is not None:
                self._see_sums(covers, audit)
        neighbours.tell()
        self._is_read = False
        if audit is not None and math.isfinite(loss):
            neighbours.hear(patience)  # nobody reads any more what the audit computes over
            self._is_read = True
            self._compute_again(batch, covers, audit)
        return loss

    def _take(
        self,
        batch: MicroBatches,
        parts: Sequence[Sums],
        own: Sequence[TreeNode],
        patience: float,
        audit: _Audit | None,
    ) -> None:
        count = batch.count
        if len(parts) == 1 and own:  # the replica has it
            root: Mapping[str, Array] = parts[0].arrays
        else:
            root = self._replica.root_memory()
            if are_sliced([p.node for p in parts], count):
                self._join_by_slices(parts, root, count, patience, audit)
            elif len(parts) == 2:
                for name, array in root.items():
                    add_into(parts[0].arrays[name], parts[1].arrays[name], array)
            else:
                for name, array in root.items():
                    np.copyto(array, parts[0].arrays[name])
            self._replica.give_root(batch)
        if audit is not None:
            audit.root = audit_checks(root)

    def _join_by_slices(
        self, parts: Sequence[Sums], root: Mapping[str, Array], count: int, patience: float, audit: _Audit | None
    ) -> None:
        """Join a slice of each array, and copy those of others."""
        neighbours, rank, ranks = self._neighbours, self._neighbours.rank, len(self._neighbours.rooms)
        roots = [self._slots.sums(room, self._slots.of_root) for room in neighbours.rooms]
        slices = [cut_slice(there, n, ranks) for n, there in enumerate(roots)]
        made = join([Sums(p.node, cut_slice(p.arrays, rank, ranks)) for p in parts], count)[0].arrays
        for name, array in slices[rank].items():
            array[...] = made[name]
        neighbours.tell()
        neighbours.hear(patience)
        for n, there in enumerate(slices):
            for name, array in cut_slice(root, n, ranks).items():
                np.copyto(array, there[name])
        if audit is not None:
            other = (rank + 1) % ranks
            again = join([Sums(p.node, cut_slice(p.arrays, other, ranks)) for p in parts], count)[0].arrays
            audit.made["slice"], audit.seen["slice"] = audit_checks(slices[rank]), audit_checks(slices[other])
            audit.again["slice"] = audit_checks(again) if ranks > 1 else ""

    # audits

    def _see_sums(self, covers: Sequence[Sequence[TreeNode]], audit: _Audit) -> None:
        """Note the sums that are in the room of this worker, and in that of the next one."""
        rank, rooms = self._neighbours.rank, self._neighbours.rooms
        for stages, n in ((audit.made, rank), (audit.seen, (rank + 1) % len(rooms))):
            there = [self._slots.sums(rooms[n], place) for place in range(len(covers[n]))]
            stages["sums"] = audit_checks(sums_by_place(there))

    def _compute_again(self, batch: MicroBatches, covers: Sequence[Sequence[TreeNode]], audit: _Audit) -> None:
        """Compute the sums of the next worker; this process computes those of one that is alone."""
        if len(covers) == 1:
            return
        found: list[Mapping[str, Array]] = []
        for node in covers[(self._neighbours.rank + 1) % len(covers)]:
            self._replica.collect(batch, node)
            found.append(self._replica.newest_sums())
        audit.again["sums"] = audit_checks(sums_by_place(found))


class _Slots:
    """Where sums are in a room, which is alike in all workers: slot 0 has the newest, the last one the root."""

    def __init__(self, replica: MicroPrograms, room: SharedRoom) -> None:
        self._replica, self._room = replica, room
        self._layout: dict[str, tuple[int, int, Tensor]] = {}
        self._nbytes = 0
        for name, t in replica.levels[0].items():
            self._layout[name] = self._nbytes, t.nbytes, t
            self._nbytes += -(-t.nbytes // ROOM_ALIGNMENT) * ROOM_ALIGNMENT
        self.of_root = room.nbytes // self._nbytes - 1

    def sums(self, memory: Array, slot: int) -> dict[str, Array]:
        """Return the sums of a slot of a room, where they are."""
        begin = slot * self._nbytes
        return {
            name: memory[begin + at : begin + at + nbytes].view(t.dtype.numpy).reshape(t.shape)
            for name, (at, nbytes, t) in self._layout.items()
        }

    def keep(self, slot: int) -> None:
        """Have the sums that were made last be in a slot."""
        newest = self._replica.newest
        if slot == 0 and newest:
            return
        made = newest or self._replica.newest_sums()
        for name, array in self.sums(self._room.bytes, slot).items():
            np.copyto(array, made[name])
