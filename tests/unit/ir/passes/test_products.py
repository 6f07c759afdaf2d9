"""``fma`` is admitted where its product cannot be rounded, and there it has the bits of a product and a sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.writer import Value, Writer
from loom.core.dtype import DType, bf16, f16, f32, i8, i16, i32, u16
from loom.core.errors import KernelFault, KernelTypeError, VerifyError
from loom.ir.interp import interpret
from loom.ir.kernel import Kernel
from loom.ir.verify import verify
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine_names
from loom.targets.llvm.target import LlvmTarget

_Factors = Callable[[Writer, Value, Value], tuple[Any, Any]]


def _kernel(source: DType, other: DType, factors: _Factors) -> Kernel:
    k = Writer("fused", (4, 1, 1))
    x, y, out = k.read("x", source), k.read("y", other), k.buffer("out", f32)
    i = k.global_id()
    a, b = factors(k, x[i], y[i])
    out[i] = k.op("fma", a, b, out[i])
    return k.finish()


def _widened(_k: Writer, x: Value, y: Value) -> tuple[Value, Value]:
    return x.to(f32), y.to(f32)


def _kept(k: Writer, x: Value, y: Value) -> tuple[Value, Value]:
    """Factors that went through a variable and an array, of which one is negated, in a loop."""
    variable, array = k.local("v", f32, x.to(f32)), k.private("p", f32, 2)
    array[0] = y.to(f32)
    array[1] = 0.5
    with k.count(0, 3):
        variable.set(k.op("neg", variable.now))
    return variable.now, array[k.local_id() & 1]


@pytest.mark.parametrize(("source", "other", "factors"), [
    (f16, f16, _widened), (i8, i16, _widened), (u16, i8, _widened), (f16, i8, _widened), (f16, f16, _kept),
    (f16, f32, lambda k, x, _y: (x.to(f32), k.const(-1.5, f32))),
])  # fmt: skip
def test_exact_products_are_admitted(source: DType, other: DType, factors: _Factors) -> None:
    verify(_kernel(source, other, factors))


@pytest.mark.parametrize(("source", "other", "factors"), [
    (f32, f32, _widened), (f16, f32, _widened), (u16, i16, _widened), (i32, i8, _widened),
    (bf16, bf16, _widened),  # 16 bits together, but 2^-75 by 2^-75 is nothing
    (f16, f32, lambda k, x, _y: (x.to(f32), k.const(0.1, f32))),
    (f16, f16, lambda k, x, y: (x.to(f32), k.op("mul", y.to(f32), y.to(f32)))),
])  # fmt: skip
def test_what_may_be_rounded_is_refused(source: DType, other: DType, factors: _Factors) -> None:
    with pytest.raises(VerifyError, match=r"fma of a product that may be rounded.*a \* b \+ c"):
        verify(_kernel(source, other, factors))


def test_it_is_for_f32() -> None:
    k = Writer("wide", (1, 1, 1))
    x = k.read("x", i32)
    with pytest.raises(KernelTypeError, match="fma is for f32"):
        k.op("fma", x[0], x[0], x[0])


def test_the_interpreter_checks_what_a_trusted_kernel_vouches_for() -> None:
    kernel = replace(_kernel(f32, f32, _widened), trusted=True)
    x, y = np.array([1.5, 0, np.inf, 3], np.float32), np.array([0.25, np.nan, 2, 2.0**-140], np.float32)
    out = np.ones(4, np.float32)
    interpret(verify(kernel).kernel, [x, y, out], [], (1, 1, 1))
    assert out[[0, 2, 3]].tolist() == [1.375, np.inf, 1.0]
    for a, b in ((1 + 2.0**-12, 1 + 2.0**-12), (2.0**-75, 1.5 * 2.0**-75), (2.0**64, 2.0**64)):
        x[2], y[2] = a, b
        with pytest.raises(KernelFault, match="product that is rounded in lane 2"):
            interpret(verify(kernel).kernel, [x, y, out], [], (1, 1, 1))


@pytest.mark.parametrize("name", machine_names())
def test_machines_fuse_where_they_can(name: str) -> None:
    text = LlvmTarget(name).compile(verify(_kernel(f16, f16, _widened)), Bounds.TRUSTED, "asm").data.decode()
    expected = {"aarch64": "fmla", "ptx": "fma.rn.f32", "x86-64-v3": "vfmadd", "x86-64-v4": "vfmadd"}
    expected |= {name: "v_fma" for name in machine_names() if name.startswith("gfx")}
    fused = [w for w in ("fmla", "fmadd", "fma.rn", "vfma", "f32x4.relaxed", "fmaf", "v_fma") if w in text]
    if name in expected:
        assert expected[name] in text
    elif name != "host":
        assert not fused, name
