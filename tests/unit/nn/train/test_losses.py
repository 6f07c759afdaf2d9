"""Losses against their formulas in double precision, of logits and of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import ArgumentError, ShapeError
from loom.nn.train.losses import LOSSES, loss_of

DRAW = np.random.default_rng(5)
X = DRAW.standard_normal((6, 4)).astype(np.float32)
P = np.exp(X.astype(np.float64)) / np.exp(X.astype(np.float64)).sum(1, keepdims=True)
T = DRAW.uniform(0, 1, (6, 4)).astype(np.float32)
CLASSES = np.array([0, 3, 1, 2, 2, 0], np.int32)
AWAY = np.abs(X.astype(np.float64) - T)
SIGMOID = 1 / (1 + np.exp(-X.astype(np.float64)))
RIGHT = P[np.arange(6), CLASSES]

CASES: list[tuple[str, bool, Any, Any, float]] = [
    ("mse", False, X, T, (AWAY**2).mean()),
    ("mae", False, X, T, AWAY.mean()),
    ("huber", False, X, T, np.where(AWAY <= 1, AWAY**2 / 2, AWAY - 0.5).mean()),
    ("cross_entropy", False, X, CLASSES, -np.log(RIGHT).mean()),
    ("cross_entropy", False, X, T, -(np.log(P) * T).sum(1).mean()),
    ("cross_entropy", True, P, CLASSES, -np.log(RIGHT).mean()),
    ("cross_entropy", True, P, T, -(np.log(P) * T).sum(1).mean()),
    ("binary_cross_entropy", False, X, T, -(T * np.log(SIGMOID) + (1 - T) * np.log(1 - SIGMOID)).mean()),
    ("binary_cross_entropy", True, SIGMOID, T, -(T * np.log(SIGMOID) + (1 - T) * np.log(1 - SIGMOID)).mean()),
    ("nll", False, np.log(P), CLASSES, -np.log(RIGHT).mean()),
]


@pytest.mark.parametrize(("name", "probabilities", "x", "target", "expected"), CASES)
def test_formula(name: str, probabilities: bool, x: Any, target: Any, expected: float) -> None:
    x, target = tensor.array(x.astype(np.float32), on="cpu"), tensor.array(target, on="cpu")
    assert loss_of(name, probabilities=probabilities)(x, target).item() == pytest.approx(expected, rel=2e-6)


def test_certain_and_wrong_probabilities_give_finite_losses_and_gradients() -> None:
    p = tensor.parameter(np.array([[0.0, 1.0]], np.float32), on="cpu")
    loss = loss_of("cross_entropy", probabilities=True)(p, tensor.array(np.array([0], np.int32), on="cpu"))
    assert loss.item() == pytest.approx(40 * np.log(2))
    assert np.isfinite(tensor.grad(loss, [p])[0].numpy()).all()
    right = loss_of("cross_entropy", probabilities=True)(p, tensor.array(np.array([1], np.int32), on="cpu"))
    assert right.item() == 0.0


def test_errors() -> None:
    assert set(LOSSES) == {"mse", "mae", "huber", "cross_entropy", "binary_cross_entropy", "nll"}
    with pytest.raises(ArgumentError, match=r"\[train, loss\] no loss is called 'crossentropy'.*'cross_entropy'"):
        loss_of("crossentropy")
    with pytest.raises(ShapeError, match="prediction and target differ in shape"):
        loss_of("cross_entropy", probabilities=True)(tensor.array(X, on="cpu"), tensor.array(T[:, :2], on="cpu"))
