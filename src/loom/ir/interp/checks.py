"""Watches memory accesses: indices outside, elements never written, and, through ``races``, races.

Layer: ir. Invariant: checking changes no value; the first fault met, in the lowest lane, is raised.
"""

from __future__ import annotations

import numpy as np

from loom.core.errors import KernelFault, OutOfBounds
from loom.ir.faults import make_fault, out_of_bounds
from loom.ir.interp.batch import Batch
from loom.ir.interp.cells import Cells
from loom.ir.interp.masks import Array, Mask
from loom.ir.interp.options import Options
from loom.ir.interp.races import RaceRecords
from loom.ir.kernel import Instr, Memory, Space
from loom.ir.ops import Effect

__all__ = ["MemoryWatch"]


class MemoryWatch:
    """The checks ``options`` asks for, over one dispatch."""

    def __init__(self, options: Options) -> None:
        self.bounds = options.bounds
        self.uninitialized = options.uninitialized
        self.races = RaceRecords(equal=options.equal, partly=options.work is not None) if options.races else None
        self.watched = options.watched
        self.written: dict[Memory, Array] = {}

    @property
    def is_whole(self) -> bool:
        """Whether it looked at all accesses that it was to watch."""
        return self.races is None or self.races.is_whole

    def begin(self, batch: Batch) -> None:
        """Forget what was known of shared and private memory."""
        self.written = {
            memory: np.zeros(len(cells.data), np.bool_)
            for memory, cells in batch.cells.items()
            if memory.space is not Space.BUFFER
        }
        if self.races is not None:
            self.races.begin(batch)

    def barrier(self, batch: Batch, mask: Mask) -> None:
        """What the arriving workgroups did before is now ordered before what they do next."""
        if self.races is not None:
            self.races.barrier(batch, mask)

    def near_barrier(self, mask: Mask) -> None:
        """What 32 lanes did before is now ordered before what they do next."""
        if self.races is not None:
            self.races.near_barrier(mask)

    def access(
        self, batch: Batch, instr: Instr, cells: Cells, index: Array, mask: Mask, effect: Effect | None = None
    ) -> None:  # fmt: skip
        """Raise OutOfBounds, KernelFault or RaceDetected if an active lane must not do this.

        ``effect``: what is done to ``cells``, if an operation reads one memory and writes another.
        """
        effect = effect or instr.op.effect
        index = batch.spread(index)
        if self.bounds:
            outside = mask.narrow(~cells.inside(index))
            if outside.count:
                batch.report(_out_of_bounds(batch, instr, cells, index, int(outside.lanes[0])))
        found, address = cells.targets(index, mask)
        lanes = np.arange(batch.lanes)[found]
        if self.uninitialized and cells.memory.space is not Space.BUFFER:
            self._check_written(batch, instr, cells, index, lanes, address, effect)
        if self.watched is not None and instr not in self.watched:
            return
        if self.races is not None and cells.memory.space is not Space.PRIVATE:
            self.races.access(batch, instr, cells, lanes, address, effect)

    def _check_written(
        self, batch: Batch, instr: Instr, cells: Cells, index: Array, lanes: Array, address: Array, effect: Effect
    ) -> None:  # fmt: skip
        written = self.written[cells.memory]
        if effect is not Effect.WRITE and not written[address].all():
            raise _unwritten(batch, instr, cells.memory, index, int(lanes[~written[address]][0]))
        if effect is not Effect.READ:
            written[address] = True


def _out_of_bounds(batch: Batch, instr: Instr, cells: Cells, index: Array, row: int) -> OutOfBounds:
    return out_of_bounds(
        batch.dispatch.kernel.name, instr.loc, batch.first_lane + row, instr.op.name,
        cells.memory.space.value, cells.memory.name, int(index[row]), cells.size,
    )  # fmt: skip


def _unwritten(batch: Batch, instr: Instr, memory: Memory, index: Array, row: int) -> KernelFault:
    lane, at = batch.first_lane + row, int(index[row])
    return make_fault(
        KernelFault, batch.dispatch.kernel.name, instr.loc,
        f"{instr.op.name} of {memory.name}[{at}] in lane {lane}, which nothing has written",
        remedy=f"Write it first, zero if zero is meant ({memory.space.value} memory starts as zero)",
        lane=lane, memory=memory.name, index=at, bound=memory.size,
    )  # fmt: skip
