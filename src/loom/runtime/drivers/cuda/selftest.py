"""Looks whether a GPU computes what kernels are made of rightly.

Layer: runtime. PTX says exactly what is computed, so there is no ladder: an operation is right, or the GPU is refused;
but for tensor cores, which are used where their products are right and else left alone.
What was found is kept on disk for GPU, driver and code. Invariant: a GPU that passes gives the bits of every probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from loom.core.errors import DeviceError
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.program import CudaProgram
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import PROBES, TILES
from loom.runtime.drivers.probes.running import passes, path_of_found, read_found, write_found

__all__ = ["TENSOR_CORES", "test_gpu"]

_NATIVE = "native"
TENSOR_CORES = "by tensor cores"
"""How products of tiles are computed where they are right."""


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
    wrong = [p.operation for p in PROBES if not _passes(device, p)]
    if wrong:
        raise DeviceError(
            f"device {device.name!r}",
            f"{device.gpu.name} computes {', '.join(dict.fromkeys(wrong))} wrongly, and it cannot be put right",
            expected="the bits of IEEE 754", remedy="Use another device, or another driver",
        )  # fmt: skip
    found = dict.fromkeys((p.operation for p in PROBES), _NATIVE)
    if _has_tensor_cores(device):
        found[TILES] = TENSOR_CORES
    operations = tuple(found.items())
    write_found(path, claims, operations)
    return operations


def _passes(device: OpenGpu, probe: Probe) -> bool:
    return passes(probe, device.memory.allocate, partial(CudaProgram, device))


def _has_tensor_cores(device: OpenGpu) -> bool:
    """Tell whether products of tiles by tensor cores are right; a GPU or driver that refuses them has none."""
    device.tiles = True
    try:
        return all(_passes(device, p) for p in PROBES if p.operation == TILES)
    except DeviceError:
        return False
    finally:
        device.tiles = False
