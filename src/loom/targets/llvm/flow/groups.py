"""Emits the loop over a call's groups on a CPU, one group after the other or in strips of groups side by side.

Layer: targets. Lanes of a kernel without barriers and shared memory are strangers, so groups side by side may go
through their first row of lanes together, then through their second: memory is read as it lies, and what belongs to a
row is computed once. Invariant: every group from the first to the last is run once, each lane in its own order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.ir.kernel import Instr, Kernel, walk
from loom.ir.ops import Effect
from loom.targets.llvm.flow.identity import CpuIdentity
from loom.targets.llvm.flow.stops import Stops
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I1, I32, I64

__all__ = ["GroupLoop", "rows_of_group"]

_STRIP_LANES = 1024
"""Lanes side by side that are run before the next row: some pages of elements, few enough for the nearest cache."""


def rows_of_group(kernel: Kernel, width: int, barriers: bool) -> int:
    """Return how many rows of vectors a group has that are better run row by row with its neighbours', or 0.

    Where lanes ask for atomics they keep the order of groups.
    """
    x, y, z = kernel.workgroup
    atomics = any(isinstance(s, Instr) and s.op.effect is Effect.ATOMIC for s in walk(kernel.body))
    if barriers or kernel.shared or atomics or x == 1 or y * z == 1:
        return 0
    if x % width == 0:
        return y * z
    return -(-kernel.lanes // width) if width % x == 0 else 0


class GroupLoop:
    """The loop over groups ``begin`` to ``end``, the last two arguments of the function."""

    def __init__(self, state: State, identity: CpuIdentity) -> None:
        self.s = state
        self.b: Any = state.builder
        self.identity = identity
        self.begin, self.end = state.function.args[2], state.function.args[3]
        self.number = state.stack(I64, name="group.flat")
        self.limit = state.stack(I64, name="group.limit")
        self.ids = tuple(state.stack(I32, name=f"group.{'xyz'[d]}") for d in range(3))
        identity.groups = self.ids
        self.step: Any = I64(1)
        self.stops = Stops(state)
        self.many = 1

    def open(self) -> tuple[Any, Any]:
        """Open the loop; return the flat group number and the block that ends a turn."""
        b = self.b
        b.store(self.begin, self.number)
        nx, ny, _ = (b.zext(c, I64) for c in self.identity.counts)
        self.head, done, self.leave = (self.s.block(n) for n in ("group", "group.done", "leave"))
        self.s.leave = self.leave if self.s.machine.stoppable else None
        enter = self.s.block("enter")
        b.cbranch(b.icmp_unsigned("<", self.begin, self.end), enter, self.leave)
        b.position_at_end(enter)
        row = b.udiv(self.begin, nx)
        numbers = (b.urem(self.begin, nx), b.urem(row, ny), b.udiv(row, ny))
        for slot, value in zip(self.ids, numbers, strict=True):
            b.store(b.trunc(value, I32), slot)
        self.many = self.stops.groups()
        b.store(self.begin, self.limit)  # so a look follows the first group, and a run of one pays for none
        b.branch(self.head)
        b.position_at_end(self.head)
        return b.load(self.number, typ=I64), done

    def reach(self, number: object) -> None:
        """Take note up to which group nobody need look, from one on."""
        if self.many > 1:
            limit = self.s.arithmetic.intrinsic("umin", self.b.add(number, I64(self.many)), self.end)
            self.b.store(limit, self.limit)

    def strip(self, rows: int, vectors: int, run: Callable[[Any, Any], None]) -> None:
        """Run ``rows`` rows of ``vectors`` vectors of the groups side by side from here on, row by row.

        ``run`` emits one vector, given the flat number of its group and its own.
        """
        b, here = self.b, self.s.stack(I32, name="group.here")
        first, flat = b.load(self.ids[0], typ=I32), b.load(self.number, typ=I64)
        most = I64(max(1, _STRIP_LANES // self.s.kernel.workgroup[0]))
        of_row = b.zext(b.sub(self.identity.counts[0], first), I64)
        self.step = most
        for limit in (of_row, b.sub(self.end, flat)):
            self.step = self.s.arithmetic.intrinsic("umin", self.step, limit)
        self.identity.groups = (here, *self.ids[1:])
        with self.s.count_up(rows, "row") as row, self.s.count_up(b.trunc(self.step, I32), "strip") as group:
            b.store(b.add(first, group), here)
            number = b.add(flat, b.zext(group, I64))
            with self.s.count_up(vectors, "vector") as vector:
                run(number, b.add(b.mul(row, I32(vectors)), vector))

    def close(self, done: Any) -> None:
        """Step to the next groups, x first, carrying into y and z; leave the builder behind the loop."""
        b = self.b
        b.position_at_end(done)
        following = b.add(b.load(self.number, typ=I64), self.step)
        b.store(following, self.number)
        by, carry = b.trunc(self.step, I32), I1(1)
        for slot, count in zip(self.ids, self.identity.counts, strict=True):
            stepped = b.add(b.load(slot, typ=I32), by)
            carry = b.icmp_unsigned("==", stepped, count)
            b.store(b.select(carry, I32(0), stepped), slot)
            by = b.zext(carry, I32)
        on = self.s.block("group.next")
        if self.many > 1:
            looks = self.s.block("group.look")
            b.cbranch(b.icmp_unsigned("<", following, b.load(self.limit, typ=I64)), self.head, looks)
            b.position_at_end(looks)
        b.cbranch(b.icmp_unsigned("<", following, self.end), on, self.leave)
        b.position_at_end(on)
        self.stops.look()
        self.reach(following)
        b.branch(self.head)
        b.position_at_end(self.leave)
