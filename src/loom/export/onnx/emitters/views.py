"""Views, joins and padding.

Layer: export. Invariant: elements are moved, never computed with.
"""

from __future__ import annotations

from typing import Any

from loom.export.onnx.emitters.registry import emits, resolve_alias, unwrap
from loom.export.onnx.writing.lengths import Length, Size
from loom.export.onnx.writing.records import ALIASES, RecordedValue
from loom.export.onnx.writing.writer import GraphWriter
from loom.tensor.arrays.autodiff import BARRIER
from loom.tensor.ops.joining import CONCAT, PLACE
from loom.tensor.ops.views import BROADCAST, PERMUTE, RESHAPE, REVERSE, SLICE

__all__: list[str] = []

_FAR = 1 << 62


@emits(*ALIASES)
def _alias(w: GraphWriter, value: RecordedValue) -> str:
    return w.use(value.inputs[-1])


@emits(BARRIER)
def _barrier(w: GraphWriter, value: RecordedValue) -> str:
    return w.use(value.inputs[0])


@emits(RESHAPE)
def _reshape(w: GraphWriter, value: RecordedValue) -> str:
    source = resolve_alias(value.inputs[0])
    while source.op is RESHAPE and not source.is_known and not w.is_written(source):
        source = resolve_alias(source.inputs[0])
    name = w.use(source)
    return name if source.shape == value.shape else w.reshape(name, value.shape)


@emits(PERMUTE)
def _permute(w: GraphWriter, value: RecordedValue) -> str:
    return w.transpose(w.use(value.inputs[0]), value.attributes[0])


@emits(BROADCAST)
def _broadcast(w: GraphWriter, value: RecordedValue) -> str:
    return w.expand(w.use(unwrap(value.inputs[0])), value.shape)


@emits(REVERSE)
def _reverse(w: GraphWriter, value: RecordedValue) -> str:
    axes = value.attributes[0]
    count = len(axes)
    return w.node(
        "Slice", [w.use(value.inputs[0]), w.whole(*[-1] * count), w.whole(*[-_FAR] * count), w.whole(*axes),
                  w.whole(*[-1] * count)],
    )  # fmt: skip


@emits(SLICE)
def _slice(w: GraphWriter, value: RecordedValue) -> str:
    x = value.inputs[0]
    name = w.use(x)
    starts, steps = value.attributes
    axes = [a for a in range(value.ndim) if x.shape[a] != value.shape[a] or starts[a] != 0]
    firsts: list[Size] = [starts[a] for a in axes]
    ends: list[Size] = []
    for a in axes:
        last = starts[a] + (value.shape[a] - 1) * steps[a] + 1
        whole = x.shape[a]
        is_rest = last == whole or (steps[a] == 1 and starts[a] + value.shape[a] == whole)
        ends.append(_FAR if is_rest else last)
        if value.shape[a] == 0:
            ends[-1] = starts[a]
    given = [name, w.sizes(firsts), w.sizes(ends), w.whole(*axes)]
    strides = [steps[a] for a in axes]
    return w.node("Slice", [*given, w.sizes(strides)] if any(s != 1 for s in strides) else given)


@emits(CONCAT)
def _concat(w: GraphWriter, value: RecordedValue) -> str:
    return w.node("Concat", [w.use(x) for x in value.inputs], axis=value.attributes[0])


@emits(PLACE)
def _place(w: GraphWriter, value: RecordedValue) -> str:
    """Write padding; places that lie apart are padded each, and then cut."""
    x = value.inputs[0]
    starts, steps, number = value.attributes
    name, shape = w.use(x), list(x.shape)
    filled = w.number(number, value.dtype)
    for axis, step in enumerate(steps):
        if step == 1 or shape[axis] in (0, 1):
            continue
        apart = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
        name = _emit_pad(w, w.reshape(name, apart), [0] * len(apart), [step - 1 if a == axis + 1 else 0
                         for a in range(len(apart))], filled)  # fmt: skip
        shape[axis] = shape[axis] * step
        name = w.reshape(name, shape)
        last: Any = shape[axis] - (step - 1)
        name = w.node("Slice", [name, w.whole(0), w.sizes([last]), w.whole(axis)])
        shape[axis] = last
    after = [value.shape[a] - starts[a] - shape[a] for a in range(value.ndim)]
    if not any(isinstance(n, Length) or n for n in (*starts, *after)):
        return name
    return _emit_pad(w, name, list(starts), after, filled)


def _emit_pad(w: GraphWriter, name: str, before: list[Size], after: list[Size], filled: str) -> str:
    return w.node("Pad", [name, w.sizes([*before, *after]), filled])
