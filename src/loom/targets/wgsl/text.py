"""A WGSL module as it is written: declarations, what stands at the entry point's start, and its statements.

Layer: targets. Invariant: names are numbered in the order they are asked for, so that the same kernel gives the same
text.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from loom.core.dtype import DType

__all__ = ["Lines", "type_of", "word"]


def type_of(dtype: DType) -> str:
    """Return the type that values of a scalar are carried in."""
    if dtype.is_bool:
        return "bool"
    return "vec2<u32>" if dtype.bits == 64 else "u32"


def word(number: int) -> str:
    """Return a literal of 32 bits."""
    return f"{number}u" if number < 1 << 16 else f"{number:#x}u"


class Lines:
    """``declared`` stands before the entry point, ``early`` at its start, ``lines`` follow."""

    def __init__(self) -> None:
        self.declared: list[str] = []
        self.early: list[str] = []
        self.lines: list[str] = []
        self._depth = 1
        self._count = 0

    def name(self, letter: str) -> str:
        """Return a name that nothing else has."""
        self._count += 1
        return f"{letter}{self._count}"

    def emit(self, line: str) -> None:
        """Append a statement."""
        self.lines.append("  " * self._depth + line)

    def let(self, expression: str) -> str:
        """Name a value."""
        found = self.name("v")
        self.emit(f"let {found} = {expression};")
        return found

    def first(self, expression: str) -> str:
        """Name a value at the entry point's start, where every block knows it."""
        found = self.name("e")
        self.early.append(f"  let {found} = {expression};")
        return found

    def local(self, kind: str, initial: str | None = None) -> str:
        """Declare a variable at the entry point's start; it starts as zero."""
        found = self.name("x")
        self.early.append(f"  var {found}: {kind}" + (f" = {initial};" if initial is not None else ";"))
        return found

    @contextmanager
    def block(self, head: str, tail: str = "}") -> Generator[None, None, None]:
        """What is written inside the ``with`` stands in a block."""
        self.emit(head)
        self._depth += 1
        yield
        self._depth -= 1
        self.emit(tail)

    def when(self, condition: str) -> AbstractContextManager[None]:
        """Return a context for what happens under a condition."""
        return self.block(f"if ({condition}) {{")
