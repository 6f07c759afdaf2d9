"""The kernels of matrix multiplication: every schedule gives the same bits, and no access is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.core.dtype import f16, f32, f64, i8, i32, u32
from loom.kernels.matmul.direct import multiply_direct, multiply_rows
from loom.kernels.matmul.packed import multiply_tiles
from loom.kernels.matmul.tiles import Blocking, Tile, choose_blocking
from loom.kernels.types import ProductTypes
from loom.schedules.matmul import Multiplication, record_matmul
from loom.schedules.matmul import recording as matmul_record
from unit.patterns.canonical import same_bits
from unit.patterns.linalg.matmul_order import canonical_matmul

Array = np.ndarray[Any, Any]

FLOATS = ProductTypes(f32, f32, f32, f32)
PAIRS = ProductTypes(i8, i32, i32, i32, pairs=True)
HALVES = ProductTypes(f16, f32, f32, f16)
SCHEDULES = [
    Blocking(Tile(1, 1, 4, 1), 1, 1),
    Blocking(Tile(3, 2, 8, 2), 2, 5),
    Blocking(Tile(8, 2, 16, 4), 3, 1),
    Blocking(Tile(5, 1, 16, 8), 100, 100),
    Blocking(Tile(4, 3, 4, 2, u32), 4, 4),
    Blocking(Tile(2, 1, 64, 4, u32), 2, 1),
]


def numbers(dtype: Any, *shape: int) -> Array:
    rng = np.random.default_rng(shape)
    if dtype.is_integer:
        return rng.integers(-128, 127, shape, dtype.numpy, endpoint=True)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-4, 4, shape)).astype(dtype.numpy)


def multiply(a: Array, b: Array, what: Multiplication, on: str = "cpu", schedule: Blocking | None = None) -> Array:
    out = np.zeros((*what.batch, what.m, what.n), what.types.result.numpy)
    chain = loom.Chain(on)
    record_matmul(chain, a, b, out, what, schedule=schedule)
    chain.build().run()
    return out


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: f"{s.tile.rows}x{s.tile.vectors}x{s.tile.lanes}")
def test_a_schedule_changes_no_bit(schedule: Blocking) -> None:
    for m, n, k in [(1, 1, 1), (17, 35, 260), (40, 70, 129), (24, 35, 136)]:  # the last: its left is read in place
        a, b = numbers(f32, m, k), numbers(f32, k, n)
        expected = canonical_matmul(a, b)
        assert same_bits(multiply(a, b, Multiplication(m, n, k, FLOATS), schedule=schedule), expected)
        what = Multiplication(m, n, k, FLOATS, transpose_a=True, transpose_b=True)
        stored = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
        assert same_bits(multiply(*stored, what, schedule=schedule), expected)


@pytest.mark.parametrize("transposed", [False, True], ids=["", "transposed"])
def test_batches_that_are_read_in_place_or_packed(transposed: bool) -> None:
    schedule = SCHEDULES[2]
    for m, k in [(16, 140), (16, 138), (1032, 1028)]:  # whole tiles, a part of one, long rows
        batches = 3 if m == 16 else 1
        a, b = numbers(f32, batches, m, k), numbers(f32, batches, k, 5)
        stored = np.ascontiguousarray(a.transpose(0, 2, 1)) if transposed else a
        for a_batch in [(batches,), (1,)]:
            what = Multiplication(m, 5, k, FLOATS, transposed, a_batch=a_batch, b_batch=(batches,))
            found = multiply(stored[: a_batch[0]], b, what, schedule=schedule)
            for n in range(batches):
                assert same_bits(found[n], canonical_matmul(a[n % a_batch[0]], b[n]))


@pytest.mark.parametrize("packed_nbytes", [1, matmul_record._PACKED_NBYTES], ids=["one by one", "at once"])
def test_batches_that_are_repeated_or_packed_one_by_one(packed_nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left operands of whole tiles, which are read in place only where every batch has its own, all at once."""
    monkeypatch.setattr(matmul_record, "_PACKED_NBYTES", packed_nbytes)
    for a_batch, b_batch in [((2, 1), (1, 3)), ((2, 3), (2, 3))]:
        a, b = numbers(f32, *a_batch, 16, 140), numbers(f32, *b_batch, 140, 5)
        what = Multiplication(16, 5, 140, FLOATS, a_batch=a_batch, b_batch=b_batch)
        found = multiply(a, b, what, schedule=SCHEDULES[2]).reshape(2, 3, 16, 5)
        a, b = np.broadcast_to(a, (2, 3, 16, 140)), np.broadcast_to(b, (2, 3, 140, 5))
        for at in np.ndindex(2, 3):
            assert same_bits(found[at], canonical_matmul(a[at], b[at])), (a_batch, at)


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_few_rows_are_cut_by_the_workers_and_no_bit_changes(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_THREADS", threads)
    for m, n, k in [(1, 392, 300), (1, 65, 130), (3, 136, 40)]:
        a, b = numbers(f32, m, k), numbers(f32, k, n)
        assert same_bits(multiply(a, b, Multiplication(m, n, k, FLOATS)), canonical_matmul(a, b))


@pytest.mark.parametrize("schedule", SCHEDULES[1:3], ids=str)
def test_chunks_and_short_factors_under_schedules(schedule: Blocking) -> None:
    a, b = numbers(f32, 9, 8200), numbers(f32, 8200, 11)
    assert same_bits(multiply(a, b, Multiplication(9, 11, 8200, FLOATS), schedule=schedule), canonical_matmul(a, b))
    x, y = numbers(i8, 20, 300), numbers(i8, 300, 37)
    exact = (x.astype(np.int64) @ y.astype(np.int64)).astype(np.int32)
    assert same_bits(multiply(x, y, Multiplication(20, 37, 300, PAIRS), schedule=schedule), exact)
    h, g = numbers(f16, 20, 140), numbers(f16, 140, 37)
    expected = canonical_matmul(h.astype(np.float32), g.astype(np.float32)).astype(np.float16)
    assert same_bits(multiply(h, g, Multiplication(20, 37, 140, HALVES), schedule=schedule), expected)


def test_short_factors_halfway_between_two_are_even() -> None:
    a = np.array([[1 + 2.0**-12], [1 + 3 * 2.0**-12], [-1 - 2.0**-12], [1 + 2.0**-12 + 2.0**-23]], np.float32)
    what = Multiplication(4, 1, 1, replace(FLOATS, precision="x12"))
    for schedule in SCHEDULES[:2]:
        found = multiply(a, np.ones((1, 1), np.float32), what, schedule=schedule)
        assert found.ravel().tolist() == [1, 1 + 2.0**-10, -1, 1 + 2.0**-11]


@pytest.mark.parametrize("far", [0.0, 2.0**-126, 2.0**-61, 2.0**-74, 2.0**61, 2.0**90, np.inf, np.nan])
def test_short_factors_are_fused_only_where_no_product_is_rounded(far: float) -> None:
    m, n, k = 21, 37, 150
    signs = np.random.default_rng(3).choice(np.array([-1, 1], np.float32), (m + n, k))
    close = np.float32(1 + 2.0**-11) * signs
    for count in (1, m * k):
        a, b = close[:m].copy(), np.ascontiguousarray(close[m:].T)
        a.reshape(-1)[-count:] *= np.float32(far)
        b.reshape(-1)[-count:] *= np.float32(far)
        what = Multiplication(m, n, k, replace(FLOATS, precision="x12"))
        found = multiply(a, b, what, schedule=SCHEDULES[1])
        assert same_bits(found, canonical_matmul(a, b)), count


@pytest.mark.parametrize(
    "what",
    [
        Multiplication(5, 37, 140, FLOATS),
        Multiplication(2, 37, 140, FLOATS),
        Multiplication(37, 1, 140, FLOATS),
        pytest.param(Multiplication(131, 130, 140, FLOATS), marks=pytest.mark.slow),
        Multiplication(131, 130, 140, PAIRS, transpose_a=True, transpose_b=True),
        Multiplication(9, 8, 130, HALVES, a_batch=(2,), b_batch=(1,), transpose_a=True),
    ],
    ids=lambda w: f"{w.m}x{w.n}x{w.k}-{w.types.element}",
)
def test_checked_and_debugged_runs_find_no_fault_and_the_same_bits(
    what: Multiplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOM_SIMD", "4")
    a_shape, b_shape = (what.m, what.k), (what.k, what.n)
    a = numbers(what.types.element, *what.a_batch, *(a_shape[::-1] if what.transpose_a else a_shape))
    b = numbers(what.types.element, *what.b_batch, *(b_shape[::-1] if what.transpose_b else b_shape))
    plain = multiply(a, b, what)
    small = Multiplication(  # the interpreter is slow
        min(what.m, 9), min(what.n, 10), what.k, what.types, what.transpose_a, what.transpose_b,
        what.a_batch, what.b_batch,
    )  # fmt: skip
    rows = (..., slice(None), slice(small.m)) if what.transpose_a else (..., slice(small.m), slice(None))
    columns = (..., slice(small.n), slice(None)) if what.transpose_b else (..., slice(None), slice(small.n))
    parts = np.ascontiguousarray(a[rows]), np.ascontiguousarray(b[columns])
    schedule = Blocking(Tile(4, 1, 32, 2), 1, 1) if what.m > 100 else None
    with loom.debug(races=True, bounds=True, uninitialized=True):
        watched = multiply(*parts, small, "cpu", schedule)
    assert same_bits(watched, np.ascontiguousarray(plain[..., : small.m, : small.n]))
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert same_bits(multiply(a, b, what), plain)


def test_one_kernel_is_made_for_each_choice() -> None:
    tile = Tile(4, 2, 8, 2)
    assert multiply_tiles(tile, FLOATS) is multiply_tiles(Tile(4, 2, 8, 2), FLOATS)
    kernels = [
        multiply_tiles(tile, FLOATS),
        multiply_tiles(tile, PAIRS),
        multiply_direct(tile, FLOATS, transposed=False, swapped=False),
        multiply_direct(tile, FLOATS, transposed=True, swapped=True),
        multiply_rows(2, 8, FLOATS, swapped=False),
    ]
    assert len({k.verified.hash for k in kernels}) == len(kernels)
    assert len({k.verified.name for k in kernels}) == len(kernels)
    assert all(k.verified.kernel.trusted for k in kernels)


@pytest.mark.parametrize("simd", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("arithmetic", [FLOATS, PAIRS, ProductTypes(f64, f64, f64, f64)], ids=lambda a: str(a.element))
def test_schedules_fit_the_machine(simd: int, arithmetic: ProductTypes) -> None:
    for cache in (1 << 14, 1 << 18, 1 << 21):
        caps = Caps(simd, 65536, 1024, True, 2, cache)
        for m, n in ((1, 1), (100, 3000), (512, 512), (5000, 4000)):
            cut = choose_blocking(caps, arithmetic, m, n, 1)
            nbytes = arithmetic.accumulator.nbytes
            assert 1 <= cut.tile.lanes <= 32
            if simd >= 4:
                assert cut.tile.lanes * nbytes == 4 * min(16, 1 << (simd.bit_length() - 1))
            height, width = cut.down * cut.tile.rows, cut.across * cut.tile.columns
            assert height <= 128
            assert width <= 256
            if cache == 1 << 21 and m >= 512:
                assert -(-m // height) * -(-n // width) >= 8


def test_a_product_of_pairs_is_one_instruction_where_the_machine_has_it() -> None:
    from loom.targets.base import Bounds
    from loom.targets.llvm.lower import lower
    from loom.targets.llvm.machine import emit, machine

    x86 = machine("x86-64")
    kernel = multiply_tiles(Tile(2, 1, 4, 1), PAIRS).verified
    assembly = emit(lower(kernel, x86, Bounds.TRUSTED).text, x86, "asm").decode()
    assert "pmaddwd" in assembly
    assert "pmull" not in assembly
