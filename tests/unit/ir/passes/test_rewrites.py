"""The passes leave the interpreter's bits as they were: random kernels, short vectors, every f16 and bf16."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from conformance.strategies import random_kernel
from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, i8, i16, i64, lookup, u8, u16, u32
from loom.core.numerics import canonical_bits
from loom.ir.builder import Builder
from loom.ir.interp import interpret
from loom.ir.kernel import Access, Continue, If, Instr, Kernel, Return, walk
from loom.ir.ops import OPS, Result
from loom.ir.passes.differences import tell_differences
from loom.ir.passes.escapes import fold_escapes
from loom.ir.passes.expand import expand_extremes, expand_halves, expand_rounding
from loom.ir.passes.scalarize import scalarize
from loom.ir.passes.words.narrow import expand_narrow
from loom.ir.text import parse_kernel, print_kernel
from loom.ir.verify import verify

Array = np.ndarray
PASSES: dict[str, Callable[[Kernel], Kernel]] = {
    "escapes": fold_escapes,
    "scalarize": lambda k: scalarize(k).kernel,
    "halves": expand_halves,
    "rounding": expand_rounding,
    "extremes": expand_extremes,
    "narrow": lambda k: expand_narrow(expand_halves(k)),
    "all": lambda k: expand_extremes(expand_narrow(expand_rounding(expand_halves(scalarize(fold_escapes(k)).kernel)))),
}


def results(kernel: Kernel, groups: int = 2) -> list[bytes]:
    """Bytes a kernel leaves in its buffers, from the same random bytes."""
    rng = np.random.default_rng(1)
    arrays = []
    for memory in kernel.buffers:
        nbytes = kernel.lanes * groups * 6 * memory.dtype.nbytes
        raw = np.zeros(nbytes, np.uint8) if memory.dtype.is_bool else rng.integers(0, 256, nbytes, np.uint8)
        arrays.append(raw.view(memory.dtype.numpy))
    interpret(kernel, arrays, [1] * len(kernel.params), (groups, 1, 1), output=lambda _: None)
    return [a.tobytes() for a in arrays]


@pytest.mark.parametrize("name", PASSES)
def test_random_kernels_keep_their_bits(name: str) -> None:
    for seed in range(25):
        kernel = random_kernel(seed, barriers=seed % 2 == 0)
        changed = PASSES[name](kernel)
        verify(changed)
        assert results(changed) == results(kernel), seed


def ops_of(kernel: Kernel) -> set[str]:
    return {s.op.name for s in walk(kernel.body) if isinstance(s, Instr)}


def test_a_kernel_without_work_for_a_pass_stays_itself() -> None:
    kernel = parse_kernel("kernel @k workgroup 1 1 1 {\n%0 = const 0x0 : u32\n%1 = min %0 %0 : u32\n}")
    for name in ("scalarize", "halves", "rounding", "extremes", "narrow"):
        assert PASSES[name](kernel) is kernel


# early exits

EXITS = """kernel @k workgroup 8 1 1 {
  buffer out: u32 read_write
  %0 = global_id 0 : u32
  %1 = const 0x3 : u32
  %2 = const 0x1 : u32
  %3 = lt %0 %1 : bool
  store out %0 %1
  if %3 {
    return
  }
  for %4 = %2 to %1 step %2 : u32 {
    %5 = eq %4 %2 : bool
    if %5 {
      continue
    } else {
      store out %0 %4
    }
    %6 = atomic_add out %0 %2 : u32
  }
  if %3 {
    store out %0 %2
    return
  } else {
    return
  }
}
"""


def test_early_exits_become_branches() -> None:
    kernel = parse_kernel(EXITS)
    folded = fold_escapes(kernel)
    assert not [s for s in walk(folded.body) if isinstance(s, (Return, Continue))]
    assert isinstance(folded.body.statements[-1], If)
    assert results(folded) == results(kernel)
    assert np.frombuffer(results(folded)[0], np.uint32)[:8].tolist() == [3, 3, 3, 3, 3, 3, 3, 3]


def test_exits_from_inner_loops_stay() -> None:
    text = EXITS.replace("      continue\n", "      return\n")
    folded = fold_escapes(parse_kernel(text))
    assert [type(s) for s in walk(folded.body) if isinstance(s, (Return, Continue))] == [Return]
    assert results(folded) == results(parse_kernel(text))


# short vectors

VECTORS = [lookup(n) for n in ("f32x2", "f32x3", "f64x4", "u32x2", "i64x3", "u8x4", "i16x2")]


def vector_kernel(seed: int) -> Kernel:
    """out[i] = something of vectors: every kind of memory, variables, branches, indexes outside."""
    rng, t = random.Random(seed), random.Random(seed).choice(VECTORS)
    b = Builder(f"vectors_{seed}", (8, 1, 1))
    x, out, bools = b.buffer("x", t), b.buffer("out", t), b.buffer("bools", bool_.vector(t.lanes))
    scalars = b.buffer("scalars", t.scalar)
    shared, private, v = b.shared("s", t, 8), b.private("p", t, 3), b.variable("v", t)
    i, local = b.emit("global_id", attr=0), b.emit("local_id", attr=0)
    one = b.const(1, u32)
    a, c = b.emit("load", i, memory=x), b.emit("load", b.emit("add", i, one), memory=x)
    b.emit("set", a, attr=v)
    b.emit("store", local, c, memory=shared)
    b.emit("barrier")
    with b.into(b.if_(b.emit("lt", local, b.const(5, u32))).then):
        made = b.emit("vector", *[b.emit("extract", c, attr=rng.randrange(t.lanes)) for _ in range(t.lanes)], dtype=t)
        b.emit("set", b.emit(rng.choice(["add", "sub", "mul", "min", "max"]), made, b.emit("get", attr=v)), attr=v)
        b.emit("store", b.emit("irem", local, b.const(4, u32)), made, memory=private)
    less = b.emit(rng.choice(["lt", "eq", "ge"]), b.emit("get", attr=v), c)
    b.emit("store", i, less, memory=bools)
    picked = b.emit("select", less, b.emit("load", b.emit("xor", local, one), memory=shared), a)
    picked = b.emit("select", b.emit("lt", i, b.emit("length", memory=x)), picked, c)
    narrow = b.emit("convert", picked, dtype=lookup(f"i32x{t.lanes}"))
    both = b.emit("add", b.emit("convert", narrow, dtype=t), b.emit("load", local, memory=private))
    far = b.emit("sub", b.emit("convert", i, dtype=i64), b.const(rng.randrange(3), i64))
    b.emit("store", far, both, memory=out)
    b.emit("store", i, b.emit("extract", both, attr=t.lanes - 1), memory=scalars)
    return b.finish()


@pytest.mark.parametrize("seed", range(14))
def test_kernels_of_short_vectors_keep_their_bits(seed: int) -> None:
    kernel = vector_kernel(seed)
    found = scalarize(kernel)
    verify(found.kernel)
    assert [m.name for m in found.components] == ["x", "out", "bools"]
    lanes = kernel.buffers[0].dtype.lanes
    assert set(found.components.values()) == {lanes}
    assert not any(isinstance(s, Instr) and s.dtype and s.dtype.is_vector for s in walk(found.kernel.body))
    rng = np.random.default_rng(seed)
    given = [rng.integers(0, 256, 16 * m.dtype.nbytes, np.uint8) for m in kernel.buffers]
    given[2] &= 1
    ours, theirs = ([g.copy().view(m.dtype.numpy) for g, m in zip(given, kernel.buffers, strict=True)] for _ in "ab")
    interpret(kernel, ours, [], (2, 1, 1))
    interpret(found.kernel, theirs, [], (2, 1, 1))
    for mine, other in zip(ours, theirs, strict=True):
        assert (canonical_bits(mine) == canonical_bits(other)).all()


# halves

ALL_16 = np.arange(65_536, dtype=np.uint16)


def unary(name: str, source: DType, target: DType) -> Kernel:
    """y[i] = name(x[i])."""
    b = Builder(name, (256, 1, 1))
    x, y = b.buffer("x", source), b.buffer("y", target)
    i = b.emit("global_id", attr=0)
    b.emit("store", i, b.emit(name, b.emit("load", i, memory=x), dtype=target), memory=y)
    return b.finish()


def apply(kernel: Kernel, x: Array) -> Array:
    """Run a kernel of one input and one output on the interpreter."""
    y = np.zeros(x.size, kernel.buffers[1].dtype.numpy)
    interpret(kernel, [x, y], [], (-(-x.size // 256), 1, 1))
    return y


def singles() -> Array:
    """All upper halves with the lower halves around which roundings change."""
    edges = [0x1000, 0x8000, 0xF000]
    low = np.array([0, 1, *(e + d for e in edges for d in (-1, 0, 1)), 0xFFFF], np.uint32)
    grid = (ALL_16.astype(np.uint32)[:, None] << np.uint32(16) | low).ravel()
    return grid.view(np.float32)


@pytest.mark.parametrize("half", [f16, bf16], ids=str)
def test_all_65536_patterns_widen_exactly(half: DType) -> None:
    expanded = expand_halves(unary("convert", half, f32))
    assert expanded.buffers[0].dtype.name == "u16"
    wide = (ALL_16.astype(np.uint32) << np.uint32(16)).view(np.float32)
    expected = ALL_16.view(np.float16).astype(np.float32) if half is f16 else wide
    assert (canonical_bits(apply(expanded, ALL_16)) == canonical_bits(expected)).all()


@pytest.mark.parametrize("half", [f16, bf16], ids=str)
def test_all_65536_patterns_come_back_from_f32(half: DType) -> None:
    there, back = expand_halves(unary("convert", half, f32)), expand_halves(unary("convert", f32, half))
    again = apply(back, apply(there, ALL_16))
    nan = ALL_16 & np.uint16(0x7FFF) > (0x7C00 if half is f16 else 0x7F80)
    assert (again[~nan] == ALL_16[~nan]).all()
    assert set((again[nan] & 0x7FFF).tolist()) == {0x7E00 if half is f16 else 0x7FC0}


@pytest.mark.parametrize("half", [f16, bf16], ids=str)
def test_roundings_to_halves(half: DType) -> None:
    x = singles()
    got = apply(expand_halves(unary("convert", f32, half)), x)
    if half is f16:
        with np.errstate(all="ignore"):
            expected = x.astype(np.float16)
        assert (canonical_bits(got.view(np.float16)) == canonical_bits(expected)).all()
    else:  # the nearer of the two neighbours, the even one in the middle
        bits = x.view(np.uint32).astype(np.int64)
        down, rest = bits >> 16, bits & 0xFFFF
        expected = down + ((rest > 0x8000) | ((rest == 0x8000) & (down & 1 == 1)))
        assert (np.where(np.isnan(x), 0x7FC0, got) == np.where(np.isnan(x), 0x7FC0, expected)).all()
    assert (canonical_bits(got) == canonical_bits(apply(unary("convert", f32, half), x).view(np.uint16)))[
        ~np.isnan(x)
    ].all()


# rounding and extremes


def doubles() -> Array:
    exponents = np.arange(2048, dtype=np.uint64) << np.uint64(52)
    fractions = [0, 1, 1 << 51, (1 << 51) + 1, (1 << 52) - 1, *(1 << k for k in range(0, 52, 3))]
    positive = (exponents[:, None] | np.array(fractions, np.uint64)).ravel()
    near = (np.arange(-600, 600) / 4).view(np.uint64)
    return np.concatenate([positive, positive | np.uint64(1 << 63), near]).view(np.float64)


@pytest.mark.parametrize("name", ["floor", "ceil", "rint", "trunc"])
@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_rounding_by_bits(name: str, dtype: DType) -> None:
    x = np.concatenate([singles(), (np.arange(-600, 600) / 4).astype(np.float32)]) if dtype is f32 else doubles()
    expanded = expand_rounding(unary(name, dtype, dtype))
    assert name not in ops_of(expanded)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    assert (canonical_bits(apply(expanded, x)) == canonical_bits(expected)).all()


@pytest.mark.parametrize("name", ["min", "max"])
@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_extremes_by_comparison(name: str, dtype: DType) -> None:
    edges = np.array([0.0, -0.0, 1, -1, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3e38, 1e-310], dtype.numpy)
    a, c = (g.ravel() for g in np.meshgrid(edges, edges))
    b = Builder(name, (256, 1, 1))
    x, y, out = (b.buffer(n, dtype) for n in ("x", "y", "out"))
    i = b.emit("global_id", attr=0)
    b.emit("store", i, b.emit(name, b.emit("load", i, memory=x), b.emit("load", i, memory=y)), memory=out)
    expanded = expand_extremes(b.finish())
    assert name not in ops_of(expanded)
    got = np.zeros_like(a)
    interpret(expanded, [a, c, got], [], (1, 1, 1))
    pick = min if name == "min" else max
    expected = [np.nan if np.isnan(p) or np.isnan(q) else pick(p, q, key=_order) for p, q in zip(a, c, strict=True)]
    assert (canonical_bits(got) == canonical_bits(np.array(expected, dtype.numpy))).all()


def _order(x: float) -> tuple[float, bool]:
    return x, not np.signbit(x)


def test_integers_keep_min_and_max() -> None:
    kernel = parse_kernel(
        "kernel @k workgroup 1 1 1 {\nbuffer o: f32 write\n%0 = const 0x1 : u32\n%1 = min %0 %0 : u32\n"
        "%2 = const 0x0 : f32\n%3 = max %2 %2 : f32\nstore o %1 %3\n}"
    )
    assert "min" in ops_of(expand_extremes(kernel))
    assert "max" not in ops_of(expand_extremes(kernel))


def test_expanded_kernels_print_and_parse() -> None:
    for kernel in (unary("convert", f16, f32), unary("floor", f64, f64), vector_kernel(3)):
        text = print_kernel(PASSES["all"](kernel))
        assert print_kernel(parse_kernel(text)) == text


def test_halves_in_every_memory_and_variable() -> None:
    b = Builder("carried", (4, 1, 1))
    x, y = b.buffer("x", f16), b.buffer("y", f16)
    s, p, v = b.shared("s", f16, 4), b.private("p", bf16, 2), b.variable("v", f16)
    i, zero = b.emit("local_id", attr=0), b.const(0, u32)
    b.emit("store", i, b.emit("load", i, memory=x), memory=s)
    b.emit("set", b.emit("load", i, memory=s), attr=v)
    wide = b.emit("convert", b.emit("get", attr=v), dtype=f32)
    b.emit("store", zero, b.emit("convert", wide, dtype=bf16), memory=p)
    rounded = b.emit("convert", b.emit("load", zero, memory=p), dtype=f32)
    same = b.emit("eq", rounded, wide)
    half = b.emit("select", same, b.emit("get", attr=v), b.emit("convert", rounded, dtype=f16))
    b.emit("store", i, half, memory=y)
    kernel = b.finish()
    given = np.array([1.0, 1.0009765625, -0.0, 65504], np.float16)
    mine, carried = np.zeros(4, np.float16), np.zeros(4, np.uint16)
    interpret(kernel, [given.copy(), mine], [], (1, 1, 1))
    expanded = expand_halves(kernel)
    interpret(expanded, [given.view(np.uint16).copy(), carried], [], (1, 1, 1))
    assert carried.tolist() == mine.view(np.uint16).tolist() == [0x3C00, 0x3C00, 0x8000, 0x7C00]
    assert {m.dtype.name for m in (*expanded.buffers, *expanded.shared, *expanded.private)} == {"u16"}


# integers of 8 and 16 bits

_OF_INTEGERS = [
    op
    for op in OPS.values()
    if op.is_pure and op.result is Result.SAME and op.name not in ("select", "fma") and op.accepts.allows(u8)
]
_ORDER = ("eq", "ne", "lt", "le", "gt", "ge")


def narrow_kernel(dtype: DType) -> Kernel:
    """Every operation on two elements; each result is compared and converted as well, where a wrap would show."""
    b = Builder(f"narrow_{dtype}", (64, 1, 1))
    inputs = [b.buffer(n, dtype, Access.READ) for n in "xy"]
    at = b.emit("global_id", attr=0)
    x, y = (b.emit("load", at, memory=m) for m in inputs)
    found = [b.emit(op.name, *(x, y)[: op.arity]) for op in _OF_INTEGERS]
    for n, value in enumerate(found):
        for kind in (dtype, i64, f32, u8, i16):
            b.emit("store", at, b.emit("convert", value, dtype=kind), memory=b.buffer(f"r{n}_{kind}", kind))
        b.emit("store", at, b.emit(_ORDER[n % 6], value, y), memory=b.buffer(f"c{n}", bool_))
    return b.finish()


@pytest.mark.parametrize("dtype", [i8, u8, i16, u16], ids=str)
def test_narrow_integers_in_words(dtype: DType) -> None:
    """All pairs of 8 bits, edges and random pairs of 16; no operation on narrow integers is left."""
    kernel = narrow_kernel(dtype)
    changed = expand_narrow(kernel)
    verify(changed)
    left = {s.op.name for s in walk(changed.body) if isinstance(s, Instr) and s.dtype is not None and s.type.bits < 32}
    assert left <= {"load", "convert", *_ORDER}
    if dtype.bits == 8:
        values = np.arange(256, dtype=np.uint8).view(dtype.numpy)
    else:
        noise = np.random.default_rng(2).integers(0, 1 << 16, 120, np.uint16).view(dtype.numpy)
        edges = [0, 1, 2, 7, 15, 16, dtype.maximum, dtype.maximum - 1, dtype.minimum, dtype.minimum + 1]
        values = np.concatenate([np.array(edges, dtype.numpy), noise])
    pairs = [np.ascontiguousarray(a.reshape(-1)) for a in np.meshgrid(values, values)]
    left_in = []
    for run in (kernel, changed):
        arrays = [*pairs, *(np.zeros(pairs[0].size, m.dtype.numpy) for m in kernel.buffers[2:])]
        interpret(run, arrays, [], (-(-pairs[0].size // 64), 1, 1))
        left_in.append(arrays)
    for memory, a, b in zip(kernel.buffers, *left_in, strict=True):
        assert a.tobytes() == b.tobytes(), memory.name


def test_narrow_parameters_are_numbers_of_32_bits() -> None:
    b = Builder("k", (1, 1, 1))
    for dtype in (i8, u8, i16, u16):
        given = b.emit("param", attr=b.param(f"p_{dtype}", dtype))
        at = b.emit("global_id", attr=0)
        b.emit(
            "store", at, b.emit("convert", b.emit("shr", given, given), dtype=i64), memory=b.buffer(f"o{dtype}", i64)
        )
    kernel = b.finish()
    changed = expand_narrow(kernel)
    verify(changed)
    assert [str(p.dtype) for p in changed.params] == ["i32", "u32", "i32", "u32"]
    numbers = [-5, 251, -300, 65_000]
    kept = []
    for run in (kernel, changed):
        arrays = [np.zeros(1, np.int64) for _ in range(4)]
        interpret(run, arrays, numbers, (1, 1, 1))
        kept.append([int(a[0]) for a in arrays])
    assert kept[0] == kept[1] == [-5 >> 3, 251 >> 3, -300 >> 4, 65_000 >> 8]


def test_what_follows_differences_stands_in_the_order_of_the_variables() -> None:
    numbers = range(24)
    lines = [f"var v{n}: u32" for n in numbers]
    lines += ["%0 = param a : u32", "%1 = sub %0 %0 : u32", "%2 = const 0x5 : u32"]
    for n in numbers:
        lines += [f"set v{n} %1", f"%{3 + 2 * n} = get v{n} : u32", f"%{4 + 2 * n} = lt %{3 + 2 * n} %2 : bool"]
    text = "\n  ".join(["kernel @k workgroup 8 1 1 {", "param a: u32", *lines])
    kernel = parse_kernel(f"{text}\n}}\n")
    subs = [s for s in walk(kernel.body) if isinstance(s, Instr) and s.name == "sub"]
    added = tell_differences(replace(kernel, differences=frozenset(subs))).variables[len(numbers) :]
    assert [v.name for v in added] == [f"v{n}.{end}" for n in numbers for end in "ab"]
