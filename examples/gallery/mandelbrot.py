"""The Mandelbrot set (B. Mandelbrot, 1980): one lane a pixel, coloured by the steps until it leaves."""

from pictures import keep

import loom
from loom import Out, f32, u32


@loom.kernel(workgroup=(16, 16))
def mandelbrot(picture: Out[f32, 3], limit: u32 = 200):
    column, row = loom.global_id(0), loom.global_id(1)
    if row < picture.shape[0] and column < picture.shape[1]:
        cx, cy = f32(column) * 0.0075 - 2.0, f32(row) * 0.0075 - 1.125
        x, y, n = f32(0.0), f32(0.0), u32(0)
        while n < limit and x * x + y * y < 16.0:
            x, y, n = x * x - y * y + cx, 2.0 * x * y + cy, n + 1
        shade = f32(n) / 40.0
        for channel in range(3):
            inside = n == limit
            picture[row, column, channel] = 0.0 if inside else 0.5 - 0.5 * loom.cos(shade * 2.0 + f32(channel) * 1.25)


frame = loom.Frame(mandelbrot(out=(300, 400, 3)))
assert keep("mandelbrot", frame) == "19c0eeff308c5f82"
