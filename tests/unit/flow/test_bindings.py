"""Bindings beyond registers, globals and heap: named when a unit is booted, numbered from 3 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, LoomError
from loom.flow import (
    ir_begin,
    ir_buf_load,
    ir_buf_store,
    ir_entry,
    ir_fadd,
    ir_finalize,
    ir_fmul,
    ir_global_id,
    ir_spirv,
    loom_boot,
    loom_build,
    loom_copy,
    loom_dispatch,
    loom_dispatch_indirect,
    loom_dispatch_jit,
    loom_read,
    loom_run,
    loom_write,
)
from loom.ir.verified import VerifiedKernel


def booted(on: str | None = None) -> loom.runtime.units.unit.Unit:
    return loom_boot(1.0, 64, 64, bindings={"metrics": 64.0, "control": 64, "out": 64}, device=on)


def summing() -> VerifiedKernel:
    """Return a kernel: binding 5 = registers + globals * metrics + control."""
    prog = ir_begin()
    body = ir_entry(prog)
    i = ir_global_id(body)
    a, b, c, d = (ir_buf_load(body, float(n), i) for n in (0, 1, 3, 4))
    ir_buf_store(body, 5.0, i, ir_fadd(body, ir_fadd(body, a, ir_fmul(body, b, c)), d))
    return ir_finalize(prog)


def written(unit: Any) -> Any:
    values = np.arange(64, dtype=np.float32)
    for bind, data in ((0.0, values), (1.0, values + 1), (3.0, values * 2), ("control", values - 5)):
        loom_write(unit, 0.0, data, bind=bind)
    return values + (values + 1) * (values * 2) + (values - 5)


def test_a_kernel_of_five_bindings(on: str) -> None:
    unit = booted(on)
    wanted = written(unit)
    loom_dispatch_jit(unit, summing(), [], 1.0)
    loom_run(loom_build(unit))
    assert loom_read(unit, 5.0, 0.0, 64).tobytes() == wanted.tobytes()
    assert loom_read(unit, "out", 3.0, 2).tobytes() == wanted[3:5].tobytes()


@pytest.mark.parametrize("on", ["vulkan"], indirect=True)
def test_spirv_of_five_bindings(on: str) -> None:
    """As files of others: in order, or by ``bind``."""
    prog = ir_begin()
    body = ir_entry(prog)
    i = ir_global_id(body)
    a, b, c, d = (ir_buf_load(body, float(n), i) for n in (0, 1, 2, 3))
    ir_buf_store(body, 4.0, i, ir_fadd(body, ir_fadd(body, a, ir_fmul(body, b, c)), d))
    module = ir_spirv(ir_finalize(prog))
    unit = booted(on)
    wanted = written(unit)
    loom_dispatch(unit, module, [64] * 5 + [0, 1, 1, 1, 0, 0, 0], 1.0)  # lengths, groups, where they start
    loom_run(loom_build(unit))
    assert loom_read(unit, "out", 0.0, 64, dtype=loom.f32).tobytes() == wanted.tobytes()


def test_kernels_by_name_indirect_dispatches_and_copies() -> None:
    @loom.kernel(workgroup=64)
    def double(metrics: loom.In[loom.u32], out: loom.Out[loom.u32]):
        i = loom.global_id()
        if i < len(out):
            out[i] = metrics[i] * 2

    unit = booted()
    loom_write(unit, 0.0, [5.0, 6.0], bind="metrics")
    loom_write(unit, 0.0, [1, 1, 1], bind="control")
    loom_dispatch_indirect(unit, double, [], 4.0, 0.0)
    loom_run(loom_build(unit))
    assert loom_read(unit, 5.0, 0.0, 3).tolist() == [10, 12, 0]
    other = loom_boot(1.0, 4, 0, bindings={"more": 2.0})
    loom_copy(other, unit, bind=5.0, len=2.0, to="more")
    assert loom_read(other, 3.0, 0.0, 2).tolist() == [10, 12]


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        (lambda u: loom_write(u, 0, [1], bind=6), ArgumentError,
         r"\[loom_write\] there is no binding 6: expected .* 3 \(metrics\), 4 \(control\), 5 \(out\), got 6"),
        (lambda u: loom_read(u, 9, 0, 1), ArgumentError, "there is no binding 9"),
        (lambda u: loom_read(u, "outt", 0, 1), ArgumentError, "unusable binding"),
        (lambda u: loom_read(u, 3, 60, 5), LoomError, "range outside 'metrics'"),
        (lambda _: loom_dispatch_jit(loom_boot(1.0, 64, 64), summing(), [], 1.0), ArgumentError,
         r"\[loom_dispatch_jit\] there is no binding 3: expected 0 .*, 2 \(heap\).*bindings="),
        (lambda _: loom_boot(2.0, 1, 1), ArgumentError, r"one register buffer.*further buffers: bindings="),
        (lambda _: loom_boot(1.0, 1, 1, bindings=[3]), DTypeError, "not a mapping"),  # type: ignore[arg-type]
        (lambda _: loom_boot(1.0, 1, 1, bindings={"x": -1}), ArgumentError, "unusable binding 'x'"),
        (lambda _: loom_boot(1.0, 1, 1, bindings={"globals": 1}), ArgumentError, "the name is taken"),
        (lambda _: loom_boot(1.0, 1, 1, bindings={3: 1}), ArgumentError, "not a name"),  # type: ignore[dict-item]
    ],
)  # fmt: skip
def test_bindings_that_are_none(call: Callable[[Any], Any], kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        call(booted())
