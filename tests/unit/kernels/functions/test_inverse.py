"""atan, atan2, asin, acos: special values as in C99, symmetry, all quadrants."""

from __future__ import annotations

import numpy as np
import pytest

from loom import gpu_map

ULPS = 2.0
ODD = [0.0, 1.0, np.inf, 1e-45, 3e38, np.nan]


def same_direction(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Equal to ``ULPS``, with the same sign even of zeros and NaN where NaN is wanted."""
    close = np.abs(got - wanted) <= ULPS * np.spacing(np.abs(wanted).astype(np.float32))
    nan = np.isnan(got) & np.isnan(wanted)
    return bool(((close & (np.signbit(got) == np.signbit(wanted))) | nan).all())


def test_atan2_at_zeros_and_infinities() -> None:
    values = np.array([*ODD, *(-v for v in ODD)], np.float32)
    y, x = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        wanted = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    assert same_direction(gpu_map(y, "atan2", x).astype(np.float64), wanted)


def test_atan2_in_all_quadrants() -> None:
    rng = np.random.default_rng(5)
    for scale in (1.0, 1e-39, 1e30):
        y, x = (rng.normal(size=(2, 100_000)) * scale).astype(np.float32)
        wanted = np.arctan2(y.astype(np.float64), x.astype(np.float64))
        assert same_direction(gpu_map(y, "atan2", x).astype(np.float64), wanted)


@pytest.mark.parametrize(
    ("name", "x", "wanted"),
    [
        ("atan", np.inf, np.pi / 2), ("atan", -np.inf, -np.pi / 2), ("atan", -0.0, -0.0), ("atan", 1e-45, 1e-45),
        ("atan", np.nan, np.nan), ("asin", 1.0, np.pi / 2), ("asin", -1.0, -np.pi / 2), ("asin", -0.0, -0.0),
        ("asin", 1.0000001, np.nan), ("asin", -np.inf, np.nan), ("asin", np.nan, np.nan), ("asin", -1e-40, -1e-40),
        ("acos", 1.0, 0.0), ("acos", -1.0, np.pi), ("acos", 0.0, np.pi / 2), ("acos", -0.0, np.pi / 2),
        ("acos", -1.0000001, np.nan), ("acos", np.inf, np.nan), ("acos", np.nan, np.nan),
    ],
)  # fmt: skip
def test_special_values(name: str, x: float, wanted: float) -> None:
    got = gpu_map(np.array([x], np.float32), name)
    assert np.array_equal(got, np.array([wanted], np.float32), equal_nan=True)
    assert np.isnan(wanted) or np.signbit(got[0]) == np.signbit(wanted)


def test_symmetry() -> None:
    x = np.random.default_rng(6).random(20_000).astype(np.float32)
    for name, y in (("atan", x * 100), ("asin", x)):
        assert np.array_equal(gpu_map(-y, name), -gpu_map(y, name))
