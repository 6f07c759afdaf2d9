"""Replaces PTX instructions that ptxas compiles wrongly.

Layer: targets. ptxas takes results of ``neg.s16`` and ``abs`` for exact, as if they could not overflow: widened
or compared, minus the least i16 is +32768 and the absolute value of the least number is positive (seen with
CUDA 13.0 on an H200; the same in 32 bits is sound). LLVM prefers these instructions whatever its input says, so
its text is corrected. Invariant: the replacements wrap as Loom's ``neg`` and ``abs`` do.
"""

from __future__ import annotations

import re

__all__ = ["corrected"]

_UNSAFE = re.compile(r"^\t(neg\.s16|abs\.s16|abs\.s32|abs\.s64)\s+(%\w+), (%\w+);", re.MULTILINE)
_SOUND = {
    "neg.s16": ".reg .b32 %wide; cvt.s32.s16 %wide, {a}; neg.s32 %wide, %wide; cvt.u16.u32 {d}, %wide;",
    "abs.s16": ".reg .b32 %wide; .reg .b16 %half; cvt.s32.s16 %wide, {a}; neg.s32 %wide, %wide;"
    " cvt.u16.u32 %half, %wide; max.s16 {d}, %half, {a};",
    "abs.s32": ".reg .b32 %less; neg.s32 %less, {a}; max.s32 {d}, %less, {a};",
    "abs.s64": ".reg .b64 %less; neg.s64 %less, {a}; max.s64 {d}, %less, {a};",
}


def corrected(text: str) -> str:
    """Return PTX in which every unsafe instruction is a block of sound ones."""
    return _UNSAFE.sub(lambda m: "\t{ " + _SOUND[m[1]].format(d=m[2], a=m[3]) + " }", text)
