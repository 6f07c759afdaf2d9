"""Every elementary function for every type it has, on inputs of every exponent and on edge values.

Whether the results are good is proved in ``tests/functions``; here they are the same everywhere.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from conformance.values import adversarial, triples
from loom.core.dtype import DType, bf16, f16
from loom.kernels.functions import EXACT, FUNCTIONS, function
from loom.kernels.maps.nest import one_value
from loom.kernels.maps.rounding import MIRRORED, steps_of
from loom.schedules.maps import LANES, map_kernel

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_SIZE = 8 * LANES - 3


@cache
def _inputs(dtype: DType) -> Array:
    """Edge values, then numbers of every exponent in turn, then numbers below 100, of either sign."""
    rng = np.random.default_rng(31)
    carrier, fraction = (np.uint32, 23) if dtype.bits == 32 else (np.uint64, 52)
    edges = adversarial(dtype)
    if dtype.is_integer:
        return np.concatenate([edges, rng.integers(0, 9, _SIZE - edges.size).astype(dtype.numpy)])
    plain = rng.uniform(-100, 100, 900).astype(dtype.numpy)
    room = _SIZE - edges.size - plain.size
    exponents = np.arange(room, dtype=np.uint64) * 5 % (2 ** (dtype.bits - fraction))
    bits = (exponents << np.uint64(fraction)) | rng.integers(0, 2**fraction, room, dtype=np.uint64)
    return np.concatenate([edges, bits.astype(carrier).view(dtype.numpy), plain])


def _operands(dtype: DType, arity: int) -> list[Array]:
    if arity == 1:
        return [_inputs(dtype)]
    rng = np.random.default_rng(32)
    if dtype.is_integer:
        return [_inputs(dtype), np.roll(_inputs(dtype), 7)]
    plain = [rng.uniform(-8, 8, _SIZE // 4).astype(dtype.numpy) for _ in range(arity)]
    edges = triples(dtype, _SIZE, seed=arity)
    return [np.concatenate([p, e[: _SIZE - p.size]]) for p, e in zip(plain, edges, strict=False)]


def _function(name: str, dtype: DType) -> Case:
    operands = _operands(dtype, function(name).arity)
    verified, result = map_kernel(one_value(name, [(dtype, True)] * len(operands)), LANES)
    buffers = (*operands, np.zeros(_SIZE, result.numpy))
    return Case(verified.kernel, buffers, (_SIZE,), groups=(8, 1, 1), modes=("trusted",))


def _of_16_bits(name: str, dtype: DType) -> Case:
    """Inputs whose f32 results are moved before they are rounded, their neighbours, and others of every exponent."""
    ends = np.array([end for first, last, _ in steps_of(name, dtype) for end in (first, last)], np.float32)
    ends = np.concatenate([ends, -ends]) if name in MIRRORED else ends
    bits = ends.astype(np.float16).view(np.uint16) if dtype == f16 else (ends.view(np.uint32) >> 16).astype(np.uint16)
    beside = np.concatenate([bits + k for k in (np.uint16(0), np.uint16(1), np.uint16(65535))])
    x = np.concatenate([beside, np.linspace(0, 65535, _SIZE - beside.size).astype(np.uint16)]).view(dtype.numpy)
    verified, result = map_kernel(one_value(name, [(dtype, True)]), LANES)
    return Case(verified.kernel, (x, np.zeros(_SIZE, result.numpy)), (_SIZE,), groups=(8, 1, 1), modes=("trusted",))


for _name, _dtype in (
    *((name, f16) for name in ("cbrt", "gelu", "j1", "lgamma", "log10", "sin")),
    *((name, bf16) for name in ("gelu_tanh", "j0", "y1")),
):
    case(f"functions/{_name}-{_dtype}")(partial(_of_16_bits, _name, _dtype))
for _name in sorted((*FUNCTIONS, *EXACT)):
    for _dtype in function(_name).definitions:
        case(f"functions/{_name}-{_dtype}")(partial(_function, _name, _dtype))
