"""Grids built call by call, by the older names: ``create_network``, ``NewNetwork``, ``SetLayer``, ``train_epoch``, ...

Layer: flow, over ``loom.Network``. Invariant: a grid is the first-generation document of its layers: what that means is
what the network computes (``relu`` is scaled by 1.1).

>>> from loom.flow.dnvm import Activation, configure_sequential_network, create_network, forward
>>> network = create_network(input_size=4, grid_rows=1, grid_cols=1, layers_per_cell=2)
>>> configure_sequential_network(network, layer_sizes=[4, 8, 2], activations=[Activation.RELU, Activation.SIGMOID])
>>> len(forward(network, [0.1, 0.2, 0.3, 0.4]))
2
"""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from math import prod
from typing import Any

from loom.core.errors import ArgumentError, SpecError, StateError
from loom.core.given import flag, is_list, is_mapping, is_tuple, items
from loom.flow.dnvm.current import forward_flat, set_current
from loom.flow.dnvm.reading import read_pairs
from loom.flow.dnvm.training import train_simple
from loom.nn.network import Network
from loom.nn.structure.grids import cell_of, empty_cells, grid_size

__all__ = [
    "Activation", "GridNetwork", "NewNetwork", "cleanup_gpu", "configure_sequential_network", "create_network",
    "forward", "free_network", "train_epoch",
]  # fmt: skip


class ActivationNumber(enum.IntEnum):
    """Numbers of the first generation's activations."""

    RELU = 0
    SCALED_RELU = 0
    SIGMOID = 1
    TANH = 2
    SOFTPLUS = 3
    LEAKY_RELU = 4
    LINEAR = 5


Activation = ActivationNumber


class GridNetwork:
    """A grid of rows, columns and layers of a cell, whose layers are set one by one; it is built when it is first used.

    ``BatchSize``: that of the document; ``input_size``: numbers of one sample, or of a whole batch, which the first
    layer must take.
    """

    def __init__(
        self, input_size: int, rows: int, cols: int, layers_per_cell: int, batch_size: int = 1, use_gpu: bool = False
    ) -> None:
        self.size = grid_size(rows, cols, layers_per_cell, "loom.flow.dnvm.NewNetwork")
        self.input_size, self._batch_size = input_size, batch_size
        self._on = "gpu" if flag(use_gpu, "loom.flow.dnvm.NewNetwork, use_gpu") else None
        self._layers: dict[tuple[int, int, int], dict[str, Any]] = {}
        self._network: Network | None = None

    @property
    def BatchSize(self) -> int:  # noqa: N802
        """Samples of a batch; it is set before the network is first used (StateError after)."""
        return self._batch_size

    @BatchSize.setter
    def BatchSize(self, value: int) -> None:  # noqa: N802
        if self._network is not None and value != self._batch_size:
            raise StateError("loom.flow.dnvm.NewNetwork, BatchSize", "the network is built", got=repr(value)[:60],
                             expected=f"the {self._batch_size} it was built with", remedy="Set it before the first use",
                             )  # fmt: skip
        self._batch_size = value

    def SetLayer(self, row: int | str, col: int = 0, layer: int = 0, config: Any = None) -> None:  # noqa: N802
        """Put a layer, of an ``Init...Layer`` or a document's object, into a cell; weights are drawn anew then.

        All four may come as one JSON list ``[row, col, layer, config]``.
        """
        where = "loom.flow.dnvm.SetLayer"
        cell: Any = (row, col, layer)
        if isinstance(row, str):
            told = _json(row, where)
            if not is_list(told) or len(told) != 4:
                raise ArgumentError(where, "not a cell and its layer", expected="[row, col, layer, config]",
                                    got=row[:100], remedy="Pass four values")  # fmt: skip
            cell, config = tuple(told[:3]), told[3]
        found = _json(config, where) if isinstance(config, str) else config
        if not is_mapping(found):
            raise ArgumentError(where, "not a layer", expected="what an Init...Layer returned",
                                got=type(config).__name__, remedy="Use InitDenseLayer(4, 8, 0)")  # fmt: skip
        self._layers[cell_of(self.size, cell, where)] = {str(k): v for k, v in found.items()}
        self._network = None

    def GetLayer(self, row: int, col: int, layer: int) -> dict[str, Any]:  # noqa: N802
        """Return the object of a cell's layer; ArgumentError if it is empty."""
        where = "loom.flow.dnvm.GetLayer"
        cell = cell_of(self.size, (row, col, layer), where)
        if cell not in self._layers:
            raise ArgumentError(where, f"the cell {cell} is empty", expected="a layer", got="none",
                                remedy="Use SetLayer first")  # fmt: skip
        return dict(self._layers[cell])

    set_layer, get_layer = SetLayer, GetLayer

    def document(self) -> dict[str, Any]:
        """Return the grid's first-generation document; ArgumentError names cells that are empty."""
        empty_cells(self.size, self._layers, "loom.flow.dnvm.NewNetwork")
        cells = [self.size.cell(i) for i in range(self.size.cells)]
        return {
            "batch_size": self.BatchSize, "grid_rows": self.size.rows, "grid_cols": self.size.cols,
            "layers_per_cell": self.size.layers, "layers": [self._layers[(c.row, c.col, c.layer)] for c in cells],
        }  # fmt: skip

    @property
    def network(self) -> Network:
        """The network of the grid as it is; SpecError lists what does not fit."""
        if self._network is None:
            made = Network.from_json(self.document(), on=self._on)
            each = prod(made.spec.inputs[0].shape)
            if self.input_size not in (each, each * self.BatchSize):
                raise SpecError("loom.flow.dnvm.NewNetwork", "the first layer takes another input",
                                expected=f"input_size {each}", got=self.input_size,
                                remedy="Correct one of them")  # fmt: skip
            self._network = made
        return self._network


def NewNetwork(  # noqa: N802
    input_size: int, rows: int, cols: int, layers_per_cell: int, use_gpu: bool = False
) -> GridNetwork:
    """Return an empty grid; ``create_network`` with the older order of arguments."""
    return GridNetwork(input_size, rows, cols, layers_per_cell, use_gpu=use_gpu)


def create_network(
    input_size: int, grid_rows: int = 1, grid_cols: int = 1, layers_per_cell: int = 1, use_gpu: bool = False,
    batch_size: int = 1,
) -> GridNetwork:  # fmt: skip
    """Return an empty grid; ``use_gpu``: on the best GPU (DeviceError, when it is built, if there is none)."""
    return GridNetwork(input_size, grid_rows, grid_cols, layers_per_cell, batch_size, use_gpu)


def configure_sequential_network(
    network: GridNetwork, layer_sizes: Sequence[int], activations: Sequence[Any] | None = None
) -> None:
    """Fill a grid with dense layers of the sizes ``[input, hidden..., output]``, one activation each (none: relu)."""
    where = "loom.flow.dnvm.configure_sequential_network"
    sizes = list(layer_sizes) if is_list(layer_sizes) or is_tuple(layer_sizes) else []
    functions: list[Any] = [ActivationNumber.RELU] * (len(sizes) - 1)
    if activations is not None:
        functions = items(activations, f"{where}, activations", "activations")
    cells = grid_of(network, where).size.cells
    if len(sizes) != cells + 1 or len(functions) != cells:
        raise ArgumentError(where, "not as many sizes as the grid has layers", got=f"{len(sizes)} and {len(functions)}",
                            expected=f"{cells + 1} sizes and {cells} activations",
                            remedy="Give the input's size too")  # fmt: skip
    for number, function in enumerate(functions):
        cell = network.size.cell(number)
        layer = {"type": "dense", "input_size": sizes[number], "output_size": sizes[number + 1],
                 "activation": int(function) if isinstance(function, int) else function}  # fmt: skip
        network.SetLayer(cell.row, cell.col, cell.layer, layer)


def forward(network: GridNetwork | Network, values: Sequence[float]) -> list[float]:
    """Return a network's outputs, flat, for one flat vector: one sample after the other."""
    return forward_flat(network_of(network, "loom.flow.dnvm.forward"), values, "forward")


def train_epoch(
    network: GridNetwork | Network, inputs: Sequence[Any], targets: Sequence[Any], learning_rate: float = 0.01
) -> float:
    """Make one update for each sample, in order, of half the squared error; return their mean squared error."""
    where = "loom.flow.dnvm.train_epoch"
    inputs, targets = read_pairs(inputs, targets, where)
    set_current(network_of(network, where))
    pairs = [{"Input": x, "Target": y} for x, y in zip(inputs, targets, strict=True)]
    return train_simple(pairs, {"Epochs": 1, "LearningRate": learning_rate})["FinalLoss"]


def cleanup_gpu(network: GridNetwork | Network) -> None:
    """Move a network to the CPU: nothing of it is left on a GPU."""
    network_of(network, "loom.flow.dnvm.cleanup_gpu").to("cpu")


def free_network(network: GridNetwork | Network) -> None:
    """Do nothing: memory is given back when nobody holds the network any more."""
    del network


def grid_of(given: Any, where: str) -> GridNetwork:
    """Return the grid that is given; ArgumentError for anything else."""
    if not isinstance(given, GridNetwork):
        raise ArgumentError(where, "not a grid", expected="what create_network returned", got=type(given).__name__,
                            remedy="Make one with create_network")  # fmt: skip
    return given


def network_of(given: Any, where: str) -> Network:
    """Return the network that is given, as a grid or as itself."""
    found = given.network if isinstance(given, GridNetwork) else given
    if not isinstance(found, Network):
        raise ArgumentError(where, "not a network", expected="what create_network returned", got=type(given).__name__,
                            remedy="Make one with create_network")  # fmt: skip
    return found


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ArgumentError(where, f"malformed JSON ({error})", expected="JSON", got=text[:100],
                            remedy="Pass the values themselves") from None  # fmt: skip
