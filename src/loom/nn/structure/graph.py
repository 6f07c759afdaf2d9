"""``Graph``: a network built node by node: ports that layers are put on, added, multiplied and joined.

Layer: nn. Invariant: a node whose inputs are ports is looked at when it is put there: the error is raised at its line.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from loom.core.dtype import f32
from loom.core.errors import ArgumentError
from loom.core.given import is_list, is_tuple
from loom.formats.json_text import JsonObject
from loom.nn.network import Network
from loom.nn.spec.base.fields import read_object
from loom.nn.spec.base.layer import NODE_KEYS, Shape, read_layer
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.base.rules import BAD, Name
from loom.nn.spec.network import Input
from loom.nn.spec.reader import FORMAT
from loom.nn.structure.build import input_json, require_keys
from loom.nn.structure.layers import LayerLike, as_json, has_reference, layer_json
from loom.runtime.port.device import Device

__all__ = ["Graph", "Port", "concat", "mean"]

_WHERE = "loom.nn.structure.Graph"


class Graph:
    """A network under construction.

    Args:
        **keys: Keys of its document (``seed``, ``dtype``, ``name``, ...).

    Raises:
        ArgumentError: A key that a graph has itself.

    >>> from loom.nn.structure import Graph, dense
    >>> graph = Graph(seed=1)
    >>> x = graph.input(4)
    >>> hidden = x >> dense(8, activation="tanh")
    >>> net = graph.network((hidden + (x >> dense(8))) >> dense(2))
    >>> net.forward([[1.0, 2.0, 3.0, 4.0]]).shape
    (1, 2)
    """

    def __init__(self, **keys: Any) -> None:
        require_keys(keys, ("format", "input", "inputs", "layers", "nodes", "output", "outputs"), _WHERE)
        self._keys = {name: as_json(value, f"{_WHERE}, {name}") for name, value in keys.items()}
        self._inputs: dict[str, JsonObject] = {}
        self._nodes: dict[str, JsonObject] = {}
        self._shapes: dict[str, Shape] = {}

    def input(self, shape: Any, name: str = "input", *, dtype: Any = None) -> Port:
        """Return the port of a new network input.

        Args:
            shape: Shape of one sample.
            name: Name of the input.
            dtype: Dtype of its numbers; None: the document's.

        Raises:
            ArgumentError: The name is taken, or unusable; not a shape.
            SpecError: A size below 1, or another dtype than inputs have.
        """
        self._require_new(name, f"{_WHERE}.input")
        held = input_json(shape, f"{_WHERE}.input")
        held |= {} if dtype is None else {"dtype": as_json(dtype, f"{_WHERE}.input, dtype")}
        reading = Reading()
        found = _read_input(held, Place(reading, f"$.inputs.{name}"))
        reading.check(f"{_WHERE}.input", "input")
        self._inputs[name], self._shapes[name] = held, found.shape
        return Port(self, name)

    def add(self, layer: LayerLike, *sources: Port | str, name: str | None = None) -> Port:
        """Return the port of a new node: a layer on ports.

        Args:
            layer: Layer of ``nn.structure``, or its JSON object.
            *sources: Ports, or names of nodes that may be added later.
            name: Name of the node; None: a new one.

        Raises:
            ArgumentError: The name is taken, or unusable; a port of another graph; not a layer.
            SpecError: The layer does not fit the shapes of its ports.
        """
        where = f"{_WHERE}.add"
        name = self._free_name() if name is None else name
        self._require_new(name, where)
        read: list[Any] = [self._source(s, where) for s in sources]
        value: JsonObject = {**layer_json(layer, where), "inputs": read}
        shape = self._infer(value, name)
        self._nodes[name] = value
        if shape is not None:
            self._shapes[name] = shape
        return Port(self, name)

    def merge(self, ports: Sequence[Port | str], combine_mode: str = "concat", *, axis: int = -1) -> Port:
        """Return one port of several.

        Args:
            ports: Ports of one graph.
            combine_mode: "concat", "add", "avg" or "multiply".
            axis: Axis of ``concat``.

        Raises:
            ArgumentError: Not several ports; a port of another graph.
            SpecError: The shapes do not go together; there is no such mode.
        """
        if not (is_list(ports) or is_tuple(ports)):
            raise ArgumentError(f"{_WHERE}.merge", "not several ports", expected="a list", got=type(ports).__name__,
                                remedy="Pass [a, b]")  # fmt: skip
        axis_told = {} if axis == -1 else {"axis": axis}
        return self.add({"type": "merge", "combine_mode": combine_mode, **axis_told}, *ports)

    def document(self, *outputs: Port | str) -> dict[str, Any]:
        """Return the ``loom/1`` document.

        Args:
            *outputs: Ports, or names of nodes, that the network gives; none: the node nobody reads.

        Raises:
            ArgumentError: The graph has no input or no node; a port of another graph.
        """
        where = f"{_WHERE}.document"
        if not self._nodes or not self._inputs:
            raise ArgumentError(where, "the graph is empty", expected="an input and a node at least",
                                got=f"{len(self._inputs)} inputs, {len(self._nodes)} nodes",
                                remedy="Use graph.input(shape) >> layer")  # fmt: skip
        told = {"outputs": [self._source(o, where) for o in outputs]} if outputs else {}
        held = {"format": FORMAT, **self._keys, "inputs": self._inputs, "nodes": self._nodes, **told}
        return copy.deepcopy(held)

    def network(self, *outputs: Port | str, on: str | Device | None = None) -> Network:
        """Return the network of the graph.

        Args:
            *outputs: Ports, or names of nodes, that the network gives; none: the node nobody reads.
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: The graph has no input or no node; a port of another graph.
            SpecError: The document has problems, all of them listed.
        """
        return Network.from_json(self.document(*outputs), on=on)

    def shape_of(self, name: str) -> Shape | None:
        """Return the shape of one sample of a node or input; None if it is not known yet.

        Args:
            name: Name of a node or an input.
        """
        return self._shapes.get(name)

    def _free_name(self) -> str:
        number = len(self._nodes)
        while f"node_{number}" in self._nodes or f"node_{number}" in self._inputs:
            number += 1
        return f"node_{number}"

    def _require_new(self, name: Any, where: str) -> None:
        if not Name().holds(name):
            raise ArgumentError(f"{where}, name", "not usable as a name", expected=Name().expected,
                                got=repr(name)[:100], remedy="Choose another")  # fmt: skip
        if name in self._nodes or name in self._inputs:
            raise ArgumentError(f"{where}, name", f"{name!r} is there already", expected="a name of its own",
                                got=repr(name), remedy="Choose another")  # fmt: skip

    def _source(self, given: Any, where: str) -> str:
        if isinstance(given, Port) and given.graph is self:
            return given.name
        if isinstance(given, str):
            return given
        got = "a port of another graph" if isinstance(given, Port) else type(given).__name__
        raise ArgumentError(where, "not an input of a node", expected="a port of this graph, or a node's name", got=got,
                            remedy="Use what graph.input or graph.add returned")  # fmt: skip

    def _infer(self, value: JsonObject, name: str) -> Shape | None:
        """Return the shape of a node's output, if all it reads is known; SpecError for what does not fit."""
        reading = Reading(inputs={n: self._shapes[n] for n in self._inputs})
        sources: Any = value["inputs"]
        if has_reference(value):
            return None
        place = Place(reading, f"$.nodes.{name}")
        found = read_layer(value, place, besides=NODE_KEYS)
        reading.check(f"{_WHERE}.add", "node")
        if not all(s in self._shapes for s in sources):
            return None
        if not sources:
            place.fault("a node reads nothing", expected="at least one port", got="none")
        made = found.infer_all(tuple(self._shapes[s] for s in sources), place) if sources else None
        reading.check(f"{_WHERE}.add", "node")
        return made


class Port:
    """The output of a node, or an input: what further layers are put on.

    ``port >> layer`` puts a layer on it; ``+`` and ``*`` are the merges ``add`` and ``multiply``.
    """

    __slots__ = ("graph", "name")

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def __repr__(self) -> str:
        return f"<Port {self.name!r} of shape {self.shape}>"

    @property
    def shape(self) -> Shape | None:
        """Shape of one sample; None if it is not known yet."""
        return self.graph.shape_of(self.name)

    def then(self, layer: LayerLike, name: str | None = None) -> Port:
        """Return the port of a layer put on this one.

        Args:
            layer: Layer of ``nn.structure``, or its JSON object.
            name: Name of the node; None: a new one.
        """
        return self.graph.add(layer, self, name=name)

    def __rshift__(self, layer: LayerLike) -> Port:
        return self.then(layer)

    def __add__(self, other: Port) -> Port:
        return self.graph.merge([self, other], "add")

    def __mul__(self, other: Port) -> Port:
        return self.graph.merge([self, other], "multiply")


def concat(ports: Sequence[Port], axis: int = -1) -> Port:
    """Return ports one after another along an axis.

    Args:
        ports: Ports of one graph.
        axis: Axis of one sample along which they are joined.

    Raises:
        ArgumentError: Not several ports of one graph.
        SpecError: The shapes do not go together.
    """
    return _graph_of(ports, "concat").merge(ports, "concat", axis=axis)


def mean(ports: Sequence[Port]) -> Port:
    """Return the mean of ports of one shape.

    Args:
        ports: Ports of one graph.

    Raises:
        ArgumentError: Not several ports of one graph.
        SpecError: The shapes differ.
    """
    return _graph_of(ports, "mean").merge(ports, "avg")


def _graph_of(ports: Any, where: str) -> Graph:
    first = ports[0] if (is_list(ports) or is_tuple(ports)) and ports else None
    if not isinstance(first, Port):
        raise ArgumentError(f"loom.nn.structure.{where}", "not several ports", expected="a list of ports",
                            got=repr(ports)[:100], remedy="Pass [a, b]")  # fmt: skip
    return first.graph


def _read_input(value: JsonObject, place: Place) -> Input:
    found = read_object(Input, value, place)
    return Input(shape=(), dtype=f32) if found is BAD else found
