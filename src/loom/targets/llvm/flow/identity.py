"""Generates what a lane knows about itself: ids, group counts, parameters, buffer lengths.

Layer: targets. Two models: on a CPU a function runs many groups, vector by vector; on a GPU a lane is a
thread and the hardware tells it who it is. Invariant: these values are generated where they are used
(LLVM merges repeats), so they are valid in every region of a kernel with barriers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from loom.ir.kernel import Instr, Memory, Param
from loom.targets.llvm.gpu.family import GpuFamily
from loom.targets.llvm.values.lanes import Lanes, lane_dimensions
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I32, I64

__all__ = ["CpuIdentity", "Identity", "ThreadIdentity"]


class Identity(ABC):
    """Numbers of lanes, and how lanes wait for each other."""

    @abstractmethod
    def value(self, instr: Instr) -> Lanes:
        """Return the value of an identity operation."""

    def barrier(self) -> None:  # noqa: B027 - vectors do nothing
        """Make the lanes of a workgroup wait: those of one vector, or of one region, are together already."""

    def near_barrier(self) -> None:
        """Make 32 lanes side by side wait for each other, or more."""
        self.barrier()


class _Ids(Identity):
    """Subclasses know ids (i32) along dimensions 0 to 2."""

    def __init__(self, state: State) -> None:
        self.s = state
        self.b = state.builder
        self.params: dict[Param, Any] = {}
        self.lengths: dict[Memory, Any] = {}
        """Elements of buffers as they are declared; those of short vectors may lie in memory as scalars."""

    def value(self, instr: Instr) -> Lanes:
        """Return the value of an identity operation."""
        name = instr.op.name
        if name == "param":
            return Lanes(self.params[instr.attr], 0)
        if name == "length":
            assert instr.memory is not None
            return Lanes(self.b.trunc(self.lengths[instr.memory], I32), 0)
        if name == "num_groups":
            return Lanes(self.group_count(instr.attr), 0)
        if name == "group_id":
            return Lanes(self.group(instr.attr), 0)
        if name == "local_id":
            return self.local(instr.attr)
        assert name == "global_id", f"{name} is not generated yet"
        return self.global_(instr.attr)

    def global_(self, dimension: int) -> Lanes:
        """``group_id * workgroup + local_id``."""
        extent = I32(self.s.kernel.workgroup[dimension])
        start = self.b.mul(self.group(dimension), extent)
        local = self.local(dimension)
        if local.stride is None:
            return Lanes(self.b.add(self.s.vectors.splat(start), local.value), None)
        return Lanes(self.b.add(start, local.value), local.stride)

    @abstractmethod
    def group(self, dimension: int) -> Any:
        """Return the id of the workgroup."""

    @abstractmethod
    def group_count(self, dimension: int) -> Any:
        """Return the number of workgroups."""

    @abstractmethod
    def local(self, dimension: int) -> Lanes:
        """Return the ids of the lanes in their workgroup."""


class CpuIdentity(_Ids):
    """Ids of the vector being run: ``vector`` counts vectors in a group, ``groups`` hold the group's ids."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.vector: Any = I32(0)
        self.groups: tuple[Any, Any, Any] = (None, None, None)
        self.counts: tuple[Any, Any, Any] = (None, None, None)

    def group(self, dimension: int) -> Any:
        return self.b.load(self.groups[dimension], typ=I32)

    def group_count(self, dimension: int) -> Any:
        return self.counts[dimension]

    def local(self, dimension: int) -> Lanes:
        width, (x, y, _) = self.s.width, self.s.kernel.workgroup
        first = self.b.mul(self.vector, I32(width))
        strides = lane_dimensions(self.s.kernel.workgroup, width)
        if self.s.kernel.workgroup[dimension] == 1:
            return Lanes(I32(0), 0)
        if strides[dimension] is None:
            flat = self.b.add(self.s.vectors.splat(first), self.s.vectors.iota(I32))
            x, y = self.s.vectors.splat(I32(x)), self.s.vectors.splat(I32(y))
        else:
            flat, x, y = first, I32(x), I32(y)
        if dimension == 0:
            linear = self.s.kernel.workgroup[1:] == (1, 1)
            return Lanes(flat if linear else self.b.urem(flat, x), strides[0])
        row = self.b.udiv(flat, x)
        value = self.b.urem(row, y) if dimension == 1 else self.b.udiv(row, y)
        return Lanes(value, strides[dimension])


class ThreadIdentity(_Ids):
    """Ids that a GPU of a ``family`` tells; of a dispatch cut in parts also from ``part``: counts, starts."""

    def __init__(self, state: State, family: GpuFamily) -> None:
        super().__init__(state)
        self.family = family
        self.part: tuple[Any, Any] | None = None

    def read(self, which: str, dimension: int) -> Any:
        return self.family.number(self.s, which, dimension)

    def group(self, dimension: int) -> Any:
        here = self.read("group", dimension)
        return here if self.part is None else self.b.add(here, self.part[1][dimension])

    def group_count(self, dimension: int) -> Any:
        return self.read("count", dimension) if self.part is None else self.part[0][dimension]

    def local(self, dimension: int) -> Lanes:
        return Lanes(self.read("local", dimension), 0)

    def flat_lane(self) -> Any:
        """Number of this thread in the dispatch, as an i64."""

        def wide(value: Any) -> Any:
            return self.b.zext(value, I64)

        group = wide(self.group(2))
        lane = wide(self.read("local", 2))
        for d in (1, 0):
            group = self.b.add(self.b.mul(group, wide(self.group_count(d))), wide(self.group(d)))
            lane = self.b.add(self.b.mul(lane, I64(self.s.kernel.workgroup[d])), wide(self.read("local", d)))
        return self.b.add(self.b.mul(group, I64(self.s.kernel.lanes)), lane)

    def barrier(self) -> None:
        self.family.barrier(self.s)

    def near_barrier(self) -> None:
        self.family.near_barrier(self.s)
