"""Grids: cells in their order, and those that are empty or are none."""

from __future__ import annotations

from typing import Any

import pytest

from loom.core.errors import ArgumentError
from loom.nn.spec import parse
from loom.nn.structure import LayerGrid, dense


def test_a_grid_is_its_document() -> None:
    grid = LayerGrid(2, 1, 2, input=3, seed=4)
    for number, cell in enumerate([(1, 0, 1), (0, 0, 0), (0, 0, 1), (1, 0, 0)]):
        grid[cell] = dense(number + 2)
    layers = [
        {"type": "dense", "output_size": n, "cell": {"row": r, "layer": k}}
        for n, r, k in ((3, 0, 0), (4, 0, 1), (5, 1, 0), (2, 1, 1))
    ]
    written = {"format": "loom/1", "seed": 4, "grid": {"rows": 2, "cols": 1, "layers": 2}, "input": {"shape": [3]},
               "layers": layers}  # fmt: skip
    assert grid.network(on="cpu").spec == parse(written)
    assert grid[0, 0] == {"type": "dense", "output_size": 3}


def _set(cell: Any) -> Any:
    grid = LayerGrid(1, 2, input=3)
    grid[cell] = dense(2)
    return grid.network()


@pytest.mark.parametrize(("make", "text"), [
    (lambda: _set((0, 0)), r"1 cells of the grid are empty.*\(0, 1, 0\)"),
    (lambda: _set((0, 2)), "no such cell"),
    (lambda: _set(0), "no such cell"),
    (lambda: _set((0, -1)), "no such cell"),
    (lambda: LayerGrid(0, 2, input=3), "an integer from 1"),
    (lambda: LayerGrid(1 << 20, 1 << 20, input=3), "too many layers"),
    (lambda: LayerGrid(1, 1, input=3)[0, 0], "is empty"),
])  # fmt: skip
def test_what_is_wrong_is_told(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        make()
