"""The kernels of loop nests that fold their last axis: rows are read once for all that is made of them and their folds.

Layer: kernels. 64 lanes take a row, a group as many rows as it is told. Each value is one of a row, or has one element
for each place of it; a lane makes those at the places that it adds up in ``kernels.fold.lanes``. Short rows are kept in
registers from one fold to the next, of longer ones elements are made again from what is read. Invariant: a fold has the
bits of ``kernels.fold.lanes``, every other value those of ``loops``.
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.dtype import DType
from loom.core.numerics import REDUCE_LANES
from loom.ir.builder import Builder
from loom.ir.frontend.translation import settle_types
from loom.ir.kernel import Instr, Memory, Variable
from loom.ir.verified import VerifiedKernel
from loom.kernels.fold.lanes import FOLDS
from loom.kernels.maps.loops import MAP, Made, NestWriter
from loom.kernels.maps.nest import (
    JOINS,
    Apply,
    Coordinate,
    Folded,
    Load,
    LoopNest,
    NestCut,
    RowCut,
    Store,
    constant_strides,
)

__all__ = ["write_rows"]

_TELLERS = 8
"""Lanes that join eight accumulators each; every lane joins what they leave."""


def write_rows(nest: LoopNest, cut: RowCut) -> VerifiedKernel:
    """Return the kernel of a nest whose last axis is a multiple of 64 long, and whose rows fill groups.

    What is stored of a row alone has stride 0 along the last axis.
    """
    return settle_types(MAP, lambda retyped: RowWriter(nest, cut, retyped).build())


class RowWriter(NestWriter):
    """Writes the kernel of a nest that folds its last axis."""

    def __init__(self, nest: LoopNest, cut: RowCut, retyped: dict[object, DType]) -> None:
        super().__init__(nest, NestCut(REDUCE_LANES), retyped, cut.rows)
        self.b.name = f"rows_{self.b.name.removeprefix('tensor_')}"
        self.row_cut = cut
        self.turns = nest.shape[-1] // REDUCE_LANES
        self.is_wide, self.depths = _kinds(nest)
        self.of_row: dict[int, Made] = {}
        """The values of the row that are made so far."""
        self.shared: dict[DType, tuple[Memory, Memory]] = {}
        """Where folds of a type are joined, one after the other."""

    def build(self) -> VerifiedKernel:
        """Return the kernel."""
        b = self.b
        self.declare()  # its length is not asked for, as groups are full
        self.lane, self.own = b.emit("local_id", attr=0), b.emit("local_id", attr=1)
        row = b.emit("add", b.emit("mul", b.emit("group_id", attr=0), self.word(self.row_cut.rows)), self.own)
        self.outer = self.coordinates(row, self.sizes[:-1])
        if self.row_cut.held:
            self.keep_all()
        else:
            for depth in range(max(self.depths) + 1):
                self.walk(depth)
        stores = [s for s in self.nest.stores if not _is_of_elements(s)]
        if stores:
            with b.into(b.if_(b.emit("eq", self.lane, self.word(0))).then):
                for store in stores:
                    self.put(store, self.of_row[store.value], [*self.outer, self.word(0)])
        return self.finish(own=2 * len(self.shared))

    # a row in registers

    def keep_all(self) -> None:
        """Read all there is to read, and make all values one after the other."""
        values = self.nest.values
        places = [self.place_of(self.word(turn)) for turn in range(self.turns)]
        elements: list[dict[int, Made]] = [{} for _ in places]
        reads = [n for n, v in enumerate(values) if isinstance(v, Load)]
        for n in (*reads, *(n for n, v in enumerate(values) if not isinstance(v, Load))):
            value = values[n]
            if isinstance(value, Folded):
                total = self.start(value)
                for element in elements:
                    total = self.join(value, total, self.of(value.operand, element).computed)
                self.of_row[n] = self.fold_lanes(value, total)
            elif self.is_wide[n]:
                for place, element in zip(places, elements, strict=True):
                    element[n] = self.element_of(n, place, element)
            else:
                self.of_row[n] = self.element_of(n, self.word(0), {})
        self.put_all([s for s in self.nest.stores if _is_of_elements(s)], places, elements)

    # a row read again for each depth of folds

    def walk(self, depth: int) -> None:
        """Make the values of the row at a depth; then, in a loop, elements, as far as they are folded or stored."""
        b, values, together = self.b, self.nest.values, self.row_cut.together
        for n in range(len(values)):
            if self.depths[n] == depth and not self.is_wide[n] and n not in self.of_row:
                self.of_row[n] = self.element_of(n, self.word(0), {})
        folds = [(n, v) for n, v in enumerate(values) if isinstance(v, Folded) and self.depths[n] == depth + 1]
        stores = [s for s in self.nest.stores if _is_of_elements(s) and self.depths[s.value] == depth]
        if not folds and not stores:
            return
        wanted = self.operands_of({f.operand for _, f in folds} | {s.value for s in stores})
        totals = [b.variable(f"total{n}", fold.dtype) for n, fold in folds]
        for (_, fold), total in zip(folds, totals, strict=True):
            b.emit("set", self.start(fold), attr=total)
        loop = b.for_(self.word(0), self.word(self.turns), self.word(together))
        with b.into(loop.body):
            turns = [b.emit("add", loop.index, self.word(turn)) for turn in range(together)]
            self.turn_of(turns, wanted, list(zip(folds, totals, strict=True)), stores)
        for (n, fold), total in zip(folds, totals, strict=True):
            self.of_row[n] = self.fold_lanes(fold, b.emit("get", attr=total))

    def turn_of(
        self, turns: Sequence[Instr], wanted: Sequence[int], folds: Sequence[tuple[tuple[int, Folded], Variable]],
        stores: Sequence[Store],
    ) -> None:  # fmt: skip
        """Make the elements of some turns, fold and store them."""
        b, places = self.b, [self.place_of(turn) for turn in turns]
        elements: list[dict[int, Made]] = [{} for _ in places]
        for n in wanted:
            for place, element in zip(places, elements, strict=True):
                element[n] = self.element_of(n, place, element)
        for (_, fold), total in folds:
            for element in elements:
                term = self.of(fold.operand, element).computed
                b.emit("set", self.join(fold, b.emit("get", attr=total), term), attr=total)
        self.put_all(stores, places, elements)

    def operands_of(self, ends: set[int]) -> list[int]:
        """Return the values, one for each place of a row, that some are made of, themselves included."""
        found: set[int] = set()
        waiting = [n for n in ends if self.is_wide[n]]
        while waiting:
            n = waiting.pop()
            found.add(n)
            value = self.nest.values[n]
            operands = value.operands if isinstance(value, Apply) else ()
            waiting += [o for o in operands if self.is_wide[o] and o not in found]
        return sorted(found, key=lambda n: (not isinstance(self.nest.values[n], Load), n))

    # values

    def place_of(self, turn: Instr) -> Instr:
        """Return the place in the row of the lane's element of a turn."""
        return self.b.emit("add", self.b.emit("mul", turn, self.word(REDUCE_LANES)), self.lane)

    def of(self, n: int, element: dict[int, Made]) -> Made:
        """Return a value that is made: the element's, or the row's."""
        return element[n] if self.is_wide[n] else self.of_row[n]

    def put_all(self, stores: Sequence[Store], places: Sequence[Instr], elements: Sequence[dict[int, Made]]) -> None:
        """Store elements."""
        for store in stores:
            for place, element in zip(places, elements, strict=True):
                self.put(store, self.of(store.value, element), [*self.outer, place])

    def element_of(self, n: int, place: Instr, element: dict[int, Made]) -> Made:
        """Return a value at a place, of those of the element and of the row."""
        value = self.nest.values[n]
        operands = value.operands if isinstance(value, Apply) else ()
        return self.value(value, [*self.outer, place], [self.of(o, element) for o in operands])

    # folds

    def start(self, fold: Folded) -> Instr:
        """Return what changes nothing."""
        return self.b.const(FOLDS[fold.name].start(fold.dtype), fold.dtype)

    def join(self, fold: Folded, total: Instr, element: Instr) -> Instr:
        """Return what two elements are folded to."""
        return self.b.emit(JOINS[fold.name], total, element)

    def fold_lanes(self, fold: Folded, total: Instr) -> Made:
        """Return the fold of the accumulators of all lanes of the row, to each of them.

        All folds of a type take the same memory: when a lane stores what it adds to the next one, all have passed the
        barrier after which only parts are read, and when it stores its part, the next barrier, before which they were.
        """
        b, dtype, rows = self.b, fold.dtype, self.row_cut.rows
        if dtype not in self.shared:
            lanes = b.shared(f"lanes_{dtype}", dtype, REDUCE_LANES * rows)
            self.shared[dtype] = lanes, b.shared(f"parts_{dtype}", dtype, _TELLERS * rows)
        lanes, parts = self.shared[dtype]
        first = b.emit("mul", self.own, self.word(REDUCE_LANES))
        b.emit("store", b.emit("add", first, self.lane), total, memory=lanes)
        b.emit("barrier")
        begin = b.emit("mul", self.own, self.word(_TELLERS))
        with b.into(b.if_(b.emit("lt", self.lane, self.word(_TELLERS))).then):
            start = b.emit("add", first, self.lane)
            part = self.tree(fold, lanes, start, _TELLERS, REDUCE_LANES // _TELLERS)
            b.emit("store", b.emit("add", begin, self.lane), part, memory=parts)
        b.emit("barrier")
        found = self.tree(fold, parts, begin, 1, _TELLERS)
        return Made(found, found, dtype)

    def tree(self, fold: Folded, memory: Memory, first: Instr, step: int, count: int) -> Instr:
        """Return what the halving tree makes of ``count`` elements of an array, ``step`` apart."""
        b: Builder = self.b
        held = [b.emit("load", b.emit("add", first, self.word(step * n)), memory=memory) for n in range(count)]
        while len(held) > 1:
            half = len(held) // 2
            held = [self.join(fold, held[n], held[n + half]) for n in range(half)]
        return held[0]


def _is_of_elements(store: Store) -> bool:
    return constant_strides(store)[-1] != 0


def _kinds(nest: LoopNest) -> tuple[list[bool], list[int]]:
    """Return of each value whether a row has one for each place, and on how many folds in turn it depends."""
    wide: list[bool] = []
    depths: list[int] = []
    for value in nest.values:
        if isinstance(value, Folded):
            wide.append(False)
            depths.append(depths[value.operand] + 1)
        elif isinstance(value, Apply):
            wide.append(any(wide[o] for o in value.operands))
            depths.append(max((depths[o] for o in value.operands), default=0))
        else:
            is_load = isinstance(value, Load) and constant_strides(value)[-1] != 0
            wide.append(is_load or (isinstance(value, Coordinate) and value.axis == len(nest.shape) - 1))
            depths.append(0)
    return wide, depths
