"""Modules of a few lines that are hard to import: functions as modules, tied weights, branches, rules of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

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


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Of(nn.Module):
    """A function of the module and its arguments, some of whose parts training writes."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
        self.register_buffer("steps", torch.zeros(()), persistent=False)

    def forward(self, x, y=None):
        return self.function(self, x) if y is None else self.function(self, x, y)


class Tied(nn.Module):
    """A matrix under two names, a branch without gradients, a part that nothing depends on, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out, self.unused = nn.Embedding(9, 6), nn.Linear(6, 9, bias=False), nn.Linear(6, 6)
        self.out.weight, self.drop = self.words.weight, nn.Dropout(0.5)
        self.register_buffer("scale", torch.tensor([2.0]))

    def forward(self, ids: torch.Tensor, more: tuple[torch.Tensor, float] | None = None) -> Any:
        x = self.words(ids)
        with torch.no_grad():
            still = x * self.scale
        y = self.out(self.drop(x) + still)
        return y if more is None else {"y": y, "sum": (y.sum(-1) + more[0], more[1] * x)}


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> Any:
        return self.one(x), self.other(z)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return x.round()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return g


class Through(nn.Module):
    def __init__(self, way: Any) -> None:
        super().__init__()
        self.way, self.dense = way, nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.way(self.dense(x))


class Branching(nn.Module):
    """One of three values, by two conditions on the lengths; the first, of some, only in training."""

    def __init__(self, rng: Any) -> None:
        super().__init__()
        self.first, self.second = (_CONDITIONS[int(rng.integers(len(_CONDITIONS)))] for _ in range(2))
        self.values = [_VALUES[int(rng.integers(len(_VALUES)))] for _ in range(3)]
        self.only_training = bool(rng.random() < 0.3)
        self.weight = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Any, y: Any) -> Any:
        n, m = x.shape
        taken = 2
        if (self.training or not self.only_training) and self.first(n, m):
            taken = 0
        elif self.second(n, m):
            taken = 1
        return self.values[taken](x, self.weight, n, m) + y.mean()


class With(nn.Module):
    """A function of a layer and its arguments."""

    def __init__(self, function):
        super().__init__()
        self.function, self.lin = function, nn.Linear(3, 3)

    def forward(self, x):
        return self.function(self, x)
