"""Networks written as the second generation has them: layers in a volume, with their weights or without.

Layer: nn. Invariant: what is written is read back, by the reader of that generation, as a network that computes the
same; what would not be is refused by the layer's name, or, if losses are allowed, noted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import f32
from loom.core.errors import ArgumentError, near_matches
from loom.formats.json_text import base64_text, canonical
from loom.nn.spec.base.activations import Activation
from loom.nn.spec.base.layer import Layer, Part, Shape, Shared
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.base.shapes import count
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.nn.spec.layers.dense import Dense
from loom.nn.spec.layers.embedding import Embedding
from loom.nn.spec.layers.nested import Distance, KMeans, Residual, Sequential
from loom.nn.spec.layers.norm import LayerNorm, RMSNorm
from loom.nn.spec.layers.parallel import Parallel, ParallelMode
from loom.nn.spec.layers.recurrent import LSTM, RNN
from loom.nn.spec.layers.softmax import Softmax, Variant
from loom.nn.spec.layers.swiglu import SwiGLU
from loom.nn.spec.network import NetworkSpec, ProductPrecision
from loom.nn.spec.older.compare import changes_nothing
from loom.nn.spec.older.names import type_name
from loom.nn.spec.older.packed import KINDS, decode, encode
from loom.nn.spec.older.second import read_second
from loom.nn.spec.older.second_weights import has_weights, join
from loom.nn.spec.older.writing import Writing, within, write_compared

__all__ = ["write_second"]

Config = dict[str, Any]
_ACTIVATIONS = {
    Activation.LINEAR: "linear", Activation.RELU: "relu", Activation.SWISH: "silu", Activation.GELU_TANH: "gelu",
    Activation.TANH: "tanh", Activation.SIGMOID: "sigmoid", Activation.LEAKY_RELU_001: "leakyrelu",
    Activation.RELU2: "relu2",
}  # fmt: skip
"""The functions that the second generation has; it makes linear of every other name."""
_BIASES = "its dense and convolutional layers have no bias"
_MODES = (ParallelMode.CONCAT, ParallelMode.ADD, ParallelMode.AVG)
_SOFTMAXES = (Variant.STANDARD, Variant.GRID, Variant.TEMPERATURE, Variant.GUMBEL, Variant.SPARSE, Variant.ENTMAX)


def write_second(
    network: NetworkSpec, name: str, where: str, *, weights: Mapping[str, Array] | None = None,
    element: str = "float32", lossy: bool = False,
) -> tuple[str, tuple[str, ...]]:  # fmt: skip
    """Return a network's text as the second generation has it, and what changed.

    Args:
        network: Description of a network.
        name: Name of the network.
        where: Beginning of errors' texts.
        weights: Arrays by name; None: they are left out.
        element: Type of the weights' elements.
        lossy: Whether what is lost is noted instead of refused, where something near can be said.

    Raises:
        ArgumentError: A part that cannot be said; the second generation stores no such type.
    """
    kind = type_name(element) if element else None
    if kind is None:
        raise ArgumentError(where, "the second generation stores no such type", expected=", ".join(KINDS), got=element,
                            remedy=near_matches(element, KINDS) or "Choose one of them")  # fmt: skip
    writing = Writing(where, "second", lossy, weights)
    if len(network.inputs) != 1 or len(network.outputs) != 1 or network.outputs[0] != network.nodes[-1].name:
        raise writing.refuse(where, "its networks have one input and one output, the last layer's",
                             f"{len(network.inputs)} inputs, {len(network.outputs)} outputs")  # fmt: skip
    if network.dtype is not f32:
        writing.lose(where, "its programs compute in f32", str(network.dtype))
    if network.precision is not ProductPrecision.FULL:
        writing.lose(where, "its programs round no operands of products", network.precision.value)
    lost = dict(writing.notes)
    writing.sums |= {
        n.name for n in network.nodes if isinstance(n.layer, Merge) and n.layer.combine_mode is Combine.ADD
    }
    writers: list[_SecondWriter] = []

    def write(network: NetworkSpec, writing: Writing) -> Config:
        writing.notes |= lost
        writers[:] = [_SecondWriter(writing, kind)]
        return writers[0].config(network, name)

    older = write_compared(network, writing, write, read_second)
    notes = [*older.notes, *writers[0].changes]
    return canonical(older.config), tuple(notes)


class _SecondWriter:
    """What makes a config; ``changes``: what its element type changed of weights."""

    def __init__(self, writing: Writing, element: str) -> None:
        self.writing, self.where, self.element = writing, writing.where, element
        self.changes: list[str] = []
        self.name = ""
        """Name of the layer that is being written."""

    def config(self, network: NetworkSpec, name: str) -> Config:
        shapes = network.shapes()
        layers: list[Config] = []
        for node in network.nodes:
            if node.name in self.writing.sums:
                layers.append(self.layer("Residual", input_height=count(shapes[node.name])))
            else:
                layers += self.write(Part(node.name, node.layer, shapes[node.inputs[0]]))
        rows, cols, each = 1, 1, len(layers)
        if network.grid is not None and network.grid.cells == len(layers):
            rows, cols, each = network.grid.rows, network.grid.cols, network.grid.layers
        for number, layer in enumerate(layers):
            place, at = divmod(number, each)
            layer |= {"z": 0, "y": place // cols, "x": place % cols, "l": at}
        return {"id": name, "depth": 1, "rows": rows, "cols": cols, "layers_per_cell": each, "layers": layers}

    def layer(self, kind: str, **fields: Any) -> Config:
        told = {"type": kind, "activation": "linear", "dtype": self.element, **fields}
        return {k: v for k, v in told.items() if v is not None}

    def write(self, part: Part) -> list[Config]:
        """Return what a layer becomes: none for a change of shape, which is not said there, else one or two."""
        layer, shape = part.layer, part.shape
        here = f"{self.where}, layer {part.name!r}"
        if changes_nothing(layer):
            return []
        if isinstance(layer, (Sequential, Residual)):
            inner = [each for p in layer.parts(shape) for each in self.write(within(part, p))]
            one = inner if len(inner) < 2 else [self.layer("Sequential", sequential_layers=inner)]
            return [*one, self.layer("Residual", input_height=count(shape))] if isinstance(layer, Residual) else one
        if layer.kind == "dropout":
            self.writing.lose(here, "it has no dropout, which changes nothing but training", "dropout")
            return []
        write = _WRITERS.get(type(layer))
        if write is None or isinstance(layer, Shared):
            raise self.writing.refuse(here, "it has no such layer", layer.kind)
        self.name = part.name
        made = write(self, layer, shape, here)
        if isinstance(layer, Parallel):
            made["parallel_branches"] = [self.branch(within(part, p)) for p in layer.parts(shape)]
        if self.writing.weights is not None and has_weights(layer.kind):
            made |= self.weights(layer, part, here)
        return [made]

    def branch(self, part: Part) -> Config:
        """Return what a layer within another becomes."""
        made = self.write(part)
        if not made:
            raise self.writing.refuse(f"{self.where}, layer {part.name!r}", "it has no branch that changes nothing",
                                      part.layer.kind)  # fmt: skip
        return made[0] if len(made) == 1 else self.layer("Sequential", sequential_layers=made)

    def weights(self, layer: Layer, part: Part, here: str) -> Config:
        """Return the keys of a layer's weights, and note what their element type changes."""
        assert self.writing.weights is not None
        shapes = layer.parameters(part.shape)
        held = {name: self.writing.weights[f"{part.name}.{name}"] for name in shapes}
        flat = join(layer.kind, held, _all_shapes(layer, part.shape))
        if self.element[0] == "u" and (flat < 0).any():
            self.writing.lose(here, f"{self.element} has no negative weights", f"{flat.min():.6g}")
        data, scale = encode(self.element, flat)
        again = decode(self.element, data, flat.size, scale, Place(Reading()))
        if again is None:
            raise self.writing.refuse(
                here, f"its weights are no numbers of {self.element}", f"{np.abs(flat).max():.6g}"
            )
        change = float(np.abs(again.astype(np.float64) - flat).max())
        if change:
            self.changes.append(f"{part.name}: weights as {self.element}, largest change {change:.3g}")
        return {"weights": base64_text(data), "native": True, "scale": scale}

    def function(self, layer: Any, here: str) -> str:
        """Return the name of a layer's activation."""
        if layer.activation not in _ACTIVATIONS:
            names = ", ".join(_ACTIVATIONS.values())
            self.writing.lose(here, f"it makes linear of every activation but {names}", layer.activation.value)
            return "linear"
        return _ACTIVATIONS[layer.activation]

    def without_bias(self, layer: Any, here: str) -> None:
        """See that a bias that the layer has here and not there is of zeros."""
        if not layer.bias:
            return
        held = None if self.writing.weights is None else self.writing.weights.get(f"{self.name}.bias")
        if held is None:
            self.writing.lose(here, "its dense and convolutional layers have no bias", "one that would be trained")
        elif np.any(held):
            self.writing.lose(
                here, "its dense and convolutional layers have no bias", f"sizes to {np.abs(held).max():.6g}"
            )
        else:
            self.writing.note(here, "its dense and convolutional layers have no bias: zeros are left out")


def _all_shapes(layer: Layer, shape: Shape) -> dict[str, Shape]:
    """Return the shapes of all weights that the layer has there: biases too."""
    whole = dataclasses.replace(layer, bias=True) if hasattr(layer, "bias") else layer  # pyright: ignore[reportCallIssue]
    return whole.parameters(shape)


def _dense(w: _SecondWriter, layer: Dense, shape: Shape, here: str) -> Config:
    w.without_bias(layer, here)
    return w.layer("Dense", activation=w.function(layer, here), input_height=shape[-1], output_height=layer.output_size)


def _conv1d(w: _SecondWriter, layer: Conv1D, shape: Shape, here: str) -> Config:
    w.without_bias(layer, here)
    return w.layer("CNN1", activation=w.function(layer, here), input_channels=shape[0], filters=layer.filters,
                   kernel_size=layer.kernel_size, stride=layer.stride, padding=layer.padding, input_height=shape[1],
                   output_height=layer.output_shape(shape)[1])  # fmt: skip


def _conv2d(w: _SecondWriter, layer: Conv2D, shape: Shape, here: str) -> Config:
    w.without_bias(layer, here)
    for name in ("kernel_size", "stride", "padding"):
        if len(set(getattr(layer, name))) != 1:
            raise w.writing.refuse(here, f"its {name} is one number for rows and columns", str(getattr(layer, name)))
    output = layer.output_shape(shape)
    return w.layer("CNN2", activation=w.function(layer, here), input_channels=shape[0], filters=layer.filters,
                   kernel_size=layer.kernel_size[0], stride=layer.stride[0], padding=layer.padding[0],
                   input_height=shape[1], input_width=shape[2], output_height=output[1], output_width=output[2],
                   )  # fmt: skip


def _recurrent(w: _SecondWriter, layer: RNN | LSTM, shape: Shape, here: str) -> Config:
    del here
    kind = "RNN" if isinstance(layer, RNN) else "LSTM"
    return w.layer(kind, input_height=shape[1], output_height=layer.hidden_size, seq_length=shape[0])


def _norm(w: _SecondWriter, layer: LayerNorm | RMSNorm, shape: Shape, here: str) -> Config:
    is_rms = isinstance(layer, RMSNorm)
    if layer.epsilon != (1e-6 if is_rms else 1e-5):
        w.writing.lose(here, f"its epsilon is {1e-6 if is_rms else 1e-5:g}", f"{layer.epsilon:g}")
    return w.layer("RMSNorm" if is_rms else "LayerNorm", input_height=shape[-1], seq_length=_rows(shape))


def _rows(shape: Shape) -> int | None:
    return count(shape[:-1]) if len(shape) > 1 else None


def _swiglu(w: _SecondWriter, layer: SwiGLU, shape: Shape, here: str) -> Config:
    if layer.activation is not Activation.SWISH:
        raise w.writing.refuse(here, "its gate is always of swish", layer.activation.value)
    if not layer.bias:
        w.writing.note(here, "its layers have biases: zeros are written")
    return w.layer("SwiGLU", input_height=shape[-1], output_height=layer.inner_size, seq_length=_rows(shape))


def _attention(w: _SecondWriter, layer: MultiHeadAttention, shape: Shape, here: str) -> Config:
    if layer.beyond_first():
        raise w.writing.refuse(here, "its attention has no such keys", ", ".join(layer.beyond_first()))
    if layer.rope_freq_base is None or not layer.causal or layer.padding_mask is not None:
        raise w.writing.refuse(here, "its attention is causal, with rotation",
                               f"causal {layer.causal}, rope_freq_base {layer.rope_freq_base}")  # fmt: skip
    if not layer.bias:
        w.writing.note(here, "its layers have biases: zeros are written")
    return w.layer("MultiHeadAttention", d_model=shape[1], num_heads=layer.num_heads, num_kv_heads=layer.kv_heads,
                   head_dim=layer.head_size(shape[1]), seq_length=shape[0], rope_freq_base=layer.rope_freq_base,
                   )  # fmt: skip


def _softmax(w: _SecondWriter, layer: Softmax, shape: Shape, here: str) -> Config:
    if layer.variant not in _SOFTMAXES:
        raise w.writing.refuse(here, "it keeps nothing of this softmax but its name", layer.variant.value)
    total = count(shape)
    return w.layer("Softmax", input_height=total, output_height=total, softmax_type=layer.variant.value.capitalize(),
                   temperature=layer.temperature, softmax_rows=layer.rows, softmax_cols=layer.cols,
                   entmax_alpha=layer.alpha if layer.variant is Variant.ENTMAX else None,
                   gumbel_noise=layer.noise if layer.variant is Variant.GUMBEL else None)  # fmt: skip


def _embedding(w: _SecondWriter, layer: Embedding, shape: Shape, here: str) -> Config:
    del here
    return w.layer("Embedding", vocab_size=layer.vocab_size, embedding_dim=layer.embedding_dim, seq_length=shape[0])


def _kmeans(w: _SecondWriter, layer: KMeans, shape: Shape, here: str) -> Config:
    if layer.attached_layer is not None or layer.distance_metric is not Distance.EUCLIDEAN:
        raise w.writing.refuse(here, "its clusters are of the input, by euclidean distance",
                               layer.distance_metric.value)  # fmt: skip
    return w.layer("KMeans", num_clusters=layer.num_clusters, input_height=shape[-1],
                   output_mode=layer.output_mode.value, kmeans_temperature=layer.temperature)  # fmt: skip


def _parallel(w: _SecondWriter, layer: Parallel, shape: Shape, here: str) -> Config:
    del shape
    if layer.combine_mode not in _MODES:
        raise w.writing.refuse(here, "it joins branches by concat, add or avg", layer.combine_mode.value)
    return w.layer("Parallel", combine_mode=layer.combine_mode.value)


_WRITERS: dict[type[Layer], Any] = {
    Dense: _dense, Conv1D: _conv1d, Conv2D: _conv2d, RNN: _recurrent, LSTM: _recurrent, LayerNorm: _norm,
    RMSNorm: _norm, SwiGLU: _swiglu, MultiHeadAttention: _attention, Softmax: _softmax, Embedding: _embedding,
    KMeans: _kmeans, Parallel: _parallel,
}  # fmt: skip
"""Config -> its keys in the second generation."""
