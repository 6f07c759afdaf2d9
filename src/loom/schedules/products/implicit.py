"""Records products of views for GPUs: slabs are read where the views lie, so that nothing is copied.

Layer: schedules. Invariant: the bits are those of ``record_matmul`` of the copied operands.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32
from loom.core.late.dataclass import dataclass
from loom.kernels.matmul.gradient import GradientCut, image_gradient
from loom.kernels.matmul.grids import Layout, Slabs, choose_slabs
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.threads import ViewTypes, multiply_slabs
from loom.kernels.matmul.tiles import BLOCK, CHUNK
from loom.kernels.matmul.views import SCALE_LANES, scales_of_view
from loom.kernels.types import ProductTypes, whole_types
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.matmul.order_free import OrderFreeRecording, patch_for
from loom.schedules.matmul.recording import Multiplication, choose_cut
from loom.schedules.products.units import neighbours, record_viewed_units
from loom.schedules.products.views import OperandView
from loom.schedules.products.windows import Images
from loom.schedules.recorder import Recorder, store

__all__ = ["record_image_gradient", "record_viewed_slabs"]

_MOST_ELEMENTS = 0xFFFF_FFFF


def record_viewed_slabs(chain: Recorder, a: OperandView, b: OperandView, out: Any, what: Multiplication) -> None:
    """Record ``out = a @ b`` for one product of views, on a GPU."""
    if not record_viewed_units(chain, a, b, out, what):
        _ViewedSlabs(chain, what, chain.device.allocate).record_views(a, b, out)


@dataclass(frozen=True, slots=True)
class _Read:
    """How an operand is read: its memory, its table and its scales, or what stands for them."""

    buffers: tuple[Any, ...]
    viewed: bool
    by_k: bool
    step: int

    def is_whole(self, element: DType, count: int) -> bool:
        """Whether pieces are vectors in memory."""
        return element.bits == 32 and not self.viewed and not self.by_k and count % QUAD == 0 and self.step % QUAD == 0


class _ViewedSlabs(OrderFreeRecording):
    """A product of views being recorded for a GPU."""

    def record_views(self, a: OperandView, b: OperandView, out: Any) -> None:
        """Read views by their tables, matrices as they lie."""
        what, precision = self.what, self.what.types.order_free
        plain = replace(what.types, held=what.types.accumulator, pairs=False, dots="")
        types = plain if precision is None else whole_types(precision, threads=True)
        cut = choose_cut(self.chain.device.caps, replace(what, types=types))
        assert isinstance(cut, Slabs)
        left, right = self.read(a, what.m), self.read(b, what.n)
        layout = Layout(
            left.by_k, right.by_k, left.is_whole(types.element, what.m), right.is_whole(types.element, what.n),
            out_whole=what.types.accumulator.bits == 32 and what.n % QUAD == 0, a_viewed=left.viewed,
            b_viewed=right.viewed,
        )  # fmt: skip
        kernel = multiply_slabs(cut.grid, layout, types, ViewTypes(what.types.element, precision))

        def multiply(target: Any, parts: int, span: int, groups: tuple[int, int, int]) -> None:
            params = [what.m, what.n, what.k, left.step, right.step, parts, span]
            self.chain.dispatch(kernel, [*left.buffers, *right.buffers, target], params, groups)

        self.by_slabs(out, cut, multiply)

    def read(self, view: OperandView, count: int) -> _Read:
        """Return how an operand is read, with its scales in an order-free precision."""
        what, precision = self.what, self.what.types.order_free
        matrix = view.matrix()
        is_packed = matrix is not None and matrix[1] == (what.k if matrix[0] else count)
        if matrix is not None and precision is None:
            return _Read((view.buffer, self.which), False, *matrix)
        if matrix is not None and precision is not None and is_packed:
            whole, scales = self.digits(view.buffer, (), count, by_k=matrix[0])
            step = -(-what.k // BLOCK) * BLOCK if matrix[0] else count
            return _Read((whole, self.which, scales), False, matrix[0], step)
        table = store(self.chain, np.concatenate([view.places, view.depths]).astype(np.uint32))
        by_k = neighbours(view.depths) > neighbours(view.places)
        if precision is None:
            return _Read((view.buffer, table), True, by_k, 0)
        blocks = -(-what.k // BLOCK)
        scales = self.allocate(self.fitting(blocks * count) * f32.nbytes)
        kernel = scales_of_view(what.types.element, precision)
        self.chain.dispatch(kernel, [view.buffer, table, scales], [count, what.k], (-(-count // SCALE_LANES), blocks))
        return _Read((view.buffer, table, scales), True, by_k, 0)


def record_image_gradient(
    chain: Recorder, matrix: Any, g: Any, out: Any, what: Images, types: ProductTypes, filters: int, batch: int
) -> bool:
    """Record ``out`` (batch, channels, size), whose windows' products with ``matrix`` have the gradient ``g``.

    ``matrix`` is (filters, window, channels), ``g`` (filters, batch, places). False, and nothing recorded, but on GPUs,
    for more filters than a chunk, and where units for tiles of bytes multiply columns so much faster that these may be
    written and added up.
    """
    caps, precision = chain.device.caps, types.order_free
    windows, elements = batch * math.prod(what.places), batch * math.prod(what.size)
    if lanes_of(caps) != THREADS or filters > CHUNK or elements * what.channels > _MOST_ELEMENTS:
        return False
    places = math.prod(what.window)
    columns = Multiplication(places * what.channels, windows, filters, types)
    if patch_for(caps, columns) is not None:
        return False
    inner = types if precision is None else whole_types(precision, threads=True)
    product = Multiplication(what.channels, elements, filters, inner)
    found = choose_slabs(caps, inner, product.m, product.n, product.k, 1, held=False)
    is_whole = inner.element.bits == 32 and what.channels % QUAD == 0
    cut = GradientCut(found.grid, is_whole, filters <= BLOCK)
    params = [
        what.channels, elements, filters, places, windows, *what.size, what.window[1], *what.places, *what.steps,
        *what.around,
    ]  # fmt: skip
    groups = (-(-elements // cut.grid.width), -(-what.channels // cut.grid.height))
    if precision is None:
        chain.dispatch(image_gradient(cut, inner), [matrix, g, out], params, groups)
        return True
    recording = OrderFreeRecording(chain, replace(product, types=types), chain.device.allocate)
    left = recording.digits(matrix, (), places * what.channels, by_k=False)
    right = recording.digits(g, (), windows, by_k=False)
    params[2] = -(-filters // BLOCK) * BLOCK
    chain.dispatch(image_gradient(cut, inner), [*left, *right, out], params, groups)
    return True
