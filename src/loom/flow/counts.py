"""Whole numbers of ``loom.flow`` (docs/guide/flow.md, "Numbers"): ``4.0`` counts as 4.

Layer: flow. Invariant: a number that is not whole is an error, never rounded.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError

__all__ = ["is_whole", "whole"]


def is_whole(value: Any) -> bool:
    """Tell whether ``value`` is an int or a float without a fraction; bools are not numbers here."""
    if isinstance(value, (bool, np.bool_)):
        return False
    if isinstance(value, (int, np.integer)):
        return True
    return isinstance(value, (float, np.floating)) and float(cast("float", value)).is_integer()


def whole(value: Any, where: str, name: str, *, least: int = 0) -> int:
    """Return ``value`` as an int of at least ``least``; ArgumentError names ``where`` and ``name``.

    >>> whole(4.0, "loom_dispatch", "wg")
    4
    """
    if not is_whole(value) or value < least:
        raise ArgumentError(
            where,
            f"unusable {name}",
            expected=f"a whole number of at least {least}",
            got=repr(value),
            remedy=f"Pass an int, or a float such as {max(least, 1)}.0",
        )
    return int(value)
