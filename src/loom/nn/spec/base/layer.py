"""The base of all layers' configs, and how layer objects are read, written and looked up by type.

Layer: nn. Invariant: a config says all that is needed to know a layer's output shape and the names and shapes of
its weights; it holds no weight. Shapes are of one sample: the batch is no axis of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, ClassVar, TypeVar

from loom.core.late.dataclass import dataclass
from loom.formats.json_text import JsonObject, JsonValue, brief
from loom.nn.spec.base.fields import Config, flag, object_schema, read_object, value_fields, write_object
from loom.nn.spec.base.meaning import NUMBERS, Meaning
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.base.rules import BAD, LayerName, Name, Several

__all__ = [
    "LAYERS",
    "NODE_KEYS",
    "Layer",
    "LayerRule",
    "Part",
    "Shape",
    "Shared",
    "TableRows",
    "chain_rows",
    "keys_of_layers",
    "keys_of_names",
    "layer_schema",
    "read_layer",
    "register",
    "write_layer",
]

Shape = tuple[int, ...]
"""Sizes of one sample's axes, outermost first; () is a scalar."""

LAYERS: dict[str, type[Layer]] = {}
"""Type name in documents -> config class."""

_ELSEWHERE = frozenset(
    """adaptiveavgpool2d adaptivemaxpool2d alphadropout averagepool3d bidirectional bilinear convlstm convlstm2d conv3d
    convtranspose1d convtranspose2d convtranspose3d conv1dtranspose conv2dtranspose conv3dtranspose crossattention
    depthwiseconv2d einsumdense embeddingbag globalaveragepooling1d globalaveragepooling2d globalmaxpooling2d
    groupnorm groupnormalization grucell instancenorm instancenorm1d instancenorm2d lambda localresponsenorm lstmcell
    masking maxpool3d pixelshuffle prelu qrnn rnncell separableconv2d spectralnorm sru timedistributed transformer
    transformerdecoder transformerdecoderlayer transformerencoder transformerencoderlayer upsample upsampling2d
    zeropadding2d""".split()
)
"""Layers of other libraries that documents have not, in small letters without ``_``."""

NODE_KEYS = ("name", "inputs", "cell")
"""Keys of a node's object that are not its layer's."""

AnyLayer = TypeVar("AnyLayer", bound="type[Layer]")


@dataclass(frozen=True, slots=True)
class Part:
    """A layer within a layer: ``name`` is its key and path there (``branches.0``), ``shape`` its input's."""

    name: str
    layer: Layer
    shape: Shape


@dataclass(frozen=True, slots=True)
class TableRows:
    """``rows`` of the tables that numbers are rows of, None where they are no such numbers; ``passes``: whether a layer
    gives on the same numbers."""

    rows: int | None = None
    passes: bool = False

    def beside(self, other: TableRows) -> TableRows:
        """Return that of numbers that two layers are given; none of them gives the numbers on."""
        rows = [n for n in (self.rows, other.rows) if n is not None]
        return TableRows(min(rows, default=None))


def chain_rows(layers: Iterable[Layer]) -> TableRows:
    """Return that of layers one after another."""
    found = TableRows(passes=True)
    for layer in layers:
        if found.passes:
            own = layer.table_rows()
            found = TableRows(found.beside(own).rows, own.passes)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer(Config, ABC):
    """Config of one layer.

    A subclass names its type (``kind``) and what other formats call the same (``other_names``; an error suggests
    ours), declares its fields, and defines ``infer`` (output shape, problems noted) and, where it has them,
    ``own_weights``, ``own_state``, ``own_rates`` and ``parts``. ``takes_many``: a graph's node of it has several
    inputs, which ``infer_all`` and ``means_all`` look at; ``is_at_input``: it reads an input of the network.
    """

    kind: ClassVar[str] = ""
    other_names: ClassVar[tuple[str, ...]] = ()
    takes_many: ClassVar[bool] = False
    is_at_input: ClassVar[bool] = False

    frozen: bool = flag("true if training leaves the weights as they are", False)

    @abstractmethod
    def infer(self, shape: Shape, place: Place) -> Shape | None:
        """Return the output's shape for an input's, noting at ``place`` what does not fit (None: unknown then)."""

    def infer_all(self, shapes: tuple[Shape, ...], place: Place) -> Shape | None:
        """Return the output's shape for all inputs of a graph's node; most layers take one."""
        if len(shapes) != 1:
            place.fault(f"{self.kind} takes one input", expected="1 input", got=f"{len(shapes)}")
            return None
        return self.infer(shapes[0], place)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        """Return what the output's numbers mean, of an input of ``shape`` that fits and means ``given``.

        Layers with weights make numbers of anything.
        """
        del shape, given
        return NUMBERS

    def means_all(self, shapes: tuple[Shape, ...], given: tuple[Meaning, ...]) -> Meaning:
        """Return what the output of a graph's node means, for all of its inputs."""
        return self.means(shapes[0], given[0])

    def table_rows(self) -> TableRows:
        """Return what the numbers that it is given are rows of; of several tables the one of the fewest rows."""
        return TableRows()

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        """Return the trained arrays of this layer alone, for an input of ``shape``."""
        del shape
        return {}

    def own_state(self, shape: Shape) -> dict[str, Shape]:
        """Return the arrays that training changes by other means than gradients, for an input of ``shape``."""
        del shape
        return {}

    def keeps(self, name: str) -> bool:
        """Tell whether training leaves the own weight called ``name`` as it is."""
        del name
        return self.frozen

    def own_rates(self) -> dict[str, float]:
        """Return the step sizes of own weights that have another than the optimiser's."""
        return {}

    def keys_elsewhere(self) -> tuple[str, ...]:
        """Return the keys of other layers whose weights this one computes with."""
        named = [getattr(self, f.name) for f in value_fields(type(self)) if isinstance(f.rule, LayerName)]
        return tuple(name for name in named if name is not None)

    def tables(self, shape: Shape) -> tuple[tuple[str, str, Shape], ...]:
        """Return (the field that names the layer, its weight, that weight's shape) of what is borrowed."""
        del shape
        return ()

    def parts(self, shape: Shape) -> tuple[Part, ...]:
        """Return the layers within this one, each with its input's shape, for an input of ``shape``."""
        del shape
        return ()

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one sample's output for an input sample of ``shape``.

        SpecError lists what does not fit.

        >>> from loom.nn.spec import Conv2D
        >>> Conv2D(filters=8, kernel_size=(3, 3), padding=(1, 1)).output_shape((1, 28, 28))
        (8, 28, 28)
        """
        reading = Reading()
        made = self.infer(tuple(shape), Place(reading))
        reading.check(f"loom.nn {self.kind}", "layer")
        assert made is not None
        return made

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Return name -> shape of every trained array, those of layers within prefixed (``branches.0.weight``).

        ``shape`` is that of one input sample and must fit the layer.

        >>> from loom.nn.spec import Dense
        >>> Dense(output_size=3).parameters((4,))
        {'weight': (4, 3), 'bias': (3,)}
        """
        within = {f"{p.name}.{k}": v for p in self.parts(shape) for k, v in p.layer.parameters(p.shape).items()}
        return self.own_weights(shape) | within

    def state(self, shape: Shape) -> dict[str, Shape]:
        """Return name -> shape of every array that is saved and not trained (running means), as ``parameters``."""
        within = {f"{p.name}.{k}": v for p in self.parts(shape) for k, v in p.layer.state(p.shape).items()}
        return self.own_state(shape) | within

    def walk(self, shape: Shape, name: str = "") -> Iterator[Part]:
        """Yield this layer and all within it, depth first, named by their keys below ``name``."""
        yield Part(name, self, shape)
        for part in self.parts(shape):
            yield from part.layer.walk(part.shape, f"{name}.{part.name}" if name else part.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared(Layer):
    """The layer called ``target`` once more: same config, same weights, which stay under the target's name."""

    kind: ClassVar[str] = "$ref"

    target: str
    layer: Layer

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        return self.layer.infer(shape, place)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        return self.layer.means(shape, given)

    def table_rows(self) -> TableRows:
        return self.layer.table_rows()

    def keys_elsewhere(self) -> tuple[str, ...]:
        return self.layer.keys_elsewhere()


def register(config: AnyLayer) -> AnyLayer:
    """Make a config class known under its ``kind``."""
    LAYERS[config.kind] = config
    return config


@dataclass(frozen=True)
class LayerRule:
    """A rule: a layer object, one of ``kinds`` if given."""

    kinds: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        return "a layer object" + (f" of type {' or '.join(self.kinds)}" if self.kinds else "")

    def read(self, value: JsonValue, place: Place) -> Any:
        layer = read_layer(value, place)
        if layer is not BAD and self.kinds and layer.kind not in self.kinds:
            place.fault("a layer of this type cannot be here", expected=" or ".join(self.kinds), got=layer.kind)
            return BAD
        return layer

    def write(self, value: Layer) -> JsonValue:
        return write_layer(value)

    def schema(self) -> dict[str, Any]:
        if not self.kinds:
            return {"$ref": "#/$defs/layer"}
        return {"anyOf": [{"$ref": f"#/$defs/{k}"} for k in self.kinds], "unevaluatedProperties": False}


def read_layer(value: JsonValue, place: Place, *, besides: tuple[str, ...] = ()) -> Any:
    """Return the layer of a JSON object, or note every problem and return ``BAD``.

    Keys of ``besides`` (a node's name, inputs, cell) are left to the caller.
    """
    if not place.count_layer():
        return BAD
    if not isinstance(value, dict):
        place.wrong("a layer object", value)
        return BAD
    if "$ref" in value:
        return _follow(value, place, besides)
    kind = value.get("type")
    if not isinstance(kind, str):
        here = place.at("type") if "type" in value else place
        here.fault("a layer has no type", expected="one of " + ", ".join(sorted(LAYERS)), got=brief(kind))
        return BAD
    if kind not in LAYERS:
        other = next((k for k, config in LAYERS.items() if kind.lower() in config.other_names), None)
        if other:
            place.at("type").fault(f"unknown layer type {brief(kind)}", remedy=f"Did you mean {other!r}?")
        elif kind.lower().replace("_", "") in _ELSEWHERE:
            place.at("type").fault(
                f"documents have no layer {brief(kind)}",
                expected="one of docs/formats/network.md",
                remedy="A module of PyTorch or a file of ONNX may have it: loom.from_torch, loom.onnx.load.",
            )
        else:
            place.at("type").unknown("layer type", kind, LAYERS)
        return BAD
    return read_object(LAYERS[kind], value, place, besides=("type", *besides))


def _follow(value: JsonObject, place: Place, besides: tuple[str, ...]) -> Any:
    """Return the ``Shared`` of an object with ``$ref``."""
    reading = place.reading
    for key in value:
        if key not in ("$ref", "comment", "$comment", *besides):
            place.at(key).fault(
                f"key {brief(key)} stands beside '$ref'", remedy="A shared layer has no fields of its own."
            )
    target = Name(dotted=True).read(value["$ref"], place.at("$ref"))
    if target is BAD:
        return BAD
    if target not in reading.raw_layers:
        place.at("$ref").unknown("layer", target, reading.raw_layers)
        return BAD
    raw, path = reading.raw_layers[target]
    if _refers(raw):  # one step only: references that multiply cannot make a small document a huge network
        remedy = f"Share the inner layer of {path} instead."
        place.at("$ref").fault(f"the shared layer {brief(target)} holds a '$ref' itself", remedy=remedy)
        return BAD
    aside = Reading(inputs=reading.inputs)
    layer = read_layer(raw, Place(aside, path), besides=NODE_KEYS)  # its problems are noted where it stands
    reading.layers += aside.layers
    return BAD if layer is BAD else Shared(target=target, layer=layer)


@cache
def keys_of_layers() -> tuple[str, ...]:
    """Return the keys of layers' objects that hold layers of any type, or lists of them."""
    fields = [f for config in LAYERS.values() for f in value_fields(config)]
    rules = [(f.name, f.rule.each if isinstance(f.rule, Several) else f.rule) for f in fields]
    return tuple(sorted({name for name, rule in rules if rule == LayerRule()}))


@cache
def keys_of_names() -> frozenset[str]:
    """Return the keys of layers' objects that name another layer, whose weights are read."""
    fields = [f for config in LAYERS.values() for f in value_fields(config)]
    return frozenset(f.name for f in fields if isinstance(f.rule, LayerName))


def _refers(value: JsonValue) -> bool:
    """Say whether a value holds a ``$ref`` at any depth."""
    if isinstance(value, dict):
        return "$ref" in value or any(_refers(v) for v in value.values())
    return isinstance(value, list) and any(isinstance(v, (dict, list)) and _refers(v) for v in value)


def write_layer(layer: Layer) -> JsonObject:
    """Return the JSON object of a layer: ``type`` first, then its fields that differ from the defaults."""
    if isinstance(layer, Shared):
        return {"$ref": layer.target}
    return {"type": layer.kind, **write_object(layer)}


def layer_schema(config: type[Layer]) -> dict[str, Any]:
    """Return the JSON Schema of one type of layer, without what nodes add."""
    schema = object_schema(config)
    properties = {"type": {"const": config.kind}, **schema["properties"]}
    required = ["type", *schema["required"]]
    return {
        "description": (config.__doc__ or "").strip().partition("\n")[0],
        "type": "object",
        "properties": properties,
        "required": required,
    }
