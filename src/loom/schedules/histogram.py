"""Records how many elements lie in each of a row of bins.

Layer: schedules. Invariant: counts are integers, added in any order.
"""

from __future__ import annotations

from loom.core.dtype import DType, u32
from loom.kernels.move.compact import clear_words
from loom.kernels.move.histogram import (
    COUNT_LANES,
    COUNT_THREADS,
    HISTOGRAM_TILE,
    MOST_SHARED,
    count_bins,
    wide_counts,
)
from loom.schedules.recorder import Recorder, StorageLike

__all__ = ["record_histogram"]

_LANES = 64


def record_histogram(
    chain: Recorder, x: StorageLike, edges: StorageLike, out: StorageLike, sizes: tuple[int, int],
    types: tuple[DType, DType], scale: float | None,
) -> None:  # fmt: skip
    """Record the counts, i64, of the bins between ``edges``.

    ``sizes``: elements and bins; ``types``: of the elements, and that they are compared in; ``scale``: bins to one if
    they are evenly spaced.
    """
    (size, bins), (element, computed) = sizes, types
    counts, groups = chain.device.allocate(bins * u32.nbytes), -(-bins // _LANES)
    chain.dispatch(clear_words(), [counts], [bins], groups=groups)
    if size:
        lanes = COUNT_THREADS if chain.device.caps.threads else COUNT_LANES
        kernel = count_bins(element, computed, even=scale is not None, alone=bins <= MOST_SHARED, lanes=lanes)
        chain.dispatch(kernel, [x, edges, counts], [size, bins, scale or 0.0], groups=-(-size // HISTOGRAM_TILE))
    chain.dispatch(wide_counts(), [counts, out], [bins], groups=groups)
