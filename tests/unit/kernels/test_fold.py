"""The kernels of folds, indices of extremes and scans, which are trusted: no index outside, nothing read unwritten.

Oracle: the same kernel under the debugger and with bounds checked; sums of integers in numpy, of floats in its order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import f16, f32, f64, i8, i64, u8, u32
from loom.kernels.fold import arg as arg_reduce
from loom.kernels.fold import lanes as fold
from loom.kernels.fold import tiles as reduce
from loom.kernels.scan import lanes as scan
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold
from unit.patterns.canonical import canonical_reduce, same_bits

SHAPES = ((1, 1, 1), (2, 63, 1), (1, 4160, 1), (2, 65, 3), (1, 70, 70))
MOST_DEBUGGED = 600
"""Elements; the debugger is slow."""
N, INNER, OUTER = 1, 2, 0


def tiles_of(shape: tuple[int, ...], tile: int = 4096) -> int:
    return -(-shape[N] // tile)


def run(kernel: Any, given: list[Any], sizes: list[int], params: list[int], groups: int, on: str = "cpu") -> bytes:
    """Run a kernel over ``given`` arrays and new ones of ``sizes`` elements; return the bytes of the new ones."""
    buffers = kernel.verified.kernel.buffers
    arrays = [*given]
    for memory, size in zip(buffers[len(given) :], sizes, strict=True):
        arrays.append(np.zeros(size, memory.dtype.numpy))
    chain = loom.Chain(on)
    chain.dispatch(kernel, arrays, params, groups)
    chain.build().run()
    return b"".join(a.tobytes() for a in arrays[len(given) :])


def elements(dtype: Any, size: int) -> Any:
    return np.random.default_rng(size).integers(0, 5, size, np.uint8).astype(dtype.numpy)


def same_under_watch(monkeypatch: pytest.MonkeyPatch, *what: Any) -> None:
    plain = run(*what)
    if what[1][0].size < MOST_DEBUGGED:
        with loom.debug(races=True, bounds=True, uninitialized=True):
            assert run(*what) == plain
    with monkeypatch.context() as patched:
        patched.setenv("LOOM_CHECK", "1")
        assert run(*what) == plain


@pytest.mark.parametrize("types", [("sum", f32, f32, f32), ("max", f16, f32, f16), ("count", f64, u32, i64)], ids=str)
def test_folds(monkeypatch: pytest.MonkeyPatch, types: tuple[Any, ...]) -> None:
    for shape in SHAPES:
        outer, n, inner = shape
        x, tiles = elements(types[1], outer * n * inner), tiles_of(shape)
        if inner == 1:
            rows = fold.fold_rows(*types)
            same_under_watch(monkeypatch, rows, [x], [outer * tiles], [n, tiles], outer * tiles)
            short = fold.fold_columns(*types, short_rows=True)
            same_under_watch(monkeypatch, short, [x], [outer * tiles], [n, outer, tiles], tiles)
        columns = fold.fold_columns(*types, short_rows=False)
        groups = outer * tiles * -(-inner // fold.COLUMNS)
        same_under_watch(monkeypatch, columns, [x], [outer * tiles * inner], [n, inner, tiles], groups)


@pytest.mark.parametrize("n", [127, 128, 129, 256, 257])
def test_rows_of_any_length_are_added_in_one_order(n: int) -> None:
    rng = np.random.default_rng(n)
    x = (rng.standard_normal((5, n)) * 2.0 ** rng.integers(-9, 9, (5, n))).astype(np.float32)
    out = np.zeros(5, np.float32)
    chain = loom.Chain("cpu")
    record_fold(chain, x, Rows(5, n, 1), Folding("sum", f32, f32, f32), out)
    assert len(chain) == 1
    chain.build().run()
    assert same_bits(out, canonical_reduce(x, np.add, 0))


def test_four_tiles_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = reduce.sum_four_tiles(u8, i64, i64)
    for n in (1, 4097, 16_384, 16_400):
        x, tiles = elements(u8, n), -(-n // 4096)
        same_under_watch(monkeypatch, kernel, [x], [tiles], [n], -(-tiles // 4))
        sums = np.frombuffer(run(kernel, [x], [tiles], [n], -(-tiles // 4)), np.int64)
        assert (sums == [x[at : at + 4096].sum() for at in range(0, n, 4096)]).all()


@pytest.mark.parametrize("element", [f32, pytest.param(i8, marks=pytest.mark.slow)])
def test_indices_of_extremes(monkeypatch: pytest.MonkeyPatch, element: Any) -> None:
    for outer, n, inner in SHAPES:
        x = elements(element, outer * n * inner)
        if inner == 1:
            rows = arg_reduce.arg_rows(element, largest=True)
            same_under_watch(monkeypatch, rows, [x], [outer], [n, 1], outer)
            again = arg_reduce.arg_rows_again(element, largest=True)
            at = np.tile(np.arange(0, n, 2, dtype=np.uint32), outer)
            same_under_watch(monkeypatch, again, [x, at], [outer], [n, at.size // outer, 1], outer)
        for short_rows in (False, True):
            columns = arg_reduce.arg_columns(element, largest=False, short_rows=short_rows)
            rest, lanes = (1, outer) if short_rows else (outer, inner)
            if not short_rows or inner == 1:
                groups = rest * -(-lanes // 64)
                same_under_watch(monkeypatch, columns, [x], [rest * lanes], [n, lanes], groups)


@pytest.mark.parametrize("exclusive", [False, True])
def test_scans(monkeypatch: pytest.MonkeyPatch, exclusive: bool) -> None:
    for shape in SHAPES:
        outer, n, inner = shape
        across, tiles, width = inner > 1, tiles_of(shape), min(-(-n // 64), 64)
        x, rows = elements(f32, outer * n * inner), outer * tiles * inner
        groups = outer * tiles * (-(-inner // scan.ACROSS_LANES) if across else 1)
        params = [n, inner, tiles, width]
        totals = scan.run_totals("sum", f32, f32, across=across)
        same_under_watch(monkeypatch, totals, [x], [rows * width, rows], params, groups)
        runs, offsets = elements(f32, rows * width), elements(f32, rows)
        results = scan.scan_tiles("sum", f32, f32, f32, across=across, exclusive=exclusive)
        same_under_watch(monkeypatch, results, [x, runs, offsets], [x.size], params, groups)


@pytest.mark.parametrize("exclusive", [False, True])
def test_segmented_scans(monkeypatch: pytest.MonkeyPatch, exclusive: bool) -> None:
    for n in (1, 65, 520, 4160):
        x, marks, tiles = elements(f32, n), (elements(u8, n) == 0).astype(np.uint8), -(-n // 4096)
        width = min(-(-n // 64), 64)
        runs, params = tiles * width, [n, 1, tiles, width]
        totals = scan.run_totals("sum", f32, f32, across=False, segmented=True)
        same_under_watch(monkeypatch, totals, [x, marks], [runs, runs, tiles, tiles], params, tiles)
        given = [x, marks, elements(f32, runs), elements(u8, runs) // 3, elements(f32, tiles)]
        results = scan.scan_tiles("sum", f32, f32, f32, across=False, exclusive=exclusive, segmented=True)
        same_under_watch(monkeypatch, results, given, [n], params, tiles)
        ids = elements(i8, n)
        same_under_watch(monkeypatch, scan.mark_segments(i8), [ids], [n], [n], -(-n // 256))


def test_one_kernel_is_made_for_each_choice() -> None:
    assert fold.fold_rows("sum", f32, f32, f32) is fold.fold_rows("sum", f32, f32, f32)
    kernels = [
        *(fold.fold_rows(name, f32, f32, f32) for name in fold.FOLDS),
        *(scan.run_totals(op, f32, f32, across=a) for op in scan.SCANS for a in (False, True)),
    ]
    assert len({k.verified.hash for k in kernels}) == len(kernels)
    assert all(k.verified.kernel.trusted for k in kernels)
