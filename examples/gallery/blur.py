"""A picture blurred: rows, then columns, each by one kernel that reads the next few pixels of its neighbours."""

import numpy as np
from pictures import keep

import loom
from loom import In, Out, f32, i32

WEIGHTS = loom.signal.window("hann", 23)[1:-1].tolist()


@loom.kernel(workgroup=(16, 16))
def blur(x: In[f32, 3], y: Out[f32, 3], along: i32):
    column, row = loom.global_id(0), loom.global_id(1)
    height, width = i32(x.shape[0]), i32(x.shape[1])
    if row < x.shape[0] and column < x.shape[1]:
        for channel in range(3):
            total = f32(0.0)
            for k in range(len(WEIGHTS)):
                by = k - len(WEIGHTS) // 2
                i = min(max(i32(row) + by * along, 0), height - 1)
                j = min(max(i32(column) + by * (1 - along), 0), width - 1)
                total += WEIGHTS[k] * x[i, j, channel]
            y[row, column, channel] = total / 11.0


stripes = np.zeros((300, 400, 3), np.float32)
for n in range(24):
    stripes[12 * n : 12 * n + 150, 16 * n : 16 * n + 90] = np.array([n / 24, 1 - n / 24, (n * 7 % 24) / 24], np.float32)
once = blur(stripes, along=0)
twice = blur(once, along=1)
left_as_it_was = np.concatenate([stripes[:, :200], twice[:, 200:]], 1)
assert keep("blur", loom.Frame(left_as_it_was)) == "fe44ba1c2e6c180f"
