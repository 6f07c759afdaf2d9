"""Sums, products, extremes and where they are.

Layer: export. Invariant: a sum is written in the type that Loom adds in, and rounded after it.
"""

from __future__ import annotations

from loom.core.dtype import DType, i64, u8, u64
from loom.export.onnx.emitters.registry import emits, refusal
from loom.export.onnx.writing.records import RecordedValue
from loom.export.onnx.writing.writer import GraphWriter
from loom.tensor.ops.reductions import ARG, EXTREME, PRODUCT, SUM

__all__: list[str] = []

_KINDS = {"sum": "ReduceSum", "product": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}


def emit_reduction(w: GraphWriter, kind: str, name: str, axes: tuple[int, ...], keepdims: int = 1) -> str:
    """Write a reduction along axes, which are an input from opset 18 on (of sums from 13 on)."""
    if kind == "ReduceSum" or w.opset >= 18:
        return w.node(kind, [name, w.whole(*axes)], keepdims=keepdims)
    return w.node(kind, [name], axes=list(axes), keepdims=keepdims)


@emits(PRODUCT, SUM, *EXTREME.values())
def _fold(w: GraphWriter, value: RecordedValue) -> str:
    from loom.export.onnx.emitters.windows import emit_pool

    pooled = emit_pool(w, value)
    if pooled is not None:
        return pooled
    first, last, folding = value.attributes
    x = value.inputs[0]
    if folding.name not in _KINDS:
        raise refusal(value, "ONNX has no such fold", expected=", ".join(_KINDS), got=folding.name,
                      remedy="Compose it of sums and maxima")  # fmt: skip
    name = w.use(x)
    is_extreme = folding.name in ("max", "min")
    wide: DType = u8 if is_extreme and x.dtype.is_bool else x.dtype if is_extreme else folding.accumulator
    wide = i64 if wide == u64 and not is_extreme else wide  # whole numbers wrap alike, and more runtimes add i64
    found = emit_reduction(w, _KINDS[folding.name], w.cast(name, wide), tuple(range(first, last)))
    return w.cast(found, value.dtype)


@emits(ARG)
def _arg(w: GraphWriter, value: RecordedValue) -> str:
    axis, largest = value.attributes
    x = value.inputs[0]
    name = w.cast(w.use(x), u8) if x.dtype.is_bool else w.use(x)
    found = w.node("ArgMax" if largest else "ArgMin", [name], i64, axis=axis, keepdims=1)
    return w.cast(found, value.dtype)
