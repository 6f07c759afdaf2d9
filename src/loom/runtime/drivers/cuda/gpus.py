"""GPUs that CUDA counts: what they are called, what they take, and which of them cannot be used.

Layer: runtime. Invariant: nothing here opens a GPU.
"""

from __future__ import annotations

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.runtime.drivers.cuda.api import Api, load

__all__ = ["Gpu", "find_gpus"]

_LEAST_CHIP = (8, 0)
"""What the PTX is written for."""
_LIMITS = {
    "workgroup_lanes": "MAX_THREADS_PER_BLOCK",
    "workgroup_x": "MAX_BLOCK_DIM_X",
    "workgroup_y": "MAX_BLOCK_DIM_Y",
    "workgroup_z": "MAX_BLOCK_DIM_Z",
    "groups_x": "MAX_GRID_DIM_X",
    "groups_y": "MAX_GRID_DIM_Y",
    "groups_z": "MAX_GRID_DIM_Z",
    "shared_nbytes": "MAX_SHARED_MEMORY_PER_BLOCK",
    "shared_most": "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
    "warp": "WARP_SIZE",
    "processors": "MULTIPROCESSOR_COUNT",
    "pools": "MEMORY_POOLS_SUPPORTED",
    "mode": "COMPUTE_MODE",
}
"""What Loom asks of a GPU, by CUDA's names."""
_PROHIBITED = 2


@dataclass(frozen=True, eq=False)
class Gpu:
    """A GPU not yet opened. ``key`` tells it from others, driver included; ``refused``: why it cannot be used."""

    api: Api
    number: int
    name: str
    chip: tuple[int, int]
    driver: int
    nbytes: int
    limits: dict[str, int]
    refused: str | None

    @property
    def version(self) -> str:
        """The driver's, as CUDA counts."""
        return f"{self.driver // 1000}.{self.driver % 1000 // 10}"

    @property
    def key(self) -> str:
        """What its code and its findings depend on."""
        return f"cuda {self.name} sm_{self.chip[0]}{self.chip[1]} driver {self.driver}"


class _Found:
    """Looks once: for GPUs, or for the reason why there are none."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Look again when it is asked next."""
        self.gpus: list[Gpu] = []
        self.error: DeviceError | None = None

    def __call__(self) -> list[Gpu]:
        """Return all GPUs as CUDA counts them; DeviceError that tells why there are none."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        if not self.gpus:
            try:
                self.gpus = _gpus(load())
            except DeviceError as error:
                self.error = error
                raise
        return self.gpus


find_gpus = _Found()


def _gpus(api: Api) -> list[Gpu]:
    count = api.cuDeviceGetCount()
    if not count:
        raise DeviceError(
            "device 'cuda'", "CUDA counts no GPU",
            remedy="See that nvidia-smi lists one, and CUDA_VISIBLE_DEVICES does not hide it",
        )  # fmt: skip
    return [_gpu(api, number) for number in range(count)]


def _gpu(api: Api, number: int) -> Gpu:
    handle = api.cuDeviceGet(number)
    kinds = api.driver.CUdevice_attribute

    def attribute_of(name: str) -> int:
        return int(api.cuDeviceGetAttribute(getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}"), handle))

    limits = {name: attribute_of(attribute) for name, attribute in _LIMITS.items()}
    chip = attribute_of("COMPUTE_CAPABILITY_MAJOR"), attribute_of("COMPUTE_CAPABILITY_MINOR")
    refused = None
    if chip < _LEAST_CHIP:
        refused = f"compute capability 8.0 or newer is needed, it has {chip[0]}.{chip[1]}"
    elif limits["mode"] == _PROHIBITED:
        refused = "its compute mode is prohibited (nvidia-smi -c 0 allows it)"
    name = api.cuDeviceGetName(128, handle).split(b"\0")[0].decode(errors="replace")
    return Gpu(api, number, name, chip, api.cuDriverGetVersion(), int(api.cuDeviceTotalMem(handle)), limits, refused)
