"""Precisions of matrix products: what a name stands for.

Layer: kernels. Pure tables. Invariant: a name is part of the numeric contract (docs/numerics.md, section 2); what is
written here decides bits.
"""

from __future__ import annotations

from loom.core.dtype import DType, bf16, f16, f32, f64, i8, i16, i32, i64
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK

__all__ = ["FULL", "HALF_BITS", "NAMES", "PRECISIONS", "Precision", "check_precision"]


@dataclass(frozen=True, slots=True)
class Precision:
    """Blocks of whole numbers of at most ``top``, held as ``held``.

    ``step`` and ``limit`` find the exponent from that of a block's largest magnitude: it is ``step`` lower, or one more
    if the 23 bits of the fraction are ``limit`` or above, where rounding would exceed ``top``.
    """

    name: str
    top: int
    held: DType

    @property
    def step(self) -> int:
        """Bits of ``top`` after the first."""
        return self.top.bit_length() - 1

    @property
    def limit(self) -> int:
        """Fraction of ``top`` + 1/2, which is rounded to ``top`` + 1, as ``top`` is odd."""
        return ((2 * self.top + 1) << (22 - self.step)) - (1 << 23)

    @property
    def sum_bits(self) -> int:
        """Bits, without sign, of the largest sum of a block's products."""
        return (MATMUL_BLOCK * self.top * self.top).bit_length()

    def accumulator(self, *, threads: bool) -> DType:
        """Return the type of a block's sum, which holds it exactly, on a GPU (``threads``) or not.

        A f64 of a CPU is put together of sums of halves of 12 bits (``HALF_BITS``), each below 2^31.
        """
        if self.sum_bits < 32:
            return i32
        return i64 if threads else f64


PRECISIONS = {
    p.name: p for p in (Precision("q8", 127, i8), Precision("q12", 2015, i16), Precision("q24", 8_355_711, i32))
}
"""Order-free precisions by name: one, two and three digits of 8, 6 and 8 bits."""
HALF_BITS = 12
"""Bits of the lower half of a factor of q24, from -2^11 to 2^11 - 1; the upper one is from -2040 to 2040."""
FULL = "full"
"""All bits of the operands, products added in their order: what None is where nothing else is in force."""
NAMES = (FULL, "x12", *PRECISIONS)
"""What ``precision`` of a product may be, besides None."""
_ELEMENTS = (f32, f16, bf16)


def check_precision(precision: object, operand: DType | None, where: str) -> str:
    """Return the name of a product's precision, "" for "full" and None.

    ``operand``: what it is to be of, None for whatever it may be of. ArgumentError for another name, DTypeError for
    operands that it does not take.
    """
    if precision is None or (isinstance(precision, str) and precision == FULL):
        return ""
    if not isinstance(precision, str) or precision not in NAMES:
        raise ArgumentError(
            f"{where}, precision", "unknown", expected="None, " + ", ".join(map(repr, NAMES)), got=repr(precision),
            remedy=near_matches(str(precision), NAMES) or "Leave it out",
        )  # fmt: skip
    allowed = (f32,) if precision == "x12" else _ELEMENTS
    if operand is not None and operand not in allowed:
        raise DTypeError(
            f"{where}, precision", f"{precision} rounds operands of {' or '.join(map(str, allowed))}",
            expected=" or ".join(map(str, allowed)), got=operand, remedy="Leave it out, or convert the operands",
        )  # fmt: skip
    return precision
