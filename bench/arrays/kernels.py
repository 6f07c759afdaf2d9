"""Kernels as users write them, bounds-checked, for the families that need some."""

from __future__ import annotations

import loom

TILE = 16
BINS = 256


@loom.kernel
def nothing(y: loom.InOut[loom.u32]):
    """The smallest kernel there is."""
    y[0] = 1


@loom.kernel
def scale(y: loom.InOut[loom.f32], a: loom.f32):
    """Scale and shift every element."""
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] * a + 1


@loom.kernel
def mandelbrot(out: loom.Out[loom.u32], width: loom.u32, turns: loom.u32):
    """Escape times; lanes leave the loop at different turns."""
    i = loom.global_id()
    if i < len(out):
        cx = loom.f32(i % width) / loom.f32(width) * 3 - 2
        cy = loom.f32(loom.idiv(i, width)) / loom.f32(width) * 3 - 1.5
        x = loom.f32(0)
        y = loom.f32(0)
        n = loom.u32(0)
        while n < turns and x * x + y * y < 4:
            t = x * x - y * y + cx
            y = 2 * x * y + cy
            x = t
            n += 1
        out[i] = n


@loom.kernel(workgroup=BINS)
def histogram(data: loom.In[loom.u32], bins: loom.InOut[loom.u32]):
    """Count values modulo 256, first within the workgroup."""
    counts = loom.shared(loom.u32, BINS)
    lane = loom.local_id()
    i = loom.global_id()
    if i < len(data):
        loom.atomic_add(counts, data[i] % BINS, loom.u32(1))
    loom.barrier()
    loom.atomic_add(bins, lane, counts[lane])


@loom.kernel(workgroup=(8, 8))
def life(old: loom.In[loom.u32], new: loom.Out[loom.u32], width: loom.u32, height: loom.u32):
    """One generation of Conway's game on a torus."""
    x = loom.global_id(0)
    y = loom.global_id(1)
    if x < width and y < height:
        alive = loom.u32(0)
        for dy in loom.static_range(3):
            for dx in loom.static_range(3):
                if dx != 1 or dy != 1:
                    alive += old[(y + height + dy - 1) % height * width + (x + width + dx - 1) % width]
        here = old[y * width + x]
        new[y * width + x] = loom.u32(alive == 3 or (alive == 2 and here == 1))


@loom.kernel(workgroup=(TILE, TILE))
def matmul(a: loom.In[loom.f32], b: loom.In[loom.f32], c: loom.Out[loom.f32], n: loom.u32):
    """Square matrices in tiles through shared memory."""
    tile_a = loom.shared(loom.f32, TILE * TILE)
    tile_b = loom.shared(loom.f32, TILE * TILE)
    x = loom.local_id(0)
    y = loom.local_id(1)
    column = loom.global_id(0)
    row = loom.global_id(1)
    total = loom.f32(0)
    for k in range(0, n, TILE):
        tile_a[y * TILE + x] = a[row * n + k + x]
        tile_b[y * TILE + x] = b[(k + y) * n + column]
        loom.barrier()
        for j in range(TILE):
            total = total + tile_a[y * TILE + j] * tile_b[j * TILE + x]
        loom.barrier()
    c[row * n + column] = total
