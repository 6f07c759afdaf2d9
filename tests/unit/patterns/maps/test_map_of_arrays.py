"""Functions given to ``gpu_map`` are a user's: their arrays are checked and start as zero, and they know no lanes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest

import loom
from loom import f16, f32, f32x2, u32
from loom.core.errors import AssertionFailed, KernelTypeError, OutOfBounds

_SIZES = count(20_000)


@pytest.mark.parametrize("value", [4.0, 5.0, 1e5, 4e9])
def test_an_index_outside_is_told_and_later_reads_zero_and_stores_nothing(device: str, value: float) -> None:
    def outside(v):
        p = loom.private(f32, 4)
        q = loom.private(f32, 4)
        p[u32(v)] = v
        return p[0] + p[3] + q[0] + q[u32(v)]

    size = next(_SIZES)  # a map of so many elements is looked at once
    x = np.zeros(size, np.float32)
    x[17:40] = value  # of all of them not every lane has room in the log
    with pytest.raises(OutOfBounds, match="store outside private 'p' in lane 17"):
        loom.gpu_map(x, outside, on=device)
    loom.gpu_map(np.zeros(size, np.float32), outside, on=device)
    got = loom.gpu_map(np.full(size, value, np.float32), outside, on=device)
    assert not got.view(np.uint32).any()


def test_arrays_start_as_zero_for_every_element(device: str) -> None:
    """Also where a thread makes several elements, and for each of two maps in one kernel."""

    def counting(v):
        p, h, w = loom.private(f32, 3), loom.private(f16, 2), loom.private(f32x2, 2)
        found = p[u32(v) % 3] + h[1] + w[1].y
        p[u32(v) % 3] = f32(7.0)
        h[1] = f32(5.0)
        w[1] = f32x2(3.0, 4.0)
        return found

    x = np.arange(20_000, dtype=np.float32)
    assert not loom.gpu_map(x, counting, on=device).view(np.uint32).any()
    twice = loom.gpu_map(loom.gpu_map(loom.array(x, on=device), counting), counting)
    assert not np.asarray(twice).view(np.uint32).any()


def test_arrays_keep_what_an_element_stores(device: str) -> None:
    def reversed_digits(v):
        p = loom.private(u32, 4)
        for n in range(4):
            p[n] = v >> (8 * n) & 255
        return p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]

    x = np.random.default_rng(1).integers(0, 1 << 32, 10_001, dtype=np.uint32)
    assert (loom.gpu_map(x, reversed_digits, on=device) == x.byteswap()).all()


_KNOWS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "global_id": (lambda v: v + f32(loom.global_id()), "np.arange"),
    "local_id": (lambda v: v + f32(loom.local_id(0)), "np.arange"),
    "group_id": (lambda v: v + f32(loom.group_id(0)), "np.arange"),
    "num_groups": (lambda v: v + f32(loom.num_groups(0)), "np.arange"),
    "workgroup_size": (lambda v: v + loom.workgroup_size(0), "np.arange"),
    "shared": (lambda v: v + loom.shared(f32, 4)[0], "loom.private"),
}


@pytest.mark.parametrize("name", _KNOWS)
def test_what_depends_on_lanes_is_refused(name: str) -> None:
    function, remedy = _KNOWS[name]
    with pytest.raises(KernelTypeError) as told:
        loom.gpu_map(np.zeros(8, np.float32), function)
    text = str(told.value)
    assert f"loom.{name} in a function given to gpu_map, which knows elements and no lanes" in text
    assert "expected a value computed from its arguments alone" in text
    assert remedy in text


def test_positions_are_passed_as_an_array() -> None:
    """The remedy that the error names."""
    x = np.zeros(20_000, np.uint32)
    got = loom.gpu_map(x, lambda v, i: v + i, np.arange(20_000, dtype=np.uint32))
    assert (got == np.arange(20_000)).all()


def test_barriers_are_refused() -> None:
    def waits(v):
        loom.barrier()
        return v

    with pytest.raises(KernelTypeError, match=r"loom\.barrier in a function given to gpu_map"):
        loom.gpu_map(np.zeros(8, np.float32), waits)


def test_what_a_function_tells_names_elements(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a thread makes several elements: the lane of a fault is the element, and lines come in their order."""

    def telling(v):
        if v > 9000.0:
            print("saw", v)
        assert v < 9006.0, f"{v}"
        return v + 1

    with pytest.raises(AssertionFailed) as told:
        loom.gpu_map(np.arange(9010, dtype=np.float32), telling, on=device)
    assert (told.value.lane, told.value.message) == (9006, "9006.0")
    assert capsys.readouterr().out.splitlines() == [f"saw {n}.0" for n in range(9001, 9010)]
