"""Attention over pages as GPUs take it: tiles of rows, and pages side by side, give the bits of a group for each row.

Oracle: the kernels of ``kernels.attention.cached``, which tests/unit/models/inference/test_engine.py holds against
whole networks. Sequences begin anywhere, lie in pages in no order, and leave rows empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.caps import Caps
from loom.core.dtype import DType, bf16, f16, f32
from loom.kernels.attention.abreast import Abreast, choose_abreast
from loom.kernels.attention.cached import PAGE
from loom.kernels.attention.rowtiles import RowTile, choose_row_tile
from loom.kernels.matmul.grids import Grid
from loom.schedules.attention.cached import CachedAttention, few_sequences, record_cached_attention, usual_rows

ALL = 1 << 18
GPU = Caps(32, 49152, 1024, False, 132, 1 << 20, threads=True)
_HELD: dict[DType, Any] = {f32: np.float32, f16: np.float16}


def tile(together: int) -> RowTile:
    """Return 8 queries by 64, 4 k at a time."""
    return RowTile(Grid(2, 16, 1, 1, 4), together)


def side_by_side(together: int) -> Abreast:
    """Return two pages or blocks at once, four loads each."""
    return Abreast(together, 2, 4)


def made(what: CachedAttention, runs: list[tuple[int, int]], *, strange: bool = False) -> list[np.ndarray[Any, Any]]:
    """Return q, k, v, pages, places and tables: of each sequence so many tokens after so many that are there."""
    rng = np.random.default_rng(what.rows)
    places = [[s, start + i + 1] for s, (start, count) in enumerate(runs) for i in range(count)]
    places += [[0, 0]] * (what.rows - len(places))
    pages = len(runs) * what.width
    tables = rng.permutation(pages).astype(np.uint32)
    new = [(what.rows, what.heads, n, what.size) for n in (what.together, 1, 1)]
    found: list[Any] = [rng.standard_normal(shape).astype(np.float32) for shape in new]
    for _ in "kv":
        kept = rng.standard_normal(pages * what.heads * PAGE * what.size).astype(np.float32)
        if strange:
            kept[rng.integers(0, kept.size, 5)] = np.inf
        found.append(
            (kept.view(np.uint32) >> 16).astype(np.uint16) if what.held == bf16 else kept.astype(_HELD[what.held])
        )
    if strange:  # the last of a stretch, which no row before it may see
        found[2][runs[0][1] - 1] = np.inf
    return [*found, np.array(places, np.uint32), tables]


def run(on: str, what: CachedAttention, given: list[np.ndarray[Any, Any]], cut: Any) -> np.ndarray[Any, Any]:
    """Return the bits of the result, of any NaN those of one."""
    place, buffers = loom.device(on), list[Any]()
    for array in given:
        buffers.append(place.allocate(array.nbytes))
        buffers[-1].write(0, array.reshape(-1).view(np.uint8))
    out = place.allocate(4 * what.rows * what.heads * what.together * what.size)
    chain = loom.Chain(on)
    given_to: tuple[Any, ...] = (*buffers, out)
    record_cached_attention(chain, *given_to, what=what, cut=cut)
    chain.build().run()
    found = out.read(0, out.nbytes).view(np.float32)
    return np.where(np.isnan(found), np.uint32(0x7FC00000), found.view(np.uint32))


def shape(
    rows: int, heads: int, together: int, size: int, width: int, sequences: int, window: int = ALL, held: DType = f32
) -> CachedAttention:
    """Return what is asked of a pass."""
    return CachedAttention(rows, heads, together, size, width, 0.3, window, f32, held, sequences)


_CASES: dict[str, tuple[CachedAttention, list[tuple[int, int]], bool]] = {
    "two stretches, a window, infinities": (shape(30, 2, 2, 20, 4, 2, 80), [(100, 14), (7, 12)], True),
    "one": (shape(24, 1, 3, 64, 3, 1), [(0, 23)], False),
    "odd size": (shape(20, 2, 1, 6, 2, 2), [(3, 9), (90, 10)], False),
    "size of two blocks": (shape(8, 1, 2, 136, 2, 1), [(60, 8)], False),
    "halves": (shape(12, 1, 3, 12, 2, 1, held=f16), [(60, 12)], False),
    "halves of another kind": (shape(12, 1, 2, 12, 2, 1, 30, bf16), [(60, 12)], False),
    "single rows": (shape(12, 1, 3, 16, 2, 10), [(5 * n, 1) for n in range(10)], False),
    "two chunks": (shape(8, 1, 2, 16, 70, 2), [(4300, 4), (4094, 3)], False),
    "two chunks and a window": (shape(8, 1, 2, 16, 70, 2, 500), [(4300, 4), (590, 3)], False),
    "three chunks": (shape(8, 1, 2, 16, 130, 2), [(8190, 4), (4090, 3)], False),
}  # fmt: skip
_ALWAYS = ("two stretches, a window, infinities",)


@pytest.mark.parametrize("cut", [tile, side_by_side])
@pytest.mark.parametrize("name", [
    name if name in _ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in _CASES
])  # fmt: skip
def test_a_cut_changes_no_bit(name: str, cut: Any) -> None:
    what, runs, strange = _CASES[name]
    given = made(what, runs, strange=strange)
    want = run("cpu", what, given, None)
    assert (want != 0).any()
    assert (run("cpu", what, given, cut(what.together)) == want).all()


@pytest.mark.slow
@pytest.mark.parametrize("cut", [choose_row_tile, choose_abreast])
@pytest.mark.parametrize("name", _CASES)
def test_a_gpu_gives_the_bits_of_the_cpu(name: str, cut: Any, on: str) -> None:
    what, runs, strange = _CASES[name]
    given, caps = made(what, runs, strange=strange), loom.device(on).caps
    if on in ("cpu", "interp"):  # small cuts, which compile soon
        chosen: Any = tile(what.together) if cut is choose_row_tile else side_by_side(what.together)
    elif cut is choose_row_tile:
        chosen = choose_row_tile(caps, what.together)
    else:
        chosen = choose_abreast(caps, what.together, what.size)
    assert (run(on, what, given, chosen) == run("cpu", what, given, None)).all()


def test_cuts_are_chosen_by_what_a_pass_has() -> None:
    assert (few_sequences(128), few_sequences(256), few_sequences(2048)) == (0, 8, 64)
    rows = choose_row_tile(GPU, 3)
    assert rows is not None
    assert (rows.rows, rows.grid.height) == (21, 64)
    assert choose_row_tile(GPU, 65) is None
    wide, narrow = choose_abreast(GPU, 3, 64), choose_abreast(GPU, 16, 128)
    assert wide is not None
    assert narrow is not None
    assert (wide.sides, narrow.sides) == (8, 2)
    assert choose_abreast(GPU, 64, 128) is None
    assert (usual_rows(GPU), usual_rows(loom.device("cpu").caps)) == (2048, 512)
