"""``scale``: samples brought to mean 0 and deviation 1, by numbers that belong to the model.

Layer: nn. First state: shift 0, factor 1, which change nothing. Invariant: what is learned of samples depends on them
alone, bit for bit on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import read_array
from loom.core.conversions import convert, widen
from loom.core.dtype import DType, f64
from loom.core.errors import ArgumentError, LoomError
from loom.nn.files.tensorfile import LARGEST
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import NetworkSpec, Shape
from loom.nn.spec.layers.scale import Scale
from loom.tensor import Tensor

__all__ = ["learn_scaling"]


def _init(config: Scale, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config, key
    return {"shift": zeros(shapes["shift"]), "factor": np.ones(shapes["factor"], np.float32)}


@layer(Scale, _init)
def apply(config: Scale, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del config, context
    return (x - weights["shift"]) * weights["factor"]


def learn_scaling(network: NetworkSpec, state: Mapping[str, Tensor], samples: Mapping[str, Any]) -> dict[str, Any]:
    """Set the state of layers that have none yet to mean and deviation of ``samples``, (n, *shape) by input.

    Return what it was, by name. Nothing is done for samples that no training takes: who trains with them says what is
    wrong. An element that is the same in all samples, as the network sees them, has the factor 1. DTypeError for
    samples, ArgumentError for factors that are too large for the network's type.
    """
    types = {i.name: i.dtype for i in network.inputs}
    before: dict[str, Any] = {}
    for node in network.nodes:
        if not isinstance(node.layer, Scale) or node.layer.frozen:
            continue
        names = [f"{node.name}.{name}" for name in ("shift", "factor")]
        shift, factor = (state[name] for name in names)
        if np.any(shift.numpy()) or np.any(factor.astype(f64).numpy() != 1):
            continue
        seen = _usable(samples.get(node.inputs[0]), shift.shape, types[node.inputs[0]])
        if seen is not None:
            mean, deviation = _measure(seen[0])
            deviation[seen[1]] = 1
            with np.errstate(divide="ignore", over="ignore"):
                factors = 1 / deviation
            _require_fit(node.name, factors, factor.dtype)
            before |= {name: state[name].numpy() for name in names}
            shift.assign(mean)
            factor.assign(factors)
    return before


def _usable(samples: Any, shape: Shape, dtype: DType) -> Any:
    """Return samples as f64, and where all are equal as ``dtype``; None if they are not finite numbers of this shape.

    DTypeError if they are too large for ``dtype``.
    """
    try:
        array, held = read_array(samples, "train, x")
    except LoomError:
        return None
    found = widen(array, held).astype(np.float64)
    if found.shape[1:] != shape or not len(found) or not np.isfinite(found).all():
        return None
    narrow = widen(convert(array, held, dtype, "train, x"), dtype)
    return found, (narrow == narrow[:1]).all(0)


def _require_fit(name: str, factors: Any, dtype: DType) -> None:
    most, largest = LARGEST[dtype.name], factors.max(initial=0.0)
    if largest > most:
        raise ArgumentError(f"train, layer {name!r}", f"samples differ too little to be scaled in {dtype}",
                            expected=f"factors, 1 / deviation, of at most {most:g}", got=f"{largest:g}",
                            remedy="Multiply the samples yourself before, or leave the layer out")  # fmt: skip


def _measure(samples: Any) -> tuple[Any, Any]:
    """Return mean and deviation along the first axis, of f64 in Loom's order of sums."""
    x = tensor.array(samples, f64, on="cpu")
    mean = x.mean(0)
    away = x - mean
    return mean.numpy(), np.sqrt((away * away).mean(0).numpy())
