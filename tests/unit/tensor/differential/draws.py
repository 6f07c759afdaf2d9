"""Draws arrays of every dtype, shape and layout, with numbers that are easily got wrong, and compares results."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np

from loom import tensor

FLOATS, SIGNED, UNSIGNED = ["f4", "f8", "f2"], ["i1", "i2", "i4", "i8"], ["u1", "u2", "u4", "u8"]
INTEGERS, COMPLEX, BOOLS = SIGNED + UNSIGNED, ["c8", "c16"], ["?"]
NUMBERS = FLOATS + INTEGERS
SHAPES = [(), (0,), (1,), (3,), (5,), (2, 3), (3, 1), (1, 4), (2, 1, 3), (0, 3), (2, 0, 3), (70,), (3, 67), (2, 3, 4)]
_HAZARDS = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -0.5, 2.5, -2.5, 1e-30, -1e30, 65504.0, 1e-45, np.pi]
_BARS = {"f2": 2e-3, "f4": 3e-6, "f8": 1e-13, "c8": 3e-6, "c16": 1e-13}


def bar(dtype: Any) -> float:
    """Return the relative error that a result of a dtype may have, of one rounding or two."""
    return _BARS.get(np.dtype(dtype).str[1:], 0.0)


def numbers(r: Random, shape: tuple[int, ...], dtype: str, *, hazards: bool = True) -> np.ndarray[Any, Any]:
    """Return an array: small integers, those of the whole range, or extremes; floats with or without hazards."""
    kind, n, g = np.dtype(dtype), math.prod(shape), np.random.default_rng(r.randrange(2**31))
    if kind.kind == "b":
        return g.integers(0, 2, n).astype(kind).reshape(shape)
    if kind.kind in "iu":
        info, way = np.iinfo(kind), r.randrange(3)
        if way == 0:
            return g.integers(0 if kind.kind == "u" else -9, 10, n).astype(kind).reshape(shape)
        if way == 1:
            return g.integers(info.min, info.max, n, dtype=kind, endpoint=True).reshape(shape)
        return g.choice(np.array([0, 1, info.min, info.max, 2, 3, 7, info.max // 2], kind), n).reshape(shape)
    x = g.normal(size=n) * r.choice([1, 1, 10, 0.1, 1000])
    if kind.kind == "c":
        return (x + 1j * g.normal(size=n)).astype(kind).reshape(shape)
    if hazards and r.random() < 0.4:
        x = np.where(g.random(n) < 0.5, g.choice(_HAZARDS, n), x)
    return x.astype(kind).reshape(shape)


def seen(r: Random, x: np.ndarray[Any, Any], on: str) -> tuple[np.ndarray[Any, Any], Any]:
    """Return an array and a tensor of it, both seen in the same way: reversed, turned, strided, repeated, cut."""
    t, way = tensor.array(x, on=on), r.randrange(6)
    if way == 0 and x.ndim:
        return x[::-1], t[::-1]
    if way == 1 and x.ndim == 2:
        return x.T, t.T
    if way == 2 and x.ndim:
        return x[..., ::2], t[..., ::2]
    if way == 3 and x.ndim <= 2:
        return np.broadcast_to(x, (2, *x.shape)), tensor.broadcast_to(t, (2, *x.shape))
    if way == 4 and x.ndim and x.shape[0] > 1:
        return x[1:], t[1:]
    return x, t


def pair(r: Random, kinds: list[str], on: str) -> tuple[Any, Any, Any, Any]:
    """Return two arrays that broadcast, of dtypes of one kind, and their tensors."""
    shape, dtype = r.choice(SHAPES), r.choice(kinds)
    near = [k for k in kinds if np.dtype(k).kind == np.dtype(dtype).kind]
    other = r.choice(near) if r.random() < 0.4 else dtype
    narrow = tuple(1 if r.random() < 0.25 else n for n in shape)[r.choice([0, 0, r.randrange(len(shape) + 1)]) :]
    x, y = numbers(r, shape, dtype), numbers(r, narrow, other)
    x, y = (y, x) if r.random() < 0.3 else (x, y)
    return x, y, tensor.array(x, on=on), tensor.array(y, on=on)


def axis_of(r: Random, ndim: int, *, several: bool = True) -> Any:
    """Return no axis, one counted from either end, or several."""
    choices: list[Any] = [None, *range(-ndim, ndim)]
    if several:
        choices += [(), *[(0, 1), (-1, 0), tuple(range(ndim))] * (ndim >= 2)]
    return r.choice(choices)


def check(found: Any, wanted: Any, error: float = 0.0, *, scaled: bool = False, signs: bool = True) -> None:
    """See that results agree in number, shape, dtype and elements: within ``error``, of the largest if ``scaled``."""
    if isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            check(one, other, error, scaled=scaled, signs=signs)
        return
    g, w = found.numpy(), np.asarray(wanted)
    assert (found.shape, g.dtype) == (w.shape, w.dtype)
    if w.dtype.kind in "biu":
        assert np.array_equal(g, w), (g, w)
        return
    wide = complex if w.dtype.kind == "c" else float
    g, w = g.astype(wide), w.astype(wide)
    sizes = np.abs(w[np.isfinite(w)])
    least = 2 * float(np.finfo(found.numpy().dtype).smallest_subnormal)
    at_zero = least + (4 * error * float(sizes.max()) if scaled and sizes.size else 0.0)
    assert np.allclose(g, w, rtol=error, atol=at_zero, equal_nan=True), (g, w)
    if signs and wide is float:
        zeros = (g == 0) & (w == 0)
        assert (np.signbit(g) == np.signbit(w))[zeros].all(), (g, w)
