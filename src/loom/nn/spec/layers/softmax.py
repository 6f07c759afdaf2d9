"""``softmax`` in ten variants, all along the last axis.

Layer: nn. Invariant: every variant's output is a distribution (or one per row), never negative. Sources: sparsemax
Martins and Astudillo 2016; alpha-entmax Peters, Niculae and Martins 2019; Gumbel-softmax Jang, Gu and Poole 2017;
hierarchical Morin and Bengio 2005; adaptive Grave and others 2017; mixture Yang and others 2018.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from itertools import accumulate
from math import fsum, prod
from operator import mul
from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import choice, flag, real, several, size
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.meaning import Meaning, probabilities
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.rules import Flag, Real, Several, Whole
from loom.nn.spec.base.shapes import has_rank

__all__ = ["Softmax", "Variant"]


class Variant(enum.Enum):
    """Which softmax; ``z`` is the input divided by ``temperature``."""

    STANDARD = "standard"
    """exp(z - max z), normalised"""
    GRID = "grid"
    """standard in each of ``rows`` rows of ``cols``"""
    HIERARCHICAL = "hierarchical"
    """product of the standard softmaxes among siblings, along the path from the root, of a tree of ``levels``"""
    TEMPERATURE = "temperature"
    """standard; the name says that the temperature matters"""
    GUMBEL = "gumbel"
    """standard of (z + Gumbel noise) / temperature, the noise in training only, drawn by the network's seed"""
    MASKED = "masked"
    """standard among elements where ``mask`` is true; the others are 0"""
    SPARSE = "sparse"
    """sparsemax: the nearest point of the simplex"""
    ADAPTIVE = "adaptive"
    """softmax over head items and cluster tokens, times the softmax within each tail cluster"""
    MIXTURE = "mixture"
    """sum of weights_k softmax(z_k), z_k the k-th part of the input"""
    ENTMAX = "entmax"
    """alpha-entmax: [(alpha - 1) z - tau]+ ^ (1 / (alpha - 1)), tau such that the sum is 1"""


_OTHER_NAMES = {"sparsemax": "sparse", "softmax": "standard", "hierarchy": "hierarchical", "mask": "masked"}

_FIELDS = {
    "rows": Variant.GRID,
    "cols": Variant.GRID,
    "levels": Variant.HIERARCHICAL,
    "mask": Variant.MASKED,
    "clusters": Variant.ADAPTIVE,
    "weights": Variant.MIXTURE,
}
"""Fields that one variant needs and no other may have."""


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Layer):
    """Distribution along the last axis, (..., n) to (..., n); no weights.

    ``hierarchical`` and ``adaptive`` take either one number per leaf or item (an inner node, a cluster's token, then
    has the mean of those below it), or own numbers for them as well: level after level of the tree, (..., sum of
    the levels' sizes) to (..., leaves); items, then tokens of all clusters but the head, (..., items + clusters - 1)
    to (..., items). ``mixture`` of K weights takes (..., K n) to (..., n).
    """

    kind: ClassVar[str] = "softmax"

    variant: Variant = choice(Variant, "which softmax", Variant.STANDARD, _OTHER_NAMES)
    temperature: float = real("what the input is divided by", 1.0, above=0.0)
    rows: int | None = size("grid: the number of rows", None)
    cols: int | None = size("grid: the number of elements of a row", None)
    levels: tuple[int, ...] = several(Whole(), "hierarchical: children of a node, from the root's downward", ())
    mask: tuple[bool, ...] = several(Flag(), "masked: true where an element takes part", ())
    clusters: tuple[tuple[int, ...], ...] = several(
        Several(Whole(0), 1), "adaptive: item numbers of each cluster, the head first; every item once", ()
    )
    weights: tuple[float, ...] = several(Real(low=0.0), "mixture: the share of each part; their sum is 1", ())
    alpha: float = real("entmax: 1 is softmax, 2 is sparsemax", 1.5, low=1.0, high=100.0)
    noise: bool = flag("gumbel: true if noise is added", True)

    def inspect(self, place: Place) -> None:
        """Note fields that do not go together."""
        for name, variant in _FIELDS.items():
            given = getattr(self, name) not in (None, ())
            if given and self.variant is not variant:
                place.at(name).fault(f"only the variant '{variant.value}' has this key", got=self.variant.value)
            if not given and self.variant is variant:
                place.fault(f"key '{name}' is missing", expected=f"what the variant '{variant.value}' needs")
        if self.alpha != 1.5 and self.variant is not Variant.ENTMAX:
            place.at("alpha").fault("only the variant 'entmax' has this key", got=self.variant.value)
        if not self.noise and self.variant is not Variant.GUMBEL:
            place.at("noise").fault("only the variant 'gumbel' has this key", got=self.variant.value)
        for name, what, expected, got in self._faults():
            place.at(name).fault(what, expected=expected, got=got)

    def _faults(self) -> Iterator[tuple[str, str, str, object]]:
        if self.mask and not any(self.mask):
            yield "mask", "no element takes part", "at least one true", "none"
        total = fsum(self.weights)
        if self.weights and not abs(total - 1.0) <= 1e-6:
            yield "weights", "the shares do not add up", "a sum of 1", f"{total:g}"
        items = sorted(i for cluster in self.clusters for i in cluster)
        if items != list(range(len(items))):
            yield "clusters", "not every item occurs once", f"each of 0 to {len(items) - 1} once", f"{len(items)} items"

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 1, 0):
            return None
        met = shape[-1]
        accepted = self._lengths(met)
        if met in accepted:
            return (*shape[:-1], accepted[met])
        what = " or ".join(str(n) for n in accepted)
        if self.variant is Variant.MIXTURE:
            what = f"a multiple of {len(self.weights)}"
        place.fault(
            f"the last axis does not fit the variant '{self.variant.value}'", expected=f"{what} elements", got=met
        )
        return None

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del given
        return probabilities(self.cols or self.output_shape(shape)[-1])

    def _lengths(self, met: int) -> dict[int, int]:
        """Return input length -> output length, of those that the variant accepts."""
        if self.variant is Variant.GRID:
            return {(self.rows or 0) * (self.cols or 0): met}
        if self.variant is Variant.HIERARCHICAL:
            leaves = prod(self.levels)
            return {leaves: leaves, sum(accumulate(self.levels, mul)): leaves}
        if self.variant is Variant.MASKED:
            return {len(self.mask): met}
        if self.variant is Variant.ADAPTIVE:
            items = sum(len(c) for c in self.clusters)
            return {items: items, items + len(self.clusters) - 1: items}
        if self.variant is Variant.MIXTURE:
            return {met: met // len(self.weights)} if met % len(self.weights) == 0 else {}
        return {met: met}
