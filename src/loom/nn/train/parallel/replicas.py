"""A replica of a training in the process of a worker: asked for sums, told of changes, copied to those that join.

Layer: nn. What it is told comes in order. Invariant: it answers for the version of the state that is asked for, or says
that it is unfit; another worker then takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from loom.core.arrays import Array
from loom.nn.base.digests import digest_of
from loom.nn.train.parallel.courses import CourseRunner, audit_checks, checks_of, room_for
from loom.nn.train.parallel.crew import Replica
from loom.nn.train.parallel.messages import (
    AuditRecord,
    Change,
    CourseTold,
    MicroBatches,
    Recipe,
    TrainState,
    WorkerCourse,
)
from loom.nn.train.parallel.programs import MicroPrograms
from loom.nn.train.parallel.tree import Sums, TreeNode, join, root_of
from loom.workers.audit import result_digest
from loom.workers.neighbours import MEETS, LostNeighbourError, Neighbours, Threshold
from loom.workers.worker import Reported, UnfitWorkerError

__all__ = ["PooledReplica", "SentSums", "join_parts", "pack_sums", "redo", "report_of", "unpack_sums"]

T = TypeVar("T")
_MEETING_SECONDS = 10.0
"""In which workers that were all idle a moment ago must meet."""

SentSums = list[tuple[int, int, dict[str, Array]]]
"""Sums as they travel: level and index of each node, and its arrays by name."""


def pack_sums(sums: Sequence[Sums]) -> SentSums:
    """Return sums as they travel."""
    return [(s.node.level, s.node.index, dict(s.arrays)) for s in sums]


def unpack_sums(parts: Sequence[SentSums]) -> list[Sums]:
    """Return sums that came."""
    return [Sums(TreeNode(level, index), arrays) for part in parts for level, index, arrays in part]


def report_of(sums: Sequence[Sums]) -> Reported:
    """Return sums as they travel, and their losses to be told beside them."""
    return Reported([(s.node.level, s.node.index, {"loss": s.arrays["loss"]}) for s in sums], pack_sums(sums))


def join_parts(count: int, is_audited: bool, parts: Sequence[SentSums]) -> Reported:
    """Return what can be made of parts of ``count`` micro-batches; where it is audited their digests are told."""
    seen = [result_digest(part) for part in parts] if is_audited else []
    return Reported(seen, pack_sums(join(unpack_sums(parts), count)))


def redo(replica: MicroPrograms, changes: Sequence[Change]) -> None:
    """Make changes of which nobody has the sums any more: compute them again, all micro-batches of each batch."""
    for change in changes:
        if change.batch is not None:
            replica.collect(change.batch, root_of(change.batch.count))
        replica.change(change)


def _make_if_possible(make: Callable[[], T]) -> T | None:
    """Return what is needed to meet neighbours, None where this system has not got it."""
    try:
        return make() if MEETS else None
    except (OSError, ValueError):
        return None


class PooledReplica:
    """What each worker of a pool keeps: a replica made of a recipe and a state, and of the changes since that state."""

    def __init__(self, recipe: Recipe, state: TrainState | None, changes: Sequence[Change] = ()) -> None:
        if state is None:
            raise UnfitWorkerError("the state to begin with was lost on its way")
        self._why = ""
        self._room = _make_if_possible(lambda: room_for(state, recipe.micro_batches))
        self._threshold: Threshold | None = None
        self._runner: CourseRunner | None = None
        self._neighbours: Neighbours | None = None
        self._meeting = ""
        self._before: TrainState | None = None
        self._replica = Replica(recipe, state, room=None if self._room is None else self._room.take)
        redo(self._replica, changes)

    def gradients(self, batch: MicroBatches, first: int, last: int) -> Reported:
        """Return the sums of a range of micro-batches; their losses are told beside them."""
        self._require(batch.version)
        return report_of(self._replica.gradients(batch, first, last))

    def join(self, count: int, is_audited: bool, *parts: SentSums) -> Reported:
        """Return as few sums as can be made of those of neighbours, of ``count`` micro-batches in all."""
        return join_parts(count, is_audited, parts)

    def change(self, change: Change, may_use_own: bool, *parts: SentSums) -> None:
        """Make the next version of the state with the sums of all micro-batches, of which some may be kept here.

        ``may_use_own``: these are then taken as they are here, which is quicker. Where work is audited all replicas
        take what was sent, so that they stay alike whatever was sent, until who sent it is found.
        """
        if self._why:
            return
        try:
            own = self._replica.own_node(change.batch) if may_use_own and change.batch is not None else None
            sums = tuple(s for s in unpack_sums(parts) if s.node != own)
            self._replica.change(replace(change, sums=sums))
        except Exception as error:  # told with the next answer
            self._why = f"a change failed: {error}"

    def record_change(self, change: Change, *parts: SentSums) -> Reported:
        """Make the next version of the state of sums that were all sent; tell what was seen of it."""
        self._require(change.version)
        self._before = TrainState(change.version, self._replica.arrays())
        seen = tuple(result_digest(part) for part in parts)
        self.change(change, False, *parts)
        self._require(change.version + 1)
        before, after = audit_checks(self._before.arrays), audit_checks(self._replica.arrays())
        return Reported(AuditRecord(before, after, seen=seen), None)

    # courses

    def meeting_place(self) -> Reported:
        """Report where others of this node meet this one, "" if they cannot."""
        self._close_threshold()
        self._threshold = None if self._room is None else _make_if_possible(Threshold)
        return Reported("" if self._threshold is None else self._threshold.path, None)

    def course(self, course: WorkerCourse, rank: int) -> Reported:
        """Make changes together with those of a meeting, of whom this is one; what came of it is told.

        The value is the state by then, of the first of them, after the last course of an epoch.
        """
        self._require(course.changes[0].version)
        try:
            runner = self._runner_of(course, rank)
            told, self._before = runner.run(course), runner.before
        except LostNeighbourError as error:
            told = CourseTold(self._replica.version, (), 0, 0.0, "", str(error))
        except BaseException:
            self._leave()
            raise
        if told.why:
            self._leave()
        if not course.is_last or told.why:
            return Reported(told, None)
        arrays = self._replica.arrays()
        told = replace(told, checks=checks_of(arrays))
        return Reported(told, None if rank else TrainState(told.version, arrays))

    def _runner_of(self, course: WorkerCourse, rank: int) -> CourseRunner:
        """Return what makes changes with others, whom this meets if it is another meeting than before."""
        if self._runner is None or self._meeting != course.meeting:
            self._leave()
            if self._room is None:
                raise LostNeighbourError("there is no memory to share")
            seconds = min(_MEETING_SECONDS, course.seconds)
            try:
                self._neighbours = Neighbours(self._threshold, rank, course.paths, self._room, seconds)
            finally:
                self._close_threshold()
            self._meeting, self._runner = course.meeting, CourseRunner(self._replica, self._room, self._neighbours)
        return self._runner

    def _leave(self) -> None:
        """Have neighbours know that this one goes on no more."""
        if self._neighbours is not None:
            self._neighbours.close()
        self._runner = self._neighbours = None

    def close(self) -> None:
        """Leave neighbours, and be met no more."""
        self._leave()
        self._close_threshold()
        if self._room is not None:
            self._room.close()

    def _close_threshold(self) -> None:
        if self._threshold is not None:
            self._threshold.close()
        self._threshold = None

    # states

    def load(self, state: TrainState | None, changes: Sequence[Change] = ()) -> None:
        """Take a state, and the changes since, after having been left out for a while."""
        if state is None:
            self._why = "the state to go on with was lost on its way"
        else:
            self._replica.load(state)
            redo(self._replica, changes)
            self._why = ""

    def state(self, version: int) -> TrainState:
        """Return the state."""
        self._require(version)
        return TrainState(version, self._replica.arrays())

    def state_before(self, version: int) -> TrainState:
        """Return the state before the last audited change."""
        if self._before is None or self._before.version != version:
            raise UnfitWorkerError(f"it does not keep version {version} of the state")
        return self._before

    def state_digest(self, version: int) -> str:
        """Return the digest of the state."""
        self._require(version)
        return digest_of(self._replica.arrays())

    def _require(self, version: int) -> None:
        if self._why or self._replica.version != version:
            why = self._why or f"it is of version {self._replica.version} of the state, {version} is asked for"
            raise UnfitWorkerError(why)
