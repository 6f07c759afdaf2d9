"""A GPU of CUDA as a device: the port, over a GPU that was opened and tested.

Layer: runtime. Invariant: a GPU that computes one probe wrongly is refused.
"""

from __future__ import annotations

from typing import Any

from loom.core.caps import Caps
from loom.core.dlpack import CUDA
from loom.core.errors import DeviceError
from loom.core.numbers import whole
from loom.core.numerics import Guarantee
from loom.runtime.drivers.cuda.gpus import Gpu
from loom.runtime.drivers.cuda.libraries import fast_products
from loom.runtime.drivers.cuda.memory import CudaStorage
from loom.runtime.drivers.cuda.opened import OpenGpu
from loom.runtime.drivers.cuda.program import CudaProgram
from loom.runtime.drivers.cuda.sharing import borrow
from loom.runtime.memory.storage import TypedStorage
from loom.runtime.plans.plan import Plan
from loom.runtime.port.device import DeviceInfo

__all__ = ["CudaDevice", "describe_gpu"]

_CACHE_NBYTES = 1 << 20


class CudaDevice(OpenGpu):
    """One GPU, opened and tested; DeviceError if it was refused, or computes wrongly."""

    kind = "cuda"
    guarantee = Guarantee.BIT_EXACT

    def __init__(self, gpu: Gpu, name: str = "cuda", *, tested: bool = True) -> None:
        if gpu.refused is not None:
            raise DeviceError(
                f"device {name!r}", f"{gpu.name} cannot be used: {gpu.refused}", remedy="Use another device"
            )
        super().__init__(gpu, name)
        self.operations: tuple[tuple[str, str], ...] = ()
        if tested:
            from loom.runtime.drivers.cuda.selftest import TENSOR_CORES, WIDE_CORES, test_gpu

            try:
                self.operations = test_gpu(self)
                self.tiles = TENSOR_CORES in dict(self.operations).values()
                self.wide = WIDE_CORES in dict(self.operations).values()
            except BaseException:
                self.abandon()
                raise
        self.proofs.tested = True

    @property
    def caps(self) -> Caps:
        """What kernels may know of this device."""
        limits = self.gpu.limits
        return Caps(
            simd_lanes=limits["warp"], shared_nbytes=limits["shared_nbytes"],
            max_workgroup_lanes=limits["workgroup_lanes"], unified_memory=False, workers=limits["processors"],
            cache_nbytes=_CACHE_NBYTES, threads=True, dots="dot4_i8", fused=True, tiles=self.tiles,
            wide_nbytes=limits["shared_most"] if self.wide else 0, waits=True,
        )  # fmt: skip

    def describe(self) -> DeviceInfo:
        """Return what ``loom devices`` shows."""
        return describe_gpu(self.gpu, self.name, self.operations)

    def allocate(self, nbytes: int, *, zeroed: bool = True) -> CudaStorage:
        """Return memory, zeroed or with any contents; DeviceError if there is not enough."""
        return self.memory.allocate(whole(nbytes, "device.allocate, nbytes", least=0), zeroed=zeroed)

    def adopt(self, array: Any) -> None:
        """Arrays of the host cannot be used in place."""

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """How DLPack counts it."""
        return CUDA, self.gpu.number

    def borrow(self, data: Any, where: str, *, writes: bool = False) -> TypedStorage:
        """Return the memory of another library's array on this GPU; errors as of ``sharing.borrow``."""
        return borrow(self, data, where, writes=writes)

    def number_of(self, data: Any) -> int:
        """Return on which GPU the memory is that an array's ``__cuda_array_interface__`` names."""
        address = int(data.__cuda_array_interface__["data"][0] or 0)
        attribute = self.api.driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        return int(self.api.cuPointerGetAttribute(attribute, address)) if address else 0

    def build(self, plan: Plan) -> CudaProgram:
        """Compile the kernels of a plan and build its graphs."""
        return CudaProgram(self, plan)


def describe_gpu(
    gpu: Gpu, name: str, operations: tuple[tuple[str, str], ...] | None, refused: str | None = None
) -> DeviceInfo:
    """Return what is known of a GPU; ``operations`` are its self-test's."""
    limits = gpu.limits
    refused = gpu.refused or refused
    shown = {
        "adapter": gpu.name,
        "chip": f"sm_{gpu.chip[0]}{gpu.chip[1]}",
        "memory": f"{gpu.nbytes >> 20} MiB",
        "multiprocessors": limits["processors"],
        "shared memory": f"{limits['shared_nbytes'] // 1024} KiB",
        "workgroup": f"{limits['workgroup_lanes']} lanes",
        "groups": " x ".join(str(limits[f"groups_{axis}"]) for axis in "xyz"),
        "fast products": fast_products(),
    }
    return DeviceInfo(
        name, "cuda", f"CUDA {gpu.version}", "none" if refused else "BIT_EXACT", shown,
        operations=dict(operations or ()), refused=refused,
    )  # fmt: skip
