"""Looks whether a GPU computes what kernels are made of rightly.

Layer: runtime. PTX says exactly what is computed, so there is no ladder: an operation is right, or the GPU is refused.
What was found is kept on disk for GPU, driver and code. Invariant: a GPU that passes gives the bits of every probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from loom.core.errors import DeviceError
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.program import CudaProgram
from loom.runtime.drivers.probes.probes import PROBES
from loom.runtime.drivers.probes.running import passes, path_of_found, read_found, write_found

__all__ = ["test_gpu"]

_NATIVE = "native"


@dataclass(frozen=True)
class _Claims:
    """What code is written for."""

    key: str


def test_gpu(device: OpenGpu) -> tuple[tuple[str, str], ...]:
    """Return (operation, how it is computed); DeviceError, with everything that is wrong, for a GPU that errs."""
    claims = _Claims(device.gpu.key)
    path = path_of_found(device.gpu.key, claims, __file__, "cudafound")
    known = read_found(path)
    if known is not None:
        return known[1]
    wrong = [p.operation for p in PROBES if not passes(p, device.memory.allocate, partial(CudaProgram, device))]
    if wrong:
        raise DeviceError(
            f"device {device.name!r}",
            f"{device.gpu.name} computes {', '.join(dict.fromkeys(wrong))} wrongly, and it cannot be put right",
            expected="the bits of IEEE 754", remedy="Use another device, or another driver",
        )  # fmt: skip
    operations = tuple(dict.fromkeys((p.operation, _NATIVE) for p in PROBES))
    write_found(path, claims, operations)
    return operations
