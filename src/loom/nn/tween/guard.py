"""The explosion guard: a multiplier of all rates that shrinks while gaps grow, and recovers.

Layer: nn. It is part of the recorded update. Invariant: what it decides follows from the gaps alone, on every device.
"""

from __future__ import annotations

import numpy as np

from loom import tensor
from loom.core.dtype import DType
from loom.nn.tween.config import TweenConfig
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["guard_rate", "guard_state"]

_STARTS = {"count": 0.0, "total": 0.0, "previous": 0.0, "run": 0.0, "multiplier": 1.0}


def guard_state(config: TweenConfig, number: DType, device: Device | None) -> dict[str, Tensor]:
    """Return what the guard keeps, by name; nothing if it is off."""
    if not config.guard:
        return {}
    return {
        f"guard.{name}": tensor.parameter(np.asarray(start, number.numpy), name=f"guard.{name}", on=device)
        for name, start in _STARTS.items()
    }


def guard_rate(
    config: TweenConfig, gap: Tensor, state: dict[str, Tensor]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return what multiplies the rate of an update of such a gap, and what is kept then.

    The first gaps make the baseline, their mean; from then on a gap that explodes cuts the multiplier at once.
    """
    count, total, previous, run, multiplier = (state[f"guard.{name}"] for name in _STARTS)
    is_forming = count < float(config.guard_baseline)
    is_exploding = (gap > previous * config.guard_growth) & (previous > 0)
    is_exploding = is_exploding | (gap > total * (config.guard_limit / config.guard_baseline))
    is_exploding = is_exploding & (count >= float(config.guard_baseline))
    first, second, third = config.guard_cuts
    length = tensor.where(is_exploding, run + 1, 0.0)
    cut = tensor.where(length > float(config.guard_runs[1]), third, tensor.where(
        length > float(config.guard_runs[0]), second, tensor.ones((), gap.dtype) * first))  # fmt: skip
    smaller = tensor.maximum(multiplier * cut, config.guard_floor)
    larger = tensor.minimum(multiplier * config.guard_recovery, 1.0)
    new = tensor.where(is_forming, multiplier, tensor.where(is_exploding, smaller, larger))
    updates = [
        (count, count + tensor.where(is_forming, tensor.ones((), gap.dtype), 0.0)),
        (total, total + tensor.where(is_forming, gap, 0.0)),
        (previous, gap), (run, length), (multiplier, new),
    ]  # fmt: skip
    return new, updates
