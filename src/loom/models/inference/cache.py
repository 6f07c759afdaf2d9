"""Keys and values of all layers on the device, and the pass that writes and reads them.

Layer: models. Invariant: a page has the same number in every layer.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.core.dtype import DType, f32
from loom.kernels.attention.cached import PAGE
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.neural.cached import cached_attention
from loom.tensor.record.graph import PARAMETER

__all__ = ["PageStore", "PassCache", "device_parameter"]


class PageStore:
    """Memory for ``pages`` pages of every layer that asks for some, in elements of ``held``."""

    def __init__(self, device: Device, pages: int, held: DType = f32) -> None:
        self.device = device
        self.pages = pages
        self.held = held
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}

    def of_layer(self, name: str, heads: int, size: int) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a layer, each (pages, heads, 64 size)."""
        if name not in self._kept:
            shape = (self.pages, heads, PAGE * size)
            keys, values = (
                device_parameter(f"{name}.{kind}", shape, self.held, self.device) for kind in ("keys", "values")
            )
            self._kept[name] = keys, values
        return self._kept[name]


def device_parameter(name: str, shape: tuple[int, ...], dtype: DType, device: Device) -> Tensor:
    """Return a parameter of zeros that never was on the host."""
    memory = device.allocate(math.prod(shape) * dtype.nbytes)
    return Tensor(PARAMETER, (), shape, dtype, name=name, data=memory, device=device)


class PassCache:
    """The ``Cache`` of one pass: ``places`` (rows, 2) and ``tables`` (sequences, width)."""

    def __init__(self, store: PageStore, places: Tensor, tables: Tensor) -> None:
        self.store = store
        self.places = places
        self.tables = tables

    def attend(self, name: str, q: Tensor, k: Tensor, v: Tensor, factor: float, window: int | None) -> Tensor:
        """Record the attention of a layer over its pages."""
        (rows, queries, _, size), heads = q.shape, k.shape[1]
        keys, values = self.store.of_layer(name, heads, size)
        made = cached_attention(
            tensor.reshape(q, (rows, heads, queries // heads, size)), tensor.reshape(k, (rows, heads, size)),
            tensor.reshape(v, (rows, heads, size)), keys, values, self.places, self.tables, factor, window,
        )  # fmt: skip
        return tensor.reshape(made, (rows, queries, 1, size))
