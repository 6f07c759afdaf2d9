"""Kernels drawn at random, exported to C and called as their header says."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from loom.core.dtype import lookup

INTEGERS = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]
FLOATS = ["f16", "bf16", "f32", "f64"]
C = {
    "bool": ctypes.c_uint8, "i8": ctypes.c_int8, "u8": ctypes.c_uint8, "i16": ctypes.c_int16, "u16": ctypes.c_uint16,
    "i32": ctypes.c_int32, "u32": ctypes.c_uint32, "i64": ctypes.c_int64, "u64": ctypes.c_uint64,
    "f16": ctypes.c_uint16, "bf16": ctypes.c_uint16, "f32": ctypes.c_float, "f64": ctypes.c_double,
}  # fmt: skip
ODD = {
    "i8": [-128, 127, -1], "u8": [255, 0, 1], "i16": [-32768, 5], "u16": [65535, 1], "i32": [-(2**31), 2**31 - 1, 3],
    "u32": [2**32 - 1, 7], "i64": [-(2**63), 2**63 - 1, -5], "u64": [2**64 - 1, 2**63, 11],
    "f32": [0.1, -0.0, 1e-40, 3e38, 1.0 / 3.0], "f64": [0.1, 5e-324, 1e300, -2.5], "bool": [True, False],
}  # fmt: skip


def annotation(kind: str) -> str:
    return "loom.bool_" if kind == "bool" else f"loom.{kind}"


def computed(kind: str) -> str:
    """The type that elements of a buffer are computed in."""
    return "f32" if kind in ("f16", "bf16") else kind


@dataclass
class Drawn:
    """A kernel's text, its buffers (type, dimensions) and parameters (type)."""

    text: str
    buffers: list[tuple[str, int]]
    params: list[str]
    workgroup: tuple[int, ...]


def literal(r: Random, kind: str) -> str:
    if r.random() < 0.3:
        return f"{annotation(kind)}({r.choice(ODD[kind])!r})"
    if kind == "bool":
        return r.choice(["True", "False"])
    return repr(r.choice([0.5, -1.25, 3.0])) if kind[0] == "f" else repr(r.choice([1, 2, 3]))


def converted(text: str, have: str, want: str) -> str:
    if have == want:
        return text
    if want == "bool":
        return f"({text} > {'0.0' if have[0] == 'f' else '0'})"
    if have == "bool" and want[0] == "f":
        return f"{annotation(want)}(loom.i32({text}))"
    return f"{annotation(want)}({text})"


def expression(r: Random, kind: str, leaves: list[tuple[str, str]], depth: int) -> str:
    """An expression of a type over leaves (text, type)."""
    if depth == 0 or r.random() < 0.15:
        text, have = r.choice(leaves)
        return converted(text, have, kind)

    def inner(k: str = kind) -> str:
        return expression(r, k, leaves, depth - 1)

    if kind == "bool":
        other = r.choice(["f32", "i32", "u64", "f64", "i8", "bool"])
        if other == "bool":
            return f"({inner()} {r.choice(['and', 'or', '!='])} {inner()})"
        return f"({inner(other)} {r.choice(['<', '>=', '==', '!='])} {inner(other)})"
    return r.choices(
        [
            lambda: f"loom.select({inner('bool')}, {inner()}, {inner()})",
            lambda: f"{r.choice(['min', 'max'])}({inner()}, {inner()})",
            lambda: f"({inner()} {r.choice('+*-')} {literal(r, kind)})",
            lambda: converted(inner(other := r.choice(["f32", "f64", "i64", "u8", "i32"])), other, kind),
            lambda: operation(r, kind, inner),
        ],
        [3, 2, 3, 2, 10],
    )[0]()


def operation(r: Random, kind: str, inner: Callable[[], str]) -> str:
    """An operation of a type of numbers."""
    if kind[0] != "f":
        return f"({inner()} {r.choice(['+', '-', '*', '//', '%', '&', '|', '^', '<<', '>>'])} {inner()})"
    if r.random() < 0.25:
        return f"loom.{r.choice(['sqrt', 'exp', 'sin', 'floor', 'rint', 'log', 'tanh'])}({inner()})"
    return f"({inner()} {r.choice('+-*/')} {inner()})"


def assignment(r: Random, name: str, kind: str, dims: int, leaves: list[tuple[str, str]]) -> list[str]:
    """What writes the lane's element of a buffer, if there is one."""
    if dims == 1:
        return [f"if i < len({name}):", f"    {name}[i] = {expression(r, kind, [*leaves, (f'{name}[i]', kind)], 3)}"]
    sizes = [f"{name}.shape[{k}]" for k in range(dims)]
    place = f"i // {sizes[1]}, i % {sizes[1]}"
    if dims == 3:
        place = f"i // ({sizes[1]} * {sizes[2]}), i // {sizes[2]} % {sizes[1]}, i % {sizes[2]}"
    return [f"if i < {name}.size:", f"    {name}[{place}] = {expression(r, kind, leaves, 3)}"]


def draw(r: Random, name: str) -> Drawn:
    """Draw a kernel: buffers of several types and dimensions, parameters, tables, shared memory, atomics."""
    workgroup = r.choice([(1,), (8,), (64,), (8, 4), (4, 2, 3), (3, 5)])
    kinds = ["bool", *INTEGERS, *FLOATS]
    inputs = [(r.choice(kinds), r.choice([1, 1, 2, 3])) for _ in range(r.randint(0, 3))]
    outputs = [(r.choice(kinds), r.choice([1, 1, 2, 3])) for _ in range(r.randint(1, 2))]
    counts = r.choice(["u32", "i32", "u64", "i64"])
    params = [r.choice([k for k in kinds if k not in ("f16", "bf16")]) for _ in range(r.randint(0, 4))]
    heads, body, leaves = list[str](), list[str](), [("i", "u32")]
    for axis in range(len(workgroup)):
        body.append(f"i{axis} = loom.global_id({axis})")
    wide = [f"(loom.num_groups({n}) * {w})" for n, w in enumerate(workgroup)]
    flat = ["i0", "i1 * {0} + i0", "(i2 * {1} + i1) * {0} + i0"][len(workgroup) - 1]
    body.append(f"i = {flat.format(*wide)}")
    for n, (kind, dims) in enumerate(inputs):
        heads.append(f"x{n}: In[{annotation(kind)}{f', {dims}' if dims > 1 else ''}]")
        place = ["i", f"i // 5 % x{n}.shape[0], i % x{n}.shape[1]", "i % 2, i // 2 % 3, i % 5"][dims - 1]
        body.append(f"v{n} = x{n}[{place}]")
        leaves.append((f"v{n}", computed(kind)))
    for n, kind in enumerate(params):
        heads.append(f"p{n}: {annotation(kind)}")
        leaves.append((f"p{n}", kind))
    if r.random() < 0.4:
        body.append("t = loom.f64(TABLE[i % 11])")
        leaves.append(("t", "f64"))
    if r.random() < 0.5:
        count = int(np.prod(workgroup))
        local = ["loom.local_id(0)", "loom.local_id(1)", "loom.local_id(2)"][: len(workgroup)]
        lane = local[0] + "".join(f" + {a} * {int(np.prod(workgroup[: n + 1]))}" for n, a in enumerate(local[1:]))
        kind = r.choice(["f32", "u64", "u8", "f64", "i32"])
        body += [f"l = {lane}", f"s = loom.shared(loom.{kind}, {count})",
                 f"s[l] = {expression(r, kind, leaves, 2)}", "loom.barrier()", f"w = s[{count - 1} - l]"]  # fmt: skip
        leaves.append(("w", kind))
    if r.random() < 0.5:
        body += [f"q = {annotation('f32')}(0.0)", "for k in range(i % 7):",
                 f"    q = q * 0.5 + {expression(r, 'f32', leaves, 2)}"]  # fmt: skip
        leaves.append(("q", "f32"))
    for n, (kind, dims) in enumerate(outputs):
        heads.append(f"y{n}: InOut[{annotation(kind)}{f', {dims}' if dims > 1 else ''}]")
        body += assignment(r, f"y{n}", computed(kind), dims, leaves)
    atomic = r.random() < 0.6
    if atomic:
        heads.append(f"counts: InOut[loom.{counts}]")
        operation = r.choice(["add", "min", "max", "xor", "or"])
        body += [f"if i < {r.choice([7, 100, 1000])}:",
                 f"    loom.atomic_{operation}(counts, i32(i % 3), {expression(r, counts, leaves, 1)})"]  # fmt: skip
    r.shuffle(heads)
    order = {h.partition(":")[0]: n for n, h in enumerate(heads)}
    buffers = [(f"x{n}", b) for n, b in enumerate(inputs)] + [(f"y{n}", b) for n, b in enumerate(outputs)]
    buffers += [("counts", (counts, 1))] if atomic else []
    buffers.sort(key=lambda b: order[b[0]])
    given = sorted(range(len(params)), key=lambda n: order[f"p{n}"])
    size = workgroup[0] if len(workgroup) == 1 else workgroup
    lines = [f"@loom.kernel(workgroup={size})", f"def {name}({', '.join(heads)}):", *(f"    {line}" for line in body)]
    return Drawn("\n".join(lines) + "\n", [b for _, b in buffers], [params[n] for n in given], workgroup)


HEAD = """import loom
from loom import In, InOut, i32
TABLE = [0.5, -1.0, 1e-9, 3.0, 0.1, 7.0, 1e30, -0.0, 2.0, 0.25, 1.5]
"""


def load(drawn: Drawn, path: Path) -> Any:
    """Return the kernel, of a file that is written for it."""
    path.write_text(HEAD + drawn.text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, drawn.text.partition("def ")[2].partition("(")[0])


def values(g: Any, kind: str, shape: tuple[int, ...]) -> Any:
    """Array of a type: whole range, with the odd ones among them."""
    dtype = lookup(kind).numpy
    n = int(np.prod(shape))
    if kind == "bool":
        return g.integers(0, 2, shape).astype(dtype)
    if kind[0] in "iu":
        return np.frombuffer(g.bytes(max(n, 1) * dtype.itemsize), dtype)[:n].reshape(shape).copy()
    if kind == "bf16":
        return (values(g, "f32", shape).view(np.uint32) >> 16).astype(np.uint16).reshape(shape)
    found = np.array(g.standard_normal(shape) * 10.0 ** g.integers(-3, 4, shape), dtype)
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-40, 0.0]).astype(dtype)
    pick = g.random(shape) < 0.1
    found[pick] = g.choice(odd, int(pick.sum()))
    return found


def called(library: Any, drawn: Drawn, name: str, arrays: list[Any], params: list[Any], groups: list[int]) -> int:
    """Call the function as its header says: buffers and their lengths, parameters, groups."""
    arguments: list[Any] = []
    for array, (_, ndim) in zip(arrays, drawn.buffers, strict=True):
        arguments.append(ctypes.c_void_p(array.ctypes.data))
        arguments += [ctypes.c_size_t(n) for n in (array.shape if ndim > 1 else (array.size,))]
    arguments += [C[kind](value) for kind, value in zip(drawn.params, params, strict=True)]
    return getattr(library, f"{name}_run")(*arguments, *map(ctypes.c_uint32, groups))
