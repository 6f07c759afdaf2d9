"""Random modules that branch on their lengths: every length is right, in evaluation and in training, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError

torch = pytest.importorskip("torch")
functional = torch.nn.functional

_CONDITIONS: tuple[Callable[[int, int], Any], ...] = (
    lambda n, m: n == 1, lambda n, m: n == 0, lambda n, m: n == 5, lambda n, m: n > 3, lambda n, m: n % 2 == 0,
    lambda n, m: n != 2, lambda n, m: n >= 2, lambda n, m: m == 1, lambda n, m: m > 6, lambda n, m: n == m,
    lambda n, m: n + m == 8, lambda n, m: n * m > 9, lambda n, m: n // 2 == 1, lambda n, m: min(n, m) == 1,
    lambda n, m: n < m, lambda n, m: m == 0, lambda n, m: n == 1 and m == 1, lambda n, m: n == 1 or m > 3,
    lambda n, m: n > 1,
)  # fmt: skip
_VALUES: tuple[Callable[[Any, Any, Any, Any], Any], ...] = (
    lambda x, w, n, m: x * 2 * w, lambda x, w, n, m: x - n, lambda x, w, n, m: x * torch.tensor(7.0),
    lambda x, w, n, m: x.flip(0), lambda x, w, n, m: x + torch.arange(n)[:, None], lambda x, w, n, m: x * m + w,
    lambda x, w, n, m: x[: max(n - 1, 1)].sum(0) + x, lambda x, w, n, m: x.reshape(-1).reshape(n, m),
    lambda x, w, n, m: x * (n // 2), lambda x, w, n, m: x.cumsum(0) * w, lambda x, w, n, m: x.expand(n, m) * w,
    lambda x, w, n, m: functional.pad(x, (0, 0, 1 if n == 1 else 0, 0))[-n:] if n else x,
    lambda x, w, n, m: x.mean(0, keepdim=True).expand(n, m) if n > 0 else x,
    lambda x, w, n, m: x.sum(0).expand(3 if n == 1 else n, m) if m else x,
)  # fmt: skip


class _Branching(torch.nn.Module):
    """One of three values, by two conditions on the lengths; the first, of some, only in training."""

    def __init__(self, rng: Any) -> None:
        super().__init__()
        self.first, self.second = (_CONDITIONS[int(rng.integers(len(_CONDITIONS)))] for _ in range(2))
        self.values = [_VALUES[int(rng.integers(len(_VALUES)))] for _ in range(3)]
        self.only_training = bool(rng.random() < 0.3)
        self.weight = torch.nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Any, y: Any) -> Any:
        n, m = x.shape
        taken = 2
        if (self.training or not self.only_training) and self.first(n, m):
            taken = 0
        elif self.second(n, m):
            taken = 1
        return self.values[taken](x, self.weight, n, m) + y.mean()


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
        module = _Branching(rng)
        model = _imported(module, how)
        if model is None:
            continue
        for n in range(6):
            for m in (7,) if how == "batch" else (0, 1, 2, 7):
                answered += sum(_check(model, module, (n, m), training=t) for t in (False, True))
    assert answered or seed in _NEVER


_NEVER: tuple[int, ...] = ()
"""Seeds all of whose modules PyTorch cannot trace with free lengths."""
