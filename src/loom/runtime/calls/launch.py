"""One call of a kernel: ``saxpy(x, y, a=2.0)``.

Layer: runtime. A call binds its arguments by position and name, finds the device (``on=``, else that of the arrays,
else the default), makes the outputs that are left out, and runs the program kept for kernel, sizes and groups. It
returns when the work is done if an array of the host was given; arrays of a device are put in order without waiting.
Invariant: what a call does is what a chain with that one dispatch would do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from loom.core.arrays import MOST_AXES
from loom.core.conversions import show
from loom.core.errors import ArgumentError, DeviceError, OutOfBounds, ShapeError
from loom.core.given import is_list, is_mapping
from loom.core.numbers import whole
from loom.core.options import check_bounds, native_calls
from loom.core.tracebacks import brief
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.interp import current_debug
from loom.ir.kernel import Access, Memory
from loom.ir.records import record_of
from loom.runtime.borrowed import home_of_others
from loom.runtime.calls.data import CallBuffer, fetch, in_order, operand, read_list
from loom.runtime.calls.interface import MISSING, SETTINGS, CallForm, Interface, interface_of
from loom.runtime.calls.native import offer
from loom.runtime.chain.extents import Array
from loom.runtime.chain.generics import instance_of
from loom.runtime.chain.kept import Kept, NumberPlace, find_kept, keep, shares_memory
from loom.runtime.chain.record import Chain
from loom.runtime.memory.order import is_tracked, using
from loom.runtime.memory.storage import HostSlot, ShapedStorage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device

__all__ = ["launch", "run_over"]


@brief
def launch(function: KernelFunction, args: tuple[Any, ...], named: dict[str, Any], groups: Any = None) -> Any:
    """Run a kernel over what a call gives; return the outputs that were left out, None if there were none."""
    called = function
    native_calls()  # also where none can be native: a setting that is unusable is told before anything is done
    if function.variables:
        function = instance_of(function, dict(zip(function.parameters, args)) | named, f"kernel {function.name!r}")  # noqa: B905
    interface = interface_of(function)
    if interface.plain and groups is None:
        again = _again(interface, args, named)
        if again is not None:
            form, key, kept, arrays, starts, words = again
            ends = [(start, start + array.nbytes) for start, array in zip(starts, arrays, strict=True)]
            with using(
                reads_at=[e for e, w in zip(ends, interface.written, strict=True) if not w],
                writes_at=[e for e, w in zip(ends, interface.written, strict=True) if w],
            ):
                kept.run_at(arrays, starts, words)
            offer(called, form, key, device(None), args, named, interface)
            return None
    settings: dict[str, Any] = {}
    for name in SETTINGS:
        if name in named and (name not in interface.places or (name == "out" and _is_shape(named[name]))):
            settings[name] = named.pop(name)
    if groups is not None and "groups" in settings:
        raise ArgumentError(interface.where, "groups are given twice", expected="k[groups](...) or groups=", got="both",
                            remedy="Leave one out")  # fmt: skip
    if groups is not None:
        settings["groups"] = groups
    values = interface.bind(args, named)
    for place, memory in interface.buffers:
        if is_list(values[place]) and not memory.access.writes:
            values[place] = read_list(values[place], memory, interface.where)
    left_out = _left_out(interface, values, settings)
    arrays = [values[place] for place, _ in interface.buffers if isinstance(values[place], Readable)]
    if left_out:
        recorded = _record(function, interface, values, left_out, settings, arrays)
        if recorded is not None:
            return recorded
    where = device(settings["on"]) if settings.get("on") is not None else arrays[0].home if arrays else None
    where = where or home_of_others(values[place] for place, _ in interface.buffers) or device(None)
    made = _make(interface, values, left_out, settings)
    form, key = run_over(interface, values, where, settings.get("groups"), settings.get("lanes"))
    if not settings:
        names = {memory.name for memory in left_out}
        outputs = {n: values[place] for n, (place, memory) in enumerate(interface.buffers) if memory.name in names}
        offer(called, form, key, where, args, named, interface, outputs)
    made = [show(array, memory.dtype) for array, memory in zip(made, left_out, strict=True)]
    return None if not made else made[0] if len(made) == 1 else tuple(made)


def _again(
    interface: Interface, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[CallForm, Hashable, Kept, list[Array], list[int], list[int]] | None:
    """Return the program kept for a call like one before, with nothing but arrays of the host used in place.

    With its key, the form of the call, where the arrays start, and the numbers.

    None for any other call, also one that is wrong: it goes the whole way.
    """
    count = len(interface.names)
    values: list[Any] | tuple[Any, ...] = args
    if len(args) != count:
        if len(args) + len(named) != count:
            return None
        values = [*args]
        for name in interface.names[len(args) :]:
            if name not in named:
                return None
            values.append(named[name])
    elif named:
        return None
    arrays: list[Array] = []
    sizes: list[int] = []
    ends: list[tuple[int, int]] = []
    for (place, dtype), writes in zip(interface.plain, interface.written, strict=True):
        array = values[place]
        if type(array) is not np.ndarray or array.dtype is not dtype:
            return None
        flags = array.flags
        if not (flags.carray if writes else flags.c_contiguous and flags.aligned):
            return None
        start = array.__array_interface__["data"][0]
        stop = start + array.nbytes
        if is_tracked(start, stop):
            return None
        for other, (low, high) in enumerate(ends):
            if start < high and low < stop and (writes or interface.written[other]):
                return None
        arrays.append(array)
        sizes.append(array.size)
        ends.append((start, stop))
    words = interface.words(values)
    form = interface.form_before(sizes, words)
    where = device(None)
    if form is None or not (form.settled.is_inside and form.trial.is_over) or not shares_memory(where):
        return None
    key = _key(form, sizes, form.words(words), where, reports=False)
    kept = find_kept(key, where)
    return None if kept is None else (form, key, kept, arrays, [start for start, _ in ends], form.words(words))


def run_over(
    interface: Interface, values: Sequence[Any], where: Device, groups: Any, lanes: Any
) -> tuple[CallForm, Hashable]:
    """Run a kernel once, with a value for each of its parameters; return how, and the key of the program."""
    _refuse_views(interface, values)
    # before memory is lent: what is written may be read, too, and lending lets go of how it came about
    is_fast = interface.kernel.is_loose or any(getattr(values[p], "is_fast", False) for p, _ in interface.buffers)
    operands: list[CallBuffer] = []
    try:
        for (place, memory), writes in zip(interface.buffers, interface.written, strict=True):
            operands.append(operand(values[place], memory, interface.where, where, writes=writes))
        words = interface.words(values)
        _refuse_shared(interface, operands)
        form = interface.form([each.elements for each in operands], words, groups, lanes)
        with in_order(operands, interface.written, where):
            key = _run(form, operands, words, values if is_fast else (), where)
    finally:
        for each in operands:
            if each.window is not None:
                each.window.put_back()
    return form, key


def _run(
    form: CallForm, operands: Sequence[CallBuffer], words: list[int], fast: Sequence[object], where: Device
) -> Hashable:
    """Run a kernel over operands, none of which another thread uses meanwhile; return the key of the program.

    ``fast``: the values of its parameters, if what it writes is not exact.
    """
    interface = form.interface
    fetch(operands, where)
    reports = not (form.settled.is_inside or check_bounds() or current_debug())
    key = _key(form, [each.elements for each in operands], form.words(words), where, reports=reports)
    kept = keep(key, where, lambda: _program(form, operands, form.words(words), where, reports))
    on_host = any(each.on_host for each in operands)
    for (place, _), writes in zip(interface.buffers, interface.written, strict=True):
        if fast and writes and isinstance(array := fast[place], Readable):
            array.follow_fast()
    before: list[Callable[[], None]] = []
    try:
        if not (form.trial.is_over or current_debug()):
            form.trial.run(operands, form.words(words), form.groups)
        before += [e.snapshot() for e, writes in zip(operands, interface.written, strict=True) if writes and reports]
        wait = on_host or reports or form.interface.kernel.talks
        kept.run(*[each.memory for each in operands], numbers=form.words(words), wait=wait)
        form.settled.is_inside = form.settled.is_inside or reports
    except OutOfBounds:
        for restore in before:
            restore()
        raise
    for each, writes in zip(operands, interface.written, strict=True):
        if writes:
            each.back()
    return key


def _key(form: CallForm, sizes: Sequence[int], words: Sequence[int], where: Device, *, reports: bool) -> Hashable:
    return ("call", form.interface, tuple(sizes), form.groups, None if shares_memory(where) else tuple(words), reports)


def _program(
    form: CallForm, operands: Sequence[CallBuffer], words: Sequence[int], where: Device, reports: bool
) -> Kept:
    kernel, in_place = form.interface.kernel, shares_memory(where)
    slots = [HostSlot(e.elements * m.dtype.nbytes) for e, m in zip(operands, kernel.bound, strict=True)]
    raw = [np.array([w], np.uint64).view(p.dtype.numpy)[0] for w, p in zip(words, kernel.given, strict=False)]
    bound = [
        ShapedStorage(slot, each.shape, record_of(m.record).numpy if m.record else None) if m.ndim else slot
        for slot, each, m in zip(slots, operands, kernel.bound, strict=True)
    ]
    chain = Chain(where, name=kernel.name)
    chain.reports, chain.is_tried = reports, True
    chain.dispatch(kernel, bound, raw, form.groups)
    row = chain.recorded[0].params
    numbers = [NumberPlace(row, n, n) for n in range(len(words))] if in_place else []
    return Kept(chain.build(), slots, in_place=in_place, numbers=numbers)


def _refuse_views(interface: Interface, values: Sequence[object]) -> None:
    """Two buffers that are written must not be views with elements in common, which would have the last one's."""
    written = [values[p] for (p, _), w in zip(interface.buffers, interface.written, strict=True) if w]
    written = [each for each in written if isinstance(each, Readable)]
    if len(written) < 2:
        return
    names = [
        m.name
        for (p, m), w in zip(interface.buffers, interface.written, strict=True)
        if w and isinstance(values[p], Readable)
    ]
    for j, second in enumerate(written):
        for i in range(j):
            if written[i].meets(second):
                raise _sharing(interface, names[i], names[j])


def _sharing(interface: Interface, first: str, second: str) -> ArgumentError:
    return ArgumentError(
        interface.where,
        f"{first!r} and {second!r} share memory and one is written",
        expected="separate memory",
        remedy="Pass a copy of one, or write the kernel with one InOut parameter for both",
    )


def _refuse_shared(interface: Interface, operands: Sequence[CallBuffer]) -> None:
    """Two buffers must not share memory if one of them is written."""
    for j, second in enumerate(operands):
        for i in range(j):
            first = operands[i]
            if (interface.written[i] or interface.written[j]) and first.overlaps(second):
                raise _sharing(interface, interface.buffers[i][1].name, interface.buffers[j][1].name)


# outputs that are left out


def _left_out(interface: Interface, values: list[Any], settings: dict[str, Any]) -> list[Memory]:
    """Return the outputs that nothing was given for; ArgumentError if anything else lacks a value."""
    if "out" not in settings and not any(v is MISSING for v in values):
        return []
    outputs = [m for place, m in interface.buffers if values[place] is MISSING and m.access is Access.WRITE]
    made = {m.name for m in outputs}
    lacking = [n for n, v in zip(interface.names, values, strict=True) if v is MISSING and n not in made]
    if lacking:
        bound = [n for n, v in zip(interface.names, values, strict=True) if v is not MISSING]
        raise interface.missing(lacking, bound, "Give a value for each, in order or by name; only Out may be left out")
    given = settings.get("out")
    if given is None or _is_shape(given) or is_mapping(given):
        return outputs
    if len(outputs) != 1:
        raise ArgumentError(f"{interface.where}, out", "an array for several outputs, or for none",
                            expected="one output", got=len(outputs),
                            remedy="Give arrays by the names of their parameters")  # fmt: skip
    values[interface.places[outputs[0].name]] = settings.pop("out")
    return []


def _is_shape(given: Any) -> bool:
    """Tell whether ``out`` is a shape, not an array."""
    return isinstance(given, (int, np.integer)) or (
        is_list(given) and all(isinstance(n, (int, np.integer)) for n in given)
    )


def _record(
    function: KernelFunction, interface: Interface, values: list[Any], left_out: list[Memory], settings: dict[str, Any],
    arrays: Sequence[Any],
) -> Any:  # fmt: skip
    """Return the outputs as tensors, recorded, if a tensor was given; else None."""
    record = next((each.record_call for each in arrays if each.record_call is not None), None)
    if record is None:
        return None
    return record(function, interface, values, _shapes(interface, values, left_out, settings), settings)


def _make(interface: Interface, values: list[Any], left_out: list[Memory], settings: dict[str, Any]) -> list[Any]:
    """Put new arrays of zeros in the places of the outputs that are left out; return them."""
    if "out" in settings and not left_out:
        raise ArgumentError(f"{interface.where}, out", "no output is left out", expected="nothing", got="a shape",
                            remedy="Leave out= away, or the array")  # fmt: skip
    shapes = _shapes(interface, values, left_out, settings) if left_out else {}
    made: list[Any] = []
    for memory in left_out:
        shape, dtype = shapes[memory.name], memory.dtype
        whole_shape = (*shape, dtype.lanes) if dtype.is_vector else shape
        made.append(_zeros(whole_shape, memory, interface.where))
        values[interface.places[memory.name]] = made[-1]
    return made


def _zeros(shape: tuple[int, ...], memory: Memory, where: str) -> Array:
    kind = _kind(memory)
    try:
        return np.zeros(shape, kind)
    except (MemoryError, ValueError):  # ValueError: more than numpy can count
        raise DeviceError(f"{where}, buffer {memory.name!r}", "out of memory",
                          got=f"{math.prod(shape) * kind.itemsize} bytes",
                          remedy="Give a smaller out=, and call it for each part") from None  # fmt: skip


def _kind(memory: Memory) -> np.dtype[Any]:
    """Return the numpy dtype of an output that is made; sums of cells are seen as floats."""
    if memory.record:
        return record_of(memory.record).numpy
    return memory.dtype.numpy if memory.fixed is None else memory.fixed.dtype.numpy


def _shapes(
    interface: Interface, values: Sequence[Any], left_out: Sequence[Memory], settings: dict[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of outputs that are left out: those of ``out=``, else that which all inputs have."""
    where, asked = f"{interface.where}, out", settings.get("out")
    names = [m.name for m in left_out]
    if is_mapping(asked):
        unknown = [n for n in asked if n not in names]
        lacking = [n for n in names if n not in asked]
        if unknown or lacking:
            raise ArgumentError(where, "shapes for other outputs", expected=", ".join(names),
                                got=", ".join(map(str, asked)), remedy="Give one for each left out")  # fmt: skip
        return {n: _shape(asked[n], where) for n in names}
    if asked is not None:
        return dict.fromkeys(names, _shape(asked, where))
    given = {tuple(np.shape(values[place])) for place, m in interface.buffers if m.name not in names}
    if len(given) != 1:
        raise ArgumentError(
            interface.where, f"the shape of {', '.join(map(repr, names))} cannot be told",
            expected="one shape of all inputs",
            got=" and ".join(map(str, sorted(given))) or "no inputs", remedy="Pass out=shape, or the array to write",
        )  # fmt: skip
    shape = given.pop()
    other = next((m for m in left_out if m.ndim and m.ndim != len(shape)), None)
    if other is not None:
        axes = ", ".join(["n"] if other.ndim == 1 else [f"n{k}" for k in range(other.ndim)])
        raise ShapeError(
            interface.where, f"the shape of {other.name!r} cannot be told", got=f"inputs of shape {shape}",
            expected=f"{other.ndim} {'dimension' if other.ndim == 1 else 'dimensions'}",
            remedy=f"Pass out=({axes}{',' * (other.ndim == 1)}), or the array to write",
        )  # fmt: skip
    return dict.fromkeys(names, shape)


def _shape(given: Any, where: str) -> tuple[int, ...]:
    sizes = tuple(whole(n, where, least=0) for n in (given if is_list(given) else (given,)))
    if len(sizes) > MOST_AXES:
        raise ShapeError(where, "too many dimensions", expected=f"at most {MOST_AXES}", got=len(sizes),
                         remedy="Give fewer")  # fmt: skip
    if math.prod(sizes) > 0xFFFF_FFFF:
        raise ShapeError(where, "too many elements", expected="less than 2^32", got=math.prod(sizes),
                         remedy="Give a smaller shape, and call it for each part")  # fmt: skip
    return sizes
