"""Optimisers against ``torch.optim`` in double precision, on the same gradients; Lion against its written-out rule.

Each of 10 steps rounds a weight below 4 once (2^-23), its change of about the rate a few times (below that), and Adam's
1 - beta2^t has a relative error below 2^-25 / 0.001 (1.5e-5 of a change of 0.01 after the root): 10 * 2.7e-7 in all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import ArgumentError
from loom.nn.train.optimizers import OPTIMIZERS, Lion, Optimizer, optimizer_of, starting_state

torch = pytest.importorskip("torch")

STEPS, RATE, BOUND = 10, 0.01, 2.7e-6
B1, B2, ALPHA = (float(np.float32(v)) for v in (0.9, 0.999, 0.99))
DRAW = np.random.default_rng(11)
START = DRAW.uniform(-2, 2, (5, 7)).astype(np.float32)
GRADS = [DRAW.standard_normal((5, 7)).astype(np.float32) for _ in range(STEPS)]
FLAT_RATE = float(np.float32(RATE))


def run(optimizer: Optimizer) -> np.ndarray[Any, Any]:
    w = tensor.parameter(START, on="cpu")
    g, rate = tensor.input("g", START.shape), tensor.input("rate", ())
    state = starting_state(optimizer, {"w": w})
    powers = {k: state[f"power.{k}"] * base for k, base in optimizer.powers.items()}
    new, found = optimizer.update(w, g, rate, {k: state[f"{k}.w"] for k in optimizer.kept}, powers)
    pairs = [(w, new), *((state[f"{k}.w"], v) for k, v in found.items())]
    pairs += [(state[f"power.{k}"], v) for k, v in powers.items()]
    program = tensor.compile([], pairs)
    for grad in GRADS:
        program.run(g=grad, rate=np.float32(RATE))
    return w.numpy()


def expected(make: Any) -> np.ndarray[Any, Any]:
    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([w])
    for grad in GRADS:
        w.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
    return w.detach().numpy()


CASES = [
    ("sgd", {}, lambda w: torch.optim.SGD(w, FLAT_RATE)),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1}, lambda w: torch.optim.SGD(w, FLAT_RATE, 0.9, weight_decay=0.1)),
    ("sgd", {"momentum": 0.9, "nesterov": True}, lambda w: torch.optim.SGD(w, FLAT_RATE, 0.9, nesterov=True)),
    ("adam", {"weight_decay": 0.1}, lambda w: torch.optim.Adam(w, FLAT_RATE, (B1, B2), weight_decay=0.1)),
    ("adamw", {"weight_decay": 0.1}, lambda w: torch.optim.AdamW(w, FLAT_RATE, (B1, B2), weight_decay=0.1)),
    ("rmsprop", {"weight_decay": 0.1}, lambda w: torch.optim.RMSprop(w, FLAT_RATE, ALPHA, weight_decay=0.1)),
    ("rmsprop", {"momentum": 0.5}, lambda w: torch.optim.RMSprop(w, FLAT_RATE, ALPHA, momentum=0.5)),
]


@pytest.mark.parametrize(("name", "settings", "make"), CASES, ids=[f"{n}-{'-'.join(s)}" for n, s, _ in CASES])
def test_as_torch(name: str, settings: dict[str, Any], make: Any) -> None:
    away = np.abs(run(optimizer_of(name, **settings)) - expected(make))
    assert away.max() < BOUND, away.max()


def test_lion_as_written() -> None:
    b1, b2 = (float(np.float32(v)) for v in (0.9, 0.99))
    w, m = START.astype(np.float64), np.zeros(START.shape)
    for g in GRADS:
        w = w - FLAT_RATE * (np.sign(b1 * m + (1 - b1) * g) + 0.1 * w)
        m = b2 * m + (1 - b2) * g
    assert np.abs(run(Lion(weight_decay=0.1)) - w).max() < BOUND


def test_dampening_as_written() -> None:
    w, v = START.astype(np.float64), np.zeros(START.shape)
    for g in GRADS:
        v = 0.9 * v + 0.75 * g
        w = w - FLAT_RATE * v
    assert np.abs(run(optimizer_of("sgd", momentum=0.9, dampening=0.25)) - w).max() < BOUND


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_biases_do_not_decay(name: str) -> None:
    w, g = tensor.parameter([3.0], on="cpu"), tensor.array([0.0], on="cpu")
    optimizer = optimizer_of(name, weight_decay=0.5)
    state = starting_state(optimizer, {"w": w})
    kept = {k: state[f"{k}.w"] for k in optimizer.kept}
    new, _ = optimizer.update(w, g, tensor.array(0.1, "f32", on="cpu"), kept, {"beta1": g + 0.5, "beta2": g + 0.5})
    assert new.tolist() == [3.0]


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"\[train, optimizer\] no optimiser is called 'adm'.*'adam'"):
        optimizer_of("adm")
    with pytest.raises(ArgumentError, match=r"\[train, sgd\] no setting is called 'momentun'.*'momentum'"):
        optimizer_of("sgd", momentun=1)
    with pytest.raises(ArgumentError, match=r"momentum is out of range: expected 0 up to but not including 1, got 1.5"):
        optimizer_of("sgd", momentum=1.5)
    assert optimizer_of("sgd_momentum") == optimizer_of("sgd", momentum=0.9)
