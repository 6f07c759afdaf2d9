"""Numbers of Python as bit patterns of Loom's types, and back.

Layer: ir. Invariant: constants are kept as bits everywhere, so that every NaN and signed zero survives.
"""

from __future__ import annotations

import struct
from typing import Any, cast

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import DType, f32

__all__ = ["constant_bits", "constant_value", "fits"]

_FLOAT_FORMAT = {16: "<e", 32: "<f", 64: "<d"}


@ordinary_arithmetic()
def constant_bits(value: float | int | bool, dtype: DType) -> int:
    """Return the bit pattern of a Python number as ``dtype``.

    Integers must fit (OverflowError otherwise); floats are rounded to nearest even.
    """
    if dtype.is_bool:
        return int(bool(value))
    if dtype.is_integer:
        if int(value) != value:
            raise ValueError(f"{value!r} is not a whole number")
        if not dtype.minimum <= int(value) <= dtype.maximum:
            raise OverflowError(f"{value!r} is outside {dtype.minimum} to {dtype.maximum}")
        return int(value) & ((1 << dtype.bits) - 1)
    if dtype.name == "bf16":
        raise ValueError("bf16 has no constants; write f32 and convert")
    with np.errstate(over="ignore"):
        return int(dtype.numpy.type(value).view(dtype.bits_numpy))


def fits(value: Any, dtype: DType) -> bool:
    """Tell whether a number of Python or numpy, or the components of a short vector, can be constants of a type.

    A bool is none but of bool; f16 and bf16 take what f32 takes, in which kernels have them.
    """
    if dtype.is_vector:
        is_several = isinstance(value, (tuple, list, np.ndarray))
        parts = cast("Any", value if is_several else (value,))
        return len(parts) in (1, dtype.lanes) and all(fits(v, dtype.scalar) for v in parts)
    kinds = (bool, np.bool_) if dtype.is_bool else (int, np.integer, float, np.floating)
    if not isinstance(value, kinds) or (isinstance(value, bool) and not dtype.is_bool):
        return False
    number = cast("Any", value)
    try:
        constant_bits(number, f32 if dtype.storage_only else dtype)
    except (OverflowError, ValueError):
        return False
    return True


def constant_value(bits: int, dtype: DType) -> float | int | bool:
    """Return the Python number a bit pattern stands for."""
    if dtype.is_bool:
        return bool(bits)
    if dtype.is_integer:
        return bits - (1 << dtype.bits) if dtype.is_signed and bits >> (dtype.bits - 1) else bits
    if dtype.name == "bf16":
        return struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    raw = bits.to_bytes(dtype.bits // 8, "little")
    return struct.unpack(_FLOAT_FORMAT[dtype.bits], raw)[0]
