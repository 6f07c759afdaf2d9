"""Random modules that branch on their lengths: every length is right, in evaluation and in training, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError
from unit.pytorch import odd_modules

torch = pytest.importorskip("torch")


def _imported(module: Any, how: str) -> Any:
    """Return a model; None for a module whose lengths are under conditions that no range tells."""
    x, auto = torch.randn(4, 7), torch.export.Dim.AUTO
    free: dict[str, Any] = {
        "batch": None, "both": {0: "batch", 1: "width"}, "auto": {0: auto, 1: auto},
    }  # fmt: skip
    axes = free[how]
    try:
        return loom.from_torch(module, (x, x + 1), dynamic=None if axes is None else {"x": axes, "y": axes})
    except ArgumentError:
        return None


def _check(model: Any, module: Any, shape: tuple[int, int], *, training: bool) -> bool:
    """Return whether a call is answered; AssertionError if it is, and wrong."""
    x, y = torch.randn(2, *shape)
    given = {name: loom.tensor.array(a.numpy()) for name, a in (("x", x), ("y", y))}
    try:
        made = next(iter(model.apply_all(given, training=True).values())).numpy() if training else model(x, y)
    except LoomError:
        return False
    wanted = module.train(training)(x, y).detach().numpy()
    assert made.shape == wanted.shape, (shape, training)
    assert np.allclose(made, wanted, equal_nan=True, atol=1e-5), (shape, training)
    return True


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(12))
def test_modules_that_branch_on_lengths_are_right_or_refused(seed: int) -> None:
    rng, answered = np.random.default_rng(seed), 0
    for how in ("batch", "both", "auto"):
        module = odd_modules.Branching(rng)
        model = _imported(module, how)
        if model is None:
            continue
        for n in range(6):
            for m in (7,) if how == "batch" else (0, 1, 2, 7):
                answered += sum(_check(model, module, (n, m), training=t) for t in (False, True))
    assert answered or seed in _NEVER


_NEVER: tuple[int, ...] = ()
"""Seeds all of whose modules PyTorch cannot trace with free lengths."""
