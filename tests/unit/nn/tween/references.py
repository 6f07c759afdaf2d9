"""Neural tweening in plain numpy (f64), written from the text of the design (section 9), one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


def act(name: str, z: Array) -> Array:
    """Return an activation's values."""
    return {
        "linear": lambda: z,
        "relu": lambda: np.maximum(z, 0),
        "scaled_relu": lambda: np.maximum(1.1 * z, 0),
        "leaky_relu": lambda: np.where(z >= 0, z, 0.1 * z),
        "sigmoid": lambda: 1 / (1 + np.exp(-z)),
        "tanh": lambda: np.tanh(z),
        "softplus": lambda: np.log1p(np.exp(z)),
    }[name]()


def slope(name: str, a: Array) -> Array:
    """Return phi' of the output."""
    return {
        "linear": lambda: np.ones_like(a),
        "relu": lambda: np.where(a > 0, 1.0, 0.0),
        "scaled_relu": lambda: np.where(a > 0, 1.1, 0.0),
        "leaky_relu": lambda: np.where(a >= 0, 1.0, 0.1),
        "sigmoid": lambda: a * (1 - a) + 0.01,
        "tanh": lambda: 1 - a * a + 0.01,
        "softplus": lambda: 1 / (1 + np.exp(-a)) + 0.01,
    }[name]()


def clamp(name: str, t: Array, low: float = -10.0) -> Array:
    """Return a target within an activation's range; ``low``: that of relu."""
    if name == "tanh":
        return np.clip(t, -0.95, 0.95)
    if name == "sigmoid":
        return np.clip(t, 0.05, 0.95)
    if name in ("relu", "scaled_relu"):
        return np.clip(t, low, 10)
    return np.clip(t, -10, 10) if name == "leaky_relu" else t


def depth(k: int) -> float:
    """Return D of a layer with k above it."""
    return min(100.0, 1.2 ** (k if k <= 10 else 10 + math.log(k - 9)))


def budget(a: Array, t: Array) -> float:
    """Return the link budget of one sample."""
    a, t = a.ravel(), t.ravel()
    if not (a @ a > 0.001 and t @ t > 0.001):
        return 0.5
    return (a @ t / math.sqrt((a @ a) * (t @ t)) + 1) / 2


@dataclass
class DenseNet:
    """A chain of dense layers: weights, biases, names of activations, and the velocities."""

    w: list[Array]
    b: list[Array]
    names: list[str]
    v: list[Array]

    @classmethod
    def of(cls, weights: dict[str, Array], names: list[str]) -> DenseNet:
        """Take a network's weights as doubles."""
        w = [weights[f"layers.{i}.weight"].astype(np.float64) for i in range(len(names))]
        b = [weights[f"layers.{i}.bias"].astype(np.float64) for i in range(len(names))]
        return cls(w, b, names, [np.zeros_like(m) for m in w])

    def forward(self, x: Array) -> list[Array]:
        """Return A_0 .. A_n of one sample."""
        found = [x]
        for w, b, name in zip(self.w, self.b, self.names, strict=True):
            found.append(act(name, found[-1] @ w + b))
        return found

    def tick(self, x: Array, before: list[Array]) -> tuple[list[Array], list[Array]]:
        """Return what each layer reads, and A_1 .. A_n, all from the buffers of the tick before."""
        read = [x, *before[:-1]]
        made = [act(m, a @ w + b) for a, w, b, m in zip(read, self.w, self.b, self.names, strict=True)]
        return read, made

    def chain(self, read: list[Array], made: list[Array], target: Array, rate: float) -> list[tuple[Array, Array]]:
        """Return r x G phi' and r G phi' of each layer, neither cut yet."""
        g, n, moves = target - made[-1], len(self.w), []
        for i in reversed(range(n)):
            d = depth(n - 1 - i)
            before = g * slope(self.names[i], made[i])
            moves.insert(0, (rate * d * np.outer(read[i], before), rate * d * before))
            pushed = np.clip(before * d, -10, 10)
            g = np.clip(self.w[i] @ pushed / math.sqrt(self.w[i].shape[1]), -10, 10)
        return moves

    def gaps(self, read: list[Array], made: list[Array], target: Array, rate: float) -> list[tuple[Array, Array]]:
        """Return .01 r x gap and .1 r gap of each layer."""
        t, moves = target, []
        for i in reversed(range(len(self.w))):
            share = budget(made[i], t)
            r = 0.0 if share < 0.2 else rate * (0.5 + 0.5 * share)
            gap = t - made[i]
            moves.insert(0, (0.01 * r * np.outer(read[i], gap), 0.1 * r * gap))
            total = np.abs(self.w[i]).sum(1)
            t = np.where(total > 0.01, self.w[i] @ t / np.where(total > 0.01, total, 1), read[i])
            t = clamp(self.names[i - 1], t, 0.0) if i else t
        return moves

    def apply(self, several: list[list[tuple[Array, Array]]], cut: float) -> None:
        """Make the mean of several samples' moves."""
        for i in range(len(self.w)):
            dw = np.clip(np.mean([m[i][0] for m in several], 0), -cut, cut)
            db = np.clip(np.mean([m[i][1] for m in several], 0), -cut, cut)
            self.v[i] = 0.9 * self.v[i] + 0.1 * dw
            self.w[i] = self.w[i] + self.v[i]
            self.b[i] = self.b[i] + db


Rule = Callable[..., list[tuple[Array, Array]]]
