"""What a compiler may know of a value: which values of a kernel are hidden from drivers that make bad use of it.

Layer: targets. Mesa takes x * 0.0 for 0.0, x + 0.0 for x, and a choice between 1.0 and -0.0 for a bool made a float,
whatever the module forbids; NVIDIA's driver does the last, in some kernels and not in others, so that no probe is to be
trusted. It also takes counters in the test of a loop for numbers that do not wrap: ``while j < 2**32 - 3: j -= 2`` did
not end. Only what nobody can know is safe: what comes out of buffers, and what was hidden. Invariant: a value that is
called opaque depends on something read from a buffer or handed over with the dispatch.
"""

from __future__ import annotations

from loom.core.dtype import DType, u32, u64
from loom.ir.kernel import Block, Break, For, If, Instr, Kernel, Return, Space, While, assignments, walk

__all__ = ["Knowledge"]

_GIVEN = frozenset({"param", "length", "num_groups", "group_id", "global_id"})
_UNITS = {32: (0x3F800000, 0xBF800000), 64: (0x3FF0000000000000, 0xBFF0000000000000)}
"""The bits of 1.0 and -1.0, which every choice that is rewritten wrongly holds."""
_PASSING = frozenset({"neg", "abs", "not", "bitcast", "convert"})


class Knowledge:
    """Values are noted in their order, so that no chain of operands is ever followed far."""

    def __init__(self, kernel: Kernel) -> None:
        self._workgroup = kernel.workgroup
        self._opaque: dict[Instr, bool] = {}
        self._written: dict[Instr, bool] = {}
        self._exits = _exits(kernel.body)

    def note(self, s: Instr) -> None:
        """Look at a value, its operands looked at before."""
        self.is_opaque(s)
        self.is_written(s)

    def is_opaque(self, s: Instr) -> bool:
        """Tell whether no compiler can know a value."""
        found = self._opaque.get(s)
        if found is None:
            found = self._opaque[s] = self._find_opaque(s)
        return found

    def _find_opaque(self, s: Instr) -> bool:
        name = s.op.name
        if name == "load":
            return s.memory is not None and s.memory.space is Space.BUFFER
        if name in _GIVEN or name.startswith("atomic"):
            return True
        if name == "local_id":
            return self._workgroup[int(s.attr)] > 1
        if name in _PASSING:
            return self.is_opaque(s.args[0])
        if name in ("and", "or") and all(a.op.name == "bitcast" and a.args[0].type.is_float for a in s.args):
            return all(map(self.is_opaque, s.args))  # the smaller or larger of two zeros
        return s.dtype is not None and s.type.is_float and s.op.is_pure and any(map(self.is_opaque, s.args))

    def is_written(self, s: Instr) -> bool:
        """Tell whether a value is worked out from literals alone."""
        found = self._written.get(s)
        if found is None:
            pure = s.op.name == "const" or (s.op.is_pure and bool(s.args))
            found = self._written[s] = pure and all(map(self.is_written, s.args))
        return found

    def may_wrap(self, s: Instr) -> bool:
        """Tell whether an unsigned comparison decides if a loop goes on, so that a counter in it may wrap."""
        return s in self._exits

    def may_be_one(self, s: Instr) -> bool:
        """Tell whether a compiler may know that a value's bits are those of 1.0 or -1.0."""
        dtype: DType = s.type
        if dtype.bits not in _UNITS or dtype.is_bool or dtype.is_vector:
            return False
        if s.op.name == "const":
            return s.attr in _UNITS[dtype.bits]
        if s.op.name in ("bitcast", "convert") and dtype.is_float:
            return not self.is_opaque(s.args[0])
        return self.is_written(s)


def _exits(body: Block) -> frozenset[Instr]:
    """Return the unsigned comparisons that decide whether a loop goes on, through variables too."""
    waiting: list[Instr] = []
    stored = assignments(body)
    for each in walk(body):
        if isinstance(each, While):
            waiting.append(each.condition)
        if isinstance(each, (For, While)):
            waiting += [s.condition for s in walk(each.body) if isinstance(s, If) and _leaves(s)]
    found, seen = set[Instr](), set[Instr]()
    while waiting:
        each = waiting.pop()
        if each not in seen and each.type.is_bool:
            seen.add(each)
            waiting += [*each.args, *(stored.get(each.attr, ()) if each.name == "get" else ())]
            if each.name in ("lt", "le", "gt", "ge") and each.args[0].type in (u32, u64):
                found.add(each)
    return frozenset(found)


def _leaves(s: If) -> bool:
    return any(isinstance(each, (Break, Return)) for each in walk(s.then, s.otherwise))
