"""Emits atomics: one lane after the other, without locks where no other thread can see the memory.

Layer: targets. On a CPU shared memory belongs to the thread that runs the group. A buffer that a kernel only adds to,
and of which it never asks the old value, may be added to in a table of the call's own first, if it is small beside the
work: integers add up to the same whatever the order. Invariant: what a lane is given back is what it would be given if
the lanes of a vector came one by one, lowest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import llvmlite.ir as ll

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Instr, Kernel, Memory, Space, walk
from loom.ir.ops import Effect
from loom.targets.llvm.access.again import ReadAgain
from loom.targets.llvm.access.lane_rows import LaneRows
from loom.targets.llvm.gpu.families import family_of
from loom.targets.llvm.values.arithmetic import suffix
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.types import I32, I64, memory_type, size_of

__all__ = ["AtomicAccess", "counts_bytes"]

_RMW = {"atomic_add": "add", "atomic_and": "and", "atomic_or": "or", "atomic_xor": "xor", "atomic_exchange": "xchg"}
_FROM_ZERO = ("atomic_add", "atomic_or", "atomic_xor")
"""Operations that may begin with zeros elsewhere and be applied later."""
_TABLE_NBYTES = 1 << 15
_LANES_A_CELL = 4
"""How many lanes a call must have for each element of a table, which it clears and hands over."""


def counts_bytes(kernel: Kernel) -> bool:
    """True if a kernel reads bytes alone and counts them in shared memory: vectors are cheap, lines of cache dear."""
    steps = [(s.op, s.memory) for s in walk(kernel.body) if isinstance(s, Instr) and s.memory is not None]
    read = [memory for op, memory in steps if op.name == "load" and memory.space is Space.BUFFER]
    counted = any(op.effect is Effect.ATOMIC and memory.space is Space.SHARED for op, memory in steps)
    return counted and bool(read) and all(memory.dtype.bits == 8 for memory in read)


@dataclass(frozen=True, slots=True)
class _Table:
    """A buffer's elements as this call changes them, if ``used`` (an i1) holds; a cell more for lanes that rest."""

    base: Any
    used: Any
    operation: str


class AtomicAccess:
    """Atomics of one function, under the state's current mask; ``rows`` are its loads."""

    def __init__(self, rows: LaneRows) -> None:
        self.s = rows.s
        self.b = rows.b
        self.v = rows.v
        self.indexes = rows.indexes
        self.elements = rows.elements
        self.again = ReadAgain(rows)
        self.tables: dict[Memory, _Table] = {}

    # tables of a call's own

    def open_tables(self, begin: Any, end: Any) -> None:
        """Decide at the start of a call over groups ``begin`` to ``end`` which buffers it adds to by itself."""
        for memory, operation in self.only_added_to():
            element = memory_type(memory.dtype)
            most = _TABLE_NBYTES // size_of(element)
            base = self.s.stack(element, most + 1, f"{memory.name}.own")
            base.align = 64
            length = self.s.arrays[memory].length
            lanes = self.b.mul(self.b.sub(end, begin), I64(self.s.kernel.lanes))
            worth = self.b.icmp_unsigned(">=", lanes, self.b.mul(length, I64(_LANES_A_CELL)))
            used = self.b.and_(self.b.icmp_unsigned("<=", length, I64(most)), worth)
            with self.s.branch(used, "table"):
                self.s.clear(base, self.b.mul(length, I64(size_of(element))))
            self.tables[memory] = _Table(base, used, operation)

    def only_added_to(self) -> Iterator[tuple[Memory, str]]:
        """Yield the buffers that a kernel changes by one kind of atomic and does nothing else with."""
        uses: dict[Memory, set[str]] = {}
        for s in walk(self.s.kernel.body):
            if isinstance(s, Instr) and s.memory is not None and s.op.name != "length":
                plain = s.op.effect is not Effect.ATOMIC or s in self.s.used
                uses.setdefault(s.memory, set()).add("" if plain else s.op.name)
        for memory, names in uses.items():
            if memory.space is Space.BUFFER and len(names) == 1 and names <= set(_FROM_ZERO):
                yield memory, next(iter(names))

    def close_tables(self) -> None:
        """Hand over what the tables hold, at the end of a call."""
        for memory, table in self.tables.items():
            with self.s.branch(table.used, "hand.over"):
                self.hand_over(memory, table)

    def hand_over(self, memory: Memory, table: _Table) -> None:
        b, element, before = self.b, memory_type(memory.dtype), self.b.block
        turn, on, after = (self.s.block(n) for n in ("cell", "cell.on", "cells.done"))
        length = self.s.arrays[memory].length
        b.cbranch(b.icmp_unsigned(">", length, I64(0)), turn, after)
        b.position_at_end(turn)
        at = b.phi(I64)
        at.add_incoming(I64(0), before)
        value = b.load(b.gep(table.base, [at], source_etype=element), typ=element)
        with self.s.branch(b.icmp_unsigned("!=", value, element(0)), "changed"):
            b.atomic_rmw(_RMW[table.operation], self.elements.address(memory, at), value, "monotonic")
        b.branch(on)
        b.position_at_end(on)
        following = b.add(at, I64(1))
        at.add_incoming(following, on)
        b.cbranch(b.icmp_unsigned("<", following, length), turn, after)
        b.position_at_end(after)

    # lanes one after the other

    def emit(self, instr: Instr, memory: Memory, index: Lanes, values: list[Lanes]) -> Lanes:
        """Emit an atomic for each running lane, lowest first; gives the old values."""
        unused = instr not in self.s.used
        if index.stride == 0 and unused and self.reducible(instr):
            self.s.note("atomic once", instr)
            self.once(instr, memory, index, values[0])
            return self.zeros(memory)
        wide = self.indexes.spread(index, instr)
        spread = [self.v.spread(v) for v in values]
        mask = self.indexes.active(instr, memory, wide) if self.indexes.checked else self.s.mask
        table = self.tables.get(memory)
        self.s.note("atomic own" if self.is_own(memory) else "atomic table" if table else "atomic locked", instr)
        if self.is_own(memory):
            base = self.s.arrays[memory].base
            return self.plain(instr, memory, base, (memory.size or 0), wide, spread, mask)
        if table is None:
            return self.run_in_turn(instr, memory, wide, spread, mask)
        most = _TABLE_NBYTES // size_of(memory_type(memory.dtype))
        self.s.ways(
            ("atomic.own", "atomic.shared", "atomic.end"),
            table.used,
            lambda: self.plain(instr, memory, table.base, most, wide, spread, mask),
            lambda: self.run_in_turn(instr, memory, wide, spread, mask),
        )
        return self.zeros(memory)

    def zeros(self, memory: Memory) -> Lanes:
        """Return old values that nobody asks for."""
        return self.lanes(self.v.splat(self.zero(memory)))

    def lanes(self, value: Any) -> Lanes:
        return Lanes(value, None if self.s.width > 1 else 0)

    def is_own(self, memory: Memory) -> bool:
        """True if no other thread sees the memory, and it has a cell to spare for lanes that rest."""
        return memory.space is Space.SHARED and not self.s.machine.threads

    def plain(
        self, instr: Instr, memory: Memory, base: Any, spare: int, wide: Any, values: list[Any], mask: Any
    ) -> Lanes:
        """Write out the lanes of a vector; those that rest have the cell behind the array, number ``spare``."""
        condition = self.again.condition(instr, mask)
        if condition is None:
            return self.cut_out(instr, memory, base, spare, wide, values, mask)
        self.s.ways(
            ("atomic.again", "atomic.apart", "atomic.end"),
            condition,
            lambda: self.read_again(instr, memory, base, spare, wide, values),
            lambda: self.cut_out(instr, memory, base, spare, wide, values, mask),
        )
        return self.zeros(memory)

    def read_again(self, instr: Instr, memory: Memory, base: Any, spare: int, wide: Any, values: list[Any]) -> None:
        """Write out the lanes of a vector, what came from memory read once more."""
        index, *others = instr.args
        numbers = [] if self.again.source(index) else self.numbers(wide, spare)
        at = self.again.reader(index, numbers.__getitem__)
        extend = self.b.sext if index.type.is_signed else self.b.zext
        readers = [self.again.reader(a, partial(self.lane_of, x)) for a, x in zip(others, values, strict=True)]
        for lane in range(self.s.width):
            number = at(lane)
            number = number if number.type == I64 else extend(number, I64)
            pointer = self.b.gep(base, [number], source_etype=memory_type(memory.dtype))
            self.plain_atomic(instr, memory, pointer, [read(lane) for read in readers])

    def lane_of(self, vector: Any, lane: int) -> Any:
        return self.b.extract_element(vector, I32(lane))

    def cut_out(
        self, instr: Instr, memory: Memory, base: Any, spare: int, wide: Any, values: list[Any], mask: Any
    ) -> Lanes:
        """Write out the lanes of a vector, cut out of its registers."""
        element = memory_type(memory.dtype)
        if mask is not None:
            nowhere = self.v.splat(I64(spare))
            wide = self.b.select(mask, wide, nowhere)
        indexes = self.numbers(wide, spare)
        old: Any = ll.Constant(self.v.of(element), None)
        for lane in range(self.s.width):
            pick = [x if self.s.width == 1 else self.b.extract_element(x, I32(lane)) for x in values]
            pointer = self.b.gep(base, [indexes[lane]], source_etype=element)
            found = self.plain_atomic(instr, memory, pointer, pick)
            if instr in self.s.used:
                old = found if self.s.width == 1 else self.b.insert_element(old, found, I32(lane))
        if mask is not None and instr in self.s.used:
            old = self.b.select(mask, old, ll.Constant(self.v.of(element), None))
        return self.lanes(old)

    def numbers(self, wide: Any, most: int) -> list[Any]:
        """Return each lane's number, at most ``most``: several leave the vector in one word, then are cut out of it."""
        if self.s.width == 1:
            return [wide]
        bits = 16 if most < 1 << 16 else 32
        each = 64 // bits
        narrow = self.b.trunc(wide, ll.VectorType(ll.IntType(bits), self.s.width))
        if self.s.width % each:
            return [self.b.zext(self.b.extract_element(narrow, I32(n)), I64) for n in range(self.s.width)]
        words = self.b.bitcast(narrow, ll.VectorType(I64, self.s.width // each))
        found: list[Any] = []
        for n in range(self.s.width // each):
            word = self.b.extract_element(words, I32(n))
            for part in range(each):
                found.append(self.b.and_(self.b.lshr(word, I64(bits * part)), I64((1 << bits) - 1)))
        return found

    def run_in_turn(self, instr: Instr, memory: Memory, wide: Any, values: list[Any], mask: Any) -> Lanes:
        """Take the lanes that run in turn, one atomic of the machine each."""
        asked, kind = instr in self.s.used, self.v.of(memory_type(memory.dtype))
        old = self.s.stack(kind, name="old")
        self.b.store(self.v.splat(self.zero(memory)), old)
        with self.s.lanes_of(mask, "atomic") as lane:
            pick = [x if self.s.width == 1 else self.b.extract_element(x, lane) for x in (wide, *values)]
            result = self.one_atomic(instr, memory, self.elements.address(memory, pick[0]), pick[1:])
            if asked:
                if self.s.width > 1:
                    result = self.b.insert_element(self.b.load(old, typ=kind), result, lane)
                self.b.store(result, old)
        return self.lanes(self.b.load(old, typ=kind))

    def zero(self, memory: Memory) -> Any:
        return memory_type(memory.dtype)(0)

    def reducible(self, instr: Instr) -> bool:
        """True if the lanes' operands can be combined first: nobody asks for the old values."""
        return self.s.width > 1 and instr.op.name in ("atomic_add", "atomic_and", "atomic_or", "atomic_xor")

    def once(self, instr: Instr, memory: Memory, index: Lanes, value: Lanes) -> None:
        """Combine the lanes' operands in registers (exact for integers) and do one atomic."""
        operation = _RMW[instr.op.name]
        neutral = self.v.splat(memory_type(memory.dtype)(-1 if operation == "and" else 0))
        spread = self.v.spread(value)
        if self.s.mask is not None:
            spread = self.b.select(self.s.mask, spread, neutral)
        name = f"llvm.vector.reduce.{operation}.{suffix(spread.type)}"
        fold = self.s.arithmetic.declare(name, memory_type(memory.dtype), [spread.type])
        total = self.b.call(fold, [spread])
        wide = self.indexes.wide(index, instr).value
        if not self.indexes.checked:
            self.one_atomic(instr, memory, self.elements.address(memory, wide), [total])
            return
        with self.s.branch(self.indexes.check(instr, memory, wide), "atomic"):
            self.one_atomic(instr, memory, self.elements.address(memory, wide), [total])

    def one_atomic(self, instr: Instr, memory: Memory, pointer: Any, values: list[Any]) -> Any:
        """Emit one scalar atomic; on a CPU, shared memory belongs to one thread and needs none."""
        name = instr.op.name
        if memory.space is Space.SHARED and not self.s.machine.threads:
            return self.plain_atomic(instr, memory, pointer, values)
        if name == "atomic_compare_exchange":
            pair = self.b.cmpxchg(pointer, values[0], values[1], "monotonic", "monotonic")
            return self.b.extract_value(pair, 0)
        family = family_of(self.s.machine)
        if family is not None and self.only_reads(instr, memory):
            found = family.atomic_read(self.s, pointer, memory_type(memory.dtype))
            if found is not None:
                return found
        return self.b.atomic_rmw(self.rmw_name(instr, memory), pointer, values[0], "monotonic")

    def only_reads(self, instr: Instr, memory: Memory) -> bool:
        """True for an atomic of a buffer that leaves what it finds, as adding nothing does, and is asked what."""
        value = instr.args[-1]
        nothing = instr.op.name in _FROM_ZERO and value.op.name == "const" and value.attr == 0
        return nothing and memory.space is Space.BUFFER and instr in self.s.used

    def rmw_name(self, instr: Instr, memory: Memory) -> str:
        if instr.op.name in _RMW:
            return _RMW[instr.op.name]
        return ("" if memory.dtype.is_signed else "u") + instr.op.name.removeprefix("atomic_")

    def plain_atomic(self, instr: Instr, memory: Memory, pointer: Any, values: list[Any]) -> Any:
        name, value = instr.op.name, values[-1]
        old = self.b.load(pointer, align=self.elements.align(memory), typ=memory_type(memory.dtype))
        compare = self.b.icmp_signed if memory.dtype.is_signed else self.b.icmp_unsigned
        if name == "atomic_compare_exchange":
            new = self.b.select(self.b.icmp_unsigned("==", old, values[0]), value, old)
        elif name in ("atomic_min", "atomic_max"):
            new = self.b.select(compare("<" if name == "atomic_min" else ">", value, old), value, old)
        elif name == "atomic_exchange":
            new = value
        else:
            method = {"add": "add", "and": "and_", "or": "or_", "xor": "xor"}[_RMW[name]]
            new = getattr(self.b, method)(old, value)
        self.b.store(new, pointer, align=self.elements.align(memory))
        return old
