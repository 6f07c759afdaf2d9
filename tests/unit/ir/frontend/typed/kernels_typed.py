"""Kernels as people write them; a type checker has nothing to say of them (see ``test_typing``)."""

from __future__ import annotations

import numpy as np

import loom
from loom import In, InOut, Out, f32, i32, u32


@loom.kernel(workgroup=64)
def saxpy(x: In[f32], y: InOut[f32], a: f32, n: u32) -> None:
    """A scalar of each kind of number."""
    i = loom.global_id()
    if i < n:
        y[i] = a * x[i] + y[i]


@loom.kernel
def types(x: In[loom.u8], v: In[loom.f32x4], y: Out[loom.f64], flag: loom.bool_, shift: i32, count: loom.u64) -> None:
    """Conversions, vectors, locals, shared and private memory."""
    i = loom.global_id()
    tile = loom.shared(f32, 64)
    mine = loom.private(u32, 4)
    mine[0] = u32(x[i]) + (7 >> u32(shift))
    tile[loom.local_id()] = v[i].x
    loom.barrier()
    total = f32(0)
    for k in range(len(x)):
        total += tile[k % 64] * loom.sqrt(f32(mine[k & 3]))
    if flag and count > 3:
        y[i] = loom.f64(loom.select(total > 1.0, total, -total))


def square(v: f32) -> f32:
    """A device function."""
    return v * v


@loom.kernel(workgroup=(8, 8))
def blur(image: In[f32], out: Out[f32], width: u32, height: u32) -> None:
    """Two dimensions."""
    x, y = loom.global_id(0), loom.global_id(1)
    if x < width and y < height:
        out[y * width + x] = square(image[y * width + x]) + loom.exp(0.5)


def run() -> float:
    """Dispatch, arrays of every kind, a unit and patterns."""
    x, y = np.ones(100, np.float32), loom.array([1.0] * 100, dtype=f32)
    chain = loom.Chain("cpu")
    chain.dispatch(saxpy, [x, y], [2.0, 100])
    chain.build().run()
    with loom.boot(registers=64, bindings={"x": (f32, 16)}) as unit:
        unit.dispatch(saxpy, [2.0, 16], bind={"x": "globals", "y": "registers"})
        words = unit.read(0, 4, dtype=u32)
    dtype: loom.DType = u32
    return float(loom.gpu_sum(y)) + float(words[0]) + dtype.nbytes + np.zeros(2, f32.numpy).size
