"""j0, j1, y0, y1: values from mpmath, huge arguments included, special values, symmetry."""

from __future__ import annotations

import numpy as np
import pytest

from loom import gpu_map

NAMES = ("j0", "j1", "y0", "y1")
# from mpmath with 100 bits: x, j0, j1, y0, y1
TRUE = [
    (0.5, 0.9384698072408129, 0.2422684576748739, -0.44451873350670656, -1.471472392670243),
    (1.0, 0.7651976865579666, 0.4400505857449335, 0.08825696421567696, -0.7812128213002887),
    (1.899999976158142, 0.28181857323024984, 0.5811570732869161, 0.49681996736408096, -0.16440578623972704),
    (2.0, 0.22389077914123567, 0.5767248077568734, 0.5103756726497451, -0.10703243154093754),
    (5.0, -0.1775967713143383, -0.32757913759146523, -0.30851762524903376, 0.14786314339122683),
    (10.0, -0.24593576445134835, 0.04347274616886144, 0.055671167283599395, 0.24901542420695388),
    (50.0, 0.055812327669251816, -0.09751182812517514, -0.09806499547007708, -0.05679566856201477),
    (1000.0, 0.024786686152420176, 0.004728311907089524, 0.0047159179776228135, -0.024784331292351778),
    (1000000.0, 0.00033104301373987376, -0.000725968356813763, -0.0007259685223351791, -0.00033104337672417626),
    (1.0000000150474662e30, -7.914272141241796e-16, -1.0130512095499822e-16, -1.0130512095499822e-16,
     7.914272141241796e-16),
]  # fmt: skip


@pytest.mark.parametrize("row", TRUE, ids=lambda row: f"{row[0]:.3g}")
def test_values(row: tuple[float, ...]) -> None:
    """Four ulp, or 2^-24 of the envelope where the value is below a quarter of it."""
    envelope = min(1.0, np.sqrt(2 / (np.pi * row[0])))
    for name, wanted in zip(NAMES, row[1:], strict=True):
        got = float(gpu_map(np.array([row[0]], np.float32), name)[0])
        most = 4 * np.spacing(np.float32(abs(wanted)))
        assert abs(got - wanted) <= max(most, 2.0**-24 * envelope if abs(wanted) < envelope / 4 else 0.0), name


def test_special_values() -> None:
    x = np.array([0.0, -0.0, -1.0, np.inf, -np.inf, np.nan], np.float32)
    nan, inf = np.nan, np.inf
    for name, wanted in (
        ("j0", [1, 1, 0.7651977, 0, 0, nan]),
        ("j1", [0.0, -0.0, -0.44005057, 0, -0.0, nan]),
        ("y0", [-inf, -inf, nan, 0, nan, nan]),
        ("y1", [-inf, -inf, nan, 0, nan, nan]),
    ):
        got = gpu_map(x, name)
        assert np.allclose(got, wanted, rtol=3e-7, atol=0, equal_nan=True), name
        assert np.array_equal(np.signbit(got[:5]) | np.isnan(got[:5]), np.signbit(wanted[:5]) | np.isnan(wanted[:5]))


def test_symmetry() -> None:
    x = np.random.default_rng(8).integers(0, 0x7F800000, 20_000, np.uint32).view(np.float32)
    assert np.array_equal(gpu_map(-x, "j0"), gpu_map(x, "j0"))
    assert np.array_equal(gpu_map(-x, "j1"), -gpu_map(x, "j1"))


def test_smallest_arguments() -> None:
    x = np.array([1e-45, 1e-40, 1.9e-39], np.float32)
    assert np.array_equal(gpu_map(x, "j1"), (x.astype(np.float64) / 2).astype(np.float32))
    assert gpu_map(x, "y1").tolist()[:2] == [-np.inf, -np.inf]
    assert np.isfinite(gpu_map(x, "y1")[2])
    assert np.allclose(gpu_map(x, "y0"), 2 / np.pi * (np.log(x.astype(np.float64) / 2) + np.euler_gamma), rtol=3e-7)
