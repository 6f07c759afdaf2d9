"""Runs conformance cases on a device that has memory of its own.

Every buffer has neighbours of its size filled with a pattern, which must survive.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import loom
from conformance.running import Bits, Case, Groups, bits_of, environment, reference_bits, require_same, verified
from loom.core.errors import DeviceError
from loom.ir.kernel import Kernel
from loom.ir.verify import VerifiedKernel

__all__ = ["conform_on", "run_on", "vulkan_device"]

_PATTERN = 0xA5
_NEIGHBOUR_NBYTES = 128


@functools.cache
def vulkan_device() -> Any:
    """Return the best Vulkan device; the test is skipped, with the reason, if there is none."""
    try:
        return loom.device("vulkan")
    except DeviceError as error:
        pytest.skip(f"no Vulkan device: {error}")


def run_on(
    device: Any,
    kernel: Kernel | VerifiedKernel,
    arrays: Sequence[Bits],
    params: Sequence[Any] = (),
    groups: Groups = (1, 1, 1),
) -> list[Bits]:
    """Run one dispatch on copies of ``arrays`` in the device's memory; return them as the kernel left them."""
    checked = kernel if isinstance(kernel, VerifiedKernel) else verified(kernel)
    pattern = np.full(_NEIGHBOUR_NBYTES, _PATTERN, np.uint8)
    storages, neighbours = [], [device.allocate(_NEIGHBOUR_NBYTES)]
    for array in arrays:
        storages.append(device.allocate(array.nbytes))
        neighbours.append(device.allocate(_NEIGHBOUR_NBYTES))
        storages[-1].write(0, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    for neighbour in neighbours:
        neighbour.write(0, pattern)
    chain = loom.Chain(device)
    chain.dispatch(checked, storages, params, groups)
    with chain.build() as program:
        program.run()
    for neighbour in neighbours:
        assert np.array_equal(neighbour.read(0, _NEIGHBOUR_NBYTES), pattern), "memory beside a buffer was overwritten"
    return [s.read(0, a.nbytes).view(a.dtype).reshape(a.shape) for s, a in zip(storages, arrays, strict=True)]


def conform_on(device: Any, name: str, found: Case, kernel: Kernel, *, reported: bool = False) -> None:
    """Run a case; AssertionError where its bits are not the interpreter's."""
    with environment(LOOM_CHECK=int(reported)):
        got = run_on(device, kernel, found.buffers, found.params, found.groups)
    for memory, array, reference in zip(kernel.buffers, got, reference_bits(name), strict=True):
        require_same(bits_of(array, memory.dtype), reference, f"{name} on {device.name}, buffer {memory.name!r}")
