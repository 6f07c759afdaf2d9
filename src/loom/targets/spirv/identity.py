"""What a lane knows in SPIR-V: the words of its dispatch, its place in its group and among all groups.

Layer: targets. Where a device treats the spare lanes of a last, partial vector as if they ran, the workgroup is
filled up with lanes that only look on: they see themselves as lane 0, do all it does, and write nothing.
Invariant: everything here is computed at the function's very start, known in every block.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, u64
from loom.ir.kernel import Instr, Kernel
from loom.targets.base.push_layout import PushLayout, lanes_filled_up
from loom.targets.spirv.instructions import Arithmetic
from loom.targets.spirv.module import Module

__all__ = ["Identity"]


class Identity:
    """``real`` tells whether a lane is one of the kernel's own (None: all are)."""

    def __init__(self, module: Module, arithmetic: Arithmetic, kernel: Kernel, layout: PushLayout) -> None:
        self.m = module
        self.a = arithmetic
        self.kernel = kernel
        self.layout = layout
        self.filled = lanes_filled_up(kernel, arithmetic.features.whole_vectors)
        self.real: int | None = None
        self.table = 0
        self._known: dict[Any, int] = {}
        if layout.in_table:
            self.table = module.buffer(self.table_binding(), module.u32(), 4, writable=False)
            self.push = module.push_constants(1)
        else:
            self.push = module.push_constants(layout.words)
        if self.filled:
            lane = self._input("LocalInvocationId", 0)
            self.real = self.a.m.early("ULessThan", module.bool(), lane, module.word(kernel.lanes))

    def table_binding(self) -> int:
        """Return where the table of words is bound: after the log, whether there is one or not."""
        return len(self.kernel.buffers) + 1

    @property
    def local_size(self) -> tuple[int, int, int]:
        """The workgroup's extents as the device is told them."""
        return (self.filled, 1, 1) if self.filled else self.kernel.workgroup

    # words

    def word(self, number: int) -> int:
        """Return a word of the dispatch."""
        m, found = self.m, self._known.get(number)
        if found is None:
            if self.layout.in_table:
                at = self._early("IAdd", self._push_word(0), m.word(number))
                pointer = m.early("AccessChain", m.pointer("StorageBuffer", m.u32()), self.table, m.word(0), at)
                found = m.early("Load", m.u32(), pointer)
            else:
                found = self._push_word(number)
            self._known[number] = found
        return found

    def _push_word(self, number: int) -> int:
        m, key = self.m, ("pushed", number)
        if key not in self._known:
            pointer = m.early("AccessChain", m.pointer("PushConstant", m.u32()), self.push, m.word(0), m.word(number))
            self._known[key] = m.early("Load", m.u32(), pointer)
        return self._known[key]

    def _early(self, name: str, *operands: int) -> int:
        return self.m.early(name, self.m.u32(), *operands)

    def param(self, s: Instr) -> int:
        """Return a parameter from its word or words."""
        dtype: DType = s.type
        first = self.layout.params[self.kernel.params.index(s.attr)]
        word = self.word(first)
        if dtype.is_bool:
            return self.a.test("INotEqual", word, self.m.word(0))
        if dtype.bits == 64:
            kind = self.a.type_of(u64)
            low, top = (self.m.value("UConvert", kind, w) for w in (word, self.word(first + 1)))
            shifted = self.a.op("ShiftLeftLogical", u64, top, self.a.constant(32, u64))
            both = self.a.op("BitwiseOr", u64, low, shifted)
            return self.a.cast(both, dtype) if dtype.is_float else both
        return self.a.cast(word, dtype) if dtype.is_float else word

    def opaque_zero(self) -> int:
        """Return a word that is 0, which only the host knows: a dispatch's number has 31 bits."""
        if "zero" not in self._known:
            number = self.word(self.layout.number)
            self._known["zero"] = self._early("ShiftRightLogical", number, self.m.word(31))
        return self._known["zero"]

    # places

    def value(self, s: Instr) -> int:
        """Return what an operation tells a lane about itself."""
        name = s.op.name
        if name == "param":
            return self.param(s)
        if name == "num_groups":
            return self.word(self.layout.groups + s.attr)
        if name == "length":
            return self.word(self.layout.lengths + self.kernel.buffers.index(s.memory))  # type: ignore[arg-type]
        return {"local_id": self.local, "group_id": self.group, "global_id": self.everywhere}[name](s.attr)

    def _input(self, name: str, dimension: int) -> int:
        m, key = self.m, (name, dimension)
        if key not in self._known:
            vector = m.early("Load", m.declare("TypeVector", m.u32(), 3), m.built_in(name))
            self._known[key] = m.early("CompositeExtract", m.u32(), vector, dimension)
        return self._known[key]

    def group(self, dimension: int) -> int:
        """Return the group's number along a dimension."""
        found, start = self._input("WorkgroupId", dimension), self.layout.starts[dimension]
        key = ("group", dimension)
        if start < 0:
            return found
        if key not in self._known:
            self._known[key] = self._early("IAdd", found, self.word(start))
        return self._known[key]

    def local(self, dimension: int) -> int:
        """Return the lane's number in its group along a dimension."""
        if not self.filled:
            return self._input("LocalInvocationId", dimension)
        key = ("local", dimension)
        if key not in self._known:
            width, height, _ = self.kernel.workgroup
            below = 1 if dimension == 0 else width if dimension == 1 else width * height
            found = self._early("UDiv", self.flat(), self.m.word(below)) if below > 1 else self.flat()
            extent = self.kernel.workgroup[dimension]
            if dimension < 2:
                times = self._early("IMul", self._early("UDiv", found, self.m.word(extent)), self.m.word(extent))
                found = self._early("ISub", found, times)
            self._known[key] = found
        return self._known[key]

    def everywhere(self, dimension: int) -> int:
        """Return the lane's number in the dispatch along a dimension."""
        key, start = ("global", dimension), self.layout.starts[dimension]
        if start < 0 and not self.filled:
            return self._input("GlobalInvocationId", dimension)
        if key not in self._known:
            before = self._early("IMul", self.group(dimension), self.m.word(self.kernel.workgroup[dimension]))
            self._known[key] = self._early("IAdd", before, self.local(dimension))
        return self._known[key]

    def flat(self) -> int:
        """Return the lane's number in its workgroup."""
        if "flat" not in self._known:
            self._known["flat"] = self._flat()
        return self._known["flat"]

    def _flat(self) -> int:
        if self.real is not None:
            lane = self._input("LocalInvocationId", 0)
            return self.m.early("Select", self.m.u32(), self.real, lane, self.m.word(0))
        width, height, depth = self.kernel.workgroup
        found = self._input("LocalInvocationId", 0)
        for extent, dimension, below in ((height, 1, width), (depth, 2, width * height)):
            if extent > 1:
                rows = self._early("IMul", self._input("LocalInvocationId", dimension), self.m.word(below))
                found = self._early("IAdd", found, rows)
        return found

    def invocation(self) -> int:
        """Return the number of an invocation in its workgroup, also where it only looks on."""
        return self._input("LocalInvocationId", 0) if self.filled else self.flat()

    def group_of_part(self) -> int:
        """Return the group's number among those of its part of the dispatch (a dispatch may come in parts)."""
        if "part" not in self._known:
            found = self._input("WorkgroupId", 2)
            for dimension in (1, 0):
                rows = self._early("IMul", found, self._input("NumWorkgroups", dimension))
                found = self._early("IAdd", rows, self._input("WorkgroupId", dimension))
            self._known["part"] = found
        return self._known["part"]

    def lane_number(self) -> tuple[int, int]:
        """Return the lane's number in the dispatch, by 32-bit words: group * lanes + lane."""
        m, kind = self.m, self.m.u32()
        columns, rows = (self.word(self.layout.groups + d) for d in range(2))
        plane = self._early("IAdd", self._early("IMul", self.group(2), rows), self.group(1))
        number = self._early("IAdd", self._early("IMul", plane, columns), self.group(0))
        both = m.early("UMulExtended", m.declare("TypeStruct", kind, kind), number, m.word(self.kernel.lanes))
        low, high = m.early("CompositeExtract", kind, both, 0), m.early("CompositeExtract", kind, both, 1)
        total = self._early("IAdd", low, self.flat())
        over = m.early("ULessThan", m.bool(), total, low)
        return total, self._early("IAdd", high, m.early("Select", kind, over, m.word(1), m.word(0)))
