"""What becomes of an older layer: one layer or several, and where its weights go.

Layer: nn. Invariant: ``Slot.key`` prefixes the names that ``NetworkSpec.parameters`` has for those weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.layer import Layer, Shape
from loom.nn.spec.layers.nested import Sequential
from loom.nn.spec.network import NetworkSpec

__all__ = ["Conversion", "Pieces", "Slot", "join_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An older layer's weights: ``source`` counts layers, then branches within; ``key`` is their prefix here."""

    source: tuple[int, ...]
    key: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A network read from any format, what was changed or left out on the way, and where its weights go."""

    network: NetworkSpec
    warnings: tuple[str, ...] = ()
    slots: tuple[Slot, ...] = ()
    weights: Mapping[str, Array] = dataclasses.field(default_factory=dict[str, Array])
    """Weights that the document itself holds, f32 by our names: all, some (the others start anew) or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Layers that one after another do what an older one did.

    ``main`` is the number of the layer itself (the others change shapes); ``slots`` have keys that start with a
    layer's number; ``shape`` is the output's.
    """

    layers: tuple[Layer, ...]
    main: int
    slots: tuple[Slot, ...]
    shape: Shape

    def single(self) -> tuple[Layer, tuple[Slot, ...]]:
        """Return them as one layer, with the slots' keys within it ("" is the layer itself)."""
        if len(self.layers) == 1:
            return self.layers[0], tuple(dataclasses.replace(s, key=s.key.partition(".")[2]) for s in self.slots)
        slots = tuple(dataclasses.replace(s, key=f"layers.{s.key}") for s in self.slots)
        return Sequential(layers=self.layers), slots


def join_key(*parts: str) -> str:
    """Return a key of parts, empty ones left out."""
    return ".".join(p for p in parts if p)
