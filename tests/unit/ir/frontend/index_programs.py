"""Draws kernels that compute with lane numbers, lengths and scalars, and tells what Python makes of the same text.

The text of a kernel is run twice: translated, on a device, and as it is, by Python, whose integers go below zero and
never wrap. Differences of two plain u32 and numbers beyond 32 bits are not drawn: they are what they are told to be.
"""

from __future__ import annotations

import linecache
import random
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np

import loom

LANES, OUTPUTS = 24, 6
_NUMBER = count()
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


@dataclass
class Program:
    """A kernel as text; ``draw`` appends statements to it."""

    seed: int
    lines: list[str] = field(default_factory=list[str])
    names: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def text(self) -> str:
        head = [
            "def drawn(x: In[i32], grid: In[i32, 2], out: InOut[i32], n: u32, m: i32):",
            "    i = loom.global_id()",
            "    p = loom.local_id()",
            f"    if i < {LANES}:",
        ]
        return "\n".join([*head, *(f"        {line}" for line in self.lines)]) + "\n"

    def of(self, *given: Any) -> Any:
        return self.random.choice(given)

    # expressions: their text, and whether they are an index ("x"), a u32 ("u") or an i32 ("i")

    def leaf(self) -> tuple[str, str]:
        index = ("i", "p", "len(x)", "grid.shape[0]", "grid.shape[1]", "x.shape[0]", "loom.group_id()")
        return self.of(*[(each, "x") for each in index], ("i", "x"), ("i", "x"), ("n", "u"), ("m", "i"))

    def index(self, depth: int) -> str:
        """Return an expression that is surely an index."""
        for _ in range(20):
            text, kind = self.number(depth)
            if kind == "x":
                return text
        return "i"

    def number(self, depth: int) -> tuple[str, str]:
        """Return an expression of whole numbers."""
        if depth == 0:
            return self.leaf()
        way = self.random.randrange(13)
        if way < 4:
            return self.sum(depth)
        if way < 6:
            return self.quotient(depth)
        e = self.index(depth - 1)
        if way == 6:
            return f"{self.of('abs', '-', '~', 'int', '+')}({e})", "x"
        if way == 7:
            other, _ = self.of(self.number(depth - 1), (str(self.random.randint(-3, 5)), "c"))
            pair = (e, other) if self.random.random() < 0.5 else (other, e)
            return f"{self.of('min', 'max')}({', '.join(pair)})", "x"
        if way == 8:
            return f"({e} {self.of('& 7', '& -4', '^ 1', '| 3', '>> 1', '>> 2', '<< 2', '>> (p & 3)')})", "x"
        if way == 9:
            other, _ = self.number(depth - 1)
            return f"({e} if {self.condition(depth - 1)} else {other})", "x"
        if way == 10:
            return f"min(max({e}, 0), len(x) - 1)", "x"
        if way == 11:
            return self.of((f"i32({e})", "i"), (f"u32(abs({e}))", "u"), (f"loom.i32(f32({e}))", "i"))
        return f"x[min(max({e}, 0), len(x) - 1)]", "i"

    def sum(self, depth: int) -> tuple[str, str]:
        e, op = self.index(depth - 1), self.of("+", "-", "-")
        other = str(self.random.randint(-3, 6)) if self.random.random() < 0.4 else self.number(depth - 1)[0]
        if self.random.random() < 0.15:
            return f"({self.of('i', 'p', 'len(x)')} * {self.of('n', 'm', 'p', '-2', '3')})", "x"
        return (f"({e} {op} {other})" if self.random.random() < 0.7 else f"({other} {op} {e})"), "x"

    def quotient(self, depth: int) -> tuple[str, str]:
        e, op = self.index(depth - 1), self.of("//", "%")
        by = self.of("2", "3", "4", "7", "-2", "-3", "len(x)", "n", f"(abs({self.index(depth - 1)}) + 1)")
        if self.random.random() < 0.2:
            return f"divmod({e}, {by})[{self.of(0, 1)}]", "x"
        return f"({e} {op} {by})", "x"

    def condition(self, depth: int) -> str:
        e, other = self.index(depth), str(self.random.randint(-3, 9))
        if self.random.random() < 0.6:
            other = self.number(depth)[0]
        if self.random.random() < 0.2:
            return f"({self.random.randint(-2, 3)} <= {e} < {other})"
        pair = (e, other) if self.random.random() < 0.7 else (other, e)
        joined = f"({pair[0]} {self.of(*_COMPARISONS)} {pair[1]})"
        if self.random.random() < 0.25:
            return f"({joined} {self.of('and', 'or')} {self.condition(0)})"
        return joined

    # statements

    def name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def draw(self) -> Program:
        for place in range(OUTPUTS):
            s = self.name()
            way = self.random.randrange(6)
            if way < 2:
                self.lines.append(f"{s} = {self.index(3)}")
            elif way == 2:
                self.lines += [
                    f"{s} = {self.of('0', 'i', 'len(x)', '-1')}",
                    f"if {self.condition(2)}:",
                    f"    {s} = {self.index(2)}",
                ]
                self.lines += [f"{s} {self.of('+=', '-=')} {self.index(1)}"]
            elif way == 3:
                j, step = self.name(), self.of(1, 2, 3)
                self.lines += [f"{s} = 0", f"{j} = {self.index(2)} & 31", f"{j} -= {self.of('i', '1', 'p')}"]
                self.lines += [
                    f"while {j} {self.of('>=', '>')} {self.of(0, -3)}:",
                    f"    {s} += {j} // 2 + {self.of('1', 'i', 'm')}",
                    f"    {j} -= {step}",
                ]
            elif way == 4:
                j, bounds = self.name(), self.bounds()
                self.lines += [
                    f"{s} = 0",
                    f"for {j} in range({bounds}):",
                    f"    {s} += {j} - {self.of('i', '3', 'm', 'len(x)')}",
                    f"    {s} += max({j} - 2, 0) + x[abs({j}) % len(x)]",
                ]
            else:
                self.lines += [
                    f"{s} = 0",
                    f"if {self.condition(2)}:",
                    f"    {s} = 1",
                    f"if {self.condition(2)}:",
                    f"    {s} += 2",
                ]
            self.lines.append(f"out[i * {OUTPUTS} + {place}] = i32({s})")
        return self

    def bounds(self) -> str:
        low, high = f"min({self.index(1)}, 9)", f"min({self.index(2)}, 20)"
        return self.of(
            f"{high}",
            f"{low} - 3, {low} + 2",
            f"-2, {high}",
            f"len(x) - 1, -1, {self.of(-1, -2)}",
            f"{high}, {low} - 4, -1",
            f"p, {high}, 2",
            "-3, 4",
            "4, -3, -2",
            "n",
            "len(x)",
        )

    # what it gives

    def kernel(self) -> Any:
        file = f"<index program {self.seed}.{next(_NUMBER)}>"
        linecache.cache[file] = (len(self.text), None, self.text.splitlines(keepends=True), file)
        scope: dict[str, Any] = {name: getattr(loom, name) for name in ("In", "InOut", "i32", "u32", "f32")}
        scope |= {"loom": loom, "__name__": "drawn"}
        exec(compile(self.text, file, "exec"), scope)
        return loom.kernel(workgroup=8)(scope["drawn"])

    def by_python(self, x: Any, shape: tuple[int, int], n: int, m: int) -> np.ndarray[Any, Any]:
        """Return what each lane stores, by Python's integers."""
        out: dict[int, int] = {}
        held = _Held(x.tolist())
        for lane in range(LANES):
            here = SimpleNamespace(
                global_id=lambda lane=lane: lane,
                local_id=lambda lane=lane: lane % 8,
                group_id=lambda lane=lane: lane // 8,
                i32=int,
            )
            scope: dict[str, Any] = {"loom": here, "i32": int, "u32": int, "f32": float}
            exec(compile(f"from __future__ import annotations\n{self.text}", "<python>", "exec"), scope)
            scope["drawn"](held, SimpleNamespace(shape=shape), out, n, m)
        return np.array([out[k] for k in range(LANES * OUTPUTS)], np.int64)


class _Held(list[int]):
    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self),)
