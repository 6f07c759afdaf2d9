"""The CUDA driver: NVIDIA's GPUs by their own driver, kernels as PTX, programs as graphs, behind the device port."""

from loom.runtime.drivers.cuda.registry import cuda_infos, open_gpu
from loom.runtime.port.device import Driver

__all__ = ["DRIVER", "cuda_infos", "open_gpu"]

DRIVER = Driver(
    open_gpu, cuda_infos, numbered=True, offers=frozenset({"asynchronous", "compiled", "threads", "wide atomics"})
)
