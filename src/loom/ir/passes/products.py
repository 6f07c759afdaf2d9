"""Refuses a fused multiply-add whose product may be rounded: only an exact one has the same bits in two steps.

Layer: ir. A product is exact if its factors have at most 24 significant bits together, and nothing of it lies below
2^-149 or above the range of f32. What a value can be follows from where it comes from: an f16 or a small integer that
was widened, a constant, a choice of such, an array or variable that holds nothing else. A kernel of the library that is
trusted vouches for what lies in its buffers, as it does for its indexes; the interpreter checks every product.
Invariant: what passes here has the bits of ``mul`` and ``add``.
"""

from __future__ import annotations

import math

from loom.core.errors import VerifyError
from loom.core.late.dataclass import dataclass
from loom.ir.constants import constant_value
from loom.ir.kernel import Instr, Kernel, Memory, Space, Variable, assignments, operations

__all__ = ["refuse_inexact_products"]

_LEAST, _MOST, _BITS = -149, 128, 24


@dataclass(frozen=True, slots=True)
class _Extent:
    """Numbers of at most ``bits`` significant bits, multiples of 2^low, below 2^high in size; infinities and NaN."""

    bits: int
    low: int
    high: int

    def join(self, other: _Extent) -> _Extent:
        return _Extent(max(self.bits, other.bits), min(self.low, other.low), max(self.high, other.high))

    def is_exact_by(self, other: _Extent) -> bool:
        """Tell whether every product is a number of f32."""
        return (
            self.bits + other.bits <= _BITS and self.low + other.low >= _LEAST and self.high + other.high <= _MOST
        )  # fmt: skip


_NOTHING = _Extent(0, _MOST, _LEAST)
_ANY = _Extent(_BITS, _LEAST, _MOST)


def refuse_inexact_products(kernel: Kernel) -> None:
    """Raise VerifyError for the first ``fma`` of which a product may be rounded."""
    fused = [s for s in operations(kernel.body) if s.op.name == "fma"]
    if not fused or kernel.trusted:
        return
    extents = _Extents(kernel)
    for s in fused:
        a, b = (extents.of(x) for x in s.args[:2])
        if not a.is_exact_by(b):
            raise VerifyError(
                kernel.where(s.loc), "fma of a product that may be rounded, so that it would differ from a * b + c",
                expected="factors of at most 12 significant bits and moderate size: widened from f16, i8, u8",
                got=f"{a.bits} and {b.bits} bits, multiples of 2^{a.low} and 2^{b.low}", remedy="Write a * b + c",
            )  # fmt: skip


class _Extents:
    """What the values of a kernel can be; one that is asked for while it is worked out adds nothing to itself."""

    def __init__(self, kernel: Kernel) -> None:
        self.known: dict[Instr | Variable | Memory, _Extent] = {}
        self.sources: dict[Variable | Memory, list[Instr]] = {**assignments(kernel.body)}
        for s in operations(kernel.body):
            if s.memory is not None and s.op.name == "store":
                self.sources.setdefault(s.memory, []).append(s.args[1])

    def of(self, value: Instr) -> _Extent:
        return self.work_out(value, [*self.parts(value)]) if self.hands_on(value) else _extent_of(value)

    def hands_on(self, value: Instr) -> bool:
        """True for what gives one of other values, but for its sign."""
        if value.op.name == "load":
            return value.memory is not None and value.memory.space is not Space.BUFFER
        return value.op.name in ("get", "neg", "abs", "select", "min", "max") and not value.type.is_vector

    def parts(self, value: Instr) -> list[Instr]:
        if value.op.name == "get":
            return self.sources.get(value.attr, [])
        if value.op.name == "load":
            assert value.memory is not None, "a load"
            return self.sources.get(value.memory, [])
        return list(value.args[-2:] if value.op.name == "select" else value.args)

    def work_out(self, value: Instr, parts: list[Instr]) -> _Extent:
        key: Instr | Variable | Memory = value.attr if value.op.name == "get" else value.memory or value
        if key in self.known:
            return self.known[key]
        self.known[key] = found = _NOTHING
        for part in parts:
            found = found.join(self.of(part))
        self.known[key] = found
        return found


def _extent_of(value: Instr) -> _Extent:
    """Return what a value can be that is no other value: a constant, a conversion, or anything."""
    if value.op.name == "const":
        number = constant_value(value.attr, value.type)
        if not number or not math.isfinite(number):
            return _NOTHING
        significand, exponent = math.frexp(abs(float(number)))
        digits = int(math.ldexp(significand, _BITS))
        zeros = (digits & -digits).bit_length() - 1
        return _Extent(_BITS - zeros, exponent - _BITS + zeros, exponent)
    source = value.args[0].type if value.op.name == "convert" else None
    if source is None or source.is_vector:
        return _ANY
    if source.name == "f16":
        return _Extent(11, -24, 16)
    if source.is_integer and source.bits <= 16:
        return _Extent(source.bits, 0, source.bits)
    return _ANY
