"""A kernel in a file of its own: ``loom ir examples/kernels.py:saxpy --emit text`` shows what it becomes."""

import numpy as np

import loom
from loom import In, InOut, f32


@loom.kernel
def saxpy(x: In[f32], y: InOut[f32], a: f32):
    i = loom.global_id()
    if i < len(y):
        y[i] = a * x[i] + y[i]


if __name__ == "__main__":
    x, y = np.ones(1000, np.float32), np.arange(1000, dtype=np.float32)
    saxpy(x, y, a=2.0)
    print(y[:4])
    assert (y == np.arange(1000) + 2).all()
