"""The two float types that elementary functions are written for: their integers, and where the parts of a float lie.

Layer: kernels. A definition is one body for both types: ``x.dtype`` is known while a kernel is translated, so what
differs by type, layouts here, coefficients and bounds beside each definition, is looked up by it. Where the two types
are computed in different ways, an ``if`` on the type chooses; a ``_f64`` is what only f64 does. Invariant: no lookup is
left in a kernel.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, f32, f64, i32, i64, u32, u64
from loom.core.late.dataclass import dataclass

__all__ = ["FORMATS", "Format", "format_of"]


@dataclass(frozen=True)
class Format:
    """The layout of a float type: integers of its size, and the bits of its parts.

    ``digits`` are stored bits of the significand; ``sign``, ``lead`` (the digit that is not stored) and ``infinite``
    are the bits of -0, of the smallest normal number ``tiny`` and of infinity; ``upper`` are the bits of numbers whose
    products are exact; ``whole`` plus a whole number below half of it has that number in its low bits, exactly, and
    ``power`` plus n has the exponent field of 2^n.
    """

    bits: DType
    signed: DType
    digits: int
    bias: int
    sign: int
    lead: int
    infinite: int
    upper: int
    tiny: float
    whole: float
    power: float


def _format(bits: DType, signed: DType, digits: int, upper: int) -> Format:
    bias = (1 << bits.bits - digits - 2) - 1
    whole = 3 * 2.0 ** (digits - 1)
    lead, infinite = 1 << digits, (2 * bias + 1) << digits
    return Format(bits, signed, digits, bias, 1 << bits.bits - 1, lead, infinite, upper, 2.0 ** (1 - bias), whole,
                  whole + bias)  # fmt: skip


FORMATS = {f32: _format(u32, i32, 23, 0xFFFFF000), f64: _format(u64, i64, 52, 0xFFFFFFFFF8000000)}
"""The layout of each float type."""


def format_of(x: Any) -> Any:
    """Return the layout of a float's type, in a kernel."""
    return FORMATS[x.dtype]
