"""Fixed-point cells: floats added up exactly, in any order, as 64-bit integers that count a power of two.

Layer: core (numpy alone). A number becomes the nearest multiple of the scale, halves to even; whole numbers are then
added exactly, so that the order cannot be seen. Invariant: a sum is exact, or the overflow is told.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.arrays import read_array, read_as
from loom.core.dtype import DType, f32, f64, i64
from loom.core.errors import ArgumentError, DTypeError
from loom.core.late import late
from loom.core.late.dataclass import dataclass

if TYPE_CHECKING:
    from loom.core import numbers
else:
    numbers = late("loom.core", "numbers")

__all__ = ["MOST_ADDED", "MOST_HELD", "Fixed", "fixed", "floats_of"]

MOST_ADDED = 1 << 61
"""What is added at once is smaller, in multiples of the scale."""
MOST_HELD = 1 << 62
"""What a cell holds before something is added is smaller: no sum gets past it unseen."""
_MOST_EXPONENT = 100


@dataclass(frozen=True, slots=True)
class Fixed:
    """The type of such cells, ``InOut[loom.fixed(2**-20)]``; a kernel reads them as ``dtype``.

    ``exponent``: the scale is 2 to that.
    """

    exponent: int
    dtype: DType

    @property
    def scale(self) -> float:
        """What one unit of a cell stands for."""
        return 2.0**self.exponent

    def encode(self, values: Any) -> np.ndarray[Any, Any]:
        """Return cells, int64, of floats; ArgumentError for what is not finite or too large.

        >>> fixed(2**-4).encode([0.5, -1.0]).tolist()
        [8, -16]
        """
        found = read_as(values, f64, f"{self}.encode")
        with np.errstate(all="ignore"):
            units = np.rint(found * 2.0**-self.exponent)
            wrong = ~(np.abs(units) < MOST_ADDED)
        if wrong.any():
            first = float(found[wrong].flat[0] if found.ndim else found)
            raise ArgumentError(
                f"{self}.encode", "a number that the cells do not hold",
                expected=f"less than {MOST_ADDED * self.scale}", got=first,
                remedy="Choose a larger scale" if math.isfinite(first) else "Pass finite numbers",
            )  # fmt: skip
        return units.astype(np.int64)

    def decode(self, cells: Any) -> np.ndarray[Any, Any]:
        """Return the floats, of ``dtype``, that int64 cells stand for, each rounded once.

        >>> fixed(2**-4).decode(np.array([8, -16])).tolist()
        [0.5, -1.0]
        """
        held, found = read_array(cells, f"{self}.decode")
        if found != i64:
            raise DTypeError(f"{self}.decode", "no cells", expected=i64, got=found,
                             remedy="Pass what a kernel wrote")  # fmt: skip
        return floats_of(held, self, self.dtype.numpy)

    def __str__(self) -> str:
        return f"fixed(2**{self.exponent})" if self.dtype == f32 else f"fixed(2**{self.exponent}, {self.dtype})"

    def __repr__(self) -> str:
        return f"loom.{self}"


def floats_of(cells: np.ndarray[Any, Any], kind: Fixed, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return what cells of a kind stand for, f32 for an array of those and else f64, each rounded once to that."""
    dtype = dtype if dtype == np.float32 else np.dtype(np.float64)
    return cells.astype(dtype) * dtype.type(kind.scale)


def fixed(scale: float, dtype: Any = f32) -> Fixed:
    """Return the type of cells that add up floats exactly, whatever the order: 64-bit multiples of ``scale``.

    In a kernel with ``cells: InOut[loom.fixed(2**-20)]``, ``loom.atomic_add(cells, i, x)`` adds the multiple of the
    scale nearest to x. A number that is not finite or has 2^61 units, and a cell that holds 2^62 or more, fail as an
    ``assert`` does.

    Args:
        scale: Power of two from 2^-100 to 2^100: one unit of a cell.
        dtype: f32 or f64: the type that kernels read.

    Raises:
        ArgumentError: The scale is no finite number, or no power of two.
        DTypeError: Not f32 or f64.

    >>> fixed(2**-20)
    loom.fixed(2**-20)
    """
    value = numbers.real(scale, "loom.fixed, scale")
    mantissa, exponent = math.frexp(value)
    if mantissa != 0.5 or not abs(exponent - 1) <= _MOST_EXPONENT:
        most = _MOST_EXPONENT
        near = "" if value <= 0 else f", for example 2**{min(max(round(math.log2(value)), -most), most)}"
        raise ArgumentError("loom.fixed, scale", "not a power of two", expected="2**-100 to 2**100", got=scale,
                            remedy=f"Pass the resolution of the sums{near}")  # fmt: skip
    if not isinstance(dtype, DType) or dtype not in (f32, f64):
        raise DTypeError("loom.fixed, dtype", "no float that kernels compute in", expected="f32 or f64",
                         got=repr(dtype)[:200], remedy="Leave it out")  # fmt: skip
    return Fixed(exponent - 1, dtype)
