"""Rebuilds a kernel operation by operation; the base of the passes that replace operations by others.

Layer: ir. A subclass overrides ``instr`` and emits what stands for each operation. Invariant: statements
keep their order and structure; only operations change.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.constants import constant_bits
from loom.ir.kernel import Block, For, If, Instr, Kernel, Loc, Memory, Param, Statement, Variable, While
from loom.ir.ops import OPS
from loom.ir.rules import infer

__all__ = ["Rewriter"]


class Rewriter:
    """Walks a kernel and builds its replacement; ``values`` maps old values to new ones."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.values: dict[Instr, Any] = {}
        self.out: list[Statement] = []
        self.loc: Loc | None = None

    def block(self, block: Block) -> Block:
        """Return the rewritten block."""
        with self.inside() as inner:
            for statement in block.statements:
                self.statement(statement)
        return inner

    @contextmanager
    def inside(self) -> Generator[Block, None, None]:
        """Collect what is appended in a block of its own."""
        outer, self.out = self.out, []
        inner = Block(self.out)
        yield inner
        self.out = outer

    @contextmanager
    def counting(self, start: Instr, stop: int, step: int) -> Generator[Instr, None, None]:
        """Append a loop of what is appended inside, which is given the counter, a u32."""
        last, by, loc = self.const(stop, u32), self.const(step, u32), self.loc
        index = Instr(OPS["index"], u32, (), None, None, loc)
        with self.inside() as body:
            yield index
        self.out.append(For(index, start, last, by, False, body, loc))

    def statement(self, s: Statement) -> None:
        """Rewrite one statement into ``out``."""
        self.loc = s.loc
        if isinstance(s, Instr):
            result = self.instr(s)
            if s.dtype is not None:
                self.values[s] = result
        elif isinstance(s, If):
            self.out.append(If(self.value(s.condition), self.block(s.then), self.block(s.otherwise), s.loc))
        elif isinstance(s, For):
            self.for_(s)
        elif isinstance(s, While):
            test = self.block(s.test)
            self.out.append(While(test, self.value(s.condition), self.block(s.body), s.loc))
        else:
            self.out.append(s)

    def for_(self, s: For) -> None:
        """Rewrite a counted loop; its counter stays one value."""
        start, stop, step = self.value(s.start), self.value(s.stop), self.value(s.step)
        self.values[s.index] = s.index
        self.out.append(For(s.index, start, stop, step, s.down, self.block(s.body), s.loc))

    def instr(self, s: Instr) -> Any:
        """Return what stands for ``s``; by default the same operation on rewritten operands."""
        return self.copy(s)

    def value(self, old: Instr) -> Instr:
        """Return the one value that stands for ``old``."""
        return self.values[old]

    def copy(self, s: Instr, memory: Memory | None = None, attr: Any = None) -> Instr:
        """Append ``s`` with rewritten operands, and another memory or attribute if given."""
        args = tuple(self.value(a) for a in s.args)
        new = Instr(s.op, s.dtype, args, attr if attr is not None else s.attr, memory or s.memory, s.loc)
        self.out.append(new)
        return new

    def emit(
        self, name: str, *args: Instr, attr: Any = None, memory: Memory | None = None, dtype: DType | None = None
    ) -> Instr:
        """Append a new operation."""
        op = OPS[name]
        named = attr.dtype if isinstance(attr, (Param, Variable)) else dtype
        result = infer(op, [a.type for a in args], named, memory)
        new = Instr(op, result, args, attr, memory, self.loc)
        self.out.append(new)
        return new

    def const(self, value: float | int | bool, dtype: DType) -> Instr:
        """Append a constant."""
        return self.emit("const", attr=constant_bits(value, dtype), dtype=dtype)
