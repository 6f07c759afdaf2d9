"""Records order-free products of views for units that multiply tiles of bytes: planes of stretches of the views.

Layer: schedules. A stretch of an operand becomes planes of digits, read where the view lies; it is whole chunks of k,
and as many rows as a bounded memory holds. Invariant: the bits are those of ``record_matmul`` of the copied operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from loom.core.dtype import f32, i32
from loom.kernels.matmul.planes import (
    PLANE_WORDS,
    PUT_LANES,
    groups_of_planes,
    planes_of,
    planes_of_view,
    put_stretch,
)
from loom.kernels.matmul.tiles import BLOCK, CHUNK
from loom.kernels.matmul.units import Patch
from loom.kernels.precisions import Precision
from loom.schedules.matmul.order_free import OrderFreeRecording, patch_for
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
    schedule: Patch | None = None,
) -> bool:  # fmt: skip
    """Record ``out = a @ b`` for one product of views, ``nbytes`` of planes of each at a time (``STRETCH_NBYTES``).

    False, and nothing recorded, for devices and products that such units do not take.
    """
    patch, precision = schedule or patch_for(chain.device.caps, what), what.types.order_free
    if patch is None or precision is None:
        return False
    _ViewedUnits(chain, what, chain.device.allocate).record_stretches(
        a, b, out, precision, patch, STRETCH_NBYTES if nbytes is None else nbytes
    )  # fmt: skip
    return True


class _ViewedUnits(OrderFreeRecording):
    """A product of views being recorded for units."""

    def record_stretches(
        self, a: OperandView, b: OperandView, out: Any, precision: Precision, patch: Patch, nbytes: int
    ) -> None:
        """Pack stretches of both operands, a shorter one once for all of the other, and multiply them."""
        what, sums = self.what, self.sums(out, 1)
        each = planes_of(precision) * BLOCK
        left, right = _Planes(self, a, precision), _Planes(self, b, precision)
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
        self, planes: tuple[Any, Any], sums: Any, k: _Reach, rows: _Reach, columns: _Reach, precision: Precision,
        patch: Patch,
    ) -> None:  # fmt: skip
        """Multiply stretches into the sums, at once where they are all of these."""
        what = self.what
        part = replace(what, m=rows.count, n=columns.count, k=k.count)
        recording = OrderFreeRecording(self.chain, part, self.allocate)
        if part == what:
            recording.of_planes(*planes, sums, precision, patch)
            return
        accumulator, parts = what.types.accumulator, recording.chunks
        found = self.allocate(recording.counted(parts) * accumulator.nbytes)
        recording.of_planes(*planes, found, precision, patch)
        first = (k.first // CHUNK * what.m + rows.first) * what.n + columns.first
        params = [part.m, part.n, what.m, what.n, first]
        groups = (-(-part.n // PUT_LANES), part.m, parts)
        self.chain.dispatch(put_stretch(accumulator), [found, sums], params, groups)


class _Planes:
    """Planes of stretches of an operand; those made last are kept."""

    def __init__(self, recording: OrderFreeRecording, view: OperandView, precision: Precision) -> None:
        self.recording, self.view, self.precision = recording, view, precision
        self.count = len(view.places)
        self.table = store(recording.chain, np.concatenate([view.places, view.depths]).astype(np.uint32))
        by_k = neighbours(view.depths) > neighbours(view.places)
        self.kernel = planes_of_view(recording.what.types.element, precision, by_k=by_k)
        self.made: tuple[_Reach, _Reach] | None = None
        self.planes: tuple[Any, Any] = (None, None)

    def of(self, rows: _Reach, k: _Reach) -> tuple[Any, Any]:
        """Return the planes and scales of a stretch."""
        if self.made != (rows, k):
            self.made, self.planes = (rows, k), self.make(rows, k)
        return self.planes

    def make(self, rows: _Reach, k: _Reach) -> tuple[Any, Any]:
        """Record the planes of a stretch."""
        recording, blocks = self.recording, -(-k.count // BLOCK)
        words = recording.fitting(rows.count * blocks * planes_of(self.precision) * PLANE_WORDS)
        held, scales = (recording.allocate(n) for n in (words * i32.nbytes, rows.count * blocks * f32.nbytes))
        params = [rows.count, k.count, self.count, rows.first, k.first]
        groups = groups_of_planes(rows.count, k.count)
        recording.chain.dispatch(self.kernel, [self.view.buffer, self.table, held, scales], params, groups)
        return held, scales


def neighbours(at: np.ndarray[Any, Any]) -> float:
    """Return how many of the elements lie beside the one before, as a share."""
    return float((np.diff(at) == 1).mean()) if len(at) > 1 else 0.0


def _parts(size: int, step: int) -> Iterator[_Reach]:
    for first in range(0, size, step):
        yield _Reach(first, min(step, size - first))
