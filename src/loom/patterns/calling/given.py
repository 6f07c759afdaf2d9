"""Results that the host works out from what patterns gave: back to where the data were.

Layer: patterns. Invariant: a result is an array of the device exactly if the data were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32, f64
from loom.core.errors import ShapeError
from loom.patterns.calling.call import Call
from loom.runtime.device import Device
from loom.tensor import Tensor, array
from loom.tensor.graph import made_apart

__all__ = ["as_given", "read_rows"]


def read_rows(
    where: str, data: Any, on: str | Device | None = None, *, what: str = "data", allowed: Sequence[DType] = (f32, f64)
) -> np.ndarray[Any, Any]:
    """Return data (..., n), n at least 1, in host memory; ShapeError and DTypeError for others."""
    x = Call(where, on).input(data, what, allowed=allowed)
    if not x.shape or not x.size:
        raise ShapeError(f"{where}, {what}", "no elements along an axis", expected="(..., n), n at least 1",
                         got=x.shape, remedy="Pass a row")  # fmt: skip
    return x.memory


def as_given(data: Any, found: Any) -> Any:
    """Return a result on the device that ``data`` was on."""
    if not isinstance(data, Tensor):
        return found
    made = array(found, on=data.device)
    made_apart(made, [data])
    return made
