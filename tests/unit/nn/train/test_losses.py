"""Losses against their formulas, PyTorch's and finite differences, of logits and of probabilities."""

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


def _torch_loss(name: str, probabilities: bool, x: Any, target: Any) -> Any:
    """PyTorch's loss; of probabilities, that of their logarithms."""
    torch: Any = pytest.importorskip("torch")
    of = torch.nn.functional
    if name == "cross_entropy" and probabilities:
        return -(x.log() * target).sum(-1).mean() if target.is_floating_point() else of.nll_loss(x.log(), target)
    if name == "binary_cross_entropy":
        return (of.binary_cross_entropy if probabilities else of.binary_cross_entropy_with_logits)(x, target)
    names = {"mse": "mse_loss", "mae": "l1_loss", "huber": "huber_loss", "nll": "nll_loss"}
    return getattr(of, names.get(name, name))(x, target)


@pytest.mark.parametrize(("name", "probabilities", "x", "target", "expected"), CASES)
def test_gradients(name: str, probabilities: bool, x: Any, target: Any, expected: float) -> None:
    """In f64; the 2^-40 that is added to probabilities moves losses and slopes by 1e-12 / p^2, p above 0.01."""
    x = x.astype(np.float64)
    t = tensor.array(target.astype(np.float64 if target.dtype.kind == "f" else np.int32), on="cpu")
    w = tensor.parameter(x, "f64", on="cpu")
    loss = loss_of(name, probabilities=probabilities)(w, t)
    program = tensor.compile([loss, *tensor.grad(loss, [w])])
    program.run()
    value, gradient = program.read()
    assert value == pytest.approx(expected, rel=1e-7)  # T in f32
    for at in np.ndindex(x.shape):
        ends = []
        for away in (1e-6, -1e-6):
            moved = x.copy()
            moved[at] += away
            w.assign(moved)
            program.run()
            ends.append(float(program.read()[0]))
        assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-8), at
    torch: Any = pytest.importorskip("torch")
    given = torch.tensor(x, requires_grad=True)
    wanted = _torch_loss(
        name, probabilities, given, torch.tensor(target.astype(np.float64 if target.dtype.kind == "f" else np.int64))
    )
    wanted.backward()
    assert value == pytest.approx(wanted.item(), rel=1e-8 if probabilities else 1e-13)
    np.testing.assert_allclose(gradient, given.grad.numpy(), rtol=1e-8 if probabilities else 1e-12, atol=1e-14)


def test_every_loss_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(LOSSES)
    assert {name for name, probabilities, *_ in CASES if probabilities} == {"cross_entropy", "binary_cross_entropy"}


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
