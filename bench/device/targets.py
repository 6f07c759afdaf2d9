"""The ways to a GPU that the device suite compares: PTX through cupy, the CUDA driver, and Vulkan.

A target runs one dispatch on copies of arrays. Invariant: what cannot be opened is told with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from loom.core.errors import DeviceError
from loom.ir.passes.tiles import has_tiles
from loom.ir.verified import VerifiedKernel
from loom.targets.base import Bounds

__all__ = ["TARGETS", "Missing", "open_target", "proof_device"]

Runner = Callable[[VerifiedKernel, Sequence[Any], Sequence[Any], tuple[int, int, int]], list[Any]]


class Missing(Exception):
    """A target this machine has not; the text says why."""


@cache
def open_target(name: str) -> Runner:
    """Return what runs a kernel on copies of arrays; Missing if it cannot be had here."""
    return TARGETS[name]()


def _ptx() -> Runner:
    try:
        from gpu import GpuKernel
    except ImportError as error:
        raise Missing(f"cupy cannot be imported: {error}") from None

    def run(
        kernel: VerifiedKernel, arrays: Sequence[Any], params: Sequence[Any], groups: tuple[int, int, int]
    ) -> list[Any]:
        by_units = kernel.trusted and has_tiles(kernel.kernel)
        return GpuKernel(kernel, Bounds.TRUSTED if by_units else Bounds.CHECKED).run(arrays, params, groups)

    return run


def _device(name: str) -> Runner:
    import loom
    from conformance.running import execute

    try:
        device = loom.device(name)
    except DeviceError as error:
        raise Missing(str(error)) from None
    return lambda kernel, arrays, params, groups: execute(kernel, arrays, params, groups, on=device)


TARGETS: dict[str, Callable[[], Runner]] = {"ptx": _ptx, **{n: partial(_device, n) for n in ("cuda", "vulkan")}}


def proof_device(name: str) -> Any:
    """Return the device that ``loom verify`` is run on."""
    if name != "ptx":
        return name
    from gpu import GpuDevice

    return GpuDevice()
