"""Probes of arithmetic and choices with numbers that a compiler knows, or can work out.

Layer: runtime. Drivers fold and simplify more than IEEE 754 allows: lavapipe takes x * 0.0 for 0.0, every Mesa driver
and NVIDIA's a choice between 1.0 and -0.0 for one between 1.0 and 0.0 (which is why ones are hidden there always).
Invariant: the bits expected are the host's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from loom.core.dtype import DType, f16, f32, f64
from loom.kernels.maps.literals import (
    LITERAL_OPERATIONS,
    literal_choices,
    literal_operation,
    literals_of,
    zero_arithmetic,
)
from loom.runtime.drivers.probes.probe import Array, Probe, extreme, on_host

__all__ = ["LITERAL_PROBES"]


def _product_and_sum(a: Array, b: Array) -> Array:
    return a * b + a


def _lesser(a: Array, b: Array) -> Array:
    return np.where(a < b, a, b)


def _second_if_equal(a: Array, b: Array) -> Array:
    return np.where(a == b, b, a)


_NUMPY: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "mul and add": _product_and_sum,
    "min": extreme("min"), "max": extreme("max"), "lt": _lesser,
    "eq": _second_if_equal,
}  # fmt: skip


def _values(dtype: DType) -> Array:
    """Return the literals, their opposites, and some numbers of no account."""
    literals = np.array(literals_of(dtype), dtype.numpy)
    return np.concatenate([literals, -literals, np.array([3.0, -0.1], dtype.numpy)])


def _wide(dtype: DType) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype.storage_only else dtype.numpy


def _inputs(dtype: DType) -> tuple[Array, ...]:
    return (_values(dtype),)


@on_host
def _apply(name: str, dtype: DType, x: Array) -> Array:
    wide = x.astype(_wide(dtype))
    rows: list[Array] = []
    for literal in literals_of(dtype):
        known = np.full_like(wide, literal)
        rows += [_NUMPY[name](wide, known), _NUMPY[name](known, wide)]
    return np.concatenate(rows).astype(dtype.numpy)


@on_host
def _choose(dtype: DType, x: Array) -> Array:
    known = literals_of(dtype)[:4]
    rows: list[Array] = [np.where(x < 0, dtype.numpy.type(a), dtype.numpy.type(b)) for a in known for b in known]
    return np.concatenate([row for row in rows for _ in range(3)])


@on_host
def _with_zeros(dtype: DType, x: Array) -> Array:
    wide = x.astype(_wide(dtype))
    zero = np.zeros_like(wide)
    sum_, scaled = zero, zero + 1
    for n in range(3):
        sum_, scaled = sum_ + wide, scaled * (wide * zero.dtype.type(n))
    times, plus = wide * zero, wide + zero
    rows = [times, plus, zero - wide, times, wide / zero, times, times, plus, sum_, scaled]
    return np.concatenate(rows).astype(dtype.numpy)


def _probes(dtype: DType) -> list[Probe]:
    """The probes of a type; the groups are those that its values take."""
    given, name = partial(_inputs, dtype), f"{dtype}"
    return [
        *(
            Probe(
                f"{name} {op} with literals",
                partial(literal_operation, op, dtype),
                given,
                partial(_apply, op, dtype),
                1,
            )
            for op in LITERAL_OPERATIONS
        ),
        Probe(f"{name} zeros worked out", partial(zero_arithmetic, dtype), given, partial(_with_zeros, dtype), 1),
        Probe(f"{name} select of literals", partial(literal_choices, dtype), given, partial(_choose, dtype), 1),
    ]


LITERAL_PROBES: dict[DType, list[Probe]] = {dtype: _probes(dtype) for dtype in (f32, f16, f64)}
"""By type."""
