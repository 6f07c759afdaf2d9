"""Losses by name: what training makes small, of a network's output and the targets.

Layer: nn. Each is the mean over all elements (over samples for those of classes), so that a rate fits batches of any
size. Outputs are probabilities or logits; ``loss_of`` takes which, ``targets`` knows which fits a network's output.
Invariant: a loss is one number, differentiable in the output.
"""

from __future__ import annotations

from collections.abc import Callable

from loom import tensor
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.tensor import Tensor

__all__ = ["CHANCE_LOSSES", "CLASS_LOSSES", "LOSSES", "NEXT_TOKEN", "PADDING", "Loss", "loss_of"]

Loss = Callable[[Tensor, Tensor], Tensor]

_LEAST = 2.0**-40
"""Added to a probability before its logarithm: nothing beside 1, and no probability is infinitely wrong."""


def _cross_entropy_of_probabilities(x: Tensor, target: Tensor) -> Tensor:
    logarithms = (x + _LEAST).log()
    if target.dtype.is_integer:
        return tensor.nll(logarithms, target)
    _same_shape("cross_entropy", x, target)
    return -(logarithms * target).sum(-1).mean()


NEXT_TOKEN = "next_token"
PADDING = -100
"""The class of a place that counts nowhere, in targets of ``next_token``."""


def _next_token(x: Tensor, target: Tensor) -> Tensor:
    return _without_padding(tensor.log_softmax(x), target)


def _next_token_of_probabilities(x: Tensor, target: Tensor) -> Tensor:
    return _without_padding((x + _LEAST).log(), target)


def _without_padding(logarithms: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the places that count, 0 if there is none."""
    counts = target != PADDING
    each = tensor.nll(logarithms, tensor.where(counts, target, 0), reduction="none")
    count = tensor.where(counts, tensor.ones_like(each), 0).sum()
    return tensor.where(counts, each, 0).sum() / tensor.maximum(count, 1)


def _binary_cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    return tensor.binary_cross_entropy(x, _chances(x, target))


def _binary_cross_entropy_of_probabilities(x: Tensor, target: Tensor) -> Tensor:
    target = _chances(x, target)
    _same_shape("binary_cross_entropy", x, target)
    return -(target * (x + _LEAST).log() + (1 - target) * (1 - x + _LEAST).log()).mean()


def _chances(x: Tensor, target: Tensor) -> Tensor:
    """Return targets of the output's shape and type: of classes 1 for the one that is true, 0 for the others."""
    if target.dtype.is_integer and target.shape == x.shape[:-1]:
        return tensor.one_hot(target, x.shape[-1], x.dtype)
    return target.astype(x.dtype) if target.dtype.is_integer else target


def _same_shape(name: str, x: Tensor, target: Tensor) -> None:
    if x.shape != target.shape:
        raise ShapeError(name, "prediction and target differ in shape", expected=x.shape, got=target.shape,
                         remedy="Reshape the target")  # fmt: skip


LOSSES: dict[str, Loss] = {
    "mse": tensor.mse,
    "mae": tensor.mae,
    "huber": tensor.huber,
    "cross_entropy": tensor.cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "nll": tensor.nll,
}
"""Name -> loss; the two cross-entropies of logits, ``nll`` of logarithms of probabilities."""

_OF_TOKENS: dict[str, Loss] = {NEXT_TOKEN: _next_token}
"""Those that leave places out."""

CLASS_LOSSES = ("cross_entropy", "nll")
"""Those of distributions, whose targets may be classes: integers, one for each row of the output."""

CHANCE_LOSSES = (*CLASS_LOSSES, "binary_cross_entropy", NEXT_TOKEN)
"""Those of distributions and of independent chances: targets are classes or from 0 to 1."""

_OF_PROBABILITIES: dict[str, Loss] = {
    "cross_entropy": _cross_entropy_of_probabilities,
    NEXT_TOKEN: _next_token_of_probabilities,
    "binary_cross_entropy": _binary_cross_entropy_of_probabilities,
}


def loss_of(name: str, *, probabilities: bool = False) -> Loss:
    """Return the loss called ``name``, of an output of probabilities or of logits.

    ``mse``, ``mae``, ``huber`` (delta 1) take targets of the output's shape; ``cross_entropy`` classes (integers) or
    probabilities along the last axis; ``binary_cross_entropy`` classes or numbers from 0 to 1, each element of the
    output being a chance of its own; ``nll`` classes, the output being logarithms of probabilities; ``next_token``
    classes as ``cross_entropy``, of which those that are ``PADDING`` (-100) count nowhere.

    Args:
        name: Name of the loss.
        probabilities: Whether the output is of probabilities, not of logits.

    Returns:
        Function of output and target, which records one number: the mean.

    Raises:
        ArgumentError: No loss is called so.

    >>> from loom import tensor
    >>> loss_of("mse")(tensor.array([1.0, 3.0]), tensor.array([1.0, 1.0])).item()
    2.0
    """
    known = LOSSES | _OF_TOKENS
    if name not in known:
        raise ArgumentError("train, loss", f"no loss is called {name!r}", remedy=near_matches(name, known))
    return _OF_PROBABILITIES.get(name, known[name]) if probabilities else known[name]
