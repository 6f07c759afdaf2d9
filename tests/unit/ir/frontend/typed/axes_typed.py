"""Kernels with axes, records, tables, defaults and type variables; a type checker has nothing to say of them."""

from __future__ import annotations

import math

import numpy as np

import loom
from loom import In, InOut, Out, f32, f64, u32

T = loom.TypeVar("T", f32, f64)


@loom.struct
class Particle:
    x: f32
    v: f32
    alive: u32 = u32(1)

    def moved(self, dt: f32) -> Particle:
        return Particle(self.x + self.v * dt, self.v, self.alive)


TABLE = (1, 2, 3)


@loom.kernel
def stencil(
    x: In[f32, 2],
    y: Out[f32, 2],
    w: f32 = f32(0.5),
    n: u32 = u32(3),
    flag: loom.bool_ = loom.bool_(True),
    more: float = 2.0,
):
    j, i = loom.global_id(0), loom.global_id(1)
    rows, columns = x.shape
    if i < rows and j < columns and i < n:
        left = x[i, j - 1] if j > 0 else x[i, j]
        y[i, j] = w * x[i, j] + (1 - w) * left + math.sqrt(w) + TABLE[i % 3]
        y[i, j] += w**2
    if flag:
        y[0, 0] = abs(w) + min(w, 1.0) + max(w, w)


@loom.kernel
def step(p: InOut[Particle], dt: f32):
    i = loom.global_id()
    if i < len(p):
        q = p[i]
        q = q.moved(dt)
        q.x += 1.0
        p[i] = q
        p[i].x = 3.0
        p[i] = Particle(0.0, dt)


@loom.kernel(workgroup=64)
def scaled(x: In[T], y: Out[T], a: T):
    i = loom.global_id()
    if i < len(y):
        y[i] = x[i] * a


def run() -> None:
    """Calls, as people write them."""
    x = np.ones((4, 4), np.float32)
    y = stencil(x, w=0.25)
    stencil(y, x)
    stencil(x, x.copy(), 0.5, on="cpu", lanes=(4, 4))
    stencil[4](x, x.copy())
    scaled(x, x, 2.0)
    scaled[f32](x, x, 2.0)
    particles = np.zeros(4, Particle.numpy)
    step(particles, dt=0.5)
