"""``scale``: the network's own scaling of what it is given, learned of the samples it is first trained with.

Layer: nn. Invariant: it belongs to the model: who has the weights has the scaling, and nobody scales by hand.
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.problems import Place

__all__ = ["Scale"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Layer):
    """``(x - shift) factor`` for each element of a sample; the shape stays. It stands at a network's input.

    State: ``shift`` and ``factor``, of the sample's shape; 0 and 1 until the first training sets them to the mean of
    its samples and to 1 / their standard deviation (1 where all are equal).
    """

    kind: ClassVar[str] = "scale"
    is_at_input: ClassVar[bool] = True

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        del place
        return shape

    def own_state(self, shape: Shape) -> dict[str, Shape]:
        return {"shift": shape, "factor": shape}
