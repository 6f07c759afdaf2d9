"""Tier 2 under the names of the seeds: each function is a line over ``loom.boot`` and the unit it returns.

Layer: flow. Wherever the seeds write a count as a float (``4.0``), a whole float is taken as an int. Memory
is named by number: 0 registers, 1 globals, 2 heap, all 32-bit words. A program is polled by itself, by its
unit (the unit's last launch) or by what ``loom_launch`` returned. Errors are those of ``Unit`` and
``Program``, plus DTypeError for an object of the wrong kind. Invariant: nothing is computed here, so bits
are those of ``loom.boot``'s units.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.dtype import DType, f32, of_numpy
from loom.core.errors import ArgumentError, DeviceError, DTypeError, StateError
from loom.flow.counts import is_whole, whole
from loom.flow.draft import BINDINGS, IrProgram, binding_name, require_kind
from loom.flow.stdlib import FOLDER, stdlib_kernel
from loom.ir.kernel import Param
from loom.ir.verify import VerifiedKernel
from loom.runtime.chain.arguments import verified_kernel
from loom.runtime.chain.program import Program, Submission
from loom.runtime.device import Device
from loom.runtime.support.frames import Frame
from loom.runtime.support.presenters import Presenter
from loom.runtime.unit import Unit, boot

__all__ = [
    "loom_boot",
    "loom_build",
    "loom_dispatch",
    "loom_dispatch_jit",
    "loom_launch",
    "loom_poll",
    "loom_present",
    "loom_read",
    "loom_run",
    "loom_set_heap",
    "loom_shutdown",
    "loom_wait",
    "loom_write",
]

_owners: WeakKeyDictionary[Program, Unit] = WeakKeyDictionary()
_last: WeakKeyDictionary[Program | Unit, Submission | None] = WeakKeyDictionary()
"""The last launch of each program and unit; None after a run that was waited for."""


def loom_boot(
    bind: float,
    reg_size: float,
    globals: float = 0,  # noqa: A002 (the seeds' name)
    *,
    device: str | Device | None = None,
) -> Unit:
    """Return a unit of ``reg_size`` register words and ``globals`` words, all zero.

    ``bind`` is the number of register buffers: 1 in all of the seeds, and here.

    >>> unit = loom_boot(1.0, 4, 2)
    >>> loom_write(unit, 0.0, [1.5, 2.5])
    >>> loom_read(unit, 1.0, 0.0, 2).tolist()
    [1.5, 2.5]
    """
    if whole(bind, "loom_boot", "bind", least=1) != 1:
        raise ArgumentError(
            "loom_boot",
            "a unit has one register buffer",
            expected=1,
            got=bind,
            remedy="Boot several units, or use loom.boot(registers, globals, bindings=...)",
        )
    sizes = whole(reg_size, "loom_boot", "reg_size"), whole(globals, "loom_boot", "globals")
    return boot(*sizes, device=device)


def loom_write(unit: Unit, offset: float, data: Any, *, bind: float = 1) -> None:
    """Copy ``data`` (32-bit array, or a list: floats become f32, ints u32) to word ``offset`` of the globals.

    ``bind=0`` writes registers.
    """
    binding = binding_name(bind, "loom_write")
    _unit(unit, "loom_write").write(data, whole(offset, "loom_write", "offset"), binding=binding)


def loom_set_heap(unit: Unit, data: Any) -> None:
    """Replace the read-only heap by the 32-bit words of ``data``, taken as in ``loom_write``.

    Dispatches recorded from now on use it. Kernels see u32 words; for a heap of another type call
    ``unit.set_heap(array)``.
    """
    _unit(unit, "loom_set_heap").set_heap(_words(data, "loom_set_heap"))


def loom_dispatch(unit: Unit, kernel: Any, params: Sequence[Any], wg: Any) -> None:
    """Record ``kernel`` over ``wg`` workgroups (a number or up to three) with its push constants.

    ``kernel`` is a function decorated with ``@loom.kernel``, what ``ir_finalize`` returned, or a path: those below
    ``stdlib/loom/kernels`` are Loom's own kernels, others SPIR-V files, which only Vulkan devices run (DeviceError).
    Whole floats are taken as ints for integer push constants.
    """
    _dispatch("loom_dispatch", unit, kernel, params, wg)


def loom_dispatch_jit(unit: Unit, ir: VerifiedKernel, params: Sequence[Any], wg: Any) -> None:
    """Record a kernel that ``ir_finalize`` returned; otherwise the same as ``loom_dispatch``."""
    _dispatch("loom_dispatch_jit", unit, ir, params, wg)


def loom_build(unit: Unit) -> Program:
    """Plan and compile what was recorded since the last build."""
    program = _unit(unit, "loom_build").build()
    _owners[program] = unit
    return program


def loom_run(prog: Program) -> None:
    """Run to the end; raises what a kernel's assert says."""
    program = _program(prog, "loom_run")
    program.run()
    for handle in (program, _owners.get(program)):
        if handle is not None:
            _last.setdefault(handle, None)


def loom_launch(prog: Program) -> Submission:
    """Start a run after the unit's earlier ones and return at once."""
    program = _program(prog, "loom_launch")
    submission = _last[program] = program.launch()
    if program in _owners:
        _last[_owners[program]] = submission
    return submission


def loom_poll(prog: Program | Unit | Submission) -> float:
    """Return 1.0 when the last launch is over, else 0.0; raises what a kernel's assert said."""
    submission = _submission(prog, "loom_poll")
    return 1.0 if submission is None or submission.poll() else 0.0


def loom_wait(prog: Program | Unit | Submission, timeout: float | None = None) -> None:
    """Wait until the last launch is over; LoomTimeout after ``timeout`` seconds, nothing being lost."""
    submission = _submission(prog, "loom_wait")
    if submission is not None:
        submission.wait(timeout)


def loom_present(unit: Unit, total: float, *, width: float | None = None, to: Presenter | None = None) -> Frame:
    """Return the first ``total`` words of the globals as a picture, and show it at ``to`` (see ``Unit.present``).

    The seeds give no width: without one the picture is square. ArgumentError if ``total`` pixels fill no such picture.
    """
    pixels = whole(total, "loom_present", "total", least=1)
    wide = math.isqrt(pixels) if width is None else whole(width, "loom_present", "width", least=1)
    if pixels % wide or (width is None and wide * wide != pixels):
        raise ArgumentError(
            "loom_present", "not a whole picture", expected="a square number of pixels, or a width that divides it",
            got=f"{pixels} pixels" if width is None else f"{pixels} pixels of width {wide}",
            remedy="Pass width=columns",
        )  # fmt: skip
    return _unit(unit, "loom_present").present((pixels // wide, wide), to)


def loom_read(
    unit: Unit,
    bind: float,
    off: float | None = None,
    len: float | None = None,  # noqa: A002 (the seeds' name)
    *,
    dtype: Any = f32,
) -> Any:
    """Return a copy of ``len`` words of a binding from word ``off`` on, after what was launched before.

    The words are read as float32, the seeds' only number; ``dtype=loom.u32`` (or i32) gives whole numbers. Of the
    globals the seeds also read ``loom_read(unit, offset, count)``, and ``loom_read(unit, cursor)``: one word, a number.
    """
    if len is None:
        words = loom_read(unit, 1, bind, 1 if off is None else off, dtype=dtype)
        return words[0] if off is None else words
    where = "loom_read"
    kind = dtype if isinstance(dtype, DType) else of_numpy(dtype, where)
    if kind.nbytes != 4:
        raise DTypeError(where, "memory is 32-bit words", expected="f32, u32 or i32", got=kind, remedy="Use u32")
    start, count = whole(off or 0, where, "off"), whole(len, where, "len")
    return _unit(unit, where).read(start, count, binding=binding_name(bind, where)).view(kind.numpy)


def loom_shutdown(unit: Unit) -> None:
    """Wait for what is running and free the memory; calling it again does nothing."""
    _unit(unit, "loom_shutdown").shutdown()


def _dispatch(where: str, unit: Unit, kernel: Any, params: Sequence[Any], wg: Any) -> None:
    target = _unit(unit, where)
    verified = _kernel(kernel, where, target)
    declared = verified.kernel.params
    given = [_param(p, v) for p, v in zip(declared, params)] + list(params)[len(declared) :]  # noqa: B905
    counts = tuple(wg) if isinstance(wg, (tuple, list)) else (wg,)
    groups = tuple(whole(n, where, "wg") for n in counts)
    ours = {m.name: m.name for m in verified.kernel.buffers if m.name in BINDINGS}
    target.dispatch(verified, given, groups, bind=ours)


def _kernel(kernel: Any, where: str, unit: Unit) -> VerifiedKernel:
    if isinstance(kernel, str) and kernel.startswith(FOLDER):
        return verified_kernel(stdlib_kernel(kernel, where), where)
    if isinstance(kernel, (str, bytes, os.PathLike)) and unit.device.kind != "vulkan":
        shown = f"{len(kernel)} bytes" if isinstance(kernel, bytes) else repr(os.fspath(kernel))
        raise DeviceError(
            where,
            f"device {unit.device.name!r} cannot run SPIR-V (Vulkan only)",
            expected="a kernel object",
            got=shown,
            remedy="Pass a function decorated with @loom.kernel, or what ir_finalize returned",
        )
    if isinstance(kernel, IrProgram):
        raise StateError(where, "the kernel is not finished", remedy="Pass what ir_finalize(prog) returned")
    return verified_kernel(kernel, where)


def _param(param: Param, value: Any) -> Any:
    """Return a push constant; a whole float stands for an int where one is declared."""
    return int(value) if param.dtype.is_integer and is_whole(value) else value


def _words(data: Any, where: str) -> np.ndarray[Any, Any]:
    """Return 32-bit data as u32 words; a list's floats become f32, its ints u32 (i32 with negative ones)."""
    array = np.ascontiguousarray(data)
    if not hasattr(data, "dtype") and array.dtype.kind in "iuf":
        integer = np.int32 if array.size and array.min() < 0 else np.uint32
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32 if array.dtype.kind == "f" else integer)
        array = narrow if array.dtype.kind == "f" or (narrow == array).all() else array
    if array.dtype.kind not in "iuf" or array.itemsize != 4:
        raise DTypeError(
            where,
            "memory is 32-bit words",
            expected="uint32, int32 or float32",
            got=array.dtype,
            remedy="Convert with array.astype(...), or array.view(numpy.uint32) to copy raw words",
        )
    return array.view(np.uint32)


def _unit(unit: Any, where: str) -> Unit:
    return require_kind(unit, Unit, where, "unit", "loom_boot", "Write unit = loom_boot(1.0, words, 0)")


def _program(prog: Any, where: str) -> Program:
    return require_kind(prog, Program, where, "program", "loom_build", "Write prog = loom_build(unit)")


def _submission(handle: Any, where: str) -> Submission | None:
    if isinstance(handle, Submission):
        return handle
    known = handle if isinstance(handle, Unit) else _program(handle, where)
    if known not in _last:
        raise StateError(where, "nothing was launched", remedy="Call loom_launch(prog) first")
    return _last[known]
