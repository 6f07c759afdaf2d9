"""``gpu_dot`` and ``gpu_norm``: sums of products in the canonical order of sums.

Layer: patterns. Every product is rounded, then added (no fused multiply-add). Invariant: the bits depend on the
elements and their number alone.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import f32, f64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.numerics import REDUCE_TILE
from loom.kernels.fold.lanes import dot_tiles, square_root
from loom.kernels.types import read_type, wide_type
from loom.patterns.calling.call import Call
from loom.patterns.reduce import folded
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold

__all__ = ["gpu_dot", "gpu_norm"]


def gpu_dot(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the dot product of two vectors of the same length and dtype.

    Floats keep their dtype: products are rounded, then added in the canonical order of ``gpu_sum`` (f16 and bf16
    in f32, rounded once). Integers and bools give int64, unsigned ones uint64, wrapping beyond. No elements give 0; a
    NaN gives NaN. Raises ShapeError for other shapes, DTypeError for different dtypes.

    >>> gpu_dot([1.0, 2.0], [3.0, 4.0]).item()
    11.0
    """
    call = Call("gpu_dot", on)
    x = call.input(a, "a", ndim=1)
    y = call.input(b, "b", dtype=x.dtype, ndim=1)
    if y.dtype != x.dtype:
        raise DTypeError("gpu_dot, b", "vectors of different dtypes", expected=x.dtype, got=y.dtype,
                         remedy="Convert one")  # fmt: skip
    if y.shape != x.shape:
        raise ShapeError("gpu_dot, b", "vectors of different lengths", expected=x.size, got=y.size,
                         remedy="Match the lengths")  # fmt: skip
    wide, result = wide_type(x.dtype)
    out = call.output((), result, like=x)
    if x.size:
        element, tiles = read_type(x.dtype), -(-x.size // REDUCE_TILE)

        def record(chain: Chain, a: HostSlot, b: HostSlot, out: HostSlot) -> None:
            if tiles == 1:
                chain.dispatch(dot_tiles(element, wide, result), [a, b, out], [x.size], groups=1)
                return
            sums = chain.device.allocate(tiles * wide.nbytes)
            chain.dispatch(dot_tiles(element, wide, wide), [a, b, sums], [x.size], groups=tiles)
            record_fold(chain, sums, Rows(1, tiles), Folding("sum", wide, wide, result), out)

        call.run(("gpu_dot", x.dtype, x.size), record, x, y, out)
    else:
        out.write(0)
    return call.result(out)


def gpu_norm(data: Any, ord: float = 2, *, on: str | Device | None = None) -> Any:  # noqa: A002 - numpy's name
    """Return the norm of all elements of ``data`` (any shape): ``ord`` 2 (Euclidean), 1 (sum of magnitudes) or inf.

    2: the root of the canonical sum of the rounded squares, nothing scaled: above about 1.8e19 (f32) or 1.3e154
    (f64) squares overflow to inf, and below 1e-23 or 1e-162 they vanish. 1: the canonical sum of magnitudes;
    inf: the largest one. Floats keep their dtype (f16 and bf16 are computed in f32); integers and bools are taken as
    float64. No elements give 0; a NaN gives NaN. ArgumentError for another ``ord``.

    >>> gpu_norm([3.0, 4.0]).item()
    5.0
    """
    call = Call("gpu_norm", on)
    x = call.input(data)
    kind = {1: "magnitudes", 2: "squares", math.inf: "largest"}.get(ord) if isinstance(ord, (int, float)) else None
    if kind is None:
        raise ArgumentError("gpu_norm, ord", "no such norm", expected="1, 2 or inf", got=repr(ord),
                            remedy="Use one of them")  # fmt: skip
    wide, result = (f32, x.dtype) if x.dtype.storage_only else (x.dtype, x.dtype) if x.dtype.is_float else (f64, f64)
    if kind != "squares" or not x.size:
        return folded(call, x, Folding(kind, read_type(x.dtype), wide, result), None, False, empty=0)
    out = call.output((), result, like=x)
    element = read_type(x.dtype)

    def record(chain: Chain, data: HostSlot, out: HostSlot) -> None:
        total = chain.device.allocate(wide.nbytes)
        record_fold(chain, data, Rows(1, x.size), Folding("squares", element, wide, wide), total)
        chain.dispatch(square_root(wide, result), [total, out], [], groups=1)

    call.run(("gpu_norm", x.dtype, x.size), record, x, out)
    return call.result(out)
