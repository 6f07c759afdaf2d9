"""Operators whose number of results the elements decide: boxes that are kept.

Layer: onnx. Invariant: computed on the host, in f32 and in the order of the scores; results are the same anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.onnx.registry import Made, NodeCall, operator

__all__: list[str] = []

_Numbers = np.ndarray[Any, Any]


def _corners(boxes: _Numbers, is_centred: bool) -> _Numbers:
    """Return boxes as (y1, x1, y2, x2), the smaller numbers first."""
    if is_centred:
        x, y, w, h = boxes.T
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], 1)
    a, b = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], 1)


def _overlaps(box: _Numbers, others: _Numbers) -> _Numbers:
    """Return the intersection of a box and others, divided by their union."""
    sides = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    common = sides[:, 0] * sides[:, 1]
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + areas - common
    return np.where(union > 0, common / np.where(union > 0, union, 1), 0)


def _suppress(boxes: _Numbers, scores: _Numbers, most: int, bound: float, least: float | None) -> list[int]:
    order = [int(i) for i in np.argsort(-scores, kind="stable") if least is None or scores[i] > least]
    found: list[int] = []
    for i in order:
        if len(found) >= most:
            break
        if not found or not (_overlaps(boxes[i], boxes[found]) > bound).any():
            found.append(i)
    return found


@operator("NonMaxSuppression", since=10)
def _non_max_suppression(call: NodeCall) -> Made:
    boxes, scores = call.host(0), call.host(1)
    most = int(call.scalar(2)) if call.has_input(2) else 0
    bound = float(call.scalar(3)) if call.has_input(3) else 0.0
    least = float(call.scalar(4)) if call.has_input(4) else None
    is_centred = bool(call.integer("center_point_box", 0))
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape != (scores.shape[0], scores.shape[2], 4):
        raise call.refusal("the shapes do not fit", expected="(n, boxes, 4) and (n, classes, boxes)",
                           got=f"{boxes.shape} and {scores.shape}")  # fmt: skip
    found = [
        (n, c, i)
        for n in range(len(boxes))
        for c in range(scores.shape[1])
        for i in _suppress(_corners(boxes[n], is_centred), scores[n, c], most, bound, least)
    ]
    return np.array(found, np.int64).reshape(-1, 3)
