"""A layer in its place of a recorded pass, and what a rule says of it.

Layer: nn. Invariant: a link's inputs are cut off: what is differentiated there stays within the layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field

from loom import tensor
from loom.core.dtype import f32
from loom.core.late.dataclass import dataclass
from loom.nn.spec import Layer, Shape
from loom.nn.tween.config import TweenConfig
from loom.tensor import Tensor

__all__ = ["Handed", "Link", "Move", "clip_finite", "cut", "fan", "finite", "outer", "rows", "wide"]


@dataclass(frozen=True, slots=True)
class Link:
    """A node: ``inputs`` and ``output`` of a pass, of so many ``samples``.

    ``weights``: own key (``branches.0.weight``) -> parameter, of all that a rule may move, frozen ones left out;
    ``depth``: D, by the layers above; ``frozen``: those left out, which signals still go through; ``rates``: own key ->
    what multiplies the rate.
    """

    name: str
    layer: Layer
    shape: Shape
    inputs: tuple[Tensor, ...]
    output: Tensor
    weights: Mapping[str, Tensor]
    frozen: Mapping[str, Tensor]
    rates: Mapping[str, float]
    samples: int
    depth: float
    config: TweenConfig

    @property
    def result(self) -> Tensor:
        """The output, narrow floats as f32."""
        return wide(self.output)

    @property
    def x(self) -> Tensor:
        """The first input, narrow floats as f32."""
        return wide(self.inputs[0])

    def speed(self, key: str, rate: Tensor | None) -> Tensor | float:
        """Return what makes a weight's move of a sum over samples: its layer's rate, the mean, and ``rate`` if told."""
        share = self.rates[key] / self.samples
        return share if rate is None else rate * share

    def weight(self, key: str) -> Tensor | None:
        """Return a weight, moved or frozen, narrow floats as f32; None if the layer has none such."""
        found = self.weights.get(key, self.frozen.get(key))
        return None if found is None else wide(found)

    def matrix(self, key: str) -> Tensor:
        """Return a weight that the layer has."""
        found = self.weight(key)
        assert found is not None, f"{self.layer.kind} has no {key}"
        return found


@dataclass(frozen=True, slots=True)
class Move:
    """What is added to a weight: ``amount``, cut to ``bound``.

    ``by_momentum``: to the weight's velocity, and that to the weight; the amount is times ``config.new_share`` then.
    """

    amount: Tensor
    bound: float | None = None
    by_momentum: bool = False


@dataclass(frozen=True, slots=True)
class Handed:
    """What a rule gives: for each input a signal or a target (None: nothing goes there), and moves by own key."""

    down: Sequence[Tensor | None]
    moves: Mapping[str, Move] = field(default_factory=dict[str, Move])


def wide(x: Tensor) -> Tensor:
    """Return narrow floats as f32."""
    return x.astype(f32) if x.dtype.storage_only else x


def rows(x: Tensor) -> Tensor:
    """Return all but the last axis as one."""
    return tensor.reshape(x, (-1, x.shape[-1]))


def outer(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum over rows of the products of all pairs of features: ``x^T y``.

    Of one row it is recorded as products alone, which need no array of their own.
    """
    if x.shape[0] == 1:
        return tensor.reshape(x, (-1, 1)) * y
    return tensor.matmul(x, y, transpose_a=True)


def cut(x: Tensor, most: float) -> Tensor:
    """Return a move cut to +-``most``, 0 where it is no finite number."""
    return clip_finite(x, most)


def clip_finite(x: Tensor, most: float) -> Tensor:
    """Return a signal cut to +-``most``, 0 where it is no finite number."""
    return finite(tensor.clip(x, -most, most), 0.0, x)


def finite(x: Tensor, other: Tensor | float, of: Tensor | None = None) -> Tensor:
    """Return ``x``, ``other`` where it (or ``of``) is no finite number."""
    told = wide(x if of is None else of)
    return tensor.where((told - told) == 0, x, other)


_MIXING = frozenset((
    "dense", "stitch", "rnn", "lstm", "gru", "multi_head_attention", "swiglu", "conv1d", "conv2d", "kmeans",
))  # fmt: skip


def fan(layer: Layer, shape: Shape) -> float:
    """Return how many terms the signal of one input element is a sum of; its root is what signals are divided by.

    Of layers that mix features those of the output (channels of convolutions), of others 1. Layers after one another
    multiply, branches side by side add up; a residual has 1, for its input's own signal keeps its size.
    """
    kind = layer.kind
    if kind == "$ref":
        return fan(layer.layer, shape)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    if kind == "sequential":
        return math.prod(fan(p.layer, p.shape) for p in layer.parts(shape))
    if kind == "parallel":
        return sum(fan(p.layer, p.shape) for p in layer.parts(shape) if p.name != "gate")
    if kind in ("conv1d", "conv2d"):
        return layer.output_shape(shape)[0]
    return layer.output_shape(shape)[-1] if kind in _MIXING else 1
