"""NVIDIA's driver by ``cuda-bindings``: imported when it is asked for, results turned into errors.

Layer: runtime. Only this file names the binding. Invariant: nothing of CUDA is called in a process that was forked
after CUDA was first called in its parent, where all of it fails.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from loom.core import optional
from loom.core.arithmetic import ordinary_arithmetic
from loom.core.errors import DeviceError

__all__ = ["LOST_REMEDY", "NOT_READY", "SUCCESS", "Api", "is_loss", "is_memory", "load"]

SUCCESS, OUT_OF_MEMORY, NOT_READY = 0, 2, 600
_LOST = (4, 46, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 720, 721, 802, 809, 810, 999)
"""Results after which nothing more can be done with a GPU as it was opened."""
_LOSS = "the device was lost"
LOST_REMEDY = "Start a new process, or go on with another device; results on it are gone"
"""NVIDIA's driver answers with the same error as long as the process lives, as seen where cupy used the GPU too."""
_MEMORY = "out of device memory"
_OLDEST = 12_000
"""The driver of CUDA 12.0 is the first to read PTX 8.0."""
_loaded: list[Api] = []


def is_loss(error: DeviceError) -> bool:
    """Tell whether an error says that the device was lost."""
    return error.what.startswith(_LOSS)


def is_memory(error: DeviceError) -> bool:
    """Tell whether an error says that memory ran out."""
    return error.what == _MEMORY


class Api:
    """The functions of the driver, as attributes: each gives its results, or raises what went wrong."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.process = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether CUDA can be called: this process is the one that began to."""
        return self.process == os.getpid()

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.driver, name)

        def call(*args: Any) -> Any:
            result, *values = function(*args)
            if result != SUCCESS:
                raise self.error(name, result)
            return values[0] if len(values) == 1 else tuple(values)

        setattr(self, name, call)
        return call

    def add_early_edges(self, graph: Any, before: Sequence[Any], node: Any) -> None:
        """Let a node of a graph begin before those that it needs are over: it waits for them itself.

        DeviceError where the binding or the driver knows no such edges.
        """
        try:
            add, edge = self._early
            add(graph, list(before), [node] * len(before), [edge] * len(before), len(before))
        except DeviceError:
            raise
        except Exception as error:  # the binding is too old, or says in its own way that the driver is
            raise DeviceError(
                "CUDA, cuGraphAddDependencies", f"no early edges of graphs ({error})",
                remedy="Use a newer driver, or a newer cuda-bindings",
            ) from error  # fmt: skip

    @cached_property
    def _early(self) -> tuple[Any, Any]:
        """What adds edges of a kind (from version 13 of the binding on by the plain name), and the early kind."""
        driver, name = self.driver, "cuGraphAddDependencies"
        edge = driver.CUgraphEdgeData()
        edge.from_port = driver.CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC
        edge.type = int(driver.CUgraphDependencyType.CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC)
        return getattr(self, f"{name}_v2" if hasattr(driver, f"{name}_v2") else name), edge

    def error(self, name: str, result: Any) -> DeviceError:
        """Return what a result of a function says."""
        code = int(result)
        where = f"CUDA, {name}"
        if not self.is_ours:
            return left_behind(where)
        if code == OUT_OF_MEMORY:
            return DeviceError(where, _MEMORY, remedy="Free units or use smaller buffers")
        text = self._text(result)
        if code in _LOST:
            return DeviceError(where, f"{_LOSS} ({text})", remedy=LOST_REMEDY)
        return DeviceError(where, text, remedy="Use another device, or another driver")

    def _text(self, result: Any) -> str:
        found = [f(result)[1] for f in (self.driver.cuGetErrorName, self.driver.cuGetErrorString)]
        named = [t.decode(errors="replace") if isinstance(t, bytes) else str(t) for t in found if t]
        return ": ".join(named) or f"error {int(result)}"


def left_behind(where: str) -> DeviceError:
    """Return the error of a process in which CUDA cannot be used."""
    return DeviceError(
        where, "CUDA was in use when this process was forked, and its driver stayed behind",
        remedy="Start processes with spawn, or use cuda in the child alone",
    )  # fmt: skip


def load() -> Api:
    """Return the driver, begun; DeviceError without the binding, without a driver, with one too old, or in a fork."""
    if _loaded:
        if not _loaded[0].is_ours:
            raise left_behind("device 'cuda'")
        return _loaded[0]
    api = Api(_binding())
    try:
        api.cuInit(0)
    except DeviceError as error:
        raise DeviceError(
            "device 'cuda'", f"NVIDIA's driver does not start: {error.what}",
            remedy="See that nvidia-smi lists a GPU, and CUDA_VISIBLE_DEVICES does not hide it",
        ) from error  # fmt: skip
    except Exception as error:  # the binding raises its own where there is no libcuda
        raise DeviceError(
            "device 'cuda'", "NVIDIA's driver is not installed (libcuda cannot be loaded)",
            remedy="Install the driver of an NVIDIA GPU, of CUDA 12.0 or newer",
        ) from error  # fmt: skip
    version = api.cuDriverGetVersion()
    if version < _OLDEST:
        raise DeviceError(
            "device 'cuda'", "NVIDIA's driver is too old", expected="one of CUDA 12.0 or newer",
            got=f"CUDA {version // 1000}.{version % 1000 // 10}", remedy="Install a newer driver",
        )  # fmt: skip
    _loaded.append(api)
    return api


def _binding() -> Any:
    try:
        with ordinary_arithmetic():
            return optional.load("cuda.bindings.driver", "device 'cuda'", DeviceError)
    except DeviceError:
        raise
    except Exception as error:  # a native library that does not fit this system
        raise DeviceError(
            "device 'cuda'", f"cuda-bindings cannot be loaded: {error}", remedy="Install it anew"
        ) from error
