"""Tells, where the host checks, of unsigned differences that go below zero and are then taken for numbers.

Layer: ir. A difference that wraps is a number like any other to what mixes bits; compared, clamped, converted, divided
or used as an index it is almost surely a mistake. Of an expression's parts that are computed whether needed or not, as
the right side of ``and``, only what is needed tells. Invariant: what is added tells and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from loom.core.dtype import DType, bool_, u32
from loom.ir.constants import constant_bits
from loom.ir.faults import DIFFERENCE
from loom.ir.kernel import Block, For, If, Instr, Kernel, Statement, Variable, While, operands, walk
from loom.ir.ops import OPS, Effect

__all__ = ["tell_differences"]

_USES = {
    **dict.fromkeys(("lt", "le", "gt", "ge"), "compared"), **dict.fromkeys(("min", "max"), "clamped"),
    **dict.fromkeys(("idiv", "irem"), "divided"), "convert": "converted",
}  # fmt: skip


def tell_differences(kernel: Kernel) -> Kernel:
    """Return a kernel that tells of its ``differences`` that wrap; itself if it has none to tell of."""
    if kernel.trusted or not kernel.differences:
        return kernel
    return replace(kernel, body=_Telling(kernel).block(kernel.body))


class _Telling:
    def __init__(self, kernel: Kernel) -> None:
        self.watched = kernel.differences
        self.users: dict[Instr, list[Statement]] = {}
        self.read: dict[Variable, str] = {}
        """How what variables hold is used."""
        for s in walk(kernel.body):
            for value in operands(s):
                self.users.setdefault(value, []).append(s)
        for s in walk(kernel.body):
            for value, how in _used(s):
                if value.name == "get":
                    self.read.setdefault(value.attr, how)

    def block(self, block: Block) -> Block:
        """Return a block with what tells of its statements, each behind what decides whether it is needed."""
        later: dict[Statement, list[Statement]] = {}
        for s in block.statements:
            told = list(self.told(s))
            for value, how, conditions, behind in told:
                at = behind if behind in block.statements else s
                later.setdefault(at, []).extend(_told(value, how, conditions, s))
        out: list[Statement] = []
        for s in block.statements:
            extra = later.get(s, [])
            before = not isinstance(s, Instr) or s.dtype is None or s.memory is not None
            out += [*extra, self.inside(s)] if before else [self.inside(s), *extra]
        return Block(out)

    def inside(self, s: Statement) -> Statement:
        if isinstance(s, If):
            return If(s.condition, self.block(s.then), self.block(s.otherwise), s.loc)
        if isinstance(s, For):
            return For(s.index, s.start, s.stop, s.step, s.down, self.block(s.body), s.loc)
        if isinstance(s, While):
            return While(self.block(s.test), s.condition, self.block(s.body), s.loc)
        return s

    def told(self, s: Statement) -> Iterator[tuple[Instr, str, list[tuple[Instr, bool]], Statement]]:
        """Yield the differences that a statement uses: how, under which conditions, and behind what these are known."""
        used = list(_used(s))
        if isinstance(s, Instr) and s.name == "set" and s.attr in self.read:
            used.append((s.args[0], self.read[s.attr]))
        for value, how in used:
            if value in self.watched:
                conditions, behind = self.needed(s)
                yield value, how, conditions, behind

    def needed(self, s: Statement) -> tuple[list[tuple[Instr, bool]], Statement]:
        """Return the conditions, each with what it must be, under which what is computed has an effect."""
        found: list[tuple[Instr, bool]] = []
        while isinstance(s, Instr) and s.op.is_pure and len(self.users.get(s, [])) == 1:
            (user,) = self.users[s]
            if not isinstance(user, Instr) or user.name not in ("and", "or", "select", "not", "min", "max", "convert"):
                break
            if user.name in ("and", "or") and user.args[1] is s and user.dtype == bool_:
                found.append((user.args[0], user.name == "and"))
            elif user.name == "select" and user.args[0] is not s and user.args[0].dtype == bool_:
                found.append((user.args[0], user.args[1] is s))
            s = user
        return found, s


def _used(s: Statement) -> Iterator[tuple[Instr, str]]:
    """Yield the values that a statement takes for numbers, and how."""
    if not isinstance(s, Instr):
        return
    if s.memory is not None or s.name == "within":
        if s.args and (s.name in ("load", "store", "within") or s.op.effect is Effect.ATOMIC):
            yield s.args[0], "used as an index"
    elif s.name in _USES and not (s.name == "convert" and s.type.is_integer and s.type.bits <= s.args[0].type.bits):
        yield from ((value, _USES[s.name]) for value in s.args)


def _told(value: Instr, how: str, conditions: list[tuple[Instr, bool]], s: Statement) -> Iterator[Statement]:
    """Yield what tells of a difference that wraps while the conditions hold: its operands are sent."""

    def made(name: str, dtype: DType | None, *args: Instr, attr: object = None) -> Instr:
        steps.append(Instr(OPS[name], dtype, args, attr, None, s.loc))
        return steps[-1]

    steps: list[Instr] = []
    a, b = (x if x.dtype == u32 else made("convert", u32, x) for x in value.args)
    wraps = made("lt", bool_, a, b)
    for condition, holds in conditions:
        wraps = made("and", bool_, wraps, condition if holds else made("not", bool_, condition))
    zero, one = (made("const", u32, attr=constant_bits(n, u32)) for n in (0, 1))
    below, above = made("select", u32, wraps, b, zero), made("select", u32, wraps, a, one)
    made("within", None, below, above, attr=(DIFFERENCE, how))
    yield from steps
