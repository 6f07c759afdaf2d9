"""The kernels of ``loom.stats`` and ``loom.data``, which are trusted: nothing outside, nothing unwritten, no race."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from conformance.cases.library import tables
from conformance.running import CASES, SLOW, execute, load_case
from loom.core.dtype import f16, f32, i64
from loom.kernels.fold import deviations as statistics
from loom.kernels.fold import groups, rolling
from loom.kernels.move import compact, histogram, join

WATCHED = sorted(
    name
    for name, make in CASES.items()
    if name not in SLOW and getattr(getattr(make, "func", None), "__module__", "") == tables.__name__
)


@pytest.mark.parametrize("name", WATCHED)
def test_the_debugger_finds_no_fault_and_the_same_bits(name: str) -> None:
    case = load_case(name)
    plain = execute(case.kernel, case.buffers, case.params, case.groups)
    with loom.debug(races=True, bounds=True, uninitialized=True, nan=False):
        watched = execute(case.kernel, case.buffers, case.params, case.groups)
    for memory, a, b in zip(case.kernel.buffers, plain, watched, strict=True):
        assert (a.view(np.uint8) == b.view(np.uint8)).all(), memory.name


def test_zeros_of_either_sign_are_left_out_and_nans_are_not() -> None:
    x = np.array([0.0, -0.0, 1e-7, -0.0, np.nan], np.float32)
    assert loom.data.compact(x, indices=True)[1].tolist() == [2, 4]


def test_one_kernel_is_made_for_each_choice_of_types() -> None:
    tiles = statistics.product_tiles(f32, f32, paired=False)
    assert tiles is statistics.product_tiles(f32, f32, paired=False)
    assert compact.keep_elements(f32, f32) is not compact.keep_elements(f32, i64)
    assert compact.gather_elements(f16, i64).name == "gather_u16_i64"
    assert rolling.fold_windows(f32, f32, "sum").name == "rolling_sum_f32_f32"
    assert groups.fold_groups("sum", f16, f32, f16).name == "groups_sum_f16_f32_f16"
    assert histogram.count_bins(f32, f32, even=True, alone=False).name == "bins_f32_f32_even"
    assert join.match_keys(i64).name == "match_i64"
