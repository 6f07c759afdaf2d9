"""What patterns ask of their arrays besides what ``core.arrays`` reads.

Layer: patterns. Invariant: nothing is computed here.
"""

from __future__ import annotations

from typing import Any

from loom.core.arrays import read_array as as_array
from loom.core.errors import EmptyError

__all__ = ["as_array", "require_elements"]


def require_elements(array: Any, where: str, what: str) -> None:
    """Raise EmptyError if there is nothing to find ``what`` of."""
    if not array.size:
        raise EmptyError(
            where, f"no elements to take the {what} of", expected="at least 1", got=0,
            remedy="Check for emptiness first",
        )  # fmt: skip
