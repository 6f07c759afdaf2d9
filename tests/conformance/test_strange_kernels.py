"""Kernels as strangers write them: numbers on both sides, constants of the module, types mixed, jumps out of loops."""

from __future__ import annotations

import linecache
import random
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import DeviceError
from loom.core.numerics import canonical_bits

SIZE = 37
TYPES = {"i32": np.int32, "u32": np.uint32, "f32": np.float32, "i64": np.int64, "u8": np.uint8, "f64": np.float64}
NUMBERS = {
    "i32": ("0", "3", "(-1)", "THREE", "(7 // 2)", "2147483647", "(-2147483648)"),
    "u32": ("0", "3", "THREE", "(1 << 3)", "4294967295"),
    "i64": ("0", "(-5)", "THREE", "9223372036854775807", "(-9223372036854775808)"),
    "u8": ("0", "1", "THREE", "255"),
    "f32": ("0.0", "-0.0", "1", "0.5", "TENTH", "(1 / 3)", "INFINITE", "1e-40", "3.4e38", "-1.0"),
    "f64": ("0.0", "-0.0", "1", "TENTH", "INFINITE", "5e-324", "1e300", "-1.0"),
}
PRELUDE = """
import loom
from loom import In, InOut, Out, f32, f64, i32, i64, u8, u32
THREE, TENTH, INFINITE = 3, 0.1, float("inf")

def chosen(a, b):
    for n in range(3):
        if a < b:
            break
        a = a - b
    if a == b:
        return b
    return a
"""


class Writer:
    """Writes one kernel; what is random comes from ``draw``."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.types = [draw.choice(list(TYPES)) for _ in range(3)]

    def number(self, t: str) -> str:
        return self.draw.choice(NUMBERS[t])

    def value(self, t: str, depth: int) -> str:
        names = [f"x{n}[i]" for n, given in enumerate(self.types[:2]) if given == t]
        names += [f"v{n}" for n, given in enumerate(self.types) if given == t]
        kind = self.draw.randrange(9)
        if depth == 0 or kind == 0:
            return self.draw.choice(names) if names else f"{t}({self.number(t)})"
        if kind == 1:
            other = self.draw.choice([o for o in TYPES if o != t])
            return f"{t}({self.value(other, depth - 1)})"
        if kind == 2:
            return f"({self.value(t, depth - 1)} if {self.test(depth - 1)} else {self.number(t)})"
        if kind == 3:
            return f"chosen({self.value(t, depth - 1)}, {self.value(t, depth - 1)})"
        if kind == 4:
            return f"{self.draw.choice(['min', 'max'])}({self.value(t, depth - 1)}, {self.number(t)})"
        sides = [self.value(t, depth - 1), self.draw.choice([self.value(t, depth - 1), self.number(t)])]
        self.draw.shuffle(sides)
        of = "+-*/" if t[0] == "f" else ["+", "-", "*", "//", "%", "&", "|", "^", ">>"]
        operator = self.draw.choice(of)
        if operator == ">>":
            return f"({self.value(t, depth - 1)} >> 3)"
        return f"({sides[0]} {operator} {sides[1]})"

    def test(self, depth: int) -> str:
        t = self.draw.choice(list(TYPES))
        operator = self.draw.choice(["<", "<=", "==", "!=", ">"])
        return f"({self.value(t, depth)} {operator} {self.number(t)})"

    def kernel(self) -> str:
        a, b, c = self.types
        lines = [f"v{n} = {t}({self.number(t)})" for n, t in enumerate(self.types)]
        lines += [f"kept = loom.private({c}, 3)", "for n in range(i % 5):"]
        lines += [f"    v{n} = {self.value(t, 2)}" for n, t in enumerate(self.types)]
        lines += [f"    if {self.test(1)}:", f"        {self.draw.choice(['break', 'continue'])}"]
        lines += ["    m = 0", f"    while m < 4 and {self.test(1)}:", "        m += 1"]
        lines += [f"        kept[n % 3] = {self.value(c, 2)}", f"        if {self.test(1)}:", "            return"]
        lines += ["if i < len(y):", f"    y[i] = {self.value(c, 3)} + kept[1]"]
        body = "\n    ".join(["i = loom.global_id()", *lines])
        head = f"def k(x0: In[{a}], x1: In[{b}], y: InOut[{c}]):"
        return f"{PRELUDE}\n@loom.kernel(workgroup=8)\n{head}\n    {body}\n"


def loaded(text: str, seed: int) -> Any:
    file = f"<strange {seed}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    names: dict[str, Any] = {"__name__": "strange"}
    exec(compile(text, file, "exec"), names)
    return names["k"]


def data(t: str, draw: np.random.Generator) -> np.ndarray:
    kind = TYPES[t]
    if t[0] == "f":
        return np.resize(np.array([0, -0.0, 1, -2.5, np.inf, np.nan, 1e-40, 3e38], kind), SIZE)
    info = np.iinfo(kind)
    return draw.choice(np.array([0, 1, 7, info.max, info.min, info.max // 3], kind), SIZE)


@pytest.mark.needs("compiled")
def test_strange_kernels_have_the_bits_of_the_interpreter(on: str) -> None:
    for seed in range(8):
        writer = Writer(random.Random(seed))
        text = writer.kernel()
        made, found = loaded(text, seed), []
        for place in ("interp", on):
            buffers = [data(t, np.random.default_rng(seed)) for t in writer.types]
            chain = loom.Chain(place)
            try:
                chain.dispatch(made, buffers, groups=5)
                chain.build().run()
            except DeviceError:
                break  # the device lacks a type
            found.append(canonical_bits(buffers[2]))
        assert len(found) < 2 or np.array_equal(*found), text
