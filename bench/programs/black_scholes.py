"""Black-Scholes: elementary functions, no memory to speak of."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, f32

OPTIONS = 1 << 20
RATE, VOLATILITY = 0.02, 0.3


def normal(x):
    return 0.5 * (1.0 + loom.erf(x * 0.70710678))


@loom.kernel(workgroup=64)
def first(price: In[f32], strike: In[f32], years: In[f32], call: Out[f32], put: Out[f32]):
    i = loom.global_id()
    if i < len(price):
        s = price[i]
        k = strike[i]
        t = years[i]
        spread = VOLATILITY * loom.sqrt(t)
        d1 = (loom.log(s / k) + (RATE + 0.5 * VOLATILITY * VOLATILITY) * t) / spread
        d2 = d1 - spread
        later = k * loom.exp(-RATE * t)
        call[i] = s * normal(d1) - later * normal(d2)
        put[i] = later * normal(-d2) - s * normal(-d1)


C = """
#include <stdint.h>
#include <math.h>
static float normal(float x) { return 0.5f * (1.0f + erff(x * 0.70710678f)); }
void run(const float *price, const float *strike, const float *years, float *call, float *put, int64_t n) {
  #pragma omp parallel for
  for (int64_t i = 0; i < n; i++) {
    float s = price[i], k = strike[i], t = years[i], spread = 0.3f * sqrtf(t);
    float d1 = (logf(s / k) + (0.02f + 0.5f * 0.3f * 0.3f) * t) / spread, d2 = d1 - spread;
    float later = k * expf(-0.02f * t);
    call[i] = s * normal(d1) - later * normal(d2);
    put[i] = later * normal(-d2) - s * normal(-d1);
  }
}
"""


def _numba() -> Any:
    import math

    from numba import njit, prange

    f = np.float32

    @njit
    def normal(x):
        return f(0.5) * (f(1) + f(math.erf(x * f(0.70710678))))

    @njit(parallel=True)
    def run(price, strike, years, call, put, n):
        for i in prange(n):
            s = price[i]
            k = strike[i]
            t = years[i]
            spread = f(0.3) * np.sqrt(t)
            d1 = (np.log(s / k) + f(0.02 + 0.5 * 0.3 * 0.3) * t) / spread
            d2 = d1 - spread
            later = k * np.exp(f(-0.02) * t)
            call[i] = s * normal(d1) - later * normal(d2)
            put[i] = later * normal(-d2) - s * normal(-d1)

    return run


def work() -> Work:
    """Return the program."""
    made = Work("black-scholes", tolerance=2e-4)
    rng = np.random.default_rng(9)
    given = [rng.uniform(*r, OPTIONS).astype(np.float32) for r in ((10, 100), (10, 100), (0.2, 3))]
    outs = [[np.zeros(OPTIONS, np.float32) for _ in range(2)] for _ in range(3)]
    made.loom("first", outs[0][0], (first, [*given, *outs[0]], [], OPTIONS // 64))
    made.numba(_numba, [*given, *outs[1], OPTIONS], outs[1][0])
    made.c(C, [*given, *outs[2], OPTIONS], outs[2][0])
    return made
