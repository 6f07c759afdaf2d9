"""The state of a dispatch, and of the workgroups that run in lockstep at one time.

Layer: ir. Every value is an array with one row per lane of the batch, or a single row when it is the
same for all. Invariant: lanes are numbered in dispatch order (group after group, x fastest), and values
are never changed in place, so a value read earlier keeps its bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Protocol

import numpy as np

from loom.core.errors import KernelFault
from loom.core.late.dataclass import dataclass
from loom.ir.interp.cells import Cells, local_cells
from loom.ir.interp.masks import Array, Mask
from loom.ir.interp.options import Options
from loom.ir.kernel import Instr, Kernel, Memory, Param, Statement, Variable
from loom.ir.ops import Effect

__all__ = ["AccessWatch", "Batch", "DispatchState", "Handler", "Tracer"]


class AccessWatch(Protocol):
    """Sees every memory access before it happens; raises a fault for a wrong one."""

    @property
    def is_whole(self) -> bool:
        """Whether it looked at all accesses that it was to watch."""
        ...

    def begin(self, batch: Batch) -> None:
        """A batch starts, its shared and private memories fresh."""

    def access(
        self, batch: Batch, instr: Instr, cells: Cells, index: Array, mask: Mask, effect: Effect | None = None
    ) -> None:  # fmt: skip
        """The active lanes are about to access ``index``."""

    def barrier(self, batch: Batch, mask: Mask) -> None:
        """The active lanes pass a barrier."""

    def near_barrier(self, mask: Mask) -> None:
        """The active lanes pass a barrier of 32 lanes each."""


class Tracer(Protocol):
    """Sees every statement, and every turn of a loop, before it is executed."""

    def before(self, batch: Batch, statement: Statement, mask: Mask) -> None:
        """The active lanes are about to execute ``statement``."""


@dataclass(slots=True)
class DispatchState:
    """What all batches share. ``used`` holds the atomics whose old value something reads."""

    kernel: Kernel
    options: Options
    groups: tuple[int, int, int]
    buffers: dict[Memory, Cells]
    params: dict[Param, Array]
    handlers: dict[str, Handler]
    used: frozenset[Instr]
    watch: AccessWatch | None = None
    tracer: Tracer | None = None
    fault: KernelFault | None = None
    """Of the lowest lane that met one so far."""
    lines: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """What ``print`` said: the lane's global number and the line."""


class Batch:
    """``count`` workgroups from number ``first`` on, all their lanes in lockstep.

    ``left`` has one entry per loop being run: the lanes that broke out of it; ``returned`` are the lanes
    that are done (both None while there are none).
    """

    def __init__(self, dispatch: DispatchState, first: int, count: int) -> None:
        kernel = dispatch.kernel
        self.dispatch = dispatch
        self.lanes = count * kernel.lanes
        self.first_lane = first * kernel.lanes
        self.first_group = first
        self.groups = count
        self.values: dict[Instr, Array] = {}
        self.group_of_lane = np.repeat(np.arange(count), kernel.lanes)
        self.all = Mask(np.ones(self.lanes, np.bool_))
        self.nobody = Mask(np.zeros(self.lanes, np.bool_))
        self.left: list[Array | None] = []
        self.returned: Array | None = None
        self.stopped = False
        """Whether lanes have just stopped, so that the block being run goes on without them."""
        self.variables: dict[Variable, Array] = {v: _zero(v) for v in kernel.variables}
        self.cells = dict(dispatch.buffers)
        for memory in kernel.shared:
            self.cells[memory] = local_cells(memory, count, self.group_of_lane)
        for memory in kernel.private:
            self.cells[memory] = local_cells(memory, self.lanes, np.arange(self.lanes))

    def group_id(self, dimension: int) -> Array:
        """Return each lane's workgroup number along ``dimension`` (u32)."""
        number = np.arange(self.first_group, self.first_group + self.groups)
        return np.repeat(_coordinate(number, self.dispatch.groups, dimension), self.dispatch.kernel.lanes)

    def local_id(self, dimension: int) -> Array:
        """Return each lane's number in its workgroup along ``dimension`` (u32)."""
        kernel = self.dispatch.kernel
        return np.tile(_coordinate(np.arange(kernel.lanes), kernel.workgroup, dimension), self.groups)

    def global_id(self, dimension: int) -> Array:
        """Return each lane's number in the dispatch along ``dimension`` (u32)."""
        extent = np.uint32(self.dispatch.kernel.workgroup[dimension])
        return self.group_id(dimension) * extent + self.local_id(dimension)

    def keep(self, fault: KernelFault) -> None:
        """Have a fault raised when the dispatch is over, unless a lower lane met one, or this lane did before."""
        first = self.dispatch.fault
        if first is None or first.lane is None or (fault.lane is not None and fault.lane < first.lane):
            self.dispatch.fault = fault

    def report(self, fault: KernelFault) -> None:
        """Raise a fault, or keep it where lanes go on."""
        if not self.dispatch.options.goes_on:
            raise fault
        self.keep(fault)

    def stop(self, mask: Mask) -> None:
        """Let lanes be done, as if they returned."""
        self.returned = mask.active if self.returned is None else self.returned | mask.active
        self.stopped = True

    def spread(self, value: Array) -> Array:
        """Return ``value`` with one row per lane."""
        return value if value.shape[0] == self.lanes else np.broadcast_to(value, (self.lanes, *value.shape[1:]))


Handler = Callable[[Batch, Instr, Mask], None]
"""Executes one operation for the active lanes."""


def _zero(variable: Variable) -> Array:
    rows = (variable.dtype.lanes,) if variable.dtype.is_vector else ()
    return np.zeros((1, *rows), variable.dtype.numpy)


def _coordinate(number: Array, extents: tuple[int, int, int], dimension: int) -> Array:
    x, y, _ = extents
    divisor = (1, x, x * y)[dimension]
    return (number // divisor % extents[dimension]).astype(np.uint32)
