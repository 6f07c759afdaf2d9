"""Replaces PTX instructions that ptxas compiles wrongly.

Layer: targets. ptxas takes results of ``neg.s16`` and ``abs`` for exact, as if they could not overflow: widened
or compared, minus the least i16 is +32768 and the absolute value of the least number is positive (seen with
CUDA 13.0 on an H200; the same in 32 bits is sound). A choice between 1.0 or -1.0 and -0.0 gives +0.0 for the latter
(seen on an H100), so ones that are chosen come out of constants that a host might change, which ptxas cannot know. LLVM
prefers these instructions whatever its input says, so its text is corrected. Invariant: the replacements wrap as
Loom's ``neg`` and ``abs`` do, and give the bits that stand there.
"""

from __future__ import annotations

import re

from loom.targets.llvm.gpu.rolled import with_rolled_loops

__all__ = ["correct", "with_lanes"]

_UNSAFE = re.compile(r"^\t(neg\.s16|abs\.s16|abs\.s32|abs\.s64)\s+(%\w+), (%\w+);", re.MULTILINE)
_SOUND = {
    "neg.s16": ".reg .b32 %wide; cvt.s32.s16 %wide, {a}; neg.s32 %wide, %wide; cvt.u16.u32 {d}, %wide;",
    "abs.s16": ".reg .b32 %wide; .reg .b16 %half; cvt.s32.s16 %wide, {a}; neg.s32 %wide, %wide;"
    " cvt.u16.u32 %half, %wide; max.s16 {d}, %half, {a};",
    "abs.s32": ".reg .b32 %less; neg.s32 %less, {a}; max.s32 {d}, %less, {a};",
    "abs.s64": ".reg .b64 %less; neg.s64 %less, {a}; max.s64 {d}, %less, {a};",
}
_CHOSEN = re.compile(r"^\t((?:selp|mov)\.[bfus](32|64)\s[^\n]*;)", re.MULTILINE)
_ONES = {
    "32": {0x3F800000: ("0f3F800000", "1065353216"), 0xBF800000: ("0fBF800000", "-1082130432", "3212836864")},
    "64": {
        0x3FF0 << 48: ("0d3FF0000000000000", "4607182418800017408"),
        0xBFF0 << 48: ("0dBFF0000000000000", "-4616189618054758400", "13830554455654793216"),
    },
}
_HIDDEN = "loom_$_hidden"
_HEADER = re.compile(r"^\.address_size \d+$", re.MULTILINE)


_ENTRY = re.compile(r"^(\.visible \.entry [^{]*?\))\s*$", re.MULTILINE)


def with_lanes(text: str, workgroup: tuple[int, int, int]) -> str:
    """Return PTX that says how many lanes a group has, without which a group of many may find too few registers."""
    x, y, z = workgroup
    return _ENTRY.sub(lambda m: f"{m[1]}\n.reqntid {x}, {y}, {z}", text)


def correct(text: str) -> str:
    """Return PTX in which every unsafe instruction is a block of sound ones."""
    sound = _UNSAFE.sub(lambda m: "\t{ " + _SOUND[m[1]].format(d=m[2], a=m[3]) + " }", with_rolled_loops(text))
    hidden = _CHOSEN.sub(_with_hidden_ones, sound)
    if hidden == sound:
        return sound
    return _HEADER.sub(lambda m: f"{m[0]}\n\n.visible .const .align 8 .u64 {_HIDDEN};", hidden, count=1)


def _with_hidden_ones(m: re.Match[str]) -> str:
    """Return a choice or a copy of 1.0 or -1.0 that takes it from a register which no compiler knows."""
    instruction, width = m[1], m[2]
    before = ""
    for number, (bits, spellings) in enumerate(_ONES[width].items()):
        spelled = "|".join(map(re.escape, spellings))
        instruction, found = re.subn(rf"(?<=[ ,])(?:{spelled})(?=[,;])", f"%one{number}", instruction)
        if found:
            before += (
                f".reg .b{width} %one{number}; ld.const.u{width} %one{number}, [{_HIDDEN}];"
                f" or.b{width} %one{number}, %one{number}, {bits:#x}; "
            )
    return "\t{ " + before + instruction + " }" if before else m[0]
