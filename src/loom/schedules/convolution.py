"""Records convolutions of real signals: sums over taps that slide along the rows, or products of spectra.

Layer: schedules. Invariant: the order of a direct sum depends on the number of taps alone; which of the two is recorded
is asked for, never a matter of the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loom.kernels.fft import steps
from loom.kernels.fft.convolve import CHUNK, SLIDING_TILE, add_rows, sliding_sums
from loom.kernels.fft.stages import LANES, Form
from loom.schedules.fft import Signals, convolution_length, record_inverse_real, record_real
from loom.schedules.recorder import StorageLike

__all__ = ["record_direct", "record_spectra", "record_swapped"]


def _zeros_around(job: Signals, source: Any, sizes: tuple[int, int], before: int) -> StorageLike:
    """Record a copy of rows of sizes[0] in rows of sizes[1], ``before`` zeros first (0 to the second); return it."""
    n, width = sizes
    found = job.scratch(width * job.rows)
    job.dispatch(steps.pad(job.element), [source, found], [n, width, before, 0], width)
    return found


def record_direct(
    job: Signals, slots: Sequence[Any], sizes: tuple[int, int], kept: tuple[int, int], *, reverse: bool
) -> None:
    """Record the sums ``kept`` of taps sliding along the rows, the last one first if ``reverse``."""
    (n, k), (first, length) = sizes, kept
    x, taps, out = slots
    if reverse:
        taps = _reverse(job, taps, k)
    width = -(-length // SLIDING_TILE) * SLIDING_TILE + k - 1
    # sum i of the whole starts k - 1 - i elements before the row; those before ``first`` are left out
    source = _zeros_around(job, x, (n, width), k - 1 - first)
    _record_chunks(job, [source, taps, out], k, width, length)


def _record_chunks(job: Signals, buffers: list[StorageLike], k: int, width: int, length: int) -> None:
    """Record sums over chunks of taps and join them: neighbours first, an odd last one waiting."""
    source, taps, out = buffers
    parts: list[StorageLike] = []
    for first in range(0, k, CHUNK):
        target = out if first == 0 else job.scratch(length * job.rows)
        parts.append(target)
        params = [first, min(CHUNK, k - first), width, length]
        groups = -(-length // SLIDING_TILE), job.rows
        job.chain.dispatch(sliding_sums(job.element), [source, taps, target], params, groups=groups)
    while len(parts) > 1:
        for left, right in zip(parts[::2], parts[1::2], strict=False):
            count = length * job.rows
            job.chain.dispatch(add_rows(job.element), [left, right], [count], groups=-(-count // LANES))
        parts = parts[::2]


def _reverse(job: Signals, source: Any, n: int) -> StorageLike:
    found = job.scratch(n)
    job.chain.dispatch(steps.reverse(job.element), [source, found], [n], groups=-(-n // LANES))
    return found


def record_swapped(
    job: Signals, slots: Sequence[Any], sizes: tuple[int, int], kept: tuple[int, int], *, reverse: bool
) -> None:
    """Record a direct sum whose second operand is the longer: the first slides along it."""
    a, v, out = slots
    m, n = sizes
    if not reverse:
        record_direct(job, [v, a, out], (n, m), kept, reverse=True)
        return
    # a correlation: the convolution of a with v reversed
    record_direct(job, [_reverse(job, v, n), a, out], (n, m), kept, reverse=True)


def record_spectra(
    job: Signals, slots: Sequence[Any], sizes: tuple[int, int], kept: tuple[int, int], *, reverse: bool
) -> None:
    """Record a convolution as the product of real transforms of the operands, zeros behind them."""
    a, v, out = slots
    m, n = sizes
    size = convolution_length(m + n - 1)
    width = size // 2 + 1
    if reverse:
        v = _reverse(job, v, n)
    both = Signals(job.chain, job.home, job.element, 2)
    padded, spectra, product = both.allocate(width), both.allocate(width), job.allocate(width)
    for row, (operand, length) in enumerate(((a, m), (v, n))):
        job.dispatch(steps.pad(job.element), [operand, padded], [length, size, 0, row], size)
    record_real(both, padded, spectra, size, Form.PLANES, 1.0)
    job.dispatch(steps.spectrum_product(job.element), [spectra, product], [width], width)
    result = job.allocate(width)
    record_inverse_real(job, product, result, size, Form.PLANES, 1.0 / size)
    first, length = kept
    job.dispatch(steps.cut(job.element), [result, out], [first, length], length)
