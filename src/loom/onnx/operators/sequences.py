"""Operators of sequences, optional values, and maps of scores.

Layer: onnx. Invariant: how many values a sequence has, and whether there is one, is known when the graph is recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom import tensor as lt
from loom.importers.cuts import cut_into
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.values import EMPTY, Value, ValueSequence
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator("SequenceConstruct", since=11)
def _construct(call: NodeCall) -> Made:
    return ValueSequence([call.value(i) for i in range(len(call.inputs))])


@operator("SequenceEmpty", since=11)
def _empty(call: NodeCall) -> Made:
    call.element("dtype")
    return ValueSequence([])


def _place(call: NodeCall, i: int, n: int, most: int) -> int:
    """Return a place in a sequence of n; ArgumentError for one beyond."""
    at = int(call.scalar(i))
    if not -n <= at <= most:
        raise call.refusal("a place that there is not", expected=f"{-n} to {most}", got=at)
    return at + n if at < 0 else at


@operator("SequenceInsert", since=11)
def _insert(call: NodeCall) -> Made:
    parts = list(call.parts(0))
    at = _place(call, 2, len(parts), len(parts)) if call.has_input(2) else len(parts)
    return ValueSequence([*parts[:at], call.value(1), *parts[at:]])


@operator("SequenceErase", since=11)
def _erase(call: NodeCall) -> Made:
    parts = list(call.parts(0))
    at = _place(call, 1, len(parts), len(parts) - 1) if call.has_input(1) else len(parts) - 1
    if not parts:
        raise call.refusal("nothing to erase", expected="a value", got="an empty sequence")
    return ValueSequence([*parts[:at], *parts[at + 1 :]])


@operator("SequenceAt", since=11)
def _at(call: NodeCall) -> Made:
    parts = call.parts(0)
    return parts[_place(call, 1, len(parts), len(parts) - 1)]


@operator("SequenceLength", since=11)
def _length(call: NodeCall) -> Made:
    return np.array(len(call.parts(0)), np.int64)


@operator("ConcatFromSequence", since=11)
def _concat(call: NodeCall) -> Made:
    parts = [call.scope.tensor(p) for p in call.parts(0)]
    if not parts:
        raise call.refusal("nothing to join", expected="a value", got="an empty sequence")
    is_new = call.flag("new_axis")
    axis = call.axis(call.integer("axis"), parts[0].ndim + is_new)
    return lt.stack(parts, axis) if is_new else lt.concat(parts, axis)


@operator("SplitToSequence", since=11)
def _split(call: NodeCall, x: Tensor) -> Made:
    axis, keep = call.axis(call.integer("axis", 0), x.ndim), call.flag("keepdims", 1)
    n = x.shape[axis]
    given = call.host(1) if call.has_input(1) else np.array(1)
    if given.ndim == 0:
        size = int(given)
        if size < 1:
            raise call.refusal("a part of no elements", expected="at least 1", got=size)
        sizes = [min(size, n - a) for a in range(0, n, size)]
    else:
        sizes = [int(s) for s in given]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise call.refusal("the parts are not the whole", expected=n, got=sizes)
    found = cut_into(x, axis, sizes)
    return ValueSequence(found if keep or call.has_input(1) else [lt.squeeze(p, axis) for p in found])


@operator("SequenceMap", since=17)
def _map(call: NodeCall) -> Made:
    body, first = call.body("body"), call.parts(0)
    others = [call.operand(i) for i in range(1, len(call.inputs))]
    lengths = [len(p.values) for p in others if isinstance(p, ValueSequence)]
    if any(n != len(first) for n in lengths):
        raise call.refusal("sequences of other lengths", expected=len(first), got=lengths)
    rounds: list[list[Value]] = []
    for k, value in enumerate(first):
        inputs = [value]
        for i, other in enumerate(others, start=1):
            inputs.append(call.parts(i)[k] if isinstance(other, ValueSequence) else other)
        rounds.append(call.scope.graph(body, inputs))
    return [ValueSequence([r[i] for r in rounds]) for i in range(len(body.output))]


@operator("Optional", since=15, ignores=("type",))
def _optional(call: NodeCall) -> Made:
    return call.operand(0) if call.has_input(0) else EMPTY


@operator("OptionalHasElement", since=15)
def _has(call: NodeCall) -> Made:
    return np.array(call.has_input(0) and call.operand(0) is not EMPTY)


@operator("OptionalGetElement", since=15)
def _get(call: NodeCall) -> Made:
    found = call.operand(0)
    if found is EMPTY:
        raise call.refusal("an optional value that is not there is asked for", expected="a value", got="none")
    return found


@operator("ZipMap", domain="ai.onnx.ml")
def _zip_map(call: NodeCall) -> Made:
    scores: Value = call.value(0)
    wholes, words = call.integers("classlabels_int64s", []), call.strings("classlabels_strings", [])
    labels: list[Any] = wholes or words
    if len(scores.shape) != 2 or scores.shape[1] != len(labels):
        raise call.refusal("labels do not fit", expected=scores.shape[1:], got=len(labels))

    def finish(arrays: list[Any]) -> Any:
        return [dict(zip(labels, row, strict=True)) for row in arrays[0].tolist()]

    return ValueSequence([scores], finish)
