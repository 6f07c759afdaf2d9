"""Looks for the worst inputs of a function: from the edges of its definition upwards, by small and large steps.

What steers a climb of f64 is ``extended``, of f32 a reference of f64; mpmath decides about the worst at the end. Where
no type is wider than f64, mpmath steers too, over a fiftieth of the inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from functions.edges import edges_of, floats, ordinals
from functions.extended import EXTENDED, is_extended
from functions.references import REFERENCES
from functions.ulps import Worst, both_errors, errors, evaluate, forgive, measured, sample_operands
from loom.core.dtype import DType, f32
from loom.kernels.functions import function

__all__ = ["climb"]

Array = np.ndarray[Any, Any]
_PARENTS = 200
_DECIDED = 12


def climb(name: str, dtype: DType, *, points: int, rounds: int, seed: int = 0) -> Worst:
    """Return the largest error found from ``points`` inputs, and as many beside the worst in each round."""
    if dtype != f32 and not is_extended():
        points = max(400, points // 50)
    rng = np.random.default_rng(seed)
    x = _start(name, dtype, points, rng)
    off = _steered(name, dtype, x)
    for _ in range(rounds):
        best = _best(x, off)
        x, off = x[:, best], off[best]
        steps = _steps(x, dtype, points, rng)
        x, off = np.concatenate([x, steps], axis=1), np.concatenate([off, _steered(name, dtype, steps)])
    x = np.unique(x[:, np.argsort(-off)[: 4 * _DECIDED]], axis=1)
    off = _steered(name, dtype, x)
    x = x[:, np.argsort(-off)[:_DECIDED]]
    operands = tuple(np.ascontiguousarray(o) for o in x)
    return measured(name, function(name).ulps[dtype], *operands)


def _start(name: str, dtype: DType, points: int, rng: np.random.Generator) -> Array:
    """Return inputs of all kinds: beside edges at all distances, of all magnitudes, plain ones."""
    sampled = np.stack(sample_operands(name, dtype, size=points // 2))
    sampled = sampled[:, np.all(np.isfinite(sampled), axis=0)]
    sampled = sampled[:, rng.permutation(sampled.shape[1])[: points // 2]]
    edges = np.stack(edges_of(name, dtype))
    low, high = REFERENCES[name].near
    plain = rng.uniform(low, high, (len(edges), points // 4)).astype(dtype.numpy)
    beside = _steps(edges if edges.size else sampled, dtype, max(points // 4, 8 * edges.shape[1]), rng)
    return np.concatenate([sampled, edges, beside, plain], axis=1)


def _steps(x: Array, dtype: DType, count: int, rng: np.random.Generator) -> Array:
    """Return floats beside the columns of ``x``, at distances from one unit to some binades."""
    parents = x[:, rng.integers(0, x.shape[1], count)]
    fraction = 23 if dtype == f32 else 52
    sizes = np.exp2(rng.uniform(0, fraction + 2, parents.shape)).astype(np.int64) * rng.choice([-1, 1], parents.shape)
    if len(x) > 1:
        sizes[rng.random(parents.shape) < 0.3] = 0
    numbers = np.stack([ordinals(np.ascontiguousarray(row)) for row in parents])
    return np.stack([floats(row, dtype) for row in numbers + sizes])


def _best(x: Array, off: Array) -> Array:
    """Return the worst inputs, half of all and half of parts of the line of numbers."""
    order = np.argsort(-off)[: 4 * _PARENTS]
    parts = np.array_split(np.argsort(x[0], kind="stable"), _PARENTS // 2)
    return np.unique(np.concatenate([order[: _PARENTS // 2], [p[np.argmax(off[p])] for p in parts if p.size]]))


def _steered(name: str, dtype: DType, x: Array) -> Array:
    """Return errors good to about 0.01 ulps, 0 where nothing is rounded or the docstring allows the error."""
    operands = tuple(np.ascontiguousarray(o) for o in x)
    got, reference = evaluate(name, *operands), REFERENCES[name]
    with np.errstate(all="ignore"):
        if dtype == f32:
            want = reference.fast(*(o.astype(np.float64) for o in operands))
            off, absolute = errors(got, want), np.abs(got - want)
        elif is_extended():
            want = EXTENDED[name](*(o.astype(np.longdouble) for o in operands))
            off, absolute = _extended_errors(got, want)
        else:
            want, off, absolute = got, np.zeros(got.size), np.zeros(got.size)
            plain = np.isfinite(got) & np.all(np.isfinite(x), axis=0)
            off[plain], absolute[plain] = both_errors(name, got[plain], tuple(o[plain] for o in operands))
        off[~(np.isfinite(want) & (want != 0) & np.all(np.isfinite(x), axis=0))] = 0.0
    forgive(reference, off, absolute, want, operands)
    return off


def _extended_errors(got: Array, want: Array) -> tuple[Array, Array]:
    top = np.longdouble(2) ** 1024
    exponent = np.clip(np.frexp(want)[1] - 53, -1074, 971)
    absolute = np.abs(np.clip(got.astype(np.longdouble), -top, top) - np.clip(want, -top, top))
    off = np.ldexp(absolute, -exponent).astype(np.float64)
    off[np.isnan(got)] = np.inf
    return off, absolute
