"""A drop of dye in a stirred fluid: waves of a shallow pool carry it (semi-Lagrangian, J. Stam, 1999)."""

import numpy as np
from pictures import keep

import loom
from loom import In, Out, f32, i32


def bilinear(x: In[f32, 2], row: f32, column: f32):
    top, left = loom.floor(row), loom.floor(column)
    i, j, a, b = i32(top), i32(left), row - top, column - left
    height, width = i32(x.shape[0]), i32(x.shape[1])
    i, j = min(max(i, 0), height - 2), min(max(j, 0), width - 2)
    upper = x[i, j] * (1.0 - b) + x[i, j + 1] * b
    lower = x[i + 1, j] * (1.0 - b) + x[i + 1, j + 1] * b
    return upper * (1.0 - a) + lower * a


@loom.kernel(workgroup=(16, 16))
def carry(x: In[f32, 2], y: Out[f32, 2], time: f32):
    column, row = loom.global_id(0), loom.global_id(1)
    if row < x.shape[0] and column < x.shape[1]:
        u, v = f32(column) / f32(x.shape[1]) - 0.5, f32(row) / f32(x.shape[0]) - 0.5
        spin = 2.5 * loom.exp(-12.0 * (u * u + v * v))
        sway = 0.6 * loom.sin(9.0 * u + time)
        y[row, column] = 0.999 * bilinear(x, f32(row) - spin * u * 4.0 - sway, f32(column) + spin * v * 4.0)


row, column = np.mgrid[0:300, 0:400]
dye = ((row // 25 + column // 25) % 2).astype(np.float32)
one, two = loom.array(dye), loom.array(np.zeros_like(dye))
for n in range(120):
    carry(one, two, time=n * 0.1)
    one, two = two, one
value = one.numpy()
colours = np.stack([value, value * value, 1 - value * np.float32(0.5)], -1)
assert keep("fluid", loom.Frame(colours)) == "8e1173b61812eb35"
