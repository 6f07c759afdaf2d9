"""``max_pool`` and ``average_pool``: windows of a map brought to one number.

Layer: nn. Invariant: channels are the first axis and stay; padding counts neither as maximum nor in an average.
"""

from __future__ import annotations

from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import pair
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.meaning import NEITHER, Meaning
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import has_rank, slid

__all__ = ["AveragePool", "MaxPool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool(Layer):
    pool_size: tuple[int, int] = pair("rows and columns of the window (of a sequence: columns count)")
    stride: tuple[int, int] | None = pair(
        "rows and columns from window to window; the window's size if not given", None
    )
    padding: tuple[int, int] = pair("elements put at both ends of rows and columns", (0, 0), low=0)

    def inspect(self, place: Place) -> None:
        """Note a padding that makes windows of nothing."""
        if any(2 * p > k for p, k in zip(self.padding, self.pool_size, strict=True)):
            place.at("padding").fault(
                "the padding is wider than half the window",
                expected=f"at most {tuple(k // 2 for k in self.pool_size)}",
                got=self.padding,
            )

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 2, 3, "(channels, length) or (channels, rows, columns)"):
            return None
        axes = len(shape) - 1
        window = zip(shape[1:], self.pool_size[-axes:], self.strides[-axes:], self.padding[-axes:], strict=True)
        sizes = [slid(n, k, s, p, place.at("pool_size")) for n, k, s, p in window]
        known = tuple(n for n in sizes if n is not None)
        return (shape[0], *known) if len(known) == axes else None

    @property
    def strides(self) -> tuple[int, int]:
        """Rows and columns from window to window."""
        return self.stride or self.pool_size

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape
        return NEITHER if given.width else given


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(_Pool):
    """The largest element of each window, (channels, n...) to (channels, n'...), sizes as in conv2d."""

    kind: ClassVar[str] = "max_pool"
    other_names: ClassVar[tuple[str, ...]] = ("maxpool",)


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool(_Pool):
    """The mean of each window's elements, (channels, n...) to (channels, n'...), sizes as in conv2d."""

    kind: ClassVar[str] = "average_pool"
    other_names: ClassVar[tuple[str, ...]] = ("avg_pool",)
