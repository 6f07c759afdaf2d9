"""The benchmark of numeric types over every kind of layer that has weights.

Layer: nn. Invariant: each network is one layer of its kind, the same everywhere: drawn by its seed, on samples drawn by
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, near_matches
from loom.core.narrow import TYPES, numeric_type
from loom.formats.json_text import JsonObject
from loom.nn.base.random import normals
from loom.nn.numeric.benchmark import Run, TypeReport, compare_types, draw_samples
from loom.nn.spec import parse
from loom.nn.train.scalars import whole
from loom.nn.weights.model import Model
from loom.runtime.port.device import Device

__all__ = ["LAYERS_MEASURED", "benchmark_layers"]

_DENSE = {"type": "dense", "output_size": 24, "activation": "tanh"}
_BRANCHES = [_DENSE, {"type": "dense", "output_size": 24, "activation": "relu"}]
_LAYERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "dense": ((32,), {"output_size": 24, "activation": "relu"}),
    "stitch": ((32,), {"output_size": 24}),
    "conv1d": ((4, 24), {"filters": 8, "kernel_size": 3}),
    "conv2d": ((2, 10, 10), {"filters": 8, "kernel_size": 3}),
    "multi_head_attention": ((6, 16), {"num_heads": 2, "causal": True}),
    "rnn": ((8, 12), {"hidden_size": 16}),
    "lstm": ((8, 12), {"hidden_size": 16}),
    "gru": ((8, 12), {"hidden_size": 16}),
    "layer_norm": ((32,), {}),
    "rms_norm": ((32,), {}),
    "batch_norm": ((4, 6, 6), {}),
    "swiglu": ((32,), {"inner_size": 48}),
    "embedding": ((8,), {"vocab_size": 40, "embedding_dim": 16}),
    "class_token": ((5, 16), {}),
    "position_embedding": ((6, 16), {"max_positions": 8}),
    "kmeans": ((16,), {"num_clusters": 6, "temperature": 4.0}),
    "parallel": ((32,), {"branches": _BRANCHES, "combine_mode": "filter", "gate": {"type": "dense", "output_size": 2}}),
    "sequential": ((32,), {"layers": [_DENSE, {"type": "dense", "output_size": 8}]}),
    "residual": ((24,), {"layers": [_DENSE]}),
}
"""Kind -> the shape of a sample, and the layer's settings."""
_NOISE = 1000
"""Begins the numbers of what is drawn besides weights and samples."""
LAYERS_MEASURED = tuple(_LAYERS)
"""Kinds that are measured: all that have weights."""


def benchmark_layers(
    *, kinds: Sequence[str] = LAYERS_MEASURED, dtypes: Sequence[Any] | None = None, samples: int = 32,
    scales: Any = "auto", power_of_two: bool = False, keep: Sequence[str] = (), on: str | Device | None = None,
) -> dict[str, TypeReport]:  # fmt: skip
    """Return the report of each kind of layer: its outputs with weights stored in each type, for samples of a seed.

    Args:
        kinds: Types of layers with weights.
        dtypes: Types of storage; None: all of ``TYPES``.
        samples: Number of samples that are drawn.
        scales: Rule of the scales, or numbers, as of ``store``.
        power_of_two: Whether scales are rounded to powers of two.
        keep: Names, or patterns of them, of weights that stay as they are.
        on: Device, or its name; None: the default device.

    Returns:
        Reports by kind.

    Raises:
        ArgumentError: A kind that has no weights; an unusable scale or rule; a number is out of range.
        DTypeError: Not a type of storage; not a device.
    """
    where = "loom.nn.numeric.benchmark_layers"
    wanted = [numeric_type(d, f"{where}, dtypes") for d in (TYPES if dtypes is None else dtypes)]
    settings = {"scales": scales, "power_of_two": power_of_two, "keep": keep, "where": where}
    samples = whole(f"{where}, samples", samples, least=1)
    found: dict[str, TypeReport] = {}
    for kind in kinds:
        if kind not in _LAYERS:
            raise ArgumentError(f"{where}, kinds", f"no layer with weights is called {kind!r:.60}",
                                remedy=near_matches(str(kind), LAYERS_MEASURED))  # fmt: skip
        model = _model(kind, on)
        model.load(_first_weights(model))
        run = _runner(model, draw_samples(model.network, samples)["input"])
        found[kind] = compare_types(model.network, model.weights(), run, wanted, settings)
    return found


def _model(kind: str, on: str | Device | None) -> Model:
    shape, layer = _LAYERS[kind]
    what: JsonObject = {"shape": [*shape], "dtype": "i32" if kind == "embedding" else "f32"}
    document: JsonObject = {"format": "loom/1", "seed": 17, "input": what, "layers": [{"type": kind, **layer}]}
    return Model(parse(document), on)


def _first_weights(model: Model) -> dict[str, Array]:
    """Return first weights; those that are all alike, gains and biases, get noise: they had nothing to lose."""
    found = model.weights()
    for number, (name, shape) in enumerate(model.network.parameters().items()):
        if found[name].min() == found[name].max():
            found[name] = found[name] + 0.25 * normals(shape, model.network.seed, _NOISE + number)
    return found


def _runner(model: Model, samples: Array) -> Run:
    def run(weights: Mapping[str, Array]) -> tuple[Any, None]:
        model.load(weights)
        return model.forward(samples), None

    return run
