"""Networks written as the first generation has them: the config of a bundle, or a document without weights.

Layer: nn. Invariant: what is written is read back, by the reader of that generation, as a network that computes the
same; what would not be is refused by the layer's name, or, if losses are allowed, noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.core.arrays import Array
from loom.core.dtype import f32
from loom.nn.spec.base.activations import Activation
from loom.nn.spec.base.fields import write_object
from loom.nn.spec.base.layer import Layer, Part, Shape, Shared
from loom.nn.spec.base.shapes import count
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.nn.spec.layers.dense import Dense, Stitch
from loom.nn.spec.layers.embedding import Embedding
from loom.nn.spec.layers.nested import Distance, KMeans, Residual, Sequential
from loom.nn.spec.layers.norm import LayerNorm, RMSNorm
from loom.nn.spec.layers.parallel import Parallel, ParallelMode
from loom.nn.spec.layers.recurrent import GRU, LSTM, RNN
from loom.nn.spec.layers.softmax import Softmax, Variant
from loom.nn.spec.layers.swiglu import SwiGLU
from loom.nn.spec.network import NetworkSpec, ProductPrecision
from loom.nn.spec.older.compare import changes_nothing
from loom.nn.spec.older.first import read_first
from loom.nn.spec.older.writing import Older, Writing, within, write_compared

__all__ = ["write_as_first"]

_ACTIVATIONS = {
    Activation.SCALED_RELU: "relu",
    Activation.SIGMOID: "sigmoid",
    Activation.TANH: "tanh",
    Activation.SOFTPLUS: "softplus",
    Activation.LEAKY_RELU: "leaky_relu",
}
"""The functions that the first generation has; it makes relu of every other name."""
_DOCUMENTED = {
    a: a.value for a in (Activation.LINEAR, Activation.GELU, Activation.SWISH, Activation.MISH, Activation.ELU,
                         Activation.SELU, Activation.SOFTMAX)
}  # fmt: skip
"""Those that its documents name besides."""

_MODES = {m: m.value for m in ParallelMode if m is not ParallelMode.MULTIPLY}
_SOFTMAX = {"rows": "softmax_rows", "cols": "softmax_cols", "levels": "hierarchy_levels", "mask": "mask",
            "clusters": "adaptive_clusters", "weights": "mixture_weights", "alpha": "entmax_alpha"}  # fmt: skip


def write_as_first(
    network: NetworkSpec, name: str, where: str, *, weights: Mapping[str, Array] | None = None, lossy: bool = False,
    document: bool = False,
) -> Older:  # fmt: skip
    """Return a network as bundles of the first generation have it.

    Args:
        network: Description of a network.
        name: Name of the model.
        where: Beginning of errors' texts.
        weights: Arrays by name; None: none are looked at.
        lossy: Whether what is lost is noted instead of refused, where something near can be said.
        document: Whether it is a document of its own, which may say more: layers and activations that were promised
            there and that this reader knows.

    Raises:
        ArgumentError: A part that cannot be said.
    """
    writing = Writing(where, "first", lossy, weights)
    if len(network.inputs) != 1 or len(network.outputs) != 1 or network.outputs[0] != network.nodes[-1].name:
        raise writing.refuse(where, "networks of the first generation have one input and one output, the last layer's",
                             f"{len(network.inputs)} inputs, {len(network.outputs)} outputs")  # fmt: skip
    if network.dtype is not f32 and not document:
        writing.lose(where, "bundles of the first generation hold weights of f32", str(network.dtype))
    if network.precision is not ProductPrecision.FULL:
        writing.lose(where, "its programs round no operands of products", network.precision.value)
    lost = dict(writing.notes)

    def write(network: NetworkSpec, writing: Writing) -> dict[str, Any]:
        writing.notes |= lost
        return _FirstWriter(writing, document).config(network, name)

    return write_compared(network, writing, write, lambda config, place: read_first(config, place, saved=not document))


_SIZED = ("layer_norm", "rms_norm", "softmax", "parallel", "sequential", "kmeans")
"""Types whose own keys do not tell the size of the network's input."""
_TYPES = {"multi_head_attention": "mha"}


class _FirstWriter:
    """What makes a config, of a bundle or (``document``) of its own."""

    def __init__(self, writing: Writing, document: bool) -> None:
        self.writing, self.document, self.where = writing, document, writing.where

    def config(self, network: NetworkSpec, name: str) -> dict[str, Any]:
        shapes = network.shapes()
        layers: list[dict[str, Any]] = []
        for node in network.nodes:
            if node.name in self.writing.sums and self.document:
                layers.append({"type": "residual"})
            else:
                layers += self.write(Part(node.name, node.layer, shapes[node.inputs[0]]))
        if layers and layers[0]["type"] in _SIZED:
            layers[0]["input_size"] = count(network.inputs[0].shape)  # older programs do not read it
        if layers and layers[0]["type"] == "embedding":
            layers[0]["seq_length"] = count(network.inputs[0].shape)
        config: dict[str, Any] = {"id": name, "batch_size": network.batch_size, "grid_rows": 1, "grid_cols": 1,
                  "layers_per_cell": len(layers), "layers": layers}  # fmt: skip
        grid = network.grid
        if grid is not None and grid.cells == len(layers):
            config |= {"grid_rows": grid.rows, "grid_cols": grid.cols, "layers_per_cell": grid.layers}
        if self.document:
            config |= {"seed": network.seed} | ({} if network.dtype is f32 else {"dtype": _DTYPES[str(network.dtype)]})
        return config

    def write(self, part: Part) -> list[dict[str, Any]]:
        """Return what a layer becomes: none for a change of shape, which is not said there, else one or two."""
        layer, shape = part.layer, part.shape
        here = f"{self.where}, layer {part.name!r}"
        if changes_nothing(layer) or (isinstance(layer, Merge) and layer.combine_mode is Combine.ADD):
            return []  # sums that it does unsaid; any other is found by the comparison
        if isinstance(layer, Residual) and self.document:
            inner = [each for p in layer.parts(shape) for each in self.write(within(part, p))]
            one = inner if len(inner) == 1 else [{"type": "sequential", "branches": inner}]
            return [*one, {"type": "residual"}]
        if isinstance(layer, Sequential):
            inner = [each for p in layer.parts(shape) for each in self.write(within(part, p))]
            return [{"type": "sequential", "branches": inner}] if len(inner) > 1 else inner
        if layer.kind == "dropout":
            self.writing.lose(here, "it has no dropout, which changes nothing but training", "dropout")
            return []
        write = _WRITERS.get(type(layer)) or (_ONLY_DOCUMENTS.get(type(layer)) if self.document else None)
        if write is None or isinstance(layer, Shared):
            raise self.writing.refuse(here, "it has no such layer", layer.kind)
        made = write(self, layer, shape, here)
        if isinstance(layer, Parallel):
            parts = [p for p in layer.parts(shape) if p.name.startswith("branches")]
            made["branches"] = [self.branch(within(part, p)) for p in parts]
            if layer.gate is not None:
                made["filter_gate"] = self.branch(within(part, Part("gate", layer.gate, shape)))
        if isinstance(layer, KMeans) and layer.attached_layer is not None:
            branches = [self.branch(within(part, p)) for p in layer.parts(shape)]
            made |= {"attached_layer": branches[0]} if self.document else {"branches": branches}
        return [{"type": _TYPES.get(layer.kind, layer.kind), **{k: v for k, v in made.items() if v is not None}}]

    def branch(self, part: Part) -> dict[str, Any]:
        """Return what a layer within another becomes."""
        made = self.write(part)
        if not made:
            raise self.writing.refuse(f"{self.where}, layer {part.name!r}", "it has no branch that changes nothing",
                                      part.layer.kind)  # fmt: skip
        return made[0] if len(made) == 1 else {"type": "sequential", "branches": made}

    def function(self, layer: Any, here: str) -> str:
        """Return the name of a layer's activation."""
        known = _ACTIVATIONS | (_DOCUMENTED if self.document else {})
        if layer.activation not in known:
            names = ", ".join(f.value for f in _ACTIVATIONS)
            what = f"it makes relu of every activation but {names} (its relu is scaled_relu)"
            self.writing.lose(here, what, layer.activation.value)
            return "relu"
        if layer.activation not in _ACTIVATIONS:
            self.writing.note(here, f"programs of that generation make relu of {layer.activation.value}")
        return known[layer.activation]

    def with_bias(self, layer: Any, here: str) -> None:
        """Note a bias that the layer has there and not here."""
        if not layer.bias:
            self.writing.note(here, "its layers have biases: zeros are written")


_DTYPES = {"f64": "float64", "f16": "float16", "bf16": "bfloat16"}


def _dense(w: _FirstWriter, layer: Dense, shape: Shape, here: str) -> dict[str, Any]:
    w.with_bias(layer, here)
    if w.document:
        return {"activation": w.function(layer, here), "input_size": shape[-1], "output_size": layer.output_size}
    return {"activation": w.function(layer, here), "width": 1, "height": 1, "input_height": shape[-1],
            "output_height": layer.output_size}  # fmt: skip


def _stitch(w: _FirstWriter, layer: Stitch, shape: Shape, here: str) -> dict[str, Any]:
    w.writing.note(here, "a stitch layer is made by its programs, not read from documents")
    return {"input_size": shape[-1], "output_size": layer.output_size}


def _conv2d(w: _FirstWriter, layer: Conv2D, shape: Shape, here: str) -> dict[str, Any]:
    w.with_bias(layer, here)
    for name in ("kernel_size", "stride", "padding"):
        if len(set(getattr(layer, name))) != 1:
            raise w.writing.refuse(here, f"its {name} is one number for rows and columns", str(getattr(layer, name)))
    output = layer.output_shape(shape)
    return {
        "activation": w.function(layer, here), "input_channels": shape[0], "filters": layer.filters,
        "kernel_size": layer.kernel_size[0], "stride": layer.stride[0], "padding": layer.padding[0],
        "input_height": shape[1], "input_width": shape[2], "output_height": output[1], "output_width": output[2],
    }  # fmt: skip


def _conv1d(w: _FirstWriter, layer: Conv1D, shape: Shape, here: str) -> dict[str, Any]:
    w.with_bias(layer, here)
    return {"activation": w.function(layer, here), "input_channels": shape[0], "filters": layer.filters,
            "kernel_size": layer.kernel_size, "stride": layer.stride, "padding": layer.padding,
            "input_length": shape[1]}  # fmt: skip


def _recurrent(w: _FirstWriter, layer: RNN | LSTM | GRU, shape: Shape, here: str) -> dict[str, Any]:
    del w, here
    return {"input_size": shape[1], "hidden_size": layer.hidden_size, "seq_length": shape[0]}


def _norm(w: _FirstWriter, layer: LayerNorm | RMSNorm, shape: Shape, here: str) -> dict[str, Any]:
    del w, here
    return {"norm_size": shape[-1], "epsilon": layer.epsilon}


def _swiglu(w: _FirstWriter, layer: SwiGLU, shape: Shape, here: str) -> dict[str, Any]:
    w.with_bias(layer, here)
    if layer.activation is not Activation.SWISH:
        raise w.writing.refuse(here, "its gate is always of swish", layer.activation.value)
    return {"input_height": shape[-1], "output_height": layer.inner_size}


def _attention(w: _FirstWriter, layer: MultiHeadAttention, shape: Shape, here: str) -> dict[str, Any]:
    w.with_bias(layer, here)
    if layer.beyond_first():
        raise w.writing.refuse(here, "its attention has no such keys", ", ".join(layer.beyond_first()))
    is_known = layer.rope_freq_base == 10000.0 or (w.document and layer.rope_freq_base is not None)
    if not is_known or not layer.causal or layer.kv_heads != layer.num_heads or layer.padding_mask is not None:
        what = "its attention is causal, with rotation of base 10000 and as many key as query heads"
        got = f"causal {layer.causal}, rope_freq_base {layer.rope_freq_base}, {layer.kv_heads} key heads"
        raise w.writing.refuse(here, what, got)
    base = {"rope_freq_base": layer.rope_freq_base} if w.document else {}
    return {"d_model": shape[1], "num_heads": layer.num_heads, "seq_length": shape[0], **base}


def _embedding(w: _FirstWriter, layer: Embedding, shape: Shape, here: str) -> dict[str, Any]:
    del w, shape, here
    return {"vocab_size": layer.vocab_size, "embedding_dim": layer.embedding_dim}


def _softmax(w: _FirstWriter, layer: Softmax, shape: Shape, here: str) -> dict[str, Any]:
    del shape
    if layer.variant is Variant.GUMBEL and not layer.noise:
        raise w.writing.refuse(here, "its gumbel softmax always has noise", "noise: false")
    given = {ours: value for ours, value in write_object(layer).items() if ours in _SOFTMAX}
    return {"softmax_variant": layer.variant.value, "temperature": layer.temperature} | {
        _SOFTMAX[ours]: value for ours, value in given.items()
    }


def _parallel(w: _FirstWriter, layer: Parallel, shape: Shape, here: str) -> dict[str, Any]:
    del shape
    if not w.document and (layer.combine_mode not in _MODES or layer.gate is not None):
        got = "a filter with a gate" if layer.gate is not None else layer.combine_mode.value
        raise w.writing.refuse(here, "it has no product of branches, and keeps no weights of a gate", got)
    made: dict[str, Any] = {"combine_mode": layer.combine_mode.value}
    if layer.combine_mode is ParallelMode.FILTER:
        soft = _softmax(w, layer.gate_softmax, (), here)
        made |= {"filter_softmax": soft.pop("softmax_variant"), "filter_temperature": soft.pop("temperature"), **soft}
    if layer.grid is not None:
        size = layer.grid
        made |= {"grid_output_rows": size.rows, "grid_output_cols": size.cols, "grid_output_layers": size.layers}
        made["grid_positions"] = [
            {"branch_index": i, "target_row": c.row, "target_col": c.col, "target_layer": c.layer}
            for i, c in enumerate(layer.grid_positions)
        ]
    return made


def _kmeans(w: _FirstWriter, layer: KMeans, shape: Shape, here: str) -> dict[str, Any]:
    if layer.distance_metric is not Distance.EUCLIDEAN and not w.document:
        raise w.writing.refuse(here, "its distances are euclidean", layer.distance_metric.value)
    features = shape if layer.attached_layer is None else layer.attached_layer.output_shape(shape)
    return {"num_clusters": layer.num_clusters, "cluster_dim": features[-1],
            "distance_metric": layer.distance_metric.value,
            "kmeans_temperature": layer.temperature, "kmeans_output_mode": layer.output_mode.value,
            "kmeans_learning_rate": layer.learning_rate}  # fmt: skip


_WRITERS: dict[type[Layer], Any] = {
    Dense: _dense, Conv1D: _conv1d, Conv2D: _conv2d, RNN: _recurrent, LSTM: _recurrent, LayerNorm: _norm,
    RMSNorm: _norm, SwiGLU: _swiglu, MultiHeadAttention: _attention, Softmax: _softmax, Parallel: _parallel,
    KMeans: _kmeans,
}  # fmt: skip
"""Config -> its keys in the first generation; types that its loader does not know are missing."""
_ONLY_DOCUMENTS: dict[type[Layer], Any] = {GRU: _recurrent, Embedding: _embedding, Stitch: _stitch}
"""Those that its documents have, and its bundles not."""
