"""Mixed precision: what is computed in f16 or bf16 while weights stay f32, and the loss scale that f16 needs.

Layer: nn. Gradients of f16 vanish below 2^-24: the loss is multiplied by a power of two before they are taken and they
are divided by it after, both exactly. Where one is infinite or NaN the step changes no weight and halves the scale;
after ``INTERVAL`` steps in a row without that it doubles. Source: P. Micikevicius and others, "Mixed Precision
Training" (2018), section 3.2. Invariant: all of it is part of the recorded step, so that every device takes and skips
the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import frexp
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import DType, f32, lookup
from loom.core.errors import ArgumentError, near_matches
from loom.nn.train.scalars import real
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["INTERVAL", "LossScale", "are_finite", "compute_name", "require_masters", "start_of_scale"]

Pairs = list[tuple[Tensor, Tensor]]

INTERVAL = 2000
"""Steps in a row that must go well before the scale doubles."""
_FIRST = 65536.0
_LEAST, _MOST = 1.0, 2.0**24
_NAMES = {"f16": "f16", "float16": "f16", "bf16": "bf16", "bfloat16": "bf16", "f32": None, "float32": None}


def compute_name(given: Any) -> str | None:
    """Return the narrow type that a training computes in, None for the network's own; ArgumentError for others."""
    name = given.name if isinstance(given, DType) else given
    if name is None or (isinstance(name, str) and name in _NAMES):
        return None if name is None else _NAMES[name]
    raise ArgumentError("train, compute", "not a type to compute in", expected="'f16', 'bf16', or None for f32",
                        got=repr(given)[:60], remedy=near_matches(str(name), [*_NAMES]))  # fmt: skip


def start_of_scale(given: Any, compute: str | None) -> float | None:
    """Return the first loss scale, None where there is none; ArgumentError for what is no power of two."""
    if given is None:
        return _FIRST if compute == "f16" else None
    if compute != "f16":
        raise ArgumentError("train, loss_scale", "has no effect but in f16", expected="compute='f16' as well",
                            got=f"compute={compute!r}", remedy="Leave it out: bf16 and f32 need none")  # fmt: skip
    found = float(real("train, loss_scale", given, least=_LEAST))
    if frexp(found)[0] != 0.5 or found > _MOST:
        raise ArgumentError("train, loss_scale", "not a usable scale", expected="a power of two from 1 to 2**24",
                            got=given, remedy="Pass 65536")  # fmt: skip
    return found


class LossScale:
    """The scale, how many steps went well since it changed, and how many were skipped; ``state`` by name."""

    def __init__(self, first: float, on: Device | None) -> None:
        self._first = {"loss_scale": np.float32(first), "sound_steps": np.uint32(0), "skipped_steps": np.uint32(0)}
        self.state = {n: tensor.parameter(np.asarray(v), name=n, on=on) for n, v in self._first.items()}

    def restart(self) -> None:
        """Begin again."""
        for name, first in self._first.items():
            self.state[name].assign(first)

    @property
    def skipped(self) -> int:
        """Steps that were skipped so far."""
        return int(self.state["skipped_steps"].item())

    @property
    def is_least(self) -> bool:
        """Tell whether the scale cannot be halved."""
        return float(self.state["loss_scale"].item()) == _LEAST

    def scale(self, loss: Tensor) -> Tensor:
        """Record the loss that gradients are taken of."""
        return loss * self.state["loss_scale"]

    def unscale(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Record the gradients of the loss itself, of f32 ones of what was scaled."""
        inverse = 1.0 / self.state["loss_scale"]
        return [g * inverse for g in grads]

    def next(self, is_taken: Tensor) -> Pairs:
        """Record what a step that is taken, or skipped, makes of the state."""
        scale, sound, skipped = (self.state[n] for n in ("loss_scale", "sound_steps", "skipped_steps"))
        more = sound + 1
        grows = more >= INTERVAL
        larger = tensor.where(grows, tensor.minimum(scale * 2.0, _MOST), scale)
        kept = tensor.where(grows, tensor.zeros((), sound.dtype), more)
        return [
            (scale, tensor.where(is_taken, larger, tensor.maximum(scale * 0.5, _LEAST))),
            (sound, tensor.where(is_taken, kept, tensor.zeros((), sound.dtype))),
            (skipped, tensor.where(is_taken, skipped, skipped + 1)),
        ]


def are_finite(grads: Mapping[str, Tensor]) -> Tensor:
    """Record whether no gradient has a NaN or an infinity."""
    found: Tensor | None = None
    for g in grads.values():
        most = abs(g).max()  # a NaN is the largest of all
        found = most if found is None else tensor.maximum(found, most)
    assert found is not None
    return tensor.isfinite(found)


def require_masters(weights: DType, compute: str) -> DType:
    """Return the type to compute in, of a network whose weights are f32; ArgumentError for others."""
    if weights != f32:
        raise ArgumentError("train, compute", f"weights of {weights} are no masters for {compute}", expected="f32",
                            got=weights, remedy='Use a network of {"dtype": "f32"}, or leave compute out')  # fmt: skip
    return lookup(compute)
