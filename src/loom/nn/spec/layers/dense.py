"""``dense`` and ``stitch``: every output depends on every feature.

Layer: nn. Invariant: only the last axis is touched; the weight is stored ``[in][out]``.
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.activations import Activation, activation
from loom.nn.spec.base.fields import flag, size
from loom.nn.spec.base.layer import Shape, register
from loom.nn.spec.base.meaning import Meaning, meaning_of_activation
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import agrees, has_rank
from loom.nn.spec.layers.lora import Adaptable

__all__ = ["Dense", "Stitch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear(Adaptable):
    """Maps the last axis, (..., in) to (..., out)."""

    matrices: ClassVar[tuple[str, ...]] = ("weight",)

    output_size: int = size("the number of output features")
    input_size: int | None = size("the number of input features, if it is to be checked", None)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 1, 0):
            return None
        agrees(self.input_size, shape[-1], "input_size", place, "input features")
        return (*shape[:-1], self.output_size)


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(_Linear):
    """Fully connected: ``activation(x W + b)`` along the last axis, (..., in) to (..., out).

    Weights: ``weight`` (in, out), ``bias`` (out,) unless ``bias`` is false; those of ``lora``:
    ``weight_lora_a`` (in, rank), ``weight_lora_b`` (rank, out).
    """

    kind: ClassVar[str] = "dense"
    other_names: ClassVar[tuple[str, ...]] = ("linear", "fully_connected")

    activation: Activation = activation("the function of each output")
    bias: bool = flag("true if a bias is added", True)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del given
        return meaning_of_activation(self.activation, self.output_shape(shape))

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        bias: dict[str, Shape] = {"bias": (self.output_size,)} if self.bias else {}
        return self.with_adapters({"weight": (shape[-1], self.output_size), **bias})


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Stitch(_Linear):
    """Linear map that brings branches or grafted networks to one size, (..., in) to (..., out).

    Weights: ``weight`` (in, out), drawn with deviation sqrt(2 / in), and ``bias`` (out,), zero at first.
    """

    kind: ClassVar[str] = "stitch"

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return self.with_adapters({"weight": (shape[-1], self.output_size), "bias": (self.output_size,)})
