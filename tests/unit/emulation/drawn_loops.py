"""Kernels drawn at random, in the public language: loops that gather, with all that may stand in and around them.

A lane writes its own elements alone, and atomics whose order does not show, so that what a kernel leaves is one thing.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.dtype import lookup

__all__ = ["CELLS", "LANES", "OWN", "Drawn", "draw", "loaded"]

Array = np.ndarray[Any, Any]
LANES, OWN, CELLS = 40, 3, 16
"""Lanes that compute, elements that each may write, cells for atomics."""
_SIGNED, _UNSIGNED = ["i8", "i16", "i32", "i64"], ["u8", "u16", "u32", "u64"]
_FLOATS = ["f16", "bf16", "f32", "f64"]
_ELEMENTS = [*_SIGNED, *_UNSIGNED, *_FLOATS, "f32", "f32", "bool_"]
_COUNTERS = ["i32", "i32", "u32", "u32", "i64", "u64", "i8", "u8", "i16", "u16"]
_HEAD = "import loom\nfrom loom import In, InOut, " + ", ".join([*_SIGNED, *_UNSIGNED, *_FLOATS, "bool_"]) + "\n\n\n"


@dataclass
class Drawn:
    """A kernel's text, what is bound to it (one array twice, if two are read), and whether every index is inside."""

    text: str
    buffers: list[Array]
    n: int
    groups: int
    tame: bool


@dataclass
class _Writer:
    """Writes a kernel over x, at (places), first and last (bounds), y (a lane's own), cells (of all lanes), n.

    Locals: ``i`` the lane, ``a`` of the type that elements are computed in, ``b`` u32, and counters of loops.
    """

    r: random.Random
    tame: bool
    kind: str
    place: str
    counter: str
    plain: bool
    lines: list[str] = field(default_factory=list[str])
    counters: list[str] = field(default_factory=list[str])
    memories: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def computed(self) -> str:
        return {"f16": "f32", "bf16": "f32", "bool_": "u32"}.get(self.kind, self.kind)

    def odds(self, chance: float) -> bool:
        return self.r.random() < chance

    def add(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    # expressions

    def inside(self, text: str, size: str) -> str:
        """An index, made to lie inside where all must; all places do in the first two."""
        if text.startswith("at[") and size.startswith("len"):
            return text
        if not self.tame and self.odds(0.7):
            return text
        return f"u32({text}) % {size}" if size.isdigit() or self.odds(0.1) else f"u32({text}) & 63"

    def whole(self, depth: int = 0) -> str:
        """An integer of any type."""
        if self.plain and self.counters and self.odds(0.8):
            return self.counters[-1] if depth else f"at[{self.inside(self.whole(1), 'len(at)')}]"
        options = ["b", "i", *self.counters[-2:], *self.counters[-1:]]
        if depth < 2:
            options += [f"at[{self.inside(self.whole(depth + 1), 'len(at)')}]"] * 4
            options += [f"(u32({self.whole(depth + 1)}) {self.r.choice(['+', '*', '^', '-'])} {self.r.choice('1357')})"]
        return self.r.choice(options)

    def gathered(self) -> str:
        """What was read from somewhere, as ``a`` is."""
        memories = [("x", self.kind)] * 4 + [("z", self.kind)] + self.memories
        name, kind = self.r.choice(memories)
        if name == "y":
            return f"{self.computed}(y[i + {LANES} * (u32({self.whole()}) % {OWN})])"
        size = {"x": "len(x)", "z": "len(z)", "mine": "5", "ours": "32"}[name]
        found = f"{name}[{self.inside(self.whole(), size)}]"
        return found if kind == self.computed else f"{self.computed}({found})"

    def test(self) -> str:
        return self.r.choice([
            f"u32({self.whole()}) % {self.r.choice('2357')} == {self.r.choice('01')}",
            f"{self.gathered()} {self.r.choice(['<', '>=', '!='])} a", f"b {self.r.choice(['<', '>'])} i",
        ])  # fmt: skip

    # statements

    def straight(self, depth: int) -> None:
        """One of those that a loop which is batched may have."""
        a = self.gathered()
        self.add(depth, self.r.choice([
            f"a += {a}", f"a += {a}", f"a = a * {self.computed}(3) - {a}", f"a = max(a, {a})",
            f"a = loom.select({a} > a, {a}, a)", f"a = {a}", f"b = u32({self.whole()})", f"b ^= u32({self.whole()})",
            f"a += {a} * {self.gathered()}",
        ]))  # fmt: skip

    def effect(self, depth: int) -> None:
        """One that others may see, or later turns."""
        index, options = self.whole(), ["y", "y", "atomic", "atomic"]
        options += ["mine"] * 2 * (("mine", self.computed) in self.memories)
        chosen = self.r.choice(options)
        if chosen == "y":
            value = "a != a" if self.kind == "bool_" else f"{self.computed}(a)"
            self.add(depth, f"y[i + {LANES} * (u32({index}) % {OWN})] = {value}")
        elif chosen == "mine":
            self.add(depth, f"mine[{self.inside(index, '5')}] = a")
        else:
            at, name = self.r.choice(list(enumerate(["add", "xor", "min", "max"])))
            value = f"u32({self.whole()})"
            self.add(depth, f"loom.atomic_{name}(cells, {4 * at} + u32({index}) % 4, {value})")

    def block(self, depth: int, loops: int, *, inside: bool) -> None:
        for _ in range(self.r.randint(1, 3)):
            drawn = self.r.random()
            if drawn < 0.5:
                self.straight(depth)
            elif drawn < 0.65:
                self.effect(depth)
            elif drawn < 0.8 and depth < 6:
                self.add(depth, f"if {self.test()}:")
                if inside and self.odds(0.5):
                    self.add(depth + 1, self.r.choice(["break", "continue"]))
                else:
                    self.block(depth + 1, loops, inside=inside)
                if self.odds(0.3):
                    self.add(depth, "else:")
                    self.block(depth + 1, loops, inside=inside)
            elif loops:
                self.loop(depth, loops - 1)
            else:
                self.straight(depth)

    def loop(self, depth: int, loops: int) -> None:
        name = f"j{len(self.lines)}"
        c, k = self.counter, self.r.choice([1, 2, 7, 16, 17, 31, 33, 50])
        own = "i" if self.tame or self.odds(0.8) else "i + 20"
        ways = [
            *[f"range(first[{own}], last[{own}])"] * 2, f"range(last[{own}] - {c}(17), last[{own}])", f"range({k})",
            f"range(n % {k})", f"range(i, {k})", f"range(i % 3, n, {self.r.choice([1, 2, 5])})", f"range({k}, 0, -1)",
            f"range(first[{own}], last[{own}], {self.r.choice([1, 3, 7])})", "while",
        ]  # fmt: skip
        header = self.r.choice(ways[:6] if self.plain and self.odds(0.8) else ways)
        if header == "while":
            self.add(depth, f"{name} = u32(0)")
            self.add(depth, f"while {name} < {k} and {self.test()}:")
            self.add(depth + 1, f"{name} += 1")
        else:
            self.add(depth, f"for {name} in {header}:")
        self.counters.append(name)
        if self.plain or self.odds(0.5):
            for _ in range(self.r.randint(1, 2)):
                self.straight(depth + 1)
        else:
            self.block(depth + 1, loops, inside=True)
        self.counters.pop()

    def written(self, workgroup: int, *, trusted: bool) -> str:
        kind, a = self.kind, self.computed
        self.lines = [
            f"@loom.kernel(workgroup={workgroup}{', trusted=True' * trusted})",
            f"def drawn(x: In[{kind}], z: In[{kind}], at: In[{self.place}], first: In[{self.counter}],",
            f"          last: In[{self.counter}], y: InOut[{kind}], cells: InOut[u32], n: u32):",
            "    i = loom.global_id()",
        ]
        if self.odds(0.3):
            self.add(1, f"ours = loom.shared({a}, 32)")
            self.add(1, f"for k in range(loom.local_id(), 32, {workgroup}):")
            self.add(2, f"ours[k] = {a}(x[{'k % len(x)' if self.tame else 'k'}])")
            self.add(1, "loom.barrier()")
            self.memories.append(("ours", a))
        if self.odds(0.4):
            self.add(1, f"mine = loom.private({a}, 5)")
            self.add(1, "for k in loom.static_range(5):")
            self.add(2, f"mine[k] = {a}(k + 1)")
            self.memories.append(("mine", a))
        if self.odds(0.5):
            self.memories.append(("y", kind))
        self.add(1, f"if i < {LANES}:")
        self.add(2, f"a = {a}({self.r.choice([0, 1, 2])})")
        self.add(2, "b = u32(i) * 3")
        for _ in range(self.r.randint(1, 2)):
            self.loop(2, self.r.randint(0, 2))
            if self.odds(0.3):
                self.block(2, 1, inside=False)
        self.add(2, f"y[i] = {'a > 7' if kind == 'bool_' else 'a'}")
        self.add(2, "loom.atomic_add(cells, 0, b)")
        return _HEAD + "\n".join(self.lines) + "\n"


def _elements(rng: np.random.Generator, kind: str, size: int) -> Array:
    """Elements of any size, small ones among them."""
    if kind == "bool_":
        return rng.integers(0, 2, size).astype(np.bool_)
    dtype = lookup(kind)
    if dtype.is_float:
        return (rng.standard_normal(size) * 2.0 ** rng.integers(-6, 6, size)).astype(dtype.numpy)
    drawn = rng.integers(0, 1 << 63, size, np.uint64) * np.uint64(2)
    drawn[: size // 2] %= np.uint64(100)
    return rng.permutation(drawn).astype(dtype.numpy)


def _bounds(rng: np.random.Generator, kind: str) -> tuple[Array, Array]:
    """Bounds of loops: of few turns, none, to the ends of the type."""
    dtype = lookup(kind)
    least, most = int(dtype.minimum), int(dtype.maximum)
    pairs: list[tuple[int, int]] = []
    for _ in range(LANES):
        turns = int(rng.choice([0, 1, 2, 15, 16, 17, 31, 32, 33, 40]))
        start = int(rng.choice([0, 0, 3, 9]))
        pairs.append([(start, start + turns), (most - turns, most), (least, least + turns), (most, least), (9, start)][
            int(rng.choice(5, p=[0.7, 0.1, 0.1, 0.05, 0.05]))
        ])  # fmt: skip
    first, last = (np.array(part, dtype.numpy) for part in zip(*pairs, strict=True))
    return first, last


def draw(seed: int) -> tuple[Drawn, str | None]:
    """Draw a kernel, and its text as one that is trusted if all its indexes are inside."""
    r, rng = random.Random(seed), np.random.default_rng(seed)
    tame = r.random() < 0.5
    place = r.choice([*_SIGNED, *_UNSIGNED, "u32", "i32"])
    given = tame, r.choice(_ELEMENTS), place, r.choice(_COUNTERS), r.random() < 0.6
    workgroup, kept = r.choice([8, 32, 64]), r.getstate()
    text = _Writer(r, *given).written(workgroup, trusted=False)
    r.setstate(kept)
    trusted = _Writer(r, *given).written(workgroup, trusted=True) if tame else None
    size, room = r.choice([64, 100] if tame else [1, 5, 64, 100]), r.choice([64, 200] if tame else [1, 40, 64, 200])
    at = _elements(rng, place, room)
    inside = at % at.dtype.type(min(size, 64))
    at = inside if tame else np.where(rng.random(room) < 0.8, inside, at)
    first, last = _bounds(rng, given[3])
    x, y = _elements(rng, given[1], size), _elements(rng, given[1], LANES * OWN)
    z = x if r.random() < 0.5 else _elements(rng, given[1], size)
    cells = rng.integers(0, 1 << 32, CELLS, np.uint32)
    buffers = [x, z, at, first, last, y, cells]
    drawn = Drawn(text, buffers, r.choice([0, 1, 16, 20, 50]), -(-LANES // workgroup), tame)
    return drawn, trusted


def loaded(text: str, name: str, folder: Path) -> Any:
    """Return the kernel of a text."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.drawn
