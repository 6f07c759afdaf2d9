"""The further names: repeats, indirect dispatches, copies, mailboxes, profiles, older names, functions of tier 3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import flow
from loom.core.errors import ArgumentError, DeviceError, DTypeError, StateError
from loom.flow import (
    ir_begin,
    ir_buf_load,
    ir_buf_store,
    ir_entry,
    ir_finalize,
    ir_global_id,
    loom_boot,
    loom_build,
    loom_copy,
    loom_dispatch,
    loom_dispatch_indirect,
    loom_mailbox,
    loom_pace,
    loom_profile,
    loom_profile_end,
    loom_profile_start,
    loom_read,
    loom_repeat,
    loom_run,
    loom_write,
)
from loom.runtime.plans.foreign import foreign_kernel

DOUBLE = "stdlib/loom/kernels/math/double.spv"


@loom.kernel(workgroup=4)
def add(registers: loom.InOut[loom.u32], by: loom.u32) -> None:
    registers[loom.global_id()] += by


def test_turns_with_a_number_each_written_as_floats() -> None:
    unit = loom_boot(1.0, 4, 0)
    with loom_repeat(unit, 3.0, params=np.array([[1.0], [10.0], [100.0]])) as turn:
        loom_dispatch(unit, add, [turn.params[0]], 1.0)
    loom_run(loom_build(unit))
    assert loom_read(unit, 0, 0, 4).tolist() == [111] * 4


def test_groups_read_from_numbers_that_were_floats() -> None:
    unit = loom_boot(1.0, 16, 3)
    loom_write(unit, 0, [2.0, 1.0, 1.0])
    loom_dispatch_indirect(unit, add, [5.0], 1.0, 0.0)
    loom_run(loom_build(unit))
    assert loom_read(unit, 0, 0, 16).tolist() == [5] * 8 + [0] * 8
    assert loom_read(unit, 1, 0, 3).tolist() == [2, 1, 1]


def test_numbers_are_copied_as_numbers() -> None:
    source, target = loom_boot(1.0, 4, 4), loom_boot(1.0, 8, 0)
    loom_write(source, 0, [1, 2, 3, 4])
    loom_run(loom_build(target))
    loom_dispatch(target, DOUBLE, [], 1)
    program = loom_build(target)
    loom_copy(target, source, bind=1.0, off=1.0, len=3.0, to=0.0, at=2.0)
    loom_run(program)
    assert loom_read(target, 0, 0, 8).tolist() == [0, 0, 4, 6, 8, 0, 0, 0]
    loom_copy(target, source, bind=1, to=0)
    assert loom_read(target, 0, 0, 5).tolist() == [1, 2, 3, 4, 8]
    with pytest.raises(ArgumentError, match=r"\[loom_copy\] the source has no heap. Call loom_set_heap"):
        loom_copy(target, source, bind=2)


def test_mailbox_and_pace() -> None:
    box = loom_mailbox(4.0, 2.0)
    box.post([1, 2])
    assert (box.take().tolist(), box.slots) == ([1, 2], 2)
    unit = loom_boot(1.0, 1, 0)
    loom_pace(unit, 250.0)
    assert unit.status().pace == 250
    with pytest.raises(DTypeError, match=r"\[loom_pace\] not a unit"):
        loom_pace(5, 1.0)  # type: ignore[arg-type]


def test_profiles_from_start_to_end() -> None:
    loom_profile_start()
    loom_profile_start()
    loom.gpu_sum(np.ones(10, np.float32))
    inner = loom_profile_end()
    assert inner.rows
    assert loom_profile_end() is not inner
    with pytest.raises(StateError, match=r"\[loom_profile_end\] no profile was started. Call loom_profile_start"):
        loom_profile_end()
    with loom_profile() as told:
        loom.gpu_sum(np.ones(10, np.float32))
    assert told.rows


def test_older_names_are_the_same_functions() -> None:
    older = [name for name in flow.__all__ if name.startswith("vm_")]
    assert len(older) >= 15
    for name in older:
        assert getattr(flow, name) is getattr(flow, name.replace("vm_", "loom_"))
    assert len(set(flow.__all__)) == len(flow.__all__)
    for name in flow.__all__:
        assert getattr(flow, name).__doc__


NUMBERS = np.array([0.0, -0.0, 0.5, -0.5, 1.5, -2.5, 3.7, -3.7, 88.0, np.inf, -np.inf, np.nan], np.float32)
ONE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fabs": np.abs, "fneg": np.negative, "ffloor": np.floor, "fceil": np.ceil, "frint": np.rint, "ftrunc": np.trunc,
}  # fmt: skip


def computed(name: str, *data: np.ndarray) -> np.ndarray:
    """Return ``ir_name`` of data, element by element, through a unit of registers and globals."""
    size = data[0].size
    prog = ir_begin(workgroup=size)
    body = ir_entry(prog)
    lane = ir_global_id(body)
    values = [ir_buf_load(body, k, lane) for k in range(len(data))]
    ir_buf_store(body, 0, lane, getattr(flow, f"ir_{name}")(body, *values))
    kernel = ir_finalize(prog)
    with loom.boot(size, size) as unit:
        for binding, values in zip(("registers", "globals"), data, strict=False):
            unit.write(values, binding=binding)
        unit.dispatch(kernel, groups=1)
        unit.build().run()
        return unit.read(dtype=data[0].dtype)


def same(a: Any, b: Any) -> bool:
    """Tell whether two arrays have the same bits, all NaNs being one."""
    a, b = (np.where(np.isnan(x), np.float32(np.nan), x).astype(np.float32) for x in (a, b))
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_number(name: str) -> None:
    assert same(computed(name, NUMBERS), ONE[name](NUMBERS))


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tanh"])
def test_elementary_functions_have_the_bits_of_the_library(name: str) -> None:
    with np.errstate(all="ignore"):
        near = getattr(np, name)(NUMBERS.astype(np.float64)).astype(np.float32)
    found = computed(f"f{name}", NUMBERS)
    assert np.allclose(found, near, rtol=3e-7, equal_nan=True)
    assert same(found, loom.gpu_map(NUMBERS, name))


def test_functions_of_two_numbers() -> None:
    a, b = np.meshgrid(NUMBERS, NUMBERS)
    a, b = a.reshape(-1), b.reshape(-1)
    for name in ("min", "max"):
        found = computed(f"f{name}", a, b)
        assert same(found[a != b], getattr(np, f"{name}imum")(a, b)[a != b])
    assert same(computed("fpow", a, b), loom.gpu_map(a, "pow", b))
    x, y = np.array([0, 1, 2**32 - 1, 7], np.uint32), np.array([1, 0, 5, 7], np.uint32)
    assert computed("umin", x, y).tolist() == [0, 0, 5, 7]
    assert computed("umax", x, y).tolist() == [1, 1, 2**32 - 1, 7]


def test_a_finished_kernel_as_a_module_of_others() -> None:
    prog = ir_begin(workgroup=64)
    body = ir_entry(prog)
    lane = ir_global_id(body)
    ir_buf_store(body, 0, lane, flow.ir_fmul(body, ir_buf_load(body, 1, lane), flow.ir_push_const(body, 0)))
    module = flow.ir_spirv(ir_finalize(prog))
    with pytest.raises(DTypeError, match=r"\[ir_spirv\] not a finished kernel"):
        flow.ir_spirv(prog)  # type: ignore[arg-type]
    try:
        unit = loom.boot(100, 100, device="vulkan")
    except DeviceError as error:
        pytest.skip(f"no such device: {error}")
    with unit:
        unit.write(np.arange(100, dtype=np.float32))
        params = len(foreign_kernel(module, "test").params)
        pushed = [0x40000000, 100, 100, 0, 2, 1, 1, *[0] * params]  # 2.0, lengths, a zero, groups, starts
        unit.dispatch(module, pushed[:params], 2)
        unit.build().run()
        assert unit.read(dtype=np.float32).tolist() == [2.0 * n for n in range(100)]
