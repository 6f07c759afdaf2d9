"""What answers and learning cost in virtual time.

Layer: nn. The machine that is meant does one thing after the other: a small microcontroller without a unit for floats,
which takes 500 ns for an operation of f32 (66 cycles of 133 MHz). Invariant: costs are whole nanoseconds and follow
from the network's document, the mode and the model's numbers alone, never from how or where Loom computes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.nn.inspect import blueprint_of
from loom.nn.spec import parse
from loom.nn.tween.modes import TweenMode, mode_of
from loom.nn.weights.model import Model

__all__ = ["CostModel", "Costs", "TypeCosts"]

TypeCosts = Mapping[str, int]
"""Numeric type -> nanoseconds of an operation."""

_OPERATION_NS: dict[str, int] = {
    "f64": 1000, "f32": 500, "f16": 500, "bf16": 500, "int16": 125, "int8": 125,
}  # fmt: skip
"""f64 takes twice as long as f32; f16 and bf16 are stored and computed with as f32; integers take 16 cycles."""
_BACKWARD = 2
"""Learning from a sample takes so many times the operations of its answer: signals down, changes of weights."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Nanoseconds of one answer, and of learning from one batch."""

    answer: int
    learn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """What a machine takes: ``operation_ns`` for each arithmetic operation by numeric type (a multiply-add is two),
    ``layer_ns`` each time a layer runs, forward or backward.

    An answer: the operations of a forward pass (``Network.blueprint`` counts them) and its layers. Learning of a batch:
    twice those operations for each sample, and two for each weight (four if the mode keeps velocities); of several
    samples the forward pass is computed once more. Layers run three times, two if the forward pass is the answer's.

    Args:
        operation_ns: Nanoseconds of an operation by numeric type, whole numbers of at least 0.
        layer_ns: Nanoseconds each time that a layer runs, at least 0.

    Raises:
        ArgumentError: Not costs by type; a number out of range; an answer that takes no time.

    >>> from loom.nn.adapt import CostModel
    >>> CostModel().of("dense", "step").answer
    714000
    """

    operation_ns: TypeCosts = field(default_factory=lambda: dict(_OPERATION_NS))
    layer_ns: int = 20_000

    def __post_init__(self) -> None:
        where = "loom.nn.adapt.CostModel"
        if not is_mapping(self.operation_ns) or not self.operation_ns:
            raise ArgumentError(f"{where}, operation_ns", "no costs by type", expected="{'f32': 1000}",
                                got=repr(self.operation_ns)[:80], remedy="Pass a dict")  # fmt: skip
        found = {str(k): whole(v, f"{where}, operation_ns, {k!r}", least=0) for k, v in self.operation_ns.items()}
        object.__setattr__(self, "operation_ns", found)
        object.__setattr__(self, "layer_ns", whole(self.layer_ns, f"{where}, layer_ns", least=0))
        if not self.layer_ns and not all(found.values()):
            raise ArgumentError(where, "an answer takes no time", expected="at least 1 ns of an operation or a layer",
                                got=f"{found}, layer_ns 0"[:120], remedy="Time would stand still")  # fmt: skip

    def of(self, layers: str, mode: str | TweenMode, dtype: str = "f32", *, batch: int = 1, parts: int = 1) -> Costs:
        """Return the costs of an architecture in a mode; ``batch``: samples from which it learns at once, in ``parts``.

        Args:
            layers: Name of an architecture of ``LAYERS``.
            mode: Mode, or its name.
            dtype: Numeric type.
            batch: Samples of a batch.
            parts: Parts that a batch is cut into.

        Returns:
            ``Costs``: nanoseconds of an answer, and of learning from a batch.

        Raises:
            ArgumentError: There is no such architecture or mode; a type without a cost.
        """
        from loom.nn.adapt.networks import document

        self.require_cost(dtype)
        mode = mode_of(mode)
        found = blueprint_of(Model(parse(document(layers)), "cpu"))
        each, layer = self.operation_ns[dtype], self.layer_ns * found.total_layers
        updates = (4 if mode.is_tween else 2) * found.total_parameters
        again = 0 if mode.is_step or batch == 1 else 1
        learn = each * (batch * (_BACKWARD + again) * found.operations + parts * updates)
        return Costs(each * found.operations + layer, learn + parts * (2 + again) * layer)

    def require_cost(self, dtype: str) -> None:
        """See that operations of a type have a cost.

        Args:
            dtype: Numeric type.

        Raises:
            ArgumentError: Its operations have no cost.
        """
        if dtype not in self.operation_ns:
            raise ArgumentError("loom.nn.adapt.CostModel", f"operations of {dtype} have no cost",
                                expected=", ".join(self.operation_ns), got=dtype,
                                remedy="Pass operation_ns with it")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, as JSON can hold them."""
        return {"operation_ns": dict(self.operation_ns), "layer_ns": self.layer_ns, "backward": _BACKWARD}
