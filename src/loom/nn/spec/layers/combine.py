"""Ways to make one array of several: for the branches of ``parallel`` and the inputs of ``merge``.

Layer: nn. Invariant: the order of the arrays is that of the document, and sums are taken in it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import choice, field_of
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.meaning import Meaning, meaning_of_concat, meaning_of_mean, meaning_of_product, meaning_of_sum
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Whole

__all__ = ["Combine", "Merge", "concatenate", "equal", "meaning_of_combination", "normal_axis"]


class Combine(enum.Enum):
    """How arrays become one."""

    CONCAT = "concat"
    """one after another along an axis"""
    ADD = "add"
    """sum"""
    AVG = "avg"
    """mean"""
    MULTIPLY = "multiply"
    """product"""


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Merge(Layer):
    """One array of a graph node's several inputs; two or more, of equal shapes but for ``concat`` along its axis."""

    kind: ClassVar[str] = "merge"
    other_names: ClassVar[tuple[str, ...]] = ("add", "concat")
    takes_many: ClassVar[bool] = True

    combine_mode: Combine = choice(Combine, "how the inputs become one", Combine.CONCAT, {"average": "avg"})
    axis: int = field_of(Whole(-8, 7), "concat: the axis; negative from the last", -1)

    def inspect(self, place: Place) -> None:
        """Note an axis that nothing is put together along."""
        if self.axis != -1 and self.combine_mode is not Combine.CONCAT:
            place.at("axis").fault("only the combine_mode 'concat' has this key", got=self.combine_mode.value)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        return self.infer_all((shape,), place)

    def infer_all(self, shapes: tuple[Shape, ...], place: Place) -> Shape | None:
        if len(shapes) < 2:
            place.fault(
                "merge takes several inputs", expected="at least 2", got=len(shapes),
                remedy="It is for graphs: use it in 'nodes'.",
            )  # fmt: skip
            return None
        if self.combine_mode is Combine.CONCAT:
            return concatenate(shapes, self.axis, place, "inputs")
        return shapes[0] if equal(shapes, place, "inputs") else None

    def means_all(self, shapes: tuple[Shape, ...], given: tuple[Meaning, ...]) -> Meaning:
        return meaning_of_combination(self.combine_mode, self.axis, shapes, given)


def meaning_of_combination(mode: Combine, axis: int, shapes: Sequence[Shape], given: Sequence[Meaning]) -> Meaning:
    """Return what the array made of several means."""
    if mode is Combine.CONCAT:
        return meaning_of_concat(given, shapes, axis % len(shapes[0]))
    of_mode = {Combine.ADD: meaning_of_sum, Combine.AVG: meaning_of_mean, Combine.MULTIPLY: meaning_of_product}
    return of_mode[mode](given)


def equal(shapes: tuple[Shape, ...], place: Place, what: str) -> bool:
    """Note a problem unless all shapes are the same."""
    if len(set(shapes)) == 1:
        return True
    other = next(i for i, s in enumerate(shapes) if s != shapes[0])
    place.fault(
        f"the {what} have unequal shapes",
        expected=f"{shapes[0]} as of number 0",
        got=f"{shapes[other]} of number {other}",
        remedy="Bring them to one shape, for example with stitch.",
    )
    return False


def normal_axis(axis: int, rank: int, place: Place) -> int | None:
    """Return the axis counted from the first, or note that there is none such."""
    if -rank <= axis < rank:
        return axis % rank
    place.at("axis").fault("no such axis", expected=f"from {-rank} to {rank - 1}", got=axis)
    return None


def concatenate(shapes: tuple[Shape, ...], axis: int, place: Place, what: str) -> Shape | None:
    """Return the shape of arrays put one after another along an axis, where all other sizes are equal."""
    if len({len(s) for s in shapes}) != 1:
        equal(shapes, place, what)
        return None
    along = normal_axis(axis, len(shapes[0]), place)
    if along is None:
        return None
    rest = tuple((*s[:along], 0, *s[along + 1 :]) for s in shapes)
    if len(set(rest)) != 1:
        place.fault(
            f"the {what} differ along other axes than {axis}", expected="equal sizes there",
            got=", ".join(str(s) for s in shapes[:8]),
        )  # fmt: skip
        return None
    return (*shapes[0][:along], sum(s[along] for s in shapes), *shapes[0][along + 1 :])
