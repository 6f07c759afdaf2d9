"""Functions of one operand, applied by name to f16 and bf16, are correctly rounded: for every input.

Oracle: scipy and numpy in f64, mpmath where these leave a doubt (``narrow``).
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import loom
from functions.narrow import INPUTS, nearest, rounded, widened
from loom import tensor
from loom.core.dtype import DType, bf16, f16, f32
from loom.kernels.functions import FUNCTIONS, function
from loom.kernels.maps.rounding import MIRRORED, steps_of
from loom.tensor import Tensor

_ONE = [name for name in sorted(FUNCTIONS) if function(name).arity == 1]
_TYPES = pytest.mark.parametrize("dtype", [f16, bf16], ids=str)


def _given(dtype: DType) -> Tensor:
    """Return every number of a type."""
    return tensor.array(widened(INPUTS, dtype), on="cpu").astype(dtype)


def _bits(x: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    """Return the bits of a result, every NaN the same."""
    return rounded(x.astype(f32).numpy(), x.dtype)


def test_rounding_is_to_nearest_once() -> None:
    tie = 1 + 2.0**-11
    given = np.array([tie, tie + 2.0**-50, -tie - 2.0**-50, 2.0**-25, 2.0**-25 * (1 + 2.0**-40), 65520.0, math.nan])
    assert rounded(given, f16).tolist() == [0x3C00, 0x3C01, 0xBC01, 0, 1, 0x7C00, 0x7E00]
    tie = 1 + 2.0**-8
    given = np.array([tie, tie + 2.0**-50, -tie - 2.0**-50, 2.0**-134, 2.0**-134 * (1 + 2.0**-40), 3.4e38, 3.39e38])
    assert rounded(given, bf16).tolist() == [0x3F80, 0x3F81, 0xBF81, 0, 1, 0x7F80, 0x7F7F]


@_TYPES
@pytest.mark.parametrize("name", _ONE)
def test_every_input_gives_the_nearest_number(name: str, dtype: DType) -> None:
    got, want = _bits(_given(dtype).map(name)), nearest(name, dtype)
    off = np.flatnonzero(got != want)
    assert off.size == 0, [(hex(i), hex(got[i]), hex(want[i])) for i in off[:5]]


def test_inputs_that_are_rounded_twice_are_right() -> None:
    """One of each kind: a midpoint, a result across one, ties of all subnormal inputs. Oracle: mpmath by hand."""
    x = np.array([300.0, -2.45703125, 3 * 2.0**-24, 2.0**-24], np.float16)
    got = [loom.gpu_map(x[i : i + 1], n)[0] for i, n in enumerate(("sin", "lgamma", "j1", "gelu"))]
    assert [float(g) for g in got] == [-0.99951171875, float(np.uint16(0x80A6).view(np.float16)), 2.0**-24, 2.0**-24]
    wide = [float(np.float16(loom.gpu_map(x[i : i + 1].astype("f4"), n)[0])) for i, n in enumerate(("sin", "lgamma"))]
    assert wide != [float(g) for g in got[:2]]


@pytest.mark.parametrize("name", ["sin", "gelu", "cbrt"])
def test_a_fused_map_is_rounded_as_one_alone(name: str) -> None:
    x = _given(f16)
    alone = x.map(name)
    alone.evaluate()
    assert np.array_equal(_bits(x.map(name).map("exp2")), _bits(alone.map("exp2")))


def test_functions_said_to_be_even_or_odd_are() -> None:
    x = widened(INPUTS[: 2**15], f16)
    for name in MIRRORED:
        up, down = (loom.gpu_map(x * s, name).view(np.uint32) for s in (np.float32(1), np.float32(-1)))
        plain = ~np.isnan(up.view(np.float32))
        flips = {int(f) for f in np.unique((up ^ down)[plain])}
        assert flips in ({0}, {0x80000000}), name


@_TYPES
def test_no_function_of_16_bits_has_many_rows(dtype: DType) -> None:
    """A definition of f32 that is good to a unit or two needs few; each row is a comparison in every kernel."""
    assert max(len(steps_of(name, dtype)) for name in FUNCTIONS) <= 8
