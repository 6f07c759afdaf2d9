"""An array as it is stored: codes, packed, and what brings them back to numbers.

Layer: core (numpy alone). Invariant: ``decode`` is a fixed sequence of f64 operations on the codes, so that what is
stored means the same numbers everywhere.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.narrow.floats import decode_floats
from loom.core.narrow.packing import unpack
from loom.core.narrow.types import NumericKind, NumericType

__all__ = ["StoredArray", "require_shape"]

_LARGEST = np.finfo(np.float64).max

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """``shape`` elements of ``dtype``: ``data`` are its bytes, little-endian, the first of a byte's elements lowest.

    A number is code times ``scale``, of unsigned types (code - ``zero``) times scale: multiplied in f64, once.
    ``scale``: f32 (f64 for arrays of f64), of the shape () or, one for each row or channel, of as many axes as the
    array, all but one of size 1; None for a float that is what it says. ``zero``: whole numbers of the scale's shape,
    the codes of 0. Codes of ``ternary`` are -1, 0 and 1 in two's complement, those of ``binary`` 1 for the positive.
    """

    dtype: NumericType
    shape: tuple[int, ...]
    data: bytes
    scale: Array | None = None
    zero: Array | None = None

    def __post_init__(self) -> None:
        where, wanted = "loom.nn.numeric.StoredArray", self.dtype.nbytes(self.size)
        if len(self.data) != wanted:
            raise ArgumentError(where, "the number of bytes does not match",
                                expected=f"{wanted} for {self.size} elements of {self.dtype}", got=len(self.data),
                                remedy="Check the shape and the type")  # fmt: skip
        if self.scale is None and not self.dtype.is_float:
            raise ArgumentError(where, f"{self.dtype} has no numbers without a scale", expected="a scale", got=None,
                                remedy="Pass 1.0 for whole numbers")  # fmt: skip
        if (self.zero is None) == (self.dtype.kind is NumericKind.UNSIGNED):
            raise ArgumentError(where, "codes of 0 belong to unsigned types, and only to them",
                                expected="a zero" if self.zero is None else "none", got=self.dtype,
                                remedy="Pass the code that means 0")  # fmt: skip
        for what, found in (("scale", self.scale), ("zero", self.zero)):
            if found is not None:
                require_shape(what, found, self.shape, where)
        _require_scale(self.scale, self.dtype, where)
        _require_zero(self.zero, self.dtype, where)
        if self.dtype.kind is NumericKind.TERNARY and (self.codes() == -2).any():
            raise ArgumentError(
                where, "a code of ternary is none of -1, 0 and 1", got=-2, remedy="The data are damaged"
            )

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and zeros."""
        zeros = 0 if self.zero is None else self.zero.size * self.dtype.nbytes(1)
        return len(self.data) + (0 if self.scale is None else self.scale.nbytes) + zeros

    def codes(self) -> Array:
        """Return what is stored, of the array's shape: bit patterns of floats, the whole numbers of all others."""
        dtype, raw = self.dtype, np.frombuffer(self.data, np.uint8)
        if dtype.is_packed:
            found = unpack(raw, dtype.bits, self.size)
        else:
            found = raw.view(dtype.code_type.newbyteorder("<")).astype(dtype.code_type)
        if dtype.kind in (NumericKind.SIGNED, NumericKind.TERNARY):
            found = _to_signed(found, dtype)
        elif dtype.kind is NumericKind.BINARY:
            found = found.astype(np.int8) * np.int8(2) - np.int8(1)
        return found.reshape(self.shape)

    def decode(self) -> Array:
        """Return the numbers as f64, of the array's shape; what is beyond f64 is its largest number."""
        codes = self.codes()
        found = decode_floats(codes, self.dtype) if self.dtype.is_float else _above_zero(codes, self.zero)
        if self.scale is None:
            return found
        with np.errstate(over="ignore", under="ignore"):
            return np.clip(found * self.scale.astype(np.float64), -_LARGEST, _LARGEST)


def _to_signed(codes: Array, dtype: NumericType) -> Array:
    if not dtype.is_packed:
        return codes.view(np.dtype(f"i{dtype.bits // 8}"))
    left = np.uint8(8 - dtype.bits)
    return (codes << left).view(np.int8) >> left.astype(np.int8)


def _above_zero(codes: Array, zero: Array | None) -> Array:
    """Return codes less the code of 0, as f64, the difference rounded once."""
    if zero is None:
        return codes.astype(np.float64)
    wide, zeros = codes.astype(np.uint64), zero.astype(np.uint64)
    is_below = wide < zeros
    size = np.where(is_below, zeros - wide, wide - zeros).astype(np.float64)
    return np.where(is_below, -size, size)


def require_shape(what: str, given: Array, shape: tuple[int, ...], where: str) -> None:
    """See that there is one number, or one for each of some axes of an array; ArgumentError else."""
    fits = given.ndim == 0 or (
        given.ndim == len(shape) and all(n in (1, whole) for n, whole in zip(given.shape, shape, strict=True))
    )
    if not fits:
        wanted = f"one number, or sizes of {shape} and 1"
        raise ArgumentError(where, f"the {what} does not fit the array", expected=wanted, got=given.shape,
                            remedy="One for all, or one for each row or channel")  # fmt: skip


def _require_scale(scale: Array | None, dtype: NumericType, where: str) -> None:
    if scale is None:
        return
    least = 0.0 if dtype.kind is NumericKind.BINARY else np.nextafter(0.0, 1.0)  # signs of zeros have the scale 0
    wrong = ~np.isfinite(scale) | ~(scale >= least)
    if wrong.any():
        raise ArgumentError(where, "an unusable scale", expected="finite numbers above 0",
                            got=float(scale[wrong].flat[0]),
                            remedy="The data are damaged, or pass another")  # fmt: skip


def _require_zero(zero: Array | None, dtype: NumericType, where: str) -> None:
    if zero is not None and (zero.dtype.kind != "u" or (zero > np.uint64(int(dtype.largest))).any()):
        raise ArgumentError(where, "an unusable code of 0", expected=f"whole numbers from 0 to {int(dtype.largest)}",
                            got=f"{zero.max()} of {zero.dtype}", remedy="Use unsigned integers")  # fmt: skip
