"""Finds sums of two products of 16-bit halves, for which machines have one instruction.

Layer: targets. x86 has ``pmaddwd`` and ``vpdpwssd``, wasm ``i32x4.dot_i16x8_s``: LLVM recognises them where the
products are written over a vector of 16-bit numbers, not where halves are taken apart by shifts. Invariant: the
value is the one the kernel wrote, wrapping included.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.core.dtype import i16, i32
from loom.ir.constants import constant_value
from loom.ir.kernel import Instr
from loom.targets.llvm.types import I32, Vectors

__all__ = ["pair_factors", "sum_of_products"]

I16: Any = ll.IntType(16)


def pair_factors(s: Instr) -> tuple[Instr, Instr] | None:
    """Return x and y if ``s`` is ``i32(i16(x)) * i32(i16(y)) + (x >> 16) * (y >> 16)`` over i32, else None."""
    if s.op.name != "add" or s.dtype != i32 or any(a.op.name != "mul" for a in s.args):
        return None
    low, high = s.args
    x, y = (_low_half(a) for a in low.args)
    if x is None or y is None or (x, y) != tuple(_high_half(a) for a in high.args):
        return None
    return x, y


def _low_half(s: Instr) -> Instr | None:
    """Return x of ``i32(i16(x))``."""
    if s.op.name != "convert" or s.args[0].op.name != "convert" or s.args[0].dtype != i16:
        return None
    source = s.args[0].args[0]
    return source if source.dtype == i32 else None


def _high_half(s: Instr) -> Instr | None:
    """Return x of ``x >> 16``."""
    if s.op.name != "shr" or s.args[1].op.name != "const":
        return None
    return s.args[0] if constant_value(s.args[1].attr, s.args[1].type) == 16 else None


def sum_of_products(builder: Any, vectors: Vectors, x: Any, y: Any) -> Any:
    """Emit the sum for two vectors of i32, in the form LLVM recognises."""
    width = vectors.width
    halves, wide = ll.VectorType(I16, 2 * width), ll.VectorType(I32, 2 * width)
    product = builder.mul(*(builder.sext(builder.bitcast(v, halves), wide) for v in (x, y)))
    low, high = (
        builder.shuffle_vector(product, ll.Constant(wide, ll.Undefined), _mask(range(start, 2 * width, 2)))
        for start in (0, 1)
    )
    return builder.add(low, high)


def _mask(lanes: range) -> Any:
    return ll.Constant(ll.VectorType(I32, len(lanes)), [I32(lane) for lane in lanes])
