"""How two networks differ: in what their documents say, and in the bits of their weights.

Layer: nn. Invariant: two networks are equal here exactly if their documents and all bits of their weights are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.given import is_list, is_mapping
from loom.core.late.dataclass import dataclass
from loom.nn.base.digests import digest_of
from loom.nn.spec import to_document
from loom.nn.weights.model import Model

__all__ = ["NetworkDiff", "SpecChange", "WeightChange", "diff_models"]

_NOTHING = "nothing"
"""What stands where one of two documents says nothing."""


@dataclass(frozen=True, slots=True)
class SpecChange:
    """What one document says at a path, and the other."""

    path: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class WeightChange:
    """An array that differs. ``elements`` of ``size`` have other bits, ``bits`` in all; ``max_abs``: the largest
    difference, infinite where one alone is no finite number; None for other shapes or types, told in ``why``."""

    name: str
    size: int
    elements: int
    bits: int
    max_abs: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class NetworkDiff:
    """How two networks differ; ``print(diff)`` tells it.

    ``structure``: where the documents differ; ``weights``: the arrays that do, of those ``compared``; ``only_first``,
    ``only_second``: names of weights that one alone has; ``digests`` of all weights of each.
    """

    structure: tuple[SpecChange, ...]
    weights: tuple[WeightChange, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    digests: tuple[str, str]
    compared: int = field(default=0)

    @property
    def is_same(self) -> bool:
        """Tell whether nothing differs."""
        return not (self.structure or self.weights or self.only_first or self.only_second)

    @property
    def max_abs(self) -> float:
        """The largest difference of all weights that can be compared."""
        return max((w.max_abs for w in self.weights if w.max_abs is not None), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it; an infinite difference is None."""
        return {
            "is_same": self.is_same, "compared": self.compared, "digests": list(self.digests),
            "structure": [{"path": c.path, "first": c.first, "second": c.second} for c in self.structure],
            "weights": [
                {"name": w.name, "size": w.size, "elements": w.elements, "bits": w.bits, "why": w.why,
                 "max_abs": None if w.max_abs is None or not np.isfinite(w.max_abs) else w.max_abs}
                for w in self.weights
            ],
            "only_first": list(self.only_first), "only_second": list(self.only_second),
        }  # fmt: skip

    def __str__(self) -> str:
        """Return a line for each difference."""
        lines = [f"{c.path}: {c.first!r} -> {c.second!r}" for c in self.structure]
        lines += [f"{name}: only in the {which}" for which, names in
                  (("first", self.only_first), ("second", self.only_second)) for name in names]  # fmt: skip
        for w in self.weights:
            told = w.why or f"{w.elements:,} of {w.size:,} elements, {w.bits:,} bits, at most {w.max_abs:.6g}"
            lines.append(f"{w.name}: {told}")
        first, second = self.digests
        lines.append(f"{self.compared} arrays compared, {len(self.weights)} differ" if lines else "nothing differs")
        return "\n".join([*lines, f"sha256 {first}", f"sha256 {second}"])


def diff_models(first: Model, second: Model) -> NetworkDiff:
    """Return the differences of two models.

    Args:
        first: Model: a network's ``model``.
        second: Another.
    """
    mine, theirs = first.weights(), second.weights()
    both = [name for name in mine if name in theirs]
    found = [_compare(name, mine[name], theirs[name]) for name in both]
    return NetworkDiff(
        structure=tuple(_changes("$", to_document(first.network), to_document(second.network))),
        weights=tuple(w for w in found if w is not None), only_first=tuple(n for n in mine if n not in theirs),
        only_second=tuple(n for n in theirs if n not in mine), compared=len(both),
        digests=(digest_of(mine), digest_of(theirs)),
    )  # fmt: skip


def _changes(path: str, a: Any, b: Any) -> Iterator[SpecChange]:
    """Yield where two values of JSON differ, the paths as deep as both go."""
    if is_mapping(a) and is_mapping(b):
        keys = [*a, *(key for key in b if key not in a)]
        for key in keys:
            yield from _changes(f"{path}.{key}", _at(a, key), _at(b, key))
        return
    if is_list(a) and is_list(b):
        for k in range(max(len(a), len(b))):
            at = [v[k] if k < len(v) else _NOTHING for v in (a, b)]
            yield from _changes(f"{path}[{k}]", *at)
        return
    if type(a) is not type(b) or a != b:
        yield SpecChange(path, a, b)


def _at(found: Mapping[Any, Any], key: Any) -> Any:
    return found.get(key, _NOTHING)


def _compare(name: str, a: Array, b: Array) -> WeightChange | None:
    if a.shape != b.shape or a.dtype != b.dtype:
        return WeightChange(name, a.size, a.size, 0, None, f"{a.dtype} of {a.shape} -> {b.dtype} of {b.shape}")
    words = f"u{a.dtype.itemsize}"
    mine, theirs = (np.ascontiguousarray(v).view(words) for v in (a, b))
    changed = mine ^ theirs
    elements = int(np.count_nonzero(changed))
    if not elements:
        return None
    bits = int(np.unpackbits(np.ascontiguousarray(changed).reshape(-1).view(np.uint8)).sum())
    return WeightChange(name, a.size, elements, bits, _farthest(_wide(a), _wide(b)))


def _wide(a: Array) -> Array:
    """Return numbers as f64; uint16 are the bits of bf16."""
    if a.dtype == np.uint16:
        return (a.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return a.astype(np.float64)


def _farthest(a: Array, b: Array) -> float:
    with np.errstate(all="ignore"):
        away = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return float(np.where(same, 0.0, np.where(np.isnan(away), np.inf, away)).max())
