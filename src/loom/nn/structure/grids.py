"""``LayerGrid``: a network whose layers have places: rows, columns, and layers of a cell.

Layer: nn. Invariant: layers run row by row, in a row column by column, in a cell from the first; no cell is empty.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_int, is_tuple
from loom.formats.json_text import JsonObject
from loom.nn.network import Network
from loom.nn.spec.base.limits import MOST_LAYERS
from loom.nn.spec.layers.parallel import GridSize
from loom.nn.structure.build import document, require_keys
from loom.nn.structure.layers import LayerLike, layer_json
from loom.runtime.port.device import Device

__all__ = ["LayerGrid", "cell_of", "empty_cells", "grid_size"]

Cell = tuple[int, int, int]
"""Row, column and layer."""


class LayerGrid:
    """A grid of layers under construction.

    Args:
        rows: Rows of the grid.
        cols: Columns of the grid.
        layers: Layers in each cell.
        input: Shape of one sample, or ``{"shape": ..., "dtype": ...}``.
        **keys: Keys of the network's document.

    Raises:
        ArgumentError: A size below 1, or too large; a key that a grid has itself.

    >>> from loom.nn.structure import LayerGrid, dense
    >>> grid = LayerGrid(1, 2, input=4, seed=1)
    >>> grid[0, 0] = dense(8, activation="relu")
    >>> grid[0, 1] = dense(2)
    >>> grid.network().forward([[1.0, 2.0, 3.0, 4.0]]).shape
    (1, 2)
    """

    def __init__(self, rows: int, cols: int, layers: int = 1, *, input: Any, **keys: Any) -> None:  # noqa: A002
        self.size = grid_size(rows, cols, layers, "loom.nn.structure.LayerGrid")
        require_keys(keys, ("format", "grid", "inputs", "layers", "nodes"), "loom.nn.structure.LayerGrid")
        self._input, self._keys = input, keys
        self._layers: dict[Cell, JsonObject] = {}

    def __setitem__(self, cell: Any, layer: LayerLike) -> None:
        """Put a layer into a cell: (row, column) or (row, column, layer)."""
        where = "loom.nn.structure.LayerGrid"
        self._layers[cell_of(self.size, cell, where)] = layer_json(layer, where)

    def __getitem__(self, cell: Any) -> JsonObject:
        """Return the object of the layer in a cell; ArgumentError if there is none."""
        where = "loom.nn.structure.LayerGrid"
        found = cell_of(self.size, cell, where)
        if found not in self._layers:
            raise ArgumentError(where, f"the cell {found} is empty", expected="a layer", got="none",
                                remedy="Set it first")  # fmt: skip
        return self._layers[found]

    def document(self) -> dict[str, Any]:
        """Return the ``loom/1`` document.

        Raises:
            ArgumentError: Cells are empty.
        """
        empty_cells(self.size, self._layers, "loom.nn.structure.LayerGrid")
        listed: list[Any] = []
        for number in range(self.size.cells):
            row, col, layer = cell = _cell(self.size, number)
            listed.append({**self._layers[cell], "cell": {"row": row, "col": col, "layer": layer}})
        size = {"rows": self.size.rows, "cols": self.size.cols, "layers": self.size.layers}
        return document(listed, input=self._input, grid=size, **self._keys)

    def network(self, *, on: str | Device | None = None) -> Network:
        """Return the network of the grid.

        Args:
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: Cells are empty.
            SpecError: The document has problems, all of them listed.
        """
        return Network.from_json(self.document(), on=on)


def grid_size(rows: Any, cols: Any, layers: Any, where: str) -> GridSize:
    """Return the size of a grid; ArgumentError for numbers that no grid has."""
    for name, value in (("rows", rows), ("cols", cols), ("layers", layers)):
        if not is_int(value) or value < 1:
            raise ArgumentError(f"{where}, {name}", "not usable", expected="an integer from 1", got=repr(value)[:100],
                                remedy="Correct it")  # fmt: skip
    found = GridSize(rows=int(rows), cols=int(cols), layers=int(layers))
    if found.cells > MOST_LAYERS:
        raise ArgumentError(where, "the grid has too many layers", expected=f"at most {MOST_LAYERS}", got=found.cells,
                            remedy="Use a smaller one")  # fmt: skip
    return found


def cell_of(size: GridSize, given: Any, where: str) -> Cell:
    """Return a cell that is in the grid, of (row, column) or (row, column, layer)."""
    cell = (*given, 0) if is_tuple(given) and len(given) == 2 else given
    most = (size.rows, size.cols, size.layers)
    if (
        not is_tuple(cell)
        or len(cell) != 3
        or not all(is_int(n) and 0 <= n < m for n, m in zip(cell, most, strict=True))
    ):
        raise ArgumentError(where, "no such cell", expected=f"(row, col, layer) below {most}", got=repr(given)[:100],
                            remedy="Numbers count from 0")  # fmt: skip
    row, col, layer = cell
    return int(row), int(col), int(layer)


def empty_cells(size: GridSize, layers: Any, where: str) -> None:
    """See that every cell has a layer."""
    empty = [cell for n in range(size.cells) if (cell := _cell(size, n)) not in layers]
    if empty:
        named = ", ".join(map(str, empty[:8])) + (", ..." if len(empty) > 8 else "")
        raise ArgumentError(where, f"{len(empty)} cells of the grid are empty", expected=f"{size.cells} layers",
                            got=f"none at {named}", remedy="Give each cell a layer")  # fmt: skip


def _cell(size: GridSize, number: int) -> Cell:
    found = size.cell(number)
    return found.row, found.col, found.layer
