"""Tier 2 of docs/guide/flow.md, "Tier 2": each function is a line over ``loom.boot`` and the unit it returns.

Layer: flow. Wherever a count is written as a float (``4.0``), a whole float is taken as an int. Memory
is named by number: 0 registers, 1 globals, 2 heap, then further ones, all 32-bit words. A program is polled by
itself, by its unit (the unit's last launch) or by what ``loom_launch`` returned. Errors are those of ``Unit`` and
``Program``, plus DTypeError for an object of the wrong kind. Invariant: nothing is computed here, so bits
are those of ``loom.boot``'s units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.dtype import DType, of_numpy
from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.core.given import is_list, is_mapping
from loom.flow.counts import whole
from loom.flow.draft import binding_name, require_kind
from loom.flow.unit_bindings import bind_by_number, further_bindings, kernel_of, push_constants, require_unit
from loom.flow.words import as_words, words_of
from loom.ir.verified import VerifiedKernel
from loom.runtime.chain.program import Program, Submission
from loom.runtime.chain.timeline import Timeline
from loom.runtime.memory.frames import Frame
from loom.runtime.port.device import Device
from loom.runtime.units.unit import Unit, boot
from loom.support.presenters import Presenter
from loom.support.window import current_window

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
_launched: WeakKeyDictionary[Program | Unit, Submission] = WeakKeyDictionary()
"""What ``loom_launch`` launched last of each program and unit."""


def loom_boot(
    bind: float,
    reg_size: float,
    globals: float = 0,  # noqa: A002 - a word of loom.flow
    *,
    bindings: Mapping[str, float] | None = None,
    device: str | Device | None = None,
    on: str | Device | None = None,
) -> Unit:
    """Return a unit of ``reg_size`` register words and ``globals`` words, all zero.

    Args:
        bind: Number of register buffers: 1.
        reg_size: Number of register words.
        globals: Number of words beside them.
        bindings: Words of further buffers by their names, bindings 3, 4 and so on in their order: ``{"metrics":
            64.0}``; None: none.
        device: Device, or its name; None: the default device.
        on: The same as ``device``; one of the two is named.

    Raises:
        ArgumentError: A number is out of range, or no whole one; not one register buffer.
        DTypeError: Not a device; not words by names.
        DeviceError: The device or the budget has no room.

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
            remedy='Boot several units, or one with further buffers: bindings={"more": words}',
        )
    sizes = whole(reg_size, "loom_boot", "reg_size"), whole(globals, "loom_boot", "globals")
    if bindings is not None and not is_mapping(bindings):
        raise DTypeError(
            "loom_boot, bindings",
            "not a mapping",
            expected='names with words, such as {"metrics": 64.0}',
            got=repr(bindings)[:200],
            remedy="Pass a dict",
        )
    further = {name: (None, whole(n, "loom_boot", f"binding {name!r}")) for name, n in (bindings or {}).items()}
    return boot(*sizes, bindings=further, device=device, on=on)


def loom_write(unit: Unit, offset: float, data: Any, *, bind: float | str = 1) -> None:
    """Write numbers from word ``offset`` of the globals on: a list, or an array.

    A number takes the type that the kernels of the next ``loom_build`` take the binding's words for, so that 53.0
    reaches an integer kernel as 53; where they say nothing, or several things, floats are f32 and integers u32 (i32 if
    one is negative). ``bind=0`` writes registers, 2 the heap, from 3 on (or by name) further ones. DTypeError for
    what does not fit 32 bits; ArgumentError for a fraction where kernels take integers. ``unit.write`` copies raw
    words.

    Args:
        unit: Unit, of ``loom_boot``.
        offset: Number of words before the first.
        data: Numbers: a list, or an array.
        bind: Number (0 registers, 1 globals, 2 heap, then further ones) or name of the binding.

    Raises:
        ArgumentError: There is no such binding; a number is out of range, or no whole one.
        DTypeError: Not a unit; not numbers of 32 bits.
    """
    where = "loom_write"
    target = require_unit(unit, where)
    binding = binding_name(bind, where, further_bindings(target))
    words_of(target).write(target, binding, whole(offset, where, "offset"), as_words(data, where), where)


def loom_set_heap(unit: Unit, data: Any) -> None:
    """Replace the heap, which kernels only read, by the numbers of ``data``, taken as in ``loom_write``.

    Dispatches recorded from now on use it.

    Args:
        unit: Unit, of ``loom_boot``.
        data: Numbers: a list, or an array.

    Raises:
        DTypeError: Not numbers of 32 bits; not a unit.
    """
    target, words = require_unit(unit, "loom_set_heap"), as_words(data, "loom_set_heap")
    target.set_heap(words.view(np.uint32), words=True)
    words_of(target).forget("heap")
    words_of(target).write(target, "heap", 0, words, "loom_set_heap")


def loom_dispatch(
    unit: Unit, kernel: Any, params: Sequence[Any], wg: Any, *, bind: Mapping[str, str] | None = None
) -> None:
    """Record ``kernel`` over ``wg`` workgroups (a number or up to three) with its push constants.

    ``kernel`` is a function decorated with ``@loom.kernel``, what ``ir_finalize`` returned, or a path: those below
    ``stdlib/loom/kernels`` are Loom's own kernels, others SPIR-V files, which only Vulkan devices run (DeviceError).
    Whole floats are taken as ints for integer push constants. ``bind`` names bindings for buffers, as in
    ``Unit.dispatch``.

    Args:
        unit: Unit, of ``loom_boot``.
        kernel: Function with ``@loom.kernel``, kernel of ``ir_finalize``, or a path: those below
            ``stdlib/loom/kernels`` are Loom's own kernels, others SPIR-V files, which only Vulkan devices run.
        params: Push constants, in order or by name; whole floats are taken as ints for integers.
        wg: Workgroups, a number or up to three.
        bind: Names of bindings by names of the kernel's buffers; None: those of the same name, else in order.

    Raises:
        ArgumentError: A number is out of range, or no whole one; a parameter is missing, or does not fit its type.
        DTypeError: The names of bindings are no mapping; not a unit; not a kernel; the parameters are neither a list
            nor a mapping.
        DeviceError: A SPIR-V file on another device than Vulkan.
    """
    _dispatch("loom_dispatch", unit, kernel, params, wg, bind)


def loom_dispatch_jit(unit: Unit, ir: VerifiedKernel, params: Sequence[Any], wg: Any) -> None:
    """Record a kernel that ``ir_finalize`` returned; otherwise the same as ``loom_dispatch``.

    Args:
        unit: Unit, of ``loom_boot``.
        ir: Kernel of ``ir_finalize``.
        params: Push constants, in order or by name; whole floats are taken as ints for integers.
        wg: Workgroups, a number or up to three.

    Raises:
        ArgumentError: A number is out of range, or no whole one; a parameter is missing, or does not fit its type.
        DTypeError: Not a unit; not a kernel; the parameters are neither a list nor a mapping.
        ShapeError: Not one row of parameters for each turn.
    """
    _dispatch("loom_dispatch_jit", unit, ir, params, wg, None)


def loom_build(unit: Unit) -> Program:
    """Plan and compile what was recorded since the last build; numbers take the types its kernels say.

    Args:
        unit: Unit, of ``loom_boot``.

    Returns:
        Program.

    Raises:
        ArgumentError: A number with a fraction where the kernels take integers.
        DTypeError: Not a unit.
    """
    target = require_unit(unit, "loom_build")
    words_of(target).settle(target, "loom_build")
    program = target.build()
    _owners[program] = unit
    return program


def loom_run(prog: Program) -> None:
    """Run to the end; raises what a kernel's assert says.

    Args:
        prog: Program, of ``loom_build``.

    Raises:
        DTypeError: Not a program.
        KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
    """
    _program(prog, "loom_run").run()


def loom_launch(prog: Program) -> Submission:
    """Start a run after the unit's earlier ones and return at once.

    Args:
        prog: Program, of ``loom_build``.

    Returns:
        Submission: the run.

    Raises:
        DTypeError: Not a program.
    """
    program = _program(prog, "loom_launch")
    submission = _launched[program] = program.launch()
    if program in _owners:
        _launched[_owners[program]] = submission
    return submission


def loom_poll(prog: Program | Unit | Submission) -> float:
    """Return 1.0 when the last launch is over, else 0.0; raises what a kernel's assert said.

    Args:
        prog: Program, unit, or submission of ``loom_launch``.

    Raises:
        DTypeError: Not a program.
        StateError: Nothing was launched.
        KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
    """
    if isinstance(prog, Submission):
        return 1.0 if prog.poll() else 0.0
    timeline, number = _last_run(prog, "loom_poll")
    launched = _launched.get(prog)
    if launched is not None and launched.number == number:  # whose times are taken
        return 1.0 if launched.poll() else 0.0
    return 1.0 if timeline.poll(number) else 0.0


def loom_wait(prog: Program | Unit | Submission, timeout: float | None = None) -> None:
    """Wait until the last launch is over.

    Args:
        prog: Program, unit, or submission of ``loom_launch``.
        timeout: Seconds; None: without end.

    Raises:
        ArgumentError: Not a number of seconds, at least 0.
        DTypeError: Not a program.
        LoomTimeout: The time is over; the run goes on.
        StateError: Nothing was launched.
        KernelFault: An assert failed, or an index lay outside under LOOM_CHECK=1.
    """
    if isinstance(prog, Submission):
        prog.wait(timeout)
        return
    timeline, number = _last_run(prog, "loom_wait")
    launched = _launched.get(prog)
    if launched is not None and launched.number == number:
        launched.wait(timeout)
    else:
        timeline.wait(number, timeout, "loom_wait")


def loom_present(unit: Unit, total: float, *, width: float | None = None, to: Presenter | None = None) -> Frame:
    """Return the first ``total`` words of the globals as a picture, and show it at ``to`` (see ``Unit.present``).

    Args:
        unit: Unit, of ``loom_boot``.
        total: Number of words, which are pixels.
        width: Pixels of a row; None: the picture is square.
        to: Presenter; None: the window of ``ui_open``, if that is open.

    Raises:
        ArgumentError: A number is out of range, or no whole one; the words fill no such picture.
        DTypeError: Not a presenter; not a unit.
    """
    pixels = whole(total, "loom_present", "total", least=1)
    wide = math.isqrt(pixels) if width is None else whole(width, "loom_present", "width", least=1)
    if pixels % wide or (width is None and wide * wide != pixels):
        raise ArgumentError(
            "loom_present", "not a whole picture", expected="a square number of pixels, or a width that divides it",
            got=f"{pixels} pixels" if width is None else f"{pixels} pixels of width {wide}",
            remedy="Pass width=columns",
        )  # fmt: skip
    return require_unit(unit, "loom_present").present((pixels // wide, wide), current_window() if to is None else to)


def loom_read(
    unit: Unit,
    bind: float | str,
    off: float | None = None,
    len: float | None = None,  # noqa: A002 - a word of loom.flow
    *,
    dtype: Any = None,
) -> Any:
    """Return a copy of ``len`` words of a binding from word ``off`` on, after what was launched before.

    The words are the numbers they are: of the type that built kernels take the binding for, else of the type they were
    written as, else float32. ``dtype`` (loom.f32, u32 or i32) reads them as another; it is needed where kernels take
    one binding for several types (ArgumentError). Of the globals there are also
    ``loom_read(unit, offset, count)``, and ``loom_read(unit, cursor)``: one word, a number.

    Args:
        unit: Unit, of ``loom_boot``.
        bind: Number (0 registers, 1 globals, 2 heap, then further ones) or name of the binding; of two or three
            arguments the offset in the globals.
        off: Number of words before the first.
        len: Number of words.
        dtype: loom.f32, u32 or i32; None: the type that built kernels take the binding for, else that it was written
            as, else f32.

    Raises:
        ArgumentError: A number is out of range, or no whole one; there is no such binding; kernels take the binding for
            several types.
        DTypeError: Not a dtype of 32 bits; not a unit.
        ShapeError: Part of it lies outside the binding.
    """
    if len is None:
        words = loom_read(unit, 1, cast("float", bind), 1 if off is None else off, dtype=dtype)
        return words[0] if off is None else words
    where = "loom_read"
    target = require_unit(unit, where)
    binding = binding_name(bind, where, further_bindings(target))
    start, count = whole(0 if off is None else off, where, "off"), whole(len, where, "len")
    if dtype is None:
        return words_of(target).read(target, binding, start, count, where)
    kind = dtype if isinstance(dtype, DType) else of_numpy(dtype, where)
    if kind.nbytes != 4:
        raise DTypeError(where, "memory is 32-bit words", expected="f32, u32 or i32", got=kind, remedy="Use u32")
    return target.read(start, count, binding=binding).view(kind.numpy)


def loom_shutdown(unit: Unit) -> None:
    """Wait for what is running and free the memory; calling it again does nothing.

    Args:
        unit: Unit, of ``loom_boot``.

    Raises:
        DTypeError: Not a unit.
    """
    require_unit(unit, "loom_shutdown").shutdown()


def _dispatch(
    where: str, unit: Unit, kernel: Any, params: Sequence[Any], wg: Any, bind: Mapping[str, str] | None
) -> None:
    target = require_unit(unit, where)
    verified = kernel_of(kernel, where, target)
    counts = tuple(wg) if is_list(wg) else (wg,)
    groups = tuple(whole(n, where, "wg") for n in counts)
    ours = bind if bind is not None else bind_by_number(target, verified, where)
    target.dispatch(verified, push_constants(verified, params), groups, bind=ours)
    words_of(target).record(verified, target.bound(verified, ours))


def _program(prog: Any, where: str) -> Program:
    return require_kind(prog, Program, where, "program", "loom_build", "Write prog = loom_build(unit)")


def _last_run(handle: Any, where: str) -> tuple[Timeline, int]:
    """Return the last run of a program or unit, whoever launched it; StateError if there was none."""
    if isinstance(handle, Unit):
        timeline = handle.timeline(where.removeprefix("loom_"))
        number = timeline.submissions
    else:
        timeline, number = _program(handle, where).timeline, handle.latest
    if not number:
        raise StateError(where, "nothing was launched", remedy="Call loom_launch(prog) first")
    return timeline, number
