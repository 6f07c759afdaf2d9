"""SPIR-V modules of somebody else's as pipelines: checked against the device, their push constants packed.

Layer: runtime. Invariant: a module is handed to the driver only if all it declares was asked for when the device was
opened; whether its code is sound, spirv-val tells.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from loom.core.errors import DeviceError
from loom.runtime.drivers.vulkan.handles.kernels import LoadedKernel, check_room, make_pipeline
from loom.runtime.drivers.vulkan.native.adapter import Adapter
from loom.runtime.drivers.vulkan.native.context import DeviceContext
from loom.runtime.drivers.vulkan.native.pipelines import Pipelines
from loom.runtime.plans.foreign import ForeignKernel
from loom.targets.base.push_layout import PushLayout
from loom.targets.spirv.features import Features
from loom.targets.spirv.opcodes import CAPABILITY, FLOAT_CONTROLS2, SUBGROUP_CAPABILITIES
from loom.targets.spirv.reflect import ForeignModule

__all__ = ["load_foreign", "pack_params", "refuse_many_groups"]

_TYPE_CAPABILITIES = {
    "Float64": "f64", "Int64": "i64", "Int16": "i16", "Int8": "i8", "StorageBuffer16BitAccess": "i16",
    "StorageBuffer8BitAccess": "i8",
}  # fmt: skip
_EXTENSIONS = {
    "SPV_KHR_storage_buffer_storage_class": None, "SPV_KHR_16bit_storage": None,
    "SPV_KHR_8bit_storage": "VK_KHR_8bit_storage", "SPV_KHR_float_controls": "VK_KHR_shader_float_controls",
    "SPV_KHR_float_controls2": "VK_KHR_shader_float_controls2",
}  # fmt: skip
"""Extensions of modules, and what the device must have for them."""


def load_foreign(pipelines: Pipelines, features: Features, foreign: ForeignKernel) -> LoadedKernel:
    """Return the pipeline of a module; DeviceError for what the device does not have."""
    module, device = foreign.module, pipelines.device
    where = f"SPIR-V module {foreign.name!r} on device {device.name!r}"
    _check_needs(device, features, module, where)
    bindings = tuple(buffer.binding for buffer in module.buffers)
    check_room(
        device, where, bindings=len(bindings), shared=module.shared_nbytes, lanes=foreign.kernel.lanes,
        workgroup=module.workgroup,
    )  # fmt: skip
    most = device.adapter.limits["push_nbytes"]
    if module.push_nbytes > most:
        raise DeviceError(
            where, "too many push constants", expected=f"at most {most} bytes", got=module.push_nbytes,
            remedy="Pass them in a buffer",
        )  # fmt: skip
    words = max(1, -(-module.push_nbytes // 4))  # something is pushed always
    push = PushLayout((), 0, 0, 0, (-1, -1, -1), words, False)
    return make_pipeline(pipelines, foreign, module.data, module.entry, push, (), bindings)


def _check_needs(device: DeviceContext, features: Features, module: ForeignModule, where: str) -> None:
    def lacking(what: str, expected: str, got: str) -> NoReturn:
        raise DeviceError(
            where, f"the device lacks {what}", expected=expected, got=got, remedy="Compile for Vulkan 1.1 without it"
        )

    newest = device.adapter.spirv
    if module.version > newest:
        lacking(
            "this version of SPIR-V", f"at most {newest[0]}.{newest[1]}", f"{module.version[0]}.{module.version[1]}"
        )
    usable = _capabilities(device.adapter, features)
    for name in module.capabilities:
        if name not in usable:
            lacking("a capability", ", ".join(sorted(usable)), name)
    extensions = [n for n, needs in _EXTENSIONS.items() if needs is None or needs in device.adapter.extensions]
    for name in module.extensions:
        if name not in extensions:
            lacking("an extension", ", ".join(extensions), name)


def _capabilities(adapter: Adapter, features: Features) -> set[str]:
    """Return the capabilities that go with what the device was opened with, and the float modes it was seen to keep."""
    found = {"Matrix", "Shader"} | {n for n, kind in _TYPE_CAPABILITIES.items() if kind in adapter.types}
    modes = (*adapter.float_modes, *features.modes)
    found |= {mode for mode, _ in modes if mode in CAPABILITY}
    found |= {n for n, bit in SUBGROUP_CAPABILITIES.items() if adapter.subgroup_operations & bit}
    found |= {f"number {FLOAT_CONTROLS2}"} if adapter.float_controls2 else set()
    return found | ({"Int64Atomics"} if adapter.int64_atomics else set())


def pack_params(foreign: ForeignKernel, params: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return push constants as rows of words; ``params`` are slots of 8 bytes, one row for each turn."""
    module = foreign.module
    slots = np.ascontiguousarray(params).view(np.uint8).reshape(*params.shape, 8)
    rows = np.zeros((len(params), 4 * max(1, -(-module.push_nbytes // 4))), np.uint8)
    for n, member in enumerate(module.push):
        nbytes = member.dtype.nbytes
        rows[:, member.offset : member.offset + nbytes] = slots[:, n, :nbytes]
    return rows.view(np.uint32)


def refuse_many_groups(device: DeviceContext, foreign: ForeignKernel, groups: tuple[int, ...]) -> NoReturn:
    """Raise for a dispatch that would have to be cut, which a module of others knows nothing of."""
    limits = device.adapter.limits
    raise DeviceError(
        f"SPIR-V module {foreign.name!r} on device {device.name!r}", "more groups than the device takes",
        expected=f"at most {tuple(limits[f'groups_{axis}'] for axis in 'xyz')}", got=groups,
        remedy="Let each lane do more, or dispatch several times",
    )  # fmt: skip
