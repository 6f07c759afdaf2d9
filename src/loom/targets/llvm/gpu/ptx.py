"""Replaces PTX instructions that ptxas compiles wrongly.

Layer: targets. ptxas takes results of ``neg.s16`` and ``abs`` for exact, as if they could not overflow: widened
or compared, minus the least i16 is +32768 and the absolute value of the least number is positive (seen with
CUDA 13.0 on an H200; the same in 32 bits is sound). A choice between 1.0 or -1.0 and -0.0 gives +0.0 for the latter
(seen on an H100), so ones that are chosen come out of constants that a host might change, which ptxas cannot know. A
loop that goes on while a falling counter is less than a number, until it wraps (``j <u -3`` for ``range(i, -1, -2)``),
goes on too long once ptxas unrolls it (seen with CUDA 13.0 on an H100: it compares the entry as signed and the turns as
unsigned numbers), so such loops are not unrolled. LLVM prefers all of these whatever its input says, so its text is
corrected. Invariant: the replacements wrap as Loom's ``neg`` and ``abs`` do, and give the bits that stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["corrected", "with_lanes"]

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


_LABEL = re.compile(r"^(\$\w+):", re.MULTILINE)
_BRANCH = re.compile(r"^\t(?:@(!?)(%\w+) )?bra(?:\.uni)?\s+(\$\w+);", re.MULTILINE)
_COMPARE = re.compile(r"^\tsetp\.(l[teos]|g[te]|h[is])\.[su]\d+\s+(%\w+), (%?[-\w]+), (%?[-\w]+);", re.MULTILINE)
_JOINED = re.compile(r"^\t(?:and|or)\.pred\s+(%\w+), (%\w+), (%\w+);", re.MULTILINE)
_ADDED = re.compile(r"^\t(?:add\.[su]\d+|(?:mov|cvt)\.[bsu\d.]+)\s+(%\w+), (%\w+)(?:, (-?\d+))?;", re.MULTILINE)
_ROLLED = '\t.pragma "nounroll";\n'

_ENTRY = re.compile(r"^(\.visible \.entry [^{]*?\))\s*$", re.MULTILINE)


def with_lanes(text: str, workgroup: tuple[int, int, int]) -> str:
    """Return PTX that says how many lanes a group has, without which a group of many may find too few registers."""
    x, y, z = workgroup
    return _ENTRY.sub(lambda m: f"{m[1]}\n.reqntid {x}, {y}, {z}", text)


def corrected(text: str) -> str:
    """Return PTX in which every unsafe instruction is a block of sound ones."""
    sound = _UNSAFE.sub(lambda m: "\t{ " + _SOUND[m[1]].format(d=m[2], a=m[3]) + " }", _with_rolled_loops(text))
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


def _with_rolled_loops(text: str) -> str:
    """Return PTX that forbids to unroll each loop whose counter would have to wrap for its test to fail."""
    starts = {m[1]: m.end() + 1 for m in _LABEL.finditer(text)}
    rolled: set[int] = set()
    for back in _BRANCH.finditer(text):
        start = starts.get(back[3], len(text))
        if start < back.end() and not text.startswith(_ROLLED, start):
            loop = text[start : back.end()]
            if any(_wraps(loop, *test) for test in _tests(loop, back[3])):
                rolled.add(start)
    for start in sorted(rolled, reverse=True):
        text = text[:start] + _ROLLED + text[start:]
    return text


def _tests(loop: str, head: str) -> Iterator[tuple[str, str]]:
    """Yield counters and how they compare while a loop goes on: "l" for less, "g" for greater."""
    inside, compares = {head, *_LABEL.findall(loop)}, {m[2]: m for m in _COMPARE.finditer(loop)}
    joined = {m[1]: (m[2], m[3]) for m in _JOINED.finditer(loop)}
    for branch in _BRANCH.finditer(loop):
        if branch[2] is None or (branch[3] in inside and branch[3] != head):
            continue
        holds = (branch[3] == head) != bool(branch[1])  # the test is of another turn, not of the end
        waiting = [branch[2]]
        while waiting:
            predicate = waiting.pop()
            waiting += joined.pop(predicate, ())
            if compare := compares.get(predicate):
                less = (compare[1][0] == "l") == holds
                yield compare[3], "l" if less else "g"
                yield compare[4], "g" if less else "l"


def _wraps(loop: str, counter: str, way: str) -> bool:
    """Tell whether a counter that has to be less than something falls, or one that has to be greater rises."""
    sources: dict[str, list[tuple[str, int]]] = {}
    for m in _ADDED.finditer(loop):
        sources.setdefault(m[1], []).append((m[2], int(m[3] or 0)))
    offsets, followed = {counter: 0}, [(counter, iter(sources.get(counter, ())))]
    while followed:
        last, rest = followed[-1]
        if (following := next(rest, None)) is None:
            followed.pop()
            continue
        source, step = following[0], offsets[last] + following[1]
        if source not in offsets:
            offsets[source] = step
            followed.append((source, iter(sources.get(source, ()))))
        elif any(source == name for name, _ in followed) and (turn := step - offsets[source]):
            if (turn < 0) == (way == "l"):
                return True
    return False
