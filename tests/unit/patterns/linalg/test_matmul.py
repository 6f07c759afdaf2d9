"""``gpu_matmul``: exact bits in the canonical order, for every path, type, shape and way of storing."""

from __future__ import annotations

import itertools
import os
from typing import Any

import numpy as np
import pytest

import loom
from conformance.running import kinds
from loom import gpu_matmul
from loom.core.dtype import f32, i64, u64
from unit.patterns.canonical import same_bits
from unit.patterns.conftest import PLACES
from unit.patterns.linalg.matmul_order import canonical_matmul, canonical_product_in_python, round_to_12_bits

Array = np.ndarray[Any, Any]

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
RESULTS: dict[str, str] = dict(
    zip(INTEGERS, ("int32", "int32", "int32", "uint32", "int32", "uint32", "int64", "uint64"), strict=True)
)
SMALL = [(5, 7, 3), (17, 33, 130), (2, 37, 129), (37, 2, 129), (1, 70, 257), (70, 1, 257)]
"""m, n, k that are multiplied where they are."""
LARGE = [(67, 129, 517), (131, 133, 128), (260, 40, 256)]
"""m, n, k that are packed."""
DEEP = [(3, 17, 4097), (1, 1, 13_000), (40, 37, 12_289)]
"""More than one chunk of k."""
_QUICK = ("cpu", 4, 2)
FEW = [_QUICK, ("interp", None, None)]
INF, NAN = np.inf, np.nan


def floats(dtype: str, *shape: int) -> Array:
    """Numbers of very different size, so that any change of order moves bits."""
    rng = np.random.default_rng([*shape, ord(dtype[-1])])
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-8, 8, shape)).astype(dtype)


def integers(dtype: str, *shape: int) -> Array:
    info = np.iinfo(dtype)
    return np.random.default_rng(shape).integers(info.min, info.max, shape, dtype, endpoint=True)


def shapes_on(place: str) -> list[tuple[int, int, int]]:
    if place not in kinds("vectors"):
        return [*SMALL, (67, 129, 140)]
    return [*SMALL, *LARGE, *DEEP] if os.environ["LOOM_SIMD"] in ("4", "16") else [SMALL[1], LARGE[0]]


@pytest.fixture(
    params=[*FEW, *(pytest.param(p, marks=pytest.mark.slow) for p in PLACES if p != _QUICK)],
    ids=lambda p: "-".join(str(x) for x in p if x),
)
def some(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Like ``place``, most of them left to ``make prove``: each width compiles a dozen kernels per type."""
    name, simd, threads = request.param
    if simd:
        monkeypatch.setenv("LOOM_SIMD", str(simd))
        monkeypatch.setenv("LOOM_THREADS", str(threads))
    return name


def stored(x: Array, transposed: bool) -> Array:
    """Return a matrix as it is, or stored the other way round."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)) if transposed else x


def test_the_oracle_is_the_order_as_written() -> None:
    a, b = floats("float64", 2, 9000), floats("float64", 9000, 3)
    got = canonical_matmul(a, b)
    for i, j in itertools.product(range(2), range(3)):
        assert got[i, j] == canonical_product_in_python(a[i].tolist(), b[:, j].tolist())
    assert (got != a @ b).any()  # the order can be told from another


def test_every_shape_has_the_bits_of_the_order(place: str) -> None:
    for m, n, k in shapes_on(place):
        a, b = floats("float32", m, k), floats("float32", k, n)
        assert same_bits(gpu_matmul(a, b, on=place), canonical_matmul(a, b)), (m, n, k)


def test_doubles(some: str) -> None:
    for m, n, k in [(17, 33, 130), (67, 129, 260)]:
        a, b = floats("float64", m, k), floats("float64", k, n)
        assert same_bits(gpu_matmul(a, b, on=some), canonical_matmul(a, b)), (m, n, k)


def test_stored_the_other_way_round(some: str) -> None:
    for m, n, k in [(5, 7, 3), (1, 40, 130), (40, 1, 130), (67, 129, 140)]:
        a, b = floats("float32", m, k), floats("float32", k, n)
        expected = canonical_matmul(a, b)
        for ta, tb in itertools.product((False, True), repeat=2):
            got = gpu_matmul(stored(a, ta), stored(b, tb), transpose_a=ta, transpose_b=tb, on=some)
            assert same_bits(got, expected), (m, n, k, ta, tb)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_exact_and_wrap(some: str, dtype: str) -> None:
    for m, n, k in [(5, 7, 3), (67, 129, 300), *([(130, 131, 4500)] if some == "cpu" else [])]:
        a, b = integers(dtype, m, k), integers(dtype, k, n)
        expected = np.matmul(a.astype(np.uint64), b.astype(np.uint64)).astype(RESULTS[dtype])
        assert same_bits(gpu_matmul(a, b, on=some), expected), (m, n, k)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_on_every_path(place: str, dtype: str) -> None:
    for m, n, k in [(5, 7, 3), (2, 37, 129), (37, 3, 129), (67, 129, 300), (67, 129, 4200)]:
        if place == "interp" and k > 300:
            continue
        a, b = integers(dtype, m, k), integers(dtype, k, n)
        expected = np.matmul(a.astype(np.uint64), b.astype(np.uint64)).astype(RESULTS[dtype])
        for ta, tb in itertools.product((False, True), repeat=2):
            got = gpu_matmul(stored(a, ta), stored(b, tb), transpose_a=ta, transpose_b=tb, on=place)
            assert same_bits(got, expected), (m, n, k, ta, tb)


def test_the_extremes_of_short_integers(place: str) -> None:
    for dtype in ("int8", "int16"):
        for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
            a, b = np.full((120, 300), value, dtype), np.full((300, 140), value, dtype)
            expected = np.full((120, 140), (int(value) ** 2 * 300 + 2**31) % 2**32 - 2**31, np.int32)
            assert same_bits(gpu_matmul(a, b, on=place), expected)


def test_integers_into_64_bits(some: str) -> None:
    for dtype, wide in (("int8", i64), ("uint8", u64), ("int32", i64)):
        a, b = integers(dtype, 9, 200), integers(dtype, 200, 17)
        expected = a.astype(wide.numpy) @ b.astype(wide.numpy)
        assert same_bits(gpu_matmul(a, b, out_dtype=wide, on=some), expected)
        assert same_bits(gpu_matmul(a, b, out_dtype=wide.name, on=some), expected)


def test_halves_are_added_in_f32_and_rounded_once(some: str) -> None:
    for m, n, k in [(5, 7, 3), (1, 40, 140), (67, 129, 130), *([(40, 33, 4100)] if some == "cpu" else [])]:
        a, b = (floats("float16", *shape) * np.float16(0.125) for shape in ((m, k), (k, n)))
        expected = canonical_matmul(a.astype(np.float32), b.astype(np.float32))
        with np.errstate(over="ignore"):
            assert same_bits(gpu_matmul(a, b, on=some), expected.astype(np.float16))
        assert same_bits(gpu_matmul(a, b, out_dtype=f32, on=some), expected)


def test_bfloat16(some: str) -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    for m, n, k in [(5, 7, 3), (67, 129, 260)]:
        a, b = floats("float32", m, k).astype(bfloat16), floats("float32", k, n).astype(bfloat16)
        expected = canonical_matmul(a.astype(np.float32), b.astype(np.float32))
        got = gpu_matmul(a, b, on=some)
        assert got.dtype == bfloat16
        assert got.view(np.uint16).tolist() == expected.astype(bfloat16).view(np.uint16).tolist()
        assert same_bits(gpu_matmul(a, b, out_dtype="f32", on=some), expected)


def test_x12_rounds_operands_to_12_significant_bits(some: str) -> None:
    for m, n, k in [(5, 7, 3), (1, 40, 140), (67, 129, 260)]:
        a, b = floats("float32", m, k), floats("float32", k, n)
        expected = canonical_matmul(round_to_12_bits(a), round_to_12_bits(b))
        assert same_bits(gpu_matmul(a, b, precision="x12", on=some), expected)
        assert not same_bits(gpu_matmul(a, b, on=some), expected)


def test_x12_takes_halves_to_even_and_leaves_what_has_no_bits_to_round(some: str) -> None:
    one = np.ones((1, 1), np.float32)
    for given, expected in [
        (1 + 2.0**-12, 1.0), (1 + 3 * 2.0**-12, 1 + 2 * 2.0**-11), (1 + 2.0**-12 + 2.0**-23, 1 + 2.0**-11),
        (-1 - 2.0**-11, -1 - 2.0**-11), (3.4028235e38, INF), (INF, INF), (0.0, 0.0), (2.0**-137, 2.0**-137), (NAN, NAN),
    ]:  # fmt: skip
        got = gpu_matmul(np.array([[given]], np.float32), one, precision="x12", on=some)
        assert same_bits(got, np.array([[expected]], np.float32)), given
    payload = np.array([[0x7F800001]], np.uint32).view(np.float32)  # a NaN whose bits would all be rounded away
    assert np.isnan(gpu_matmul(payload, one, precision="x12", on=some)).all()
    assert np.isnan(gpu_matmul(-payload, one, precision="x12", on=some)).all()


def test_products_are_rounded_before_they_are_added(some: str) -> None:
    a = np.array([[1, -1 - 2.0**-11]], np.float32)  # a fused multiply-add would leave 2^-24
    b = np.array([[1 + 2.0**-11], [1]], np.float32)
    x = np.float32(1 + 2.0**-12)
    assert gpu_matmul(np.array([[-1 - 2.0**-11, x]], np.float32), np.array([[1], [x]], np.float32), on=some) == 0
    assert gpu_matmul(a, b, on=some) == 0
    many = np.zeros((64, 300), np.float32)
    many[:, 0], many[:, 1] = -1 - 2.0**-11, x
    right = np.zeros((300, 200), np.float32)
    right[0], right[1] = 1, x
    assert not gpu_matmul(many, right, on=some).any()


@pytest.mark.parametrize("shape", [(3, 5, 7), (70, 131, 300)])
def test_special_numbers(some: str, shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, b = floats("float32", m, k), floats("float32", k, n)
    a[0, 0], a[1, 1], b[2, 0], b[0, 1], a[2, :] = INF, NAN, -INF, 0, -0.0
    got = gpu_matmul(a, b, on=some)
    assert same_bits(got, canonical_matmul(a, b))
    assert np.isnan(got[0, 1])
    assert np.isnan(got[1]).all()
    tiny = np.full((m, k), 1e-30, np.float32)
    assert same_bits(gpu_matmul(tiny, np.full((k, n), 1e-12, np.float32), on=some), canonical_matmul(
        tiny, np.full((k, n), 1e-12, np.float32)
    ))  # fmt: skip
    zero = gpu_matmul(np.full((m, k), -0.0, np.float32), np.ones((k, n), np.float32), on=some)
    assert not np.signbit(zero).any()  # sums start at +0


def test_close_to_float64(some: str) -> None:
    a, b = floats("float32", 60, 700), floats("float32", 700, 50)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    # at most 128 roundings in a block, 6 between blocks, one per product: (1 + 2^-24)^135 - 1
    assert (np.abs(gpu_matmul(a, b, on=some) - exact) <= 135 * 2.0**-24 * size).all()


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((3, 5, 7), (3, 7, 4)),
        ((3, 5, 7), (7, 4)),
        ((5, 7), (3, 7, 4)),
        ((3, 1, 5, 7), (2, 7, 4)),
        ((2, 3, 5, 7), (1, 3, 7, 4)),
        ((7,), (7, 4)),
        ((5, 7), (7,)),
        ((7,), (7,)),
        ((3, 5, 7), (7,)),
        ((7,), (3, 7, 4)),
        ((2, 67, 140), (2, 140, 129)),
        ((67, 140), (2, 140, 129)),
        ((2, 1, 67, 140), (1, 2, 140, 129)),
        ((2, 40, 140), (140, 300)),
    ],
)
def test_batches_and_vectors(some: str, a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> None:
    a, b = floats("float32", *a_shape), floats("float32", *b_shape)
    rows = a if a.ndim > 1 else a[None]
    columns = b if b.ndim > 1 else b[:, None]
    expected = canonical_matmul(rows, columns)
    if a.ndim == 1:
        expected = expected[..., 0, :]
    if b.ndim == 1:
        expected = expected[..., 0]
    got = gpu_matmul(a, b, on=some)
    assert got.shape == np.matmul(a, b).shape
    assert same_bits(got, expected)


def test_batches_stored_the_other_way_round(some: str) -> None:
    a, b = floats("float32", 3, 40, 140), floats("float32", 3, 140, 130)
    expected = canonical_matmul(a, b)
    got = gpu_matmul(stored(a, True), stored(b, True), transpose_a=True, transpose_b=True, on=some)
    assert same_bits(got, expected)
    shared = gpu_matmul(stored(a, True), b[0], transpose_a=True, on=some)
    assert same_bits(shared, canonical_matmul(a, b[0]))


def test_a_batch_larger_than_is_packed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loom.schedules.matmul.recording._PACKED_NBYTES", 1 << 20)
    for dtype in ("float32", "float16"):
        a, b = floats(dtype, 5, 131, 140), floats(dtype, 5, 140, 133)
        expected = canonical_matmul(a.astype(np.float32), b.astype(np.float32))
        with np.errstate(over="ignore"):
            assert same_bits(gpu_matmul(a, b, on="cpu"), expected.astype(dtype))


def test_the_flat_form(some: str) -> None:
    a, b = floats("float32", 5, 3), floats("float32", 3, 7)
    expected = canonical_matmul(a, b)
    assert same_bits(gpu_matmul(a.reshape(-1), b.reshape(-1), 5, 7, 3, on=some), expected)
    assert same_bits(gpu_matmul(a, b, 5.0, 7.0, 3.0, on=some), expected)  # type: ignore[arg-type]  # whole floats
    got = gpu_matmul(a.T.copy().reshape(-1), b.reshape(-1), 5, 7, 3, transpose_a=True, on=some)
    assert same_bits(got, expected)


def test_nothing_to_multiply(some: str) -> None:
    for a_shape, b_shape in [((0, 3), (3, 2)), ((2, 3), (3, 0)), ((0, 2, 3), (3, 2)), ((0, 2, 3), (1, 3, 2))]:
        got = gpu_matmul(np.ones(a_shape, np.float32), np.ones(b_shape, np.float32), on=some)
        assert got.shape == np.matmul(np.ones(a_shape), np.ones(b_shape)).shape
    zeros = gpu_matmul(np.ones((2, 0), np.float32), np.ones((0, 3), np.float32), on=some)
    assert same_bits(zeros, np.zeros((2, 3), np.float32))
    assert gpu_matmul(np.ones(0, np.int8), np.ones(0, np.int8), on=some) == 0


def test_inputs_of_all_kinds_and_the_device(some: str) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert gpu_matmul([[1, 2], [3, 4]], [[1], [10]], on=some).tolist() == [[21], [43]]
    assert same_bits(gpu_matmul(x, [[1], [2], [3]], on=some), np.array([[8], [26]], np.float32))
    assert same_bits(gpu_matmul([[1, 2]], x, on=some), np.array([[6, 9, 12]], np.float32))
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert same_bits(gpu_matmul(wide[::2, ::2], x.T, on=some), wide[::2, ::2] @ x.T)
    there = loom.array(x, on=some)
    result = gpu_matmul(there, x, transpose_b=True)
    assert isinstance(result, loom.Array)
    assert result.device.name == some
    assert result.tolist() == (x @ x.T).tolist()
    assert type(gpu_matmul(x[0], x[0], on=some)) is np.float32


def test_an_operand_may_be_both(some: str) -> None:
    x = floats("float32", 40, 40)
    assert same_bits(gpu_matmul(x, x, on=some), canonical_matmul(x, x))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_sums_and_large_results(dtype: str) -> None:
    for m, n, k in [(1, 1, 10**6), (3, 5, 65_537), (600, 500, 8_200), (1, 1000, 20_000), (1000, 1, 20_000)]:
        a, b = floats(dtype, m, k), floats(dtype, k, n)
        assert same_bits(gpu_matmul(a, b, on="cpu"), canonical_matmul(a, b)), (m, n, k)


@pytest.mark.parametrize(("m", "k", "n"), [(130, 140, 150), (129, 141, 151)])
def test_bytes_are_multiplied_in_fours_wherever_they_lie(on: str, m: int, k: int, n: int) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.integers(-128, 128, (2, m, k)).astype(np.int8), rng.integers(-128, 128, (k, n)).astype(np.int8)
    a[0, 0], b[:, 0] = -128, -128
    expected = a.astype(np.int64) @ b.astype(np.int64)
    turned = np.ascontiguousarray(a.transpose(0, 2, 1)), np.ascontiguousarray(b.T)
    assert np.array_equal(gpu_matmul(a, b, on=on), expected)
    assert np.array_equal(gpu_matmul(*turned, transpose_a=True, transpose_b=True, on=on), expected)
