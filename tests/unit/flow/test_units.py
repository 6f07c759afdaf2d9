"""Tier 2 under its older names: whole floats, memory by number, launches, and every misuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import (
    ArgumentError,
    AssertionFailed,
    DeviceError,
    DTypeError,
    LoomError,
    LoomTimeout,
    ShapeError,
    StateError,
)
from loom.flow import (
    ir_begin,
    ir_buf_load,
    ir_buf_store,
    ir_const,
    ir_entry,
    ir_finalize,
    ir_fmul,
    ir_global_id,
    loom_boot,
    loom_build,
    loom_dispatch,
    loom_dispatch_jit,
    loom_launch,
    loom_poll,
    loom_present,
    loom_read,
    loom_run,
    loom_set_heap,
    loom_shutdown,
    loom_wait,
    loom_write,
)


@loom.kernel(workgroup=8)
def scale(x: loom.InOut[loom.f32], factor: loom.f32, size: loom.u32) -> None:
    i = loom.global_id()
    if i < size:
        x[i] = x[i] * factor


@loom.kernel(workgroup=1)
def fail(x: loom.InOut[loom.u32]) -> None:
    assert x[0] == 1, "not yet"


def test_other_ways_to_read(unit: loom.Unit) -> None:
    loom_write(unit, 1.0, [1.5, 2.5])
    assert loom_read(unit, 1.0, 2.0).tolist() == [1.5, 2.5]
    assert loom_read(unit, 2.0) == 2.5
    assert loom_read(unit, 2, dtype=loom.u32) == 0x40200000


def test_present_is_square_or_as_wide_as_asked(unit: loom.Unit) -> None:
    loom_write(unit, 0.0, [1, 2, 3, 4])
    latest = loom.Latest()
    frame = loom_present(unit, 4.0, to=latest)
    assert latest.frame is frame
    assert frame.pixels[:, :, 0].tolist() == [[1, 2], [3, 4]]
    assert loom_present(unit, 3.0, width=3.0).pixels[:, :, 0].tolist() == [[1, 2, 3]]


def heap_doubler() -> Any:
    prog = ir_begin(workgroup=4)
    body = ir_entry(prog)
    gid = ir_global_id(body)
    ir_buf_store(body, 0, gid, ir_fmul(body, ir_buf_load(body, 2, gid), ir_const(body, 2.0)))
    return ir_finalize(prog)


@pytest.fixture
def unit() -> Iterator[loom.Unit]:
    booted = loom_boot(1.0, 8, 4.0)
    yield booted
    loom_shutdown(booted)


def test_whole_floats_stand_for_ints_everywhere(unit: loom.Unit) -> None:
    loom_write(unit, 2.0, [1.5, 2.5], bind=0.0)
    loom_dispatch(unit, scale, [2.0, 8.0], 1.0)
    loom_run(loom_build(unit))
    assert loom_read(unit, 0.0, 2.0, 3.0).tolist() == [3.0, 5.0, 0.0]


def test_groups_of_three_extents(unit: loom.Unit) -> None:
    loom_write(unit, 0, [1.0] * 8, bind=0)
    loom_dispatch(unit, scale, [3, 8], (1.0, 1, 1))
    loom_run(loom_build(unit))
    assert loom_read(unit, 0, 0, 8).tolist() == [3.0] * 8


def test_negative_zero_and_large_floats_reach_float_parameters(unit: loom.Unit) -> None:
    loom_write(unit, 0, [1.0] * 8, bind=0)
    loom_dispatch(unit, scale, [-0.0, 8], 1)
    loom_run(loom_build(unit))
    assert np.signbit(loom_read(unit, 0, 0, 1)[0])
    loom_write(unit, 0, [1.0] * 8, bind=0)
    loom_dispatch(unit, scale, [1e30, 8], 1)
    loom_run(loom_build(unit))
    assert loom_read(unit, 0, 0, 1)[0] == np.float32(1e30)


def test_write_goes_to_the_globals_and_read_gives_any_32_bit_type(unit: loom.Unit) -> None:
    loom_write(unit, 1.0, [3, 4])
    assert loom_read(unit, 1.0, 0.0, 4, dtype=loom.u32).tolist() == [0, 3, 4, 0]
    assert loom_read(unit, 1.0, 1, 1, dtype=np.int32).tolist() == [3]
    assert loom_read(unit, 1.0, 1, 1).view(np.uint32).tolist() == [3]
    assert loom_read(unit, 0.0, 0.0, 8).dtype == np.float32


@pytest.mark.parametrize("data", [[1.0, 2.0, 3.0, 4.5], np.array([1, 2, 3, 4.5], np.float32)], ids=["list", "array"])
def test_heap_is_words(unit: loom.Unit, data: Any) -> None:
    loom_set_heap(unit, data)
    loom_dispatch_jit(unit, heap_doubler(), [], 1)
    loom_run(loom_build(unit))
    assert loom_read(unit, 0, 0, 4).tolist() == [2.0, 4.0, 6.0, 9.0]
    assert loom_read(unit, 2.0, 3, 1).tolist() == [4.5]


def test_heap_of_whole_numbers(unit: loom.Unit) -> None:
    loom_set_heap(unit, [7, 8])
    assert loom_read(unit, 2, 0, 2, dtype=loom.u32).tolist() == [7, 8]
    loom_set_heap(unit, [-1, 8])
    assert loom_read(unit, 2, 0, 2, dtype=loom.i32).tolist() == [-1, 8]


def test_launch_poll_and_wait_by_program_unit_or_submission(unit: loom.Unit) -> None:
    loom_write(unit, 0, [1.0] * 8, bind=0)
    loom_dispatch(unit, scale, [2.0, 8], 1)
    program = loom_build(unit)
    submission = loom_launch(program)
    while loom_poll(unit) < 0.5:
        pass
    assert [loom_poll(h) for h in (program, unit, submission)] == [1.0, 1.0, 1.0]
    loom_launch(program)
    loom_wait(program)
    loom_wait(unit, 1.0)
    assert loom_read(unit, 0, 0, 1)[0] == 4.0


def test_a_unit_is_polled_by_its_last_launch(unit: loom.Unit) -> None:
    loom_dispatch(unit, scale, [2.0, 8], 1)
    first = loom_build(unit)
    loom_dispatch(unit, scale, [2.0, 8], 1)
    second = loom_build(unit)
    loom_launch(first)
    loom_launch(second)
    loom_wait(unit)
    assert loom_poll(second) == 1.0


def test_poll_and_wait_after_run(unit: loom.Unit) -> None:
    program = loom_build(unit)
    loom_run(program)
    loom_wait(program)
    assert (loom_poll(program), loom_poll(unit)) == (1.0, 1.0)


def test_poll_raises_what_a_kernel_found(unit: loom.Unit) -> None:
    loom_dispatch(unit, fail, [], 1)
    submission = loom_launch(loom_build(unit))
    while not submission.done:
        pass
    with pytest.raises(AssertionFailed, match="not yet"):
        loom_poll(unit)


def test_wait_gives_up_in_time() -> None:
    @loom.kernel(workgroup=1)
    def spin(registers: loom.InOut[loom.u32], turns: loom.u32) -> None:
        for _ in range(turns):
            loom.atomic_add(registers, 0, 1)

    unit = loom_boot(1, 1, 0)
    loom_dispatch(unit, spin, [20_000_000], 1)
    program = loom_build(unit)
    loom_launch(program)
    with pytest.raises(LoomTimeout):
        loom_wait(program, 0.0)
    loom_wait(program)
    assert loom_read(unit, 0, 0, 1, dtype=loom.u32)[0] == 20_000_000


def test_programs_do_not_outlive_their_use() -> None:
    from loom.flow import units

    before = len(units._owners), len(units._launched)
    unit = loom_boot(1, 8, 0)
    program = loom_build(unit)
    loom_wait(loom_launch(program))
    del program, unit
    assert (len(units._owners), len(units._launched)) == before


def test_shutdown_twice_and_use_after(unit: loom.Unit) -> None:
    loom_shutdown(unit)
    loom_shutdown(unit)
    with pytest.raises(StateError, match="shut down"):
        loom_write(unit, 0, [1])


def test_on_the_interpreter() -> None:
    unit = loom_boot(1.0, 4, 0, device="interp")
    loom_set_heap(unit, [1.0, 2.0, 3.0, 4.0])
    loom_dispatch_jit(unit, heap_doubler(), [], 1)
    loom_run(loom_build(unit))
    assert loom_read(unit, 0, 0, 4).tolist() == [2.0, 4.0, 6.0, 8.0]


MISUSES: dict[str, tuple[Callable[[loom.Unit], Any], type[LoomError], str]] = {
    "two register buffers": (
        lambda u: loom_boot(2.0, 8, 0),
        ArgumentError,
        "[loom_boot] a unit has one register buffer: expected 1, got 2.0.",
    ),
    "size not whole": (
        lambda u: loom_boot(1.0, 8.5, 0),
        ArgumentError,
        "[loom_boot] unusable reg_size: expected a whole number of at least 0, got 8.5.",
    ),
    "size negative": (lambda u: loom_boot(1.0, 8, -1), ArgumentError, "[loom_boot] unusable globals"),
    "size a bool": (lambda u: loom_boot(1.0, True, 0), ArgumentError, "got True"),
    "SPIR-V path": (
        lambda u: loom_dispatch(u, "rect.spv", [], 1),
        DeviceError,
        "[loom_dispatch] device 'cpu' cannot run SPIR-V (Vulkan only): expected a kernel object, got "
        "'rect.spv'. Pass a function decorated with @loom.kernel, "
        "or what ir_finalize returned.",
    ),
    "library path": (
        lambda u: loom_dispatch(u, "stdlib/loom/kernels/sieve_inti.spv", [], 1),
        ArgumentError,
        "[loom_dispatch] no kernel of the library is at 'stdlib/loom/kernels/sieve_inti.spv'. "
        "Did you mean 'stdlib/loom/kernels/sieve_init.spv'",
    ),
    "picture": (
        lambda u: loom_present(u, 3.0),
        ArgumentError,
        "[loom_present] not a whole picture: expected a square number of pixels, or a width that divides it, "
        "got 3 pixels. Pass width=columns.",
    ),
    "picture of a width": (lambda u: loom_present(u, 4, width=3.0), ArgumentError, "got 4 pixels of width 3"),
    "SPIR-V Path": (lambda u: loom_dispatch(u, Path("double.spv"), [], 1), DeviceError, "(Vulkan only)"),
    "SPIR-V bytes": (lambda u: loom_dispatch_jit(u, b"\3\2\x23\7", [], 1), DeviceError, "got 4 bytes"),
    "kernel not finished": (
        lambda u: loom_dispatch_jit(u, ir_begin(), [], 1),
        StateError,
        "[loom_dispatch_jit] the kernel is not finished. Pass what ir_finalize(prog) returned.",
    ),
    "not a kernel": (lambda u: loom_dispatch(u, print, [], 1), DTypeError, "[loom_dispatch] not a kernel"),
    "parameter not whole": (
        lambda u: loom_dispatch(u, scale, [1.0, 8.5], 1),
        DTypeError,
        "parameter 'size'] does not fit u32",
    ),
    "too many parameters": (
        lambda u: loom_dispatch(u, scale, [1.0, 8, 9], 1),
        ArgumentError,
        "takes 2 parameters",
    ),
    "too few parameters": (lambda u: loom_dispatch(u, scale, [1.0], 1), ArgumentError, "takes 2 parameters"),
    "groups not whole": (
        lambda u: loom_dispatch(u, scale, [1.0, 8], 1.5),
        ArgumentError,
        "[loom_dispatch] unusable wg",
    ),
    "heap missing": (
        lambda u: loom_dispatch_jit(u, heap_doubler(), [], 1),
        ArgumentError,
        "no binding is called 'heap'",
    ),
    "heap of 64 bits": (
        lambda u: loom_set_heap(u, np.array([1, 2**40])),
        DTypeError,
        "[loom_set_heap] memory is 32-bit words: expected uint32, int32 or float32, or numbers that fit them, got "
        "np.int64(1099511627776).",
    ),
    "heap too large": (lambda u: loom_set_heap(u, [2**32]), DTypeError, "memory is 32-bit words"),
    "heap of words": (lambda u: loom_set_heap(u, ["a"]), DTypeError, "not numbers"),
    "never launched": (
        loom_poll,
        StateError,
        "[loom_poll] nothing was launched. Call loom_launch(prog) first.",
    ),
    "wait for nothing": (lambda u: loom_wait(loom_build(u)), StateError, "[loom_wait] nothing was launched"),
    "unit for a program": (
        loom_run,
        DTypeError,
        "[loom_run] not a program: expected what loom_build returned, got Unit. Write prog = loom_build(unit).",
    ),
    "program for a unit": (
        lambda u: loom_read(loom_build(u), 0, 0, 1),
        DTypeError,
        "[loom_read] not a unit: expected what loom_boot returned, got Program.",
    ),
    "number for a program": (lambda u: loom_poll(0.0), DTypeError, "[loom_poll] not a program"),
    "missing binding": (
        lambda u: loom_read(u, 3.0, 0, 1),
        ArgumentError,
        "[loom_read] there is no binding 3",
    ),
    "read outside": (lambda u: loom_read(u, 0, 4, 5), ShapeError, "range outside 'registers'"),
    "read of 64 bits": (
        lambda u: loom_read(u, 0, 0, 1, dtype=np.float64),
        DTypeError,
        "[loom_read] memory is 32-bit words",
    ),
    "write not whole": (lambda u: loom_write(u, 0.5, [1]), ArgumentError, "[loom_write] unusable offset"),
}


@pytest.mark.parametrize(("wrong", "error", "text"), MISUSES.values(), ids=MISUSES)
def test_misuse(unit: loom.Unit, wrong: Callable[[loom.Unit], Any], error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        wrong(unit)
