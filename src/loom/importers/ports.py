"""What an imported graph takes and gives: names, dtypes, and lengths that are fixed, named or free.

Layer: importers. Invariant: what is not the graph's (a name, rank or length) is told before anything runs, and one name
has one length in a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loom.core.dtype import DType, lookup
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass

__all__ = ["ArrayInfo", "check_names", "check_shapes", "name_arguments"]


@dataclass(frozen=True)
class ArrayInfo:
    """An input or output: its name, dtype, and shape (a length, a name of a length, or None), None if unknown."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    @property
    def type(self) -> DType:
        """Its dtype."""
        return lookup(self.dtype)


def name_arguments(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the arguments of a call by name; ArgumentError for more than there are names, and for one twice."""
    if len(args) > len(names):
        raise ArgumentError(where, "too many arguments", expected=", ".join(names) or "none", got=len(args),
                            remedy="Leave some out")  # fmt: skip
    passed = dict(zip(names, args, strict=False))
    for name in kwargs:
        if name in passed:
            raise ArgumentError(where, f"{name!r} is given twice", expected="once", got="twice", remedy="Leave one out")
    return passed | dict(kwargs)


def check_names(given: Mapping[str, Any], needed: Sequence[str], known: Sequence[str], where: str) -> None:
    """ArgumentError unless all ``needed`` inputs are given, and none that is not ``known``."""
    if not is_mapping(given):
        raise ArgumentError(where, "inputs without names", expected="a mapping: name -> array",
                            got=type(given).__name__, remedy="Pass {" + ", ".join(f"{n!r}: array" for n in known) + "}"
                            )  # fmt: skip
    unknown, missing = sorted(set(map(str, given)) - set(known)), sorted(set(needed) - set(given))
    if unknown or missing:
        remedy = f"Pass {', '.join(missing)}" if missing else near_matches(unknown[0], list(known))
        raise ArgumentError(where, "not the inputs of the model", expected=", ".join(sorted(needed)) or "none",
                            got=", ".join(sorted(map(str, given))) or "none",
                            remedy=remedy or "Leave the others out")  # fmt: skip


def check_shapes(given: Mapping[str, Any], known: Mapping[str, ArrayInfo], where: str) -> None:
    """Refuse, with a ShapeError, arrays of another rank, lengths fixed otherwise, and two lengths of one name."""
    lengths: dict[str, tuple[int, str]] = {}
    for name, a in given.items():
        wanted, shape = known[name].shape, tuple(a.shape)
        if wanted is None:
            continue
        if len(shape) != len(wanted):
            raise ShapeError(where, f"{name!r} has another shape", expected=wanted, got=shape, remedy="Reshape it")
        for n, length in zip(shape, wanted, strict=True):
            first, at = lengths.setdefault(length, (n, name)) if isinstance(length, str) else (length, "")
            if first is not None and first != n:
                remedy = "Import the model with a free length there, or with this one, or pad the array"
                raise ShapeError(where, f"{name!r} has another shape", expected=wanted, got=shape,
                                 remedy=f"Let {length!r} be {first}, as it is in {at!r}" if at else remedy)  # fmt: skip
