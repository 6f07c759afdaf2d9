"""Shared memory and a barrier: a matrix transposed tile by tile, both sides read and written in rows."""

import numpy as np

import loom
from loom import In, Out, f32, u32

TILE = 16
PITCH = TILE + 1  # one more than the tile, so that a column lies in different banks


@loom.kernel(workgroup=(TILE, TILE))
def transpose(x: In[f32], y: Out[f32], rows: u32, columns: u32):
    tile = loom.shared(f32, TILE * PITCH)
    i, j = loom.local_id(0), loom.local_id(1)
    column, row = loom.group_id(0) * TILE + i, loom.group_id(1) * TILE + j
    if row < rows and column < columns:
        tile[j * PITCH + i] = x[row * columns + column]
    loom.barrier()
    column, row = loom.group_id(1) * TILE + i, loom.group_id(0) * TILE + j
    if row < columns and column < rows:
        y[row * rows + column] = tile[i * PITCH + j]


x = np.random.default_rng(0).random((1000, 777), dtype=np.float32)
y = np.empty((777, 1000), np.float32)

chain = loom.Chain()
chain.dispatch(transpose, [x, y], [1000, 777], groups=(-(-777 // TILE), -(-1000 // TILE)))
chain.build().run()

print("x[3, 5] =", x[3, 5], " y[5, 3] =", y[5, 3])
assert (y == x.T).all()
