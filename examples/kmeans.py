"""k-means in two kernels: sums of floats by index, exact in any order, so that all devices find the same clusters."""

import numpy as np

import loom
from loom import In, InOut, Out, f32, u32

sums_of = loom.fixed(2**-24)


@loom.kernel
def assign(points: In[f32, 2], centres: In[f32, 2], nearest: Out[u32]):
    i = loom.global_id()
    if i < len(nearest):
        best, least = u32(0), f32(float("inf"))
        for k in range(centres.shape[0]):
            dx, dy = points[i, 0] - centres[k, 0], points[i, 1] - centres[k, 1]
            if dx * dx + dy * dy < least:
                best, least = k, dx * dx + dy * dy
        nearest[i] = best


@loom.kernel
def add_up(points: In[f32, 2], nearest: In[u32], sums: InOut[sums_of, 2], counts: InOut[u32]):
    i = loom.global_id()
    if i < len(nearest):
        k = nearest[i]
        loom.atomic_add(sums, (k, 0), points[i, 0])
        loom.atomic_add(sums, (k, 1), points[i, 1])
        loom.atomic_add(counts, k, 1)


corners = np.array([[0, 0], [4, 0], [0, 4], [4, 4]], np.float32)
points = np.repeat(corners, 5_000, axis=0) + loom.random.normal((20_000, 2), seed=1)
centres = points[::5_000].copy()
for _ in range(10):
    nearest = assign(points, centres, out=len(points))
    sums, counts = np.zeros_like(centres), np.zeros(len(centres), np.uint32)
    add_up(points, nearest, sums, counts)
    centres = sums / counts.astype(np.float32)[:, None]

print("centres:", centres.round(2).tolist(), "of", counts.tolist(), "points")
order = np.lexsort((centres[:, 0], centres[:, 1]))
assert np.abs(centres[order] - corners).max() < 0.1
