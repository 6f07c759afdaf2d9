"""Handlers of the operations that compute, identify the lane, or touch its variables.

Layer: ir. Pure operations run the table's own evaluator on all lanes, active or not: what an inactive
lane computes is never seen. Invariant: a handler gives a value of exactly the type the Instr declares.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import KernelFault, NotANumber
from loom.ir import evaluate as ev
from loom.ir.faults import make_fault
from loom.ir.interp.batch import Batch, Handler
from loom.ir.interp.masks import Array, Mask
from loom.ir.kernel import Instr
from loom.ir.message import format_value
from loom.ir.ops import OPS

__all__ = ["COMPUTE", "NAN_CHECKED", "from_bits"]

_UNARITHMETIC = ("select", "convert", "bitcast")


def from_bits(bits: int, dtype: DType) -> Array:
    """Return one row of the value with these bits (in every component of a short vector)."""
    scalar = np.array([bits], dtype.bits_numpy).view(dtype.numpy)
    return np.repeat(scalar[None, :], dtype.lanes, axis=1) if dtype.is_vector else scalar


def _pure(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    evaluate = instr.op.evaluate
    assert evaluate is not None, f"{instr.op.name} has no evaluator"
    values = batch.values
    values[instr] = evaluate(*[values[a] for a in instr.args])


def _convert(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    source = instr.args[0]
    batch.values[instr] = ev.convert(batch.values[source], source.type, instr.type)


def _bitcast(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    batch.values[instr] = ev.bitcast(batch.values[instr.args[0]], instr.type)


def _const(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    if instr not in batch.values:
        batch.values[instr] = from_bits(instr.attr, instr.type)


def _vector(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    parts = np.broadcast_arrays(*[batch.values[a] for a in instr.args])
    batch.values[instr] = np.stack(parts, axis=1)


def _extract(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    batch.values[instr] = batch.values[instr.args[0]][:, instr.attr]


def _identity(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    if instr not in batch.values:
        batch.values[instr] = getattr(batch, instr.op.name)(instr.attr)


def _num_groups(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    batch.values[instr] = np.array([batch.dispatch.groups[instr.attr]], np.uint32)


def _param(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    batch.values[instr] = batch.dispatch.params[instr.attr]


def _length(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    assert instr.memory is not None
    batch.values[instr] = np.array([batch.cells[instr.memory].size], np.uint32)


def _get(batch: Batch, instr: Instr, mask: Mask) -> None:  # noqa: ARG001
    batch.values[instr] = batch.variables[instr.attr]


def _set(batch: Batch, instr: Instr, mask: Mask) -> None:
    value = batch.values[instr.args[0]]
    if not mask.full:
        active = mask.active[:, None] if value.ndim > 1 else mask.active
        value = ev.select(active, value, batch.variables[instr.attr])
    batch.variables[instr.attr] = value


def _pure_checked(batch: Batch, instr: Instr, mask: Mask) -> None:
    _pure(batch, instr, mask)
    result = batch.values[instr]
    if result.dtype.kind != "f" or not np.isnan(result).any():
        return
    fresh: Array = np.isnan(result)
    for arg in instr.args:
        fresh = fresh & ~np.isnan(batch.values[arg])
    made = mask.narrow(np.any(fresh, axis=1) if fresh.ndim > 1 else fresh)
    if made.count:
        raise _nan_fault(batch, instr, int(made.lanes[0]))


def _nan_fault(batch: Batch, instr: Instr, lane: int) -> NotANumber:
    rows = [batch.spread(batch.values[a])[lane] for a in instr.args]
    operands = tuple(_row_text(row, a.type) for row, a in zip(rows, instr.args, strict=True))
    return make_fault(
        NotANumber, batch.dispatch.kernel.name, instr.loc,
        f"{instr.op.name} gives a NaN in lane {batch.first_lane + lane}",
        expected="a number", got=f"{instr.op.name}({', '.join(operands)})",
        remedy="Look at its operands there with loom.debug(lane=...) and breakpoint()",
        lane=batch.first_lane + lane, op=instr.op.name, operands=operands,
    )  # fmt: skip


def _row_text(row: Any, dtype: DType) -> str:
    if not dtype.is_vector:
        return format_value(row, dtype)
    return "(" + ", ".join(format_value(c, dtype.scalar) for c in row) + ")"


def _fma(batch: Batch, instr: Instr, mask: Mask) -> None:
    """Multiply and add; a product that is rounded is a fault, as a device that fuses would differ."""
    _pure(batch, instr, mask)
    a, b = (batch.spread(batch.values[x]).astype(np.float64) for x in instr.args[:2])
    with np.errstate(all="ignore"):
        rounded = mask.narrow((a * b).astype(np.float32) != a * b)
        rounded = rounded.narrow(np.isfinite(a) & np.isfinite(b))
    if rounded.count:
        lane = batch.first_lane + int(rounded.lanes[0])
        at = int(rounded.lanes[0])
        raise make_fault(
            KernelFault, batch.dispatch.kernel.name, instr.loc, f"fma of a product that is rounded in lane {lane}",
            expected="factors whose product is a number of f32", got=f"{a[at]!r} * {b[at]!r}",
            remedy="Write a * b + c", lane=lane,
        )  # fmt: skip


_EVALUATED = [name for name, op in OPS.items() if op.is_pure and op.evaluate is not None]

COMPUTE: dict[str, Handler] = {
    **dict.fromkeys(_EVALUATED, _pure),
    "fma": _fma,
    "convert": _convert,
    "bitcast": _bitcast,
    "const": _const,
    "vector": _vector,
    "extract": _extract,
    **dict.fromkeys(("global_id", "local_id", "group_id"), _identity),
    "num_groups": _num_groups,
    "param": _param,
    "length": _length,
    "get": _get,
    "set": _set,
}
"""A handler for each operation that leaves memory alone (``index`` is computed by its loop)."""

NAN_CHECKED: dict[str, Handler] = {
    name: _pure_checked for name in _EVALUATED if COMPUTE[name] is _pure and name not in _UNARITHMETIC
}
"""The arithmetic handlers again, refusing to make a NaN of numbers."""
