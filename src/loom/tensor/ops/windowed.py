"""The gradient of images from that of their windows' products, a few images at a time.

Layer: tensor. Invariant: for every element the places of a window at which it was read are added in row-major order,
each the product over filters; how many images are taken at a time changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import f32, f64
from loom.core.late.dataclass import dataclass
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication
from loom.schedules.products.implicit import record_image_gradient
from loom.schedules.products.viewed import record_viewed
from loom.schedules.products.views import OperandView
from loom.schedules.products.windows import Images, images_at_a_time, record_window_sums
from loom.tensor.ops.joining import copy_into
from loom.tensor.ops.precision import precision_of
from loom.tensor.ops.products import record_product
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, NodeT, TensorOp, make
from loom.tensor.record.layout import row_major

__all__ = ["IMAGES", "WindowReading", "images_of_windows", "takes_windows"]


@dataclass(frozen=True, slots=True)
class WindowReading:
    """How windows read images of ``size``: from every ``steps`` on, with zeros ``around``."""

    size: tuple[int, ...]
    window: tuple[int, ...]
    steps: tuple[int, ...]
    around: tuple[int, ...]


def takes_windows(x: Node, dimensions: int) -> bool:
    """Tell whether ``images_of_windows`` takes such elements and so many dimensions."""
    return x.dtype in (f32, f64) and dimensions in (1, 2)


def images_of_windows(matrix: NodeT, g: NodeT, reading: WindowReading) -> NodeT:
    """Return images (batch, channels, *size) whose windows' products with ``matrix`` have the gradient ``g``.

    ``matrix`` is (filters, k), k the places of the window, channels fastest; ``g`` is (filters, batch, *places).
    """
    channels = matrix.shape[1] // math.prod(reading.window)
    precision = precision_of(None, g.dtype, "images_of_windows")
    return make(IMAGES, [matrix, g], (g.shape[1], channels, *reading.size), g.dtype, (reading, precision))


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    (reading, precision), dtype = node.attributes, node.dtype
    (filters, k), (_, batch, *places) = (x.shape for x in node.inputs)
    types = product_types(dtype, dtype, precision=precision)
    what = Images(node.shape[1], *(_pair(v, n) for v, n in _pairs(reading, places)))
    each, g = math.prod(places), operands[1]
    if record_image_gradient(draft, operands[0].buffer, g.buffer, out, what, types, filters, batch):
        return
    images = images_at_a_time(draft.device.caps, k * each * dtype.nbytes, batch)
    columns = draft.device.allocate(k * images * each * dtype.nbytes)
    matrix = operands[0].buffer
    at = np.arange(filters, dtype=np.int64)
    for first in range(0, batch, images):
        count = min(images, batch - first)
        n = count * each
        product = Multiplication(k, n, filters, types, transpose_a=True)
        part = np.arange(n, dtype=np.int64) + first * each
        left = OperandView(matrix, np.arange(k, dtype=np.int64), at * k)
        if not record_viewed(draft, left, OperandView(g.buffer, part, at * (batch * each)), columns, product):
            record_product(draft, matrix, _slice(draft, g, first, count, node), columns, product)
        record_window_sums(draft, columns, out, what, dtype, first, count)


def _pairs(reading: WindowReading, places: Sequence[int]) -> list[tuple[Sequence[int], int]]:
    """Return what ``Images`` has, and what stands for a dimension that there is not."""
    return [(reading.size, 1), (reading.window, 1), (places, 1), (reading.steps, 1), (reading.around, 0)]


def _pair(values: Sequence[int], missing: int) -> tuple[int, int]:
    first, last = (missing, *values)[-2:]
    return first, last


def _slice(draft: Draft, g: BufferView, first: int, count: int, node: Node) -> Any:
    """Return the gradient of some images as a packed buffer."""
    shape = node.inputs[1].shape
    if count == shape[1]:
        return g.buffer
    d, part = len(shape), (shape[0], count, *shape[2:])
    copy = draft.device.allocate(math.prod(part) * node.dtype.nbytes)
    access = row_major(shape).slice([0, first, *[0] * (d - 2)], [1] * d, part)
    copy_into(draft, BufferView(g.buffer, access), copy, part, (0,) * d, (1,) * d, node.dtype)
    return copy


IMAGES = TensorOp("images_of_windows", NodeKind.KERNEL, record=_record)
"""The images whose windows' products have a gradient."""
