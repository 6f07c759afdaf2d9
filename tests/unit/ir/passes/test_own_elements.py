"""A lane's own element of two axes, or of a loop that steps over all lanes, may have atomics beside plain accesses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import InOut, u32
from loom.core.errors import ArgumentError, VerifyError
from loom.ir.verify import verify


def an_element_of_two_axes(x: InOut[u32, 2], n: u32) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    if i < x.shape[0] and j < x.shape[1]:
        x[i, j] = loom.atomic_add(x, (i, j), n) * 2


def behind_an_early_return(x: InOut[u32, 2], n: u32) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    if i >= x.shape[0] or j >= x.shape[1]:
        return
    loom.atomic_add(x, (i, j), n)
    x[i, j] *= 2


def turned_about(x: InOut[u32, 2], n: u32) -> None:
    i, j = loom.global_id(0), loom.global_id(1)
    if i < x.shape[0] and j < x.shape[1]:
        loom.atomic_xor(x, (i, j), n)
        x[i, j] += 1


def columns_without_a_guard(x: InOut[u32, 2], n: u32) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    if i < x.shape[0]:
        x[i, j] = loom.atomic_add(x, (i, j), n)


def rows_without_a_guard(x: InOut[u32, 2], n: u32) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    if j < x.shape[1]:
        x[i, j] = loom.atomic_add(x, (i, j), n)


def guarded_by_the_other_axis(x: InOut[u32, 2], n: u32) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    if i < x.shape[1] and j < x.shape[0]:
        x[i, j] = loom.atomic_add(x, (i, j), n)


def a_neighbour(x: InOut[u32, 2], n: u32) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    if i < x.shape[0] and j < x.shape[1] and j + 1 < x.shape[1]:
        x[i, j] = loom.atomic_add(x, (i, j + 1), n)


def a_diagonal_of_rows(x: InOut[u32, 2], n: u32) -> None:
    j, i = loom.global_id(0), loom.global_id(1)
    if i + j < x.shape[0] and j < x.shape[1]:
        x[i + j, j] = loom.atomic_add(x, (i + j, j), n)


@pytest.mark.parametrize("function", [an_element_of_two_axes, behind_an_early_return, turned_about])
def test_elements_of_two_axes_are_a_lanes_own(function: Callable[..., None]) -> None:
    x, kernel = np.arange(35, dtype=np.uint32).reshape(5, 7), loom.kernel(workgroup=(4, 2))(function)
    found = {on: x.copy() for on in ("cpu", "interp")}
    for on, y in found.items():
        kernel(y, 3, on=on)
    told = {an_element_of_two_axes: x * 2, behind_an_early_return: (x + 3) * 2, turned_about: (x ^ 3) + 1}
    assert all(y.tolist() == told[function].tolist() for y in found.values())


def test_two_axes_in_groups_of_one_dimension_are_asked_for() -> None:
    kernel, x = loom.kernel(workgroup=8)(an_element_of_two_axes), np.zeros((5, 20), np.uint32)
    kernel(x, 3, groups=(3, 5))
    with pytest.raises(ArgumentError, match="these groups do not keep apart"):
        kernel(x, 3, groups=(3, 5, 2))


@pytest.mark.parametrize("function", [
    columns_without_a_guard, rows_without_a_guard, guarded_by_the_other_axis, a_neighbour, a_diagonal_of_rows,
])  # fmt: skip
def test_elements_of_two_axes_that_may_meet_are_refused(function: Callable[..., None]) -> None:
    with pytest.raises(VerifyError, match="depends on the order of lanes"):
        verify(loom.kernel(workgroup=(4, 2))(function).ir)


def over_all_lanes(x: InOut[u32], n: u32) -> None:
    for i in range(loom.global_id(), len(x), loom.num_groups() * loom.workgroup_size()):
        loom.atomic_add(x, i, n)
        x[i] *= 2


def over_a_group(x: InOut[u32], n: u32) -> None:
    for i in range(loom.local_id(), len(x), 8):
        loom.atomic_add(x, i, n)
    for i in range(loom.local_id(), len(x), 8):
        x[i] *= 2


def with_a_step_too_small(x: InOut[u32], n: u32) -> None:
    for i in range(loom.local_id(), len(x), 7):
        loom.atomic_add(x, i, n)
        x[i] *= 2


def with_the_step_of_a_group(x: InOut[u32], n: u32) -> None:
    for i in range(loom.global_id(), len(x), 8):
        loom.atomic_add(x, i, n)
        x[i] *= 2


def with_two_steps(x: InOut[u32], n: u32) -> None:
    for i in range(loom.local_id(), len(x), 8):
        loom.atomic_add(x, i, n)
    for i in range(loom.local_id(), len(x), 16):
        x[i] *= 2


def a_step_further(x: InOut[u32], n: u32) -> None:
    for i in range(loom.local_id(), len(x), 8):
        loom.atomic_add(x, i + 8, n)
        x[i] *= 2


@pytest.mark.parametrize(("function", "groups"), [(over_all_lanes, 3), (over_all_lanes, 1), (over_a_group, 1)])
def test_turns_of_a_loop_over_lanes_are_a_lanes_own(function: Callable[..., None], groups: int) -> None:
    kernel = loom.kernel(workgroup=8)(function)
    for on in ("cpu", "interp"):
        x = np.arange(50, dtype=np.uint32)
        kernel(x, 3, groups=groups, on=on)
        assert x.tolist() == ((np.arange(50) + 3) * 2).tolist()


@pytest.mark.parametrize(("function", "groups"), [(over_all_lanes, (2, 2)), (over_a_group, 2)])
def test_turns_that_lanes_have_in_common_are_refused_by_their_groups(
    function: Callable[..., None], groups: Any
) -> None:
    with pytest.raises(ArgumentError, match="these groups do not keep apart"):
        loom.kernel(workgroup=8)(function)(np.zeros(50, np.uint32), 3, groups=groups)


@pytest.mark.parametrize("function", [with_a_step_too_small, with_the_step_of_a_group, with_two_steps, a_step_further])
def test_turns_that_lanes_may_have_in_common_are_refused(function: Callable[..., None]) -> None:
    with pytest.raises(VerifyError, match="depends on the order of lanes"):
        verify(loom.kernel(workgroup=8)(function).ir)
