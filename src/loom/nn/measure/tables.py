"""Samples as measures of numbers take them: rows of numbers that are finite, in the type they are computed in.

Layer: nn. Whole numbers of 32 bits and more, and f64, are computed in f64; all others in f32. Invariant: what is not
finite is told with its sample and feature before anything runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.conversions import widen
from loom.core.dtype import DType, f32, f64
from loom.core.errors import EmptyError, NotFinite, ShapeError
from loom.core.philox import philox
from loom.nn.measure.labels import require_exact

__all__ = ["exponent_of", "permutation", "read_rows", "scale", "slabs", "word"]

_AT_ONCE = 1 << 22
"""Elements that an intermediate of a program has at most."""


def read_rows(values: Any, where: str, *, least: int = 1) -> tuple[Array, DType]:
    """Return samples (n, features), n at least ``least``, and the type they are computed in; (n,) is one feature.

    Further axes are features. EmptyError for too few, ShapeError for a single number, NotFinite for NaN and infinities,
    DTypeError for whole numbers above 2**53.
    """
    found, held = read_array(values, where)
    if not found.ndim:
        raise ShapeError(where, "not rows of numbers", expected="(samples, features)", got=(),
                         remedy="Pass one row for each sample")  # fmt: skip
    if len(found) < least or not found.size:
        raise EmptyError(where, "too few samples" if found.size or not len(found) else "no features",
                         expected=f"at least {least} of at least 1 number", got=found.shape,
                         remedy="Pass more")  # fmt: skip
    require_exact(found, where)
    wide = held == f64 or (not held.is_float and held.nbytes >= f32.nbytes)
    rows = np.ascontiguousarray(widen(found, held).reshape(len(found), -1), np.float64 if wide else np.float32)
    finite = np.isfinite(rows)
    if not finite.all():
        at, feature = np.argwhere(~finite)[0].tolist()
        error = NotFinite(where, f"{rows[at, feature]} in the data: sample {at}, feature {feature}",
                          expected="finite numbers", remedy="Remove or replace it; nothing was run")  # fmt: skip
        error.tensor = "data"
        raise error
    return rows, f64 if wide else f32


def exponent_of(*arrays: Array) -> int:
    """Return the power of two that brings all numbers between -1 and 1, the largest near 1."""
    return int(np.frexp(max(float(np.abs(a).max()) for a in arrays))[1])


def scale(a: Array, exponent: int) -> Array:
    """Return numbers times a power of two, which changes no bit of theirs but where f32 or f64 ends."""
    with np.errstate(over="ignore", under="ignore"):
        return np.ldexp(a, exponent)


def slabs(n: int, each: int) -> list[slice]:
    """Return n rows in parts whose intermediates, of ``each`` elements a row, fit."""
    size = max(1, min(n, _AT_ONCE // max(each, 1)))
    return [slice(at, min(at + size, n)) for at in range(0, n, size)]


def permutation(n: int, seed: int, stream: int) -> Array:
    """Return 0 to n - 1 (int64) in an order of Philox: that of its words, 64 bits each, of a stream."""
    blocks = np.arange(-(-n // 2), dtype=np.uint64)
    a, b, c, d = philox(blocks, 0, 0, stream, seed)
    half = np.uint64(32)
    return np.argsort(np.stack([b << half | a, d << half | c], 1).reshape(-1)[:n], kind="stable")


def word(seed: int, stream: int, number: int, turn: int) -> int:
    """Return 64 random bits: word ``number`` of a turn of a stream."""
    a, b, *_ = philox(np.array([number], np.uint64), turn, 0, stream, seed)
    return int(b[0]) << 32 | int(a[0])
