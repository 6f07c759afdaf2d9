"""Control flow: a branch that is taken, loops that are unrolled.

Layer: onnx. Invariant: conditions and counts are known when the graph is recorded; where inputs decide them, a program
is compiled for their values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.values import Value

__all__: list[str] = []

_MOST_ROUNDS = 1 << 16


@operator("If")
def _if(call: NodeCall) -> Made:
    yes, no = call.body("then_branch"), call.body("else_branch")
    return call.scope.graph(yes if bool(call.scalar(0)) else no, [])


@operator("Loop")
def _loop(call: NodeCall) -> Made:
    body = call.body("body")
    most = int(call.scalar(0)) if call.has_input(0) else None
    going = bool(call.scalar(1)) if call.has_input(1) else True
    carried: list[Any] = [call.operand(i) for i in range(2, len(call.inputs))]
    rounds: list[list[Any]] = []
    while going and (most is None or len(rounds) < most):
        if len(rounds) >= _MOST_ROUNDS:
            raise call.refusal("a loop is unrolled into too many rounds", expected=_MOST_ROUNDS, got="more")
        inputs = [np.array(len(rounds), np.int64), np.array(True), *carried]
        found = call.scope.graph(body, inputs)
        going = bool(call.numbers_of(found[0]).reshape(-1)[0])
        carried, kept = found[1 : 1 + len(carried)], found[1 + len(carried) :]
        rounds.append(kept)
    return [*carried, *_stack(call, rounds, len(body.output) - 1 - len(carried), [0], [0])]


def _stack(call: NodeCall, rounds: list[list[Value]], count: int, axes: list[int], back: list[int]) -> list[Value]:
    if count and not rounds:
        raise call.refusal("a loop of no rounds has outputs without a shape", expected="at least 1 round", got=0)
    found: list[Value] = []
    for i in range(count):
        parts = [call.scope.tensor(r[i]) for r in rounds]
        axis = axes[i % len(axes)]
        axis += parts[0].ndim + 1 if axis < 0 else 0
        found.append(lt.stack(parts[::-1] if back[i % len(back)] else parts, axis))
    return found


@operator("Scan", since=9)
def _scan(call: NodeCall) -> Made:
    body, count = call.body("body"), call.integer("num_scan_inputs")
    states: list[Value] = [call.value(i) for i in range(len(call.inputs) - count)]
    scanned = [call.tensor(i) for i in range(len(call.inputs) - count, len(call.inputs))]
    outputs = len(body.output) - len(states)
    in_axes, out_axes = call.integers("scan_input_axes", [0] * count), call.integers("scan_output_axes", [0] * outputs)
    in_back = call.integers("scan_input_directions", [0] * count)
    out_back = call.integers("scan_output_directions", [0] * outputs)
    axes = [call.axis(a, x.ndim) for a, x in zip(in_axes, scanned, strict=True)]
    lengths = {x.shape[a] for a, x in zip(axes, scanned, strict=True)}
    if len(lengths) != 1 or max(lengths) > _MOST_ROUNDS:
        raise call.refusal("scanned inputs are not as long as each other", expected=_MOST_ROUNDS, got=lengths)
    length = lengths.pop()
    rounds: list[list[Value]] = []
    for i in range(length):
        parts: list[Any] = [
            x[(slice(None),) * a + (length - 1 - i if back else i,)]
            for x, a, back in zip(scanned, axes, in_back, strict=True)
        ]
        found = call.scope.graph(body, [*states, *parts])
        states, kept = found[: len(states)], found[len(states) :]
        rounds.append(kept)
    return [*states, *_stack(call, rounds, outputs, out_axes or [0], out_back or [0])]
