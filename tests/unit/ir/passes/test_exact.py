"""Division and square root put right by integers: numpy's (IEEE) bits from approximations up to 16 ulp off.

Oracle: numpy's float32 ``/`` and ``sqrt``, which the host's hardware rounds correctly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from conformance.strategies import random_kernel
from kernel_oracle import run
from loom import In, Out, bitcast, f32, f64, select, sqrt, u32
from loom.core.numerics import canonical_bits
from loom.ir.builder import Builder
from loom.ir.interp import interpret
from loom.ir.kernel import Instr, Kernel, walk
from loom.ir.passes.words.exact import exact_div, exact_sqrt, expand_division, expand_roots
from loom.ir.text import parse_kernel, print_kernel
from loom.ir.verify import verify

Array = np.ndarray[Any, Any]
LANES = 256


# approximations that are off


def off_by(ulps: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Quotient and root exactly so many ulp off."""

    def quotient(a: Any, b: Any) -> Any:
        return bitcast(f32, bitcast(u32, a / b) + (ulps & 0xFFFFFFFF))

    def root(a: Any) -> Any:
        return bitcast(f32, bitcast(u32, sqrt(a)) + (ulps & 0xFFFFFFFF))

    return quotient, root


def noisy() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Quotient and root off by up to 16 ulp, by no rule one can see."""

    def disturbed(near: Any, seed: Any) -> Any:
        return bitcast(f32, bitcast(u32, near) + ((seed * 0x9E3779B1) >> 16) % 33 - 16)

    def quotient(a: Any, b: Any) -> Any:
        return disturbed(a / b, bitcast(u32, a) ^ (bitcast(u32, b) << 3))

    def root(a: Any) -> Any:
        return disturbed(sqrt(a), bitcast(u32, a))

    return quotient, root


def newton(a: Any, b: Any) -> Any:
    """A quotient without division: a first guess by integers, four steps of Newton."""
    first = bitcast(f32, 0x7EF311C3 - bitcast(u32, b))
    second = first * (2.0 - b * first)
    third = second * (2.0 - b * second)
    fourth = third * (2.0 - b * third)
    return a * (fourth * (2.0 - b * fourth))


OFFSETS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    **{f"{ulps:+d}": off_by(ulps) for ulps in (0, 1, -1, 4, -4, 16, -16)},
    "noise": noisy(),
}


def division(approximate: Callable[..., Any]) -> Any:
    @loom.kernel(workgroup=LANES)
    def quotients(x: In[f32], y: In[f32], out: Out[f32]):
        i = loom.global_id()
        out[i] = exact_div(x[i], y[i], approximate)

    return quotients


def rooting(approximate: Callable[..., Any]) -> Any:
    @loom.kernel(workgroup=LANES, trusted=True)
    def roots(x: In[f32], out: Out[f32], n: u32):
        i = loom.global_id()
        if i < n:
            out[i] = exact_sqrt(x[i], approximate)

    return roots


# inputs


def floats(bits: Array) -> Array:
    return bits.astype(np.uint32).view(np.float32)


def by_exponent(rng: np.random.Generator) -> tuple[Array, Array]:
    """All pairs of exponents, each with random significands and signs and with the least and the greatest."""
    a, b = (e.ravel().astype(np.int64) << 23 for e in np.meshgrid(np.arange(256), np.arange(256)))
    fractions = rng.integers(0, 1 << 23, (2, a.size)) | rng.integers(0, 2, (2, a.size)) << 31
    edges = rng.choice(np.array([0, 1, 2, 0x400000, 0x7FFFFE, 0x7FFFFF]), (2, a.size))
    return floats(np.concatenate([a | fractions[0], a | edges[0]])), floats(
        np.concatenate([b | fractions[1], b | edges[1]])
    )


def near_ties(rng: np.random.Generator) -> tuple[Array, Array]:
    """Dividends next to (odd number of 25 bits) * divisor: quotients next to the middle of two floats."""
    middle = rng.integers(1 << 24, 1 << 25, 60_000) | 1
    divisor = rng.integers(1 << 23, 1 << 24, middle.size)
    product = middle * divisor
    shift = np.where(product >= 1 << 48, 25, 24)
    whole = np.minimum((product >> shift) + rng.integers(-1, 3, middle.size), (1 << 24) - 1)
    return whole.astype(np.float32), divisor.astype(np.float32)


def subnormal_results(rng: np.random.Generator) -> tuple[Array, Array]:
    """Quotients below 2^-126, exact halves of 2^-149 among them."""
    size = 40_000
    y = floats(rng.integers(0, 1 << 23, size) | rng.integers(120, 254, size) << 23)
    x = floats(rng.integers(0, 1 << 23, size) | rng.integers(0, 110, size) << 23)
    y[: size // 2] = 2.0 ** rng.integers(0, 60, size // 2)
    x[: size // 4] = floats(rng.integers(1, 1 << 25, size // 4))
    return x, y


def close(rng: np.random.Generator) -> tuple[Array, Array]:
    """Operands that differ in their last bits alone."""
    bits = rng.integers(0, 0x7F800000, 40_000)
    return floats(bits), floats(np.clip(bits + rng.integers(-40, 41, bits.size), 0, 0x7F800000))


def anything(rng: np.random.Generator) -> tuple[Array, Array]:
    return floats(rng.integers(0, 1 << 32, 100_000)), floats(rng.integers(0, 1 << 32, 100_000))


def specials() -> tuple[Array, Array]:
    edges = [0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000]
    signed = np.array([e | s for e in edges for s in (0, 1 << 31)], np.uint32)
    a, b = np.meshgrid(signed, signed)
    return floats(a.ravel()), floats(b.ravel())


def pairs() -> tuple[Array, Array]:
    rng = np.random.default_rng(5)
    groups = [f(rng) for f in (by_exponent, near_ties, subnormal_results, close, anything)]
    found = [np.concatenate(side) for side in zip(*groups, specials(), strict=True)]
    return tuple(np.resize(side, -(-side.size // LANES) * LANES) for side in found)  # type: ignore[return-value]


X, Y = pairs()
with np.errstate(all="ignore"):
    QUOTIENTS = X / Y
    ROOTS = np.sqrt(X)


def test_samples_meet_what_is_hard() -> None:
    wide = np.where(np.isfinite(QUOTIENTS), QUOTIENTS, 0)
    assert (np.abs(wide[wide != 0]) < 2.0**-126).sum() > 15_000
    assert np.isinf(QUOTIENTS).sum() > 10_000
    with np.errstate(all="ignore"):
        exact = X.astype(np.float64) / Y.astype(np.float64)
        last_place = np.spacing(np.abs(QUOTIENTS)).astype(np.float64)
        distance = np.abs(np.abs(exact - QUOTIENTS) / last_place - 0.5)
    assert (distance < 2.0**-22).sum() > 5_000
    assert (distance == 0).sum() > 100


def some(size: int) -> tuple[Array, Array]:
    """Return so many pairs of every kind of sample, for what is slow."""
    step = X.size // size
    return X[::step][:size].copy(), Y[::step][:size].copy()


def check(got: Array, expected: Array, *inputs: Array) -> None:
    wrong = np.flatnonzero(canonical_bits(got) != canonical_bits(expected))
    first = wrong[:3]
    assert not wrong.size, [(*(i[first] for i in inputs), got[first], expected[first])]


@pytest.mark.parametrize("offset", OFFSETS)
def test_quotients(offset: str) -> None:
    got = np.empty_like(X)
    run(division(OFFSETS[offset][0]), X, Y, got, groups=X.size // LANES, on="cpu")
    check(got, QUOTIENTS, X, Y)


@pytest.mark.parametrize("offset", OFFSETS)
def test_roots(offset: str) -> None:
    got = np.empty_like(X)
    run(rooting(OFFSETS[offset][1]), X, got, params=[X.size], groups=X.size // LANES, on="cpu")
    check(got, ROOTS, X)


def test_the_interpreter_gives_the_same_bits() -> None:
    x, y = some(8192)
    quotients, roots = np.empty_like(x), np.empty_like(x)
    run(division(noisy()[0]), x, y, quotients, groups=32)
    run(rooting(noisy()[1]), x, roots, params=[8192], groups=32)
    with np.errstate(all="ignore"):
        check(quotients, x / y, x, y)
        check(roots, np.sqrt(x), x)


@pytest.mark.slow
@pytest.mark.parametrize("quarter", range(4))
@pytest.mark.parametrize("offset", ["+0", "+16", "-16", "noise"])
def test_roots_of_all_floats(offset: str, quarter: int) -> None:
    kernel, step = rooting(OFFSETS[offset][1]), 1 << 25
    x, got = np.empty(step, np.float32), np.empty(step, np.float32)
    chain = loom.Chain("cpu")
    chain.dispatch(kernel, [x, got], [step], groups=step // LANES)
    program = chain.build()
    for first in range(quarter << 30, quarter + 1 << 30, step):
        x.view(np.uint32)[:] = np.arange(first, first + step, dtype=np.uint32)
        program.run()
        with np.errstate(all="ignore"):
            check(got, np.sqrt(x), x)


@pytest.mark.slow
@pytest.mark.parametrize("offset", ["+16", "-16", "noise"])
def test_a_thousand_million_quotients(offset: str) -> None:
    kernel, step, rng = division(OFFSETS[offset][0]), 1 << 24, np.random.default_rng(11)
    for turn in range(64):
        x, y = (rng.integers(0, 1 << 32, step, np.uint32).view(np.float32) for _ in "xy")
        if turn % 2:  # results near the least normal number
            y = floats((y.view(np.uint32) & 0x807FFFFF) | 0x3F800000)
            x = floats((x.view(np.uint32) & 0x80FFFFFF) | (0x00800000 if turn % 4 == 1 else 0))
        got = np.empty_like(x)
        run(kernel, x, y, got, groups=step // LANES, on="cpu")
        with np.errstate(all="ignore"):
            check(got, x / y, x, y)


# the passes


def binary(name: str, dtype: Any) -> Kernel:
    """out[i] = name(x[i], y[i]), or of x[i] alone."""
    b = Builder(name, (LANES, 1, 1))
    x, y, out = (b.buffer(n, dtype) for n in ("x", "y", "out"))
    i = b.emit("global_id", attr=0)
    loads = [b.emit("load", i, memory=m) for m in (x, y)]
    b.emit("store", i, b.emit(name, *loads[: 2 if name == "div" else 1]), memory=out)
    return b.finish()


def ops_of(kernel: Kernel) -> set[str]:
    return {s.op.name for s in walk(kernel.body) if isinstance(s, Instr)}


@pytest.mark.parametrize("name", ["div", "sqrt"])
def test_kernels_keep_their_bits_whatever_the_approximation(name: str) -> None:
    kernel = binary(name, f32)
    quotient, root = noisy()
    expanded = expand_division(kernel, quotient) if name == "div" else expand_roots(kernel, root)
    verify(expanded)
    assert print_kernel(parse_kernel(print_kernel(expanded))) == print_kernel(expanded)
    x, y = some(8192)
    got = np.empty_like(x)
    interpret(expanded, [x, y, got], [], (32, 1, 1))
    with np.errstate(all="ignore"):
        check(got, x / y if name == "div" else np.sqrt(x), x, y)


def test_the_native_operation_is_left_as_the_approximation() -> None:
    assert "div" in ops_of(expand_division(binary("div", f32)))
    assert "sqrt" in ops_of(expand_roots(binary("sqrt", f32)))


def test_a_target_without_division() -> None:
    expanded = expand_division(binary("div", f32), newton)
    assert "div" not in ops_of(expanded)
    x, y = some(4096)
    got = np.empty_like(x)
    interpret(expanded, [x, y, got], [], (16, 1, 1))
    with np.errstate(all="ignore"):
        check(got, x / y, x, y)


def test_only_32_bit_integers_are_used() -> None:
    for kernel in (expand_division(binary("div", f32)), expand_roots(binary("sqrt", f32))):
        kinds = {str(s.dtype) for s in walk(kernel.body) if isinstance(s, Instr) and s.dtype}
        assert kinds == {"f32", "u32", "i32", "bool"}


def test_f64_and_kernels_without_division_stay_as_they_are() -> None:
    for kernel in (binary("div", f64), binary("sqrt", f64)):
        assert expand_roots(expand_division(kernel)) is kernel


def test_random_kernels_keep_their_bits() -> None:
    quotient, root = noisy()
    changed = 0
    for seed in range(40):
        kernel = random_kernel(seed, barriers=seed % 2 == 0)
        expanded = expand_roots(expand_division(kernel, quotient), root)
        changed += expanded is not kernel
        verify(expanded)
        rng = np.random.default_rng(seed)
        sizes = [kernel.lanes * 12 * m.dtype.nbytes for m in kernel.buffers]
        before = [
            rng.integers(0, 2 if m.dtype.is_bool else 256, n, np.uint8)
            for m, n in zip(kernel.buffers, sizes, strict=True)
        ]
        results = []
        for version in (kernel, expanded):
            arrays = [b.copy().view(m.dtype.numpy) for b, m in zip(before, kernel.buffers, strict=True)]
            interpret(version, arrays, [1] * len(kernel.params), (2, 1, 1), output=lambda _: None)
            results.append([canonical_bits(a).tobytes() for a in arrays])
        assert results[0] == results[1], seed
    assert changed > 5


def test_select_in_an_approximation() -> None:
    """An approximation may choose, as long as it assigns each name once."""

    def by_halves(a: Any, b: Any) -> Any:
        return select(a > 2.0, (a * 0.5 / b) * 2.0, a / b)

    x, y = X[:LANES], Y[:LANES]
    got = np.empty_like(x)
    interpret(expand_division(binary("div", f32), by_halves), [x, y, got], [], (1, 1, 1))
    with np.errstate(all="ignore"):
        check(got, x / y, x, y)
