"""What the numbers that a layer gives mean: numbers, probabilities that exclude one another, or independent ones.

Layer: nn. The loss of a training follows from it. Invariant: what is called probabilities lies between 0 and 1, and of
those that exclude one another each run of ``width`` elements in row-major order has the sum 1.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from math import prod

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.activations import Activation

__all__ = [
    "INDEPENDENT",
    "NEITHER",
    "NUMBERS",
    "Meaning",
    "NumberKind",
    "meaning_of_activation",
    "meaning_of_concat",
    "meaning_of_mean",
    "meaning_of_product",
    "meaning_of_sum",
    "probabilities",
]  # fmt: skip

Shape = tuple[int, ...]


class NumberKind(enum.Enum):
    """What numbers are."""

    NUMBERS = "numbers"
    """any; where chances are asked for, their logits"""
    PROBABILITIES = "probabilities"
    """chances of which one comes true"""
    INDEPENDENT = "independent probabilities"
    """chances each of its own"""
    NEITHER = "numbers made of probabilities"
    """neither chances any more nor logits"""


@dataclass(frozen=True, slots=True)
class Meaning:
    """``width``: how many probabilities, one after another, have the sum 1."""

    kind: NumberKind
    width: int = 0

    def __str__(self) -> str:
        return self.kind.value + (f" of sum 1 for each {self.width}" if self.width else "")


NUMBERS = Meaning(NumberKind.NUMBERS)
INDEPENDENT = Meaning(NumberKind.INDEPENDENT)
NEITHER = Meaning(NumberKind.NEITHER)

_KEEPING = (Activation.LINEAR, Activation.RELU, Activation.LEAKY_RELU, Activation.LEAKY_RELU_001, Activation.ELU)
"""Functions that leave what is not negative as it is."""


def probabilities(width: int) -> Meaning:
    """Return the meaning of distributions of so many elements."""
    return Meaning(NumberKind.PROBABILITIES, width)


def meaning_of_activation(function: Activation, shape: Shape, given: Meaning = NUMBERS) -> Meaning:
    """Return what a function makes of numbers of one sample's ``shape``."""
    if function is Activation.SOFTMAX:
        return probabilities(shape[-1] if shape else 1)
    if function is Activation.SIGMOID:
        return INDEPENDENT
    return given if function in _KEEPING or given == NUMBERS else NEITHER


def _one(given: Sequence[Meaning]) -> Meaning | None:
    """Return the meaning that all have, or that numbers among them make of the whole; None if it depends."""
    return given[0] if len(set(given)) == 1 else NUMBERS if NUMBERS in given else None


def meaning_of_mean(given: Sequence[Meaning]) -> Meaning:
    """Return the meaning of a mean, its weights of sum 1."""
    return _one(given) or (NEITHER if NEITHER in given else INDEPENDENT)


def meaning_of_sum(given: Sequence[Meaning]) -> Meaning:
    """Return the meaning of a sum."""
    return given[0] if len(given) == 1 else NUMBERS if NUMBERS in given else NEITHER


def meaning_of_product(given: Sequence[Meaning]) -> Meaning:
    """Return the meaning of a product: that all of independent things come true is a chance."""
    return INDEPENDENT if set(given) == {INDEPENDENT} else meaning_of_sum(given)


def meaning_of_concat(given: Sequence[Meaning], shapes: Sequence[Shape], axis: int) -> Meaning:
    """Return the meaning of arrays of ``shapes`` put one after another along ``axis``."""
    if len(set(given)) != 1:
        return NEITHER
    width = given[0].width
    return given[0] if all(prod(shape[axis:]) % width == 0 for shape in shapes if width) else NEITHER
