"""Objects of layers by the older names: ``InitDenseLayer(784, 392, 0)`` and one for each type.

Layer: flow. Invariant: each returns the layer's object of a first-generation document, which alone says what is sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping, items

__all__ = [
    "InitConv1DLayer", "InitConv2DLayer", "InitDenseLayer", "InitEmbeddingLayer", "InitFilteredParallelLayer",
    "InitGRULayer", "InitKMeansLayer", "InitLSTMLayer", "InitLayerNormLayer", "InitMultiHeadAttentionLayer",
    "InitNormLayer", "InitParallelLayer", "InitRMSNormLayer", "InitRNNLayer", "InitResidualLayer",
    "InitSequentialLayer", "InitSoftmaxLayer", "InitStitchLayer", "InitSwiGLULayer",
]  # fmt: skip

Layer = dict[str, Any]


def InitDenseLayer(input_size: int, output_size: int, activation: int | str = 0) -> Layer:  # noqa: N802
    """Return a dense layer; ``activation``: a number (0 is relu) or a name."""
    return {"type": "dense", "input_size": input_size, "output_size": output_size, "activation": _function(activation)}


def InitConv2DLayer(  # noqa: N802
    input_height: int, input_width: int, input_channels: int, kernel_size: int, stride: int, padding: int,
    filters: int, activation: int | str = 0,
) -> Layer:  # fmt: skip
    """Return a convolution of images with a square kernel."""
    return {
        "type": "conv2d", "input_height": input_height, "input_width": input_width, "input_channels": input_channels,
        "kernel_size": kernel_size, "stride": stride, "padding": padding, "filters": filters,
        "activation": _function(activation),
    }  # fmt: skip


def InitConv1DLayer(  # noqa: N802
    input_length: int, input_channels: int, kernel_size: int, stride: int, padding: int, filters: int,
    activation: int | str = 0,
) -> Layer:  # fmt: skip
    """Return a convolution along one axis."""
    return {
        "type": "conv1d", "input_length": input_length, "input_channels": input_channels, "kernel_size": kernel_size,
        "stride": stride, "padding": padding, "filters": filters, "activation": _function(activation),
    }  # fmt: skip


def InitMultiHeadAttentionLayer(  # noqa: N802
    d_model: int, num_heads: int, seq_length: int, activation: int | str | None = None
) -> Layer:
    """Return causal attention; an ``activation`` is written into its object, and the reader says what becomes of it."""
    made: Layer = {"type": "multi_head_attention", "d_model": d_model, "num_heads": num_heads, "seq_length": seq_length}
    return made if activation is None else {**made, "activation": _function(activation)}


def InitRNNLayer(input_size: int, hidden_size: int, seq_length: int = 1) -> Layer:  # noqa: N802
    """Return a recurrent layer."""
    return _recurrent("rnn", input_size, hidden_size, seq_length)


def InitLSTMLayer(input_size: int, hidden_size: int, seq_length: int = 1) -> Layer:  # noqa: N802
    """Return a long short-term memory."""
    return _recurrent("lstm", input_size, hidden_size, seq_length)


def InitGRULayer(input_size: int, hidden_size: int, seq_length: int = 1) -> Layer:  # noqa: N802
    """Return a gated recurrent unit."""
    return _recurrent("gru", input_size, hidden_size, seq_length)


def InitLayerNormLayer(norm_size: int, epsilon: float = 1e-5) -> Layer:  # noqa: N802
    """Return a layer normalisation."""
    return {"type": "layer_norm", "norm_size": norm_size, "epsilon": epsilon}


def InitRMSNormLayer(norm_size: int, epsilon: float = 1e-5) -> Layer:  # noqa: N802
    """Return a normalisation by the root mean square."""
    return {"type": "rms_norm", "norm_size": norm_size, "epsilon": epsilon}


InitNormLayer = InitLayerNormLayer


def InitSwiGLULayer(input_size: int, intermediate_size: int) -> Layer:  # noqa: N802
    """Return a gated feed-forward block."""
    return {"type": "swiglu", "input_size": input_size, "output_size": intermediate_size}


def InitEmbeddingLayer(vocab_size: int, embedding_dim: int, seq_length: int | None = None) -> Layer:  # noqa: N802
    """Return a table of rows by token."""
    made: Layer = {"type": "embedding", "vocab_size": vocab_size, "embedding_dim": embedding_dim}
    return made if seq_length is None else {**made, "seq_length": seq_length}


def InitSoftmaxLayer(softmax_variant: int | str = "standard", **keys: Any) -> Layer:  # noqa: N802
    """Return a softmax of a variant; ``keys``: softmax_rows, softmax_cols, temperature, mask, ..."""
    return {"type": "softmax", "softmax_variant": softmax_variant, **keys}


def InitResidualLayer() -> Layer:  # noqa: N802
    """Return a layer that adds what the layer before took."""
    return {"type": "residual"}


def InitStitchLayer(input_size: int, output_size: int) -> Layer:  # noqa: N802
    """Return a linear map between two widths."""
    return {"type": "stitch", "input_size": input_size, "output_size": output_size}


def InitSequentialLayer(layers: Sequence[Mapping[str, Any]]) -> Layer:  # noqa: N802
    """Return layers one after another as one."""
    return {"type": "sequential", "branches": _objects(layers, "InitSequentialLayer, layers")}


def InitParallelLayer(  # noqa: N802
    branches: Sequence[Mapping[str, Any]], combine_mode: str = "concat", **keys: Any
) -> Layer:
    """Return branches side by side; ``keys``: grid_positions, grid_output_rows, ..., filter_gate, ..."""
    made = _objects(branches, "InitParallelLayer, branches")
    return {"type": "parallel", "branches": made, "combine_mode": combine_mode, **keys}


def InitFilteredParallelLayer(  # noqa: N802
    branches: Sequence[Mapping[str, Any]], gate_input_size: int, softmax_type: int | str = "standard",
    temperature: float = 1.0,
) -> Layer:  # fmt: skip
    """Return a mixture of experts with a dense gate of one number for each branch."""
    made = _objects(branches, "InitFilteredParallelLayer, branches")
    gate = InitDenseLayer(gate_input_size, len(made), "linear")
    keys = {"filter_gate": gate, "filter_softmax": softmax_type, "filter_temperature": temperature}
    return InitParallelLayer(made, "filter", **keys)


def InitKMeansLayer(  # noqa: N802
    num_clusters: int, attached_layer: Mapping[str, Any], output_mode: str = "probabilities", **keys: Any
) -> Layer:
    """Return trained centres of the features that a layer makes; ``keys``: distance_metric, kmeans_temperature, ..."""
    (attached,) = _objects([attached_layer], "InitKMeansLayer, attached_layer")
    return {
        "type": "kmeans", "num_clusters": num_clusters, "attached_layer": attached,
        "kmeans_output_mode": output_mode, **keys,
    }  # fmt: skip


def _objects(given: Any, where: str) -> list[Layer]:
    """Return layers' objects, each a dict of its own; ArgumentError for what is none."""
    found = items(given, f"loom.flow.dnvm.{where}", "layers")
    for each in found:
        if not is_mapping(each):
            raise ArgumentError(f"loom.flow.dnvm.{where}", "not a layer", expected="what an Init...Layer returned",
                                got=repr(each)[:80], remedy="Use InitDenseLayer(4, 8, 0)")  # fmt: skip
    return [dict(each) for each in found]


def _recurrent(kind: str, input_size: int, hidden_size: int, seq_length: int) -> Layer:
    return {"type": kind, "input_size": input_size, "hidden_size": hidden_size, "seq_length": seq_length}


def _function(activation: int | str) -> int | str:
    return int(activation) if isinstance(activation, int) else activation
