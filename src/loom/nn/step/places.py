"""Buffers as the host writes and reads them, tick after tick: with as little between as order and checks allow.

Layer: nn. Invariant: what is written is checked before, and follows every run that was launched.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.conversions import show, widen
from loom.core.errors import ShapeError
from loom.nn.step.tokens import Forms
from loom.nn.train.samples import check_inputs
from loom.runtime.memory.order import touching
from loom.runtime.memory.storage import HostStorage
from loom.tensor import Tensor
from loom.tensor.record.timelines import timeline_of

__all__ = ["BufferPlace", "fit"]


class BufferPlace:
    """The memory of a buffer, a parameter of the tensor layer."""

    __slots__ = ("_plain", "_tensor", "_timeline", "_view", "shape")

    def __init__(self, tensor: Tensor) -> None:
        assert tensor.device is not None
        self._tensor, self._timeline, self.shape = tensor, timeline_of(tensor.device), tensor.shape
        is_plain = tensor.dtype.is_float and not tensor.dtype.storage_only
        self._plain = tensor.dtype.numpy if is_plain else None
        self._view: Array | None = None
        if isinstance(tensor.data, HostStorage) and is_plain:
            self._view = tensor.data.bytes[: tensor.nbytes].view(tensor.dtype.numpy).reshape(tensor.shape)

    def holds(self, x: Array) -> bool:
        """Tell whether an array of the buffer's shape, or one sample of it, is of its type and finite."""
        return self._plain is not None and x.dtype == self._plain and bool(np.isfinite(x).all())

    def write(self, x: Array) -> None:
        """Write an array of the buffer's shape and type."""
        if self._view is None or self._tensor.users:
            self._tensor.write_elements(np.ascontiguousarray(x))
            return
        self._timeline.settle()
        with touching(writes=(self._tensor.data,)):
            self._view[...] = x

    def read(self) -> Array:
        """Return a copy, narrow floats as f32."""
        if self._view is None:
            return widen(*self._tensor.host_elements())
        self._timeline.settle()
        with touching((self._tensor.data,)):
            return self._view.copy()


def fit(values: Any, like: Tensor, where: str, forms: Forms) -> tuple[Array, tuple[bool, bool]]:
    """Return numbers as a buffer holds them, and what of its axes was left out."""
    found, held = read_array(values, where)
    form = forms.get(found.shape)
    if form is None:
        raise ShapeError(where, "another shape", expected=" or ".join(map(str, forms)), got=found.shape,
                         remedy="Make the state of so many samples: network.step(batch=n)")  # fmt: skip
    return check_inputs(show(found.reshape(like.shape), held), like.dtype, where), form
