"""Rows of lanes one by one: short beside long, beside those that reach outside, of lanes that do not run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, i32, u32
from loom.core.errors import KernelFault
from unit.targets.test_stops import looks_of


@loom.kernel(workgroup=64)
def fold(start: In[u32], stop: In[u32], source: In[u32], values: In[i32], out: Out[i32]):
    i = loom.global_id()
    if i < len(out):
        total = i32(0)
        for e in range(start[i], stop[i]):
            total += values[source[e]]
        out[i] = total


def _rows(lengths: list[int], n: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(7)
    ends = np.cumsum(lengths).astype(np.uint32)
    source = rng.integers(0, n, max(1, int(ends[-1]))).astype(np.uint32)
    values = rng.integers(-99, 99, n).astype(np.int32)
    return ends - np.array(lengths, np.uint32), ends, source, values, np.full(len(lengths), -1, np.int32)


@pytest.mark.parametrize("simd", ["1", "4", "16"])
@pytest.mark.parametrize(
    "lengths",
    [[3] * 40, [0] * 17, [5, 0, 1, 90_000, *[2] * 30], [70_000] * 3, [*range(33)], [65_536, 65_535, 65_537, 16_384]],
    ids=["equal", "none", "one long", "long", "rising", "about a strip"],
)
def test_short_rows_beside_long_ones(monkeypatch: pytest.MonkeyPatch, simd: str, lengths: list[int]) -> None:
    monkeypatch.setenv("LOOM_SIMD", simd)
    start, stop, source, values, out = _rows(lengths, 500)
    fold(start, stop, source, values, out, lanes=len(out))
    assert out.tolist() == [values[source[a:b]].sum() for a, b in zip(start, stop, strict=True)]


@pytest.mark.parametrize("simd", ["1", "4", "16"])
@pytest.mark.parametrize("lane", [0, 6, 21, 39])
def test_the_lowest_row_that_reaches_outside_is_told(monkeypatch: pytest.MonkeyPatch, simd: str, lane: int) -> None:
    monkeypatch.setenv("LOOM_SIMD", simd)
    monkeypatch.setenv("LOOM_CHECK", "1")
    start, stop, source, values, out = _rows([3] * 40, 500)
    start[[lane, 39]] = len(source) - 2
    stop[[lane, 39]] = len(source) + 1
    with pytest.raises(KernelFault, match=rf"'source' in lane {lane}: expected an index from 0 to 119, got 120"):
        fold(start, stop, source, values, out, lanes=len(out))


@pytest.mark.parametrize("simd", ["1", "4", "16"])
def test_what_lies_outside_is_0_where_nobody_asks(monkeypatch: pytest.MonkeyPatch, simd: str) -> None:
    monkeypatch.setenv("LOOM_SIMD", simd)
    start, stop, source, values, out = _rows([3] * 40, 500)
    fold(start, stop, source, values, out, lanes=len(out))  # what the first call of a kernel reads is told
    stop[[6, 39]] += 90
    fold(start, stop, source, values, out, lanes=len(out))
    longer = np.pad(source, (0, 90))
    assert out.tolist() == [values[longer[a:b]].sum() for a, b in zip(start, stop, strict=True)]


@loom.kernel(workgroup=64)
def fold_by(start: In[u32], stop: In[u32], source: In[u32], values: In[i32], out: Out[i32], step: u32):
    i = loom.global_id()
    if i < len(out):
        total = i32(0)
        for e in range(start[i], stop[i], step):
            total += values[source[e]]
        out[i] = total


def test_rows_of_any_step_are_looked_at_in_each_turn() -> None:
    """A row of few turns of a known step needs no look: of its two ways one has none."""
    between_groups = 1
    assert looks_of(fold) == between_groups + 2
    assert looks_of(fold_by) == between_groups + 2 * 2
