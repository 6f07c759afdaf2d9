"""A network's weights in a type of storage: which of them, with which scales, and how far they are from before.

Layer: nn. Invariant: names and shapes stay; a weight that is not stored is left as it is, in the network's own type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from math import prod
from typing import Any

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.conversions import widen
from loom.core.dtype import DType, bf16
from loom.core.errors import ArgumentError, LoomError, near_matches
from loom.core.given import is_list, is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.narrow import TYPES, NumericType, StoredArray, numeric_type, store
from loom.formats.tensor_error import TensorError, error_of
from loom.nn.spec import NetworkSpec

__all__ = ["StoredWeights", "store_weights"]

_OUTPUT_LAST = ("dense", "stitch", "swiglu", "multi_head_attention")
"""Layers whose weights are (in, out); those of the others begin with the axis of what they give."""
_COLUMNS = ("weight", "type", "elements", "max error", "relative", "rms", "bits lost", "clipped", "bytes")


@dataclass(frozen=True, slots=True, eq=False)
class StoredWeights:
    """Weights as they are stored, by name, and (of a conversion, not of a file) the error of each.

    ``elements`` and ``nbytes`` count all trained weights of the network, those that are not stored as well.
    """

    arrays: Mapping[str, StoredArray]
    errors: tuple[TensorError, ...]
    elements: int
    nbytes: int

    @classmethod
    def of(
        cls, arrays: Mapping[str, StoredArray], network: NetworkSpec, errors: Sequence[TensorError] = ()
    ) -> StoredWeights:
        """Return the storage of a network of which these weights are stored."""
        shapes = network.parameters()
        kept = sum(prod(s) for n, s in shapes.items() if n not in arrays) * network.dtype.nbytes
        nbytes = kept + sum(a.nbytes for a in arrays.values())
        return cls(arrays, tuple(errors), sum(prod(s) for s in shapes.values()), nbytes)

    def __repr__(self) -> str:
        return f"<StoredWeights of {len(self.arrays)} weights, {self.nbytes} bytes: {', '.join(self.types)}>"

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the types of storage that are used."""
        used = {a.dtype.name for a in self.arrays.values()}
        return tuple(name for name in TYPES if name in used)

    def is_that_of(self, weights: Mapping[str, Array], dtype: DType) -> bool:
        """Tell whether all that is stored is still, bit for bit, in ``Model.weights()`` of a network of ``dtype``."""
        return all(_is_same(stored, weights[name], dtype) for name, stored in self.arrays.items())

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {"types": [*self.types], "elements": self.elements, "nbytes": self.nbytes,
                "errors": [e.to_dict() for e in self.errors]}  # fmt: skip

    def table(self) -> str:
        """Return the errors as lines of text, a weight in each."""
        rows: list[tuple[str, ...]] = [_COLUMNS]
        for e in self.errors:
            rows.append((e.name, e.dtype, str(e.elements), f"{e.max_abs:.3g}", f"{e.max_relative:.3g}", f"{e.rms:.3g}",
                         f"{e.bits_lost:.1f}", str(e.clipped), str(e.nbytes)))  # fmt: skip
        wide = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines: list[str] = []
        for row in rows:
            cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, wide, strict=True))]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)


def _is_same(stored: StoredArray, weight: Array, dtype: DType) -> bool:
    """Tell whether a weight, as a model has it, is what was stored."""
    try:
        decoded = read_as(stored.decode(), dtype, "loom.nn.numeric")
    except LoomError:
        return False
    return decoded.tobytes() == np.ascontiguousarray(weight).tobytes()


def store_weights(
    network: NetworkSpec, weights: Mapping[str, Array], dtype: Any, *, scales: Any = "auto",
    power_of_two: bool = False, keep: Sequence[str] = (), where: str = "loom.Network.convert",
    held: StoredWeights | None = None,
) -> StoredWeights:  # fmt: skip
    """Return the trained weights of a network as they are stored in a type.

    Running means and the numbers of ``scale`` layers are no trained weights: they stay.

    Args:
        network: Description of the network.
        weights: Arrays by name (``Model.weights()``).
        dtype: Type of storage, or types by patterns of names: the first that fits a name is taken, and weights that
            none fits stay.
        scales: Rule of the scales, or numbers, as of ``store``; a channel is an output of the layer.
        power_of_two: Whether scales are rounded to powers of two.
        keep: Names, or patterns (``"*.bias"``), of weights that stay as they are.
        where: Beginning of errors' texts.
        held: Storage of these very weights; codes that would be the same, with a scale that differs by its rounding,
            stay as they are: nothing is lost twice; None: none.

    Raises:
        ArgumentError: No weight is called so, or none is stored; an unusable scale or rule.
        DTypeError: Not a type of storage.
        NotFinite: A weight has a NaN or an infinity.
    """
    shapes = network.parameters()
    kept = _match_names(keep, shapes, f"{where}, keep")
    types = _types_of(dtype, [n for n in shapes if n not in kept], where)
    if not types:
        remedy = "Keep fewer, or name more in dtype" if shapes else "Its layers have none to store"
        raise ArgumentError(where, "no weight is stored", expected="at least one",
                            got=f"{len(shapes)} weights, {len(kept)} of them kept", remedy=remedy)  # fmt: skip
    channels = _channels(network)
    arrays: dict[str, StoredArray] = {}
    errors: list[TensorError] = []
    for name, kind in types.items():
        exact = widen(weights[name], network.dtype) if network.dtype == bf16 else weights[name]
        found = store(
            exact, kind, scales=scales, power_of_two=power_of_two, channel=channels[name], where=f"{where}, {name!r}"
        )  # fmt: skip
        before = None if held is None else held.arrays.get(name)
        arrays[name] = found = before if before is not None and _means_same(before, found) else found
        errors.append(error_of(exact, found, name, bits=TYPES[network.dtype.name].digits))
    return StoredWeights.of(arrays, network, errors)


def _means_same(one: StoredArray, other: StoredArray) -> bool:
    """Tell whether two storages have the same codes, and scales that are equal but for a rounding."""
    if one.dtype is not other.dtype or one.data != other.data or one.scale is None or other.scale is None:
        return False
    near, wide = 4 * float(np.finfo(one.scale.dtype).eps), one.scale.astype(np.float64)
    is_near = one.scale.shape == other.scale.shape and bool((np.abs(other.scale - wide) <= near * wide).all())
    zeros = [None if z is None else z.tobytes() for z in (one.zero, other.zero)]
    return is_near and zeros[0] == zeros[1]


def _match_names(patterns: Sequence[str], names: Mapping[str, Any], where: str) -> list[str]:
    """Return the names that patterns mean; ArgumentError for a pattern that means none."""
    found: dict[str, None] = {}
    if not is_list(patterns) and not isinstance(patterns, str):
        raise ArgumentError(where, "not names of weights", expected='a list of names or patterns such as "*.bias"',
                            got=repr(patterns)[:60], remedy='Write ["*.bias"]')  # fmt: skip
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        met = [n for n in names if fnmatchcase(n, pattern)] if isinstance(pattern, str) else []
        if not met:
            raise ArgumentError(where, f"no weight is called {pattern!r:.80}",
                                remedy=near_matches(str(pattern), [*names]))  # fmt: skip
        found |= dict.fromkeys(met)
    return [*found]


def _types_of(dtype: Any, names: Sequence[str], where: str) -> dict[str, NumericType]:
    """Return name -> type of storage, in the order of the names."""
    where = f"{where}, dtype"
    if not is_mapping(dtype):
        return dict.fromkeys(names, numeric_type(dtype, where))
    found: dict[str, NumericType] = {}
    for pattern, each in dtype.items():
        kind = numeric_type(each, where)
        found = dict.fromkeys(_match_names([pattern], dict.fromkeys(names), where), kind) | found
    return {n: found[n] for n in names if n in found}


def _channels(network: NetworkSpec) -> dict[str, int]:
    """Return name -> axis of a weight's outputs."""
    return {
        f"{part.name}.{key}": -1 if part.layer.kind in _OUTPUT_LAST else 0
        for part in network.walk()
        for key in part.layer.own_weights(part.shape)
    }
