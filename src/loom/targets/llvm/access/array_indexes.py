"""ArrayIndexes of memory as 64-bit numbers: whether they lie inside, and whether the lanes' are neighbours.

Layer: targets. Negative numbers become enormous, so that one comparison tells. Invariant: an index that is called
inside is below the length; lanes that are called a row or steps all run, all lie inside, and no index of theirs wraps.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import DType, i32, u8, u16, u32
from loom.ir.constants import constant_value
from loom.ir.kernel import Instr, Memory, Space
from loom.targets.llvm.access.messages import Messages
from loom.targets.llvm.machine import PLACED_ELEMENTS
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I1, I32, I64

__all__ = ["ArrayIndexes"]


class ArrayIndexes:
    """ArrayIndexes of one function's accesses, under the state's current mask."""

    def __init__(self, state: State, messages: Messages) -> None:
        self.s = state
        self.b: Any = state.builder
        self.v = state.vectors
        self.messages = messages
        self.checked = state.bounds.checks  # indexes are compared with the array's length
        self.known_inside: set[Instr] = set()  # accesses of one lane whose index was found inside already

    def wide(self, index: Lanes, instr: Instr) -> Lanes:
        """Return an index as 64 bits: negative numbers become enormous."""
        dtype = instr.args[0].type
        if dtype.bits == 64:
            return index
        target: Any = I64
        if isinstance(index.value.type, ll.VectorType):
            target = ll.VectorType(I64, self.s.width)
        extend = self.b.sext if dtype.is_signed and not self.is_index(dtype) else self.b.zext
        return Lanes(extend(index.value, target), index.stride)

    def is_index(self, dtype: DType) -> bool:
        """True for the type of indexes that may be below zero: then no array has 2^31 elements (``plans.groups``)."""
        return dtype == i32 and self.s.kernel.goes_below

    def spread(self, index: Lanes, instr: Instr) -> Any:
        """Return an index lane by lane; it wraps in its own width first."""
        return self.wide(Lanes(self.v.spread(index), None), instr).value

    # inside

    def inside(self, wide: Any, memory: Memory) -> Any:
        """Compare a 64-bit index (scalar or vector) with the array's length."""
        length = self.s.arrays[memory].length
        if isinstance(wide.type, ll.VectorType):
            length = self.v.splat(length)
        elif self.is_short(memory) and isinstance(wide, ll.CastInstr) and wide.opname in ("sext", "zext"):
            # in 32 bits, where negative is enormous too
            extend = self.b.sext if wide.opname == "sext" else self.b.zext
            wide = extend(wide.operands[0], I32)
            length = I32(length.constant) if isinstance(length, ll.Constant) else self.b.trunc(length, I32)
        return self.b.icmp_unsigned("<", wide, length)

    def is_short(self, memory: Memory) -> bool:
        """True if an array surely has fewer than 2^31 elements."""
        if memory.space is Space.BUFFER:
            return self.s.machine.placed and not isinstance(self.s.arrays[memory].length, ll.Instruction)
        return self.s.machine.threads and (memory.size or 0) < PLACED_ELEMENTS

    def check(self, instr: Instr, memory: Memory, wide: Any) -> Any:
        """Return whether an index that all running lanes share is inside; the host is told of one that is not."""
        inside = self.inside(wide, memory)
        if self.s.bounds.reports:
            with self.s.branch(self.b.not_(inside), "outside"):
                self.messages.out_of_bounds(instr, memory, self.v.splat(wide), self.s.mask)
        return inside

    def active(self, instr: Instr, memory: Memory, wide: Any) -> Any:
        """Return the mask of lanes that may access their element."""
        mask = self.s.mask_or_all()
        if not self.checked:
            return mask
        inside = self.inside(wide, memory)
        self.messages.out_of_bounds(instr, memory, wide, self.b.and_(mask, self.b.not_(inside)))
        return self.b.and_(mask, inside)

    def is_known_inside(self, instr: Instr, memory: Memory) -> bool:
        """True for a constant index within an array of known size."""
        index = instr.args[0]
        if index.op.name != "const" or memory.size is None:
            return False
        return 0 <= int(constant_value(index.attr, index.type)) < memory.size

    # side by side

    def in_steps(self, instr: Instr, wide: Any, memory: Memory, stride: int) -> Any:
        """True if all lanes run and, ``stride`` apart from ``wide`` on, are inside, and no index of theirs wraps."""
        dtype, span = instr.args[0].type, abs(stride) * (self.s.width - 1)
        conditions = [] if self.s.mask is None else [self.v.all(self.s.mask)]
        if self.checked:
            length = self.s.arrays[memory].length
            limit = self.s.arithmetic.intrinsic("usub.sat", length, I64(span if stride > 0 else 0))
            conditions.append(self.b.icmp_unsigned("<", wide, limit))
        if stride < 0:
            conditions.append(self.b.icmp_unsigned(">=", wide, I64(span)))
        if stride > 0 and dtype.bits < 64:
            conditions.append(self.b.icmp_unsigned("<=", wide, I64(max(0, dtype.maximum - span))))
        if dtype.maximum < span:
            return I1(0)
        result: Any = I1(1)
        for condition in conditions:
            result = self.b.and_(result, condition)
        return result

    def in_a_row(self, instr: Instr, wide: Any, memory: Memory) -> Any:
        """True if the lanes' elements are neighbours in memory that may be accessed as one vector.

        Checked kernels need the whole vector inside the array; in a trusted one every running lane is
        inside. Either way an index that wraps around between lanes breaks the row.
        """
        return self.b.icmp_unsigned("<", wide, self.row_limit(instr, memory))

    def row_limit(self, instr: Instr, memory: Memory) -> Any:
        """Return the number below which a row may begin."""
        dtype = instr.args[0].type
        unwrapped = I64(dtype.maximum - self.s.width + 2)
        if not self.checked:
            return unwrapped
        limit = self.whole(memory)
        if dtype.bits == 64 or dtype == u32 or self.is_index(dtype):  # no array reaches where they wrap
            return limit
        return self.s.arithmetic.intrinsic("umin", limit, unwrapped)

    def whole(self, memory: Memory) -> Any:
        """Return the number below which a vector that lies inside an array begins."""
        length = self.s.arrays[memory].length
        if isinstance(length, ll.Constant):
            return I64(max(0, length.constant - self.s.width + 1))
        return self.s.arithmetic.intrinsic("usub.sat", length, I64(self.s.width - 1))

    def surely_in_a_row(self, instr: Instr) -> bool:
        """True if no code is needed to tell: all lanes run, inside, and could not if the index wrapped."""
        return not self.checked and self.s.mask is None and instr.args[0].type not in (u8, u16)
