"""Finds CUDA devices by name: ``cuda`` is the first GPU that CUDA counts, ``cuda:1`` the second.

Layer: runtime. Invariant: that of ``drivers.numbered``; a device that was lost is left before it is opened anew.
"""

from __future__ import annotations

from loom.runtime.drivers.cuda.device import CudaDevice, describe_gpu
from loom.runtime.drivers.cuda.gpus import find_gpus
from loom.runtime.drivers.numbered import NumberedDevices

__all__ = ["cuda_infos", "open_gpu"]


def _is_gone(device: CudaDevice) -> bool:
    if device.lost:
        device.abandon()
    return device.lost


_DEVICES = NumberedDevices(
    "cuda", "CUDA counts no GPU", find_gpus, CudaDevice,
    lambda gpu, name, why: describe_gpu(gpu, name, None, refused=why), _is_gone, find_gpus.forget,
)  # fmt: skip
open_gpu, cuda_infos = _DEVICES.open, _DEVICES.infos
