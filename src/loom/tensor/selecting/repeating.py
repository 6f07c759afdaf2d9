"""``repeat``: elements several times side by side.

Layer: tensor. Chapter "Manipulation functions" of the array API standard 2024.12. Invariant: no element is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.errors import DTypeError, ShapeError
from loom.core.given import is_list, items
from loom.core.numbers import whole
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops import views
from loom.tensor.record.graph import Node, require_tensor
from loom.tensor.selecting.taking import take

__all__ = ["repeat"]


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Return every element ``repeats`` times side by side along an axis (None: all flattened).

    ``repeats``: one number, or a tensor or list of one for each place of the axis, which is read by the host, as the
    shape of the result depends on it.

    Args:
        x: Tensor of any shape.
        repeats: How often each element, a number or one for each along the axis.
        axis: Axis; None: of the elements in row-major order.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        ShapeError: Not one for each place.

    >>> from loom import tensor
    >>> repeat(tensor.array([1, 2]), [3, 1]).tolist()
    [1, 1, 1, 2]
    """
    require_tensor(x, "repeat")
    at = 0 if axis is None else views.normal_axis(x, axis, "repeat")
    x = views.reshape(x, (x.size,)) if axis is None else x
    counts = _counts(repeats, x.shape[at])
    if isinstance(counts, int):
        wide = views.reshape(x, (*x.shape[: at + 1], 1, *x.shape[at + 1 :]))
        wide = views.broadcast_to(wide, (*x.shape[: at + 1], counts, *x.shape[at + 1 :]))
        return views.reshape(wide, (*x.shape[:at], x.shape[at] * counts, *x.shape[at + 1 :]))
    return take(x, np.repeat(np.arange(len(counts)), counts), axis=at)


def _counts(repeats: Any, n: int) -> int | list[int]:
    """Return one number, or as many as an axis is long."""
    if isinstance(repeats, Node):
        if not repeats.dtype.is_integer:
            raise DTypeError("repeat, repeats", "no whole numbers", expected="integers", got=repeats.dtype,
                             remedy="Convert with astype")  # fmt: skip
        repeats = np.asarray(repeats).tolist() if repeats.ndim else int(np.asarray(repeats))
    if not is_list(repeats) and not isinstance(repeats, np.ndarray):
        return whole(repeats, "repeat, repeats", least=0)
    found = [whole(each, "repeat, repeats", least=0) for each in items(repeats, "repeat, repeats", "whole numbers")]
    if len(found) == 1:
        return found[0]
    if len(found) != n:
        raise ShapeError("repeat, repeats", "not one for each place", expected=f"{n} numbers", got=len(found),
                         remedy="Match the axis, or pass one number")  # fmt: skip
    return found
