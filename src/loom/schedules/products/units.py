"""Records order-free products of views for units that multiply tiles of bytes: digits of stretches of the views.

Layer: schedules. A stretch of an operand becomes planes or panels, read where the view lies; it is whole chunks of k,
and as many rows as a bounded memory holds. Invariant: the bits are those of ``record_matmul`` of the copied operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.kernels.matmul.panels import groups_of_panels, panels_of_view
from loom.kernels.matmul.planes import (
    PUT_LANES,
    groups_of_planes,
    planes_of,
    planes_of_view,
    put_stretch,
)
from loom.kernels.matmul.tiles import BLOCK, CHUNK
from loom.kernels.matmul.units import Patch
from loom.kernels.matmul.wide import WidePatch
from loom.kernels.precisions import Precision
from loom.schedules.matmul.order_free import OrderFreeRecording, unit_for
from loom.schedules.matmul.recording import Multiplication
from loom.schedules.products.views import OperandView
from loom.schedules.recorder import Recorder, store

__all__ = ["STRETCH_NBYTES", "neighbours", "record_viewed_units"]

STRETCH_NBYTES = 1 << 28
"""Planes of an operand that are made at a time."""
_EVEN = 128
"""Rows of a stretch are a multiple of it."""


@dataclass(frozen=True, slots=True)
class _Reach:
    """``count`` of something from ``first`` on."""

    first: int
    count: int


def record_viewed_units(
    chain: Recorder, a: OperandView, b: OperandView, out: Any, what: Multiplication, nbytes: int | None = None,
    schedule: Patch | WidePatch | None = None,
) -> bool:  # fmt: skip
    """Record ``out = a @ b`` for one product of views, ``nbytes`` of planes of each at a time (``STRETCH_NBYTES``).

    False, and nothing recorded, for devices and products that such units do not take.
    """
    patch, precision = schedule or unit_for(chain.device.caps, what), what.types.order_free
    if patch is None or precision is None:
        return False
    _ViewedUnits(chain, what, chain.device.allocate).record_stretches(
        a, b, out, precision, patch, STRETCH_NBYTES if nbytes is None else nbytes
    )  # fmt: skip
    return True


class _ViewedUnits(OrderFreeRecording):
    """A product of views being recorded for units."""

    def record_stretches(
        self, a: OperandView, b: OperandView, out: Any, precision: Precision, patch: Patch | WidePatch, nbytes: int
    ) -> None:
        """Pack stretches of both operands, a shorter one once for all of the other, and multiply them."""
        what, sums = self.what, self.sums(out, 1)
        each = planes_of(precision) * BLOCK
        is_wide = isinstance(patch, WidePatch)
        left = _Digits(self, a, precision, patch.height if is_wide else None)
        right = _Digits(self, b, precision, patch.width if is_wide else None)
        span = max(1, nbytes // (each * (CHUNK // BLOCK) * max(what.m, what.n))) * CHUNK
        depth = -(-min(span, what.k) // BLOCK)
        most = max(_EVEN, nbytes // (each * depth) // _EVEN * _EVEN)
        for k in _parts(what.k, span):
            for rows in _parts(what.m, most):
                for columns in _parts(what.n, most):
                    found = left.of(rows, k), right.of(columns, k)
                    self.multiply(found, sums, k, rows, columns, precision, patch)
        self.finish(sums, out, 0, 1)

    def multiply(
        self, digits: tuple[Any, Any], sums: Any, k: _Reach, rows: _Reach, columns: _Reach, precision: Precision,
        patch: Patch | WidePatch,
    ) -> None:  # fmt: skip
        """Multiply stretches into the sums, at once where they are all of these."""
        what = self.what
        part = replace(what, m=rows.count, n=columns.count, k=k.count)
        recording = OrderFreeRecording(self.chain, part, self.allocate)
        if part == what:
            recording.of_digits(*digits, sums, precision, patch)
            return
        accumulator, parts = what.types.accumulator, recording.chunks
        found = self.allocate(recording.partial_size(parts) * accumulator.nbytes)
        recording.of_digits(*digits, found, precision, patch)
        first = (k.first // CHUNK * what.m + rows.first) * what.n + columns.first
        params = [part.m, part.n, what.m, what.n, first]
        groups = (-(-part.n // PUT_LANES), part.m, parts)
        self.chain.dispatch(put_stretch(accumulator), [found, sums], params, groups)


class _Digits:
    """Digits of stretches of an operand, as panels of a multiple of ``each`` rows or as planes; the last are kept."""

    def __init__(
        self, recording: OrderFreeRecording, view: OperandView, precision: Precision, each: int | None
    ) -> None:
        self.recording, self.view, self.precision, self.each = recording, view, precision, each
        self.count = len(view.places)
        self.table = store(recording.chain, np.concatenate([view.places, view.depths]).astype(np.uint32))
        by_k = neighbours(view.depths) > neighbours(view.places)
        of_view = planes_of_view if each is None else panels_of_view
        self.kernel = of_view(recording.what.types.element, precision, by_k=by_k)
        self.made: tuple[_Reach, _Reach] | None = None
        self.digits: tuple[Any, ...] = ()

    def of(self, rows: _Reach, k: _Reach) -> tuple[Any, ...]:
        """Return the digits, scales and, of panels, extremes of a stretch."""
        if self.made != (rows, k):
            self.made, self.digits = (rows, k), self.make(rows, k)
        return self.digits

    def make(self, rows: _Reach, k: _Reach) -> tuple[Any, ...]:
        """Record the digits of a stretch."""
        recording, params = self.recording, [rows.count, k.count, self.count, rows.first, k.first]
        if self.each is None:
            found: tuple[Any, ...] = recording.room_of_planes(rows.count, k.count, 1, self.precision)
            groups = groups_of_planes(rows.count, k.count)
        else:
            filled = -(-rows.count // self.each) * self.each
            found = recording.room_of_panels(filled, k.count, 1, self.precision)
            groups = groups_of_panels(filled, k.count, 1)
            params.append(filled)
        recording.chain.dispatch(self.kernel, [self.view.buffer, self.table, *found], params, groups)
        return found


def neighbours(at: np.ndarray[Any, Any]) -> float:
    """Return how many of the elements lie beside the one before, as a share."""
    return float((np.diff(at) == 1).mean()) if len(at) > 1 else 0.0


def _parts(size: int, step: int) -> Iterator[_Reach]:
    for first in range(0, size, step):
        yield _Reach(first, min(step, size - first))
