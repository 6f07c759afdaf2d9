"""Networks written as the first generation saves them, where it has all of their layers.

Layer: nn. Invariant: what is written is read back, by the reader of that generation, as a network that computes the
same; what would not be is refused by the layer's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loom.core.dtype import f32
from loom.core.errors import ArgumentError
from loom.nn.spec.activations import Activation
from loom.nn.spec.fields import write_object
from loom.nn.spec.layer import Layer, Part, Shape, Shared
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.nn.spec.layers.dense import Dense
from loom.nn.spec.layers.nested import Distance, KMeans, Sequential
from loom.nn.spec.layers.norm import LayerNorm, RMSNorm
from loom.nn.spec.layers.parallel import Parallel, ParallelMode
from loom.nn.spec.layers.recurrent import LSTM, RNN
from loom.nn.spec.layers.shaping import ActivationLayer, Flatten, Reshape
from loom.nn.spec.layers.softmax import Softmax, Variant
from loom.nn.spec.layers.swiglu import SwiGLU
from loom.nn.spec.network import NetworkSpec
from loom.nn.spec.older.first import read_first
from loom.nn.spec.older.pieces import Conversion
from loom.nn.spec.problems import Place, Reading
from loom.nn.spec.shapes import count

__all__ = ["Older", "write_as_first"]

_ACTIVATIONS = {
    Activation.SCALED_RELU: "relu",
    Activation.SIGMOID: "sigmoid",
    Activation.TANH: "tanh",
    Activation.SOFTPLUS: "softplus",
    Activation.LEAKY_RELU: "leaky_relu",
}
"""The functions that the first generation has; it makes relu of every other name."""

_MODES = {m: m.value for m in ParallelMode if m is not ParallelMode.MULTIPLY}
_SOFTMAX = {"rows": "softmax_rows", "cols": "softmax_cols", "levels": "hierarchy_levels", "mask": "mask",
            "clusters": "adaptive_clusters", "weights": "mixture_weights", "alpha": "entmax_alpha"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Older:
    """A network as the first generation has it: its config, how that is read, and our names by the reader's."""

    config: dict[str, Any]
    conversion: Conversion
    names: dict[str, str]


def write_as_first(network: NetworkSpec, name: str, where: str) -> Older:
    """Return a network's config as bundles of the first generation have it; ArgumentError names what it cannot say."""
    if len(network.inputs) != 1 or len(network.outputs) != 1 or network.outputs[0] != network.nodes[-1].name:
        raise _cannot(where, "networks of the first generation have one input and one output, the last layer's",
                      f"{len(network.inputs)} inputs, {len(network.outputs)} outputs")  # fmt: skip
    if network.dtype is not f32:
        raise _cannot(where, "bundles of the first generation hold weights of f32", str(network.dtype))
    shapes = network.shapes()
    layers: list[dict[str, Any]] = []
    for node in network.nodes:
        layers += _write(Part(node.name, node.layer, shapes[node.inputs[0]]), where)
    if layers and layers[0]["type"] in _SIZED:
        layers[0]["input_size"] = count(network.inputs[0].shape)  # older programs do not read it
    config: dict[str, Any] = {"id": name, "batch_size": network.batch_size, "grid_rows": 1, "grid_cols": 1,
              "layers_per_cell": len(layers), "layers": layers}  # fmt: skip
    grid = network.grid
    if grid is not None and grid.cells == len(layers):
        config |= {"grid_rows": grid.rows, "grid_cols": grid.cols, "layers_per_cell": grid.layers}
    reading = Reading()
    found = read_first(config, Place(reading), saved=True)
    if found is None or reading.problems:
        raise _cannot(where, f"it would be read with a problem ({reading.problems[0]})", "this network")
    _compare(network, found.network, where)
    names = dict(zip(found.network.parameters(), network.parameters(), strict=True))
    return Older(config, found, names)


def _cannot(where: str, what: str, got: str) -> ArgumentError:
    return ArgumentError(where, f"the first generation cannot express it: {what}", got=got,
                         remedy="Save it as Loom's own bundle")  # fmt: skip


def _write(part: Part, where: str) -> list[dict[str, Any]]:
    """Return what a layer becomes: none for a change of shape, which is not said there, else one."""
    layer, shape = part.layer, part.shape
    here = f"{where}, layer {part.name!r}"
    if isinstance(layer, (Flatten, Reshape)) or (isinstance(layer, ActivationLayer) and layer.function is _LINEAR):
        return []
    if isinstance(layer, Merge) and layer.combine_mode is Combine.ADD:
        return []  # those that it does unsaid; any other is found by the comparison
    if isinstance(layer, Sequential):
        inner = [each for p in layer.parts(shape) for each in _write(_within(part, p), where)]
        return [{"type": "sequential", "branches": inner}] if len(inner) > 1 else inner
    write = _WRITERS.get(type(layer))
    if write is None or isinstance(layer, Shared):
        raise _cannot(here, "it has no such layer", layer.kind)
    made = write(layer, shape, here)
    if isinstance(layer, Parallel):
        made["branches"] = [
            _branch(_within(part, p), where) for p in layer.parts(shape) if p.name.startswith("branches")
        ]
    if isinstance(layer, KMeans) and layer.attached_layer is not None:
        made["branches"] = [_branch(_within(part, p), where) for p in layer.parts(shape)]
    return [{"type": _TYPES.get(layer.kind, layer.kind), **{k: v for k, v in made.items() if v is not None}}]


_LINEAR = Activation.LINEAR
_SIZED = ("layer_norm", "rms_norm", "softmax", "parallel", "sequential", "kmeans")
"""Types whose own keys do not tell the size of the network's input."""
_TYPES = {"multi_head_attention": "mha"}


def _within(outer: Part, inner: Part) -> Part:
    return Part(f"{outer.name}.{inner.name}", inner.layer, inner.shape)


def _branch(part: Part, where: str) -> dict[str, Any]:
    made = _write(part, where)
    if not made:
        raise _cannot(f"{where}, layer {part.name!r}", "it has no branch that changes nothing", part.layer.kind)
    return made[0] if len(made) == 1 else {"type": "sequential", "branches": made}


def _function(layer: Any, here: str) -> str:
    if layer.activation not in _ACTIVATIONS:
        raise _cannot(here, "it makes relu of every activation but " + ", ".join(_ACTIVATIONS.values()),
                      layer.activation.value)  # fmt: skip
    return _ACTIVATIONS[layer.activation]


def _with_bias(layer: Any, here: str) -> None:
    if not layer.bias:
        raise _cannot(here, "its layers have biases", f"a {layer.kind} without")


def _dense(layer: Dense, shape: Shape, here: str) -> dict[str, Any]:
    _with_bias(layer, here)
    return {"activation": _function(layer, here), "width": 1, "height": 1, "input_height": shape[-1],
            "output_height": layer.output_size}  # fmt: skip


def _conv2d(layer: Conv2D, shape: Shape, here: str) -> dict[str, Any]:
    _with_bias(layer, here)
    for name in ("kernel_size", "stride", "padding"):
        if len(set(getattr(layer, name))) != 1:
            raise _cannot(here, f"its {name} is one number for rows and columns", str(getattr(layer, name)))
    output = layer.output_shape(shape)
    return {
        "activation": _function(layer, here), "input_channels": shape[0], "filters": layer.filters,
        "kernel_size": layer.kernel_size[0], "stride": layer.stride[0], "padding": layer.padding[0],
        "input_height": shape[1], "input_width": shape[2], "output_height": output[1], "output_width": output[2],
    }  # fmt: skip


def _conv1d(layer: Conv1D, shape: Shape, here: str) -> dict[str, Any]:
    _with_bias(layer, here)
    return {"activation": _function(layer, here), "input_channels": shape[0], "filters": layer.filters,
            "kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding,
            "input_length": shape[1]}  # fmt: skip


def _recurrent(layer: RNN | LSTM, shape: Shape, here: str) -> dict[str, Any]:
    del here
    return {"input_size": shape[1], "hidden_size": layer.hidden_size, "seq_length": shape[0]}


def _norm(layer: LayerNorm | RMSNorm, shape: Shape, here: str) -> dict[str, Any]:
    del here
    return {"norm_size": shape[-1], "epsilon": layer.epsilon}


def _swiglu(layer: SwiGLU, shape: Shape, here: str) -> dict[str, Any]:
    _with_bias(layer, here)
    return {"input_height": shape[-1], "output_height": layer.inner_size}


def _attention(layer: MultiHeadAttention, shape: Shape, here: str) -> dict[str, Any]:
    _with_bias(layer, here)
    if layer.rope_freq_base != 10000.0 or not layer.causal or layer.kv_heads != layer.num_heads:
        raise _cannot(here, "its attention is causal, with rotation of base 10000 and as many key as query heads",
                      f"causal {layer.causal}, rope_freq_base {layer.rope_freq_base}, {layer.kv_heads} key heads",
                      )  # fmt: skip
    return {"d_model": shape[1], "num_heads": layer.num_heads, "seq_length": shape[0]}


def _softmax(layer: Softmax, shape: Shape, here: str) -> dict[str, Any]:
    del shape
    if layer.variant is Variant.GUMBEL and not layer.noise:
        raise _cannot(here, "its gumbel softmax always has noise", "noise: false")
    given = {ours: value for ours, value in write_object(layer).items() if ours in _SOFTMAX}
    return {"softmax_variant": layer.variant.value, "temperature": layer.temperature} | {
        _SOFTMAX[ours]: value for ours, value in given.items()
    }


def _parallel(layer: Parallel, shape: Shape, here: str) -> dict[str, Any]:
    del shape
    if layer.combine_mode not in _MODES or layer.gate is not None:
        got = "a filter with a gate" if layer.gate is not None else layer.combine_mode.value
        raise _cannot(here, "it has no product of branches, and keeps no weights of a gate", got)
    made: dict[str, Any] = {"combine_mode": layer.combine_mode.value}
    if layer.combine_mode is ParallelMode.FILTER:
        soft = _softmax(layer.gate_softmax, (), here)
        made |= {"filter_softmax": soft.pop("softmax_variant"), "filter_temperature": soft.pop("temperature"), **soft}
    if layer.grid is not None:
        size = layer.grid
        made |= {"grid_output_rows": size.rows, "grid_output_cols": size.cols, "grid_output_layers": size.layers}
        made["grid_positions"] = [
            {"branch_index": i, "target_row": c.row, "target_col": c.col, "target_layer": c.layer}
            for i, c in enumerate(layer.grid_positions)
        ]
    return made


def _kmeans(layer: KMeans, shape: Shape, here: str) -> dict[str, Any]:
    if layer.distance_metric is not Distance.EUCLIDEAN:
        raise _cannot(here, "its distances are euclidean", layer.distance_metric.value)
    features = shape if layer.attached_layer is None else layer.attached_layer.output_shape(shape)
    return {"num_clusters": layer.num_clusters, "cluster_dim": features[-1], "distance_metric": "euclidean",
            "kmeans_temperature": layer.temperature, "kmeans_output_mode": layer.output_mode.value,
            "kmeans_learning_rate": layer.learning_rate}  # fmt: skip


_WRITERS: dict[type[Layer], Any] = {
    Dense: _dense, Conv1D: _conv1d, Conv2D: _conv2d, RNN: _recurrent, LSTM: _recurrent, LayerNorm: _norm,
    RMSNorm: _norm, SwiGLU: _swiglu, MultiHeadAttention: _attention, Softmax: _softmax, Parallel: _parallel,
    KMeans: _kmeans,
}  # fmt: skip
"""Config -> its keys in the first generation; types that its loader does not know are missing."""


def _compare(network: NetworkSpec, again: NetworkSpec, where: str) -> None:
    """See that what is read back computes the same: the same layers on the same rows, joined in the same way."""
    ours, theirs = _graph(network), _graph(again)
    for (name, one), (_, other) in zip(ours, theirs, strict=False):
        if one != other:
            raise _cannot(f"{where}, layer {name!r}", f"it would be read as {_text(other)}", _text(one))
    if len(ours) != len(theirs):
        name = ours[min(len(theirs), len(ours) - 1)][0]
        raise _cannot(f"{where}, layer {name!r}", f"it would be read as {len(theirs)} layers, with what it adds unsaid",
                      f"{len(ours)} layers")  # fmt: skip
    if [*network.parameters().values()] != [*again.parameters().values()]:
        raise _cannot(where, "its weights would have other shapes", "this network")


def _text(each: Any) -> str:
    return str(each)[:200]


def _graph(network: NetworkSpec) -> list[tuple[str, Any]]:
    """Return each node that computes: its name, what it is, and the numbers of those that it reads."""
    shapes = network.shapes()
    made: list[tuple[str, Any]] = []
    places: dict[str, int] = {i.name: -1 for i in network.inputs}
    for node in network.nodes:
        reads = sorted(places[name] for name in node.inputs)
        whats = _whats(node.layer, shapes[node.inputs[0]])
        if not whats:
            places[node.name] = reads[0]
        for what in whats:
            made.append((node.name, (what, reads)))
            places[node.name], reads = len(made) - 1, [len(made) - 1]
    return made


def _whats(layer: Layer, shape: Shape) -> list[Any]:
    """Return what a layer is, without sizes that follow and changes of shape; a sequence is what it holds."""
    if isinstance(layer, (Flatten, Reshape)) or (isinstance(layer, ActivationLayer) and layer.function is _LINEAR):
        return []
    parts = [_whats(p.layer, p.shape) for p in layer.parts(shape)]
    if isinstance(layer, Sequential):
        return [each for inner in parts for each in inner]
    fields = {k: v for k, v in write_object(layer).items() if k not in _FOLLOWING}
    squeezed = tuple(n for n in shape if n != 1)
    output = layer.infer(shape, Place(Reading())) if parts else None
    return [(layer.kind, fields, squeezed, parts, None if output is None else tuple(n for n in output if n != 1))]


_FOLLOWING = ("input_size", "norm_size", "d_model", "cluster_dim", "input_channels", "frozen", "branches",
              "attached_layer", "axis")  # fmt: skip
"""Keys that follow from the input, change nothing that is computed, or are compared by themselves."""
