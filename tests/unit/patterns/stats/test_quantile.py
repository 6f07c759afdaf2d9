"""``quantile`` and ``median``: numpy's linear interpolation.

numpy computes float16 and float32 quantiles with other roundings, so those are compared with the float64 ones:
one interpolation is off by at most three roundings, 4 eps of the larger neighbour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError

Array = np.ndarray[Any, Any]
Q = np.array([0, 0.01, 0.25, 0.5, 0.75, 0.9, 1])


def numbers(dtype: str, size: Any) -> Array:
    rng = np.random.default_rng(int(np.prod(size)))
    return rng.integers(0, 120, size).astype(dtype) if "int" in dtype else rng.normal(size=size).astype(dtype)


def require_close(got: Array, x: Array, q: Any, axis: int | None = None) -> None:
    wanted = np.quantile(x.astype(np.float64), q, axis)
    eps = np.finfo(got.dtype).eps
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=0, atol=4 * eps * max(1, np.abs(x).max()))


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("float16", marks=pytest.mark.slow), pytest.param("uint8", marks=pytest.mark.slow)]
)
def test_quantiles(place: str, dtype: str) -> None:
    for size in (1, 2, 255, 256, 257) if place == "cpu" else (1, 65):
        x = numbers(dtype, size)
        got = loom.stats.quantile(x, Q, on=place)
        assert got.dtype == (x.dtype if dtype.startswith("float") else np.float64)
        require_close(got, x, Q)
        require_close(np.asarray(loom.stats.median(x, on=place)), x, 0.5)


def test_exact_bits_in_float64() -> None:
    for size in (1, 2, 7, 257, 65_537):
        x = numbers("float64", size)
        assert (loom.stats.quantile(x, Q) == np.quantile(x, Q)).all()
        assert loom.stats.median(x) == np.quantile(x, 0.5)
        require_close(np.asarray(loom.stats.median(x)), x, 0.5)


def test_a_million_elements() -> None:
    x = numbers("float32", 1_000_003)
    require_close(loom.stats.quantile(x, Q), x, Q)


def test_rows_and_shapes_of_q() -> None:
    x = numbers("float64", (3, 4, 50))
    q = [[0.1, 0.2, 0.3], [0.5, 0.9, 1.0]]
    assert loom.stats.quantile(x, q).shape == (2, 3)
    found = loom.stats.quantile(x, q, axis=-1)
    assert found.shape == (2, 3, 3, 4)
    assert (found == np.quantile(x, q, axis=-1)).all()
    assert (loom.stats.median(x, axis=2) == np.quantile(x, 0.5, axis=2)).all()
    assert loom.stats.quantile(x, []).shape == (0,)
    assert loom.stats.quantile(np.zeros((0, 5)), 0.5, axis=1).shape == (0,)


def test_special_values(place: str) -> None:
    inf, nan = np.inf, np.nan
    assert np.isnan(loom.stats.quantile([1.0, nan, 2.0], [0.0, 0.5, 1.0], on=place)).all()
    found = loom.stats.quantile([-inf, 1.0, inf], [0.0, 0.25, 0.5, 0.6, 1.0], on=place)
    assert found.tolist() == [-inf, -inf, 1.0, inf, inf]
    assert np.isnan(loom.stats.median([-inf, inf], on=place))
    assert loom.stats.median([inf, inf], on=place) == inf
    far = np.array([-3e38, 3e38], np.float32)
    assert loom.stats.quantile(far, [0.25, 0.5], on=place).tolist() == [np.float32(-1.5e38), 0.0]
    assert loom.stats.median(np.array([60000, 65000], np.float16), on=place) == np.float16(62500)
    rows = loom.stats.median(np.array([[1.0, nan], [1.0, 3.0]]), axis=1, on=place)
    assert np.isnan(rows[0])
    assert rows[1] == 2.0


def test_bools_and_arrays_of_a_device() -> None:
    assert loom.stats.median([True, False, True, False]) == 0.5
    found = loom.stats.quantile(loom.array([3.0, 1.0, 2.0]), [0.0, 0.5])
    assert isinstance(found, loom.Array)
    assert found.tolist() == [1.0, 2.0]


def test_errors() -> None:
    with pytest.raises(ArgumentError) as error:
        loom.stats.quantile([1.0], [0.5, 1.5])
    assert str(error.value) == (
        "[stats.quantile, q] out of range: expected 0 to 1, got 1.5. Divide percentages by 100."
    )
    with pytest.raises(ArgumentError, match="expected 0 to 1, got nan"):
        loom.stats.quantile([1.0], np.nan)
    with pytest.raises(DTypeError, match="not numbers: expected numbers from 0 to 1, got 'half'"):
        loom.stats.quantile([1.0], "half")
    with pytest.raises(EmptyError, match=r"\[stats.median\] no elements to take a quantile of"):
        loom.stats.median([])
    with pytest.raises(ArgumentError, match="there is no such axis: expected -2 to 1, got 2"):
        loom.stats.median(np.ones((2, 2)), axis=2)
