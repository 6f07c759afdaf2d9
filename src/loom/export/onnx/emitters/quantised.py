"""Quantised weights: whole numbers with a scale for each block, dequantised by ONNX's operator.

Layer: export. Invariant: the product is that of the f32 weights that the blocks stand for, as ``compute="exact"`` has
it; products that make whole numbers of activations too are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.dtype import f32, u8
from loom.core.late.dataclass import dataclass
from loom.export.onnx.emitters.indexing import emit_take
from loom.export.onnx.emitters.registry import emits, refusal
from loom.export.onnx.writing.records import RecordedValue
from loom.export.onnx.writing.writer import GraphWriter, Initializer
from loom.kernels.quantized.forms import BlockForm, unpack_blocks
from loom.tensor.neural.quantized import ACTIVATIONS, PRODUCT, ROWS

__all__: list[str] = []


@dataclass(frozen=True, slots=True)
class _UnpackedBlocks:
    codes: np.ndarray[Any, Any]
    scales: np.ndarray[Any, Any]
    minima: np.ndarray[Any, Any] | None


def _blocks(value: RecordedValue, form: BlockForm, rows: int) -> _UnpackedBlocks:
    words, scales = value.inputs[:2]
    if not (words.is_known and scales.is_known):
        raise refusal(value, "quantised weights that are computed", expected="constants", got="tensors",
                      remedy="Quantise them before the export")  # fmt: skip
    return _UnpackedBlocks(*unpack_blocks(form, words.array(), scales.array(), rows))


def _weights(w: GraphWriter, value: RecordedValue, form: BlockForm, rows: int) -> str:
    """Write the weights (rows, k) that blocks stand for: whole numbers less the offset, times scales, plus minima."""
    found = _blocks(value, form, rows)
    k = found.codes.shape[1]
    codes = w.initializer(Initializer(u8, found.codes.shape, np.ascontiguousarray(found.codes).tobytes()), "")
    given = [codes, w.constant(np.ascontiguousarray(found.scales))]
    if form.offset:
        given.append(w.constant(np.full(found.scales.shape, form.offset, np.uint8)))
    weights = w.node("DequantizeLinear", given, f32, axis=1, block_size=form.block)
    if found.minima is None:
        return weights
    apart = w.reshape(weights, (rows, k // form.block, form.block))
    least = w.constant(np.ascontiguousarray(found.minima[:, :, None]))
    return w.reshape(w.node("Add", [apart, least]), (rows, k))


@emits(PRODUCT)
def _product(w: GraphWriter, value: RecordedValue) -> str:
    form, _, compute = value.attributes
    rows = value.shape[1]
    if compute != "exact" or not isinstance(rows, int):
        raise refusal(value, f"ONNX has no product whose activations are made whole numbers as {compute!r} does",
                      expected="'exact'", got=repr(compute),
                      remedy="Export a model loaded with compute='exact'")  # fmt: skip
    x = w.use(value.inputs[2])
    return w.node("MatMul", [x, w.transpose(_weights(w, value, form, rows), (1, 0))])


@emits(ACTIVATIONS)
def _activations(w: GraphWriter, value: RecordedValue) -> str:
    del w
    compute, _ = value.attributes
    raise refusal(value, f"ONNX has no product whose activations are made whole numbers as {compute!r} does",
                  expected="'exact'", got=repr(compute),
                  remedy="Export a model loaded with compute='exact'")  # fmt: skip


@emits(ROWS)
def _rows(w: GraphWriter, value: RecordedValue) -> str:
    form, rows = value.attributes
    w.use(value.inputs[2])
    return emit_take(w, value, _weights(w, value, form, rows), rows, value.inputs[2], 0)
