"""Which types a computation has: statistics, extremes and matrix products, for patterns and tensors alike.

Layer: kernels. Pure tables of types. Invariant: whoever sums, averages or multiplies asks here, so that one call and
another give elements of one type, made by the same arithmetic.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from loom.core.dtype import DType, bf16, f16, f32, f64, i8, i16, i32, i64, u8, u16, u32, u64
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK

if TYPE_CHECKING:
    from loom.kernels import precisions
    from loom.kernels.precisions import Precision
else:
    precisions = late("loom.kernels", "precisions")

__all__ = [
    "PRODUCTS",
    "Kinds",
    "ProductTypes",
    "compute_type",
    "extreme_type",
    "kinds",
    "product_types",
    "read_type",
    "real_type",
    "whole_types",
    "wide_type",
]


@dataclass(frozen=True, slots=True)
class Kinds:
    """Types of a statistic: of the elements (a bool is a byte), of their sum, of arithmetic, of the result."""

    element: DType
    total: DType
    computed: DType
    result: DType


@cache
def kinds(dtype: DType) -> Kinds:
    """Return the types of a statistic of ``dtype``: floats keep theirs (16 bits in f32), integers give f64.

    Integers are summed exactly, those of 64 bits as f64, since their sum may have no integer type.
    """
    total, _ = wide_type(dtype)
    if dtype.is_float:
        return Kinds(dtype, total, total, dtype)
    return Kinds(read_type(dtype), f64 if dtype.bits == 64 else total, f64, f64)


def compute_type(dtype: DType) -> DType:
    """Return the type that elements are computed in: f16 and bf16 in f32."""
    return f32 if dtype.storage_only else dtype


def read_type(dtype: DType) -> DType:
    """Return the type elements are read as: a bool is a byte that holds 0 or 1."""
    return u8 if dtype.is_bool else dtype


def wide_type(dtype: DType) -> tuple[DType, DType]:
    """Return the types of accumulators and result of a sum or product: of integers 64 bits, of bools i64."""
    if dtype.is_float:
        return compute_type(dtype), dtype
    wide = i64 if dtype.is_signed or dtype.is_bool else u64
    return wide, wide


def extreme_type(dtype: DType) -> DType:
    """Return the type that a smallest or largest element is looked for in."""
    return compute_type(read_type(dtype))


def real_type(dtype: DType) -> DType:
    """Return the type that spectra and edges of bins are computed in: f32 of floats up to 32 bits, f64 of others."""
    return f32 if dtype in (f16, bf16, f32) else f64


PRODUCTS: dict[DType, tuple[DType, ...]] = {
    f32: (f32,),
    f64: (f64,),
    f16: (f16, f32),
    bf16: (bf16, f32),
    i8: (i32, i64),
    u8: (i32, u64),
    i16: (i32, i64),
    u16: (u32, u64),
    i32: (i32, i64),
    u32: (u32, u64),
    i64: (i64,),
    u64: (u64,),
}
"""Types of a matrix product by that of the operands, the default first."""


@dataclass(frozen=True, slots=True)
class ProductTypes:
    """The types of a multiplication: elements in memory, factors as held, sums, and the result.

    ``pairs``: a held i32 is two factors of 16 bits, of k and k + 64 of a block: integers are exact in any
    order. ``precision``: what factors are rounded to first ("": they are not), a name of ``kernels.precisions``.
    ``scaled``: the types of the whole numbers that an order-free precision multiplies, whose sums are scaled.
    ``dots``: a held i32 is four factors of 8 bits, of k, k + 32, k + 64 and k + 96, for that operation; where it is
    ``dot4_u8i8``, those of the left operand are 128 more than they stand for. ``halves``: factors of 23 bits are three
    held i32, the pairs of their upper 12 bits, of their lower ones, and of the sums of both.
    """

    element: DType
    held: DType
    accumulator: DType
    result: DType
    pairs: bool = False
    precision: str = ""
    scaled: bool = False
    dots: str = ""
    halves: bool = False

    @property
    def short(self) -> bool:
        """Whether factors are rounded to 12 significant bits."""
        return self.precision == "x12"

    @property
    def fused(self) -> bool:
        """Whether every product is exact, so that a fused one has the same bits: of f16, not of wider ranges."""
        return self.element == f16 and self.accumulator == f32

    @property
    def order_free(self) -> Precision | None:
        """The order-free precision, None where products are added in their order."""
        return precisions.PRECISIONS.get(self.precision)

    @property
    def words(self) -> int:
        """Held words of a block, of each of the ``streams``."""
        return MATMUL_BLOCK // self.factors

    @property
    def factors(self) -> int:
        """Factors that a held word is made of."""
        return 4 if self.dots else 2 if self.pairs else 1

    @property
    def streams(self) -> int:
        """Held words that factors are made of, and sums that a result is."""
        return 3 if self.halves else 1

    @property
    def total(self) -> DType:
        """The type of a block's sum."""
        return f64 if self.halves else self.accumulator

    @property
    def kind(self) -> str:
        """How factors are held, in the name of a kernel."""
        return f"{self.held}_{self.dots or ('halves' if self.halves else 'pairs' if self.pairs else 'plain')}"


def product_types(element: DType, result: DType, *, precision: str = "") -> ProductTypes:
    """Return the types of a product of ``element`` that gives ``result``, one of its ``PRODUCTS``.

    Two products of small integers, and their sum, fit an i32 exactly, so that they are taken at once.
    """
    accumulator = compute_type(result) if element.storage_only else result
    pairs = result == i32 and element in (i8, u8, i16)
    return ProductTypes(element, accumulator, accumulator, result, pairs=pairs, precision=precision)


def whole_types(precision: Precision, *, threads: bool, dots: str | None = None) -> ProductTypes:
    """Return the types that whole numbers of an order-free precision are multiplied in, on a GPU or not.

    ``dots``: the operation on packed bytes that is one instruction, as ``Caps`` tells; None for kernels that take
    neither bytes nor halves.
    """
    accumulator = precision.accumulator(threads=threads)
    halves = dots is not None and accumulator == f64
    if threads and dots and precision.held == i8:
        return ProductTypes(i32, i32, i32, f32, scaled=True, dots=dots)
    if threads or (accumulator != i32 and not halves):
        return ProductTypes(precision.held, accumulator, accumulator, f32, scaled=True)
    return ProductTypes(
        precision.held, i32, i32, f32, pairs=True, scaled=True, dots=dots or "" if precision.held == i8 else "",
        halves=halves,
    )  # fmt: skip
