"""Optimisers: how a parameter's next value follows from its value, its gradient, the rate, and what is kept.

Layer: nn. Each is one fixed expression per element, recorded into the training step. Invariant: no number of it comes
from the host's libm; powers of the betas are state that a step multiplies once, f32 or, in networks of f64, f64. Narrow
parameters (f16, bf16) are computed and their state is kept in f32, and rounded once.

Weight decay leaves arrays of one dimension alone, biases and gains, unless ``decay_all`` says otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import DType, f32, f64
from loom.core.errors import ArgumentError, near_matches
from loom.core.late.dataclass import dataclass
from loom.core.numbers import single
from loom.nn.train.scalars import flag, real
from loom.tensor import Tensor

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "number_type", "optimizer_of",
           "starting_state"]  # fmt: skip

Arrays = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Optimizer(ABC):
    """Base of the optimisers.

    ``kept`` names arrays like the parameter that start at 0; ``powers`` maps the name of a number that starts at 1 to
    what each step multiplies it by.

    Args:
        decay_all: Whether ``weight_decay`` is of arrays of one dimension too, as PyTorch's.

    Raises:
        ArgumentError: A number is out of range; a setting has no effect alone.
    """

    decay_all: bool = False

    def __repr__(self) -> str:
        """Return the settings, by which a checkpoint knows them; ``decay_all``, which older ones lack, if it is set."""
        told = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name != "decay_all"]
        return f"{type(self).__name__}({', '.join([*told, 'decay_all=True'] if self.decay_all else told)})"

    def __post_init__(self) -> None:
        for field in fields(self):
            where, value = f"train, {type(self).__name__}", getattr(self, field.name)
            if isinstance(field.default, bool):
                kept: Any = flag(f"{where}, {field.name}", value)
            else:
                below = 1.0 if field.name in _SHARES else float("inf")
                kept = real(where, value, below=below, what=f"{field.name} is out of range")
            object.__setattr__(self, field.name, kept)
        if self.decay_all and not getattr(self, "weight_decay", 0.0):
            raise ArgumentError(f"train, {type(self).__name__}, decay_all", "has no effect without a weight decay",
                                expected="weight_decay above 0", got=0, remedy="Pass weight_decay=0.01, or leave it",
                                )  # fmt: skip

    def _decay(self, g: Tensor, w: Tensor, decay: float) -> Tensor:
        """Return ``g`` with the decay of ``w`` added, where it decays."""
        return g + w * decay if decay and (self.decay_all or w.ndim > 1) else g

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter."""
        return ()

    @property
    def powers(self) -> dict[str, float]:
        """Name -> base of the powers kept."""
        return {}

    @abstractmethod
    def update(self, w: Tensor, g: Tensor, rate: Tensor, kept: Arrays, powers: Arrays) -> tuple[Tensor, Arrays]:
        """Return the next value of a weight and of the arrays kept for it.

        Args:
            w: Weight.
            g: Its gradient, of its shape.
            rate: Learning rate, one number.
            kept: Arrays by the names of ``kept``.
            powers: Numbers by the names of ``powers``, those of this step already.

        Returns:
            Weight, and the arrays by name.
        """


_SHARES = ("momentum", "dampening", "beta1", "beta2", "alpha")
"""Settings below 1."""


def _mix(old: Tensor, new: Tensor, share: float) -> Tensor:
    """Return ``share`` of the old and the rest of the new."""
    kept = share if old.dtype == f64 else single(share)  # so that 1 minus it is exact
    return old * kept + new * (1.0 - kept)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SGD(Optimizer):
    """w - rate g; with momentum v = m v + (1 - dampening) g and w - rate v, or rate (g + m v) of Nesterov.

    v starts at 0, so that dampening counts from the first step on; PyTorch's first v is g.

    Args:
        decay_all: Whether ``weight_decay`` is of arrays of one dimension too, as PyTorch's.
        momentum: Share of the step before that goes on, below 1; 0: none.
        dampening: Share of the gradient that the momentum leaves out, below 1; it needs a momentum.
        nesterov: Whether the step is one ahead of the momentum; it needs one.
        weight_decay: Share of a weight that is added to its gradient, of matrices and larger arrays.

    Raises:
        ArgumentError: A number is out of range; a setting has no effect alone.

    Source: Y. Nesterov (1983) in the form of I. Sutskever et al., "On the importance of initialization and momentum
    in deep learning" (2013).
    """

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        Optimizer.__post_init__(self)
        for name in ("dampening", "nesterov"):
            if getattr(self, name) and not self.momentum:
                raise ArgumentError(f"train, SGD, {name}", "has no effect without a momentum",
                                    expected="momentum above 0", got=self.momentum,
                                    remedy=f"Pass momentum=0.9, or leave {name} out")  # fmt: skip

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter."""
        return ("velocity",) if self.momentum else ()

    def update(self, w: Tensor, g: Tensor, rate: Tensor, kept: Arrays, powers: Arrays) -> tuple[Tensor, Arrays]:
        """Return the next value of ``w`` and of what is kept."""
        del powers
        g = self._decay(g, w, self.weight_decay)
        if not self.momentum:
            return w - g * rate, {}
        velocity = kept["velocity"] * self.momentum + (g * (1.0 - self.dampening) if self.dampening else g)
        along = g + velocity * self.momentum if self.nesterov else velocity
        return w - along * rate, {"velocity": velocity}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Adam(Optimizer):
    """w - rate m^ / (sqrt(v^) + epsilon): means of the gradient and its square, each over 1 - beta^t.

    Args:
        decay_all: Whether ``weight_decay`` is of arrays of one dimension too, as PyTorch's.
        beta1: Share of the mean of gradients that stays, below 1.
        beta2: Share of the mean of their squares that stays, below 1.
        epsilon: Number added to the root.
        weight_decay: Share of a weight that is added to its gradient, of matrices and larger arrays.

    Raises:
        ArgumentError: A number is out of range; ``decay_all`` without a weight decay.

    Source: D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization" (2015), algorithm 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter."""
        return ("mean", "square")

    @property
    def powers(self) -> dict[str, float]:
        """Name -> base of the powers kept."""
        return {"beta1": self.beta1, "beta2": self.beta2}

    def update(self, w: Tensor, g: Tensor, rate: Tensor, kept: Arrays, powers: Arrays) -> tuple[Tensor, Arrays]:
        """Return the next value of ``w`` and of what is kept."""
        along, found = self._along(self._decay(g, w, self.weight_decay), kept, powers)
        return w - along * rate, found

    def _along(self, g: Tensor, kept: Arrays, powers: Arrays) -> tuple[Tensor, Arrays]:
        mean = _mix(kept["mean"], g, self.beta1)
        square = _mix(kept["square"], g * g, self.beta2)
        scale = (square / (1 - powers["beta2"])).sqrt() + self.epsilon
        return mean / (1 - powers["beta1"]) / scale, {"mean": mean, "square": square}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AdamW(Adam):
    """As Adam, weights decaying apart from the gradient: w - rate (m^ / (sqrt(v^) + epsilon) + decay w).

    Args:
        decay_all: Whether ``weight_decay`` is of arrays of one dimension too, as PyTorch's.
        beta1: Share of the mean of gradients that stays, below 1.
        beta2: Share of the mean of their squares that stays, below 1.
        epsilon: Number added to the root.
        weight_decay: Share of a weight that each step takes away, times the rate, of matrices and larger arrays.

    Raises:
        ArgumentError: A number is out of range; ``decay_all`` without a weight decay.

    Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization" (2019).
    """

    weight_decay: float = 0.01

    def update(self, w: Tensor, g: Tensor, rate: Tensor, kept: Arrays, powers: Arrays) -> tuple[Tensor, Arrays]:
        """Return the next value of ``w`` and of what is kept."""
        along, found = self._along(g, kept, powers)
        return w - self._decay(along, w, self.weight_decay) * rate, found


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RMSprop(Optimizer):
    """w - rate g / (sqrt(v) + epsilon), v the mean of the squared gradient; with momentum over those steps.

    Args:
        decay_all: Whether ``weight_decay`` is of arrays of one dimension too, as PyTorch's.
        alpha: Share of the mean of squares that stays, below 1.
        epsilon: Number added to the root.
        momentum: Share of the step before that goes on, below 1; 0: none.
        weight_decay: Share of a weight that is added to its gradient, of matrices and larger arrays.

    Raises:
        ArgumentError: A number is out of range; ``decay_all`` without a weight decay.

    Source: T. Tieleman and G. Hinton, lecture 6.5 of "Neural Networks for Machine Learning" (2012).
    """

    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter."""
        return ("square", "velocity") if self.momentum else ("square",)

    def update(self, w: Tensor, g: Tensor, rate: Tensor, kept: Arrays, powers: Arrays) -> tuple[Tensor, Arrays]:
        """Return the next value of ``w`` and of what is kept."""
        del powers
        g = self._decay(g, w, self.weight_decay)
        square = _mix(kept["square"], g * g, self.alpha)
        along = g / (square.sqrt() + self.epsilon)
        if not self.momentum:
            return w - along * rate, {"square": square}
        velocity = kept["velocity"] * self.momentum + along
        return w - velocity * rate, {"square": square, "velocity": velocity}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Lion(Optimizer):
    """w - rate (sign(b1 m + (1 - b1) g) + decay w), m = b2 m + (1 - b2) g; the sign of 0 is 0.

    Args:
        decay_all: Whether ``weight_decay`` is of arrays of one dimension too, as PyTorch's.
        beta1: Share of the mean in the step, below 1.
        beta2: Share of the mean that stays, below 1.
        weight_decay: Share of a weight that each step takes away, times the rate, of matrices and larger arrays.

    Raises:
        ArgumentError: A number is out of range; ``decay_all`` without a weight decay.

    Source: X. Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), algorithm 2.
    """

    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the arrays kept for each parameter."""
        return ("mean",)

    def update(self, w: Tensor, g: Tensor, rate: Tensor, kept: Arrays, powers: Arrays) -> tuple[Tensor, Arrays]:
        """Return the next value of ``w`` and of what is kept."""
        del powers
        way = _mix(kept["mean"], g, self.beta1)
        ones = tensor.ones(way.shape, way.dtype)
        sign = tensor.where(way > 0, ones, tensor.where(way < 0, -ones, 0))
        return w - self._decay(sign, w, self.weight_decay) * rate, {"mean": _mix(kept["mean"], g, self.beta2)}


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "lion": Lion,
}  # fmt: skip


def optimizer_of(name: str, **settings: Any) -> Optimizer:
    """Return the optimiser of a name.

    Args:
        name: Name, in capitals or not.
        **settings: Its settings.

    Raises:
        ArgumentError: No optimiser, or no setting of it, is called so; a setting is out of range.

    >>> optimizer_of("sgd", momentum=0.9).kept
    ('velocity',)
    """
    name = name.lower()
    if name == "sgd_momentum":  # the older generations' name
        return optimizer_of("sgd", **({"momentum": 0.9} | settings))
    if name not in OPTIMIZERS:
        raise ArgumentError(
            "train, optimizer", f"no optimiser is called {name!r}", remedy=near_matches(name, OPTIMIZERS)
        )
    known = [f.name for f in fields(OPTIMIZERS[name])]
    for key in settings:
        if key not in known:
            raise ArgumentError(f"train, {name}", f"no setting is called {key!r}", remedy=near_matches(key, known))
    return OPTIMIZERS[name](**settings)


def starting_state(optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return name -> parameter of the tensor layer, of all an optimiser keeps, at its start."""
    found: dict[str, Tensor] = {}
    for name, w in parameters.items():
        held = np.float32 if w.dtype.storage_only else w.dtype.numpy
        for key in optimizer.kept:
            found[f"{key}.{name}"] = tensor.parameter(np.zeros(w.shape, held), name=f"{key}.{name}", on=w.device)
    where = next(iter(parameters.values())).device if parameters else None
    for key in optimizer.powers:
        found[f"power.{key}"] = tensor.parameter(
            np.ones((), number_type(parameters).numpy), name=f"power.{key}", on=where
        )
    return found


def number_type(parameters: Mapping[str, Tensor]) -> DType:
    """Return the type of rates and powers: f64 for weights of f64, else f32."""
    return f64 if any(w.dtype == f64 for w in parameters.values()) else f32
