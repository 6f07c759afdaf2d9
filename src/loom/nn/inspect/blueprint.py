"""A network's blueprint: its layers, nested ones too, with shapes, weights, bytes and what they take to run.

Layer: nn. The keys are those of the older programs' telemetry and more; counts are those of the arrays there are.
Invariant: the parameters of all layers add up to those of the network.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, cast

from loom import tensor
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.nn.inspect.cost import Cost, cost_of
from loom.nn.layers import Context
from loom.nn.spec import Layer, NodeSpec, Part, Shape, Shared
from loom.nn.weights.model import Model
from loom.tensor import Tensor

__all__ = ["Blueprint", "LayerBlueprint", "blueprint_of"]

_NO_COST = Cost(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class LayerBlueprint:
    """One layer. Shapes are of one sample, counts and bytes include the layers within (``branches``).

    ``parameters``: trained numbers, 0 for a layer that shares those of another (``shared``); ``state``: saved numbers
    that are not trained; ``weight_nbytes`` of both; ``output_nbytes``, ``multiply_adds``, ``operations`` and
    ``dispatches`` are those of a forward pass of the blueprint's batch, of the layer alone: in a network some
    dispatches are fused with those of the layers beside it. ``grid``: row, column and layer of its cell, or None.
    """

    name: str
    type: str
    activation: str | None
    inputs: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    parameters: int
    state: int
    frozen: bool
    weight_nbytes: int
    output_nbytes: int
    multiply_adds: int
    operations: int
    dispatches: int
    combine_mode: str | None = None
    shared: str | None = None
    grid: tuple[int, int, int] | None = None
    branches: tuple[LayerBlueprint, ...] = ()

    def walk(self) -> Iterator[LayerBlueprint]:
        """Yield it and all within it, depth first."""
        yield self
        for branch in self.branches:
            yield from branch.walk()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it; a layer outside a grid has its number in the place of the cell's layer."""
        row, col, layer = self.grid or (0, 0, 0)
        return {
            "name": self.name, "grid_row": row, "grid_col": col, "cell_layer": layer, "type": self.type,
            "activation": self.activation or "linear", "parameters": self.parameters, "state": self.state,
            "frozen": self.frozen, "inputs": list(self.inputs), "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape), "weight_bytes": self.weight_nbytes,
            "output_bytes": self.output_nbytes, "multiply_adds": self.multiply_adds, "operations": self.operations,
            "dispatches": self.dispatches, "combine_mode": self.combine_mode or "", "shared": self.shared,
            "branches": [branch.to_dict() for branch in self.branches],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A network. ``multiply_adds``, ``operations`` and ``dispatches``: of one forward pass of ``batch_size`` samples as
    one program on ``device``, which takes ``program_nbytes`` besides the weights.

    ``print(blueprint)`` prints a table; ``to_dict`` gives the older programs' keys and more.
    """

    id: str
    dtype: str
    device: str
    batch_size: int
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    layers: tuple[LayerBlueprint, ...] = field(repr=False)
    total_parameters: int
    trainable_parameters: int
    weight_nbytes: int
    multiply_adds: int
    operations: int
    dispatches: int
    program_nbytes: int

    @property
    def total_layers(self) -> int:
        """Layers of the network, those within others not counted."""
        return len(self.layers)

    def walk(self) -> Iterator[LayerBlueprint]:
        """Yield all layers, nested ones too, depth first."""
        for layer in self.layers:
            yield from layer.walk()

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"models": [..]}`` as JSON takes it."""
        model = {
            "id": self.id, "total_layers": self.total_layers, "total_parameters": self.total_parameters,
            "trainable_parameters": self.trainable_parameters, "dtype": self.dtype, "device": self.device,
            "batch_size": self.batch_size, "inputs": {n: list(s) for n, s in self.inputs.items()},
            "outputs": {n: list(s) for n, s in self.outputs.items()}, "weight_bytes": self.weight_nbytes,
            "multiply_adds": self.multiply_adds, "operations": self.operations, "dispatches": self.dispatches,
            "program_bytes": self.program_nbytes, "layers": _with_numbers(self.layers),
        }  # fmt: skip
        return {"models": [model]}

    def to_json(self) -> str:
        """Return ``to_dict`` as a text."""
        return json.dumps(self.to_dict(), indent=2)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return the table's columns and rows, nested layers indented."""
        columns = ["layer", "type", "input", "output", "weights", "bytes", "multiply-adds", "dispatches"]
        return columns, [row for layer in self.layers for row in _rows(layer, 0)]

    def __str__(self) -> str:
        """Return the table, and below it the sums."""
        columns, rows = self.rows()
        widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in (columns, *rows)]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """Return the sums in one line."""
        return (
            f"{self.total_parameters:,} weights of {self.dtype} ({self.weight_nbytes:,} bytes), batch "
            f"{self.batch_size}: {self.multiply_adds:,} multiply-adds in {self.dispatches} dispatches"
        )


def blueprint_of(model: Model, batch_size: Any = 1) -> Blueprint:
    """Return the blueprint of a model; nothing runs.

    Args:
        model: Model: a network's ``model``.
        batch_size: Samples of the pass that is counted.

    Raises:
        ArgumentError: Not a whole number, at least 1.
        ShapeError: Too many elements.
    """
    batch = whole(batch_size, "loom.Network.blueprint, batch_size", least=1)
    spec = model.network
    given = {i.name: tensor.input(i.name, (batch, *i.shape), i.dtype) for i in spec.inputs}
    taps: dict[str, tuple[Any, Tensor]] = {}
    updates = model.state_updates
    outputs = model.apply_all(given, taps=taps)
    model.state_updates = updates  # those of training stay
    maker = _Maker(model, given, taps)
    cost = cost_of(list(outputs.values()), model.device)
    held = model.parameters | model.state
    shapes = spec.shapes()
    return Blueprint(
        id=spec.name or "network", dtype=spec.dtype.name, device=model.device.name, batch_size=batch,
        inputs={i.name: i.shape for i in spec.inputs}, outputs={name: shapes[name] for name in spec.outputs},
        layers=tuple(maker.node(node, shapes[node.inputs[0]]) for node in spec.nodes),
        total_parameters=sum(t.size for t in model.parameters.values()),
        trainable_parameters=sum(t.size for n, t in model.parameters.items() if n not in model.frozen),
        weight_nbytes=sum(t.nbytes for t in held.values()), multiply_adds=cost.multiply_adds,
        operations=cost.operations, dispatches=cost.dispatches, program_nbytes=cost.nbytes,
    )  # fmt: skip


class _Maker:
    """Makes the blueprints of layers, of what a record says that they take and give."""

    def __init__(self, model: Model, given: Mapping[str, Tensor], taps: Mapping[str, tuple[Any, Tensor]]) -> None:
        self.model, self.given, self.taps = model, given, taps

    def node(self, node: NodeSpec, shape: Shape) -> LayerBlueprint:
        cell = node.cell
        grid = None if cell is None else (cell.row, cell.col, cell.layer)
        return self.layer(Part(node.name, node.layer, shape), node.inputs, grid)

    def layer(self, part: Part, inputs: tuple[str, ...] = (), grid: Any = None) -> LayerBlueprint:
        layer, shape = part.layer, part.shape
        tap = self.taps.get(part.name)
        made = None if tap is None else tap[1]
        cost = _NO_COST if tap is None else self._cost(part, tap[0])
        numbers = sum(math.prod(s) for s in layer.parameters(shape).values())
        state = sum(math.prod(s) for s in layer.state(shape).values())
        config = layer.layer if isinstance(layer, Shared) else layer
        within = () if isinstance(layer, Shared) else layer.parts(shape)
        return LayerBlueprint(
            name=part.name, type=config.kind, activation=_text(config, "activation", "function"), inputs=inputs,
            input_shape=shape, output_shape=() if made is None else tuple(made.shape[1:]), parameters=numbers,
            state=state, frozen=layer.frozen, weight_nbytes=(numbers + state) * self.model.network.dtype.nbytes,
            output_nbytes=0 if made is None else made.nbytes, multiply_adds=cost.multiply_adds,
            operations=cost.operations, dispatches=cost.dispatches, combine_mode=_text(config, "combine_mode"),
            shared=layer.target if isinstance(layer, Shared) else None, grid=grid,
            branches=tuple(
                self.layer(Part(f"{part.name}.{p.name}", p.layer, p.shape), (part.name,)) for p in within
            ),
        )  # fmt: skip

    def _cost(self, part: Part, taken: Any) -> Cost:
        """Return what the layer takes alone: recorded once more, on inputs of their own."""
        several = cast("list[Tensor]", taken if isinstance(taken, list) else [taken])
        fed = [tensor.input(f"x{n}", x.shape, x.dtype) for n, x in enumerate(several)]
        model = self.model
        record = model.begin_pass(self.given, training=False, step=None)
        made = Context(part.name, record).run(part.layer, fed if isinstance(taken, list) else fed[0])
        return cost_of([made], model.device)


def _text(config: Layer, *names: str) -> str | None:
    """Return the first of some fields that the layer has, by its name in documents."""
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, enum.Enum):
            return str(value.value)
    return None


def _with_numbers(layers: tuple[LayerBlueprint, ...]) -> list[dict[str, Any]]:
    """Return layers for JSON; those without a cell are in one, one after the other."""
    found = [layer.to_dict() for layer in layers]
    for number, (layer, told) in enumerate(zip(layers, found, strict=True)):
        if layer.grid is None:
            told["cell_layer"] = number
    return found


def _rows(layer: LayerBlueprint, depth: int) -> list[list[str]]:
    name = layer.name if not depth else "  " * depth + layer.name.removeprefix(f"{layer.inputs[0]}.")
    kind = layer.type if layer.shared is None else f"{layer.type} of {layer.shared}"
    row = [name, kind, _sizes(layer.input_shape), _sizes(layer.output_shape), f"{layer.parameters:,}",
           f"{layer.weight_nbytes:,}", f"{layer.multiply_adds:,}", str(layer.dispatches)]  # fmt: skip
    return [row, *(r for branch in layer.branches for r in _rows(branch, depth + 1))]


def _sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "1"
