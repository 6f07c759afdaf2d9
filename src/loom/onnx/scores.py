"""Scores and labels of classical models: what comes after their sums.

Layer: onnx. Invariant: labels that are texts are refused by name.
"""

from __future__ import annotations

import math

import numpy as np

from loom import tensor as lt
from loom.onnx.registry import NodeCall
from loom.tensor.arrays.tensor import Tensor

__all__ = ["TRANSFORMS", "as_float", "as_rows", "class_labels", "pick_labels", "transform_scores"]

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
"""What ``post_transform`` may be."""


def as_float(x: Tensor) -> Tensor:
    """Return numbers as f32, f64 as they are."""
    return x if x.dtype.name == "f64" else lt.cast(x, "f32")


def as_rows(x: Tensor) -> Tensor:
    """Return samples as rows of f32, f64 as they are; one sample is a row."""
    x = as_float(x)
    return x if x.ndim == 2 else lt.reshape(x, (1, -1))


def transform_scores(call: NodeCall, scores: Tensor, default: str = "NONE") -> Tensor:
    """Return scores (n, k) after the node's ``post_transform``."""
    kind = call.text("post_transform", default, TRANSFORMS)
    if kind == "SOFTMAX":
        return lt.softmax(scores, -1)
    if kind == "LOGISTIC":
        return lt.sigmoid(scores)
    if kind == "SOFTMAX_ZERO":
        most = lt.max(scores, axis=-1, keepdims=True)
        e = lt.where(lt.abs(scores) > 1e-7, lt.exp(scores - most), scores * lt.exp(-most))
        total = lt.sum(e, axis=-1, keepdims=True)
        return lt.where(lt.equal(total, 0), lt.full((), 0.5, e.dtype), e / total)
    return _probit(scores) if kind == "PROBIT" else scores


def _probit(p: Tensor) -> Tensor:
    """Return sqrt(2) times the inverse of erf at 2 p - 1. Source: S. Winitzki (2008), a = 0.147, as ONNX has it."""
    x = p * 2 - 1
    log = lt.log((1 - x) * (1 + x))
    v = log * 0.5 + 2 / (math.pi * 0.147)
    root = lt.sqrt(lt.sqrt(v * v - log * (1 / 0.147)) - v) * 1.41421356
    return lt.where(lt.equal(x, 0), lt.zeros_like(x), lt.where(x < 0, -root, root))


def class_labels(call: NodeCall, name: str) -> list[int] | None:
    """Return labels that are whole numbers, None if there are none; ArgumentError for texts."""
    if call.has("classlabels_strings"):
        texts = call.strings("classlabels_strings")
        if texts:
            raise call.refusal("labels that are texts", expected=name, got="classlabels_strings")
    return call.integers(name) or None


def pick_labels(call: NodeCall, labels: list[int] | None, at: Tensor) -> Tensor:
    """Return the labels at places, i64."""
    at = lt.cast(at, "i64")
    return at if labels is None else lt.take(call.array(np.array(labels, np.int64)), at, 0)
