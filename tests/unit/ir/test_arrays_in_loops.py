"""Arrays that a kernel declares in a loop: a private one starts as zero each time, a shared one is refused there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, bool_, f16, f32, u32
from loom.core.errors import KernelTypeError


def tallied(v: Any) -> Any:
    held = loom.private(u32, 4)
    held[v % 4] += 1
    return held[0] * 100 + held[1] * 10 + held[2]


@loom.struct
class Pair:
    a: f32
    b: u32


@loom.kernel
def over_a_grid(y: InOut[u32]):
    for i in range(loom.global_id(), len(y), loom.num_groups() * loom.workgroup_size()):
        p = loom.private(u32, 2)
        p[0] += 1
        y[i] = p[0]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_number_of_groups_does_not_show(groups: int, on: str) -> None:
    y = np.zeros(200, np.uint32)
    over_a_grid(y, groups=groups, on=on)
    assert (y == 1).all()


@loom.kernel
def each_turn(x: In[u32], y: Out[u32]):
    i = loom.global_id()
    if i < len(y):
        total = u32(0)
        for k in range(3):
            total += tallied(x[i] + u32(k))
        n = u32(0)
        while n < 2:
            flags = loom.private(bool_, 3)
            pairs = loom.private(Pair, (2, 2))
            halves = loom.private(f16, 2)
            quads = loom.private(loom.f32x4, 2)
            if flags[n] or pairs[n, 1].b > 0 or halves[0] > 0.0 or quads[1].y > 0.0:
                total += 10000
            flags[0], flags[1] = True, True
            pairs[0, 1], pairs[1, 1] = Pair(1.0, 1), Pair(1.0, 1)
            halves[0] = 1.0
            quads[1] = loom.f32x4(1.0, 1.0, 1.0, 1.0)
            n += 1
        y[i] = total


def test_arrays_of_all_types_start_as_zero_each_turn(on: str) -> None:
    x = np.arange(8, dtype=np.uint32)
    each = {0: 100, 1: 10, 2: 1, 3: 0}
    assert each_turn(x, on=on).tolist() == [sum(each[int(v + k) % 4] for k in range(3)) for v in x]


@loom.kernel
def asked(y: Out[u32]):
    i = loom.global_id()
    if i < len(y):
        k = u32(0)
        while k < 3 and tallied(k * 4) == 100:
            k += 1
        y[i] = k


def test_a_condition_is_asked_anew_each_turn(on: str) -> None:
    assert asked(out=2, on=on).tolist() == [3, 3]


def test_a_function_of_a_map_gets_zeros_each_turn(on: str) -> None:
    def summed(v: Any) -> Any:
        total = u32(0)
        for k in range(3):
            total += tallied(v + u32(k) * 4)
        return total

    assert loom.gpu_map(np.zeros(5, np.uint32), summed, on=on).tolist() == [300] * 5


def test_an_array_before_the_loop_keeps_what_it_holds(on: str) -> None:
    @loom.kernel
    def kept(y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            p = loom.private(u32, 1)
            for _ in range(5):
                p[0] += 1
            y[i] = p[0]

    assert kept(out=2, on=on).tolist() == [5, 5]


def sums(y: InOut[u32], tile: Any) -> None:
    tile[loom.local_id()] = y[loom.global_id()]
    loom.barrier()


def own_tile(y: InOut[u32]) -> None:
    sums(y, loom.shared(u32, 64))


def test_a_shared_array_in_a_loop_is_refused_and_the_remedy_works(on: str) -> None:
    @loom.kernel
    def inside(y: InOut[u32]):
        for _ in range(2):
            own_tile(y)

    with pytest.raises(KernelTypeError, match=r"a shared array is declared in a loop.* Declare it before the loop"):
        _ = inside.verified

    @loom.kernel
    def before(y: InOut[u32]):
        tile = loom.shared(u32, 64)
        for _ in range(2):
            sums(y, tile)
            y[loom.global_id()] = tile[63 - loom.local_id()]
            loom.barrier()

    y = np.arange(64, dtype=np.uint32)
    before(y, on=on)
    assert y.tolist() == list(range(64))
