"""Emits loads and stores of records, ``x[i * 4 + k]`` for k from 0 to 3: moved as they lie, parted in registers.

Layer: targets. Lanes that each take every element of a record of their own want together what lies together. So it is
moved as it lies, and lanes and elements change places between memory and registers. Invariant: only elements that the
lanes ask for are touched, and nothing that may write them stands between the first and the last of a group.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.kernel import Instr, Memory, Space, Statement, walk_blocks
from loom.ir.ops import Effect
from loom.targets.llvm.access.gathers import Gathers
from loom.targets.llvm.values.lanes import Lanes
from loom.targets.llvm.values.types import I1, I64, memory_type

__all__ = ["RecordAccess"]

_SIZES = (2, 4, 8, 16)
_Key = tuple[Memory, str, DType, int]
"""The memory, load or store, the type of the index, the number of what it is computed from."""


@dataclass(slots=True)
class _Group:
    """Accesses of one kind to one record, in their order: each with its place in the record."""

    members: dict[Instr, int]
    size: int

    @property
    def first(self) -> Instr:
        return next(iter(self.members))

    @property
    def last(self) -> Instr:
        return next(reversed(self.members))


class RecordAccess:
    """Such groups of a kernel; ``gathers`` loads and stores what is not whole."""

    def __init__(self, gathers: Gathers) -> None:
        self.s = gathers.s
        self.b = gathers.b
        self.indexes = gathers.indexes
        self.elements = gathers.elements
        self.gathers = gathers
        self.group_of: dict[Instr, _Group] = {}
        self.known: dict[Hashable, int] = {}
        self.numbers: dict[Instr, int] = {}
        self.stored: dict[Instr, tuple[Lanes, Any]] = {}
        mostly = (s for s in self.s.shapes.likely.values() if s == 1)
        if self.s.width > 1 and not self.s.machine.threads and not any(mostly):  # those are written twice already
            self.look(self.s.kernel.body.statements)

    # finding them

    def look(self, statements: list[Statement]) -> None:
        open_groups: dict[_Key, dict[Instr, int]] = {}
        for s in statements:
            if isinstance(s, Instr) and s.op.effect is not Effect.SYNC:
                self.look_at(s, open_groups)
                continue
            self.take(open_groups)
            if not isinstance(s, Instr):
                for block in walk_blocks(s):
                    self.look(block.statements)
        self.take(open_groups)

    def look_at(self, s: Instr, groups: dict[_Key, dict[Instr, int]]) -> None:
        """Add an access to its group, or close the groups that it ends."""
        memory = s.memory
        if s.dtype is not None:
            self.number(s)
        if s.op.name in ("print", "assert", "within"):
            self.take(groups)
        if memory is None or s.op.effect is Effect.IDENTITY:
            return
        base, offset = self.parts(s.args[0])
        key = (memory, s.op.name, s.args[0].type, base)
        for other in [k for k in groups if k[0] is memory and k != key and not k[1] == s.op.name == "load"]:
            self.take(groups, other)
        stride = self.s.shapes.values.get(s.args[0], 0)
        fits = s.op.name in ("load", "store") and memory.space is Space.BUFFER and stride in _SIZES
        if not fits or memory.dtype.is_vector or memory.dtype.is_bool or memory.dtype.storage_only:
            return
        group = groups.setdefault(key, {})
        if offset in group.values() and s.op.name == "store":
            self.take(groups, key)
            group = groups.setdefault(key, {})
        group[s] = offset

    def parts(self, index: Instr) -> tuple[int, int]:
        """Return the number of what an index is computed from, and the constant added to it."""
        offset = 0
        while index.op.name in ("add", "sub") and index.args[1].op.name == "const":
            number = int(constant_value(index.args[1].attr, index.args[1].type))
            offset += number if index.op.name == "add" else -number
            index = index.args[0]
        return self.number(index), offset

    def number(self, value: Instr) -> int:
        """Return a number that values share which are computed alike."""
        if value not in self.numbers:
            key: Hashable = value
            if value.op.name == "const" or value.op.effect is Effect.IDENTITY or value.op.is_pure:
                key = (value.op.name, value.type, value.attr, value.memory, *(self.number(a) for a in value.args))
            self.numbers[value] = self.known.setdefault(key, len(self.known))
        return self.numbers[value]

    def take(self, groups: dict[_Key, dict[Instr, int]], one: _Key | None = None) -> None:
        """Close groups, all or ``one``; keep those that are whole records."""
        for key in [one] if one is not None else list(groups):
            members = groups.pop(key)
            size = self.s.shapes.values.get(next(iter(members)).args[0]) or 0
            low = min(members.values())
            if max(members.values()) - low + 1 != size or len(set(members.values())) < size:
                continue
            group = _Group({s: offset - low for s, offset in members.items()}, size)
            self.group_of |= dict.fromkeys(members, group)

    # emitting them

    def load(self, instr: Instr, memory: Memory, index: Lanes) -> Any:
        """Emit the loads of a group at its first; return this one's vector, or None for what is in no group."""
        group = self.group_of.get(instr)
        if group is None:
            return None
        if instr is not group.first:
            return self.s.values[instr].value
        low = self.b.sub(self.indexes.wide(index, instr).value, I64(group.members[instr]))

        def whole() -> list[Any]:
            rows = [self.row(memory, low, n) for n in range(group.size)]
            parts = self.apart([self.elements.read(memory, row, self.s.width) for row in rows])
            return [parts[place] for place in group.members.values()]

        ends = self.s.ways(
            ("record", "record.apart", "record.end"),
            self.is_whole(instr, memory, low, group.size),
            whole,
            lambda: [self.edge(s, memory, index, group) for s in group.members],
        )
        for n, s in enumerate(group.members):
            self.s.values[s] = Lanes(self.s.merge([(values[n], block) for values, block in ends]), None)
        return self.s.values[instr].value

    def edge(self, s: Instr, memory: Memory, index: Lanes, group: _Group) -> Any:
        """Load one element of each lane's record by itself."""
        delta = group.members[s] - group.members[group.first]
        moved = self.b.add(index.value, index.value.type(delta))
        return self.gathers.load(s, memory, self.indexes.spread(Lanes(moved, index.stride), s))

    def store(self, instr: Instr, memory: Memory, index: Lanes, value: Any) -> bool:
        """Keep a store of a group for its last, and emit them there; False for what is in no group."""
        group = self.group_of.get(instr)
        if group is None:
            return False
        self.stored[instr] = (index, value)
        if instr is not group.last:
            return True
        low = self.b.sub(self.indexes.wide(index, instr).value, I64(group.members[instr]))

        def whole() -> None:
            parts = {place: self.stored[s][1] for s, place in group.members.items()}
            for n, row in enumerate(self.together([parts[place] for place in range(group.size)])):
                self.elements.write(memory, row, self.row(memory, low, n))

        def each() -> None:
            for s in group.members:
                at, kept = self.stored[s]
                self.gathers.store(s, memory, self.indexes.spread(at, s), kept)

        holds = self.is_whole(instr, memory, low, group.size)
        self.s.ways(("record", "record.apart", "record.end"), holds, whole, each)
        return True

    def row(self, memory: Memory, low: Any, number: int) -> Any:
        """Return the address of the vector so many vectors behind the first record's first element."""
        place = self.b.add(low, I64(number * self.s.width))
        return self.b.gep(self.s.arrays[memory].base, [place], source_etype=memory_type(memory.dtype))

    def is_whole(self, instr: Instr, memory: Memory, low: Any, size: int) -> Any:
        """True if all lanes run, and all of their records, the first from ``low`` on, are inside and no index wraps."""
        span, dtype = size * self.s.width - 1, instr.args[0].type
        if dtype.maximum < span:
            return I1(0)
        result: Any = I1(1) if self.s.mask is None else self.s.vectors.all(self.s.mask)
        result = self.b.and_(result, self.b.icmp_unsigned("<=", low, I64(dtype.maximum - span)))
        if self.indexes.checked:
            limit = self.s.arithmetic.intrinsic("usub.sat", self.s.arrays[memory].length, I64(span))
            result = self.b.and_(result, self.b.icmp_unsigned("<", low, limit))
        return result

    def apart(self, rows: list[Any]) -> list[Any]:
        """Return, of vectors as they lie in memory, those of each element: evens and odds, again and again."""
        if len(rows) == 1:
            return rows
        pick = self.gathers.shorts.shuffle
        even, odd = (
            [pick(a, range(start, 2 * self.s.width, 2), b) for a, b in zip(rows[::2], rows[1::2], strict=True)]
            for start in (0, 1)
        )
        first, second = self.apart(even), self.apart(odd)
        return [part for pair in zip(first, second, strict=True) for part in pair]

    def together(self, parts: list[Any]) -> list[Any]:
        """Return the vectors as they lie in memory, of those of each element."""
        if len(parts) == 1:
            return parts
        width, pick = self.s.width, self.gathers.shorts.shuffle
        found: list[Any] = []
        for a, b in zip(self.together(parts[::2]), self.together(parts[1::2]), strict=True):
            for start in (0, width // 2):
                lanes = range(start, start + width // 2)
                found.append(pick(a, [lane + n * width for lane in lanes for n in (0, 1)], b))
        return found
