"""Finds loops in PTX that ptxas must not unroll.

Layer: targets. A loop that goes on while a falling counter is less than a number, until it wraps (``j <u -3``, LLVM's
form of ``range(i, -1, -2)``), goes on too long once ptxas unrolls it: it compares the entry as signed and the turns
as unsigned numbers (seen with CUDA 13.0 on an H100). Invariant: text gains pragmas and nothing else.
Source of the loops: Aho, Lam, Sethi, Ullman, Compilers (2006), 9.6.6, natural loops.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import field

from loom.core.late.dataclass import dataclass

__all__ = ["with_rolled_loops"]

_LABEL = re.compile(r"(\$\w+):\n")
_BRANCH = re.compile(r"^\t(?:@(!?)(%\w+) )?bra(?:\.uni)?\s+(\$\w+);", re.MULTILINE)
_END = re.compile(r"^\t(?:ret|exit|trap);", re.MULTILINE)
_COMPARE = re.compile(r"^\tsetp\.(l[teos]|g[te]|h[is])\.[su]\d+\s+(%\w+), (%?[-\w]+), (%?[-\w]+);", re.MULTILINE)
_JOINED = re.compile(r"^\t(?:and|or)\.pred\s+(%\w+), (%\w+), (%\w+);", re.MULTILINE)
_ADDED = re.compile(r"^\t(?:add\.[su]\d+|(?:mov|cvt)\.[bsu\d.]+)\s+(%\w+), (%\w+)(?:, (-?\d+))?;", re.MULTILINE)
_PRAGMA = '\t.pragma "nounroll";\n'


@dataclass(eq=False)
class _PtxBlock:
    """Instructions up to the next label or branch, and where that goes: taken first, else on."""

    text: str
    branch: re.Match[str] | None
    following: list[_PtxBlock] = field(default_factory=list["_PtxBlock"])
    before: list[_PtxBlock] = field(default_factory=list["_PtxBlock"])


def with_rolled_loops(text: str) -> str:
    """Return PTX that forbids to unroll each loop whose counter would have to wrap for its test to fail."""
    blocks = _blocks(text)
    heads = {id(head) for end, head in _back_edges(blocks) if _wraps(_loop(end, head))}
    if not heads:
        return text
    return "".join(
        _LABEL.sub(lambda m: m[0] + _PRAGMA, b.text, count=1) if id(b) in heads and _PRAGMA not in b.text else b.text
        for b in blocks
    )


def _blocks(text: str) -> list[_PtxBlock]:
    blocks: list[_PtxBlock] = []
    start = 0
    for line in re.finditer(r"^(\$\w+:)?.*\n?", text, re.MULTILINE):
        branch = _BRANCH.match(text, line.start())
        if line[1] and line.start() > start:
            blocks.append(_PtxBlock(text[start : line.start()], None))
            start = line.start()
        if branch:
            blocks.append(_PtxBlock(text[start : line.end()], branch))
            start = line.end()
    blocks.append(_PtxBlock(text[start:], None))
    named = {m[1]: block for block in blocks if (m := _LABEL.match(block.text))}
    for block, behind in zip(blocks, [*blocks[1:], None], strict=True):
        if block.branch and block.branch[3] in named:
            block.following.append(named[block.branch[3]])
        goes_on = block.branch[2] if block.branch else not _END.search(block.text)
        if behind and goes_on:
            block.following.append(behind)
        for other in block.following:
            other.before.append(block)
    return blocks


def _back_edges(blocks: list[_PtxBlock]) -> Iterator[tuple[_PtxBlock, _PtxBlock]]:
    """Yield edges to a block that is being walked: depth first, from the beginning of each function."""
    seen: set[_PtxBlock] = set()
    for first in blocks:
        walked = [] if first in seen else [(first, iter(first.following))]
        seen.add(first)
        path = {first}
        while walked:
            block, rest = walked[-1]
            if (other := next(rest, None)) is None:
                path.discard(walked.pop()[0])
            elif other in path:
                yield block, other
            elif other not in seen:
                seen.add(other)
                path.add(other)
                walked.append((other, iter(other.following)))


def _loop(end: _PtxBlock, head: _PtxBlock) -> set[_PtxBlock]:
    loop, waiting = {head}, [end]
    while waiting:
        if (block := waiting.pop()) not in loop:
            loop.add(block)
            waiting += block.before
    return loop


def _wraps(loop: set[_PtxBlock]) -> bool:
    """Tell whether a counter that has to be less than something falls, or one that has to be greater rises."""
    steps: dict[str, list[tuple[str, int]]] = {}
    for block in loop:
        for m in _ADDED.finditer(block.text):
            steps.setdefault(m[1], []).append((m[2], int(m[3] or 0)))
    return any(turn * way > 0 for counter, way in _tests(loop) for turn in _turns(counter, steps))


def _tests(loop: Iterable[_PtxBlock]) -> Iterator[tuple[str, int]]:
    """Yield counters and how they compare while a loop goes on: -1 for less, 1 for greater."""
    compares = {m[2]: m for block in loop for m in _COMPARE.finditer(block.text)}
    joined = {m[1]: (m[2], m[3]) for block in loop for m in _JOINED.finditer(block.text)}
    for block in loop:
        stays = [other in loop for other in block.following]
        if block.branch is None or len(stays) < 2 or all(stays):
            continue
        holds = stays[0] != bool(block.branch[1])
        waiting, met = [block.branch[2]], set[str]()
        while waiting:
            predicate = waiting.pop()
            if predicate not in met:
                met.add(predicate)
                waiting += joined.get(predicate, ())
                if compare := compares.get(predicate):
                    way = -1 if (compare[1][0] == "l") == holds else 1
                    yield compare[3], way
                    yield compare[4], -way


def _turns(counter: str, steps: dict[str, list[tuple[str, int]]]) -> Iterator[int]:
    """Yield by how much a turn changes a number: what the copies and sums add up to that it is made of and in."""
    offsets, walked = {counter: 0}, [(counter, iter(steps.get(counter, ())))]
    path = {counter}
    while walked:
        last, rest = walked[-1]
        if (step := next(rest, None)) is None:
            path.discard(walked.pop()[0])
            continue
        source, offset = step[0], offsets[last] + step[1]
        if source in path:
            yield offset - offsets[source]
        elif source not in offsets:
            offsets[source] = offset
            path.add(source)
            walked.append((source, iter(steps.get(source, ()))))
