"""What each vector of lanes owns on a CPU: variables, private arrays, its first mask, its number.

Layer: targets. A kernel whose barriers split it into regions enters a vector once per region: what lives
across them has room for every vector, and lanes that returned stay out. Invariant: all of it is on the
stack of the function's entry, so that loops do not grow the stack.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.ir.kernel import Block, Instr, Memory, Return, walk, walk_blocks
from loom.ir.passes.uniformity import analyse_uniformity
from loom.targets.base import Bounds
from loom.targets.llvm.access.messages import Messages
from loom.targets.llvm.flow.control import Control
from loom.targets.llvm.flow.identity import CpuIdentity
from loom.targets.llvm.flow.regions import is_shared
from loom.targets.llvm.values.state import ArrayMemory, State
from loom.targets.llvm.values.types import I1, I32, I64, memory_type

__all__ = ["Places"]


class Places:
    """What each vector of lanes owns: variables, private arrays, its first mask, its number."""

    def __init__(
        self, state: State, control: Control, identity: CpuIdentity, messages: Messages, count: int, group: Any
    ) -> None:
        self.s = state
        self.kernel = state.kernel
        self.control = control
        self.identity = identity
        self.messages = messages
        self.group = group
        self.count = count
        self.mask_type = self.s.vectors.mask_type
        self.gone: Any = None  # stack slots: lanes that returned
        self.group_returned: Any = None  # stack slot: the whole group returned
        self.apart = analyse_uniformity(state.kernel).divergent_returns if count > 1 else []
        self.stays_gone = bool(self.apart)
        self.variables: dict[Any, tuple[Any, Any]] = {}
        self.privates: dict[Memory, tuple[Any, int]] = {}

    def reserve(self) -> None:
        """Reserve stack space; what may live across barriers gets room for every vector."""
        shared_blocks = set(_group_blocks(self.kernel.body) if self.count > 1 else ())
        for variable in self.kernel.variables:
            home = self.control.homes.get(variable)
            count = self.count if home in shared_blocks else 1
            kind = self.control.slot_type(variable)
            self.variables[variable] = (self.s.stack(kind, count, variable.name), kind if count > 1 else None)
        for memory in self.kernel.private:
            assert memory.size is not None
            elements = memory.size * self.s.width
            base = self.s.stack(memory_type(memory.dtype), elements * self.count, memory.name)
            base.align = 64
            self.privates[memory] = (base, elements)
        if any(isinstance(s, Return) for s in walk(self.kernel.body)):
            self.gone = self.s.stack(self.mask_type, self.count, name="returned")

    def enter(self) -> None:
        """Start a vector: point at its variables and arrays, set its mask and number."""
        b, vector = self.s.builder, self.identity.vector
        for variable, (slot, kind) in self.variables.items():
            self.s.slots[variable] = slot if kind is None else b.gep(slot, [vector], source_etype=kind)
        for memory, (base, elements) in self.privates.items():
            start = base
            if self.count > 1:
                first = b.mul(b.zext(vector, I64), I64(elements))
                start = b.gep(base, [first], source_etype=memory_type(memory.dtype))
            elif self.s.bounds is not Bounds.TRUSTED:
                self.s.clear(base, elements * memory.dtype.bits // 8)
            self.s.arrays[memory] = ArrayMemory(start, I64(memory.size or 0))
        first_lane = b.mul(vector, I32(self.s.width))
        if self.s.numbers_lanes:
            group_first = b.mul(self.group, I64(self.kernel.lanes))
            self.messages.flat_base = b.add(group_first, b.zext(first_lane, I64))
        self.s.mask = self.present(first_lane)
        if self.stays_gone:
            self.control.returned = b.gep(self.gone, [vector], source_etype=self.mask_type)
            self.leave_out_returned()
        elif self.gone is not None and self.s.width > 1:
            self.control.returned = self.gone
            b.store(ll.Constant(self.mask_type, None), self.gone)

    def present(self, first_lane: Any) -> Any:
        """Return the mask of lanes that exist in the last, shorter vector; None if all always do."""
        lanes, width = self.kernel.lanes, self.s.width
        if lanes % width == 0:
            return None
        v = self.s.vectors
        numbers = self.s.builder.add(v.splat(first_lane), v.iota(I32))
        return self.s.builder.icmp_unsigned("<", numbers, v.splat(I32(lanes)))

    def leave_out_returned(self) -> None:
        """Go on with the lanes that did not return in an earlier region; skip the vector if there are none."""
        b = self.s.builder
        stay = b.not_(b.load(self.control.returned, typ=self.mask_type))
        if self.s.width > 1:
            self.s.mask = stay if self.s.mask is None else b.and_(self.s.mask, stay)
            stay = self.s.vectors.any(self.s.mask)
        on = self.s.block("vector.on")
        b.cbranch(stay, on, self.control.lane_end)
        b.position_at_end(on)

    def on_return(self, s: Return) -> None:
        """All lanes of a vector return: the whole group does, or this vector stays out from now on."""
        if s in self.apart:
            self.s.builder.store(self.s.vectors.splat(I1(1)), self.control.returned)
        else:
            self.s.builder.store(I1(1), self.group_returned)

    def clear_for_group(self) -> None:
        """Start a group: nobody has returned, private arrays are zero."""
        if self.stays_gone:
            for vector in range(self.count):
                cell = self.s.builder.gep(self.gone, [I32(vector)], source_etype=self.mask_type)
                self.s.builder.store(ll.Constant(self.mask_type, None), cell)
        if self.s.bounds is Bounds.TRUSTED:
            return
        for memory, (base, elements) in self.privates.items():
            self.s.clear(base, elements * self.count * memory.dtype.bits // 8)


def _group_blocks(block: Block) -> list[Block]:
    """Return the blocks whose statements the whole group reaches together."""
    found = [block]
    for s in block.statements:
        if not isinstance(s, Instr) and is_shared(s):
            for inner in walk_blocks(s):
                found += _group_blocks(inner)
    return found
