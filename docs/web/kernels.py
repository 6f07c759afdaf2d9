"""The kernels of the web page: Loom runs them on every device, `loom export` makes WebAssembly of them."""

import loom
from loom import In, Out, f32, u32

SPAN = 1 << 18  # numbers of a segment, of which the odd ones have a bit each
WORDS = SPAN // 64


@loom.kernel(workgroup=(16, 16))
def mandelbrot(turns: Out[u32], width: u32, height: u32, left: f32, top: f32, step: f32, most: u32):
    """Count how many turns of z -> z^2 + c each point of a picture stays near, at most so many."""
    px = loom.global_id(0)
    py = loom.global_id(1)
    if px < width and py < height:
        cx = left + f32(px) * step
        cy = top + f32(py) * step
        x = f32(0)
        y = f32(0)
        n = u32(0)
        while n < most and x * x + y * y < 4.0:
            t = x * x - y * y + cx
            y = 2.0 * x * y + cy
            x = t
            n += 1
        turns[py * width + px] = n


@loom.kernel(workgroup=1)
def primes(odd: In[u32], counts: Out[u32], first: u32, below: u32):
    """Count the primes of segments, by the odd primes up to the root of what lies below."""
    i = loom.global_id()
    if i < len(counts):
        start = (first + i) * SPAN
        struck = loom.private(u32, WORDS)
        for w in range(WORDS):
            struck[w] = 0
        for k in range(len(odd)):
            p = odd[k]
            at = p * p
            if at < start:
                at = (start + p - 1) // p * p
                if at % 2 == 0:
                    at += p
            j = (at - start) // 2
            while j < SPAN // 2:
                struck[j // 32] = struck[j // 32] | (u32(1) << (j % 32))
                j += p
        found = u32(0)
        if start < below:
            bits = min((below - start) // 2, u32(SPAN // 2))
            for w in range(bits // 32):
                found += 32 - loom.popcount(struck[w])
            for j in range(bits // 32 * 32, bits):
                found += 1 - (struck[j // 32] >> (j % 32)) % 2
        counts[i] = found  # of the first segment: 1 is counted, and 2 is not
