"""Random kernels over axes, records and tables, written as Python: every device gives the interpreter's bits.

Oracle: the interpreter; and no index that a program guards is told to lie outside.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom

SEEDS = 12
HEAD = """
import math
import numpy as np
import loom
from loom import In, InOut, Out, f32, i32, u8, u32, u64


@loom.struct
class Inner:
    k: i32
    w: loom.f32x2


@loom.struct
class Item:
    a: f32
    b: u8
    inner: Inner
    n: u32 = 3

    def grown(self, by: f32):
        return Item(self.a + by, self.b, self.inner, self.n + u32(1))

    def total(self):
        return self.a + f32(self.inner.k) + self.inner.w.x * self.inner.w.y


def merged(p, q, c):
    if c:
        return Item(p.a, q.b, p.inner, q.n)
    return q.grown(0.5)


SMALL = (3, 1, 4, 1, 5)
LARGE = np.arange(37, dtype=np.float32) * 0.25 - 4
GRID = np.arange(30, dtype=np.int32).reshape(2, 3, 5) - 7
FLOATS = [0.5, -1.5, 2.25]
"""


class Writer:
    """Writes statements of a kernel whose locals are ``i``, ``j`` (u32), ``f`` (f32), ``k`` (i32), ``q`` (Item)."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.lines: list[str] = []

    def index(self) -> str:
        return self.r.choice(["i", "j", "(i + j)", "(j * 3 + 1)", "u32(k & 15)", "q.n", "u32(q.b)", "7"])

    def whole(self) -> str:
        n = self.index()
        return self.r.choice([
            "k", "q.inner.k", f"SMALL[{n} % 5]", f"GRID[{n} % 2, {self.index()} % 3, 2]", f"GRID[1, {n} % 3][{n} % 5]",
            f"(k, 7, q.inner.k)[{n} % 3]", f"i32(cells[{n} % rows, {self.index()} % columns])", "min(k, 9, i32(i))",
            "sum((k, 1, i32(j)))", "i32(items[j % 3, i % 4].n)", "k ** 2",
        ])  # fmt: skip

    def real(self) -> str:
        n = self.index()
        return self.r.choice([
            "f", "q.a", "q.inner.w.y", f"LARGE[{n} % 37]", f"FLOATS[{n} % 3]",
            f"x[{n} % rows, {self.index()} % columns]",
            "q.total()", f"x[{n} % rows][j % columns]", f"tile[{n} % 4, {self.index()} % 3]",
            f"math.floor(f) + {self.r.random()}",
            f"items[{n} % 3, 1].inner.w.x", "min(max(f, -8.0), 8.0)", f"(f, 2.0, q.a)[{n} % 3]", "f * f",
            "math.sqrt(abs(f))",
        ])  # fmt: skip

    def record(self) -> str:
        return self.r.choice([
            "q.grown(0.25)", f"items[{self.index()} % 3, {self.index()} % 4]",
            f"merged(q, items[0, i % 4], {self.test()})",
            f"Item({self.real()}, u8({self.r.randrange(9)}), q.inner)", f"mine[{self.index()} % 2]",
            f"Item({self.real()}, q.b, Inner({self.whole()}, loom.f32x2({self.real()}, 1.0)), n={self.r.randrange(5)})",
            f"q if {self.test()} else mine[0]",
        ])  # fmt: skip

    def test(self) -> str:
        return self.r.choice([
            f"{self.real()} > {self.real()}", f"{self.whole()} in (1, 4, 9)", f"k % 3 == {self.r.randrange(3)}",
            f"{self.index()} < rows and j != 2", f"any(({self.whole()} == 1, f < 2.0))", f"0 < {self.whole()} < 9",
        ])  # fmt: skip

    def statement(self, depth: int, indent: str) -> None:
        kind = self.r.randrange(12 if depth else 9)
        add = lambda text: self.lines.append(indent + text)  # noqa: E731
        if kind < 2:
            add(f"f {self.r.choice(['=', '+=', '-='])} {self.real()}")
        elif kind < 4:
            add(f"k {self.r.choice(['=', '+=', '^='])} {self.whole()}")
        elif kind == 4:
            add(f"q = {self.record()}")
        elif kind == 5:
            place = self.r.choice([("q.a", self.real()), ("q.inner.k", self.whole()), ("q.inner.w.y", self.real())])
            add(f"{place[0]} {self.r.choice(['=', '+='])} {place[1]}")
        elif kind == 6:
            add(f"mine[{self.index()} % 2] = {self.record()}")
        elif kind == 7:
            add(f"y[i, j] {self.r.choice(['=', '+='])} {self.real()}")
        elif kind == 8:
            add(self.r.choice([f"made[i, j] = {self.record()}", f"made[i, j].inner.k += {self.whole()}",
                               f"made[i, j].a = {self.real()}"]))  # fmt: skip
        elif kind == 9:
            add(f"if {self.test()}:")
            self.block(depth - 1, indent + "    ")
            if self.r.random() < 0.5:
                add("else:")
                self.block(depth - 1, indent + "    ")
        else:
            name = f"t{len(self.lines)}"
            add(f"for {name} in range({self.r.randrange(4)}):")
            self.block(depth - 1, indent + "    ")

    def block(self, depth: int, indent: str) -> None:
        for _ in range(self.r.randrange(1, 5)):
            self.statement(depth, indent)

    def text(self) -> str:
        self.lines = [
            "@loom.kernel(workgroup=(4, 3))",
            "def program(x: In[f32, 2], cells: In[u8, 2], items: In[Item, 2], y: InOut[f32, 2],",
            "            made: InOut[Item, 2], s: f32 = 0.5):",
            "    j, i = loom.global_id(0), loom.global_id(1)",
            "    rows, columns = x.shape",
            "    tile = loom.shared(f32, (4, 3))",
            "    mine = loom.private(Item, 2)",
            "    tile[loom.local_id(0), loom.local_id(1)] = f32(i) - f32(j) * s",
            "    loom.barrier()",
            "    f, k = s, i32(i) - i32(j)",
            "    q = items[i % 3, j % 4]",
            "    if i < y.shape[0] and j < y.shape[1]:",
        ]
        for _ in range(8):
            self.statement(2, "        ")
        self.lines += ["        y[i, j] += f + f32(k)", "        made[i, j].a += q.total()"]
        return HEAD + "\n\n" + "\n".join(self.lines) + "\n"


def program_of(seed: int, folder: Path) -> Any:
    path = folder / f"random_{seed}.py"
    path.write_text(Writer(seed).text())
    spec = importlib.util.spec_from_file_location(f"random_language_{seed}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def results(module: Any, on: str, seed: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers(1, 12, 2))
    x = rng.integers(-8, 8, (rows, columns)).astype(np.float32) / 4
    cells = rng.integers(0, 255, (rows, columns), np.uint8)
    items = np.zeros((3, 4), module.Item.numpy)
    items["a"], items["b"] = rng.integers(-9, 9, (3, 4)) / 2, rng.integers(0, 255, (3, 4))
    items["inner"]["k"], items["inner"]["w"] = rng.integers(-9, 9, (3, 4)), rng.integers(-3, 3, (3, 4, 2))
    items["n"] = rng.integers(0, 9, (3, 4))
    y, made = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), module.Item.numpy)
    chain = loom.Chain(on)
    chain.dispatch(module.program, [x, cells, items, y, made], {"s": 1.5}, (3, 4))
    chain.build().run()
    nan = np.isnan(y)
    y[nan] = np.nan
    words = made.view(np.uint32).reshape(-1, module.Item.numpy.itemsize // 4).copy()
    for column in (0, 3, 4):  # floats, whose NaNs are one
        values = words[:, column].view(np.float32)
        values[np.isnan(values)] = np.nan
    return [y.view(np.uint32), words]


@pytest.mark.parametrize("seed", [*range(SEEDS), *(pytest.param(s, marks=pytest.mark.slow) for s in range(SEEDS, 300))])
def test_devices_agree_on_random_programs(seed: int, on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = program_of(seed, tmp_path)
    expected = results(module, "interp", seed)
    if on == "interp":
        monkeypatch.setenv("LOOM_CHECK", "1")
    for found, wanted in zip(results(module, on, seed), expected, strict=True):
        assert (found == wanted).all()
