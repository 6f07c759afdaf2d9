"""Products of tiles: which lanes may ask for them, and what they are in loads and dot products.

Layer: ir. ``tile_product`` is asked for by 32 lanes together, of a whole workgroup: lane l of 32 is given elements
(l // 4, 2 (l % 4)), the one right of it, and both of these 8 rows below, of the product of 16 rows of bytes by 8 rows
of bytes, four bytes in a word, added to what it brings. For each lane that is a loop of its own over words in shared
memory, so that where there is no unit for it (tensor cores, cooperative matrices) it is taken apart. Invariant: its
meaning is the plain triple loop over rows, columns and words; sums wrap, so that no order of them matters.
"""

from __future__ import annotations

from dataclasses import replace

from loom.core.dtype import i32, u32
from loom.core.errors import VerifyError
from loom.ir.constants import constant_value
from loom.ir.kernel import Instr, Kernel, Variable, operations, walk
from loom.ir.passes.rewrite import Rewriter
from loom.ir.passes.uniformity import Uniformity

__all__ = [
    "TILE_LANES", "TILE_MOST", "TILE_ROWS", "TILE_STEP", "expand_tiles", "has_tiles", "is_shared_by_lanes",
    "refuse_lonely_tiles",
]  # fmt: skip

TILE_LANES = 32
"""Lanes that ask together."""
TILE_STEP, TILE_MOST = 8, 64
"""Words of a row: a multiple of the first, at most the second."""
TILE_ROWS = 8
"""Rows between a lane's upper and lower elements."""


def has_tiles(kernel: Kernel) -> bool:
    """Tell whether a kernel multiplies tiles."""
    return any(s.op.name == "tile_product" for s in operations(kernel.body))


def refuse_lonely_tiles(kernel: Kernel, uniformity: Uniformity) -> None:
    """Raise VerifyError where the 32 lanes that ask for a product of tiles may not ask for the same one."""
    for s in walk(kernel.body):
        if not (isinstance(s, Instr) and s.op.name == "tile_product"):
            continue
        x, y, z = kernel.workgroup
        if x % TILE_LANES or y != 1 or z != 1:
            raise VerifyError(
                kernel.where(s.loc), "tile_product in a workgroup of other lanes",
                expected=f"a multiple of {TILE_LANES}", got=kernel.workgroup,
                remedy="Give the workgroup as many lanes along x alone",
            )  # fmt: skip
        for at in s.args[:2]:
            if not is_shared_by_lanes(at, uniformity, TILE_LANES):
                raise VerifyError(
                    kernel.where(s.loc), f"the {TILE_LANES} lanes of a tile_product may ask for other tiles",
                    expected=f"indexes made of what all lanes have, and of local_id() // {TILE_LANES}",
                    remedy="Compute them from that",
                )  # fmt: skip


def is_shared_by_lanes(value: Instr, uniformity: Uniformity, lanes: int) -> bool:
    """Tell whether so many neighbouring lanes have one value."""
    if not uniformity.is_varying(value):
        return True
    if value.op.name in ("idiv", "shr") and _is_lane(value.args[0]) and value.args[1].op.name == "const":
        by = int(constant_value(value.args[1].attr, value.args[1].type))
        return (by if value.op.name == "idiv" else 1 << (by & 31)) % lanes == 0
    return value.op.is_pure and bool(value.args) and all(is_shared_by_lanes(a, uniformity, lanes) for a in value.args)


def _is_lane(value: Instr) -> bool:
    return value.op.name == "local_id" and value.attr == 0


def expand_tiles(kernel: Kernel) -> Kernel:
    """Return ``kernel`` with products of tiles taken apart: a loop of loads and dot products for each lane."""
    return _TileProducts(kernel).run() if has_tiles(kernel) else kernel


class _TileProducts(Rewriter):
    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.sums = [Variable(f"tile.{n}", i32) for n in range(4)]

    def run(self) -> Kernel:
        body = self.block(self.kernel.body)
        return replace(self.kernel, body=body, variables=(*self.kernel.variables, *self.sums))

    def instr(self, s: Instr) -> Instr:
        if s.op.name != "tile_product":
            return self.copy(s)
        a_at, b_at, sums = (self.value(a) for a in s.args)
        words, pitch = s.attr
        lane = self.emit("and", self.emit("local_id", attr=0), self.const(TILE_LANES - 1, u32))
        row = self.emit("shr", lane, self.const(2, u32))
        column = self.emit("shl", self.emit("and", lane, self.const(3, u32)), self.const(1, u32))
        first = [self.place(a_at, row, pitch), self.place(b_at, column, pitch)]
        rows = [first[0], self.emit("add", first[0], self.const(TILE_ROWS * pitch, u32))]
        columns = [first[1], self.emit("add", first[1], self.const(pitch, u32))]
        for n, variable in enumerate(self.sums):
            self.emit("set", self.emit("extract", sums, attr=n, dtype=i32), attr=variable)
        self.loop(s, words, rows, columns)
        return self.emit("vector", *(self.emit("get", attr=v) for v in self.sums), dtype=i32.vector(4))

    def place(self, at: Instr, line: Instr, pitch: int) -> Instr:
        return self.emit("add", at, self.emit("mul", line, self.const(pitch, u32)))

    def loop(self, s: Instr, words: int, rows: list[Instr], columns: list[Instr]) -> None:
        """Add the products of all words."""
        with self.counting(self.const(0, u32), words, 1) as index:
            left, right = (
                [self.emit("load", self.emit("add", at, index), memory=s.memory) for at in places]
                for places in (rows, columns)
            )
            for n, variable in enumerate(self.sums):
                found = self.emit("dot4_i8", left[n // 2], right[n % 2], self.emit("get", attr=variable))
                self.emit("set", found, attr=variable)
