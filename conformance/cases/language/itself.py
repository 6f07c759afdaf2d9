"""Operations of a value with itself, which compilers fold as if there were no infinities and no NaN.

Oracle: the interpreter.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import loom
from conformance.running import Case, case
from conformance.values import adversarial
from loom import In, Out, f16, f32, f64, select
from loom.core.dtype import DType

__all__: list[str] = []

_COUNT = 12


def _kernel(dtype: DType) -> Any:
    @loom.kernel(workgroup=64)
    def itself(x: In[dtype], out: Out[dtype], n: loom.u32):  # type: ignore[valid-type]
        i = loom.global_id()
        if i < n:
            y, one, two = x[i], dtype(1), dtype(2)
            z = y * two
            out[i] = y - y
            out[n + i] = z - z
            out[2 * n + i] = y / y
            out[3 * n + i] = z + -z
            out[4 * n + i] = z * dtype(0)
            out[5 * n + i] = select(z == z, one, two)  # noqa: PLR0124
            out[6 * n + i] = select(z != z, one, two)  # noqa: PLR0124
            out[7 * n + i] = select(z <= z, one, two)  # noqa: PLR0124
            out[8 * n + i] = select(z < z, one, two)  # noqa: PLR0124
            out[9 * n + i] = (z + y) - z
            out[10 * n + i] = z - two * y
            out[11 * n + i] = max(z, z) - min(z, z)

    itself.name = f"itself_{dtype}"
    return itself


def _itself(dtype: DType) -> Case:
    x = adversarial(dtype)
    out = np.zeros(_COUNT * len(x), dtype.numpy)
    return Case(_kernel(dtype).verified.kernel, (x, out), (len(x),), groups=(-(-len(x) // 64), 1, 1))


for _dtype in (f32, f64):
    case(f"edges/itself-{_dtype}", slow=_dtype == f64)(partial(_itself, _dtype))


@loom.kernel(workgroup=64)
def _narrowed(x: In[f32], out: Out[f32], n: loom.u32):
    i = loom.global_id()
    if i < n:
        y = f32(f16(x[i] * 2))
        out[i] = y - y
        out[n + i] = select(y == y, f32(1), f32(2))  # noqa: PLR0124


@case("edges/itself-narrowed")
def narrowed() -> Case:
    """What was rounded to f16 and is a f32 again."""
    x = adversarial(f32)
    kernel = _narrowed.verified.kernel
    return Case(kernel, (x, np.zeros(2 * len(x), np.float32)), (len(x),), groups=(-(-len(x) // 64), 1, 1))
