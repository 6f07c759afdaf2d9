"""What a lane knows in WGSL: the words of its dispatch, its place in its group and among all groups.

Layer: targets. Words lie in a uniform buffer, which is bound anew for every dispatch. Where a device treats the spare
lanes of a last, partial vector as if they ran, the workgroup is filled up with lanes that only look on: they see
themselves as lane 0, do all it does, and write nothing. Invariant: everything here is
computed at the entry point's start, known in every block.
"""

from __future__ import annotations

from loom.core.dtype import DType
from loom.ir.kernel import Instr, Kernel
from loom.targets.base.push_layout import PushLayout
from loom.targets.wgsl.text import Lines, word

__all__ = ["Identity"]


class Identity:
    """``based``: where buffers share bindings, the words say where each of them begins."""

    def __init__(self, text: Lines, kernel: Kernel, layout: PushLayout, *, based: bool, filled: int) -> None:
        self.t = text
        self.kernel = kernel
        self.layout = layout
        self.words = layout.words + (len(kernel.buffers) if based else 0)
        self._known: dict[object, str] = {}
        self.filled = filled
        self.real = text.first(f"lid.x < {word(kernel.lanes)}") if filled else None
        """Whether a lane is one of the kernel's own (None: all are)."""

    @property
    def local_size(self) -> tuple[int, int, int]:
        """The workgroup's extents as the device is told them."""
        return (self.filled, 1, 1) if self.filled else self.kernel.workgroup

    def declare(self) -> list[str]:
        """Return what the entry point needs of the dispatch."""
        rows = -(-self.words // 4)
        number = self.layout.number
        self.t.early.insert(0, f"  zero = words[{number // 4}].{'xyzw'[number % 4]} >> 31u;")
        return ["var<private> zero: u32;", f"@group(0) @binding(0) var<uniform> words: array<vec4<u32>, {rows}>;"]

    def _once(self, key: object, expression: str) -> str:
        if key not in self._known:
            self._known[key] = self.t.first(expression)
        return self._known[key]

    def word(self, number: int) -> str:
        """Return a word of the dispatch."""
        return self._once(number, f"words[{number // 4}].{'xyzw'[number % 4]}")

    def base(self, buffer: int) -> str:
        """Return the word at which a buffer begins in the memory it shares."""
        return self.word(self.layout.words + buffer)

    def param(self, s: Instr) -> str:
        """Return a parameter from its word or words."""
        dtype: DType = s.type
        first = self.layout.params[self.kernel.params.index(s.attr)]
        if dtype.is_bool:
            return self._once(("param", first), f"{self.word(first)} != 0u")
        if dtype.bits == 64:
            return self._once(("param", first), f"vec2<u32>({self.word(first)}, {self.word(first + 1)})")
        return self.word(first)

    def value(self, s: Instr) -> str:
        """Return what an operation tells a lane about itself."""
        name = s.op.name
        if name == "param":
            return self.param(s)
        if name == "num_groups":
            return self.word(self.layout.groups + s.attr)
        if name == "length":
            return self.word(self.layout.lengths + self.kernel.buffers.index(s.memory))  # type: ignore[arg-type]
        return {"local_id": self.local, "group_id": self.group, "global_id": self.everywhere}[name](s.attr)

    def local(self, dimension: int) -> str:
        """Return the lane's number in its group along a dimension."""
        if self.real is None:
            return f"lid.{'xyz'[dimension]}"
        width, height, _ = self.kernel.workgroup
        below = (1, width, width * height)[dimension]
        place = f"{self.flat()} / {word(below)}"
        if dimension < 2:
            place = f"({place}) % {word(self.kernel.workgroup[dimension])}"
        return self._once(("local", dimension), place)

    def group(self, dimension: int) -> str:
        """Return the group's number along a dimension."""
        found, start = f"wid.{'xyz'[dimension]}", self.layout.starts[dimension]
        return found if start < 0 else self._once(("group", dimension), f"{found} + {self.word(start)}")

    def everywhere(self, dimension: int) -> str:
        """Return the lane's number in the dispatch along a dimension."""
        before = f"{self.group(dimension)} * {word(self.kernel.workgroup[dimension])}"
        return self._once(("global", dimension), f"{before} + {self.local(dimension)}")

    def flat(self) -> str:
        """Return the lane's number in its workgroup."""
        if self.real is not None:
            return self._once("flat", f"select(0u, lid.x, {self.real})")
        width, height, _ = self.kernel.workgroup
        return self._once("flat", f"lid.x + lid.y * {word(width)} + lid.z * {word(width * height)}")

    def lane_number(self) -> str:
        """Return the lane's number in the dispatch, in two words: group * lanes + lane."""
        columns, rows = (self.word(self.layout.groups + d) for d in range(2))
        number = f"({self.group(2)} * {rows} + {self.group(1)}) * {columns} + {self.group(0)}"
        both = f"product({number}, {word(self.kernel.lanes)})"
        return self._once("lane", f"add_u64({both}, vec2<u32>({self.flat()}, 0u))")
