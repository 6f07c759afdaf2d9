"""LLVM types and constants for Loom's, and small vector idioms (splat, all, any, widths).

Layer: targets. Invariant: a bool is i1 in registers and one byte, 0 or 1, in memory.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import DType
from loom.targets.llvm.values.lanes import Lanes

__all__ = [
    "I1",
    "I8",
    "I32",
    "I64",
    "POINTER",
    "Repeated",
    "Undefined",
    "Vectors",
    "memory_type",
    "scalar_type",
    "size_of",
]

I1, I8, I32, I64 = (ll.IntType(n) for n in (1, 8, 32, 64))
POINTER = ll.PointerType()


def scalar_type(dtype: DType) -> Any:
    """Return the register type of one lane's value."""
    if dtype.is_bool:
        return I1
    if dtype.is_integer:
        return ll.IntType(dtype.bits)
    return ll.FloatType() if dtype.bits == 32 else ll.DoubleType()


def memory_type(dtype: DType) -> Any:
    """Return the type of one element in memory."""
    return I8 if dtype.is_bool else scalar_type(dtype)


def size_of(kind: Any) -> int:
    """Return the bytes a value of an LLVM type takes in memory."""
    if isinstance(kind, ll.VectorType):
        return -(-kind.count * kind.element.width // 8) if kind.element == I1 else kind.count * size_of(kind.element)
    if isinstance(kind, ll.IntType):
        return -(-kind.width // 8)
    return 4 if isinstance(kind, ll.FloatType) else 8


class Undefined(ll.Constant):
    """A value of no bits in particular, which llvmlite would write once for each element of a vector."""

    def __init__(self, kind: ll.Type) -> None:
        self.type = kind
        self.constant = ll.Undefined


class Repeated(ll.Constant):
    """A constant vector of one constant, whose text does not grow with its length."""

    def __init__(self, scalar: ll.Constant, count: int) -> None:
        self.type = ll.VectorType(scalar.type, count)
        self.constant = (scalar,) * count

    def _get_reference(self) -> str:
        scalar = self.constant[0]
        return f"splat ({scalar.type} {scalar.get_reference()})"


@cache
def _iota(bits: int, stride: int, width: int) -> ll.Constant:
    kind = ll.IntType(bits)
    numbers = [kind(stride * lane % (1 << bits)) for lane in range(width)]
    return numbers[0] if width == 1 else ll.Constant(ll.VectorType(kind, width), numbers)


class Vectors:
    """Builds vectors of ``width`` lanes with an IRBuilder; width 1 means plain scalars."""

    def __init__(self, builder: ll.IRBuilder, width: int) -> None:
        self.b = builder
        self.width = width
        self.mask_type = self.of(I1)

    def of(self, element: Any) -> Any:
        """Return the vector type of ``element`` (itself when the width is 1)."""
        return element if self.width == 1 else ll.VectorType(element, self.width)

    def type_of(self, dtype: DType, stride: int | None) -> Any:
        """Return the type a value is held as: once if its stride is known, else for every lane (see ``elements``)."""
        kind, each = scalar_type(dtype), 1 if stride is not None else self.width
        if dtype.is_vector:
            return ll.VectorType(kind, dtype.lanes * each)
        return kind if stride is not None else self.of(kind)

    def splat(self, value: Any) -> Any:
        """Repeat a scalar in all lanes."""
        if self.width == 1:
            return value
        if isinstance(value, ll.Constant):
            return Repeated(value, self.width)
        undefined = Undefined(self.of(value.type))
        first = self.b.insert_element(undefined, value, I32(0))
        return self.b.shuffle_vector(first, undefined, Repeated(I32(0), self.width))

    def iota(self, element: Any, stride: int = 1) -> Any:
        """Return the constant vector 0, stride, 2 stride, ..."""
        return _iota(element.width, stride, self.width)

    def spread(self, lanes: Lanes) -> Any:
        """Return a value held lane by lane, whatever way it was held."""
        if lanes.stride is None or self.width == 1:
            return lanes.value
        whole = self.splat(lanes.value)
        return whole if lanes.stride == 0 else self.b.add(whole, self.iota(lanes.value.type, lanes.stride))

    def bits(self, mask: Any) -> Any:
        """Return a mask as an integer, lane 0 in the lowest bit."""
        return mask if self.width == 1 else self.b.bitcast(mask, ll.IntType(self.width))

    def any(self, mask: Any) -> Any:
        """True if some lane is set."""
        bits = self.bits(mask)
        return self.b.icmp_unsigned("!=", bits, bits.type(0))

    def all(self, mask: Any) -> Any:
        """True if every lane is set."""
        bits = self.bits(mask)
        return self.b.icmp_unsigned("==", bits, bits.type((1 << self.width) - 1))

    def last(self, mask: Any) -> Any:
        """Return the number of the highest set lane of a mask that has one."""
        bits = self.bits(mask)
        clz = self.b.module.declare_intrinsic("llvm.ctlz", [bits.type], ll.FunctionType(bits.type, [bits.type, I1]))
        leading = self.b.call(clz, [bits, I1(1)])
        lane = self.b.sub(bits.type(self.width - 1), leading)
        return self.b.trunc(lane, I32) if self.width > 32 else self.b.zext(lane, I32) if self.width < 32 else lane

    def constant(self, bits: int, dtype: DType) -> Any:
        """Return the scalar constant with a bit pattern."""
        if not dtype.is_float:
            return scalar_type(dtype)(bits)
        number = ll.IntType(dtype.bits)(bits)  # a number in Python would pass through the caller's floating-point mode
        return number.bitcast(scalar_type(dtype))
