"""What a kernel takes the 32-bit words of a buffer for: f32, u32, i32, or nothing it tells.

Layer: flow. A buffer of words declared as integers whose loads are only ever read as f32 (what the builder of tier 3
makes) holds floats. Words that are merely copied say nothing. Invariant: types come from the kernel's operations
alone, never from data.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import field
from weakref import WeakKeyDictionary

from loom.core.dtype import DType, f32, i32, u32
from loom.core.late.dataclass import dataclass
from loom.ir.kernel import For, If, Instr, Memory, Statement, Variable, While, operands, walk
from loom.ir.verified import VerifiedKernel
from loom.runtime.plans.foreign import ForeignKernel

__all__ = ["buffer_types"]

Types = frozenset[DType]
_NOTHING: Types = frozenset()
_known: WeakKeyDictionary[VerifiedKernel, dict[Memory, Types]] = WeakKeyDictionary()


def buffer_types(kernel: VerifiedKernel) -> dict[Memory, Types]:
    """Return for each buffer the 32-bit types its words are taken for; none for SPIR-V of others, and for copies."""
    found = _known.get(kernel)
    if found is None:
        found = _known[kernel] = dict.fromkeys(kernel.kernel.buffers, _NOTHING)
        if not isinstance(kernel, ForeignKernel):
            found.update(_Flow.of(kernel).types(kernel.kernel.buffers))
    return found


@dataclass(slots=True)
class _Flow:
    """Who uses which value, and what variables are given."""

    accesses: list[Instr] = field(default_factory=list[Instr])
    users: defaultdict[Instr, list[tuple[Statement, int]]] = field(default_factory=lambda: defaultdict(list))
    gets: defaultdict[Variable, list[Instr]] = field(default_factory=lambda: defaultdict(list))
    sets: defaultdict[Variable, list[Instr]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, kernel: VerifiedKernel) -> _Flow:
        """Return that of a kernel."""
        flow = cls()
        for statement in walk(kernel.kernel.body):
            for position, value in enumerate(operands(statement)):
                flow.users[value].append((statement, position))
            if not isinstance(statement, Instr):
                continue
            if statement.memory is not None:
                flow.accesses.append(statement)
            elif statement.name == "get":
                flow.gets[statement.attr].append(statement)
            elif statement.name == "set":
                flow.sets[statement.attr].append(statement.args[0])
        return flow

    def types(self, buffers: tuple[Memory, ...]) -> dict[Memory, Types]:
        """Return the types each buffer is taken for."""
        return {m: self._types(m) if m.dtype.scalar in (u32, i32) else _types_of(m.dtype) for m in buffers}

    def _types(self, memory: Memory) -> Types:
        found: set[DType] = set()
        for access in self.accesses:
            if access.memory is not memory or access.name == "length":
                continue
            if access.name == "load":
                found |= self._uses(access, set())
            elif access.name == "store":
                found |= self._origins(access.args[-1], set())
            else:
                found |= _types_of(memory.dtype)
        return frozenset(found)

    def _uses(self, value: Instr, seen: set[Instr]) -> set[DType]:
        """Return the types that a value which may be any word is used as."""
        if value in seen:
            return set()
        seen.add(value)
        found: set[DType] = set()
        for user, position in self.users[value]:
            if isinstance(user, (For, If, While)) or not isinstance(user, Instr):
                found |= _types_of(value.type)
            elif user.name == "bitcast":
                found |= _types_of(user.type)
            elif user.name == "set":
                found.update(*(self._uses(got, seen) for got in self.gets[user.attr]))
            elif user.name == "select" and position:
                found |= self._uses(user, seen)
            elif user.name != "store" or position != len(user.args) - 1:
                found |= _types_of(value.type)
        return found

    def _origins(self, value: Instr, seen: set[Instr]) -> set[DType]:
        """Return the types of what a stored word was made of."""
        if value in seen or value.name == "load" or (value.name == "const" and not value.attr):
            return set()
        seen.add(value)
        if value.name == "bitcast":
            return set(_types_of(value.args[0].type))
        if value.name == "get":
            return set[DType]().union(*(self._origins(given, seen) for given in self.sets[value.attr]))
        if value.name == "select":
            return self._origins(value.args[1], seen) | self._origins(value.args[2], seen)
        return set(_types_of(value.type))


def _types_of(dtype: DType) -> Types:
    return frozenset((dtype.scalar,)) if dtype.scalar in (f32, u32, i32) else _NOTHING
