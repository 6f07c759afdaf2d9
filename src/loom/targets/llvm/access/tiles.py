"""Emits products of tiles of bytes for tensor cores: ``mma.sync`` over words that lie in shared memory.

Layer: targets. The 16 by 8 elements of a product, and the words of both operands, lie over the 32 lanes of a warp as
the instruction has them, which is how ``tile_product`` says it; so each lane loads its words and keeps its four sums.
Invariant: sums wrap (no ``.satfinite``), and all that LLVM may do with an asm without side effects is to share it.

Source: PTX ISA, "Matrix Fragments for mma.m16n8k32".
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from loom.ir.kernel import Instr
from loom.ir.passes.tiles import TILE_LANES, TILE_ROWS, TILE_STEP
from loom.targets.llvm.values.state import State
from loom.targets.llvm.values.types import I32, I64, Undefined

__all__ = ["tile_product"]

_MMA = (
    "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
    "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
)
_SUMS, _WORDS = 4, 6
_CONSTRAINTS = ",".join(["=r"] * _SUMS + ["r"] * (_WORDS + _SUMS))
_HALF = TILE_STEP // 2
"""Words of 16 k: a lane's second of each row is so far from its first."""


def tile_product(state: State, s: Instr, a_at: Any, b_at: Any, sums: Any) -> Any:
    """Return the sums of a lane, a vector of four, after all steps of 32 k."""
    assert s.memory is not None
    b, (words, pitch), base = state.builder, s.attr, state.arrays[s.memory].base
    lane = b.and_(_thread(state), I32(TILE_LANES - 1))
    own = b.add(b.mul(b.lshr(lane, I32(2)), I32(pitch)), b.and_(lane, I32(3)))
    left, right = (b.gep(base, [b.zext(b.add(at, own), I64)], source_etype=I32) for at in (a_at, b_at))

    def word(start: Any, distance: int) -> Any:
        return b.load(b.gep(start, [I64(distance)], source_etype=I32), align=4, typ=I32)

    kept = [b.extract_element(sums, I32(n)) for n in range(_SUMS)]
    below, kind = TILE_ROWS * pitch, ll.LiteralStructType([I32] * _SUMS)
    form = ll.FunctionType(kind, [I32] * (_WORDS + _SUMS))
    for k in range(0, words, TILE_STEP):
        rows = [word(left, k), word(left, k + below), word(left, k + _HALF), word(left, k + _HALF + below)]
        columns = [word(right, k), word(right, k + _HALF)]
        found = b.asm(form, _MMA, _CONSTRAINTS, [*rows, *columns, *kept], False)
        found.attributes.add("convergent")
        kept = [b.extract_value(found, n) for n in range(_SUMS)]
    result: Any = Undefined(ll.VectorType(I32, _SUMS))
    for n, value in enumerate(kept):
        result = b.insert_element(result, value, I32(n))
    return result


def _thread(state: State) -> Any:
    name = "llvm.nvvm.read.ptx.sreg.tid.x"
    return state.builder.call(state.arithmetic.declare(name, I32, []), [])
