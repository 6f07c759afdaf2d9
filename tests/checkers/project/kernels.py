"""Kernels with scalars, arrays of two axes, records, tables and shared memory, and their calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import loom
from loom import In, InOut, Out, f32, global_id, kernel, u32

Floats = npt.NDArray[np.float32]
WEIGHTS = (0.25, 0.5, 0.25)


@kernel
def saxpy(x: In[f32], y: InOut[f32], a: f32, n: u32) -> None:
    """``y += a x`` in the first n places."""
    i = global_id()
    if i < n:
        y[i] = a * x[i] + y[i]


@kernel(workgroup=(16, 16))
def smooth(image: In[f32, 2], out: Out[f32, 2]) -> None:
    """Average each place with its neighbours to the left and to the right."""
    x, y = global_id(0), global_id(1)
    if x < image.shape[1] and y < image.shape[0]:
        total = f32(0)
        for k in range(3):
            total += WEIGHTS[k] * image[y, min(max(loom.i32(x) + k - 1, 0), loom.i32(image.shape[1]) - 1)]
        out[y, x] = total


@kernel(workgroup=64)
def count_large(x: In[f32], counts: Out[u32], bound: f32) -> None:
    """Count what is above a bound, by workgroup."""
    i = global_id()
    found = loom.group_count(i < len(x) and x[i] > bound)
    if loom.local_id() == 0:
        counts[loom.group_id()] = found


@loom.struct
class Particle:
    """A place and a speed."""

    place: f32
    speed: f32

    def moved(self, by: Any) -> Any:
        """Return the particle after a time."""
        return Particle(self.place + self.speed * by, self.speed)


@kernel
def move(particles: InOut[Particle], by: f32) -> None:
    """Move each particle."""
    i = global_id()
    if i < len(particles):
        particles[i] = particles[i].moved(by)


def add_scaled(x: Floats, y: Floats, a: float) -> Floats:
    """Return ``y + a x``."""
    out = y.copy()
    saxpy(x, out, a, len(x))
    return out


def smoothed(image: Floats, times: int) -> Floats:
    """Return an image after some rounds, by one program."""
    front, back = image.copy(), np.empty_like(image)
    chain = loom.Chain("cpu")
    for _ in range(times):
        chain.dispatch(smooth, [front, back], groups=(-(-image.shape[1] // 16), -(-image.shape[0] // 16)))
        front, back = back, front
    program = chain.build()
    program.run()
    return front
