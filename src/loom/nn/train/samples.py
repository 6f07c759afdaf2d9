"""Samples as training takes them: arrays of one length, of the network's types, all numbers finite.

Layer: nn. Invariant: what is wrong with data is told before anything runs, with the array and the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from loom.core.arrays import converted, read_array, shown, widened
from loom.core.dtype import DType, f32, i32
from loom.core.errors import EmptyError, NotFinite, ShapeError
from loom.nn.train.losses import CHANCE_LOSSES

__all__ = ["WHOLE", "Samples", "batches", "checked_inputs", "checked_samples", "numbers"]

Array = np.ndarray[Any, Any]
WHOLE = "biu"
"""Kinds of numpy types that number classes."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs of shape (n, ...) and targets of shape (n, ...)."""

    x: Array
    y: Array
    x_type: DType
    y_type: DType

    def __len__(self) -> int:
        return len(self.x)


def numbers(x: Any, where: str, name: str = "x") -> Array:
    """Return ``x`` as an array (``core.arrays``), bf16 as f32; DTypeError if it is none of numbers."""
    return widened(*read_array(x, f"{where}, {name}"))


def checked_inputs(x: Any, x_type: DType, where: str, name: str = "x") -> Array:
    """Return inputs as a contiguous array of a type; errors for no samples, no numbers, NaN and infinities."""
    found, held = read_array(x, f"{where}, {name}")
    if found.ndim == 0 or len(found) == 0:
        raise EmptyError(where, f"{name} has no samples", expected="at least 1", got=f"shape {found.shape}",
                         remedy="Pass an array whose first axis counts samples")  # fmt: skip
    if held.is_float:
        _require_finite(widened(found, held), where, name)
    return shown(converted(found, held, x_type, f"{where}, {name}"), x_type)


def _require_finite(array: Array, where: str, name: str) -> None:
    rows = np.isfinite(array).reshape(len(array), -1).all(1)
    if not rows.all():
        at = int(np.argmin(rows))
        row = array[at].reshape(-1)
        value = "NaN" if np.isnan(row[~np.isfinite(row)][0]) else "an infinity"
        error = NotFinite(where, f"{value} in the data: {name}, sample {at}", expected="finite numbers",
                          remedy="Remove or replace it; nothing was run")  # fmt: skip
        error.tensor = name
        raise error


def checked_samples(
    x: Any, y: Any, loss: Any, x_type: DType = f32, where: str = "train", *, y_type: DType = f32
) -> Samples:
    """Return samples for a loss; classes for those of classes become i32, other targets floats of ``y_type``."""
    inputs = checked_inputs(x, x_type, where)
    targets = numbers(y, where, "y")
    is_class = loss in CHANCE_LOSSES and targets.dtype.kind in WHOLE
    held = i32 if is_class else y_type
    targets = checked_inputs(targets, held, where, "y")
    if len(inputs) != len(targets):
        raise ShapeError(where, "x and y differ in samples", expected=f"{len(inputs)} targets", got=len(targets),
                         remedy="One target for each sample")  # fmt: skip
    return Samples(inputs, targets, x_type, held)


def batches(n: int, size: int) -> list[slice]:
    """Return the batches of n samples; the last has what is left."""
    return [slice(at, min(at + size, n)) for at in range(0, n, size)]
