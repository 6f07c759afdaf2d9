"""Tells, where the host checks, of unsigned differences that go below zero and are then taken for numbers.

Layer: ir. A difference that wraps is a number like any other to what mixes bits; compared, clamped, converted, divided
or used as an index it is almost surely a mistake. Of an expression's parts that are computed whether needed or not, as
the right side of ``and``, only what is needed tells. Invariant: what is added tells and changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from loom.core.dtype import DType, bool_, u32
from loom.ir.constants import constant_bits
from loom.ir.faults import DIFFERENCE
from loom.ir.kernel import Block, Instr, Kernel, Statement, Variable, operands, walk, with_blocks
from loom.ir.ops import OPS
from loom.ir.uses import number_uses

__all__ = ["tell_differences"]


def tell_differences(kernel: Kernel) -> Kernel:
    """Return a kernel that tells of its ``differences`` that wrap; itself if it has none to tell of."""
    if kernel.trusted or not kernel.differences:
        return kernel
    telling = _Telling(kernel)
    variables = (*kernel.variables, *(v for pair in telling.shadows.values() for v in pair))
    return replace(kernel, body=telling.block(kernel.body), variables=variables)


class _Telling:
    """``pairs`` has what each watched value is the difference of; a variable that holds one is followed by two more."""

    def __init__(self, kernel: Kernel) -> None:
        self.watched = {v for v in kernel.differences if v.name == "sub" and v.type.bits <= 32}
        self.pairs: dict[Instr, tuple[Instr, Instr]] = {}
        self.users: dict[Instr, list[Statement]] = {}
        body = list(walk(kernel.body))
        for s in body:
            for value in operands(s):
                self.users.setdefault(value, []).append(s)
        held = {s.attr for s in body if isinstance(s, Instr) and s.name == "set" and s.args[0] in self.watched}
        read = {value.attr for s in body for value, _ in number_uses(s) if value.name == "get"}
        self.shadows = {
            v: (Variable(f"{v.name}.a", u32), Variable(f"{v.name}.b", u32))
            for v in kernel.variables
            if v in held & read
        }

    def block(self, block: Block) -> Block:
        """Return a block with what tells of its statements, each behind what decides whether it is needed."""
        later: dict[Statement, list[tuple[Instr, str, list[tuple[Instr, bool]], Statement]]] = {}
        out: list[Statement] = []
        here = set(block.statements)
        for s in block.statements:
            for value, how in number_uses(s):
                if value in self.watched or value in self.pairs:
                    conditions, behind = self.needs(s)
                    later.setdefault(behind if behind in here else s, []).append((value, how, conditions, s))
            extra = [step for each in later.pop(s, []) for step in self.report(*each)]
            before = not isinstance(s, Instr) or s.dtype is None or s.memory is not None
            told = with_blocks(s, self.block)
            out += [*extra, told] if before else [told, *extra]
            if isinstance(s, Instr) and s.attr in self.shadows:
                out += self.follow(s)
        return Block(out)

    def follow(self, s: Instr) -> list[Statement]:
        """Return what keeps, or gets, what the difference in a variable is of: 0 and 0 if it holds none."""
        steps: list[Statement] = []
        shadows = self.shadows[s.attr]
        if s.name == "get":
            a, b = (_step(steps, s, "get", v.dtype, attr=v) for v in shadows)
            self.pairs[s] = a, b
            return steps
        value = s.args[0]
        pair = self.operands(steps, value) if value in self.watched else (_const(steps, s, 0), _const(steps, s, 0))
        for held, variable in zip(pair, shadows, strict=True):
            _step(steps, s, "set", None, held, attr=variable)
        return steps

    def operands(self, steps: list[Statement], value: Instr) -> tuple[Instr, Instr]:
        """Return what a value is the difference of, in 32 bits."""
        given = self.pairs.get(value, value.args)
        a, b = (x if x.dtype == u32 else _step(steps, value, "convert", u32, x) for x in given)
        return a, b

    def needs(self, s: Statement) -> tuple[list[tuple[Instr, bool]], Statement]:
        """Return the conditions, each with what it must be, under which what is computed has an effect.

        Also the last operation that this was read off.
        """
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

    def report(self, value: Instr, how: str, conditions: list[tuple[Instr, bool]], s: Statement) -> list[Statement]:
        """Return what tells of a difference that wraps while the conditions hold: its operands are sent."""
        steps: list[Statement] = []
        a, b = self.operands(steps, value)
        wraps = _step(steps, s, "lt", bool_, a, b)
        for condition, holds in conditions:
            needed = condition if holds else _step(steps, s, "not", bool_, condition)
            wraps = _step(steps, s, "and", bool_, wraps, needed)
        below = _step(steps, s, "select", u32, wraps, b, _const(steps, s, 0))
        above = _step(steps, s, "select", u32, wraps, a, _const(steps, s, 1))
        _step(steps, s, "within", None, below, above, attr=(DIFFERENCE, how))
        return steps


def _step(
    steps: list[Statement], s: Statement, name: str, dtype: DType | None, *args: Instr, attr: object = None
) -> Instr:
    """Append an operation at the line of ``s``."""
    step = Instr(OPS[name], dtype, args, attr, None, s.loc)
    steps.append(step)
    return step


def _const(steps: list[Statement], s: Statement, number: int) -> Instr:
    return _step(steps, s, "const", u32, attr=constant_bits(number, u32))
