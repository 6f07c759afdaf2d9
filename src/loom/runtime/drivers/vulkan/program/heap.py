"""The heap of a recording: room for the private arrays that its kernels keep in buffers.

Layer: runtime. A dispatch with such arrays waits for all before it, so that one heap serves all of a recording, whose
runs follow each other; a dispatch of more groups than the heap has room for comes in turns. Invariant: two groups
under way never have one part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan.kernels import LoadedKernel
from loom.runtime.drivers.vulkan.opened import OpenAdapter
from loom.runtime.drivers.vulkan.program.descriptors import Range

__all__ = ["heap_groups", "heap_nbytes", "heap_ranges", "most_groups", "refuse_indirect"]

Array = np.ndarray[Any, Any]


def most_groups(device: OpenAdapter, kernel: LoadedKernel, groups: Array) -> Array:
    """Return how many groups a dispatch of ``groups`` (a row a turn) may have at once along x, y and z."""
    limits = device.adapter.limits
    most = np.array([limits[f"groups_{axis}"] for axis in "xyz"], np.int64)
    if kernel.heap:
        room = limits["heap_nbytes"] - len(kernel.heap) * device.memory.alignment
        left = max(1, room // sum(kernel.heap))
        for n, wanted in enumerate(groups.max(axis=0, initial=1).tolist()):
            most[n] = min(most[n], left)
            left = max(1, left // min(wanted, int(most[n])))
    return most


def heap_groups(kernel: LoadedKernel, groups: Array) -> int:
    """Return for how many groups a dispatch needs a heap at once, 0 without one."""
    return max(1, int(groups.astype(np.int64).prod(axis=1).max(initial=0))) if kernel.heap else 0


def heap_nbytes(device: OpenAdapter, kernels: Iterable[tuple[LoadedKernel, Array]]) -> int:
    """Return how large a heap is that serves dispatches, each a kernel and its groups, one after the other."""
    return max((sum(_rooms(device, kernel, heap_groups(kernel, groups))) for kernel, groups in kernels), default=0)


def heap_ranges(device: OpenAdapter, kernel: LoadedKernel, groups: Array, buffer: Any, offset: int) -> list[Range]:
    """Return the ranges of a kernel's heap arrays, in a heap that begins at ``offset`` of a buffer."""
    rooms = _rooms(device, kernel, heap_groups(kernel, groups))
    starts = [offset + sum(rooms[:n]) for n in range(len(rooms))]
    return [(buffer, start, room) for start, room in zip(starts, rooms, strict=True)]


def refuse_indirect(device: OpenAdapter, kernel: LoadedKernel) -> NoReturn:
    """Raise for an indirect dispatch, whose groups nobody counts before it runs."""
    raise DeviceError(
        f"kernel {kernel.verified.name!r} on device {device.name!r}",
        "its private arrays are more than the device keeps for a lane, and an indirect dispatch has no room for them",
        expected=f"at most {device.features.private_nbytes} bytes a lane",
        got=sum((m.size or 0) * m.dtype.nbytes for m in kernel.verified.kernel.private),
        remedy="Dispatch it with counts that the host knows, or keep the arrays in a buffer",
    )  # fmt: skip


def _rooms(device: OpenAdapter, kernel: LoadedKernel, count: int) -> list[int]:
    step = device.memory.alignment
    return [-(-count * nbytes // step) * step for nbytes in kernel.heap]
