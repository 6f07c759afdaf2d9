"""Layer 3: the kernels behind the patterns, on inputs of widely spread exponents.

Layer: proof. A row is a case's name, its inputs and what is computed. Shapes are ragged on purpose: no length
is a multiple of a tile. Invariant: any change in the order of a float operation changes a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, bf16, f16, f32, f64, i32, i64, u8, u32
from loom.patterns.reduce import gpu_max, gpu_mean, gpu_min, gpu_sum
from loom.proof.inputs import numbers, seed_of
from loom.runtime.device import Device

__all__ = ["PATTERNS"]

Bits = np.ndarray[Any, Any]
_Row = tuple[str, Callable[[], Sequence[Bits]], Callable[..., Sequence[Bits]]]
_LONG = 1_000_007


def _row(name: str, shapes: Sequence[Any], dtype: DType, compute: Callable[..., Any], **spread: int) -> _Row:
    """Return a case: ``compute(*arrays, on=device)`` of random arrays of these shapes."""

    def inputs() -> Sequence[Bits]:
        return [numbers(shape, dtype, seed_of(f"{name} {k}"), **spread) for k, shape in enumerate(shapes)]

    def results(device: Device, *arrays: Bits) -> Sequence[Bits]:
        found = compute(*arrays, on=device)
        return [np.asarray(a) for a in (found if isinstance(found, tuple) else (found,))]

    return name, inputs, results


PATTERNS: tuple[_Row, ...] = (
    *(_row(f"sum {t}", [_LONG], t, gpu_sum) for t in (f32, f64, i32)),
    *(_row(f"sum {t}", [70_001], t, gpu_sum) for t in (f16, bf16, u8)),
    _row("mean f32", [_LONG], f32, gpu_mean),
    _row("mean i64", [70_001], i64, gpu_mean),
    _row("max f32", [_LONG], f32, gpu_max),
    _row("min u32", [_LONG], u32, gpu_min),
)
"""Every case of layer 3."""
