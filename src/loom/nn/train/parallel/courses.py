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
from loom.nn.train.parallel.messages import CourseTold, MicroBatches, TrainState, WorkerCourse
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.tree import Sums, TreeNode, add_into, are_siblings, cover, join, root_of, share_out
from loom.tensor import Tensor
from loom.workers.neighbours import ROOM_ALIGNMENT, LostNeighbourError, Neighbours, SharedRoom

__all__ = ["CourseRunner", "checks_of", "room_for"]

_ROW = 1 << 13
"""Bytes of a row of what is summed up to be compared."""
_SLOW = 4.0
"""Times the longest step so far, and at least a second: a neighbour that takes longer is not waited for."""


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


class CourseRunner:
    """Makes the changes of courses with ``replica``, whose newest sums are in ``room`` if its device can use it."""

    def __init__(self, replica: MicroPrograms, room: SharedRoom, neighbours: Neighbours) -> None:
        self._replica, self._neighbours = replica, neighbours
        self._slots = _Slots(replica, room)
        self._is_read = True
        self._computed, self._seconds = 0, 0.0
        self._longest, self._has_begun = 0.0, False

    def run(self, course: WorkerCourse) -> CourseTold:
        """Make the changes of a course, as far as they can be made."""
        replica, why = self._replica, ""
        losses: list[float] = []
        self._computed, self._seconds = 0, 0.0
        for change in course.changes:
            begun = time.monotonic()
            if change.batch is None:
                replica.change(change)
                continue
            try:
                loss = self._sum_up(change.batch, course)
            except LostNeighbourError as error:
                why = str(error)
                break
            losses.append(loss)
            if not math.isfinite(loss):
                why = "the loss is not finite"
                break
            replica.change(change)
            if self._has_begun:  # in its first step programs are compiled
                self._longest = max(self._longest, time.monotonic() - begun)
            self._has_begun = True
        return CourseTold(replica.version, tuple(losses), self._computed, self._seconds, "", why)

    def _sum_up(self, batch: MicroBatches, course: WorkerCourse) -> float:
        """Have the root of a batch be known to the replica; return the loss."""
        ranges = share_out(batch.count, course.speeds)
        covers = [cover(first, last, batch.count) for first, last in ranges]
        neighbours, rank = self._neighbours, self._neighbours.rank
        patience = course.seconds if not self._longest else min(course.seconds, max(1.0, _SLOW * self._longest))
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
            self._take(batch, parts, covers[rank], patience)
        neighbours.tell()
        self._is_read = False
        return loss

    def _take(self, batch: MicroBatches, parts: Sequence[Sums], own: Sequence[TreeNode], patience: float) -> None:
        if len(parts) == 1 and own:
            return  # the replica has it
        root, count = self._replica.root_memory(), batch.count
        if len(parts) == 1:
            for name, array in root.items():
                np.copyto(array, parts[0].arrays[name])
        elif len(parts) == 2 and are_siblings(parts[0].node, parts[1].node, count):
            for name, array in root.items():
                add_into(parts[0].arrays[name], parts[1].arrays[name], array)
        else:
            self._join_by_slices(parts, root, count, patience)
        self._replica.give_root(batch)

    def _join_by_slices(self, parts: Sequence[Sums], root: Mapping[str, Array], count: int, patience: float) -> None:
        """Join a slice of each array, and copy those of others."""
        neighbours, slots = self._neighbours, self._slots
        ranks = len(neighbours.rooms)
        mine = slots.sums(neighbours.rooms[neighbours.rank], slots.of_root)
        cuts = {name: [array.size * n // ranks for n in range(ranks + 1)] for name, array in root.items()}

        def cut(arrays: Mapping[str, Array], rank: int) -> dict[str, Array]:
            return {name: a.reshape(-1)[cuts[name][rank] : cuts[name][rank + 1]] for name, a in arrays.items()}

        made = join([Sums(p.node, cut(p.arrays, neighbours.rank)) for p in parts], count)[0].arrays
        for name, array in cut(mine, neighbours.rank).items():
            array[...] = made[name]
        neighbours.tell()
        neighbours.hear(patience)
        for rank, there in enumerate(neighbours.rooms):
            for name, array in cut(slots.sums(there, slots.of_root), rank).items():
                root[name].reshape(-1)[cuts[name][rank] : cuts[name][rank + 1]] = array


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
