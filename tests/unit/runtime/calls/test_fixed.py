"""Fixed-point cells: sums of floats that are exact in any order, on every device; what they do not hold is told.

The oracle adds Python's integers and fractions.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, f64, i32, u32
from loom.core.errors import ArgumentError, AssertionFailed, LoomError

CELLS = loom.fixed(2**-20)


@loom.kernel
def scatter(at: In[u32], x: In[f32], sums: InOut[CELLS]):
    i = loom.global_id()
    if i < len(x):
        loom.atomic_add(sums, at[i], x[i])


@loom.kernel
def scatter_f64(at: In[u32], x: In[f64], sums: InOut[loom.fixed(2**-40, f64)]):
    i = loom.global_id()
    if i < len(x):
        loom.atomic_add(sums, at[i], x[i])


@loom.kernel(workgroup=64)
def by_groups(at: In[u32], x: In[f32], sums: InOut[CELLS]):
    i, lane = loom.global_id(), loom.local_id()
    own = loom.shared(CELLS, 16)
    if i < len(x):
        loom.atomic_add(own, at[i], x[i])
    loom.barrier()
    if lane < 16:
        loom.atomic_add(sums, lane, own[lane])


def exact(at: np.ndarray, x: np.ndarray, exponent: int, count: int) -> list[Fraction]:
    """Return the sums of the multiples of 2^exponent that are nearest, halves to even."""
    found = [Fraction(0)] * count
    for k, value in zip(at.tolist(), x.tolist(), strict=True):
        found[k] += round(Fraction(value) / Fraction(2) ** exponent) * Fraction(2) ** exponent
    return found


@pytest.mark.needs("wide atomics")
@pytest.mark.parametrize("kernel", [scatter, by_groups], ids=["cells", "shared"])
def test_sums_are_exact(on: str, kernel: Any) -> None:
    dice = np.random.default_rng(1)
    at, x = dice.integers(0, 16, 3000).astype(np.uint32), (dice.standard_normal(3000) * 100).astype(np.float32)
    cells = np.zeros(16, np.int64)
    kernel(at, x, cells, on=on)
    expected = exact(at, x, -20, 16)
    assert [Fraction(int(c)) / (1 << 20) for c in cells] == expected
    sums = np.full(16, 0.5, np.float32)  # floats are taken and given back
    kernel(at, x, sums, on=on)
    assert sums.tolist() == [float(np.float32(float(s + Fraction(1, 2)))) for s in expected]


@pytest.mark.needs("wide atomics")
def test_an_array_of_doubles_comes_back_as_doubles(on: str) -> None:
    """The kernel reads f32, but what the cells hold is told to an array of f64 as it is."""
    sums = np.array([0.0, 1 / 3, 1_000_000.123])
    scatter([0, 0, 2], [1.0, 1.0, 1.0], sums, on=on)
    assert sums.tolist() == [2.0, round(2**20 / 3) / 2**20, round(1_000_001.123 * 2**20) / 2**20]


@pytest.mark.needs("wide atomics")
def test_doubles(on: str) -> None:
    dice = np.random.default_rng(2)
    at, x = dice.integers(0, 4, 500).astype(np.uint32), dice.standard_normal(500)
    sums = np.zeros((2, 2))
    scatter_f64(at, x, sums, on=on)
    assert sums.reshape(-1).tolist() == [float(s) for s in exact(at, x, -40, 4)]


@pytest.mark.needs("wide atomics")
def test_the_order_cannot_be_seen(on: str) -> None:
    x = np.float32([1e6, 3e-6, -1e6, 0.25, 7e-7, 0.1] * 50)
    sums = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(x))
        cells = np.zeros(1, np.int64)
        scatter(np.zeros(len(x), np.uint32), x[order], cells, on=on)
        sums.append(int(cells[0]))
    assert len(set(sums)) == 1


def test_cells_are_read_and_stored(on: str) -> None:
    @loom.kernel
    def means(sums: In[CELLS], out: Out[f32], kept: Out[CELLS]):
        i = loom.global_id()
        if i < len(out):
            out[i] = sums[i] / 2.0
            kept[i] = -sums[i]

    assert means([0.5, 2], on=on)[0].tolist() == [0.25, 1]
    out, kept = means(np.float32([1.5, -3, 2.0**-20]), on=on)
    assert out.tolist() == [0.75, -1.5, 2.0**-21]
    assert kept.tolist() == [-1.5, 3, -(2.0**-20)]
    assert kept.dtype == np.float32


@pytest.mark.needs("wide atomics")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2.0**41, -(2.0**100)])
def test_what_does_not_fit_is_told(on: str, bad: float) -> None:
    x = np.float32([1, bad, 2])
    with pytest.raises(AssertionFailed, match=re.escape("sums of fixed(2**-20) does not hold")):
        scatter(np.zeros(3, np.uint32), x, np.zeros(1, np.int64), on=on)


@pytest.mark.needs("wide atomics")
def test_an_overflow_is_told(on: str) -> None:
    x = np.full(300, 2.0**40, np.float32)
    cells = np.zeros(2, np.int64)
    with pytest.raises(AssertionFailed, match=re.escape("sums of fixed(2**-20) overflows at 1")):
        scatter(np.ones(300, np.uint32), x, cells, on=on)
    assert int(loom.gpu_max(np.abs(cells))) < 2**63 - 1


def test_the_host() -> None:
    assert CELLS.encode(np.float32([1.5, 2.0**-21, 3 * 2.0**-21])).tolist() == [3 << 19, 0, 2]
    assert CELLS.decode(np.array([1, 1 << 62])).dtype == np.float32
    assert loom.fixed(2**-40, f64).decode(np.array([3])).tolist() == [3 * 2.0**-40]
    assert (str(loom.fixed(0.5)), repr(loom.fixed(4, f64))) == ("fixed(2**-1)", "loom.fixed(2**2, f64)")
    for value in (np.nan, np.inf, 2.0**41):
        with pytest.raises(ArgumentError, match="a number that the cells do not hold"):
            CELLS.encode([value])
    for wrong in ("x", [[1.0], [1.0, 2.0]], None):
        with pytest.raises(LoomError):
            CELLS.encode(wrong)
        with pytest.raises(LoomError):
            CELLS.decode(wrong)
    with pytest.raises(LoomError, match="no cells"):
        CELLS.decode(np.zeros(2))
    for scale in (0, -1, 3, 0.1, 2.0**101, True, "1", np.nan):
        with pytest.raises(ArgumentError, match=r"loom\.fixed, scale"):
            loom.fixed(scale)
    with pytest.raises(ArgumentError, match=re.escape("Pass the resolution of the sums, for example 2**-7")):
        loom.fixed(0.01)
    with pytest.raises(ArgumentError, match=re.escape("got 6.223015277861142e-61. Pass the resolution of the sums, "
                                                      "for example 2**-100")):  # fmt: skip
        loom.fixed(2.0**-200)
    with pytest.raises(ArgumentError, match=re.escape("got nan. Pass finite numbers")):
        CELLS.encode([np.nan])
    with pytest.raises(LoomError, match="no float that kernels compute in"):
        loom.fixed(0.5, i32)


def test_what_is_refused() -> None:
    chain = loom.Chain()
    with pytest.raises(LoomError, match=re.escape("Bind loom.fixed(2**-20).encode(array)")):
        chain.dispatch(scatter, [np.zeros(1, np.uint32), np.zeros(1, np.float32), np.zeros(1, np.float32)])
    with pytest.raises(ArgumentError, match="read-only"):
        scatter([0], [1.0], np.broadcast_to(np.float32(0), 3))

    @loom.kernel
    def least(c: InOut[CELLS]):
        loom.atomic_min(c, 0, 1.0)

    @loom.kernel
    def whole(c: InOut[CELLS], n: i32):
        loom.atomic_add(c, 0, n)

    @loom.kernel
    def plain(c: InOut[f32]):
        loom.atomic_add(c, 0, 1.0)

    for kernel, text in ((least, "atomic_min on fixed(2**-20) cells"), (whole, "Convert with f32(...)"),
                         (plain, "Declare it as loom.fixed(2**-20), whose sums are exact")):  # fmt: skip
        with pytest.raises(LoomError, match=re.escape(text)):
            _ = kernel.verified
