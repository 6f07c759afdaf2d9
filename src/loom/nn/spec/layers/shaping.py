"""``flatten``, ``reshape``, ``permute``, ``activation`` and ``dropout``: layers without weights.

Layer: nn. Invariant: flatten and reshape keep the order of elements (row-major).
"""

from __future__ import annotations

from dataclasses import MISSING
from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.activations import OTHER_NAMES, Activation
from loom.nn.spec.base.fields import choice, real, several
from loom.nn.spec.base.layer import Layer, Shape, TableRows, register
from loom.nn.spec.base.meaning import NEITHER, NUMBERS, Meaning, meaning_of_activation
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Whole
from loom.nn.spec.base.shapes import count

__all__ = ["ActivationLayer", "Dropout", "Flatten", "Permute", "Reshape"]


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(Layer):
    """All axes of a sample made one, (a, b, ...) to (a b ...,)."""

    kind: ClassVar[str] = "flatten"

    def table_rows(self) -> TableRows:
        return TableRows(passes=True)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        del place
        return (count(shape),)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape
        return given


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Layer):
    """The same elements under another shape; one size may be -1 and follows from the others."""

    kind: ClassVar[str] = "reshape"

    shape: tuple[int, ...] = several(Whole(-1), "the sizes of a sample's axes, one of which may be -1", least=1)

    def inspect(self, place: Place) -> None:
        """Note sizes that no shape has."""
        if self.shape.count(-1) > 1:
            place.at("shape").fault("more than one size is left open", expected="at most one -1", got=list(self.shape))
        for i, n in enumerate(self.shape):
            if n == 0:
                place.at("shape", i).wrong("an integer from 1, or -1", n)

    def table_rows(self) -> TableRows:
        return TableRows(passes=True)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        known = count(tuple(n for n in self.shape if n != -1))
        total = count(shape)
        if (known != total) if -1 not in self.shape else (total % known != 0):
            place.at("shape").fault(
                "the number of elements changes", expected=f"{total} elements, as shape {shape} has",
                got=f"{known}" if -1 not in self.shape else f"a multiple of {known}",
            )  # fmt: skip
            return None if -1 in self.shape else self.shape
        return tuple(total // known if n == -1 else n for n in self.shape)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape
        return given


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Permute(Layer):
    """The axes of a sample in another order: axis i of the output is axis ``axes[i]`` of the input."""

    kind: ClassVar[str] = "permute"
    other_names: ClassVar[tuple[str, ...]] = ("transpose",)

    axes: tuple[int, ...] = several(Whole(0, 7), "each axis of a sample once, counted from 0", least=1)

    def table_rows(self) -> TableRows:
        return TableRows(passes=True)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if sorted(self.axes) != list(range(len(shape))):
            place.at("axes").fault("not each axis of a sample once", expected=f"an order of 0 to {len(shape) - 1}",
                                   got=list(self.axes))  # fmt: skip
            return None
        return tuple(shape[a] for a in self.axes)

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape
        return NEITHER if given.width else given


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationLayer(Layer):
    """A function of each element (``softmax``: of the last axis); the shape stays."""

    kind: ClassVar[str] = "activation"

    function: Activation = choice(Activation, "the function", MISSING, OTHER_NAMES)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        del place
        return shape

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        return meaning_of_activation(self.function, shape, given)


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout(Layer):
    """In training, each element is zero with chance ``rate``, else divided by ``1 - rate``; otherwise unchanged."""

    kind: ClassVar[str] = "dropout"

    rate: float = real("the chance of an element to become zero", 0.5, low=0.0, below=1.0)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        del place
        return shape

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape
        return given if self.rate == 0 or given == NUMBERS else NEITHER
