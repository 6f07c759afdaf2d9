"""Emits dot products of packed small integers by the one instruction that a machine has for them.

Layer: targets. x86 has ``vpdpbusd`` (bytes without sign by bytes with one; those that saturate are of no use),
``vpdpwssd`` and ``pmaddwd``, AArch64 ``sdot`` and ``usdot``, wasm ``i32x4.dot_i16x8_s``, PTX ``dp4a``, AMDGPU ``dot4``
and ``dot2``. Bytes elsewhere are halves of 16 bits, the even ones and the odd ones. Invariant: bits equal
``ir.evaluate``, wrapping included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from loom.targets.llvm.machine import DotUnits
from loom.targets.llvm.values.types import I1, I8, I32, Repeated, Undefined

__all__ = ["Dots", "sum_of_pairs"]

I16: Any = ll.IntType(16)
_BIAS, _OFFSET = 0x8080_8080, 128
"""What makes a byte with a sign one without, 128 more, and back."""


class Dots:
    """Emits the operations with a builder; ``declare`` gives an intrinsic by name, result and operands."""

    def __init__(self, builder: Any, declare: Callable[[str, Any, list[Any]], Any], units: DotUnits) -> None:
        self.b = builder
        self.declare = declare
        self.units = units

    def pairs(self, x: Any, y: Any, c: Any) -> Any:
        """Return ``c`` and the products of the halves of 16 bits."""
        if self.units.family == "amd" and self.units.pairs:
            halves = ll.VectorType(I16, 2)
            fn = self.declare("llvm.amdgcn.sdot2", I32, [halves, halves, I32, I1])
            return self.b.call(fn, [self.b.bitcast(x, halves), self.b.bitcast(y, halves), c, I1(0)])
        if not isinstance(x.type, ll.VectorType):
            return self.b.add(c, self._scalars(x, y, 16))
        return self.b.add(c, self._pairs(x, y))

    def bytes(self, x: Any, y: Any, c: Any, *, unsigned: bool) -> Any:
        """Return ``c`` and the products of the bytes, those of ``x`` without a sign if ``unsigned``."""
        units, is_vector = self.units, isinstance(x.type, ll.VectorType)
        if units.family == "ptx":
            fn = self.declare(f"llvm.nvvm.idp4a.{'u' if unsigned else 's'}.s", I32, [I32, I32, I32])
            return self.b.call(fn, [x, y, c])
        if units.family == "amd" and units.mixed:  # each preceded by whether it has a sign; the last would saturate
            fn = self.declare("llvm.amdgcn.sudot4", I32, [I1, I32, I1, I32, I32, I1])
            return self.b.call(fn, [I1(not unsigned), x, I1(1), y, c, I1(0)])
        if units.family == "amd" and not unsigned:
            fn = self.declare("llvm.amdgcn.sdot4", I32, [I32, I32, I32, I1])
            return self.b.call(fn, [x, y, c, I1(0)])
        if not is_vector:
            return self.b.add(c, self._scalars(x, y, 8, unsigned=unsigned))
        own, other = (units.mixed, units.signed) if unsigned else (units.signed, units.mixed)
        count = x.type.count
        if self._lanes(own, count):
            return self._by_unit(x, y, c, unsigned=unsigned)
        if self._lanes(other, count):  # u = s + 128 on either side
            bias = Repeated(I32(_BIAS), count)
            whole = self._by_unit(self.b.xor(x, bias), y, c, unsigned=not unsigned)
            extra = self._by_unit(bias, y, Repeated(I32(0), count), unsigned=not unsigned)
            return self.b.sub(whole, extra)
        even, odd = self._halves(x, unsigned=unsigned), self._halves(y, unsigned=False)
        return self.b.add(self.b.add(c, self._pairs(even[0], odd[0])), self._pairs(even[1], odd[1]))

    def _lanes(self, widest: int, count: int) -> int:
        """Return the lanes of a unit's instruction that vectors of ``count`` are whole numbers of, 0 for none."""
        widths = (16, 8, 4) if self.units.family == "x86" else (widest,)
        return next((lanes for lanes in widths if 0 < lanes <= widest and count % lanes == 0), 0)

    def _by_unit(self, x: Any, y: Any, c: Any, *, unsigned: bool) -> Any:
        units = self.units
        lanes = self._lanes(units.mixed if unsigned else units.signed, x.type.count)
        words, bytes_ = ll.VectorType(I32, lanes), ll.VectorType(I8, 4 * lanes)
        if units.family == "x86":
            fn = self.declare(f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", words, [words, bytes_, bytes_])
        else:
            name = f"llvm.aarch64.neon.{'usdot' if unsigned else 'sdot'}.v{lanes}i32.v{4 * lanes}i8"
            fn = self.declare(name, words, [words, bytes_, bytes_])

        def one(x: Any, y: Any, c: Any) -> Any:
            return self.b.call(fn, [c, self.b.bitcast(x, bytes_), self.b.bitcast(y, bytes_)])

        return self._in_parts(one, lanes, x, y, c)

    def _pairs(self, x: Any, y: Any) -> Any:
        """Return the sums of two products of halves, for vectors of words."""
        lanes = self._lanes(self.units.pairs, x.type.count)
        if not lanes:
            return sum_of_pairs(self.b, x, y)
        words, halves = ll.VectorType(I32, lanes), ll.VectorType(I16, 2 * lanes)
        if self.units.family == "wasm":
            name = "llvm.wasm.dot"
        else:
            name = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[lanes]
        fn = self.declare(name, words, [halves, halves])

        def one(x: Any, y: Any) -> Any:
            return self.b.call(fn, [self.b.bitcast(x, halves), self.b.bitcast(y, halves)])

        return self._in_parts(one, lanes, x, y)

    def _in_parts(self, one: Callable[..., Any], lanes: int, *vectors: Any) -> Any:
        """Return what ``one`` makes of vectors of so many lanes, of longer ones part by part."""
        count = vectors[0].type.count
        if count == lanes:
            return one(*vectors)
        parts = [
            one(*(_shuffle(self.b, v, v, range(first, first + lanes)) for v in vectors))
            for first in range(0, count, lanes)
        ]
        while len(parts) > 1:
            width = parts[0].type.count
            parts = [
                _shuffle(self.b, parts[n], parts[n + 1], range(2 * width)) for n in range(0, len(parts), 2)
            ]  # fmt: skip
        return parts[0]

    def _halves(self, x: Any, *, unsigned: bool) -> tuple[Any, Any]:
        """Return the even and the odd bytes of a vector of words as halves of 16 bits."""
        kind = ll.VectorType(I16, 2 * x.type.count)
        halves, eight = self.b.bitcast(x, kind), Repeated(I16(8), kind.count)
        if unsigned:
            found = self.b.and_(halves, Repeated(I16(255), kind.count)), self.b.lshr(halves, eight)
        else:
            found = self.b.ashr(self.b.shl(halves, eight), eight), self.b.ashr(halves, eight)
        return self.b.bitcast(found[0], x.type), self.b.bitcast(found[1], x.type)

    def _scalars(self, x: Any, y: Any, bits: int, *, unsigned: bool = False) -> Any:
        """Return the sum of products of the parts of two words."""
        total = None
        for at in range(0, 32, bits):
            left, right = (self.b.shl(w, I32(32 - bits - at)) for w in (x, y))
            extend = self.b.lshr if unsigned else self.b.ashr
            product = self.b.mul(extend(left, I32(32 - bits)), self.b.ashr(right, I32(32 - bits)))
            total = product if total is None else self.b.add(total, product)
        return total


def sum_of_pairs(builder: Any, x: Any, y: Any) -> Any:
    """Emit the sums of two products of halves for vectors of i32, in the form that LLVM recognises."""
    count = x.type.count
    halves, wide = ll.VectorType(I16, 2 * count), ll.VectorType(I32, 2 * count)
    product = builder.mul(*(builder.sext(builder.bitcast(v, halves), wide) for v in (x, y)))
    undefined = Undefined(wide)
    low, high = (_shuffle(builder, product, undefined, range(start, 2 * count, 2)) for start in (0, 1))
    return builder.add(low, high)


def _shuffle(builder: Any, x: Any, y: Any, lanes: range) -> Any:
    mask = ll.Constant(ll.VectorType(I32, len(lanes)), [I32(lane) for lane in lanes])
    return builder.shuffle_vector(x, y, mask)
