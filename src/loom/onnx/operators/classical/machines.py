"""Support vector machines (``ai.onnx.ml``).

Layer: onnx. Invariant: distances of the radial kernel are sums of squared differences, not differences of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np

from loom import tensor as lt
from loom.core.dtype import f32
from loom.kernels.linalg.coupling import couple_pairs
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.scores import as_rows, class_labels, pick_labels, transform_scores
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_ML = "ai.onnx.ml"
_LEAST_CHANCE = 1e-7
"""Of one class against another, as libsvm bounds it."""


def _kernel(call: NodeCall, x: Tensor, vectors: Tensor) -> Tensor:
    """Return the kernel of samples and vectors: (n, vectors)."""
    kind = call.text("kernel_type", "LINEAR", ("LINEAR", "POLY", "RBF", "SIGMOID"))
    gamma, offset, degree = (*call.reals("kernel_params", []), 0.0, 0.0, 0.0)[:3]
    if kind == "RBF":
        call.check_shape((x.shape[0], *vectors.shape))
        apart = lt.expand_dims(x, 1) - vectors
        return lt.exp(lt.sum(apart * apart, axis=-1) * -gamma)
    found = lt.matmul(x, vectors, transpose_b=True)
    if kind == "LINEAR":
        return found
    found = found * gamma + offset
    return lt.tanh(found) if kind == "SIGMOID" else lt.pow(found, float(int(degree)))


def _matrix(call: NodeCall, name: str, rows: int, like: Tensor) -> Tensor:
    numbers = call.reals(name, [])
    if rows < 1 or not numbers or len(numbers) % rows:
        raise call.refusal(f"{name} do not fit", expected=f"{rows} rows", got=len(numbers))
    return call.array(np.array(numbers, np.float64).reshape(rows, -1), like.dtype)


@operator("SVMRegressor", domain=_ML)
def _svm_regressor(call: NodeCall) -> Made:
    x = as_rows(call.tensor(0))
    supports, rho = call.integer("n_supports", 0), call.reals("rho", [0.0])
    call.integer("n_targets", 1)
    coefficients = _matrix(call, "coefficients", 1, x)
    if supports:
        kernels = _kernel(call, x, _features(call, _matrix(call, "support_vectors", supports, x), x))
    else:
        kernels = _features(call, x, coefficients)
        _linear_alone(call)
    found = lt.matmul(kernels, coefficients, transpose_b=True) + rho[0]
    if call.flag("one_class"):
        found = lt.where(found > 0, lt.ones_like(found), -lt.ones_like(found))
    return lt.cast(transform_scores(call, found), "f32")


def _linear_alone(call: NodeCall) -> None:
    """Refuse another kernel than the linear one where there are no vectors."""
    call.text("kernel_type", "LINEAR", ("LINEAR",))
    call.reals("kernel_params")
    call.reals("support_vectors")


def _features(call: NodeCall, a: Tensor, b: Tensor) -> Tensor:
    """Return ``a``; ArgumentError unless both have as many features."""
    if a.shape[1] != b.shape[1]:
        raise call.refusal("another number of features", expected=b.shape[1], got=a.shape[1])
    return a


@operator("SVMClassifier", domain=_ML)
def _svm_classifier(call: NodeCall) -> Made:
    x = as_rows(call.tensor(0))
    labels = class_labels(call, "classlabels_ints")
    if labels is None:
        raise call.refusal("no labels", expected="classlabels_ints")
    each = call.integers("vectors_per_class", [])
    if not sum(each):
        coefficients, rho = _matrix(call, "coefficients", len(labels), x), call.reals("rho", [0.0])
        _linear_alone(call)
        scores = lt.matmul(x, _features(call, coefficients, x), transpose_b=True) + rho[0]
        return [pick_labels(call, labels, lt.argmax(scores, -1)), lt.cast(transform_scores(call, scores), "f32")]
    if len(each) != len(labels):
        raise call.refusal("vectors_per_class", expected=len(labels), got=len(each))
    kernels = _kernel(call, x, _features(call, _matrix(call, "support_vectors", sum(each), x), x))
    return _by_votes(call, kernels, each, labels)


def _chances(call: NodeCall, scores: Tensor, pairs: Sequence[tuple[int, int]], count: int) -> Tensor | None:
    """Return the chance of each class, f32, of those of all pairs of them; None where the model tells none."""
    a, b = call.reals("prob_a", []), call.reals("prob_b", [])
    if not (a or b):
        return None
    if len(a) != len(pairs) or len(b) != len(pairs):
        raise call.refusal("prob_a or prob_b does not fit", expected=len(pairs), got=(len(a), len(b)))
    slope, offset = (call.array(np.array(x, np.float32)) for x in (a, b))
    first = lt.clip(lt.sigmoid(-(lt.cast(scores, "f32") * slope + offset)), _LEAST_CHANCE, 1 - _LEAST_CHANCE)
    columns = {(i, j): first[:, k] for k, (i, j) in enumerate(pairs)}
    columns |= {(j, i): 1 - chance for (i, j), chance in columns.items()}
    none = lt.zeros_like(first[:, 0])
    table = lt.stack([columns.get((i, j), none) for i in range(count) for j in range(count)], 1)
    n = scores.shape[0]
    import_module("loom.runtime.calls.kernels")  # what runs kernels
    return couple_pairs(count, f32)(table, n=n, out=(n, count))


def _by_votes(call: NodeCall, kernels: Tensor, each: Sequence[int], labels: list[int]) -> Made:
    """Return labels by the votes of all pairs of classes, and the score of each pair."""
    count, rho, numbers = len(labels), call.reals("rho", []), call.reals("coefficients", [])
    total = sum(each)
    if len(rho) != count * (count - 1) // 2 or len(numbers) != (count - 1) * total:
        raise call.refusal("coefficients do not fit", expected=(count * (count - 1) // 2, (count - 1) * total),
                           got=(len(rho), len(numbers)))  # fmt: skip
    starts, table = np.cumsum([0, *each]), np.array(numbers, np.float64).reshape(count - 1, total)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    matrix = np.zeros((total, len(pairs)))
    for k, (i, j) in enumerate(pairs):
        matrix[starts[i] : starts[i + 1], k] = table[j - 1, starts[i] : starts[i + 1]]
        matrix[starts[j] : starts[j + 1], k] = table[i, starts[j] : starts[j + 1]]
    scores = lt.matmul(kernels, call.array(matrix, kernels.dtype)) + call.array(np.array(rho), kernels.dtype)
    wins = lt.cast(scores > 0, "i32")
    chances = _chances(call, scores, pairs, count)
    votes = [lt.zeros_like(wins[:, 0]) for _ in labels]
    for k, (i, j) in enumerate(pairs):
        votes[i], votes[j] = votes[i] + wins[:, k], votes[j] + (1 - wins[:, k])
    best = lt.argmax(lt.stack(votes, 1), -1)
    if chances is not None:
        return [pick_labels(call, labels, best), transform_scores(call, chances)]
    if count == 2 and call.text("post_transform", "NONE") != "PROBIT":
        scores = lt.concat([-scores, scores], 1)
    return [pick_labels(call, labels, best), lt.cast(transform_scores(call, scores), "f32")]
