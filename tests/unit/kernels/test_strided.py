"""Strided kernels: nests that differ in places alone share one kernel."""

from __future__ import annotations

import pytest

from loom.core.dtype import f32
from loom.ir.kernel import Access
from loom.kernels.maps.nest import Coordinate, Load, LoopNest, Store, apply_operation
from loom.schedules.maps import LANES, THREADS, Strided, plan_strided


def _copy(shape: tuple[int, ...], begin: int, target: int, *, threads: bool) -> Strided:
    rows = (100, 1)[-len(shape) :]
    values = Load(0, begin, rows), Load(0, begin + 7, rows)
    stores = Store(0, 1, target, rows), Store(1, 1, target + 50, rows)
    nest = LoopNest(shape, values, stores, ((f32, Access.READ), (f32, Access.WRITE)))
    return plan_strided(nest, THREADS if threads else LANES)


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("shape", [(40,), (3, 40)])
def test_nests_that_begin_elsewhere_share_a_kernel(shape: tuple[int, ...], threads: bool) -> None:
    first, second = _copy(shape, 300, 200, threads=threads), _copy(shape, 500, 900, threads=threads)
    assert first.kernel is second.kernel
    assert sorted(first.params[1:]) == [200, 250, 300]
    assert sorted(second.params[1:]) == [500, 900, 950]


def test_one_buffer_stored_to_twice_has_one_kernel_for_all_lengths() -> None:
    assert _copy((40,), 300, 200, threads=False).kernel is _copy((50,), 300, 200, threads=False).kernel


@pytest.mark.parametrize("is_passing", [False, True])
@pytest.mark.parametrize(("shape", "steps"), [((1,), (0,)), ((1, 1), (0, 0)), ((3, 1), (1, 0))])
def test_a_step_of_nothing_along_an_axis_of_one_element_is_no_race(
    shape: tuple[int, ...], steps: tuple[int, ...], is_passing: bool
) -> None:
    values = (Coordinate(len(shape) - 1, f32), Coordinate(0, f32), apply_operation("add", (0, 1)))
    nest = LoopNest(shape, values, (Store(2, 0, 0, steps),), ((f32, Access.WRITE),))
    assert plan_strided(nest, LANES, is_passing=is_passing).groups
