"""Single numbers: Python's and numpy's alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError
from loom.core.numbers import real, whole


class Index:
    def __index__(self) -> int:
        return 2


@pytest.mark.parametrize("given", [2, np.int64(2), np.uint8(2), np.array(2), Index()])
def test_whole_numbers(given: Any) -> None:
    found = whole(given, "f, n", least=1)
    assert (type(found), found) == (int, 2)


@pytest.mark.parametrize("given", [0.5, np.float32(0.5), np.float16(0.5), np.array(0.5)])
def test_numbers(given: Any) -> None:
    found = real(given, "f, rate", least=0)
    assert (type(found), found) == (float, 0.5)
    assert real(np.int32(3), "f") == 3


def test_refusals() -> None:
    for given in (True, np.True_, 2.0, np.float32(2), "2", None, [2], np.array([2])):
        with pytest.raises(ArgumentError) as caught:
            whole(given, "f, n", least=1, most=9)
        assert (
            str(caught.value) == f"[f, n] not a whole number: expected an int from 1 to 9, got {given!r}. Pass an int."
        )
    for given in (0, 10, np.int64(-1), 2**70):
        with pytest.raises(ArgumentError, match=f"out of range: expected an int from 1 to 9, got {int(given)}"):
            whole(given, "f, n", least=1, most=9)
    for given in (True, "1", None, 1j, np.array([1.0])):
        with pytest.raises(ArgumentError, match=r"\[f, rate\] not a number: expected a number of at least 0, got"):
            real(given, "f, rate", least=0)
    for given in (-1, float("nan"), float("inf"), np.float32("inf")):
        with pytest.raises(ArgumentError, match="out of range: expected a number of at least 0, got"):
            real(given, "f, rate", least=0)
