"""The heap of a recording: room for the private arrays that its kernels keep in buffers.

Layer: runtime. A dispatch with such arrays waits for all before it, so that one heap serves all of a recording, whose
runs follow each other; a dispatch of more groups than the heap has room for comes in turns. Invariant: two groups
under way never have one part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan.handles.kernels import LoadedKernel
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.native.memory import VulkanStorage
from loom.runtime.drivers.vulkan.program.descriptors import Range

__all__ = ["heap_nbytes", "heap_ranges", "most_groups", "refuse_indirect"]


def most_groups(device: OpenAdapter, kernel: LoadedKernel, groups: Sequence[int]) -> list[int]:
    """Return how many groups of a dispatch there may be at once along x, y and z, of a kernel that has a heap."""
    limits = device.adapter.limits
    most = [limits[f"groups_{axis}"] for axis in "xyz"]
    room = limits["heap_nbytes"] - len(kernel.heap) * device.memory.alignment
    left = max(1, room // sum(kernel.heap))
    for n, count in enumerate(groups):
        most[n] = min(most[n], left)
        left = max(1, left // min(max(1, count), most[n]))
    return most


def heap_nbytes(device: OpenAdapter, dispatches: Iterable[tuple[LoadedKernel, int]]) -> int:
    """Return how large a heap is for dispatches, one after the other: of each the kernel, and its groups at once."""
    return max((sum(_rooms(device, kernel, groups)) for kernel, groups in dispatches), default=0)


def heap_ranges(device: OpenAdapter, kernel: LoadedKernel, groups: int, heap: VulkanStorage) -> list[Range]:
    """Return where in a heap a kernel's arrays are."""
    rooms, buffer = _rooms(device, kernel, groups), heap.arena.buffer.handle
    return [(buffer, heap.offset + sum(rooms[:n]), room) for n, room in enumerate(rooms)]


def _rooms(device: OpenAdapter, kernel: LoadedKernel, groups: int) -> list[int]:
    step = device.memory.alignment
    return [-(-groups * nbytes // step) * step for nbytes in kernel.heap]


def refuse_indirect(device: OpenAdapter, kernel: LoadedKernel) -> NoReturn:
    """Raise for an indirect dispatch, whose groups nobody counts before it runs."""
    where = f"kernel {kernel.verified.name!r} on device {device.name!r}"
    what = "its private arrays are more than the device keeps for a lane, and an indirect dispatch has no room for them"
    expected = f"at most {device.features.private_nbytes} bytes a lane"
    nbytes = sum((m.size or 0) * m.dtype.nbytes for m in kernel.verified.kernel.private)
    remedy = "Dispatch it with counts that the host knows, or keep the arrays in a buffer"
    raise DeviceError(where, what, expected=expected, got=nbytes, remedy=remedy)
