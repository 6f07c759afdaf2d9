"""Every elementary function keeps its error bar: on a stratified sample always, over all float32 when proving."""

from __future__ import annotations

import numpy as np
import pytest

from functions.references import REFERENCES
from functions.ulps import Worst, around, exhaustive, measured, sample_operands
from loom.core.dtype import DType, f32, f64
from loom.kernels.functions import FUNCTIONS, function

_TYPED = [(name, dtype) for name in sorted(FUNCTIONS) for dtype in function(name).definitions]
_ONE_F32 = [name for name in sorted(FUNCTIONS) if function(name).arity == 1 and f32 in function(name).definitions]
_PARTS = 16


def _ids(value: object) -> str:
    return str(value)


def sampled(name: str, dtype: DType) -> Worst:
    """Return the largest error over a sample of seconds."""
    operands = sample_operands(name, dtype, size=100_000 if dtype == f32 else 2_000)
    if dtype == f64:  # whose errors mpmath takes one by one
        operands = tuple(np.ascontiguousarray(o[::3]) for o in operands)
    return measured(name, function(name).ulps[dtype], *operands)


def test_every_function_has_a_reference() -> None:
    assert sorted(REFERENCES) == sorted(FUNCTIONS)


@pytest.mark.parametrize(("name", "dtype"), _TYPED, ids=_ids)
def test_a_sample_keeps_the_bar(name: str, dtype: DType) -> None:
    worst = sampled(name, dtype)
    assert worst.ulps <= function(name).ulps[dtype], f"{name} {dtype}: {worst}"


_NEAREST = 6381956970095103 * 2.0**797
"""The f64 closest to a multiple of pi/2 (J.-M. Muller, "Elementary Functions", table of worst cases)."""
_HARD: dict[str, tuple[float, ...]] = {
    "acos": (1.0, -1.0, 2.0**-53, 0.5), "asin": (1.0, 2.0**-27, 0.5), "atan": (1.0, 2.0**53, 2.0**-27),
    "cbrt": (2.0**-1022, 1.0, 1e300), "cos": (_NEAREST, 2.0**20, 1e300, 0.5 * np.pi),
    "cosh": (710.4758600739439, 0.34657),
    "erf": (1.0, 5.9, 2.0**-30), "erfc": (0.6, 26.54325, 27.2260, 5.8), "exp": (709.782712893384, -708.3964, -745.1332),
    "exp2": (1024.0, -1022.0, -1074.0, 0.5), "expm1": (709.782712893384, 0.34657, -37.0, 2.0**-53, 1e-300),
    "gamma": (171.6243769563027, -170.5673, -177.5, -184.1, 2.0**-1023, 3.0, -1.0, 1e-17, 23.0),
    "gelu": (0.64, -37.5, -38.5, 2.0**-1022), "gelu_tanh": (22.0, -21.2, -21.8, 2.0**-1022), "j0": (2.0, 5.0, 1e300),
    "j1": (2.0, 5.0, 2.0**-1022), "lgamma": (1.0, 2.0, 3.0, 2.55e305, 1e-300, -2.457025, -0.5, -1e-19, -100.5),
    "log": (1.0, 2.0**-1022, 0.70710678), "log1p": (2.0**-53, -1.0, 2.0**53, 2.0**64, 0.41421356, -0.29289322),
    "log2": (1.0, 2.0**-1022, 1.41421356), "sigmoid": (-709.0, -745.1, 37.0), "sin": (_NEAREST, 2.0**20, 1e300, np.pi),
    "sinh": (710.4758600739439, 1.0, 2.0**-26), "tan": (_NEAREST, 2.0**20, 0.5 * np.pi, 0.25 * np.pi, 1e300),
    "tanh": (0.55, 19.1, 2.0**-27), "y0": (0.75, 2.0, 5.0, 0.893577, 1e-300),
    "y1": (1.25, 2.0, 5.0, 2.0**-30, 3.6e-309),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(_HARD))
def test_f64_keeps_the_bar_where_it_is_hard(name: str) -> None:
    """Beside thresholds, subnormal results, zeros and the edges between formulas."""
    x = around(_HARD[name], f64, 40)
    worst = measured(name, function(name).ulps[f64], np.concatenate([x, -x]))
    assert worst.ulps <= function(name).ulps[f64], f"{name}: {worst}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("name", _ONE_F32)
def test_every_float32_keeps_the_bar(name: str, part: int) -> None:
    length = 2**32 // _PARTS
    worst = exhaustive(name, part * length, (part + 1) * length)
    assert worst.ulps <= function(name).ulps[f32], f"{name}: {worst}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "dtype"), [(n, d) for n, d in _TYPED if n not in _ONE_F32 or d != f32], ids=_ids)
def test_a_large_sample_keeps_the_bar(name: str, dtype: DType) -> None:
    fn = function(name)
    size = 1_000_000 if dtype == f32 else 100_000 if fn.arity == 1 else 50_000
    for seed in range(20 if dtype == f32 else 1):
        worst = measured(name, fn.ulps[dtype], *sample_operands(name, dtype, size=size, seed=seed))
        assert worst.ulps <= fn.ulps[dtype], f"{name} {dtype}: {worst}"
