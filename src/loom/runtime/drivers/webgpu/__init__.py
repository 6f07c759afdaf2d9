"""The WebGPU driver: adapters of ``wgpu``, memory, pipelines and compute passes behind the device port."""

from loom.runtime.drivers.webgpu.registry import open_adapter, webgpu_infos
from loom.runtime.port.device import Driver

__all__ = ["DRIVER", "open_adapter", "webgpu_infos"]

DRIVER = Driver(open_adapter, webgpu_infos, numbered=True, offers=frozenset({"compiled", "threads"}))
