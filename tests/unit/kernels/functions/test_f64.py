"""exp, log, sin, cos, tanh, erf in f64: bars against mpmath, special values, huge arguments, one result everywhere."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from functions.ulps import exact_errors
from loom import f64, gpu_map, u64
from loom.core.numerics import canonical_bits
from loom.kernels.functions import function, reduction
from loom.kernels.functions.coefficients import f64 as coefficients_f64

Array = np.ndarray[Any, Any]
FIT = Path(__file__).parents[4] / "tools" / "fit"
BARS = {"exp": 1.0, "log": 1.0, "sin": 1.0, "cos": 1.0, "tanh": 2.0, "erf": 2.0}
INF, NAN = math.inf, math.nan


def any_bits(rng: np.random.Generator, size: int) -> Array:
    x = rng.integers(0, 1 << 64, size, np.uint64).view(np.float64)
    return x[np.isfinite(x)]


def angles(rng: np.random.Generator, size: int) -> Array:
    """Near and far, both sides of where the reduction changes, next to multiples of pi/2."""
    multiples = (rng.integers(1, 10**6, size) * (np.pi / 2)) * (1 + rng.integers(-2, 3, size) * 2.0**-53)
    around = 2.0**20 + rng.uniform(-4, 4, size // 4)
    return np.concatenate(
        [any_bits(rng, size), rng.uniform(-10, 10, size), multiples, around, rng.uniform(-3e6, 3e6, size)]
    )


def arguments(name: str, size: int) -> Array:
    """Arguments where the function does something, dense where its parts meet."""
    rng = np.random.default_rng(len(name) + size)
    if name in ("sin", "cos"):
        return angles(rng, size)
    wide = any_bits(rng, size)
    if name == "exp":
        subnormal = rng.uniform(-745.5, -708, size // 2)
        return np.concatenate([rng.uniform(-745, 710, size), rng.uniform(-1, 1, size), subnormal, wide[:100]])
    if name == "log":
        near = 1 + rng.normal(size=size) * 2.0 ** -rng.integers(4, 52, size)
        subnormal = rng.integers(1, 1 << 52, size // 4, np.uint64).view(np.float64)
        return np.concatenate([abs(wide), rng.uniform(0.5, 2, size), abs(near), subnormal])
    if name == "tanh":
        return np.concatenate([rng.uniform(-1, 1, size), rng.uniform(-22, 22, size), rng.uniform(0.5, 0.6, size), wide])
    return np.concatenate([rng.uniform(-1.1, 1.1, size), rng.uniform(-6, 6, size), rng.uniform(0.95, 1.3, size), wide])


def worst(name: str, x: Array) -> tuple[float, float]:
    """Return the largest error in ulp, by mpmath, and where it is."""
    off = exact_errors(name, gpu_map(x, name), x)
    at = int(np.argmax(off))
    return float(off[at]), float(x[at])


@pytest.mark.parametrize("name", BARS)
def test_bars_on_a_sample(name: str) -> None:
    assert function(name).ulps[f64] == BARS[name]
    error, at = worst(name, arguments(name, 500))
    assert error <= BARS[name], at


@pytest.mark.slow
@pytest.mark.parametrize("name", BARS)
def test_bars_on_a_large_sample(name: str) -> None:
    error, at = worst(name, arguments(name, 60_000))
    print(f"{name}: {error:.4f} ulp at {at!r}")
    assert error <= BARS[name], at


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_the_argument_closest_to_a_multiple_of_a_quarter_turn(name: str) -> None:
    """6381956970095103 * 2^797 (Muller, "Elementary Functions", 3rd ed., section 11.3.2) and other hard ones."""
    hard = [6381956970095103 * 2.0**797, 1e22, 1.7976931348623157e308, 2.0**1023, 884279719003555 * 2.0**1]
    assert worst(name, np.array([*hard, *(-v for v in hard)]))[0] <= 1.0


def test_the_digits_of_two_over_pi() -> None:
    with mp.workprec(1400):
        digits = int(mp.floor(2 / mp.pi * mp.mpf(2) ** (64 * 19)))
    assert (0, *(digits >> 64 * (18 - n) & (2**64 - 1) for n in range(19))) == reduction._INVERSE[u64]


def test_pieces_leave_room_for_exact_products() -> None:
    for piece in coefficients_f64.PIECES[:3]:
        assert (math.frexp(piece)[0] * 2**33).is_integer()
    assert (math.frexp(coefficients_f64.LN2[0])[0] * 2**42).is_integer()
    with mp.workprec(300):
        assert abs(mp.fsum(coefficients_f64.PIECES) - mp.pi / 2) < mp.mpf(2) ** -156
        assert abs(mp.fsum(coefficients_f64.LN2) - mp.log(2)) < mp.mpf(2) ** -95


SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (709.782712893384, 1.7976931348622732e308),
            (709.7827128933841, INF), (-745.1332191019411, 5e-324), (-745.1332191019412, 0.0), (1e300, INF),
            (-1e300, 0.0), (2.0**-60, 1.0)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1.0, NAN), (-INF, NAN), (5e-324, -744.4400719213812),
            (1.7976931348623157e308, 709.782712893384), (-5e-324, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (5e-324, 5e-324), (1e-310, 1e-310)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN), (5e-324, 1.0)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (400.0, 1.0), (1e300, 1.0), (-1e-310, -1e-310)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (6.0, 1.0), (1e300, 1.0)],
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str) -> None:
    x, expected = (np.array(column, np.float64) for column in zip(*SPECIAL[name], (NAN, NAN), strict=True))
    assert (canonical_bits(gpu_map(x, name)) == canonical_bits(expected)).all(), gpu_map(x, name)


@pytest.mark.parametrize("name", ["sin", "tanh", "erf", "cos"])
def test_symmetry(name: str) -> None:
    x = arguments(name, 2000)
    there, back = gpu_map(x, name), gpu_map(-x, name)
    assert (there if name == "cos" else -there).tobytes() == back.tobytes()


@pytest.mark.parametrize("name", BARS)
def test_the_same_bits_everywhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.concatenate([arguments(name, 300), [0.0, -0.0, INF, -INF, NAN, 5e-324, -5e-324]])
    expected = canonical_bits(gpu_map(x, name, on="interp"))
    for simd, threads in ((1, 2), (4, 1), (8, 2), (16, 1)):
        monkeypatch.setenv("LOOM_SIMD", str(simd))
        monkeypatch.setenv("LOOM_THREADS", str(threads))
        assert (canonical_bits(gpu_map(x, name, on="cpu")) == expected).all(), simd


@pytest.mark.slow
def test_the_script_gives_the_coefficients_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FIT))
    import f64 as script
    import remez

    assert remez.source("f64", script.tables()) == Path(str(coefficients_f64.__file__)).read_text(encoding="utf-8")
    sys.modules.pop("f64")
