"""Kernels that write a view again and again: elements, and how many objects there are."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import InOut, Out, f32


@loom.kernel
def put(x: Out[f32], n: f32):
    i = loom.global_id()
    if i < len(x):
        x[i] = n


@loom.kernel
def more(x: InOut[f32], n: f32):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + n


VIEWS: dict[str, Callable[[Any], Any]] = {
    "slice": lambda t: t[2:6],
    "reversed": lambda t: t[::-1][2:6],
    "row": lambda t: t.reshape(4, 4)[1],
    "columns": lambda t: t.reshape(4, 4).T,
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("kernel", [put, more], ids=["out", "inout"])
def test_a_view_that_is_written_keeps_no_history(name: str, kernel: Any) -> None:
    wanted = np.arange(16, dtype=np.float32)
    tensor = loom.array(wanted)
    view, mirror = VIEWS[name](tensor), VIEWS[name](wanted)
    counts = []
    for _ in range(3):
        for _ in range(40):
            kernel(view, 1.0)
            mirror[...] = mirror + 1.0 if kernel is more else 1.0
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[2] - counts[1] < 100  # it was 25 to 38 for each of 40 calls
    assert np.array_equal(np.asarray(view), mirror)
    assert np.array_equal(np.asarray(tensor), wanted)


def test_what_was_recorded_before_keeps_its_elements() -> None:
    tensor = loom.array(np.arange(16, dtype=np.float32))
    view = tensor[2:6]
    more(view, 1.0)
    before, part = tensor * 2.0, view + 0.0
    more(view, 1.0)
    more(view, 1.0)
    assert before.tolist()[:7] == [0.0, 2.0, 6.0, 8.0, 10.0, 12.0, 12.0]
    assert part.tolist() == [3.0, 4.0, 5.0, 6.0]
    assert tensor.tolist()[:7] == [0.0, 1.0, 5.0, 6.0, 7.0, 8.0, 6.0]
