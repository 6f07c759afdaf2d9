"""Looks whether a GPU computes what kernels are made of rightly.

Layer: runtime. PTX says exactly what is computed, so there is no ladder: an operation is right, or the GPU is refused;
but for tensor cores, and the copy engine with them, which are used where their products are right and else left alone.
What was found is kept on disk for GPU, driver and code. Invariant: a GPU that passes gives the bits of every probe.
"""

from __future__ import annotations

from functools import partial

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.program import CudaProgram
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import PROBES, TILES
from loom.runtime.drivers.probes.running import passes, path_of_found, read_found, write_found
from loom.runtime.drivers.probes.wide import WIDE, WIDE_PROBES

__all__ = ["TENSOR_CORES", "WIDE_CORES", "test_gpu"]

_NATIVE = "native"
TENSOR_CORES = "by tensor cores"
"""How products of tiles are computed where they are right."""
WIDE_CORES = "by tensor cores and the copy engine"
"""How products of 64 rows are."""
_WIDE_CHIP = (9, 0)


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
    if _is_right(device, "tiles", TILES):
        found[TILES] = TENSOR_CORES
    if device.gpu.chip == _WIDE_CHIP and _is_right(device, "wide", WIDE):
        found[WIDE] = WIDE_CORES
    operations = tuple(found.items())
    write_found(path, claims, operations)
    return operations


def _passes(device: OpenGpu, probe: Probe) -> bool:
    return passes(probe, device.memory.allocate, partial(CudaProgram, device))


def _is_right(device: OpenGpu, unit: str, operation: str) -> bool:
    """Tell whether an operation by a unit is right; a GPU or driver that refuses it has none."""
    setattr(device, unit, True)
    try:
        return all(_passes(device, p) for p in (*PROBES, *WIDE_PROBES) if p.operation == operation)
    except DeviceError:
        return False
    finally:
        setattr(device, unit, False)
