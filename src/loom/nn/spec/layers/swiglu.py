"""``swiglu``: the gated feed-forward block of transformers.

Layer: nn. Invariant: only the last axis is touched, and its size stays.
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.activations import Activation, activation
from loom.nn.spec.base.fields import flag, size
from loom.nn.spec.base.layer import Shape, register
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import agrees, has_rank
from loom.nn.spec.layers.lora import Adaptable

__all__ = ["SwiGLU"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class SwiGLU(Adaptable):
    """``(f(x W_gate + b) * (x W_up + b)) W_down + b`` along the last axis, (..., n) to (..., n); f is ``activation``.

    Weights: ``gate_weight``, ``up_weight`` (n, inner), ``down_weight`` (inner, n) and, unless ``bias`` is false,
    ``gate_bias``, ``up_bias`` (inner,), ``down_bias`` (n,).
    """

    kind: ClassVar[str] = "swiglu"
    matrices: ClassVar[tuple[str, ...]] = ("gate_weight", "up_weight", "down_weight")

    inner_size: int = size("the number of features between the projections")
    input_size: int | None = size("the number of input features, if it is to be checked", None)
    bias: bool = flag("true if the three projections have biases", True)
    activation: Activation = activation("the function of the gate", Activation.SWISH)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 1, 0):
            return None
        agrees(self.input_size, shape[-1], "input_size", place, "input features")
        return shape

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        width, inner = shape[-1], self.inner_size
        weights = {"gate_weight": (width, inner), "up_weight": (width, inner), "down_weight": (inner, width)}
        biases: dict[str, Shape] = {"gate_bias": (inner,), "up_bias": (inner,), "down_bias": (width,)}
        return self.with_adapters(weights | (biases if self.bias else {}))
