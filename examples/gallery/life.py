"""Conway's Game of Life on a torus, 200 generations from random cells, in one chain."""

import numpy as np
from pictures import keep

import loom
from loom import In, Out, u32


@loom.kernel(workgroup=(16, 16))
def step(x: In[u32, 2], y: Out[u32, 2]):
    column, row = loom.global_id(0), loom.global_id(1)
    height, width = x.shape[0], x.shape[1]
    if row < height and column < width:
        around = u32(0)
        for dy in range(3):
            for dx in range(3):
                around += x[(row + height + dy - 1) % height, (column + width + dx - 1) % width]
        alive = x[row, column]
        y[row, column] = u32(around == 3 or (around == 4 and alive == 1))


cells = loom.array((loom.random.uniform((240, 320), seed=7) < 0.3).astype(np.uint32))
other = loom.array(np.zeros((240, 320), np.uint32))
chain = loom.Chain()
with chain.repeat(100):
    chain.dispatch(step, [cells, other])
    chain.dispatch(step, [other, cells])
chain.build().run()

assert keep("life", loom.Frame(np.kron(cells.numpy(), np.ones((2, 2))) * 1.0)) == "c3d3e1d0b85b006b"
