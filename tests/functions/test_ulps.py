"""Every elementary function keeps its error bar: on a stratified sample always, over all float32 when proving."""

from __future__ import annotations

import numpy as np
import pytest

from functions.references import REFERENCES
from functions.ulps import exhaustive, measured, sample, sample_pairs
from loom.core.dtype import DType, f32, f64
from loom.kernels.functions import FUNCTIONS, function

_TYPED = [(name, dtype) for name in sorted(FUNCTIONS) for dtype in function(name).definitions]
_ONE_F32 = [name for name in sorted(FUNCTIONS) if function(name).arity == 1 and f32 in function(name).definitions]
_PARTS = 16


def _ids(value: object) -> str:
    return str(value)


def test_every_function_has_a_reference() -> None:
    assert sorted(REFERENCES) == sorted(FUNCTIONS)


@pytest.mark.parametrize(("name", "dtype"), _TYPED, ids=_ids)
def test_a_sample_keeps_the_bar(name: str, dtype: DType) -> None:
    fn, size = function(name), 100_000 if dtype == f32 else 2_000
    operands = (sample(name, dtype, size=size),) if fn.arity == 1 else sample_pairs(name, dtype, size=size)
    if dtype == f64:  # whose errors mpmath takes one by one
        operands = tuple(np.ascontiguousarray(o[::3]) for o in operands)
    worst = measured(name, fn.ulps[dtype], *operands)
    assert worst.ulps <= fn.ulps[dtype], f"{name} {dtype}: {worst}"


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
@pytest.mark.parametrize(("name", "dtype"), [(n, d) for n, d in _TYPED if function(n).arity == 2 or d != f32], ids=_ids)
def test_a_large_sample_keeps_the_bar(name: str, dtype: DType) -> None:
    fn = function(name)
    for seed in range(20 if dtype == f32 else 1):
        if fn.arity == 2:
            operands = sample_pairs(name, dtype, size=1_000_000 if dtype == f32 else 50_000, seed=seed)
        else:
            operands = (sample(name, dtype, size=100_000),)
        worst = measured(name, fn.ulps[dtype], *operands)
        assert worst.ulps <= fn.ulps[dtype], f"{name} {dtype}: {worst}"
