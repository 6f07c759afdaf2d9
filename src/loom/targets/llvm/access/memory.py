"""Emits loads, stores and atomics: scalar, contiguous, masked, gathered.

Layer: targets. Neighbouring lanes at neighbouring elements become one vector access when all of it lies
inside the array; the edges and everything else go lane by lane through gather and scatter. Invariant:
unless the kernel is trusted, no byte outside an array is touched, whatever the index.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import DType, i32, u8, u16, u32
from loom.ir.constants import constant_value
from loom.ir.kernel import Access, Instr, Memory, Space
from loom.targets.base import Bounds
from loom.targets.llvm.access.atomics import AtomicAccess
from loom.targets.llvm.access.elements import ShortVectors
from loom.targets.llvm.access.records import RecordAccess
from loom.targets.llvm.arithmetic import suffix
from loom.targets.llvm.lanes import Lanes
from loom.targets.llvm.machine import PLACED_ELEMENTS, PLACED_NBYTES
from loom.targets.llvm.messages import Messages
from loom.targets.llvm.state import State
from loom.targets.llvm.types import I1, I8, I32, I64, POINTER, Undefined, memory_type

__all__ = ["MemoryAccess"]


class MemoryAccess:
    """Emits memory operations under the state's current mask."""

    def __init__(self, state: State, messages: Messages) -> None:
        self.s = state
        self.b = state.builder
        self.v = state.vectors
        self.messages = messages
        self.elements = ShortVectors(self)
        self.records = RecordAccess(self)
        self.atomics = AtomicAccess(self)
        self.known_rows: dict[Instr, Lanes] = {}  # accesses found side by side and inside already: their first index
        self.known_inside: set[Instr] = set()  # accesses of one lane whose index was found inside already
        self.rows_read: dict[Instr, tuple[Any, Any]] = {}  # loads: if of neighbours (None: surely), where

    # shared pieces

    @property
    def checked(self) -> bool:
        """True when indexes are compared with the array's length."""
        return self.s.bounds.checks

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

    def spread_index(self, index: Lanes, instr: Instr) -> Any:
        """Return an index lane by lane; it wraps in its own width first."""
        return self.wide(Lanes(self.v.spread(index), None), instr).value

    def inside(self, wide: Any, memory: Memory) -> Any:
        """Compare a 64-bit index (scalar or vector) with the array's length."""
        length = self.s.arrays[memory].length
        if isinstance(wide.type, ll.VectorType):
            length = self.v.splat(length)
        elif self.is_short(memory) and isinstance(wide, ll.CastInstr) and wide.opname in ("sext", "zext"):
            # in 32 bits, where negative is enormous too
            extend = self.b.sext if wide.opname == "sext" else self.b.zext
            wide, length = extend(wide.operands[0], I32), self.short(length)
        return self.b.icmp_unsigned("<", wide, length)

    def is_short(self, memory: Memory) -> bool:
        """True if an array surely has fewer than 2^31 elements."""
        if memory.space is Space.BUFFER:
            return self.s.machine.placed and not isinstance(self.s.arrays[memory].length, ll.Instruction)
        return self.s.machine.threads and (memory.size or 0) < PLACED_ELEMENTS

    def short(self, length: Any) -> Any:
        return I32(length.constant) if isinstance(length, ll.Constant) else self.b.trunc(length, I32)

    def address(self, memory: Memory, wide: Any) -> Any:
        """Return the address of an element (a vector of addresses for a vector of indexes)."""
        base = self.s.arrays[memory].base
        if memory.space is Space.SHARED and self.s.machine.threads:
            # counted in 32 bits, as such memory is: constant distances become part of an access
            distance = self.b.mul(self.b.trunc(wide, I32), I32(memory.dtype.nbytes))
            return self.b.gep(base, [self.b.zext(distance, I64)], source_etype=I8)
        pointer = self.b.gep(base, [wide], source_etype=memory_type(memory.dtype))
        if isinstance(wide.type, ll.VectorType):  # llvmlite does not know that a vector index gives a vector
            pointer.type = ll.VectorType(POINTER, self.s.width)
        return pointer

    def to_register(self, value: Any, memory: Memory) -> Any:
        """A bool byte becomes i1."""
        if not memory.dtype.is_bool:
            return value
        return self.b.icmp_unsigned("!=", value, self.s.arithmetic.constant(0, value))

    def to_memory(self, value: Any, memory: Memory) -> Any:
        """An i1 becomes a bool byte."""
        if not memory.dtype.is_bool:
            return value
        kind: Any = ll.VectorType(I8, self.s.width) if isinstance(value.type, ll.VectorType) else I8
        return self.b.zext(value, kind)

    def align(self, memory: Memory) -> int:
        """Return what the address of an element is surely a multiple of."""
        if self.s.machine.placed and memory.space is Space.BUFFER:
            return gcd(memory.dtype.nbytes, PLACED_NBYTES)
        return memory.dtype.bits // 8

    def element_lanes(self, memory: Memory) -> Any:
        return self.v.of(memory_type(memory.dtype))

    def note(self, instr: Instr, memory: Memory, index: Lanes) -> None:
        """Keep which way an access takes."""
        if memory.space is Space.PRIVATE:
            self.s.note(self.private_way(instr, memory, index), instr)
        elif index.stride == 0 or self.s.width == 1:
            self.s.note("uniform", instr)
        elif index.stride == 1:
            self.s.note("row", instr)
        elif index.stride is None and self.is_likely_row(instr):
            self.s.note("mostly row", instr)
        elif index.stride is not None and instr in self.records.group_of:
            self.s.note("record", instr, index.stride)
        elif index.stride is not None:
            self.s.note("steps", instr, index.stride)
        else:
            self.s.note("gather" if instr.op.name == "load" else "scatter", instr)

    def private_way(self, instr: Instr, memory: Memory, index: Lanes) -> str:
        if self.is_known_inside(instr, memory):
            return "private register"
        return "private row" if index.stride == 0 or self.s.width == 1 else "private gather"

    # loads

    def load(self, instr: Instr, memory: Memory, index: Lanes, stride: int | None) -> Lanes:
        """Emit ``memory[index]``; the result is held as ``stride`` says."""
        if memory.dtype.is_vector:
            self.note(instr, memory, index)
            return self.elements.load(instr, memory, index, stride)
        self.note(instr, memory, index)
        if memory.space is Space.PRIVATE and self.s.width > 1:
            return Lanes(self.to_register(self.load_private(instr, memory, index), memory), None)
        if stride == 0:
            return Lanes(self.to_register(self.load_scalar(instr, memory, index), memory), 0)
        if index.stride is None and self.is_likely_row(instr):
            loaded = self.load_contiguous(instr, memory, self.first(instr, index), index)
        elif index.stride == 1:
            loaded = self.load_contiguous(instr, memory, index)
        elif index.stride is not None:
            loaded = self.records.load(instr, memory, index)
            loaded = loaded if loaded is not None else self.load_strided(instr, memory, index, index.stride)
        else:
            loaded = self.gather(instr, memory, self.spread_index(index, instr))
        return Lanes(self.to_register(loaded, memory), None)

    def is_likely_row(self, instr: Instr) -> bool:
        """True if it is worth a look at run time whether the lanes' elements are neighbours."""
        return self.s.shapes.likely.get(instr.args[0]) == 1

    def first_of(self, index: Lanes) -> Lanes:
        """Return what an index held lane by lane would be, if its lanes counted up from the first."""
        return Lanes(self.b.extract_element(index.value, I32(0)), 1)

    def first(self, instr: Instr, index: Lanes) -> Lanes:
        """Return what the index of an access would be, if its lanes counted up from the first."""
        known = self.known_rows.get(instr)
        return self.first_of(index) if known is None else known

    def same_as_row(self, first: Lanes, index: Lanes) -> Any:
        """Tell lane by lane whether it counts up from the first, or does not run."""
        same = self.b.icmp_unsigned("==", index.value, self.v.spread(first))
        return same if self.s.mask is None else self.b.or_(same, self.b.not_(self.s.mask))

    def load_scalar(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        element = memory_type(memory.dtype)
        wide = self.wide(index, instr).value
        pointer = self.address(memory, wide)
        if self.checked and instr not in self.known_inside:
            inside = self.inside(wide, memory)
            self.report_scalar(instr, memory, wide, inside)
            if self.s.width == 1:
                return self.load_if(inside, lambda: self.read_one(memory, pointer, element))
            pointer = self.b.select(inside, pointer, self.zero_cell())
        return self.read_one(memory, pointer, element)

    def read_one(self, memory: Memory, pointer: Any, kind: Any) -> Any:
        """Load what is known to be inside, as a ``kind``."""
        return self.tagged(self.b.load(pointer, align=self.align(memory), typ=kind), memory)

    def load_if(self, inside: Any, load: Callable[[], Any]) -> Any:
        """Load an element, 0 if it is outside: a jump is foreseen or predicated, a choice of addresses waited for."""
        before = self.b.block
        with self.s.branch(inside, "load", likely=True):
            loaded = load()
            there = self.b.block
        result = self.b.phi(loaded.type)
        result.add_incoming(ll.Constant(loaded.type, None), before)
        result.add_incoming(loaded, there)
        return result

    def tagged(self, access: Any, memory: Memory) -> Any:
        """Tell LLVM that buffers of one dispatch do not overlap (``chain.record`` sees to it)."""
        if memory.space is Space.BUFFER:
            if self.s.machine.threads and memory.access is Access.READ:
                access.set_metadata("invariant.load", self.s.module.add_metadata([]))  # GPUs keep those in other caches
            own, others = self.scopes(memory)
            access.set_metadata("alias.scope", own)
            access.set_metadata("noalias", others)
        return access

    def scopes(self, memory: Memory) -> tuple[Any, Any]:
        """Return the alias scope of a buffer and those of all others."""
        module = self.s.module
        domain = module.add_metadata(["loom.buffers"])
        buffers = self.s.kernel.buffers
        named = [module.add_metadata([f"buffer {position}", domain]) for position in range(len(buffers))]
        at = buffers.index(memory)
        return module.add_metadata([named[at]]), module.add_metadata(named[:at] + named[at + 1 :])

    def zero_cell(self) -> Any:
        """Return the address of as many zero bytes as the largest element has."""
        found: Any = self.s.module.globals.get("loom.zero")
        if found is None:
            found = ll.GlobalVariable(self.s.module, ll.ArrayType(I64, 4), "loom.zero")
            found.initializer = ll.Constant(found.value_type, None)
            found.global_constant = True
            found.linkage = "internal"
            found.type = POINTER
        return found

    def load_contiguous(self, instr: Instr, memory: Memory, index: Lanes, really: Lanes | None = None) -> Any:
        """Load from ``index`` on; ``really`` is the index lane by lane where that must be looked at first."""
        kind, wide = self.element_lanes(memory), self.wide(index, instr).value
        self.rows_read[instr] = (None, wide)
        if self.is_surely_row(instr, really):
            return self.read_row(memory, kind, self.address(memory, wide), self.s.mask)
        fast, slow, after = (self.s.block(n) for n in ("load.fast", "load.edge", "load.end"))
        row = self.is_row(instr, memory, index, really)
        self.rows_read[instr] = (row, wide)
        self.b.cbranch(row, fast, slow)
        self.b.position_at_end(fast)
        pointer = self.address(memory, wide)
        whole = self.read_row(memory, kind, pointer, self.s.mask)
        self.b.branch(after)
        self.b.position_at_end(slow)
        edge = self.gather(instr, memory, self.spread_index(really or index, instr))
        slow = self.b.block
        self.b.branch(after)
        self.b.position_at_end(after)
        result = self.b.phi(kind)
        result.add_incoming(whole, fast)
        result.add_incoming(edge, slow)
        return result

    def masked_load(self, kind: Any, pointer: Any, align: int, mask: Any) -> Any:
        """Load neighbouring elements for the lanes of ``mask`` only, 0 for the others."""
        name = f"llvm.masked.load.{suffix(kind)}.p0"
        types = [POINTER, I32, mask.type, kind]
        zero = ll.Constant(kind, None)
        masked = self.s.arithmetic.declare(name, kind, types)
        return self.b.call(masked, [pointer, I32(align), mask, zero])

    def is_row(self, instr: Instr, memory: Memory, index: Lanes, really: Lanes | None) -> Any:
        """True if the lanes' elements are neighbours from ``index`` on and may be accessed as one vector."""
        row = self.in_a_row(instr, self.wide(index, instr).value, memory)
        return row if really is None else self.b.and_(self.v.all(self.same_as_row(index, really)), row)

    def load_strided(self, instr: Instr, memory: Memory, index: Lanes, stride: int) -> Any:
        """Load elements a known distance apart one by one, if all are inside: cheaper than a gather of addresses."""
        kind = self.element_lanes(memory)
        fast, slow, after = (self.s.block(n) for n in ("load.strided", "load.edge", "load.end"))
        wide = self.wide(index, instr).value
        self.b.cbranch(self.in_steps(instr, wide, memory, stride), fast, slow)
        self.b.position_at_end(fast)
        pointer = self.address(memory, wide)
        whole: Any = Undefined(kind)
        for lane in range(self.s.width):
            cell = self.b.gep(pointer, [I64(lane * stride)], source_etype=memory_type(memory.dtype))
            element = self.b.load(cell, align=self.align(memory), typ=memory_type(memory.dtype))
            whole = self.b.insert_element(whole, self.tagged(element, memory), I32(lane))
        self.b.branch(after)
        self.b.position_at_end(slow)
        edge = self.gather(instr, memory, self.spread_index(index, instr))
        slow = self.b.block
        self.b.branch(after)
        self.b.position_at_end(after)
        result = self.b.phi(kind)
        result.add_incoming(whole, fast)
        result.add_incoming(edge, slow)
        return result

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

    def surely_in_a_row(self, instr: Instr) -> bool:
        """True if no code is needed to tell: all lanes run, inside, and could not if the index wrapped."""
        return not self.checked and self.s.mask is None and instr.args[0].type not in (u8, u16)

    def is_surely_row(self, instr: Instr, really: Lanes | None) -> bool:
        """True if no code is needed to tell, of an index that may or may not have to be looked at."""
        return instr in self.known_rows or (really is None and self.surely_in_a_row(instr))

    def read_row(self, memory: Memory, kind: Any, pointer: Any, mask: Any) -> Any:
        """Load neighbours that are known to be inside, in a trusted kernel those of the lanes that run."""
        if self.checked or mask is None:
            return self.tagged(self.b.load(pointer, align=self.align(memory), typ=kind), memory)
        return self.masked_load(kind, pointer, self.align(memory), mask)

    def write_row(self, memory: Memory, value: Any, pointer: Any, mask: Any) -> None:
        """Store the lanes that run to neighbours that are known to be inside."""
        if mask is None:
            self.tagged(self.b.store(value, pointer, align=self.align(memory)), memory)
        else:
            self.masked_store(value, pointer, self.align(memory), mask)

    def whole(self, memory: Memory) -> Any:
        """Return the number below which a vector that lies inside an array begins."""
        length = self.s.arrays[memory].length
        if isinstance(length, ll.Constant):
            return I64(max(0, length.constant - self.s.width + 1))
        return self.s.arithmetic.intrinsic("usub.sat", length, I64(self.s.width - 1))

    def active(self, instr: Instr, memory: Memory, wide: Any) -> Any:
        """Return the mask of lanes that may access their element."""
        mask = self.s.mask_or_all()
        if not self.checked:
            return mask
        inside = self.inside(wide, memory)
        self.messages.out_of_bounds(instr, memory, wide, self.b.and_(mask, self.b.not_(inside)))
        return self.b.and_(mask, inside)

    def gather(self, instr: Instr, memory: Memory, wide: Any) -> Any:
        kind = self.element_lanes(memory)
        return self.masked_gather(
            kind, self.address(memory, wide), self.active(instr, memory, wide), self.align(memory)
        )

    def masked_gather(self, kind: Any, pointers: Any, mask: Any, align: int) -> Any:
        zero = ll.Constant(kind, None)
        name = f"llvm.masked.gather.{suffix(kind)}.v{self.s.width}p0"
        types = [pointers.type, I32, self.v.mask_type, kind]
        return self.b.call(self.s.arithmetic.declare(name, kind, types), [pointers, I32(align), mask, zero])

    def report_scalar(self, instr: Instr, memory: Memory, wide: Any, inside: Any) -> None:
        """Tell the host about an index that all running lanes share."""
        if self.s.bounds is Bounds.REPORTED:
            with self.s.branch(self.b.not_(inside), "outside"):
                self.messages.out_of_bounds(instr, memory, self.v.splat(wide), self.s.mask)

    # private arrays: element e of lane l is at e * width + l

    def private_pointers(self, instr: Instr, memory: Memory, index: Lanes) -> tuple[Any, Any]:
        """Return the addresses of each lane's element and the 64-bit index."""
        wide = self.spread_index(index, instr)
        width = self.v.splat(I64(self.s.width))
        cell = self.b.add(self.b.mul(wide, width), self.v.iota(I64))
        return self.address(memory, cell), wide

    def load_private(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        kind = self.element_lanes(memory)
        if index.stride != 0:
            pointers, wide = self.private_pointers(instr, memory, index)
            return self.masked_gather(kind, pointers, self.active(instr, memory, wide), self.align(memory))
        wide, inside = self.private_cell(instr, memory, index)
        row = self.b.load(self.private_row(memory, wide), align=self.align(memory), typ=kind)
        return row if inside is None else self.b.select(inside, row, ll.Constant(kind, None))

    def private_cell(self, instr: Instr, memory: Memory, index: Lanes) -> tuple[Any, Any]:
        """Return a number of an element that all lanes share, 0 for one outside, and whether it is inside if in doubt.

        What is known to be inside LLVM keeps in registers, where all indexes of an array are.
        """
        wide = self.wide(index, instr).value
        if not self.checked or self.is_known_inside(instr, memory):
            return wide, None
        inside = self.inside(wide, memory)
        self.report_scalar(instr, memory, wide, inside)
        return self.b.select(inside, wide, I64(0)), inside

    def is_known_inside(self, instr: Instr, memory: Memory) -> bool:
        """True for a constant index within an array of known size."""
        index = instr.args[0]
        if index.op.name != "const" or memory.size is None:
            return False
        return 0 <= int(constant_value(index.attr, index.type)) < memory.size

    def private_row(self, memory: Memory, wide: Any) -> Any:
        return self.address(memory, self.b.mul(wide, I64(self.s.width)))

    def store_private(self, instr: Instr, memory: Memory, index: Lanes, value: Any) -> None:
        if index.stride != 0:
            pointers, wide = self.private_pointers(instr, memory, index)
            self.masked_scatter(value, pointers, self.active(instr, memory, wide), self.align(memory))
            return
        wide, inside = self.private_cell(instr, memory, index)
        pointer = self.private_row(memory, wide)
        mask = self.s.mask
        if inside is not None:
            all_lanes = self.v.splat(inside)
            mask = all_lanes if mask is None else self.b.and_(mask, all_lanes)
        if mask is not None:
            old = self.b.load(pointer, align=self.align(memory), typ=value.type)
            value = self.b.select(mask, value, old)
        self.b.store(value, pointer, align=self.align(memory))

    # stores

    def store(self, instr: Instr, memory: Memory, index: Lanes, value: Lanes) -> None:
        """Emit ``memory[index] = value`` for the lanes running."""
        self.note(instr, memory, index)
        if memory.dtype.is_vector:
            self.elements.store(instr, memory, index, value)
            return
        if memory.space is Space.PRIVATE and self.s.width > 1:
            self.store_private(instr, memory, index, self.to_memory(self.v.spread(value), memory))
        elif index.stride == 0:
            self.store_scalar(instr, memory, index, self.to_memory(self.one_of(value), memory))
        elif index.stride is None and self.is_likely_row(instr):
            first = self.first(instr, index)
            self.store_contiguous(instr, memory, first, self.to_memory(self.v.spread(value), memory), index)
        elif index.stride == 1:
            self.store_contiguous(instr, memory, index, self.to_memory(self.v.spread(value), memory))
        elif index.stride is not None:
            spread = self.to_memory(self.v.spread(value), memory)
            if not self.records.store(instr, memory, index, spread):
                self.store_strided(instr, memory, index, index.stride, spread)
        else:
            wide = self.spread_index(index, instr)
            self.scatter(instr, memory, wide, self.to_memory(self.v.spread(value), memory))

    def one_of(self, value: Lanes) -> Any:
        """Return the value of the highest running lane (where all store to one element, it wins)."""
        if value.stride == 0 or self.s.width == 1:
            return value.value
        lane = I32(self.s.width - 1) if self.s.mask is None else self.v.last(self.s.mask)
        return self.b.extract_element(self.v.spread(value), lane)

    def store_scalar(self, instr: Instr, memory: Memory, index: Lanes, value: Any) -> None:
        wide = self.wide(index, instr).value
        if not self.checked:
            self.tagged(self.b.store(value, self.address(memory, wide), align=self.align(memory)), memory)
            return
        inside = self.inside(wide, memory)
        self.report_scalar(instr, memory, wide, inside)
        with self.s.branch(inside, "store"):
            self.tagged(self.b.store(value, self.address(memory, wide), align=self.align(memory)), memory)

    def store_contiguous(
        self, instr: Instr, memory: Memory, index: Lanes, value: Any, really: Lanes | None = None
    ) -> None:
        wide = self.wide(index, instr).value
        if self.is_surely_row(instr, really):
            self.write_row(memory, value, self.address(memory, wide), self.s.mask)
            return
        fast, slow, after = (self.s.block(n) for n in ("store.fast", "store.edge", "store.end"))
        self.b.cbranch(self.is_row(instr, memory, index, really), fast, slow)
        self.b.position_at_end(fast)
        pointer = self.address(memory, wide)
        self.write_row(memory, value, pointer, self.s.mask)
        self.b.branch(after)
        self.b.position_at_end(slow)
        self.scatter(instr, memory, self.spread_index(really or index, instr), value)
        self.b.branch(after)
        self.b.position_at_end(after)

    def store_strided(self, instr: Instr, memory: Memory, index: Lanes, stride: int, value: Any) -> None:
        """Store elements a known distance apart one by one, if all lanes run and are inside."""
        fast, slow, after = (self.s.block(n) for n in ("store.strided", "store.edge", "store.end"))
        wide = self.wide(index, instr).value
        self.b.cbranch(self.in_steps(instr, wide, memory, stride), fast, slow)
        self.b.position_at_end(fast)
        pointer = self.address(memory, wide)
        for lane in range(self.s.width):
            cell = self.b.gep(pointer, [I64(lane * stride)], source_etype=memory_type(memory.dtype))
            element = self.b.extract_element(value, I32(lane))
            self.tagged(self.b.store(element, cell, align=self.align(memory)), memory)
        self.b.branch(after)
        self.b.position_at_end(slow)
        self.scatter(instr, memory, self.spread_index(index, instr), value)
        self.b.branch(after)
        self.b.position_at_end(after)

    def masked_store(self, value: Any, pointer: Any, align: int, mask: Any) -> None:
        """Store neighbouring elements for the lanes of ``mask`` only."""
        name = f"llvm.masked.store.{suffix(value.type)}.p0"
        types = [value.type, POINTER, I32, mask.type]
        masked = self.s.arithmetic.declare(name, ll.VoidType(), types)
        self.b.call(masked, [value, pointer, I32(align), mask])

    def scatter(self, instr: Instr, memory: Memory, wide: Any, value: Any) -> None:
        mask = self.active(instr, memory, wide)
        self.masked_scatter(value, self.address(memory, wide), mask, self.align(memory))

    def masked_scatter(self, value: Any, pointers: Any, mask: Any, align: int) -> None:
        name = f"llvm.masked.scatter.{suffix(value.type)}.v{self.s.width}p0"
        types = [value.type, pointers.type, I32, self.v.mask_type]
        self.b.call(self.s.arithmetic.declare(name, ll.VoidType(), types), [value, pointers, I32(align), mask])

    # atomics

    def atomic(self, instr: Instr, memory: Memory, index: Lanes, values: list[Lanes]) -> Lanes:
        """Emit an atomic for each running lane, lowest first; gives the old values."""
        return self.atomics.emit(instr, memory, index, values)
