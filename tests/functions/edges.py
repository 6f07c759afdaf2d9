"""Where a definition changes its formula: inputs beside which a comparison, a rounding or an exponent is another.

They are found in the definition's IR, not listed: the interpreter computes it over a grid of all magnitudes, and where
neighbours differ in what a comparison gives, the two adjacent floats are looked for by bisection. With several operands
each is moved in turn, the others standing still.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32
from loom.ir.interp.batch import Batch, DispatchState
from loom.ir.interp.binding import bind_buffers, bind_params
from loom.ir.interp.control import run_block
from loom.ir.interp.dispatch import HANDLERS
from loom.ir.interp.options import Options
from loom.ir.kernel import Instr, Kernel
from loom.kernels.functions import function
from loom.kernels.maps.nest import one_value
from loom.schedules.maps import LANES, map_kernel

__all__ = ["edges_of", "floats", "ordinals"]

Array = np.ndarray[Any, Any]
_CUTS = ("eq", "ne", "lt", "le", "gt", "ge", "rint", "floor", "shr")
_MOST = 16
"""Edges of one operation that are taken, such as those between the 2,000 powers of two of ``exp``."""
_GRID = 4_096


def ordinals(x: Array) -> Array:
    """Return the numbers of floats in their order, 0 for zeros."""
    bits = x.view(np.int32 if x.dtype == np.float32 else np.int64).astype(np.int64)
    least = np.int64(-(2**31)) if x.dtype == np.float32 else np.iinfo(np.int64).min
    return np.where(bits < 0, least - bits, bits)


def floats(numbers: Array, dtype: DType) -> Array:
    """Return the floats with these numbers, those beyond the largest being the largest."""
    most = ordinals(np.array([np.finfo(dtype.numpy).max], dtype.numpy))[0]
    n = np.clip(numbers, -most, most)
    carrier = np.uint32 if dtype == f32 else np.uint64
    sign = (n < 0).astype(carrier) << carrier(dtype.bits - 1)
    return (np.abs(n).astype(carrier) | sign).view(dtype.numpy)


@cache
def edges_of(name: str, dtype: DType) -> tuple[Array, ...]:
    """Return operands, one array each, on either side of every edge."""
    arity = function(name).arity
    kernel = map_kernel(one_value(name, [(dtype, True)] * arity), LANES)[0].kernel
    rows: list[Array] = []
    limits = np.finfo(dtype.numpy)
    standing = (1.0, -2.7, 1234.5 * float(limits.smallest_subnormal), 0.3, 40.0, 1e-5, 0.7 * float(limits.max))
    for moved in range(arity):
        for others in itertools.product(standing if arity == 2 else standing[:3], repeat=arity - 1):
            still = [np.array([o], dtype.numpy) for o in others]
            found = _along(kernel, dtype, moved, still)
            rows.append(
                np.stack([found if k == moved else np.repeat(still[k - (k > moved)], found.size) for k in range(arity)])
            )
    return tuple(np.ascontiguousarray(o) for o in np.concatenate(rows, axis=1))


def _along(kernel: Kernel, dtype: DType, moved: int, still: list[Array]) -> Array:
    """Return the floats beside edges when one operand runs through all magnitudes."""
    most = ordinals(np.array([np.finfo(dtype.numpy).max], dtype.numpy))[0]
    plain = ordinals(np.linspace(-50, 50, _GRID).astype(dtype.numpy))
    grid = np.unique(np.concatenate([np.linspace(-most, most, _GRID).astype(np.int64), plain]))
    cuts = _cuts(kernel, floats(grid, dtype), moved, still)
    places: list[tuple[Instr, int]] = []
    for instr, values in cuts.items():
        at = np.flatnonzero(values[1:] != values[:-1])
        if at.size < _GRID // 2:  # else they are bits without an order
            places += [(instr, int(i)) for i in at[np.linspace(0, at.size - 1, min(_MOST, at.size)).astype(int)]]
    if not places:
        return np.zeros(0, dtype.numpy)
    low, high = (grid[[i + k for _, i in places]] for k in (0, 1))
    rows = np.arange(low.size)
    while np.any(high - low > 1):
        middle = low + (high - low) // 2
        cuts = _cuts(kernel, floats(np.concatenate([low, middle]), dtype), moved, still)
        values = np.array(
            [[cuts[instr][r], cuts[instr][r + low.size]] for r, (instr, _) in zip(rows, places, strict=True)]
        )
        same = values[:, 0] == values[:, 1]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return floats(np.unique(np.concatenate([low, high])), dtype)


def _cuts(kernel: Kernel, x: Array, moved: int, still: list[Array]) -> dict[Instr, Array]:
    """Return what each comparison, rounding and shift of the kernel gives over an operand."""
    size = x.size
    operands = [np.repeat(o, size) for o in still]
    operands.insert(moved, x)
    groups = -(-size // kernel.lanes)
    state = DispatchState(
        kernel=kernel, options=Options(), groups=(groups, 1, 1), handlers=HANDLERS, used=frozenset(),
        buffers=bind_buffers(kernel, [*operands, np.zeros(size, x.dtype)]), params=bind_params(kernel, [size]),
    )  # fmt: skip
    batch = Batch(state, 0, groups)
    with np.errstate(all="ignore"):
        run_block(batch, kernel.body, batch.all)
    return {
        i: batch.spread(v)[:size]
        for i, v in batch.values.items()
        if i.op.name in _CUTS and i.args[0].type.bits == 8 * x.itemsize
    }
