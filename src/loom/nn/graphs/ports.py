"""What an imported graph takes and gives: names, dtypes, and lengths that are fixed, named or free.

Layer: nn. Invariant: one name has one length in a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.core.dtype import DType, lookup
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass

__all__ = ["ArrayInfo", "check_shapes"]


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


def check_shapes(given: Mapping[str, Any], known: Mapping[str, ArrayInfo], where: str) -> None:
    """Refuse, with a ShapeError, arrays of another rank, lengths fixed otherwise, and two lengths of one name."""
    lengths: dict[str, tuple[int, str]] = {}
    for name, a in given.items():
        wanted = known[name].shape
        shape = tuple(a.shape)
        if wanted is None:
            continue
        if len(shape) != len(wanted):
            raise ShapeError(where, f"{name!r} has another shape", expected=wanted, got=shape, remedy="Reshape it")
        for n, length in zip(shape, wanted, strict=True):
            if isinstance(length, str):
                first, at = lengths.setdefault(length, (n, name))
                if first != n:
                    raise ShapeError(where, f"{name!r} has another shape", expected=wanted, got=shape,
                                     remedy=f"Let {length!r} be {first}, as it is in {at!r}")  # fmt: skip
            elif length is not None and length != n:
                remedy = "Import the model with a free length there, or with this one, or pad the array"
                raise ShapeError(where, f"{name!r} has another shape", expected=wanted, got=shape, remedy=remedy)
