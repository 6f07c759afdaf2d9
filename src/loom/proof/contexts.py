"""The surroundings a probe is computed in: straight, in a loop, in short vectors, in a reduction.

Layer: proof. Compilers contract, reorder and flush differently in each. Invariant: every lane of every
context computes the same expression of the same operands, so all results must be the expected one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from loom.core.dtype import DType, u32, u64
from loom.core.numerics import canonical_bits
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, local_id, shared, static_range
from loom.proof.probes import ScalarProbe
from loom.proof.running import run_kernel
from loom.runtime.port.device import Device

__all__ = ["CONTEXTS", "in_context", "operands_of"]

_LANES = 64
_TURNS = 5
CONTEXTS = ("straight", "loop", "vector", "reduction")


def operands_of(probe: ScalarProbe) -> np.ndarray[Any, Any]:
    """Return the operands, each repeated for every lane."""
    bits = np.array(probe.operands, probe.dtype.bits_numpy)
    return np.repeat(bits, _LANES).view(probe.dtype.numpy)


def in_context(probe: ScalarProbe, context: str, device: Device, operands: Any) -> np.ndarray[Any, Any]:
    """Return the bits a device computes for a probe, one or more for each lane; none where it does not apply."""
    if context == "vector" and not probe.vectors:
        return np.empty(0, probe.result.bits_numpy)
    made = _kernel(probe.expression, len(probe.operands), probe.dtype, probe.result, context)
    if context == "reduction":
        out = np.zeros(2, probe.result.bits_numpy)
        return run_kernel(device, made, [operands], out)
    out = np.zeros(_LANES * (_TURNS if context == "loop" else 1), probe.result.numpy)
    return canonical_bits(run_kernel(device, made, [operands], out, [_TURNS] if context == "loop" else []))


@cache
def _kernel(expression: Any, arity: int, dtype: DType, result: DType, context: str) -> KernelFunction:
    make = {"straight": _straight, "loop": _loop, "vector": _vector, "reduction": _reduction}[context]
    made = make(_load_operands(expression, arity, _LANES // 4 if context == "vector" else _LANES), dtype, result)
    made.name = f"probe_{context}"
    return made


def _load_operands(expression: Any, arity: int, lanes: int) -> Any:
    """Return a kernel function (x, lane): the expression of the lane's operands."""

    def load(x: Any, lane: Any) -> Any:
        if arity == 1:
            return expression(x[lane])
        if arity == 2:
            return expression(x[lane], x[lanes + lane])
        if arity == 3:
            return expression(x[lane], x[lanes + lane], x[2 * lanes + lane])
        return expression(x[lane], x[lanes + lane], x[2 * lanes + lane], x[3 * lanes + lane])

    return load


def _straight(loaded: Any, dtype: DType, result: DType) -> KernelFunction:
    @kernel(workgroup=_LANES, trusted=True)
    def straight(x: In[dtype], out: Out[result]):  # type: ignore[valid-type]
        out[local_id()] = loaded(x, local_id())

    return straight


def _loop(loaded: Any, dtype: DType, result: DType) -> KernelFunction:
    @kernel(workgroup=_LANES, trusted=True)
    def loop(x: In[dtype], out: Out[result], turns: u32):  # type: ignore[valid-type]
        lane = local_id()
        for turn in range(turns):
            out[turn * _LANES + lane] = loaded(x, (lane + turn) % _LANES)

    return loop


def _vector(loaded: Any, dtype: DType, result: DType) -> KernelFunction:
    element, made = dtype.vector(4), result.vector(4)

    @kernel(workgroup=_LANES // 4, trusted=True)
    def vector(x: In[element], out: Out[made]):  # type: ignore[valid-type]
        out[local_id()] = loaded(x, local_id())

    return vector


def _reduction(loaded: Any, dtype: DType, result: DType) -> KernelFunction:
    """Every lane's bits joined by and, and by or: both are the expected ones only if every lane's are."""
    bits: DType = u64 if result.bits == 64 else u32
    nan = {32: 0x7FC00000, 64: 0x7FF8000000000000}[result.bits]
    is_float = result.is_float

    @kernel(workgroup=_LANES, trusted=True)
    def reduction(x: In[dtype], out: Out[bits]):  # type: ignore[valid-type]
        lane = local_id()
        found = loaded(x, lane)
        word = bitcast(bits, found)
        if is_float:
            if found != found:  # noqa: PLR0124 - a NaN
                word = bits(nan)
        every, some = shared(bits, _LANES), shared(bits, _LANES)
        every[lane] = word
        some[lane] = word
        barrier()
        for step in static_range(6):
            half = 32 >> step
            if lane < half:
                every[lane] = every[lane] & every[lane + half]
                some[lane] = some[lane] | some[lane + half]
            barrier()
        if lane == 0:
            out[0] = every[0]
            out[1] = some[0]

    return reduction
