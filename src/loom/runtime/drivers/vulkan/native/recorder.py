"""Records tables of dispatches by native code, ``recorder.ll``, which calls the device's own functions.

Layer: runtime. Invariant: the table and what it points to live until ``record`` returns; the device copies what
it is pushed.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.arithmetic import in_ordinary_arithmetic
from loom.runtime.drivers.cpu.code import LinkedCode, link
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.port.cache import ArtifactCache
from loom.targets.base import Artifact

__all__ = ["EMPTY", "FOR_HEAP", "INDIRECT", "ROW", "WAITS", "NativeRecorder"]

ROW = np.dtype(
    [
        ("pipeline", "<u8"), ("layout", "<u8"), ("set", "<u8"), ("words", "<u8"), ("nbytes", "<u4"), ("flags", "<u4"),
        ("groups", "<u4", (3,)), ("unused", "<u4"), ("counts", "<u8"), ("offset", "<u8"),
    ]
)  # fmt: skip
"""What ``recorder.ll`` calls %Row."""
WAITS, INDIRECT, EMPTY, FOR_HEAP = 1, 2, 4, 8
"""Flags of a row; the last tells that it waits only for those that have the heap, and needs nothing of theirs."""

_FUNCTIONS = (
    "vkCmdBindPipeline", "vkCmdBindDescriptorSets", "vkCmdPushConstants", "vkCmdDispatch", "vkCmdDispatchIndirect",
    "vkCmdPipelineBarrier",
)  # fmt: skip


@cache
def _code() -> LinkedCode:
    """Return the recorder, compiled at most once per machine."""
    from loom.targets.llvm.machine import emit, host_machine, llvm_fingerprint

    text, machine = Path(__file__).with_name("recorder.ll").read_text(encoding="ascii"), host_machine(None)
    whole = f'target triple = "{machine.triple}"\n{text}'
    artifact = ArtifactCache().artifact(
        f"{whole} {machine} {llvm_fingerprint()}",
        lambda: Artifact("object", emit(whole, machine, "object"), "loom_record"),
    )
    return link(artifact.data, "loom_record")


class NativeRecorder:
    """The recorder with the functions of one device."""

    def __init__(self, device: DeviceContext) -> None:
        api, ffi = device.api, device.api.ffi
        found = [
            int(ffi.cast("uintptr_t", api.lib.vkGetDeviceProcAddr(device.handle, ffi.new("char[]", name.encode()))))
            for name in _FUNCTIONS
        ]
        self._functions = np.array(found, np.uint64)
        self._code = _code()
        pointer, word = ctypes.c_void_p, ctypes.c_uint64
        kind = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, word, pointer, ctypes.c_uint32)
        self._call = in_ordinary_arithmetic(kind(self._code.address("loom_record")))

    def record(self, commands: int, rows: np.ndarray[Any, Any], barrier: int, stages: int) -> None:
        """Record ``rows`` into a command buffer; ``barrier`` is a VkMemoryBarrier for rows that wait."""
        assert rows.dtype == ROW
        assert rows.flags.c_contiguous
        self._call(self._functions.ctypes.data, commands, rows.ctypes.data, len(rows), barrier, stages)
