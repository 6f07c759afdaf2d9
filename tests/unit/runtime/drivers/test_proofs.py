"""Which dispatches go unchecked: those proved inside, of devices that are tested, where nobody asked for reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core import options
from loom.runtime.drivers.proofs import Proofs
from loom.targets.base import Bounds


@loom.kernel(workgroup=8)
def offset(x: loom.InOut[loom.u32], by: loom.i32, factor: loom.f32) -> None:
    i = loom.i32(loom.global_id()) + by
    if i < 16:
        x[i] = loom.u32(factor)


def dispatch(by: Any, elements: int = 16, *, repeats: int = 1) -> Any:
    chain = loom.Chain("interp")
    x = np.zeros(elements, np.uint32)
    with chain.repeat(repeats):
        chain.dispatch(offset, [x], [by, 2.0], groups=2)
    return chain.recorded[0]


@pytest.fixture
def proofs() -> Proofs:
    found = Proofs()
    found.tested = True
    return found


def test_numbers_of_any_sign_and_of_all_turns_count(proofs: Proofs) -> None:
    assert proofs.bounds(dispatch(0)) is Bounds.INSIDE
    assert proofs.bounds(dispatch(5)) is Bounds.INSIDE
    assert proofs.bounds(dispatch(-1)) is None
    assert proofs.bounds(dispatch(0, elements=15)) is None
    assert proofs.bounds(dispatch(np.array([0, 3, 7]), repeats=3)) is Bounds.INSIDE
    assert proofs.bounds(dispatch(np.array([0, -3, 7]), repeats=3)) is None


def test_negative_numbers_between_others_are_another_question(proofs: Proofs) -> None:
    """As words, a negative number is a large one: neither the least nor the largest word tells of all."""
    assert proofs.bounds(dispatch(np.array([-1, 0, 3]), elements=20, repeats=3)) is None
    assert proofs.bounds(near(np.array([-1, 0, 3]))) is Bounds.INSIDE
    assert proofs.bounds(near(np.array([-1, 0, -7]))) is None
    assert proofs.bounds(near(np.array([-1, 0, 7]))) is Bounds.INSIDE
    assert proofs.bounds(near(np.array([-1, 0, 17]))) is None


@loom.kernel(workgroup=8)
def shifted(x: loom.InOut[loom.u32], by: loom.i32) -> None:
    if loom.local_id() == 0:
        x[by + 1] = 1


def near(by: Any) -> Any:
    chain = loom.Chain("interp")
    with chain.repeat(len(by)):
        chain.dispatch(shifted, [np.zeros(16, np.uint32)], [by], groups=1)
    return chain.recorded[0]


@loom.kernel(workgroup=8)
def by_groups(x: loom.InOut[loom.u32]) -> None:
    loom.atomic_add(x, 4 - loom.num_groups(), 1)


def test_turns_with_fewer_groups_count(proofs: Proofs) -> None:
    def turns(groups: list[int], elements: int) -> Any:
        chain = loom.Chain("interp")
        with chain.repeat(2):
            chain.dispatch(by_groups, [np.zeros(elements, np.uint32)], [], groups=np.array(groups))
        return chain.recorded[0]

    assert proofs.bounds(turns([4, 4], 1)) is Bounds.INSIDE
    assert proofs.bounds(turns([1, 4], 1)) is None
    assert proofs.bounds(turns([1, 4], 4)) is Bounds.INSIDE


def test_devices_are_tested_with_checked_code(proofs: Proofs) -> None:
    assert Proofs().bounds(dispatch(0)) is None


def test_reports_that_are_asked_for_are_made(proofs: Proofs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "check_bounds", lambda: True)
    assert proofs.bounds(dispatch(0)) is None


def test_a_kernel_given_other_numbers_each_time_costs_a_bounded_number_of_proofs(proofs: Proofs) -> None:
    found = [proofs.bounds(dispatch(0, elements=16 + n)) for n in range(80)]
    assert found == [Bounds.INSIDE] * 64 + [None] * 16
    assert proofs.bounds(dispatch(0, elements=20)) is Bounds.INSIDE, "what was proved stays so"
