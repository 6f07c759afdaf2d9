"""``lora``: two thin products beside the weights of a layer, which stay as they are.

Layer: nn. ``y = x W + b + scale dropout(x) A B``, of W (in, out) with A (in, rank) and B (rank, out). Invariant: a
layer with adapters has its weights under the names that they have without, and training changes the adapters alone.

Source: E. Hu and others, "LoRA: Low-rank adaptation of large language models" (2021).
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import Config, Record, field_of, real, several, size
from loom.nn.spec.base.layer import Layer, Shape
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Name

__all__ = ["Adaptable", "LoRA", "adapter_names", "is_adapter", "short_name"]

_A, _B = "_lora_a", "_lora_b"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRA(Config):
    """Adapters of a layer: their rank, how strong they are, and which of its weights have some."""

    rank: int = size("columns of A and rows of B")
    alpha: float | None = real("their strength: what is added is times alpha / rank; rank if not given", None, above=0)
    dropout: float = real("the chance that training sees 0 for an input of A", 0.0, low=0, below=1)
    targets: tuple[str, ...] = several(Name(), "the weights that have adapters (q, k, v, o); all if not given", ())

    @property
    def scale(self) -> float:
        """What the product of the adapters is multiplied by."""
        return 1.0 if self.alpha is None else self.alpha / self.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptable(Layer):
    """A layer whose matrices may have adapters: ``matrices`` names them, as (in, out) weights of it."""

    matrices: ClassVar[tuple[str, ...]] = ()

    lora: LoRA | None = field_of(Record(LoRA), "adapters, which training changes in place of the layer's weights", None)

    @property
    def adapted(self) -> tuple[str, ...]:
        """The names of weights that have adapters."""
        if self.lora is None:
            return ()
        return tuple(m for m in self.matrices if not self.lora.targets or short_name(m) in self.lora.targets)

    def inspect(self, place: Place) -> None:
        """Note adapters of weights that there are not."""
        known = [short_name(m) for m in self.matrices]
        for i, name in enumerate(() if self.lora is None else self.lora.targets):
            if name not in known:
                place.at("lora").at("targets").at(i).unknown("weight of the layer", name, known)

    def with_adapters(self, weights: dict[str, Shape]) -> dict[str, Shape]:
        """Return the layer's own weights with those of its adapters."""
        made = dict(weights)
        for name in self.adapted:
            assert self.lora is not None
            rows, columns = weights[name]
            a, b = adapter_names(name)
            made |= {a: (rows, self.lora.rank), b: (self.lora.rank, columns)}
        return made

    def keeps(self, name: str) -> bool:
        return self.frozen or (self.lora is not None and not is_adapter(name))


def short_name(matrix: str) -> str:
    """Return what a matrix is called in ``targets``: ``q`` of ``q_weight``."""
    return matrix.removesuffix("_weight")


def adapter_names(matrix: str) -> tuple[str, str]:
    """Return the names of the adapters' weights A and B of a matrix."""
    return matrix + _A, matrix + _B


def is_adapter(name: str) -> bool:
    """Tell whether a weight is one of an adapter's."""
    return name.endswith((_A, _B))
