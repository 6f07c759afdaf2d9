"""Kernels that tests export: their source has to be a file's."""

from __future__ import annotations

import loom
from loom import In, InOut, Out, f32, i32, i64, u32, u64


@loom.kernel(workgroup=(16, 16))
def escape(out: Out[u32], width: u32, height: u32, turns: u32):
    """Mandelbrot: how many turns each point of a picture stays near."""
    px = loom.global_id(0)
    py = loom.global_id(1)
    if px < width and py < height:
        cx = f32(px) / f32(width) * 3.0 - 2.0
        cy = f32(py) / f32(height) * 2.0 - 1.0
        x = f32(0)
        y = f32(0)
        n = u32(0)
        while n < turns and x * x + y * y < 4.0:
            t = x * x - y * y + cx
            y = 2.0 * x * y + cy
            x = t
            n += 1
        out[py * width + px] = n


@loom.kernel(workgroup=64)
def mixed(a: In[f32, 2], out: InOut[f32], count: Out[u64], step: u64, up: bool, by: f32 = 1.5):
    """All kinds of arguments."""
    i = loom.global_id()
    if i < len(out):
        out[i] = out[i] + by * a[i // a.shape[1], i % a.shape[1]]
    if i == 0:
        count[0] = step + u64(1) if up else step


@loom.struct
class Pair:
    a: f32
    b: f32


@loom.kernel(workgroup=64)
def records(pairs: InOut[Pair]):
    """Of records, which JavaScript has not."""
    i = loom.global_id()
    if i < len(pairs):
        pairs[i].a = pairs[i].b


@loom.kernel
def defaults(
    whole: InOut[i64], real: InOut[f32], low: i64 = -(2**53) - 1, top: u64 = 2**64 - 1, most: f32 = float("inf"),
    some: i64 = 7, flag: loom.bool_ = True,
):  # fmt: skip
    if loom.global_id() == 0:
        whole[0], whole[1], whole[2] = low, i64(top >> 1), some
        real[0], real[1] = most, f32(i32(flag))
