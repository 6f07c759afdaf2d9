"""Small networks that have every layer, activation, loss, optimiser, schedule and type between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loom.nn.train.losses import LOSSES, PADDING
from loom.nn.train.optimizers import OPTIMIZERS, optimizer_of
from loom.nn.train.schedules import Cosine, Warmup

SAMPLES, CLASSES = 19, 3
Layers = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A document, what it is trained with, and settings beside ``SETTINGS``."""

    document: dict[str, Any]
    samples: Callable[[Any], tuple[Any, Any]]
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


def floats(random: Any, *shape: int) -> Any:
    return random.normal(size=(SAMPLES, *shape)).astype(np.float32)


def classes(random: Any, *shape: int) -> Any:
    return random.integers(0, CLASSES, (SAMPLES, *shape)).astype(np.int32)


def told_apart(shape: tuple[int, ...], layers: Layers, *, ids: int = 0, settings: Any = (), **keys: Any) -> Case:
    """Return a network of layers and a head of three classes."""
    head = [{"type": "flatten"}, {"type": "dense", "output_size": CLASSES}]
    what = {"shape": list(shape), "dtype": "i32" if ids else "f64" if keys.get("dtype") == "f64" else "f32"}

    def samples(random: Any) -> tuple[Any, Any]:
        x = random.integers(0, ids, (SAMPLES, *shape)).astype(np.int32) if ids else floats(random, *shape)
        return x.astype(np.float64) if what["dtype"] == "f64" else x, classes(random)

    return Case({"format": "loom/1", "input": what, "layers": [*layers, *head], **keys}, samples, dict(settings))


DENSE = {"type": "dense", "output_size": 5}
SMALL: Layers = [{**DENSE, "activation": "tanh"}]
BRANCHES = [DENSE, {"type": "dense", "output_size": 5, "activation": "gelu"}]
ATTENTION = {"type": "multi_head_attention", "num_heads": 2}
ACTIVATIONS = (
    "linear", "relu", "scaled_relu", "leaky_relu", "relu2", "sigmoid", "tanh", "softplus", "elu", "selu", "gelu",
    "gelu_tanh", "swish", "mish",
)  # fmt: skip
SOFTMAXES: Layers = [
    {"variant": "standard"}, {"variant": "temperature", "temperature": 0.5}, {"variant": "gumbel"},
    {"variant": "grid", "rows": 2, "cols": 3}, {"variant": "masked", "mask": [True, False, True, True, False, True]},
    {"variant": "mixture", "weights": [0.25, 0.75]}, {"variant": "hierarchical", "levels": [2, 3]},
    {"variant": "adaptive", "clusters": [[2, 0], [3, 1], [4, 5]]}, {"variant": "sparse"}, {"variant": "entmax"},
]  # fmt: skip

LAYERS: dict[str, Case] = {
    **{f"activation {f}": told_apart((9,), [{"type": "activation", "function": f}]) for f in ACTIVATIONS},
    "conv1d": told_apart((2, 9), [{"type": "conv1d", "filters": 3, "kernel_size": 3, "stride": 2, "padding": 1}]),
    "conv2d": told_apart((2, 7, 6), [
        {"type": "conv2d", "filters": 3, "kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0]}]),
    "max_pool": told_apart((2, 7, 6), [{"type": "max_pool", "pool_size": [3, 2], "stride": [2, 1], "padding": [1, 0]}]),
    "average_pool": told_apart((2, 7, 6), [{"type": "average_pool", "pool_size": 2, "stride": 2, "padding": 1}]),
    "layer_norm": told_apart((2, 7), [{"type": "layer_norm"}]),
    "rms_norm": told_apart((2, 7), [{"type": "rms_norm"}]),
    "batch_norm": told_apart((3, 5, 4), [{"type": "batch_norm"}]),
    "scale": told_apart((6,), [{"type": "scale"}]),
    "dropout": told_apart((9,), [{"type": "dropout", "rate": 0.4}]),
    "embedding": told_apart((5,), [{"type": "embedding", "vocab_size": 7, "embedding_dim": 3}], ids=7),
    "swiglu": told_apart((2, 5), [{"type": "swiglu", "inner_size": 7}]),
    "rnn": told_apart((3, 3), [{"type": "rnn", "hidden_size": 5}]),
    "lstm": told_apart((3, 3), [{"type": "lstm", "hidden_size": 5, "output": "last"}]),
    "gru": told_apart((3, 3), [{"type": "gru", "hidden_size": 5}]),
    "attention": told_apart((5, 8), [{**ATTENTION, "num_kv_heads": 1, "causal": True, "rope_freq_base": 100.0}]),
    "attention, all keys": told_apart((5, 12), [{
        **ATTENTION, "causal": True, "rope_freq_base": 100.0, "rope_dims": 4, "rope_interleaved": True, "rope_factors":
        [1.0, 2.5], "qk_norm_epsilon": 1e-6, "scale": 0.25, "window": 3, "relative_buckets": 8, "output_bias": False}]),
    "tokens": told_apart((2, 5), [{"type": "permute", "axes": [1, 0]}, {"type": "class_token"},
        {"type": "normalize"}, {"type": "token_pool", "mode": "mean"}]),
    "unembedding": told_apart((5,), [
        {"type": "embedding", "name": "table", "vocab_size": 7, "embedding_dim": 3}, {"type": "position_embedding",
         "max_positions": 5}, {"type": "unembedding", "table": "table", "vocab_size": 7}], ids=7),
    "kmeans": told_apart((5,), [{"type": "kmeans", "num_clusters": 3, "learning_rate": 0.5}]),
    "stitch": told_apart((5,), [{"type": "stitch", "output_size": 4}]),
    "reshape": told_apart((6,), [{"type": "reshape", "shape": [2, 3]}, DENSE]),
    "sequential": told_apart((6,), [{"type": "sequential", "layers": [DENSE, {"type": "softmax"}]}]),
    "residual": told_apart((5,), [{"type": "residual", "layers": BRANCHES}]),
    "lora": told_apart((3, 4), [
        {**ATTENTION, "lora": {"rank": 2, "alpha": 4, "dropout": 0.25, "targets": ["q", "v"]}},
        {"type": "swiglu", "inner_size": 5, "frozen": True}]),
    "shared": told_apart((5,), [{**DENSE, "name": "one"}, {"$ref": "one"}]),
    "frozen": told_apart((5,), [{**DENSE, "frozen": True}, DENSE]),
    **{f"softmax {s['variant']}": told_apart((6,), [{"type": "softmax"} | s]) for s in SOFTMAXES},
    **{
        f"parallel {m}": told_apart((6,), [{"type": "parallel", "branches": BRANCHES, "combine_mode": m}])
        for m in ("concat", "add", "avg", "multiply")
    },
    "mixture of experts": told_apart((6,), [
        {"type": "parallel", "branches": BRANCHES, "combine_mode": "filter", "gate": {"type": "dense",
         "output_size": 2}}]),
    "grid": told_apart((6,), [
        {"type": "parallel", "branches": BRANCHES, "combine_mode": "grid_scatter", "grid": {"rows": 1, "cols": 2},
         "grid_positions": [{"row": 0, "col": 1}, {"row": 0, "col": 0}]}]),
}  # fmt: skip


def _graph(random: Any) -> tuple[Any, Any]:
    return {"a": floats(random, 4), "b": floats(random, 3)}, {"c": classes(random), "d": floats(random, 2)}


def _masked(random: Any) -> tuple[Any, Any]:
    present = (np.arange(5) < random.integers(1, 6, (SAMPLES, 1))).astype(np.float32)
    tokens = random.integers(0, 7, (SAMPLES, 5)).astype(np.int32)
    return {"tokens": tokens, "present": present}, classes(random, 5)


GRAPHS = {
    "several inputs and outputs": Case({
        "format": "loom/1", "inputs": {"a": {"shape": [4]}, "b": {"shape": [3]}},
        "nodes": {
            "left": {"type": "dense", "output_size": 5, "inputs": ["a"]},
            "right": {"type": "dense", "output_size": 5, "inputs": ["b"]},
            "both": {"type": "merge", "combine_mode": "multiply", "inputs": ["left", "right"]},
            "c": {"type": "dense", "output_size": CLASSES, "inputs": ["both"]},
            "d": {"type": "dense", "output_size": 2, "inputs": ["both"]},
        }, "outputs": ["c", "d"],
    }, _graph, {"loss": {"c": "cross_entropy", "d": "huber"}}),
    "padding mask": Case({
        "format": "loom/1", "inputs": {"tokens": {"shape": [5], "dtype": "i32"}, "present": {"shape": [5]}},
        "nodes": {
            "embed": {"type": "embedding", "vocab_size": 7, "embedding_dim": 8, "inputs": ["tokens"]},
            "attend": {**ATTENTION, "padding_mask": "present", "inputs": ["embed"]},
            "head": {"type": "dense", "output_size": CLASSES, "inputs": ["attend"]},
        },
    }, _masked),
}  # fmt: skip


def _target(loss: str) -> Callable[[Any], tuple[Any, Any]]:
    def samples(random: Any) -> tuple[Any, Any]:
        chances = np.abs(np.tanh(floats(random, CLASSES)))
        return floats(random, 4), floats(random, CLASSES) if loss in ("mse", "mae", "huber") else chances

    return samples


def _plain(loss: str, **settings: Any) -> Case:
    document = told_apart((4,), SMALL).document
    return Case(document, _target(loss), {"loss": loss, **settings})


def _padded(random: Any) -> tuple[Any, Any]:
    """Return texts and the next symbol of each, of which padding counts nowhere; one of them is padding alone."""
    following = np.where(np.arange(6) < random.integers(1, 7, (SAMPLES, 1)), classes(random, 6), PADDING)
    following[3] = PADDING
    return random.integers(0, 7, (SAMPLES, 6)).astype(np.int32), following.astype(np.int32)


TOKENS: Layers = [
    {"type": "embedding", "vocab_size": 7, "embedding_dim": 4}, {"type": "dense", "output_size": CLASSES},
]  # fmt: skip
TEXT = {"format": "loom/1", "input": {"shape": [6], "dtype": "i32"}}
SETTINGS: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.02, "batch_size": 8, "seed": 5, "epochs": 2}
TRAININGS: dict[str, Case] = {
    **{f"loss {name}": _plain(name) for name in LOSSES if name != "nll"},
    "next_token": Case({**TEXT, "layers": TOKENS}, _padded, {"loss": "next_token"}),
    "next_token of probabilities": Case(
        {**TEXT, "layers": [*TOKENS, {"type": "softmax"}]}, _padded, {"loss": "next_token"}),
    "truths": Case({"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 1}]},
        lambda random: (floats(random, 4), random.integers(0, 2, (SAMPLES, 1))), {"loss": "binary_cross_entropy"}),
    "probabilities": Case({**told_apart((4,), SMALL).document, "layers": [
        {"type": "dense", "output_size": CLASSES}, {"type": "softmax"}]}, told_apart((4,), []).samples),
    **{f"optimizer {name}": told_apart((4,), SMALL, settings={"optimizer": name}) for name in OPTIMIZERS},
    "momentum": told_apart((4,), SMALL, settings={
        "optimizer": optimizer_of("sgd", momentum=0.875, nesterov=True, weight_decay=0.01)}),
    "dampening": told_apart((4,), SMALL, settings={"optimizer": optimizer_of("sgd", momentum=0.9, dampening=0.5)}),
    "rmsprop with momentum": told_apart((4,), SMALL, settings={"optimizer": optimizer_of("rmsprop", momentum=0.5)}),
    **{
        f"schedule {name}": told_apart((4,), SMALL, settings={"schedule": name})
        for name in ("linear", "cosine", "cosine_warm_restarts", "exponential", "step", "polynomial", "warmup")
    },
    "schedule of schedules": told_apart((4,), SMALL, settings={
        "schedule": Warmup(Cosine(0.1, 6), 2), "learning_rate": None}),
    "clipped": told_apart((4,), SMALL, settings={"clip_norm": 0.1, "clip_value": 0.05}),
    "not shuffled": told_apart((4,), SMALL, settings={"shuffle": False}),
    "one batch": told_apart((4,), SMALL, settings={"batch_size": 64}),
    "accumulated": told_apart((4,), SMALL, settings={"accumulate": 2, "schedule": "cosine"}),
    "patient": told_apart((4,), SMALL, settings={"patience": 0, "learning_rate": 0.5}),
    **{f"type {t}": told_apart((4,), [*SMALL, {"type": "layer_norm"}], dtype=t) for t in ("f64", "f16", "bf16")},
}  # fmt: skip

WINDOWS: Layers = [
    {"type": "conv2d", "filters": 16, "kernel_size": 3, "padding": 1, "activation": "relu"},
    {"type": "max_pool", "pool_size": 4}, {"type": "flatten"}, DENSE,
]  # fmt: skip
PRECISIONS = {
    f"precision {name}{of}": told_apart(shape, layers, precision=name)
    for of, shape, layers in (("", (9,), []), (" of windows", (4, 8, 8), WINDOWS))
    for name in ("q8", "q12", "q24", "x12")
}
"""Products in other orders: of matrices, and of windows that are read where they lie; with their gradients."""

EVERY = {**LAYERS, **GRAPHS, **TRAININGS, **PRECISIONS}
