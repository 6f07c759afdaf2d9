"""``scale``: samples brought to mean 0 and deviation 1, by numbers that belong to the model.

Layer: nn. First state: shift 0, factor 1, which change nothing. Invariant: what is learned of samples depends on them
alone, bit for bit on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import f64
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import Network, Scale, Shape
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


def learn_scaling(network: Network, state: Mapping[str, Tensor], samples: Any) -> None:
    """Set the state of layers that have none yet to mean and deviation of ``samples``: (n, *shape), or such by input.

    Nothing is done for samples that no training takes: who trains with them says what is wrong.
    """
    given = samples if isinstance(samples, Mapping) else {network.inputs[0].name: samples}
    for node in network.nodes:
        if not isinstance(node.layer, Scale):
            continue
        shift, factor = (state[f"{node.name}.{name}"] for name in ("shift", "factor"))
        if np.any(shift.numpy()) or np.any(factor.astype(f64).numpy() != 1):
            continue
        found = _usable(given.get(node.inputs[0]), shift.shape)
        if found is not None:
            mean, deviation = _measured(found)
            shift.assign(mean)
            factor.assign(1 / np.where(deviation == 0, 1, deviation))


def _usable(samples: Any, shape: Shape) -> Any:
    """Return samples as f64, None if they are not finite numbers of this shape."""
    try:
        found = np.asarray(samples, np.float64)
    except (ValueError, TypeError):
        return None
    return found if found.shape[1:] == shape and len(found) and np.isfinite(found).all() else None


def _measured(samples: Any) -> tuple[Any, Any]:
    """Return mean and deviation along the first axis, of f64 in Loom's order of sums."""
    x = tensor.array(samples, f64, on="cpu")
    mean = x.mean(0)
    away = x - mean
    return mean.numpy(), np.sqrt((away * away).mean(0).numpy())
