"""Products of matrices, of rows and columns that are windows, and convolutions.

Layer: export. The order of sums is Loom's wherever Loom reads the model, whichever of these it was. Invariant: a
product in a precision of its own is a function of the domain ``loom``, whose body is MatMul.
"""

from __future__ import annotations

from math import prod
from typing import Any

from loom.core.dtype import DType
from loom.export.onnx.emitters.registry import emits, resolve_alias
from loom.export.onnx.emitters.windows import WindowSource, window_source
from loom.export.onnx.writing.records import RecordedValue
from loom.export.onnx.writing.writer import GraphWriter
from loom.tensor.ops.correlating import COLUMNS, ROWS
from loom.tensor.ops.products import MATMUL
from loom.tensor.ops.views import PERMUTE, RESHAPE

__all__: list[str] = []


def product(w: GraphWriter, left: str, right: str, result: DType, precision: str) -> str:
    """Write the product of two matrices, in the type that Loom adds in if that is not theirs."""
    element = w.dtypes[left]
    if precision:
        return w.cast(w.own("matmul", [left, right], precision=precision), result)
    wide = result if result.is_integer or (element.storage_only and not result.storage_only) else element
    return w.cast(w.node("MatMul", [w.cast(left, wide), w.cast(right, wide)]), result)


@emits(MATMUL)
def _matmul(w: GraphWriter, value: RecordedValue) -> str:
    a, b = value.inputs
    (precision,) = value.attributes
    if not precision:
        convolved = _of_flat_rows(w, value)
        if convolved is not None:
            return convolved
    left, right = w.use(a), w.use(b)
    return product(w, left, right, value.dtype, precision)


def _of_flat_rows(w: GraphWriter, value: RecordedValue) -> str | None:
    """Write a convolution that is a product of flat rows of windows, None if it is none."""
    rows = resolve_alias(value.inputs[0])
    if rows.op is not RESHAPE or rows.is_known or value.inputs[1].ndim != 2 or rows.ndim != 2:
        return None
    inner = resolve_alias(rows.inputs[0])
    found = _channels_last(w, inner, value.inputs[1])
    if found is None:
        return None
    return w.reshape(w.cast(found, value.dtype), value.shape)


@emits(ROWS)
def _rows(w: GraphWriter, value: RecordedValue) -> str:
    rows, weight = value.inputs
    axes, precision = value.attributes
    found = None if precision else _channels_last(w, resolve_alias(rows), weight)
    if found is not None:
        return found
    left, right = w.use(rows), w.use(weight)
    flat = w.reshape(left, (prod(rows.shape[:axes], start=1), prod(rows.shape[axes:], start=1)))
    return w.reshape(product(w, flat, right, value.dtype, precision), value.shape)


def _channels_last(w: GraphWriter, rows: RecordedValue, weight: RecordedValue) -> str | None:
    """Write rows (batch, *places, *window, channels) of windows times a weight as a convolution, or return None."""
    if rows.op is not PERMUTE or rows.is_known:
        return None
    source = window_source(rows.inputs[0])
    d = 0 if source is None else len(source.axes)
    order = (*range(d + 1), *range(d + 2, 2 * d + 2), d + 1)
    if source is None or source.axes != tuple(range(1, d + 1)) or tuple(rows.attributes[0]) != order:
        return None
    if not rows.dtype.is_float or not isinstance(rows.shape[-1], int):
        return None
    x, filters = w.use(source.value), w.use(weight)
    channels = rows.shape[-1]
    first = w.transpose(x, (0, d + 1, *range(1, d + 1)))
    shaped = w.reshape(filters, (*source.sizes, channels, weight.shape[1]))
    turned = w.transpose(shaped, (d + 1, d, *range(d)))
    found = _emit_conv(w, first, turned, source)
    return w.transpose(found, (0, *range(2, d + 2), 1))


def _emit_conv(w: GraphWriter, x: str, weight: str, source: WindowSource) -> str:
    more: dict[str, Any] = {"pads": list(source.pads)} if any(source.pads) else {}
    if any(s != 1 for s in source.steps):
        more["strides"] = list(source.steps)
    if any(g != 1 for g in source.gaps):
        more["dilations"] = list(source.gaps)
    return w.node("Conv", [x, weight], kernel_shape=list(source.sizes), **more)


@emits(COLUMNS)
def _columns(w: GraphWriter, value: RecordedValue) -> str:
    left, columns = value.inputs
    axes, precision, transposed = value.attributes
    found = None if precision or transposed else _channels_first(w, left, resolve_alias(columns))
    if found is not None:
        return found
    a, b = w.use(left), w.use(columns)
    inner, places = prod(columns.shape[:axes], start=1), prod(columns.shape[axes:], start=1)
    flat = w.reshape(b, (inner, places))
    flat = w.transpose(flat, (1, 0)) if transposed else flat
    return w.reshape(product(w, a, flat, value.dtype, precision), value.shape)


def _channels_first(w: GraphWriter, left: RecordedValue, columns: RecordedValue) -> str | None:
    """Write filters times columns of windows (*window, channels, batch, *places) as a convolution."""
    matrix = resolve_alias(left)
    if columns.op is not PERMUTE or columns.is_known:
        return None
    source = window_source(columns.inputs[0])
    d = 0 if source is None else len(source.axes)
    order = (*range(d + 2, 2 * d + 2), 1, 0, *range(2, d + 2))
    if source is None or source.axes != tuple(range(2, d + 2)) or tuple(columns.attributes[0]) != order:
        return None
    if matrix.op is not RESHAPE or matrix.is_known or not columns.dtype.is_float:
        return None
    turned = resolve_alias(matrix.inputs[0])
    if turned.op is not PERMUTE or turned.is_known or tuple(turned.attributes[0]) != (0, *range(2, d + 2), 1):
        return None
    x, weight = w.use(source.value), w.use(turned.inputs[0])
    return w.transpose(_emit_conv(w, x, weight, source), (1, 0, *range(2, d + 2)))
