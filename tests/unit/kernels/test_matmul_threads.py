"""The kernels of matrix multiplication for GPUs: every cut gives the canonical bits, no access is wrong.

Oracles: ``canonical_matmul`` (numpy, one operation after the other), exact integers, and on a Vulkan device the bits of
the CPU, which takes other kernels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.core.dtype import bf16, f16, f32, f64, i8, i32
from loom.kernels.matmul.grids import Grid, Layout, Slabs, choose_slabs
from loom.kernels.matmul.slabs import Slab
from loom.kernels.matmul.threads import fold_blocks, multiply_slabs
from loom.kernels.types import ProductTypes, product_types
from loom.schedules.matmul import Multiplication, products, record_matmul
from unit.patterns.canonical import same_bits
from unit.patterns.linalg.matmul_order import canonical_matmul

Array = np.ndarray[Any, Any]

FLOATS = ProductTypes(f32, f32, f32, f32)
PAIRS = ProductTypes(i8, i32, i32, i32, pairs=True)
HALVES = ProductTypes(f16, f32, f32, f16)
CHUNKS, SPLIT = Slabs(Grid(2, 4, 1, 1, 4), split=False), Slabs(Grid(4, 1, 1, 2, 4), split=True)
HELD = Slabs(Grid(4, 2, 2, 1, 4, held=True), split=False)
GPU = Caps(32, 49152, 1024, False, 132, 1 << 20, threads=True)
LESS = replace(GPU, shared_nbytes=32768)


def numbers(dtype: Any, *shape: int) -> Array:
    rng = np.random.default_rng(shape)
    if dtype.is_integer:
        return rng.integers(-128, 127, shape, dtype.numpy, endpoint=True)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-4, 4, shape)).astype(dtype.numpy)


def multiply(a: Array, b: Array, what: Multiplication, cut: Slabs) -> Array:
    out = np.zeros((*what.batch, what.m, what.n), what.types.result.numpy)
    chain = loom.Chain("cpu")
    record_matmul(chain, a, b, out, what, schedule=cut)
    chain.build().run()
    return out


@pytest.mark.parametrize(
    ("cut", "sides", "turned"),
    [
        (CHUNKS, (17, 36, 260), (False, False)),
        (CHUNKS, (20, 11, 129), (True, True)),
        (SPLIT, (17, 11, 260), (False, False)),
        (SPLIT, (1, 1, 1), (False, False)),
        (SPLIT, (9, 11, 8200), (False, False)),
        (HELD, (17, 36, 260), (False, True)),
        (HELD, (35, 19, 260), (True, False)),
        (HELD, (9, 11, 8200), (False, False)),
        pytest.param(CHUNKS, (9, 11, 8200), (True, False), marks=pytest.mark.slow),
        pytest.param(SPLIT, (36, 36, 129), (True, False), marks=pytest.mark.slow),
        pytest.param(Slabs(Grid(4, 8, 2, 1, 16), split=False), (70, 40, 300), (False, True), marks=pytest.mark.slow),
    ],
)
def test_a_cut_changes_no_bit(cut: Slabs, sides: tuple[int, int, int], turned: tuple[bool, bool]) -> None:
    m, n, k = sides
    a, b = numbers(f32, m, k), numbers(f32, k, n)
    what = Multiplication(m, n, k, FLOATS, transpose_a=turned[0], transpose_b=turned[1])
    stored = [np.ascontiguousarray(x.T if t else x) for x, t in zip((a, b), turned, strict=True)]
    assert same_bits(multiply(stored[0], stored[1], what, cut), canonical_matmul(a, b))


def test_integers_and_halves_in_batches() -> None:
    x, y = numbers(i8, 20, 300), numbers(i8, 300, 37)
    exact = (x.astype(np.int64) @ y.astype(np.int64)).astype(np.int32)
    assert same_bits(multiply(x, y, Multiplication(20, 37, 300, PAIRS), SPLIT), exact)
    h, g = numbers(f16, 2, 140, 9), numbers(f16, 1, 140, 12)
    what = Multiplication(9, 12, 140, HALVES, transpose_a=True, a_batch=(2,), b_batch=(1,))
    wide = [np.ascontiguousarray(p.T).astype(np.float32) for p in h]
    expected = [canonical_matmul(p, g[0].astype(np.float32)).astype(np.float16) for p in wide]
    assert same_bits(multiply(h, g, what, CHUNKS), np.stack(expected))


@pytest.mark.slow
def test_checked_and_debugged_runs_find_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    what = Multiplication(9, 10, 140, FLOATS)
    a, b = numbers(f32, 9, 140), numbers(f32, 140, 10)
    with loom.debug(races=True, bounds=True, uninitialized=True):
        assert same_bits(multiply(a, b, what, SPLIT), canonical_matmul(a, b))
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert same_bits(multiply(a, b, what, CHUNKS), canonical_matmul(a, b))


@pytest.mark.parametrize(
    ("dtype", "a_shape", "b_shape"),
    [
        (f32, (67, 130), (130, 68)),
        (f32, (1, 4096), (4096, 4097)),
        (f32, (3, 8300), (8300, 40)),
        pytest.param(f16, (2, 4, 300), (2, 300, 33), marks=pytest.mark.slow),
        pytest.param(i8, (1, 5000), (5000, 40), marks=pytest.mark.slow),
        (f32, (257, 9000), (9000,)),
        (f32, (3, 33, 65), (65, 40)),
        (i8, (70, 140), (140, 33)),
        pytest.param(f64, (67, 130), (130, 68), marks=pytest.mark.slow),
        pytest.param(f16, (67, 130), (130, 68), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_gpu_gives_the_bits_of_the_cpu(
    dtype: Any, a_shape: tuple[int, ...], b_shape: tuple[int, ...], on: str
) -> None:
    a, b = numbers(dtype, *a_shape), numbers(dtype, *b_shape)
    assert same_bits(loom.gpu_matmul(a, b, on=on), loom.gpu_matmul(a, b, on="cpu"))


def test_cuts_fill_a_gpu() -> None:
    square = choose_slabs(GPU, FLOATS, 4096, 4096, 4096, 1)
    assert (square.grid.height, square.grid.width, square.grid.held, square.split) == (64, 128, True, False)
    wide = ProductTypes(f64, f64, f64, f64)
    for caps, types, held in (
        (replace(GPU, shared_nbytes=32768), FLOATS, True),
        (GPU, wide, True),
        (GPU, FLOATS, False),
    ):
        assert not choose_slabs(caps, types, 4096, 4096, 4096, 1, held=held).grid.held
    tall, flat = choose_slabs(GPU, FLOATS, 4096, 1, 4096, 1), choose_slabs(GPU, FLOATS, 1, 4096, 4096, 1)
    assert (tall.grid.width, tall.split) == (4, True)
    assert (flat.grid.height, flat.split) == (4, True)
    assert choose_slabs(GPU, FLOATS, 32, 32, 65536, 1).split
    assert not choose_slabs(GPU, FLOATS, 64, 64, 64, 1000).split


@pytest.mark.parametrize("caps", [GPU, LESS], ids=["more", "least"])
@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_shared_memory_is_within_that_of_any_device(dtype: Any, caps: Caps) -> None:
    arithmetic = ProductTypes(dtype, dtype, dtype, dtype)
    for m, n in ((4096, 4096), (200, 200), (4096, 1), (1, 4096)):
        grid = choose_slabs(caps, arithmetic, m, n, 4096, 1).grid
        slabs = [Slab(width, grid.depth, grid.lanes, by_k=True, whole=False) for width in (grid.height, grid.width)]
        assert (2 * sum(s.quads for s in slabs) + grid.kept_quads) * 4 * dtype.nbytes <= caps.shared_nbytes


def test_one_kernel_is_made_for_each_choice() -> None:
    layouts = [
        Layout(a, b, False, w, w) for a, b, w in ((True, False, False), (True, False, True), (False, True, False))
    ]
    kernels = [multiply_slabs(CHUNKS.grid, layout, FLOATS) for layout in layouts]
    kernels += [multiply_slabs(SPLIT.grid, layouts[0], FLOATS), fold_blocks(f32)]
    kernels += [multiply_slabs(CHUNKS.grid, layouts[0], ProductTypes(f32, f32, f32, f32, precision="x12"))]
    assert kernels[0] is multiply_slabs(Grid(2, 4, 1, 1, 4), layouts[0], FLOATS)
    assert len({k.verified.hash for k in kernels}) == len({k.verified.name for k in kernels}) == len(kernels)


@pytest.mark.parametrize("cut", [CHUNKS, HELD], ids=["out", "held"])
@pytest.mark.parametrize("size", [0, 80], ids=["exact", "far"])
@pytest.mark.parametrize("kind", ["x12", "f16", "bf16"])
def test_products_of_short_factors_are_fused_where_they_are_exact(
    kind: str, size: int, cut: Slabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Factors of 2^80 and 2^-80 have products that are rounded: then nothing is fused."""
    monkeypatch.setattr(products, "_LEAST_MADE", 0)
    element = {"x12": f32, "f16": f16, "bf16": bf16}[kind]
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((21, 300), (300, 36)))
    a[3, 7], b[7, 5] = np.nan, np.inf
    if size and kind != "f16":
        a[0], b[:, 0] = a[0] * np.float32(2.0**size), b[:, 0] * np.float32(2.0**-size)
        a[1], b[:, 1] = a[1] * np.float32(2.0**-75), b[:, 1] * np.float32(2.0**-70)
    short = [rounded(x, kind) for x in (a, b)]
    types = product_types(element, f32, precision="x12" if kind == "x12" else "")
    device, what = loom.device("cpu"), Multiplication(21, 36, 300, types)
    chain, out = loom.Chain(device), np.zeros((21, 36), np.float32)
    given: list[Any] = [a, b] if kind == "x12" else [stored(x, kind) for x in short]
    places = [device.allocate(x.nbytes) for x in (*given, out)]
    for place, x in zip(places, given, strict=False):
        place.write(0, x.reshape(-1).view(np.uint8))
    record_matmul(chain, places[0], places[1], places[2], what, schedule=cut)
    program = chain.build()
    with loom.profile() as seen:
        program.run()
    assert any("matmul_exact" in row.kernel for row in seen.rows)
    found = places[2].read(0, out.nbytes).view(np.float32).reshape(out.shape)
    assert same_bits(found, canonical_matmul(*short))


def rounded(x: Array, kind: str) -> Array:
    """Return numbers with as many bits as the factors have."""
    if kind == "f16":
        return x.astype(np.float16).astype(np.float32)
    bits, dropped = x.view(np.uint32).astype(np.uint64), 12 if kind == "x12" else 16
    half = (1 << (dropped - 1)) - 1 + ((bits >> np.uint64(dropped)) & np.uint64(1))
    made = ((bits + half) >> np.uint64(dropped) << np.uint64(dropped)).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(x), x, made)


def stored(x: Array, kind: str) -> Array:
    """Return numbers as they lie in memory."""
    return x.astype(np.float16) if kind == "f16" else (x.view(np.uint32) >> 16).astype(np.uint16)
