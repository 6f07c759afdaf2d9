"""A joined record as a graph of ONNX: every value after what it is made of, named, typed.

Layer: export. Invariant: nothing is written that no output needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from loom.export.onnx.emitters.registry import EMITTERS, refusal
from loom.export.onnx.writing.lengths import Length, formula_of
from loom.export.onnx.writing.records import GraphRecord, RecordedValue
from loom.export.onnx.writing.writer import GraphWriter, Initializer, ValueAsked
from loom.onnx.values import element_of_dtype, onnx
from loom.tensor.record.graph import COUNTER

__all__ = ["value_info", "write_graph"]

_PLAIN = re.compile(r"v\d+(_\d+)?")
_RANDOM = frozenset(("random_words", "random", "random_normal"))


def write_graph(record: GraphRecord, opset: int, parameters: Mapping[int, str]) -> GraphWriter:
    """Return the graph of a record; ``parameters``: names of those that have one, by ``id`` of the node.

    ArgumentError and DTypeError name what ONNX has nothing for.
    """
    import loom.export.onnx.emitters  # pyright: ignore[reportUnusedImport] - enters the operations  # noqa: F401

    w = GraphWriter(record, opset)
    for name, value in record.inputs.items():
        _require_real(value)
        w.put(value, name)
    for value in record.outputs.values():
        _write(w, value, parameters)
    _name_outputs(w)
    return w


def _write(w: GraphWriter, end: RecordedValue, parameters: Mapping[int, str]) -> None:
    """Write a value, and before it what it asks for."""
    waiting = [end]
    while waiting:
        value = waiting[-1]
        if w.is_written(value):
            waiting.pop()
            continue
        begun = w.mark()
        try:
            name = _constant(w, value, parameters) if value.is_known else _emit(w, value)
        except ValueAsked as needed:
            w.back_to(begun)
            waiting.append(needed.value)
            continue
        w.put(value, name)
        waiting.pop()


def _emit(w: GraphWriter, value: RecordedValue) -> str:
    _require_real(value)
    emit = EMITTERS.get(value.op)
    if emit is None:
        is_random = value.op.name in _RANDOM
        what = "ONNX does not define random numbers" if is_random else "ONNX has nothing for it"
        remedy = "Pass the numbers as an input" if is_random else "Leave it out, or export to C: loom export --to c"
        raise refusal(value, what, expected="operations of ONNX", got=value.op.name, remedy=remedy)
    return emit(w, value)


def _constant(w: GraphWriter, value: RecordedValue, parameters: Mapping[int, str]) -> str:
    _require_real(value)
    node = value.longest
    if node.op.is_written and node.attributes == COUNTER:
        raise refusal(value, "ONNX does not define random numbers", expected="no random numbers", got="a counter",
                      remedy="Pass the numbers as an input")  # fmt: skip
    array = Initializer(value.dtype, tuple(node.shape), value.array().tobytes())
    name = w.initializer(array, parameters.get(id(node), node.name if node.op.is_written else ""))
    opened = [axis for axis, n in enumerate(value.shape) if isinstance(n, Length)]
    if not opened:
        return name
    ends = w.sizes([value.shape[axis] for axis in opened])
    return w.node("Slice", [name, w.whole(*[0] * len(opened)), ends, w.whole(*opened)])


def _require_real(value: RecordedValue) -> None:
    if value.dtype.is_complex or any(x.dtype.is_complex for x in value.inputs):
        raise refusal(value, "ONNX computes with no complex numbers", expected="real numbers", got="complex numbers",
                      remedy="Export tensor.view_as_real(x), whose last axis is (re, im)")  # fmt: skip


def _name_outputs(w: GraphWriter) -> None:
    """Give outputs their names, and layers' values those of the layers."""
    renamed: dict[str, str] = {}
    kept = {*w.record.inputs, *w.arrays}
    for output, value in w.record.outputs.items():
        name = w.use(value)
        if name in kept or name in renamed:
            w.identity(name, output)
        else:
            renamed[name] = output
    for value in w.values:
        name = w.use(value)
        if value.layer and _PLAIN.fullmatch(name) and name not in renamed:
            renamed[name] = w.name(value.layer)
    w.rename(renamed)


def value_info(w: GraphWriter, name: str, value: RecordedValue) -> Any:
    """Return what the file says of an input or output: its name, dtype, and shape."""
    shape: list[int | str | None] = []
    for n in value.shape:
        formula = formula_of(n, w.record.named) if isinstance(n, Length) else None
        is_named = formula is not None and (len(formula.names), formula.factor, formula.more) == (1, 1, 0)
        shape.append(n if isinstance(n, int) else formula.names[0] if formula and is_named else None)
    return onnx.helper.make_tensor_value_info(name, element_of_dtype(value.dtype), shape)
