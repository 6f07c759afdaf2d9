"""Checks of weights that come from elsewhere.

Layer: nn. Invariant: a number that the network's type does not have, or that is no number, is an error and never
another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.conversions import LARGEST
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, NotFinite

__all__ = ["require_numbers"]


def require_numbers(weights: Mapping[str, Any], dtype: DType, where: str) -> None:
    """See that weights from elsewhere are numbers of a network of ``dtype``.

    DTypeError for arrays of integers, which stand for other numbers by a scale that nobody told; NotFinite for NaN and
    infinities; ArgumentError for numbers that are too large for the type.
    """
    for name, given in weights.items():
        _require_floats(name, given, where)
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            continue  # who writes it says what is wrong
        is_finite = np.isfinite(array)
        if not is_finite.all():
            place = tuple(int(i) for i in np.argwhere(~is_finite)[0])
            raise NotFinite(f"{where}, {name!r}", f"a weight is {array[place]}", expected="finite numbers",
                            got=f"{np.count_nonzero(~is_finite)} others, the first at {place}",
                            remedy="The training it comes from diverged, or the file is damaged")  # fmt: skip
        largest = float(np.abs(array.astype(np.float64)).max(initial=0.0))
        if largest > LARGEST[dtype.name]:
            raise ArgumentError(f"{where}, {name!r}", f"a weight is too large for {dtype}",
                                expected=f"at most {LARGEST[dtype.name]:g} in size", got=f"{largest:g}",
                                remedy='Use a network of a wider type: {"dtype": "f64"}')  # fmt: skip


def _require_floats(name: str, given: Any, where: str) -> None:
    kind = getattr(getattr(given, "dtype", None), "kind", "f")  # lists of whole numbers are what they say
    if kind in "iub":
        raise DTypeError(f"{where}, {name!r}", "weights of integers have no scale", expected="floating point",
                         got=given.dtype, remedy="Multiply them by their scale first")  # fmt: skip
