"""``layer_norm``, ``rms_norm``, ``normalize`` and ``batch_norm``: features brought to one scale.

Layer: nn. Invariant: the shape stays; variances are biased (divided by n).
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import real, size
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.meaning import NEITHER, NUMBERS, Meaning
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import agrees, has_rank

__all__ = ["BatchNorm", "LayerNorm", "Normalize", "RMSNorm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Normalised(Layer):
    """Normalises the features of each row: the shape stays."""

    norm_size: int | None = size("the number of features, if it is to be checked", None)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 1, 0):
            return None
        agrees(self.norm_size, shape[-1], "norm_size", place, "input features")
        return shape


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorm(_Normalised):
    """``(x - mean) / sqrt(variance + epsilon) gamma + beta`` along the last axis.

    Weights: ``gamma`` and ``beta``, both (features,).
    """

    kind: ClassVar[str] = "layer_norm"
    other_names: ClassVar[tuple[str, ...]] = ("layernorm",)

    epsilon: float = real("added to the variance", 1e-5, above=0.0)

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": shape[-1:], "beta": shape[-1:]}


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class RMSNorm(_Normalised):
    """``x / sqrt(mean of x squared + epsilon) gamma`` along the last axis.

    Weights: ``gamma`` (features,).
    """

    kind: ClassVar[str] = "rms_norm"
    other_names: ClassVar[tuple[str, ...]] = ("rmsnorm",)

    epsilon: float = real("added to the mean square", 1e-5, above=0.0)

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": shape[-1:]}


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Normalize(_Normalised):
    """``x / max(length of x, epsilon)`` along the last axis: features of length 1. It has no weights."""

    kind: ClassVar[str] = "normalize"

    epsilon: float = real("the least length that is divided by", 1e-12, above=0.0)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape
        return given if given == NUMBERS else NEITHER


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm(Layer):
    """Each channel (the first axis) scaled by its mean and variance over batch and remaining axes.

    In training those of the batch; else running ones, ``running = (1 - momentum) running + momentum batch`` after
    each batch. A batch of one sample, also the last one that is left over, is refused in training where there are no
    axes besides. ``frozen``: the running ones in training too, and they stay. Weights: ``gamma``, ``beta`` (channels,);
    state: ``running_mean``, ``running_variance`` (channels,).
    """

    kind: ClassVar[str] = "batch_norm"
    other_names: ClassVar[tuple[str, ...]] = ("batchnorm",)

    channels: int | None = size("the number of channels, if it is to be checked", None)
    epsilon: float = real("added to the variance", 1e-5, above=0.0)
    momentum: float = real("the share of a new batch in the running statistics", 0.1, above=0.0, high=1.0)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 1, 0):
            return None
        agrees(self.channels, shape[0], "channels", place, "input channels")
        return shape

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": shape[:1], "beta": shape[:1]}

    def own_state(self, shape: Shape) -> dict[str, Shape]:
        return {"running_mean": shape[:1], "running_variance": shape[:1]}
