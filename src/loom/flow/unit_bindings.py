"""Numbers and names of the older calls, as the runtime has them: units, their memory, kernels and push constants.

Layer: flow, under the functions of tier 2. Invariant: nothing is computed here.
"""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np

from loom.core.errors import DeviceError, StateError
from loom.core.given import is_array, is_list
from loom.flow.counts import is_whole
from loom.flow.draft import BINDINGS, FURTHER, IrProgram, binding_name, require_kind
from loom.flow.stdlib import FOLDER, stdlib_kernel
from loom.ir.kernel import Param
from loom.ir.verified import VerifiedKernel
from loom.runtime.chain.arguments import as_verified
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.units.unit import Unit

__all__ = ["bind_by_number", "further_bindings", "kernel_of", "push_constants", "require_unit"]


def require_unit(unit: Any, where: str) -> Unit:
    """Return ``unit`` if it is one; DTypeError for the call named ``where`` otherwise."""
    return require_kind(unit, Unit, where, "unit", "loom_boot", "Write unit = loom_boot(1.0, words, 0)")


def further_bindings(unit: Unit) -> list[str]:
    """Return the names of a unit's bindings from number 3 on."""
    return [name for name in unit.memory() if name not in BINDINGS]


def bind_by_number(unit: Unit, kernel: VerifiedKernel, where: str) -> dict[str, str]:
    """Return the bindings of a unit that a kernel's buffers name, or mean by their number.

    ArgumentError for a number that the unit has not. SPIR-V of others means them in their order.
    """
    further = further_bindings(unit)
    found: dict[str, str] = {}
    for name in [] if isinstance(kernel, ForeignKernel) else [m.name for m in kernel.bound]:
        number = name.removeprefix(FURTHER)
        if name in BINDINGS or name in further:
            found[name] = name
        elif number != name and number.isdecimal():
            found[name] = binding_name(int(number), where, further)
    return found


def kernel_of(kernel: Any, where: str, unit: Unit) -> VerifiedKernel:
    """Return what names a kernel, for the call named ``where`` on ``unit``, as a verified one."""
    if isinstance(kernel, str) and kernel.startswith(FOLDER):
        return as_verified(stdlib_kernel(kernel, where), where)
    if isinstance(kernel, (str, bytes, os.PathLike)) and unit.device.kind != "vulkan":
        shown = (
            f"{len(kernel)} bytes"
            if isinstance(kernel, bytes)
            else repr(cast("object", os.fspath(cast("Any", kernel))))
        )
        raise DeviceError(
            where,
            f"device {unit.device.name!r} cannot run SPIR-V (Vulkan only)",
            expected="a kernel object",
            got=shown,
            remedy="Pass a function decorated with @loom.kernel, or what ir_finalize returned",
        )
    if isinstance(kernel, IrProgram):
        raise StateError(where, "the kernel is not finished", remedy="Pass what ir_finalize(prog) returned")
    return as_verified(kernel, where)


def push_constants(kernel: VerifiedKernel, params: Any) -> Any:
    """Return push constants for a kernel: whole floats stand for ints where one is declared."""
    if not is_list(params):
        return params  # which ``dispatch`` refuses, or takes as an array
    declared = kernel.given
    return [_param(p, v) for p, v in zip(declared, params)] + list(params)[len(declared) :]  # noqa: B905


def _param(param: Param, value: Any) -> Any:
    """Return a push constant, or an array of one per repeat; whole floats stand for ints where those are declared."""
    if not param.dtype.is_integer:
        return value
    if is_array(value) and value.dtype.kind == "f" and (np.trunc(value) == value).all():
        return value.astype(np.int64)
    return int(value) if is_whole(value) else value
