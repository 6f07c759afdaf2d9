"""``parallel``: branches of any kinds on one input, made one again.

Layer: nn. Invariant: every branch sees the layer's whole input; branches keep their order.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import Config, Record, choice, field_of, several, size
from loom.nn.spec.base.layer import Layer, LayerRule, Part, Shape, TableRows, register
from loom.nn.spec.base.meaning import Meaning, meaning_of_concat, meaning_of_mean, meaning_of_sum, probabilities
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Whole
from loom.nn.spec.base.shapes import count
from loom.nn.spec.layers.combine import Combine, concatenate, equal, meaning_of_combination
from loom.nn.spec.layers.softmax import Softmax

__all__ = ["GridCell", "GridSize", "Parallel", "ParallelMode"]


class ParallelMode(enum.Enum):
    """How the branches' outputs become one."""

    CONCAT = "concat"
    """one after another along ``axis``"""
    ADD = "add"
    """sum, in the order of the branches"""
    AVG = "avg"
    """that sum divided by their number"""
    MULTIPLY = "multiply"
    """product"""
    GRID_SCATTER = "grid_scatter"
    """flattened, in the order of their cells of a grid (rows, then columns, then layers)"""
    FILTER = "filter"
    """mixture of experts: sum of outputs, each times its gate's weight; shorter ones are padded with zeros"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSize(Config):
    """Numbers of rows, columns and layers of a grid."""

    rows: int = size("the number of rows")
    cols: int = size("the number of columns")
    layers: int = size("the number of layers of a cell", 1)

    @property
    def cells(self) -> int:
        """Number of layers that the grid has room for."""
        return self.rows * self.cols * self.layers

    def cell(self, number: int) -> GridCell:
        """Return the place of a layer by its number, which counts layers of a cell, then columns, then rows."""
        row, rest = divmod(number, self.cols * self.layers)
        col, layer = divmod(rest, self.layers)
        return GridCell(row=row, col=col, layer=layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell(Config):
    """A place in a grid; numbers start at 0."""

    row: int = size("the row, from 0", 0, low=0)
    col: int = size("the column, from 0", 0, low=0)
    layer: int = size("the layer of the cell, from 0", 0, low=0)

    def within(self, grid: GridSize, place: Place) -> bool:
        """Note each number that is outside the grid."""
        before = place.count
        for name, most in (("row", grid.rows), ("col", grid.cols), ("layer", grid.layers)):
            if getattr(self, name) >= most:
                place.at(name).fault("outside the grid", expected=f"from 0 to {most - 1}", got=getattr(self, name))
        return place.count == before


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(Layer):
    """Branches side by side on the same input.

    Shapes: ``concat`` needs branches equal but for the axis; ``add``, ``avg`` and ``multiply`` equal ones;
    ``grid_scatter`` gives (sum of all elements,); ``filter`` needs branches equal but for the last axis, and gives the
    longest. The gate maps the layer's input to one number per branch, (branches,), or one per branch and leading
    axis; ``gate_softmax`` makes weights of them; without a gate all weights are equal. Weights: the branches' under
    ``branches.N.``, the gate's under ``gate.``.
    """

    kind: ClassVar[str] = "parallel"

    branches: tuple[Layer, ...] = several(LayerRule(), "the layers side by side", least=1)
    combine_mode: ParallelMode = choice(
        ParallelMode, "how the branches' outputs become one", ParallelMode.CONCAT, {"average": "avg"}
    )
    axis: int = field_of(Whole(-8, 7), "concat: the axis; negative from the last", -1)
    grid: GridSize | None = field_of(Record(GridSize), "grid_scatter: the grid's size", None)
    grid_positions: tuple[GridCell, ...] = several(Record(GridCell), "grid_scatter: the cell of each branch", ())
    gate: Layer | None = field_of(LayerRule(), "filter: the layer that weighs the branches", None)
    gate_softmax: Softmax = field_of(
        LayerRule(("softmax",)), "filter: what makes weights of the gate's output", Softmax()
    )

    def inspect(self, place: Place) -> None:
        """Note fields that do not go together."""
        mode = self.combine_mode
        for name, wanted in (("grid", "grid_scatter"), ("grid_positions", "grid_scatter"), ("gate", "filter")):
            if getattr(self, name) not in (None, ()) and mode.value != wanted:
                place.at(name).fault(f"only the combine_mode '{wanted}' has this key", got=mode.value)
        if self.axis != -1 and mode is not ParallelMode.CONCAT:
            place.at("axis").fault("only the combine_mode 'concat' has this key", got=mode.value)
        if self.gate_softmax != Softmax() and mode is not ParallelMode.FILTER:
            place.at("gate_softmax").fault("only the combine_mode 'filter' has this key", got=mode.value)
        if mode is ParallelMode.GRID_SCATTER:
            self._inspect_grid(place)

    def _inspect_grid(self, place: Place) -> None:
        if self.grid is None:
            place.fault("key 'grid' is missing", expected="what the combine_mode 'grid_scatter' needs")
            return
        if len(self.grid_positions) != len(self.branches):
            place.at("grid_positions").fault(
                "not one cell per branch", expected=f"{len(self.branches)} cells", got=len(self.grid_positions)
            )
        taken: dict[GridCell, int] = {}
        for i, cell in enumerate(self.grid_positions):
            here = place.at("grid_positions", i)
            if cell.within(self.grid, here) and taken.setdefault(cell, i) != i:
                here.fault(f"the cell is that of branch {taken[cell]}", expected="a cell of its own")

    def table_rows(self) -> TableRows:
        found = TableRows()
        for layer in (*self.branches, *(() if self.gate is None else (self.gate,))):
            found = found.beside(layer.table_rows())
        return found

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        met = [b.infer(shape, place.at("branches", i)) for i, b in enumerate(self.branches)]
        if self.gate is not None:
            self._infer_gate(shape, place, next((s for s in met if s is not None), None))
        shapes = tuple(s for s in met if s is not None)
        if len(shapes) != len(met):
            return None
        if self.combine_mode is ParallelMode.CONCAT:
            return concatenate(shapes, self.axis, place, "branches")
        if self.combine_mode is ParallelMode.GRID_SCATTER:
            return (sum(count(s) for s in shapes),)
        if self.combine_mode is ParallelMode.FILTER:
            return self._longest(shapes, place)
        return shapes[0] if equal(shapes, place, "branches") else None

    def _infer_gate(self, shape: Shape, place: Place, branch: Shape | None) -> None:
        assert self.gate is not None
        logits = self.gate.infer(shape, place.at("gate"))
        weights = None if logits is None else self.gate_softmax.infer(logits, place.at("gate_softmax"))
        wanted: list[Shape] = [(len(self.branches),)]
        if branch is not None and len(branch) > 1:
            wanted.append((*branch[:-1], len(self.branches)))
        if weights is not None and weights not in wanted:
            place.at("gate").fault(
                "the gate does not give one weight per branch",
                expected=" or ".join(str(s) for s in wanted),
                got=weights,
            )

    def _longest(self, shapes: tuple[Shape, ...], place: Place) -> Shape | None:
        if any(not s for s in shapes) or len({s[:-1] for s in shapes}) != 1:
            place.fault(
                "the branches differ along other axes than the last", expected="equal sizes there",
                got=", ".join(str(s) for s in shapes[:8]),
            )  # fmt: skip
            return None
        return max(shapes)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        made = [b.output_shape(shape) for b in self.branches]
        found = [b.means(shape, given) for b in self.branches]
        mode = self.combine_mode
        if mode is ParallelMode.GRID_SCATTER:
            return meaning_of_concat(found, made, 0)
        if mode is ParallelMode.FILTER:
            return self._meaning_of_mixture(found, made)
        return meaning_of_combination(Combine(mode.value), self.axis, made, found)

    def _meaning_of_mixture(self, found: list[Meaning], made: list[Shape]) -> Meaning:
        """Return what the mean of the branches means: zeros that make one longer are chances as well."""
        longest = max(s[-1] for s in made)
        met = [probabilities(longest) if m.width == s[-1] else m for m, s in zip(found, made, strict=True)]
        is_mean = self.gate is None or self.gate_softmax.rows in (None, 1)
        return meaning_of_mean(met) if is_mean else meaning_of_sum(met)

    def parts(self, shape: Shape) -> tuple[Part, ...]:
        gate = () if self.gate is None else (Part("gate", self.gate, shape),)
        return (*(Part(f"branches.{i}", b, shape) for i, b in enumerate(self.branches)), *gate)
