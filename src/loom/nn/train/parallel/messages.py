"""What a driver and the workers of a training tell each other: records of numbers and numpy arrays, to be pickled.

Layer: nn. An answer is a function of its question and of the weights' version: a worker that died is replaced by one
that was given the same weights, and asked again. Invariant: nothing here holds a device, a program or a thread.
"""

from __future__ import annotations

from collections.abc import Mapping

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.nn.train.config import TrainConfig
from loom.nn.train.parallel.tree import Sums, share_out
from loom.nn.train.samples import Samples

__all__ = ["AuditRecord", "Change", "CourseTold", "MicroBatches", "Recipe", "TrainState", "WorkerCourse"]


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a worker makes its replica of, besides the state.

    ``document``: the network's, as JSON; ``frozen``, ``rates``, ``inputs`` and ``outputs`` as of ``Programs``.
    """

    document: str
    config: TrainConfig
    data: Samples
    frozen: frozenset[str]
    rates: Mapping[str, float]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def micro_batches(self) -> int:
        """How many micro-batches a full batch has."""
        assert self.config.micro_batch is not None
        return -(-self.config.batch_size // self.config.micro_batch)


@dataclass(frozen=True, slots=True, eq=False)
class TrainState:
    """All that a training changes, by the names of ``Trainer.arrays``, and the number that this state has.

    Numbers count changes: two states of a training that have the same number have the same bits.
    """

    version: int
    arrays: Mapping[str, Array]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in self.arrays.values())


@dataclass(frozen=True, slots=True)
class MicroBatches:
    """A batch: the samples from ``start`` to ``stop`` of an epoch's order, cut into micro-batches of ``size``.

    ``version``: of the state that gradients are taken at.
    """

    version: int
    epoch: int
    start: int
    stop: int
    size: int

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return self.stop - self.start

    @property
    def count(self) -> int:
        """How many micro-batches there are."""
        return -(-self.samples // self.size)

    def cut(self, number: int) -> slice:
        """Return where the samples of a micro-batch are in the epoch's order."""
        begin = self.start + number * self.size
        return slice(begin, min(begin + self.size, self.stop))


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What becomes of a state, and makes the next version of it.

    ``sums``: with what the replica itself kept of ``batch`` all of its micro-batches. ``share`` None: their gradients
    make an update at ``rate``. A number: of the next update's samples the batch has that share, and its gradients are
    added to those of the batches before. ``batch`` None: those that were added make the update.
    """

    version: int
    batch: MicroBatches | None
    sums: tuple[Sums, ...] = ()
    rate: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WorkerCourse:
    """Changes, of one version after the other, that workers of one node make by themselves.

    ``paths``: where each of them is met, in the order of their ranks, under the name ``meeting``: those that have met
    already go on. ``speeds``: of each, by which micro-batches are shared out. ``is_last``: of an epoch, so that what
    the state is by then is asked next. ``seconds``: the longest that one waits for another. ``is_audited``: each worker
    computes again what another one gives of the last change, and tells an ``AuditRecord``.
    """

    changes: tuple[Change, ...]
    meeting: str
    paths: tuple[str, ...]
    speeds: tuple[float, ...]
    is_last: bool
    seconds: float
    is_audited: bool = False

    def ranges(self, batch: MicroBatches, *, is_audited: bool) -> list[tuple[int, int]]:
        """Return the micro-batches of each worker; of a batch that is audited all have some, if there are as many."""
        is_even = is_audited and batch.count >= len(self.speeds)
        return share_out(batch.count, [1.0] * len(self.speeds) if is_even else self.speeds)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What a worker saw of an audited change: sums over bits (``checks_of``), "" of what there was not.

    ``before`` and ``after``: of the state; ``root``: of the sum of the batch that it took; ``loss``: that it told. In a
    course, of its own part ``made``, of the next worker's as it finds it ``seen``, and as it computes it ``again``:
    first the sums of the micro-batches, then the slice of the root. By calls ``seen`` has digests of the sums that it
    was given.
    """

    before: str
    after: str = ""
    root: str = ""
    made: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    loss: float = 0.0

    def stages(self) -> list[tuple[str, ...]]:
        """Return what was seen, in the order in which one follows from the other."""
        found: list[tuple[str, ...]] = []
        for each in zip(self.made, self.again, self.seen, strict=False):
            found += [each[:2], each[2:]]
        return [*found, (self.root, repr(self.loss)), (self.after,)]


@dataclass(frozen=True, slots=True)
class CourseTold:
    """What a worker tells of a course: the version it came to, the loss of each batch, and how long it computed.

    ``checks``: sums over the bits of the state, where it was asked for; ``why``: it ended early, "" if it did not;
    ``record``: of the last change, if it was audited and made.
    """

    version: int
    losses: tuple[float, ...]
    micro_batches: int
    seconds: float
    checks: str
    why: str
    record: AuditRecord | None = None
