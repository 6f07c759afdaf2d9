"""Layer 4: networks of JSON documents, every kind of layer there and back, every optimiser, two trainings.

Layer: proof. A row is a case's name, its inputs and what is computed. Weights are inputs too, made of integers alone,
so that no device takes part in what it is judged by. Invariant: any change in the order of a float operation of a
layer, its gradient, a loss or an optimiser changes a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import f32, u32
from loom.formats.json_text import JsonObject
from loom.nn.integer import quantised
from loom.nn.spec import NetworkSpec, parse
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.losses import CLASS_LOSSES, LOSSES
from loom.nn.train.optimizers import OPTIMIZERS, SGD, optimizer_of
from loom.nn.weights.model import Model
from loom.proof.inputs import numbers, seed_of, words
from loom.runtime.port.device import Device

__all__ = ["NETWORKS"]

Bits = np.ndarray[Any, Any]
_Row = tuple[str, Callable[[], Sequence[Bits]], Callable[..., Sequence[Bits]]]
_BATCH = 3
_STEPS = 20
_STEP = 5
"""The number of the step whose noise a layer draws."""


def _floats(shape: tuple[int, ...], name: str) -> Bits:
    """Return numbers of either sign from 1/32 to 1/2."""
    return numbers(shape, f32, seed_of(name), spread=2) * np.float32(0.125)


def _classes(shape: tuple[int, ...], count: int, name: str) -> Bits:
    """Return whole numbers below ``count``."""
    return (words(int(np.prod(shape)), seed_of(name)) % np.uint32(count)).astype(np.int32).reshape(shape)


def _weights(network: NetworkSpec, name: str) -> list[Bits]:
    """Return all weights and state, in the order of the network's; variances are positive."""
    shapes = network.parameters() | network.state()
    found = {key: _floats(shape, f"{name} {key}") for key, shape in shapes.items()}
    return [np.abs(w) if key.endswith("variance") else w for key, w in found.items()]


def _model(network: NetworkSpec, device: Device, weights: Sequence[Bits]) -> Model:
    model = Model(network, device)
    model.load(dict(zip(network.parameters() | network.state(), weights, strict=True)))
    return model


# one layer, there and back


def _layer(name: str, shape: tuple[int, ...], layer: dict[str, Any], *, ids: int = 0, training: bool = False) -> _Row:
    """Return a case: output of a layer, then gradients of sum(output c) by weights and input (none of ``ids``)."""
    what: JsonObject = {"shape": list(shape), "dtype": "i32" if ids else "f32"}
    document: JsonObject = {"format": "loom/1", "seed": 43, "input": what, "layers": [layer]}
    case = f"layer {name}"

    def inputs() -> Sequence[Bits]:
        network = parse(document)
        x = (_BATCH, *shape)
        of_output = (_BATCH, *network.shapes()[network.outputs[0]])
        given = _classes(x, ids, case) if ids else _floats(x, case) * np.float32(8)
        return [given, _floats(of_output, f"{case} c"), *_weights(network, case)]

    return case, inputs, partial(_there_and_back, document, training)


def _there_and_back(
    document: dict[str, Any], training: bool, device: Device, x: Bits, c: Bits, *weights: Bits
) -> Sequence[Bits]:
    model = _model(parse(document), device, weights)
    fed = tensor.input("x", x.shape, "i32" if x.dtype == np.int32 else f32)
    y = model.apply(fed, training=training, step=tensor.array(_STEP, u32, on=device))
    wrt = [*model.parameters.values(), *([] if x.dtype == np.int32 else [fed])]
    slopes = tensor.grad((y * tensor.input("c", c.shape, f32)).sum(), wrt) if wrt else []
    program = tensor.compile([y, *slopes, *(new for _, new in model.state_updates)], on=device)
    program.run(x=x, c=c)
    return program.read()


_DENSE = {"type": "dense", "output_size": 5}
_BRANCHES = [_DENSE, {"type": "dense", "output_size": 5, "activation": "tanh"}]
_ACTIVATIONS = (
    "relu", "scaled_relu", "leaky_relu", "relu2", "sigmoid", "tanh", "softplus", "elu", "selu", "gelu", "gelu_tanh",
    "swish", "mish",
)  # fmt: skip
_SOFTMAXES: tuple[dict[str, Any], ...] = (
    {"variant": "standard"}, {"variant": "temperature", "temperature": 0.5}, {"variant": "gumbel"},
    {"variant": "grid", "rows": 2, "cols": 3}, {"variant": "masked", "mask": [True, False, True, True, False, True]},
    {"variant": "mixture", "weights": [0.25, 0.75]}, {"variant": "hierarchical", "levels": [2, 3]},
    {"variant": "adaptive", "clusters": [[2, 0], [3, 1], [4, 5]]}, {"variant": "sparse"}, {"variant": "entmax"},
)  # fmt: skip

_LAYERS: tuple[_Row, ...] = (
    _layer("dense", (7,), _DENSE),
    *(_layer(f"activation {f}", (67,), {"type": "activation", "function": f}) for f in _ACTIVATIONS),
    _layer("conv1d", (2, 9), {"type": "conv1d", "filters": 3, "kernel_size": 3, "stride": 2, "padding": 1}),
    _layer("conv2d", (2, 7, 6), {"type": "conv2d", "filters": 3, "kernel_size": [3, 2], "stride": [2, 1],
           "padding": [1, 0]}),
    _layer("max_pool", (2, 7, 6), {"type": "max_pool", "pool_size": [3, 2], "stride": [2, 1], "padding": [1, 0]}),
    _layer("average_pool", (2, 7, 6), {"type": "average_pool", "pool_size": 2, "stride": 2, "padding": 1}),
    _layer("layer_norm", (2, 37), {"type": "layer_norm"}),
    _layer("rms_norm", (2, 37), {"type": "rms_norm"}),
    _layer("batch_norm", (3, 5, 4), {"type": "batch_norm"}, training=True),
    _layer("dropout", (67,), {"type": "dropout", "rate": 0.4}, training=True),
    _layer("embedding", (5,), {"type": "embedding", "vocab_size": 7, "embedding_dim": 3}, ids=7),
    _layer("swiglu", (2, 5), {"type": "swiglu", "inner_size": 7}),
    _layer("rnn", (3, 3), {"type": "rnn", "hidden_size": 5}),
    _layer("lstm", (2, 3), {"type": "lstm", "hidden_size": 5}),
    _layer("gru", (2, 3), {"type": "gru", "hidden_size": 5}),
    _layer("multi_head_attention", (5, 8), {"type": "multi_head_attention", "num_heads": 2, "num_kv_heads": 1,
           "causal": True, "rope_freq_base": 100.0}),
    _layer("multi_head_attention, all keys", (5, 12), {"type": "multi_head_attention", "num_heads": 2, "causal": True,
           "rope_freq_base": 100.0, "rope_dims": 4, "rope_interleaved": True, "rope_factors": [1.0, 2.5],
           "qk_norm_epsilon": 1e-6, "scale": 0.25, "window": 3, "relative_buckets": 8, "output_bias": False}),
    _layer("unembedding", (5,), {"type": "sequential", "layers": [
           {"type": "embedding", "vocab_size": 7, "embedding_dim": 3},
           {"type": "unembedding", "table": "layers.0.layers.0", "vocab_size": 7}]}, ids=7),
    _layer("position_embedding", (5, 3), {"type": "position_embedding", "max_positions": 7}),
    _layer("permute", (3, 5), {"type": "permute", "axes": [1, 0]}),
    _layer("normalize", (2, 37), {"type": "normalize"}),
    _layer("class_token", (3, 5), {"type": "class_token"}),
    *(_layer(f"token_pool {m}", (7, 5), {"type": "token_pool", "mode": m}) for m in ("mean", "last", "max")),
    _layer("kmeans", (5,), {"type": "kmeans", "num_clusters": 3}),
    *(_layer(f"softmax {s['variant']}", (6,), {"type": "softmax"} | s, training=True) for s in _SOFTMAXES),
    *(_layer(f"parallel {m}", (6,), {"type": "parallel", "branches": _BRANCHES, "combine_mode": m})
      for m in ("concat", "add", "avg", "multiply")),
    _layer("parallel filter", (6,), {"type": "parallel", "branches": _BRANCHES, "combine_mode": "filter",
           "gate": {"type": "dense", "output_size": 2}}),
    _layer("residual", (5,), {"type": "residual", "layers": [_DENSE, {"type": "activation", "function": "tanh"}]}),
)  # fmt: skip


# losses and optimisers


def _loss(name: str) -> _Row:
    """Return a case: a loss of 37 rows and its gradient."""
    shape, case = (37, 5), f"loss {name}"

    def inputs() -> Sequence[Bits]:
        target = _classes(shape[:1], 5, f"{case} y") if name in CLASS_LOSSES else np.abs(_floats(shape, f"{case} y"))
        return [_floats(shape, case) * np.float32(8), target]

    return case, inputs, partial(_loss_and_slope, name)


def _loss_and_slope(name: str, device: Device, x: Bits, y: Bits) -> Sequence[Bits]:
    fed, target = tensor.input("x", x.shape, f32), tensor.input("y", y.shape, "i32" if y.dtype == np.int32 else f32)
    value = LOSSES[name](fed, target)
    program = tensor.compile([value, *tensor.grad(value, [fed])], on=device)
    program.run(x=x, y=y)
    return program.read()


def _train(
    document: dict[str, Any] | Path, config: TrainConfig, device: Device, x: Bits, y: Bits, *weights: Bits
) -> Sequence[Bits]:
    """Return the loss of each step, then all weights and state; step k is of batch k."""
    model = _model(parse(document), device, weights)
    x_type = model.network.inputs[0].dtype
    trainer = Trainer(model, config, x_type=x_type)
    losses = np.array([trainer.train_batch(*batch) for batch in zip(x, y, strict=True)], np.float32)
    return [losses, *trainer.arrays().values()]


def _training(case: str, document: dict[str, Any] | Path, steps: int, batch: int, ids: int, classes: int,
              config: TrainConfig) -> _Row:  # fmt: skip
    """Return a case: so many steps of training; inputs are ``ids`` below that number, or floats if it is 0."""

    def inputs() -> Sequence[Bits]:
        network = parse(document)
        shape = (steps, batch, *network.inputs[0].shape)
        target = (steps, batch, *network.shapes()[network.outputs[0]][:-1])
        x = _classes(shape, ids, case) if ids else _floats(shape, case) * np.float32(8)
        return [x, _classes(target, classes, f"{case} y"), *_weights(network, case)]

    return case, inputs, partial(_train, document, config)


def _optimizer(name: str, **settings: Any) -> _Row:
    small = {"format": "loom/1", "input": {"shape": [4]}, "layers": [_DENSE]}
    told = "".join(f", {key}" for key in settings)
    made = optimizer_of(name, **settings)
    config = TrainConfig(loss="cross_entropy", optimizer=made, learning_rate=0.0625)
    return _training(f"optimizer {name}{told}", small, 5, 3, 0, 5, config)


def _file(name: str) -> Path:
    return Path(__file__).with_name(name)


_ADAMW = TrainConfig(loss="cross_entropy", optimizer=optimizer_of("adamw"), learning_rate=0.015625)
_SGD = TrainConfig(loss="cross_entropy", optimizer=optimizer_of("sgd", momentum=0.875), learning_rate=0.0625)

_PARTS: dict[str, Any] = {
    "format": "loom/1", "seed": 43, "input": {"shape": [6]}, "layers": [
        {"type": "dense", "output_size": 7, "activation": "tanh"}, {"type": "batch_norm"},
        {"type": "dropout", "rate": 0.375}, {"type": "dense", "output_size": 3},
    ],
}  # fmt: skip
_CUT = TrainConfig(
    loss="cross_entropy", optimizer=optimizer_of("adam"), learning_rate=0.0625, batch_size=5, micro_batch=2
)
"""Three micro-batches, the last of one sample: the tree carries it up, and there are two shares."""

_INTEGERS: dict[str, Any] = {
    "format": "loom/1", "seed": 43, "input": {"shape": [1, 6, 6]}, "layers": [
        {"type": "conv2d", "filters": 3, "kernel_size": 3, "activation": "relu"}, {"type": "max_pool", "pool_size": 2},
        {"type": "flatten"}, {"type": "dense", "output_size": 3},
    ],
}  # fmt: skip


def _whole(dtype: str, device: Device, x: Bits, y: Bits, *weights: Bits) -> Sequence[Bits]:
    """Return all numbers of a network of integers after a training, and its output."""
    network = parse(_INTEGERS)
    net = quantised(network, dict(zip(network.parameters(), weights, strict=True)), dtype, x, device)
    net.train(x, y, epochs=2, batch_size=4, learning_rate=0.125, optimizer=SGD(momentum=0.5), seed=7)
    return [*net.numbers().values(), net.forward_integers(x)["layers.3"][0]]


def _integers(dtype: str) -> _Row:
    """Return a case: a training in integers, stochastic rounding and all."""
    case = f"integers {dtype}"

    def inputs() -> Sequence[Bits]:
        x = _floats((12, 1, 6, 6), case) * np.float32(8)
        return [x, _classes((12,), 3, f"{case} y"), *_weights(parse(_INTEGERS), case)]

    return case, inputs, partial(_whole, dtype)


NETWORKS: tuple[_Row, ...] = (
    *_LAYERS,
    *map(_loss, LOSSES),
    *map(_optimizer, OPTIMIZERS),
    _optimizer("sgd", momentum=0.875, nesterov=True),
    _training("20 steps of a transformer", _file("transformer.json"), _STEPS, 4, 11, 11, _ADAMW),
    _training("20 steps of a convnet", _file("convnet.json"), _STEPS, 6, 0, 3, _SGD),
    *map(_integers, ("int8", "int16")),
    _training("3 steps of micro-batches", _PARTS, 3, 5, 0, 3, _CUT),
)
"""Every case of layer 4."""
