"""The order of ``gpu_sort`` written in plain numpy: stable, -0 below +0, every NaN last and alike."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip


def numbers(dtype: str, size: int, seed: int = 0) -> Array:
    """Numbers of a type, of every sign and size, many of them equal; floats with NaNs, zeros and infinities."""
    rng = np.random.default_rng([size, seed, DTYPES.index(dtype)])
    if dtype == "bool":
        return rng.integers(0, 2, size).astype(np.bool_)
    if not dtype.startswith("float"):
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, size, dtype, endpoint=True)
    else:
        x = (rng.normal(size=size) * 2.0 ** rng.integers(-6, 6, size)).astype(dtype)
        specials = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf], dtype)
        x = np.where(rng.random(size) < 0.3, rng.choice(specials, size), x)
    return np.where(rng.random(size) < 0.2, np.roll(x, 1), x)


def order(x: Array, *, descending: bool = False) -> Array:
    """Return the positions that sort ``x`` stably."""
    if x.dtype.kind != "f":
        ranks = np.unique(x, return_inverse=True)[1]
    else:
        nan, plain = np.isnan(x), np.where(np.isnan(x), 0, x).astype(np.float64)
        ranks = np.empty(x.size, np.int64)
        by_value = np.lexsort((~np.signbit(x) & ~nan, plain, nan))
        ranks[by_value] = np.cumsum([False, *(~_same(x[by_value][1:], x[by_value][:-1]))])[: x.size]
    return np.argsort(-ranks if descending else ranks, kind="stable")


def _same(a: Array, b: Array) -> Array:
    return (np.isnan(a) & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b)))
