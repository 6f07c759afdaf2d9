"""``gpu_map`` with ``out=``: the array given is written and returned, or refused untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import LoomError

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_the_result_goes_to_out(place: str) -> None:
    out = np.full((2, 3), 99, np.float32)
    assert loom.gpu_map(X, lambda v, w: v * 2 + w, X, out=out, on=place) is out
    assert out.tolist() == (X * 3).tolist()


def test_another_dtype_and_no_elements(place: str) -> None:
    flags = np.zeros((2, 3), np.bool_)
    loom.gpu_map(X, "lt", 3.0, out=flags, on=place)
    assert flags.tolist() == (X < 3).tolist()
    nothing = np.empty((0, 4), np.int32)
    assert loom.gpu_map(np.empty((0, 4), np.int32), "neg", out=nothing, on=place) is nothing


LEFT = " Leave out= away, or pass numpy.empty_like of the result."
FRESH = "[gpu_map, out] cannot be written to directly: expected a writable, contiguous, aligned array, got another."
SHARED = "[gpu_map, out] shares memory with an operand: expected memory of its own, got an overlap. Pass another array."
locked = np.zeros((2, 3), np.float32)
locked.flags.writeable = False


@pytest.mark.parametrize(
    ("out", "text"),
    [
        ([0.0] * 6, "[gpu_map, out] cannot take the result: expected a numpy array of float32, got list." + LEFT),
        (
            np.zeros((2, 3)),
            "[gpu_map, out] cannot take the result: expected a numpy array of float32, got float64." + LEFT,
        ),
        (
            np.zeros(6, np.float32),
            "[gpu_map, out] another shape: expected (2, 3), got (6,). Match the shape of data.",
        ),
        (np.zeros((2, 6), np.float32)[:, ::2], FRESH + " Pass a fresh numpy.empty(...)."),
        (locked, FRESH + " Pass a fresh numpy.empty(...)."),
        (X, SHARED),
    ],
)
def test_refused(out: Any, text: str) -> None:
    before = np.array(out).copy()
    with pytest.raises(LoomError) as caught:
        loom.gpu_map(X, "neg", out=out)
    assert str(caught.value) == text
    assert (np.array(out) == before).all()
