"""The numpy evaluators against exact arithmetic: Python integers and fractions, and IEEE 754 literals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from loom.core.dtype import (
    FLOATS,
    INTEGERS,
    DType,
    bf16,
    bool_,
    f16,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
)
from loom.ir import evaluate as ev
from sweep import check_each

Array = np.ndarray[Any, Any]

PRECISION = {"f16": (11, 5), "bf16": (8, 8), "f32": (24, 8), "f64": (53, 11)}
"""Significand and exponent bits."""


def nearest_bits(x: Fraction, dtype: DType) -> int:
    """Round an exact value to nearest, ties to even; return the bits (IEEE 754-2019 section 4.3.1)."""
    precision, exponent_bits = PRECISION[dtype.name]
    lowest = 2 - (1 << (exponent_bits - 1))
    size = abs(x)
    if not size:
        return 0
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    exponent = max(exponent, lowest)
    significand = round(size / Fraction(2) ** (exponent - precision + 1))
    bits = ((exponent - lowest) << (precision - 1)) + significand
    infinity = ((1 << exponent_bits) - 1) << (precision - 1)
    return min(bits, infinity) | ((x < 0) << (dtype.bits - 1))


def bits_of(a: Array) -> list[int]:
    return np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}").tolist()


def wrap(x: int, dtype: DType) -> int:
    x &= (1 << dtype.bits) - 1
    return x - (1 << dtype.bits) if dtype.is_signed and x >> (dtype.bits - 1) else x


def integers(dtype: DType, seed: int, count: int = 300) -> list[int]:
    """Edges of the type and random values of all magnitudes."""
    rng = np.random.default_rng(seed)
    edges = [0, 1, 2, 3, 7, dtype.maximum, dtype.maximum - 1, dtype.minimum, dtype.minimum + 1]
    edges += [wrap(-1, dtype), wrap(-2, dtype), 1 << (dtype.bits // 2), (1 << (dtype.bits // 2)) - 1]
    sizes = rng.integers(1, dtype.bits + 1, count)
    return edges + [wrap(int.from_bytes(rng.bytes(8), "little") >> (64 - int(s)), dtype) for s in sizes]


def pairs(dtype: DType, seed: int = 1) -> tuple[list[int], list[int]]:
    a, b = integers(dtype, seed, 60), integers(dtype, seed + 1, 60)
    grid = [(x, y) for x in a for y in b]
    return [x for x, _ in grid], [y for _, y in grid]


def floats(dtype: DType, seed: int, count: int = 400) -> Array:
    """Finite values: edges, whole numbers, and random bit patterns (all exponents, subnormals included)."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype.numpy)
    edges = [0.0, -0.0, 1.0, -1.0, 1.5, -2.5, 3.0, 0.1, 1 / 3]
    edges += [float(info.max), float(info.min), float(info.tiny)]
    edges += [float(info.smallest_subnormal), -float(info.smallest_subnormal), float(info.tiny) * 0.75]
    random = np.frombuffer(rng.bytes(count * dtype.bits // 8), dtype.bits_numpy).view(dtype.numpy)
    near_one = (1 + rng.integers(0, 64, 40) * float(info.eps)).astype(dtype.numpy)
    values = np.concatenate([np.array(edges, dtype.numpy), random, near_one, -near_one])
    return values[np.isfinite(values)]


def float_pairs(dtype: DType) -> tuple[Array, Array]:
    a, b = floats(dtype, 3, 60), floats(dtype, 4, 60)
    return np.repeat(a, len(b)), np.tile(b, len(a))


def quotient(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


INTEGER_ORACLES: dict[str, tuple[Callable[..., Array], Callable[[int, int, DType], int]]] = {
    "add": (ev.add, lambda a, b, _: a + b),
    "sub": (ev.sub, lambda a, b, _: a - b),
    "mul": (ev.mul, lambda a, b, _: a * b),
    "mulhi": (ev.mulhi, lambda a, b, t: (a * b) >> t.bits),
    "idiv": (ev.idiv, lambda a, b, _: quotient(a, b)),
    "irem": (ev.irem, lambda a, b, _: a - b * quotient(a, b)),
    "min": (ev.minimum, lambda a, b, _: min(a, b)),
    "max": (ev.maximum, lambda a, b, _: max(a, b)),
    "and": (ev.and_, lambda a, b, _: a & b),
    "or": (ev.or_, lambda a, b, _: a | b),
    "xor": (ev.xor, lambda a, b, _: a ^ b),
    "shl": (ev.shl, lambda a, b, t: a << (b % t.bits)),
    "shr": (ev.shr, lambda a, b, t: a >> (b % t.bits)),
}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


def test_the_rounding_oracle_knows_published_bits() -> None:
    assert nearest_bits(Fraction(1, 10), f64) == 0x3FB999999999999A
    assert nearest_bits(Fraction(1, 10), f32) == 0x3DCCCCCD
    assert nearest_bits(Fraction(1, 10), f16) == 0x2E66
    assert nearest_bits(Fraction(-16777217), f32) == 0xCB800000
    assert nearest_bits(Fraction(2) ** -149, f32) == 1
    assert nearest_bits(Fraction(2) ** 128, f32) == 0x7F800000


@pytest.mark.parametrize("name", INTEGER_ORACLES)
def test_integer_pairs(name: str) -> None:
    check_each(_computes_pairs, [name], INTEGERS)


def _computes_pairs(name: str, dtype: DType) -> None:
    evaluate, oracle = INTEGER_ORACLES[name]
    a, b = pairs(dtype)
    got = evaluate(np.array(a, dtype.numpy), np.array(b, dtype.numpy))
    assert got.dtype == dtype.numpy
    assert got.tolist() == [wrap(oracle(x, y, dtype), dtype) for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_single_integers(dtype: DType) -> None:
    values = integers(dtype, 5)
    a, ones = np.array(values, dtype.numpy), (1 << dtype.bits) - 1
    oracles: list[tuple[Callable[[Array], Array], Callable[[int], int]]] = [
        (ev.neg, lambda x: -x),
        (ev.abs_, abs),
        (ev.not_, lambda x: ~x),
        (ev.popcount, lambda x: bin(x & ones).count("1")),
        (ev.clz, lambda x: dtype.bits - (x & ones).bit_length()),
    ]
    for evaluate, oracle in oracles:
        got = evaluate(a)
        assert got.dtype == dtype.numpy
        assert got.tolist() == [wrap(oracle(x), dtype) for x in values]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_comparisons(dtype: DType) -> None:
    a, b = pairs(dtype, 9)
    x, y = np.array(a, dtype.numpy), np.array(b, dtype.numpy)
    assert ev.lt(x, y).tolist() == [p < q for p, q in zip(a, b, strict=True)]
    assert ev.le(x, y).tolist() == [p <= q for p, q in zip(a, b, strict=True)]
    assert ev.gt(x, y).tolist() == [p > q for p, q in zip(a, b, strict=True)]
    assert ev.ge(x, y).tolist() == [p >= q for p, q in zip(a, b, strict=True)]
    assert ev.eq(x, y).tolist() == [p == q for p, q in zip(a, b, strict=True)]
    assert ev.ne(x, y).tolist() == [p != q for p, q in zip(a, b, strict=True)]


FLOAT_ORACLES: dict[str, tuple[Callable[..., Array], Callable[[Fraction, Fraction], Fraction]]] = {
    "add": (ev.add, lambda a, b: a + b),
    "sub": (ev.sub, lambda a, b: a - b),
    "mul": (ev.mul, lambda a, b: a * b),
    "div": (ev.div, lambda a, b: a / b),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", FLOAT_ORACLES)
def test_float_arithmetic_is_correctly_rounded(name: str, dtype: DType) -> None:
    evaluate, oracle = FLOAT_ORACLES[name]
    a, b = float_pairs(dtype)
    if name == "div":
        a, b = a[b != 0], b[b != 0]
    got = evaluate(a, b)
    assert got.dtype == dtype.numpy
    exact = [oracle(Fraction(x), Fraction(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    zero = np.array([not e for e in exact])  # the sign of an exact zero has its own test
    expected = [nearest_bits(e, dtype) for e in exact if e]
    assert bits_of(got[~zero]) == expected
    assert not got[zero].any()


def test_signs_of_zero_results() -> None:
    zero, one = 0x00000000, 0x3F800000
    minus, minus_one = 0x80000000, 0xBF800000
    a = np.array([minus, minus, one, one, minus], np.uint32).view(np.float32)
    b = np.array([zero, minus, minus_one, one, one], np.uint32).view(np.float32)
    assert bits_of(ev.add(a, b))[:3] == [zero, minus, zero]
    assert bits_of(ev.sub(a, b))[3] == zero
    assert bits_of(ev.mul(a, b))[4] == minus
    assert bits_of(ev.div(a, b))[4] == minus
    assert bits_of(ev.neg(a)) == [zero, zero, minus_one, minus_one, zero]
    assert bits_of(ev.abs_(a)) == [zero, zero, one, one, zero]


def test_infinities_and_nans_of_arithmetic() -> None:
    inf, nan = math.inf, math.nan
    for dtype in FLOATS:
        make = lambda *v, t=dtype: np.array(v, t.numpy)  # noqa: E731
        assert np.isnan(ev.sub(make(inf), make(inf))).all()
        assert np.isnan(ev.mul(make(0.0, nan), make(inf, 1.0))).all()
        assert np.isnan(ev.div(make(0.0, inf), make(0.0, inf))).all()
        assert ev.div(make(1.0, -1.0, 1.0), make(0.0, 0.0, -0.0)).tolist() == [inf, -inf, -inf]
        assert np.isnan(ev.sqrt(make(-1.0, nan))).all()
        assert ev.sqrt(make(inf)).tolist() == [inf]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_square_root_is_correctly_rounded(dtype: DType) -> None:
    values = np.abs(floats(dtype, 6))
    values = values[values > 0]
    for x, got in zip(values.tolist(), bits_of(ev.sqrt(values)), strict=True):
        exact = Fraction(x)
        scaled = exact * Fraction(4) ** 600  # an integer square root with hundreds of spare bits, made sticky
        whole = math.isqrt(scaled.numerator // scaled.denominator)
        sticky = Fraction(1, 4) if whole * whole != scaled else 0
        assert got == nearest_bits((whole + sticky) / Fraction(2) ** 600, dtype)
    assert bits_of(ev.sqrt(np.array([-0.0, 0.0], dtype.numpy))) == [1 << (dtype.bits - 1), 0]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_rounding_to_whole_numbers(dtype: DType) -> None:
    values = floats(dtype, 7)
    values = np.concatenate([values, (np.arange(-40, 41) / 4).astype(dtype.numpy)])
    oracles: list[tuple[Callable[[Array], Array], Callable[[Fraction], int]]] = [
        (ev.floor, math.floor),
        (ev.ceil, math.ceil),
        (ev.trunc, math.trunc),
        (ev.rint, round),
    ]
    for evaluate, oracle in oracles:
        got = evaluate(values)
        for x, y in zip(values.tolist(), got.tolist(), strict=True):
            assert Fraction(y) == oracle(Fraction(x))
            assert math.copysign(1, y) == math.copysign(1, x) or y != 0  # a zero keeps the sign


def test_rounding_keeps_what_is_no_number() -> None:
    for evaluate in (ev.floor, ev.ceil, ev.trunc, ev.rint):
        got = evaluate(np.array([math.inf, -math.inf, math.nan], np.float32))
        assert got[:2].tolist() == [math.inf, -math.inf]
        assert np.isnan(got[2])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_float_minimum_and_maximum(dtype: DType) -> None:
    a, b = float_pairs(dtype)
    keys = lambda v: [(x, math.copysign(1, x)) for x in v.tolist()]  # noqa: E731
    low, high = keys(ev.minimum(a, b)), keys(ev.maximum(a, b))
    assert low == [min(p, q) for p, q in zip(keys(a), keys(b), strict=True)]
    assert high == [max(p, q) for p, q in zip(keys(a), keys(b), strict=True)]


def test_nan_wins_minimum_and_maximum() -> None:
    a = np.array([math.nan, 1, math.nan], np.float32)
    b = np.array([-math.inf, math.nan, math.nan], np.float32)
    assert np.isnan(ev.minimum(a, b)).all()
    assert np.isnan(ev.maximum(a, b)).all()


def test_float_comparisons_with_nan_and_zeros() -> None:
    nan = math.nan
    a, b = np.array([nan, nan, 1, 0.0], np.float32), np.array([nan, 1, nan, -0.0], np.float32)
    assert ev.eq(a, b).tolist() == [False, False, False, True]
    assert ev.ne(a, b).tolist() == [True, True, True, False]
    assert ev.lt(a, b).tolist() == ev.gt(a, b).tolist() == [False] * 4
    assert ev.le(a, b).tolist() == ev.ge(a, b).tolist() == [False, False, False, True]


@pytest.mark.parametrize("source", INTEGERS, ids=str)
def test_integers_wrap_into_integers(source: DType) -> None:
    check_each(_wraps, [source], INTEGERS)


def _wraps(source: DType, target: DType) -> None:
    values = integers(source, 8)
    got = ev.convert(np.array(values, source.numpy), source, target)
    assert got.dtype == target.numpy
    assert got.tolist() == [wrap(x, target) for x in values]


@pytest.mark.parametrize("target", FLOATS, ids=str)
def test_integers_round_to_floats_once(target: DType) -> None:
    check_each(_rounds_once, INTEGERS, [target])


def _rounds_once(source: DType, target: DType) -> None:
    precision = PRECISION[target.name][0]
    values = integers(source, 10)
    for high in range(precision, source.bits - 1):  # ties and near-ties around them
        tie = (1 << high) + (1 << (high - precision))
        values += [v for d in (-1, 0, 1) if (v := tie + d) <= source.maximum]
        values += [v for d in (-1, 0, 1) if (v := -tie + d) >= source.minimum]
    got = ev.convert(np.array(values, source.numpy), source, target)
    assert got.dtype == target.numpy
    assert bits_of(got) == [nearest_bits(Fraction(x), target) for x in values]


@pytest.mark.parametrize("source", FLOATS, ids=str)
def test_floats_truncate_and_saturate_to_integers(source: DType) -> None:
    check_each(_truncates_and_saturates, [source], INTEGERS)


def _truncates_and_saturates(source: DType, target: DType) -> None:
    edges = [k * 2.0**e + d for e in range(66) for k in (-1, 1) for d in (-1, -0.5, 0, 0.5, 1)]
    values = np.concatenate([floats(source, 11), np.array(edges, source.numpy)])
    values = np.concatenate([values, np.nextafter(values, source.numpy.type(0))])
    got = ev.convert(values, source, target)
    assert got.dtype == target.numpy
    clamp = lambda x: min(max(math.trunc(x), target.minimum), target.maximum)  # noqa: E731
    assert got.tolist() == [clamp(Fraction(x)) for x in values.tolist()]
    special = np.array([math.nan, math.inf, -math.inf], source.numpy)
    assert ev.convert(special, source, target).tolist() == [0, target.maximum, target.minimum]


@pytest.mark.parametrize(("source", "target"), [(f64, f32), (f32, f16), (f32, bf16)], ids=str)
def test_floats_narrow_to_nearest_even(source: DType, target: DType) -> None:
    precision, exponent_bits = PRECISION[target.name]
    ulp, tiny = 2.0 ** (1 - precision), 2.0 ** (3 - (1 << (exponent_bits - 1)) - precision)
    edges = [(1 + k * ulp / 2) * s for k in range(16) for s in (1, -1)] + [k * tiny / 2 for k in range(16)]
    values = np.concatenate([floats(source, 12, 2000), np.array(edges, source.numpy)])
    values = np.concatenate([values, np.nextafter(values, source.numpy.type(1))])
    values = values[np.isfinite(values) & (values != 0)]
    got = ev.convert(values, source, target)
    assert got.dtype == target.numpy
    assert bits_of(got) == [nearest_bits(Fraction(x), target) for x in values.tolist()]
    zeros = ev.convert(np.array([0.0, -0.0], source.numpy), source, target)
    assert bits_of(zeros) == [0, 1 << (target.bits - 1)]


def test_every_16_bit_float_widens_exactly() -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    wide = ev.convert(patterns, bf16, f32)
    assert bits_of(wide) == [b << 16 for b in range(1 << 16)]
    halves = ev.convert(patterns.view(np.float16), f16, f32)
    finite = np.isfinite(halves)
    assert int(finite.sum()) == 2 * 31 * 1024
    for bits, value in zip(patterns[finite].tolist(), halves[finite].tolist(), strict=True):
        fraction, exponent, sign = bits & 1023, bits >> 10 & 31, -1 if bits >> 15 else 1
        size = fraction * 2.0**-24 if exponent == 0 else (1024 + fraction) * 2.0 ** (exponent - 25)
        assert value == sign * size


def test_every_16_bit_float_survives_the_round_trip() -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    for dtype, carried in ((f16, patterns.view(np.float16)), (bf16, patterns)):
        wide = ev.convert(carried, dtype, f32)
        back = ev.convert(wide, f32, dtype)
        number = ~np.isnan(wide)
        assert bits_of(back[number]) == patterns[number].tolist()
        assert np.isnan(ev.convert(back, dtype, f32)[~number]).all()


def test_bf16_nan_is_canonical_and_overflow_is_infinite() -> None:
    a = np.array([0x7F800001, 0xFFFFFFFF, 0x7F7FFFFF, 0xFF800000], np.uint32).view(np.float32)
    assert ev.convert(a, f32, bf16).tolist() == [0x7FC0, 0x7FC0, 0x7F80, 0xFF80]


def test_conversion_to_and_from_bool() -> None:
    assert ev.convert(np.array([0, 1, -5], np.int32), i32, bool_).tolist() == [False, True, True]
    odd = np.array([-0.0, math.nan, 1e-45], np.float32)
    assert ev.convert(odd, f32, bool_).tolist() == [False, True, True]
    flags = np.array([True, False])
    for dtype in (*INTEGERS, *FLOATS):
        got = ev.convert(flags, bool_, dtype)
        assert got.dtype == dtype.numpy
        assert got.tolist() == [1, 0]


def test_f32_widens_to_f64_exactly() -> None:
    values = floats(f32, 13)
    got = ev.convert(values, f32, f64)
    assert [Fraction(x) for x in got.tolist()] == [Fraction(x) for x in values.tolist()]
    assert np.array_equal(np.signbit(got), np.signbit(values))


SAME_WIDTH: Sequence[tuple[DType, DType]] = [
    (f32, u32), (u32, f32), (i32, u32), (f64, u64), (i64, f64), (u16, f16), (bf16, u16), (u16, bf16),
    (i16, bf16), (i8, u8), (f16, bf16),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), SAME_WIDTH, ids=str)
def test_bitcast_keeps_the_bits(source: DType, target: DType) -> None:
    raw = np.frombuffer(np.random.default_rng(14).bytes(400 * source.bits // 8), source.bits_numpy)
    got = ev.bitcast(raw.view(source.numpy), target)
    assert got.dtype == target.numpy
    assert bits_of(got) == raw.tolist()


def test_select_copies_bits_unchanged() -> None:
    signalling = np.array([0x7F800001, 0xFFC12345], np.uint32)
    other = np.array([1, 0x80000000], np.uint32)
    condition = np.array([True, False])
    got = ev.select(condition, signalling.view(np.float32), other.view(np.float32))
    assert bits_of(got) == [0x7F800001, 0x80000000]
    rows = ev.select(condition, np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]]))
    assert rows.tolist() == [[1, 2], [7, 8]]


def test_booleans_have_the_bit_operations() -> None:
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    assert ev.and_(a, b).tolist() == [False, False, False, True]
    assert ev.or_(a, b).tolist() == [False, True, True, True]
    assert ev.xor(a, b).tolist() == [False, True, True, False]
    assert ev.not_(a).tolist() == [True, True, False, False]
    assert ev.not_(a).dtype == np.bool_


def test_evaluators_take_rows_of_short_vectors() -> None:
    a = np.array([[5, -7], [0, -1]], np.int32)
    b = np.array([[0, 2], [3, -1]], np.int32)
    assert ev.idiv(a, b).tolist() == [[0, -3], [0, 1]]
    assert ev.irem(a, b).tolist() == [[5, -1], [0, 0]]
    assert ev.clz(a[:, :1]).tolist() == [[29], [32]]
