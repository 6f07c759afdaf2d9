"""Kernels that the tests of chains dispatch."""

from __future__ import annotations

import loom


@loom.kernel(workgroup=4)
def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * a + b


@loom.kernel(workgroup=4)
def copy(x: loom.In[loom.u32], out: loom.Out[loom.u32]) -> None:
    i = loom.global_id()
    if i < len(out):
        out[i] = x[len(x) - 1 - i]


@loom.kernel(workgroup=1)
def count(x: loom.InOut[loom.u32]) -> None:
    loom.atomic_add(x, 0, 1)


@loom.kernel(workgroup=1)
def typed(x: loom.Out[loom.f64], a: loom.f32, b: loom.i8, c: loom.bool_) -> None:
    x[0] = loom.f64(a)
    x[1] = loom.f64(b)
    x[2] = 1.0 if c else 0.0
