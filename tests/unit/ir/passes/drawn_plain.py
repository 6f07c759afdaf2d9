"""Kernels drawn at random that load and store plainly, half of them so that lanes meet at an element.

Whether lanes meet is known by how a kernel is made. Memory is cut in regions of an element a lane; a region has one
way at a time in which lanes take its elements, each lane another: in buffers for the whole kernel, in shared memory
until the next barrier. Nothing is drawn but loads and stores of that way; then, for one half, a single access is put
in that takes an element of another lane's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

__all__ = ["FAULTS", "DrawnPlain", "draw_plain"]

_SHAPES = [((8,), (2, 1, 1)), ((32,), (3, 1, 1)), ((5,), (2, 2, 1)), ((4, 4), (1, 2, 1)), ((64,), (1, 1, 1))]
_REGIONS = 3
FAULTS = (
    "neighbour_read", "one_element", "halves", "no_barrier", "row_alone", "data", "far_read", "turned", "other_value"
)  # fmt: skip


@dataclass
class DrawnPlain:
    """A kernel's text over at (In, a permutation of all lanes), y (InOut) and n; groups, lanes, the fault or None."""

    text: str
    groups: tuple[int, int, int]
    lanes: int
    fault: str | None


@dataclass
class _Writer:
    """Locals: ``l`` the lane in its group of ``L``, ``i`` its number of all ``T``, ``w`` what data says, ``v``."""

    r: random.Random
    inner: int
    total: int
    lines: list[str] = field(default_factory=list[str])
    ways: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])

    def add(self, line: str, depth: int = 1) -> None:
        self.lines.append("    " * depth + line)

    def place(self, memory: str, region: int) -> str:
        """Return the element of a region that is the lane's own."""
        size, lane = (self.total, "i") if memory == "y" else (self.inner, "l")
        forms = [lane, f"{size - 1} - {lane}", f"({lane} + {self.r.randrange(size)}) % {size}",
                 f"({lane} + n) % {size}", f"({lane} * {size + 1}) % {size}"]  # fmt: skip
        forms += ["at[i]", f"{size - 1} - at[i]"] if memory == "y" else []
        way = self.ways.setdefault((memory, region), self.r.choice(forms))
        return f"{region * size} + {way}" if region else way

    def access(self, memory: str, region: int, depth: int) -> None:
        at = self.place(memory, region)
        self.add(self.r.choice([
            f"{memory}[{at}] = v", f"v = v + {memory}[{at}]", f"{memory}[{at}] = {memory}[{at}] * 3 + w",
        ]), depth)  # fmt: skip

    def some(self, count: int) -> None:
        for _ in range(count):
            way, memory, region = self.r.random(), self.r.choice("yys"), self.r.randrange(_REGIONS)
            if way < 0.2:
                self.add("loom.barrier()")
                self.ways = {key: way for key, way in self.ways.items() if key[0] == "y"}
            elif way < 0.3:  # equal values, which nobody reads
                self.add(f"y[{_REGIONS * self.total} + w % 4] = n")
            elif way < 0.6:
                self.add(self.r.choice(["if w % 3 == 1:", "if l > 2:", f"for t{len(self.lines)} in range(n % 3 + 1):",
                                        f"for t{len(self.lines)} in loom.static_range(2):"]))  # fmt: skip
                self.access(memory, region, 2)
            else:
                self.access(memory, region, 1)

    def fault(self, kind: str) -> None:
        """Take an element that another lane takes, one of the two storing what the other does not."""
        free = _REGIONS * self.total + 4  # a region of this alone, of as many elements
        total, inner, r = self.total, self.inner, self.r
        lines = {
            "neighbour_read": [f"y[{free} + i] = v", f"v = v + y[{free} + (i + {r.randrange(1, total)}) % {total}]"],
            "far_read": [f"y[{free} + i] = y[{free} + (i + {total // 2}) % {total}] + 1"],
            "one_element": [f"y[{free} + n] = i"],
            "halves": [f"y[{free} + i // 2] = i"],
            "row_alone": [f"y[{free} + i % {max(1, total // 2)}] = i + 1"],
            "data": [f"y[{free} + at[i] // 2] = i"],
            "no_barrier": [f"s[{_REGIONS * inner} + l] = v",
                           f"v = v + s[{_REGIONS * inner} + (l + n % 2 + 1) % {inner}]"],
            "turned": [f"s[{_REGIONS * inner} + (l + n) % {inner}] = v", "loom.barrier()",
                       f"v = v + s[{_REGIONS * inner} + l]", f"s[{_REGIONS * inner} + (l + 1) % {inner}] = v"],
            "other_value": ["if i > 0:", f"    y[{free}] = 1", "else:", f"    y[{free}] = 2"],
        }[kind]  # fmt: skip
        for line in lines:
            self.add(line)
        if kind == "turned":
            self.ways = {key: way for key, way in self.ways.items() if key[0] == "y"}


def draw_plain(seed: int) -> DrawnPlain:
    """Return the kernel of a seed: of an even one each lane has elements of its own, of an odd one two meet."""
    r = random.Random(seed)
    shape, groups = r.choice(_SHAPES)
    inner, across = 1, [extent * count for extent, count in zip((*shape, 1, 1), groups, strict=False)]
    for extent in shape:
        inner *= extent
    total = inner * groups[0] * groups[1]
    writer, kind = _Writer(r, inner, total), r.choice(FAULTS) if seed % 2 else None
    writer.some(r.randint(1, 4))
    if kind is not None:
        writer.fault(kind)
    writer.some(r.randint(1, 4))
    lane = "loom.local_id(0)" + f" + loom.local_id(1) * {shape[0]}" * (len(shape) > 1)
    body = "\n".join(writer.lines)
    text = (
        f"import loom\nfrom loom import In, InOut, u32\n\n\n@loom.kernel(workgroup={shape})\n"
        f"def drawn(at: In[u32], y: InOut[u32], n: u32):\n    l = {lane}\n"
        f"    i = loom.global_id(0) + loom.global_id(1) * {across[0]}\n"
        f"    s = loom.shared(u32, {(_REGIONS + 1) * inner})\n    w, v = at[i], u32(i) + 1\n{body}\n"
        f"    y[{(_REGIONS + 1) * total + 4} + i] = v\n"
    )
    return DrawnPlain(text, groups, total, kind)
