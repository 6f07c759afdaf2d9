"""Records order-free products: operands become whole numbers and scales, whose exact sums are scaled.

Layer: schedules. Invariant: units and cuts differ from device to device, the whole numbers and the order in which
scaled blocks are added do not (docs/numerics.md, section 2).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import f32, i32
from loom.core.errors import ShapeError
from loom.ir.passes.wide import WIDE_ROWS
from loom.kernels.matmul.digits import digits_by_k, digits_by_row, groups_of_digits
from loom.kernels.matmul.grids import Layout, Slabs
from loom.kernels.matmul.pack import FACTORS
from loom.kernels.matmul.packed import multiply_tiles
from loom.kernels.matmul.panels import PANEL_ROWS, groups_of_panels, panels_by_k, panels_by_row
from loom.kernels.matmul.planes import PLANE_WORDS, groups_of_planes, planes_by_k, planes_by_row, planes_of
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.threads import multiply_slabs
from loom.kernels.matmul.tiles import BLOCK, CHUNK, Blocking
from loom.kernels.matmul.units import Patch, multiply_planes, patch_of
from loom.kernels.matmul.wide import WidePatch, multiply_panels, wide_patch_of, wide_patches_of
from loom.kernels.precisions import Precision
from loom.kernels.types import whole_types
from loom.schedules.matmul.recording import Multiplication, ProductRecording, choose_cut

__all__ = ["OrderFreeRecording", "patch_for", "unit_for"]

_MOST_ELEMENTS = 0xFFFF_FFFF
_LEAST_SIDE = 24
"""Rows and columns from which a unit for tiles of bytes has enough of them."""


def patch_for(caps: Caps, what: Multiplication) -> Patch | None:
    """Return the patch of a group of units that take tiles of bytes, None where they do not take a product."""
    precision = what.types.order_free
    if precision is None or not caps.tiles or min(what.m, what.n) < _LEAST_SIDE:
        return None
    patch = patch_of(precision)
    return patch if patch.shared_nbytes(precision, caps.simd_lanes) <= caps.shared_nbytes else None


def unit_for(caps: Caps, what: Multiplication) -> Patch | WidePatch | None:
    """Return how a unit for tiles of bytes takes a product, 64 rows at a time where it can; None where it has none."""
    precision = what.types.order_free
    if precision is not None and min(what.m, what.n) >= WIDE_ROWS:
        most = max(wide.shared_nbytes(precision) for wide in wide_patches_of(precision))
        if most <= caps.wide_nbytes:
            times = what.batches * -(-what.k // CHUNK)
            return wide_patch_of(precision, what.m, what.n, times, max(caps.workers, 1))
    return patch_for(caps, what)


class OrderFreeRecording(ProductRecording):
    """A product of an order-free precision being recorded."""

    def record(self, a: Any, b: Any, out: Any, schedule: Blocking | Slabs | Patch | WidePatch | None) -> None:
        """Turn both operands into whole numbers and scales, and multiply those."""
        what, precision, caps = self.what, self.what.types.order_free, self.chain.device.caps
        assert precision is not None
        if schedule is None:
            schedule = unit_for(caps, what)
        if isinstance(schedule, WidePatch):
            self.wide(a, b, out, precision, schedule)
            return
        if isinstance(schedule, Patch):
            self.units(a, b, out, precision, schedule)
            return
        threads = isinstance(schedule or choose_cut(caps, what), Slabs)
        whole = replace(
            what, k=-(-what.k // BLOCK) * BLOCK, types=whole_types(precision, threads=threads, dots=caps.dots)
        )
        cut = schedule or choose_cut(caps, whole)
        fours = threads and whole.types.factors == FACTORS
        left = self.digits(a, what.a_batch, what.m, by_k=not what.transpose_a, fours=fours)
        right = self.digits(b, what.b_batch, what.n, by_k=what.transpose_b, fours=fours)
        sums = self.sums(out, what.batches)
        if isinstance(cut, Slabs):
            self.whole_slabs(left, right, sums, whole, cut)
        else:
            self.whole_tiles(left, right, sums, whole, cut)
        self.finish(sums, out, 0, what.batches)

    def digits(self, x: Any, batch: tuple[int, ...], rows: int, *, by_k: bool, fours: bool = False) -> tuple[Any, Any]:
        """Return the whole numbers of an operand, k filled up to whole blocks, and their scales.

        ``fours``: as words of four neighbours along k, which bytes by k are as they lie.
        """
        what, precision = self.what, self.what.types.order_free
        assert precision is not None
        matrices, blocks = math.prod(batch), -(-what.k // BLOCK)
        size = self.fitting(matrices * rows * blocks * BLOCK)
        held = self.allocate(size * precision.held.nbytes)
        scales = self.allocate(matrices * blocks * rows * f32.nbytes)
        element = what.types.element
        kernel = digits_by_k(element, precision) if by_k else digits_by_row(element, precision, fours=fours)
        groups = groups_of_digits(rows, what.k, matrices, by_k=by_k)
        self.chain.dispatch(kernel, [x, held, scales], [rows, what.k], groups)
        return held, scales

    def units(self, a: Any, b: Any, out: Any, precision: Precision, patch: Patch) -> None:
        """Multiply planes of digits by a unit that takes tiles of bytes, a group for each patch and chunk."""
        what = self.what
        left = self.planes(a, what.a_batch, what.m, precision, by_k=not what.transpose_a)
        right = self.planes(b, what.b_batch, what.n, precision, by_k=what.transpose_b)
        sums = self.sums(out, what.batches)
        self.of_planes(left, right, sums, precision, patch)
        self.finish(sums, out, 0, what.batches)

    def of_digits(
        self, left: tuple[Any, ...], right: tuple[Any, ...], sums: Any, precision: Precision, patch: Patch | WidePatch
    ) -> None:
        """Multiply what ``planes``, or ``panels`` for a wide patch, returned of both operands."""
        if isinstance(patch, WidePatch):
            self.of_panels(left, right, sums, precision, patch)
        else:
            self.of_planes(left, right, sums, precision, patch)

    def of_planes(
        self, left: tuple[Any, ...], right: tuple[Any, ...], sums: Any, precision: Precision, patch: Patch
    ) -> None:
        """Multiply planes and scales of both operands into the sums of chunks."""
        what, blocks = self.what, -(-self.what.k // BLOCK)
        params = [what.m, what.n, blocks, what.batches, self.chunks, CHUNK // BLOCK]
        groups = (-(-what.n // patch.width), -(-what.m // patch.height), what.batches * self.chunks)
        buffers = [left[0], right[0], left[1], right[1], self.which, sums]
        self.chain.dispatch(multiply_planes(patch, precision), buffers, params, groups)

    def wide(self, a: Any, b: Any, out: Any, precision: Precision, patch: WidePatch) -> None:
        """Multiply panels of digits by a unit that takes 64 rows, a group for each patch and chunk."""
        what = self.what
        left = self.panels(a, what.a_batch, what.m, patch.height, precision, by_k=not what.transpose_a)
        right = self.panels(b, what.b_batch, what.n, patch.width, precision, by_k=what.transpose_b)
        sums = self.sums(out, what.batches)
        self.of_panels(left, right, sums, precision, patch)
        self.finish(sums, out, 0, what.batches)

    def of_panels(
        self, left: tuple[Any, ...], right: tuple[Any, ...], sums: Any, precision: Precision, patch: WidePatch
    ) -> None:
        """Multiply panels, scales and extremes of both operands into the sums of chunks."""
        what, blocks = self.what, -(-self.what.k // BLOCK)
        high, across = -(-what.m // patch.height), -(-what.n // patch.width)
        params = [
            what.m, what.n, high * patch.height, across * patch.width, blocks, what.batches, self.chunks,
            CHUNK // BLOCK,
        ]  # fmt: skip
        pairs = [each for both in zip(left, right, strict=True) for each in both]
        groups = (across, high, what.batches * self.chunks)
        self.chain.dispatch(multiply_panels(patch, precision), [*pairs, self.which, sums], params, groups)

    def panels(
        self, x: Any, batch: tuple[int, ...], rows: int, each: int, precision: Precision, *, by_k: bool
    ) -> tuple[Any, Any, Any]:
        """Return the panels of an operand's digits, rows filled up to a multiple of ``each``, the scales of its blocks,
        and their extremes.
        """
        what, matrices, filled = self.what, math.prod(batch), -(-rows // each) * each
        buffers = self.room_of_panels(filled, what.k, matrices, precision)
        kernel = (panels_by_k if by_k else panels_by_row)(what.types.element, precision)
        groups = groups_of_panels(filled, what.k, matrices)
        self.chain.dispatch(kernel, [x, *buffers], [rows, what.k, filled], groups)
        return buffers

    def room_of_panels(self, filled: int, k: int, matrices: int, precision: Precision) -> tuple[Any, Any, Any]:
        """Return memory for what ``panels`` returns."""
        blocks = matrices * -(-k // BLOCK)
        words = self.fitting(filled * blocks * planes_of(precision) * PLANE_WORDS)
        sizes = (words * i32.nbytes, filled * blocks * f32.nbytes, filled // PANEL_ROWS * blocks * 2 * f32.nbytes)
        return self.allocate(sizes[0]), self.allocate(sizes[1]), self.allocate(sizes[2])

    def planes(
        self, x: Any, batch: tuple[int, ...], rows: int, precision: Precision, *, by_k: bool
    ) -> tuple[Any, Any]:  # fmt: skip
        """Return the planes of an operand's digits, k filled up to whole blocks, and the scales of its blocks."""
        what, matrices = self.what, math.prod(batch)
        buffers = self.room_of_planes(rows, what.k, matrices, precision)
        kernel = (planes_by_k if by_k else planes_by_row)(what.types.element, precision)
        groups = groups_of_planes(rows, what.k, matrices)
        self.chain.dispatch(kernel, [x, *buffers], [rows, what.k], groups)
        return buffers

    def room_of_planes(self, rows: int, k: int, matrices: int, precision: Precision) -> tuple[Any, Any]:
        """Return memory for what ``planes`` returns."""
        blocks = matrices * -(-k // BLOCK)
        words = self.fitting(rows * blocks * planes_of(precision) * PLANE_WORDS)
        return self.allocate(words * i32.nbytes), self.allocate(rows * blocks * f32.nbytes)

    def whole_tiles(self, left: Any, right: Any, sums: Any, what: Multiplication, cut: Blocking) -> None:
        """Pack whole numbers, several batches at a time, and multiply tiles of them."""
        kernel = multiply_tiles(cut.tile, what.types)
        for first, count, a_packed, b_packed in self.packing(left[0], right[0], what, cut.tile):
            params, groups = self.of_tiles(what, cut, count, first * self.chunks)
            buffers = [a_packed, b_packed, left[1], right[1], self.which, sums]
            self.chain.dispatch(kernel, buffers, [*params, first, what.batches], groups)

    def whole_slabs(self, left: Any, right: Any, sums: Any, what: Multiplication, cut: Slabs) -> None:
        """Multiply whole numbers where they are, a group for each tile and chunk."""
        grid, types = cut.grid, what.types
        is_word, fits = types.element.bits == 32, what.n % QUAD == 0
        layout = Layout(
            not what.transpose_a, what.transpose_b,
            a_whole=is_word and what.transpose_a and what.m % QUAD == 0,
            b_whole=is_word and not what.transpose_b and fits,
            out_whole=fits,
        )  # fmt: skip
        k, factors = what.k // types.factors, types.factors
        a_step, b_step = what.m if what.transpose_a else k, k if what.transpose_b else what.n
        params = [what.m, what.n, k, a_step, b_step, what.batches, self.chunks, CHUNK // factors]
        groups = (-(-what.n // grid.width), -(-what.m // grid.height), what.batches * self.chunks)
        kernel = multiply_slabs(grid, layout, types)
        self.chain.dispatch(kernel, [*left, *right, self.which, sums], params, groups)

    def fitting(self, size: int) -> int:
        """Return the elements of a copy of an operand; ShapeError if they are too many."""
        if size > _MOST_ELEMENTS:
            raise ShapeError("matmul", "too large an operand", expected="below 2^32 elements",
                             got=f"{size} with k filled up to blocks of {BLOCK}",
                             remedy="Multiply in parts of rows")  # fmt: skip
        return size
