"""Dispatches of which only so much is run: which groups come first, where it ends, and what equal stores are."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from loom import In, InOut, u32
from loom.core.errors import RaceDetected
from loom.ir.interp import Options, interpret
from loom.ir.interp.worklimit import spread_out


@loom.kernel(workgroup=64)
def mark(y: InOut[u32]):
    y[loom.global_id()] = 1


@loom.kernel(workgroup=4)
def put(at: In[u32], x: In[u32], y: InOut[u32]):
    i = loom.global_id()
    y[at[i]] = x[i]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 100, 257])
def test_every_number_comes_once(count: int) -> None:
    assert sorted(spread_out(count)) == list(range(count))


def test_the_first_come_from_all_over() -> None:
    assert list(spread_out(16))[:8] == [0, 15, 8, 4, 12, 2, 10, 6]
    assert list(spread_out(3)) == [0, 2, 1]


def test_what_is_beyond_the_work_is_not_run() -> None:
    y = np.zeros(1 << 16, np.uint32)
    interpret(mark.verified.kernel, [y], [], (1 << 10, 1, 1), options=Options(work=3 * 4096 * 10))
    blocks = y.reshape(16, 4096)
    assert [int(b.sum()) for b in blocks if b.any()] == [4096] * 3
    assert blocks[[0, 8, 15]].all()
    interpret(mark.verified.kernel, [y], [], (1 << 10, 1, 1), options=Options(work=1 << 30))
    assert y.all()


def told(at: list[int], x: list[int], *, equal: bool) -> bool:
    """Tell whether lanes that store ``x`` at ``at`` race."""
    arrays = [np.array(at, np.uint32), np.array(x, np.uint32), np.zeros(8, np.uint32)]
    try:
        interpret(put.verified.kernel, arrays, [], (2, 1, 1), options=Options(races=True, equal=equal))
    except RaceDetected:
        return True
    return False


def test_equal_stores_are_no_race_where_that_is_asked() -> None:
    apart, met = [7, 6, 5, 4, 3, 2, 1, 0], [7, 6, 5, 4, 3, 2, 1, 7]
    assert not told(apart, list(range(8)), equal=False)
    assert told(met, [9] * 8, equal=False)
    assert not told(met, [9] * 8, equal=True)
    assert told(met, [9] * 7 + [8], equal=True)
    assert told(met, list(range(8)), equal=True)
