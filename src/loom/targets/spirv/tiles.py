"""Products of tiles by cooperative matrices.

Layer: targets. A device keeps to itself which lane holds what of such a matrix, so sums of a tile go through shared
memory, in which each subgroup has room for one tile. Subgroups of fewer than 32 lanes each compute the whole tile.
Invariant: products are exact, and their sums are added to those that lanes bring by the lanes, which wrap.

Source: SPV_KHR_cooperative_matrix, revision 2.
"""

from __future__ import annotations

from collections.abc import Callable

from loom.core.dtype import i32, u32
from loom.ir.kernel import Instr, Kernel
from loom.ir.passes.tiles import TILE_LANES, TILE_ROWS
from loom.targets.spirv.features import Matrices
from loom.targets.spirv.identity import Identity
from loom.targets.spirv.instructions import Arithmetic
from loom.targets.spirv.module import Module

__all__ = ["CooperativeTiles"]

_EXTENSION, _CAPABILITY = "SPV_KHR_cooperative_matrix", "CooperativeMatrixKHR"
_SUBGROUP_SCOPE = 3
_A, _B, _SUMS = 0, 1, 2
"""What a matrix is for."""
_BY_ROWS, _BY_COLUMNS = 0, 1
_ALL_SIGNED = 0xF
_SHARED = 0x100
_ROWS, _COLUMNS, _WORD = 2 * TILE_ROWS, TILE_ROWS, 4


class CooperativeTiles:
    """``pointer`` tells the address of a word of a shared array."""

    def __init__(
        self, module: Module, arithmetic: Arithmetic, identity: Identity, kernel: Kernel, shape: Matrices
    ) -> None:
        self.m, self.a, self.identity, self.shape = module, arithmetic, identity, shape
        module.capability(_CAPABILITY)
        module.capability("Int8")
        module.extension(_EXTENSION)
        module.use_vulkan_memory_model()
        rooms = -(-kernel.lanes // shape.subgroup)
        words = module.declare("TypeArray", arithmetic.type_of(i32), module.word(rooms * _ROWS * _COLUMNS))
        self.room = module.variable("Workgroup", words)

    def product(self, s: Instr, pointer: Callable[[int], int], a_at: int, b_at: int, sums: int) -> int:
        """Write a product; return the vector of a lane's four sums."""
        m, a, shape, (words, pitch) = self.m, self.a, self.shape, s.attr
        lane = self.identity.flat()
        tile = self.index("UDiv", lane, shape.subgroup)
        first = self.index("IMul", tile, _ROWS * _COLUMNS)
        m.barrier(_SUBGROUP_SCOPE, _SHARED)  # for lanes that still read what was there before
        for row in range(0, _ROWS, shape.rows):
            for column in range(0, _COLUMNS, shape.columns):
                found = m.null(self.matrix(_SUMS))
                for k in range(0, words, shape.depth // _WORD):
                    left = self.load(_A, pointer, a_at, row * pitch + k, pitch)
                    right = self.load(_B, pointer, b_at, column * pitch + k, pitch)
                    found = m.value("CooperativeMatrixMulAddKHR", self.matrix(_SUMS), left, right, found, _ALL_SIGNED)
                place = self.place(self.index("IAdd", first, row * _COLUMNS + column))
                m.emit("CooperativeMatrixStoreKHR", place, found, m.word(_BY_ROWS), m.word(_COLUMNS), *m.shared_access)
        m.barrier(_SUBGROUP_SCOPE, _SHARED)
        own = a.op("IAdd", u32, first, self.index("IMul", self.index("BitwiseAnd", lane, TILE_LANES - 1), 2))
        kept: list[int] = []
        for n, beside in enumerate((0, 1, TILE_ROWS * _COLUMNS, TILE_ROWS * _COLUMNS + 1)):
            held = m.value("Load", a.type_of(i32), self.place(self.index("IAdd", own, beside)), *m.shared_access)
            brought = m.value("CompositeExtract", a.type_of(i32), sums, n)
            kept.append(a.op("IAdd", i32, held, brought))
        return m.value("CompositeConstruct", a.type_of(s.type), *kept)

    def index(self, name: str, x: int, by: int) -> int:
        """Return an index made of another and a constant."""
        return self.a.op(name, u32, x, self.m.word(by))

    def matrix(self, what: int) -> int:
        """Return the type of a matrix."""
        shape, m = self.shape, self.m
        rows, columns = {
            _A: (shape.rows, shape.depth),
            _B: (shape.depth, shape.columns),
            _SUMS: (shape.rows, shape.columns),
        }[what]
        held = self.a.type_of(i32) if what == _SUMS else m.declare("TypeInt", 8, 0)
        words = [m.word(n) for n in (_SUBGROUP_SCOPE, rows, columns, what)]
        return m.declare("TypeCooperativeMatrixKHR", held, *words)

    def load(self, what: int, pointer: Callable[[int], int], at: int, beyond: int, pitch: int) -> int:
        """Load a matrix; rows of memory are rows of the left one, and columns of the right one."""
        order = self.m.word(_BY_COLUMNS if what == _B else _BY_ROWS)
        place = pointer(self.index("IAdd", at, beyond))
        return self.m.value(
            "CooperativeMatrixLoadKHR", self.matrix(what), place, order, self.m.word(pitch), *self.m.shared_access
        )

    def place(self, index: int) -> int:
        """Return the address of a word of the room for sums."""
        kind = self.m.pointer("Workgroup", self.a.type_of(i32))
        return self.m.value("AccessChain", kind, self.room, index)
