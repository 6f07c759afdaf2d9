"""How far an array is from what it was before it was stored.

Layer: formats. Invariant: measured on the host, of the numbers that the codes stand for.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.core.narrow import NumericKind, StoredArray
from loom.core.narrow.floats import is_beyond

__all__ = ["TensorError", "error_of"]


@dataclass(frozen=True, slots=True)
class TensorError:
    """What storing an array in ``dtype`` did to it.

    ``max_abs``: the largest error; ``max_relative``: the largest error of a number that is not 0, as a share of it
    (infinite where a 0 is one no more); ``rms``: root of the mean squared error; ``bits_lost``: how many of the
    ``bits`` significant ones that the array's type has are below the error: bits - log2(rms of the array / rms error),
    0 of an exact copy; ``clipped``: numbers beyond the type's range, which got its end; ``nbytes``: codes and scales;
    ``scale``: the largest one, 1 where there is none.
    """

    name: str
    dtype: str
    elements: int
    max_abs: float
    max_relative: float
    rms: float
    bits: int
    bits_lost: float
    clipped: int
    nbytes: int
    scale: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it: infinity as 1e9."""
        return {k: 1e9 if v == math.inf else v for k, v in asdict(self).items()}


def error_of(array: Array, stored: StoredArray, name: str = "", *, bits: int = 24) -> TensorError:
    """Return the error of a stored array.

    Args:
        array: Array of finite real numbers.
        stored: Stored array that was made of it.
        name: Name, for the report.
        bits: Significant bits of the array's type: 24 of f32, 53 of f64.

    Raises:
        ShapeError: The shapes differ.

    >>> from loom.core.narrow import store
    >>> x = np.array([1.0, 0.25, 0.0])
    >>> found = error_of(x, store(x, "i2"))
    >>> found.max_abs, found.max_relative, found.clipped
    (0.25, 1.0, 0)
    """
    if array.shape != stored.shape:
        raise ShapeError("loom.nn.numeric.error_of", "not the array that was stored", expected=stored.shape,
                         got=array.shape, remedy="Pass the array before it was stored")  # fmt: skip
    exact = array.astype(np.float64)
    away = np.abs(stored.decode() - exact)
    size = np.abs(exact)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(away == 0, 0.0, away / size)
    most = float(away.max(initial=0.0))
    error, whole = _rms(away), _rms(size)
    if most == 0:
        lost = 0.0
    else:
        lost = float(bits) if not whole else bits - math.log2(whole / error)
    return TensorError(
        name, stored.dtype.name, stored.size, most, float(share.max(initial=0.0)), error, bits,
        min(max(lost, 0.0), float(bits)), _count_clipped(exact, stored), stored.nbytes,
        1.0 if stored.scale is None else float(stored.scale.max(initial=0.0)),
    )  # fmt: skip


def _rms(values: Array) -> float:
    most = float(values.max(initial=0.0))
    return 0.0 if not most else most * math.sqrt(float(np.mean((values / most) ** 2)))


def _count_clipped(exact: Array, stored: StoredArray) -> int:
    """Return how many numbers are beyond the range of their type, under their scale."""
    kind, scale = stored.dtype, stored.scale
    if kind.kind is NumericKind.BINARY:
        return 0  # a sign has no range
    with np.errstate(over="ignore", divide="ignore"):
        given = exact if scale is None else exact / scale.astype(np.float64)
    if kind.is_float:
        return int(np.count_nonzero(is_beyond(given, kind)))
    low, high = (-1.0, 1.0) if kind.kind is NumericKind.TERNARY else (kind.smallest, kind.largest)
    start = 0.0 if stored.zero is None else stored.zero.astype(np.float64)
    whole = np.rint(given) + start
    return int(np.count_nonzero((whole < float(low)) | (whole > float(high))))
