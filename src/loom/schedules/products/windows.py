"""Records sums over the windows of images, of what each place of a window would have.

Layer: schedules. Invariant: the order of a sum is the window's, whatever the device.
"""

from __future__ import annotations

from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.kernels.move.windows import sum_windows, sum_windows_flat
from loom.schedules.maps import THREADS, lanes_of
from loom.schedules.recorder import Recorder

__all__ = ["Images", "images_at_a_time", "record_window_sums"]

_LANES_FLAT = 64
_COLUMNS_NBYTES, _COLUMNS_NBYTES_THREADS = 1 << 23, 1 << 28
"""Of columns that are made at a time, on a CPU and on a GPU: at least one image's."""


@dataclass(frozen=True, slots=True)
class Images:
    """Images of two dimensions and their windows: rows first, then columns."""

    channels: int
    size: tuple[int, int]
    window: tuple[int, int]
    places: tuple[int, int]
    steps: tuple[int, int]
    around: tuple[int, int]


def images_at_a_time(caps: Caps, nbytes: int, images: int) -> int:
    """Return of how many images the columns, ``nbytes`` of one, are made at a time."""
    most = _COLUMNS_NBYTES_THREADS if lanes_of(caps) == THREADS else _COLUMNS_NBYTES
    return max(1, min(images, most // nbytes))


def record_window_sums(
    chain: Recorder, columns: Any, out: Any, what: Images, element: DType, first: int, images: int
) -> None:
    """Record the sums of ``columns`` (window, channels, images, places) as images from number ``first`` on of ``out``
    (.., channels, size)."""
    caps = chain.device.caps
    planes, (height, width) = images * what.channels, what.size
    params = [first, images, what.channels, *what.size, *what.window, *what.places, what.steps[0], *what.around]
    if lanes_of(caps) == THREADS:
        groups = -(-planes * height * width // _LANES_FLAT)
        chain.dispatch(sum_windows_flat(element, _LANES_FLAT), [columns, out], [*params, what.steps[1]], (groups, 1, 1))
        return
    lanes = max(1, min(caps.simd_lanes, 1 << (width - 1).bit_length()))  # lanes of which most have an element
    chain.dispatch(sum_windows(element, lanes, what.steps[1]), [columns, out], params, (planes * height, 1, 1))
