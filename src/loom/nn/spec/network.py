"""A network: inputs, nodes in the order they run, outputs; and the shapes that follow from them.

Layer: nn. Invariant: a ``NetworkSpec`` that ``parse`` returns is sound: every node's inputs come before it, every shape
fits, every name is met once.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import field, replace

from loom.core.dtype import DType, f32
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonObject, brief
from loom.nn.spec.base.fields import Config, Record, choice, field_of, flag, free, several, size
from loom.nn.spec.base.layer import Layer, Part, Shape, Shared
from loom.nn.spec.base.limits import MOST_ELEMENTS
from loom.nn.spec.base.meaning import NUMBERS, Meaning
from loom.nn.spec.base.problems import Place, Reading, path_below
from loom.nn.spec.base.rules import Element, Text, Whole
from loom.nn.spec.base.shapes import count
from loom.nn.spec.layers.norm import BatchNorm
from loom.nn.spec.layers.parallel import GridCell, GridSize

__all__ = ["Input", "NetworkSpec", "NodeSpec", "ProductPrecision", "fit", "key_path"]


class ProductPrecision(enum.Enum):
    """In which precision products of matrices are taken (docs/numerics.md, section 2)."""

    FULL = "full"
    X12 = "x12"
    Q8 = "q8"
    Q12 = "q12"
    Q24 = "q24"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(Config):
    """What a network is given: arrays of (batch, *shape).

    With ``variable_length`` the first size of ``shape`` is the most that a sample may have; in one call all samples,
    and all inputs that vary, have as many.
    """

    name: str = "input"
    shape: Shape = several(Whole(), "the sizes of one sample's axes, outermost first")
    dtype: DType = field_of(Element(), "the type of an element; not told: f64 in a network of f64", f32)
    variable_length: bool = flag("true if the first size is a most, and samples may be shorter", False)

    def takes(self, shape: Shape) -> bool:
        """Tell whether a sample may have a shape."""
        if not self.variable_length or len(shape) != len(self.shape):
            return shape == self.shape
        return shape[1:] == self.shape[1:] and 1 <= shape[0] <= self.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A layer in its place.

    ``name`` prefixes the layer's weights; ``inputs`` are names of nodes or network inputs; ``cell`` is the place
    in the network's grid, None if it has none.
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    cell: GridCell | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec(Config):
    """A whole network as its document says it; no weights.

    ``nodes`` are in the order they run. ``dtype`` is that of weights and arithmetic, ``precision`` that of all products
    of its layers, ``seed`` starts every random number, ``batch_size`` is a default. ``classes`` names what each element
    of the output's last axis stands for (or, of an output of one element, what 0 and 1 do). ``metadata`` is kept and
    not read.
    """

    name: str | None = field_of(Text(200), "the network's name", None)
    dtype: DType = field_of(Element(("f32", "f64", "f16", "bf16")), "the type of weights and arithmetic", f32)
    precision: ProductPrecision = choice(
        ProductPrecision, "how operands of products of matrices are rounded, of networks but f64", ProductPrecision.FULL
    )
    seed: int = field_of(Whole(0, (1 << 64) - 1), "the start of every random number", 0)
    batch_size: int = size("samples of a batch, where none is told", 1)
    grid: GridSize | None = field_of(Record(GridSize), "the grid in which nodes have cells", None)
    classes: tuple[str, ...] = several(Text(200), "the classes' names, in the order of the output's last axis", ())
    metadata: JsonObject = free("what the author wants kept; not read")
    inputs: tuple[Input, ...] = ()
    nodes: tuple[NodeSpec, ...] = ()
    outputs: tuple[str, ...] = ()
    _shapes: dict[str, Shape] | None = field(default=None, init=False, repr=False, compare=False)
    """What ``shapes`` found: the spec is frozen, and they are asked for at every turn."""
    _vocabularies: dict[str, int] | None = field(default=None, init=False, repr=False, compare=False)
    """What ``vocabularies`` found."""

    def shapes(self) -> dict[str, Shape]:
        """Return name -> shape of one sample, of every network input and every node's output.

        SpecError lists what does not fit (never of a network that ``parse`` returned).
        """
        if self._shapes is None:
            reading = Reading()
            shapes = fit(self, reading, {n.name: f"$.nodes.{n.name}" for n in self.nodes})
            reading.check("loom.nn.Network", "network")
            object.__setattr__(self, "_shapes", shapes)
            return dict(shapes)
        return dict(self._shapes)

    def meanings(self) -> dict[str, Meaning]:
        """Return what the numbers of every input and every node mean, by its name; inputs are numbers."""
        shapes, found = self.shapes(), {i.name: NUMBERS for i in self.inputs}
        for node in self.nodes:
            sources = tuple(shapes[n] for n in node.inputs)
            found[node.name] = node.layer.means_all(sources, tuple(found[n] for n in node.inputs))
        return found

    def vocabularies(self) -> dict[str, int]:
        """Return input -> rows of the table that it is looked up in, of inputs that are ids; of several the fewest."""
        if self._vocabularies is not None:
            return self._vocabularies
        origin, found = {i.name: i.name for i in self.inputs}, dict[str, int]()
        for node in self.nodes:
            own = node.layer.table_rows()
            for name in (origin[source] for source in node.inputs if source in origin):
                if own.rows is not None:
                    found[name] = min(own.rows, found.get(name, own.rows))
                if own.passes:
                    origin[node.name] = name
        object.__setattr__(self, "_vocabularies", found)
        return found

    def lone_statistics(self) -> str | None:
        """Return the first layer that takes statistics of a batch and has one value of a channel in each sample."""
        found = (
            p.name
            for p in self.walk()
            if isinstance(p.layer, BatchNorm) and not p.layer.frozen and count(p.shape[1:]) == 1
        )
        return next(found, None)

    def require_several(self, samples: Collection[int], where: str, remedy: str) -> None:
        """Refuse a batch of one sample before statistics of batches: of one value the mean is it, the variance 0."""
        name = self.lone_statistics() if 1 in samples else None
        if name is not None:
            raise ArgumentError(
                where,
                f"a batch of one sample, of which batch_norm {name!r} has no statistics",
                expected="2 samples or more in every batch, in the last one too",
                got="1",
                remedy=f"{remedy}, or freeze the layer",
            )

    def parameters(self) -> dict[str, Shape]:
        """Return name -> shape of every trained array of the network, in the order of the nodes.

        >>> from loom.nn.spec import parse
        >>> layers = [{"type": "dense", "output_size": 2}]
        >>> parse({"format": "loom/1", "input": {"shape": [4]}, "layers": layers}).parameters()
        {'layers.0.weight': (4, 2), 'layers.0.bias': (2,)}
        """
        return {f"{name}.{k}": v for name, layer, shape in self._layers() for k, v in layer.parameters(shape).items()}

    def state(self) -> dict[str, Shape]:
        """Return name -> shape of every array that is saved and not trained."""
        return {f"{name}.{k}": v for name, layer, shape in self._layers() for k, v in layer.state(shape).items()}

    def walk(self) -> Iterator[Part]:
        """Yield every layer of the network, nested ones included, with its key and its input's shape."""
        for name, layer, shape in self._layers():
            yield from layer.walk(shape, name)

    def node(self, name: str) -> NodeSpec:
        """Return the node called ``name``; KeyError if there is none."""
        return {n.name: n for n in self.nodes}[name]

    def _layers(self) -> Iterator[tuple[str, Layer, Shape]]:
        shapes = self.shapes()
        for node in self.nodes:
            yield node.name, node.layer, shapes[node.inputs[0]]


def key_path(path: str, key: str) -> str:
    """Return the path of the layer ``key`` (``branches.0.gate``, "" for itself) within the one at ``path``."""
    steps = [int(s) if s.isdigit() else s for s in key.split(".")] if key else []
    return path_below(path, *steps)


def fit(network: NetworkSpec, reading: Reading, paths: dict[str, str]) -> dict[str, Shape]:
    """Return the shape of every input and node, noting in ``reading`` what does not fit; ``paths`` are the nodes'."""
    reading.inputs = {i.name: i.shape for i in network.inputs}
    shapes: dict[str, Shape] = dict(reading.inputs)
    parts: dict[str, tuple[Part, str]] = {}
    for i in network.inputs:
        _limit(i.shape, Place(reading), f"input '{i.name}'")
    for node in network.nodes:
        if any(name not in shapes for name in node.inputs):
            continue  # what is wrong before it has been noted
        place = Place(reading, paths[node.name])
        before = place.count
        met = node.layer.infer_all(tuple(shapes[n] for n in node.inputs), place)
        if met is not None:
            shapes[node.name] = met
        if place.count == before:
            parts |= _parts(node, shapes, place)
    _compare_shared(parts, reading)
    _compare_tables(parts, reading)
    _check_classes(network, shapes, Place(reading).at("classes"))
    _check_at_inputs(network, {path: part.layer for part, path in parts.values()}, paths, reading)
    if not reading.problems and any(i.variable_length for i in network.inputs):
        _check_lengths(network, shapes, Place(reading))
    return shapes


def _check_lengths(network: NetworkSpec, shapes: dict[str, Shape], place: Place) -> None:
    """Note what depends on how many elements samples have along an axis that varies."""
    varying = [i for i in network.inputs if i.variable_length]
    lengths = {i.shape[:1] for i in varying}
    if lengths == {()} or len(lengths) > 1:
        place.fault("inputs of variable length are told different lengths, or none", expected="one first size of all",
                    got=", ".join(f"{i.name} {i.shape}" for i in varying))  # fmt: skip
        return
    short = tuple(
        replace(i, shape=(1, *i.shape[1:]), variable_length=False) if i.variable_length else i for i in network.inputs
    )  # fmt: skip
    shorter, aside = replace(network, inputs=short), Reading()
    short_shapes = fit(shorter, aside, {n.name: f"$.nodes.{n.name}" for n in network.nodes})
    remedy = "Leave out 'variable_length', or the layer that needs one length."
    if aside.problems:
        place.fault("the network does not fit samples of another length", got=f"of length 1: {aside.problems[0]}",
                    remedy=remedy)  # fmt: skip
    elif any(
        n.layer.parameters(shapes[n.inputs[0]]) != n.layer.parameters(short_shapes[n.inputs[0]])
        or n.layer.state(shapes[n.inputs[0]]) != n.layer.state(short_shapes[n.inputs[0]])
        for n in network.nodes
    ):
        place.fault("weights have sizes that depend on the length of samples", expected="the same of any length",
                    remedy=remedy)  # fmt: skip


def _check_classes(network: NetworkSpec, shapes: dict[str, Shape], place: Place) -> None:
    """Note names that are there twice, or not as many as the output tells apart."""
    names = network.classes
    if not names:
        return
    if len(set(names)) != len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        place.fault("two classes have the same name", expected="a name of its own for each", got=brief(twice))
    if len(network.outputs) != 1:
        place.fault("names of classes are those of one output", expected="1 output", got=len(network.outputs))
    elif network.outputs[0] in shapes:
        count_ = (shapes[network.outputs[0]] or (1,))[-1]
        wanted = 2 if count_ == 1 else count_
        if len(names) != wanted:
            place.fault("not one name for each class of the output", expected=f"{wanted} names", got=len(names))


def _check_at_inputs(network: NetworkSpec, layers: dict[str, Layer], paths: dict[str, str], reading: Reading) -> None:
    """Note layers at an input that do not read one of the network: nobody could tell them the samples."""
    given = {i.name for i in network.inputs}
    right = {paths[n.name] for n in network.nodes if n.layer.is_at_input and n.inputs[0] in given}
    for path, layer in layers.items():
        inner = layer.layer if isinstance(layer, Shared) else layer
        if inner.is_at_input and (path not in right or layer is not inner):
            Place(reading, path).fault(
                f"a {inner.kind} layer reads something else than an input of the network",
                remedy="Put it first, or use layer_norm.",
            )


def _parts(node: NodeSpec, shapes: dict[str, Shape], place: Place) -> dict[str, tuple[Part, str]]:
    """Return key -> layer and path of a sound node and all within it, after a look at the sizes."""
    first = shapes[node.inputs[0]]
    _limit(shapes[node.name], place, "output")
    for name, shape in (node.layer.parameters(first) | node.layer.state(first)).items():
        _limit(shape, place, f"weight '{name}'")
    start = len(node.name) + 1
    return {p.name: (p, key_path(place.path, p.name[start:])) for p in node.layer.walk(first, node.name)}


def _compare_tables(parts: dict[str, tuple[Part, str]], reading: Reading) -> None:
    """Note every layer that reads a weight of another which has not that weight, or of another shape."""
    for part, path in parts.values():
        config = part.layer.layer if isinstance(part.layer, Shared) else part.layer
        for name, key, shape in config.tables(part.shape):
            target, place = getattr(config, name), Place(reading, path).at(name)
            if target not in parts:
                if target not in reading.raw_layers:  # else what is wrong with it has been noted
                    place.unknown("layer", target, parts)
                continue
            found = parts[target][0]
            met = found.layer.own_weights(found.shape).get(key)
            if met != shape:
                got = f"none of a layer {found.layer.kind}" if met is None else f"shape {met}"
                place.fault(f"the layer '{target}' has no such weight '{key}'", expected=f"shape {shape}", got=got)


def _limit(shape: Shape, place: Place, what: str) -> None:
    if count(shape) > MOST_ELEMENTS:
        place.fault(f"the {what} is too large", expected=f"at most {MOST_ELEMENTS} elements", got=f"shape {shape}")


def _compare_shared(parts: dict[str, tuple[Part, str]], reading: Reading) -> None:
    """Note every shared layer whose input asks for weights of other shapes than its target has."""
    for part, path in parts.values():
        if not isinstance(part.layer, Shared) or part.layer.target not in parts:
            continue
        target = parts[part.layer.target][0]
        own, theirs = part.layer.layer.parameters(part.shape), target.layer.parameters(target.shape)
        for name in own:
            if own[name] != theirs.get(name):
                Place(reading, path).fault(
                    f"weight '{name}' of the shared layer '{part.layer.target}' does not fit this input",
                    expected=f"shape {own[name]}", got=f"shape {theirs.get(name)}",
                )  # fmt: skip
                break
