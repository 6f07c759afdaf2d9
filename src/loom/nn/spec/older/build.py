"""A whole older network: its layers as nodes, with the additions that the original does unsaid written out.

Layer: nn. Invariant: node ``layerN`` is layer N of the older document and holds its weights; nodes besides change
shapes (``layerN_view``) or add (``layerN_add``).
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from loom.core.dtype import f32, f64
from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.layer import Layer, Shape
from loom.nn.spec.base.limits import MOST_WIDTH
from loom.nn.spec.base.problems import Place, Problem, Reading
from loom.nn.spec.base.shapes import count
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.parallel import GridSize
from loom.nn.spec.network import Input, NetworkSpec, NodeSpec, fit
from loom.nn.spec.older.definition import Definition, Notes
from loom.nn.spec.older.nested import convert_layer, is_as_told, view
from loom.nn.spec.older.pieces import Conversion, Slot, join_key
from loom.nn.spec.older.start import start_of

__all__ = ["build_network"]


@dataclass(slots=True)
class _Building:
    """A network in the making: ``name`` and ``shape`` are of what the next layer reads."""

    shape: Shape
    grid: GridSize
    first: Shape = ()
    """The network's input."""
    name: str = "input"
    nodes: list[NodeSpec] = field(default_factory=list[NodeSpec])
    slots: list[Slot] = field(default_factory=list[Slot])
    paths: dict[str, str] = field(default_factory=dict[str, str])
    kept: tuple[str, Shape] | None = None
    """What the original adds unsaid at the next attention, swiglu or layer norm."""
    previous: tuple[str, Shape] | None = None
    """The input of the layer before."""

    def add(self, name: str, layer: Layer, shape: Shape, place: Place, number: int | None = None, *more: str) -> None:
        """Append a node that reads what is there now, and what ``more`` names."""
        cell = None if number is None else self.grid.cell(number)
        self.nodes.append(NodeSpec(name=name, layer=layer, inputs=(self.name, *more), cell=cell))
        self.paths[name] = place.path
        self.name, self.shape = name, shape

    def add_to(self, name: str, other: tuple[str, Shape], place: Place, number: int | None = None) -> None:
        """Append the sum of what is there now and ``other``, which has as many elements."""
        if other[1] != self.shape:
            here = self.name, self.shape
            self.name, self.shape = other
            for layer in view(other[1], here[1], place) or ():
                self.add(f"{name}_view", layer, here[1], place)
            other = self.name, self.shape
            self.name, self.shape = here
        self.add(name, Merge(combine_mode=Combine.ADD), self.shape, place, number, other[0])


def build_network(
    definitions: tuple[Definition, ...],
    grid: GridSize,
    settings: dict[str, Any],
    place: Place,
    notes: Notes,
    *,
    implicit: bool,
) -> Conversion | None:
    """Return the network of these layers; None where something is wrong, which is noted.

    ``implicit`` writes out the additions that the first generation does unsaid around attention, swiglu and norms.
    """
    building = _InputSearch(definitions, grid, place.reading, notes, implicit).run()
    if building is None:
        return None
    shape = building.first
    dtype = f64 if settings["dtype"] is f64 else f32
    network = NetworkSpec(
        **settings,
        grid=grid,
        inputs=(Input(shape=shape, dtype=dtype),),
        nodes=tuple(building.nodes),
        outputs=(building.name,),
    )
    fit(network, place.reading, building.paths)
    return Conversion(network=network, warnings=tuple(notes.texts), slots=tuple(building.slots))


@dataclass(slots=True)
class _InputSearch:
    """The search for a network's input where its first layer tells the size of a row alone.

    One row is tried first; where a layer then asks for a multiple of what it meets, that many times the rows are. What
    is told in the end are the problems of the attempt that came farthest.
    """

    definitions: tuple[Definition, ...]
    grid: GridSize
    reading: Reading
    notes: Notes
    implicit: bool

    def run(self) -> _Building | None:
        """Return the network in the making; None where something is wrong, which is noted."""
        start, told = start_of(self.definitions[0]), self.reading.told_input
        if told is not None and (start is None or start.is_guess):
            self.reading.uses_input = True
            return self._attempt(told)[0]
        if start is None:
            return self._untold()
        rows, met = 1, None
        farthest: tuple[int, list[Problem]] = (-1, [])
        clean = len(self.reading.problems), len(self.notes.texts)
        while True:
            building, done = self._attempt(start.shape(rows))
            if building is not None:
                is_free = start.is_guess and rows == 1 and self._fits(start.shape(2))
                return self._untold() if is_free else building
            more = self._ask(done, met) if start.is_open else 1
            problems = self.reading.take_back(clean[0])
            farthest = max(farthest, (done, problems), key=lambda each: each[0])
            if more == 1 or rows * more > MOST_WIDTH:
                break
            del self.notes.texts[clean[1] :]
            rows, met = rows * more, self.reading.misfit
        if start.is_guess:  # what else was found is of an input that nobody told
            return self._untold()
        for problem in farthest[1]:
            self.reading.note(problem)
        return None

    def _attempt(self, shape: Shape) -> tuple[_Building | None, int]:
        """Return the network on an input of ``shape``, None if it does not fit, and how many of its layers do."""
        building = _Building(shape, self.grid, shape)
        self.reading.misfit = None
        for number, definition in enumerate(self.definitions):
            if not _append(building, number, definition, self.notes, self.implicit):
                return None, number
        return building, len(self.definitions)

    def _fits(self, shape: Shape) -> bool:
        before, texts = len(self.reading.problems), len(self.notes.texts)
        found = self._attempt(shape)[0]
        self.reading.take_back(before)
        del self.notes.texts[texts:]
        return found is not None

    def _ask(self, number: int, before: tuple[Shape, Shape] | None) -> int:
        """Return how many times the elements that it met a layer wants; 1 if no number of rows gives them."""
        if self.reading.misfit in (None, before):
            return 1
        met, wanted = self.reading.misfit
        last = self.definitions[number - 1] if number else None
        if last is not None and last.kind == "swiglu" and wanted[-1:] == (last.first("output_size", "output_height"),):
            self.reading.take_back(len(self.reading.problems) - 1)
            self.definitions[number].place.fault(
                "the layer reads what a swiglu gives, which is as wide as what it reads",
                expected=f"input size {met[-1]}", got=wanted[-1],
                remedy="The output_size of swiglu is the size within; put a dense layer there if that is meant.",
            )  # fmt: skip
            return 1
        return 1 if count(wanted) % count(met) else count(wanted) // count(met)

    def _untold(self) -> None:
        """Note that nobody can tell the size of the input."""
        first = self.definitions[0]
        first.place.fault(
            "the size of the network's input cannot be told", expected="the first layer's input size",
            remedy=f"Give {_TELLS.get(first.kind, 'input_size')} in the first layer, or pass the shape of a sample: "
            "input=(12,), on the command line loom convert --input 12.",
        )  # fmt: skip


_TELLS = {
    "multi_head_attention": "d_model and seq_length",
    "conv2d": "input_channels, input_height and input_width",
    "conv1d": "input_channels and input_length",
}
"""Type -> the keys that tell its input, where that is not input_size."""


def _append(b: _Building, number: int, d: Definition, notes: Notes, implicit: bool) -> bool:
    """Append one layer; False if it is unusable."""
    name = f"layer{number}"
    before = b.name, b.shape
    if d.kind == "residual" and b.previous is not None:
        if not is_as_told(d, b.shape):
            return False
        if count(b.previous[1]) == count(b.shape):
            b.add_to(name, b.previous, d.place, number)
        else:
            notes.add(d.place, f"sizes {b.previous[1]} and {b.shape} do not match: the residual layer changes nothing")
        b.previous = before
        return True
    kept = b.kept if implicit and b.kept is not None and count(b.kept[1]) == count(b.shape) else None
    if d.kind == "layer_norm" and kept is not None:
        b.add_to(f"{name}_add", kept, d.place)
    if not _append_pieces(b, name, number, d, notes):
        return False
    if d.kind in ("multi_head_attention", "swiglu") and kept is not None:
        b.add_to(f"{name}_add", kept, d.place)
    if d.kind == "rms_norm":
        b.kept = before
    elif d.kind == "layer_norm" and b.kept is None:
        pass  # the original starts adding at the first rms norm, attention or swiglu
    elif d.kind in ("multi_head_attention", "swiglu", "layer_norm"):
        b.kept = b.name, b.shape
    b.previous = before
    return True


def _append_pieces(b: _Building, name: str, number: int, d: Definition, notes: Notes) -> bool:
    pieces = convert_layer(d, b.shape, (number,), notes)
    if pieces is None:
        return False
    for i, layer in enumerate(pieces.layers):
        shape = layer.infer(b.shape, d.place)
        if shape is None:
            return False
        own = name if i == pieces.main else f"{name}_view"
        b.add(own, layer, shape, d.place, number if i == pieces.main else None)
    for slot in pieces.slots:
        key = slot.key.partition(".")[2]
        b.slots.append(Slot(source=slot.source, key=join_key(name, key), kind=slot.kind))
    return True
