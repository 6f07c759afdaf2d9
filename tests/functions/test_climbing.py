"""Bars hold where a climb looks for the worst inputs; the climb itself finds what samples miss.

Oracles: numpy's ``nextafter``, the numbers that definitions compare with, mpmath for every error that is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from functions import references, test_ulps
from functions.climbing import climb
from functions.edges import edges_of, floats, ordinals
from functions.extended import EXTENDED, is_extended
from functions.references import REFERENCES, Reference
from functions.ulps import sample
from loom.core.dtype import DType, f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import select
from loom.kernels.functions import FUNCTIONS, function, power
from loom.patterns.maps import map as map_module
from loom.tensor.ops.elementwise import MAPS
from loom.tensor.record.graph import NodeKind, TensorOp

_TYPES = pytest.mark.parametrize("dtype", [f32, f64], ids=str)
_TYPED = [(name, dtype) for name in sorted(FUNCTIONS) for dtype in function(name).definitions]


def _over(dtype: DType) -> list[str]:
    """Return what a climb of a fraction of a second finds above the bars."""
    names = [name for name in sorted(FUNCTIONS) if dtype in function(name).definitions]
    worst = {name: climb(name, dtype, points=20_000, rounds=3) for name in names}
    return [f"{name}: {worst[name]}" for name in names if not worst[name].ulps <= function(name).ulps[dtype]]


def test_bars_of_f32_hold_in_a_climb() -> None:
    assert _over(f32) == []


def test_bars_of_f64_hold_in_a_climb() -> None:
    assert _over(f64) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "dtype"), _TYPED, ids=str)
def test_bars_hold_in_a_long_climb(name: str, dtype: DType) -> None:
    for seed in range(3):
        worst = climb(name, dtype, points=200_000, rounds=12, seed=seed)
        assert worst.ulps <= function(name).ulps[dtype], f"{name} {dtype}: {worst}"


@_TYPES
def test_floats_are_numbered_in_their_order(dtype: DType) -> None:
    x = sample("exp", dtype, size=4_000)
    x = x[np.isfinite(x) & (x != 0) & (abs(x) < np.finfo(dtype.numpy).max)]
    assert np.array_equal(floats(ordinals(x), dtype), x)
    assert np.array_equal(floats(ordinals(x) + 1, dtype), np.nextafter(x, dtype.numpy.type(np.inf)))
    assert np.array_equal(ordinals(np.array([0.0, -0.0], dtype.numpy)), [0, 0])


_COMPARED: dict[str, tuple[float, ...]] = {
    "sinh": (1.0, -1.0), "tanh": (0.55, -0.55), "erf": (1.0, -1.0, 6.0), "erfc": (0.6, -0.6, 27.3),
    "log1p": (2.0**-54, -1.0, 2.0**64), "acosh": (1.0, 2.0**500), "atanh": (0.5, -0.5), "gamma": (3.0, -3.0, 171.75),
    "j0": (2.0, -2.0, 5.0), "acos": (0.5, -0.5),
}  # fmt: skip
"""Numbers that the definitions of f64 compare their argument or its size with."""


@pytest.mark.parametrize("name", sorted(_COMPARED))
def test_edges_are_where_the_definition_compares(name: str) -> None:
    (found,) = edges_of(name, f64)
    for edge in _COMPARED[name]:
        assert edge in found, edge
        assert np.nextafter(edge, -np.inf) in found or np.nextafter(edge, np.inf) in found, edge


def test_edges_of_several_operands_are_found_along_each() -> None:
    y, x = edges_of("atan2", f64)
    assert np.any((x == 1.0) & (y == np.nextafter(1.0, 2)))  # where abs(y) exceeds abs(x)
    assert np.any((y == 1.0) & (x == np.nextafter(1.0, 0)))


@pytest.mark.skipif(not is_extended(), reason="long double is no wider than f64 here: climbs ask mpmath alone")
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_what_steers_is_near_the_truth(name: str) -> None:
    rng, reference = np.random.default_rng(3), REFERENCES[name]
    x = [rng.uniform(*reference.near, 30) for _ in range(function(name).arity)]
    with np.errstate(invalid="ignore"):  # roots and powers of numbers below 0
        wide = EXTENDED[name](*(o.astype(np.longdouble) for o in x))
    with mp.workprec(200):
        for value, *operands in zip(wide, *x, strict=True):
            if np.isfinite(value):
                exact, high = reference.exact(*map(mp.mpf, operands)), float(value)
                away = abs(mp.mpf(high) + mp.mpf(float(value - np.longdouble(high))) - exact)
                assert away < mp.mpf(2) ** -58 * max(abs(exact), mp.mpf(2) ** -6), operands


# a wrong definition


def _add(monkeypatch: pytest.MonkeyPatch, stub: Callable[..., Any], reference: Reference, definition: Any) -> None:
    """Make a function one of the library's, for a test."""
    monkeypatch.setitem(FUNCTIONS, stub.__name__, "power")
    monkeypatch.setattr(power, stub.__name__, elementary(f64=(definition, 0.75))(stub), raising=False)
    monkeypatch.setitem(references.REFERENCES, stub.__name__, reference)
    monkeypatch.setitem(EXTENDED, stub.__name__, reference.fast)
    monkeypatch.setattr(map_module, "ELEMENTWISE", (*map_module.ELEMENTWISE, stub.__name__))
    monkeypatch.setitem(MAPS, stub.__name__, TensorOp(stub.__name__, NodeKind.MAP, operation=stub.__name__))


def _thirds(x: Any) -> Any:
    off = select((x > 77.7) & (x < 77.7 + 2.0**-20), f64(1.0 + 2.0**-51), f64(1.0))
    return x / 3.0 * off


def _sum(x: Any, y: Any, z: Any) -> Any:
    off = select((z > 9.3) & (z < 9.3 + 2.0**-20) & (x > 0.0), f64(1.0 + 2.0**-51), f64(1.0))
    return select(abs(y) < 0.0, y, x / z) * off


def test_a_climb_finds_an_error_that_a_sample_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample_of_thirds(x: Any) -> Any: ...

    _add(monkeypatch, sample_of_thirds, Reference(lambda x: x / 3, lambda x: x / 3), _thirds)
    assert test_ulps.sampled("sample_of_thirds", f64).ulps <= 0.5
    worst = climb("sample_of_thirds", f64, points=4_000, rounds=2)
    assert worst.ulps > 1
    assert 77.7 < worst.inputs[0] < 77.701


def test_a_climb_finds_an_error_in_one_of_three_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    def sample_of_quotients(x: Any, y: Any, z: Any) -> Any: ...

    reference = Reference(lambda x, y, z: x / z + 0 * y, lambda x, y, z: x / z if z else mp.nan)
    _add(monkeypatch, sample_of_quotients, reference, _sum)
    worst = climb("sample_of_quotients", f64, points=8_000, rounds=2)
    assert worst.ulps > 1
    assert 9.3 < worst.inputs[2] < 9.301
