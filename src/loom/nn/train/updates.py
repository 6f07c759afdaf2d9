"""The update of weights as it is recorded: new values of weights and of what the optimiser keeps, from gradients.

Layer: nn. Invariant: the one home of how an optimiser meets a network's types: narrow weights are moved in f32.
"""

from __future__ import annotations

from collections.abc import Mapping

from loom import tensor
from loom.core.dtype import f32
from loom.nn.train.optimizers import Optimizer
from loom.tensor import Tensor

__all__ = ["Pairs", "as_type_of", "next_values", "wide"]

Pairs = list[tuple[Tensor, Tensor]]
"""Parameters and their new values."""


def next_values(
    optimizer: Optimizer, trained: Mapping[str, Tensor], grads: Mapping[str, Tensor], state: Mapping[str, Tensor],
    rate: Tensor, rates: Mapping[str, float],
) -> Pairs:  # fmt: skip
    """Return the new values of ``trained`` weights and of the optimiser's ``state`` (``starting_state``).

    ``grads``: wide, by the weights' names; ``rates``: name -> step size of weights that have their own.
    """
    powers = {key: state[f"power.{key}"] * base for key, base in optimizer.powers.items()}
    updates = [(state[f"power.{key}"], power) for key, power in powers.items()]
    for name, w in trained.items():
        held = wide(w)
        kept = {key: state[f"{key}.{name}"] for key in optimizer.kept}
        near = {key: as_type_of(power, held) for key, power in powers.items()}
        own = rates.get(name)
        speed = as_type_of(rate, held) if own is None else tensor.full((), own, held.dtype)
        new, found = optimizer.update(held, grads[name], speed, kept, near)
        updates += [(w, new.astype(w.dtype) if new.dtype != w.dtype else new)]
        updates += [(kept[key], value) for key, value in found.items()]
    return updates


def wide(x: Tensor) -> Tensor:
    """Return narrow floats as f32."""
    return x.astype(f32) if x.dtype.storage_only else x


def as_type_of(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` in the type of ``like``."""
    return x if x.dtype == like.dtype else x.astype(like.dtype)
