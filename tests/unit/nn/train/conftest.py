"""A model of two dense layers, as little as training needs of one; and samples of three classes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor


class TwoLayers:
    def __init__(self, sizes: tuple[int, int, int] = (4, 8, 3), on: str = "cpu", seed: int = 7) -> None:
        draw = np.random.default_rng(seed)
        a, b, c = sizes
        shapes = {"a.weight": (a, b), "a.bias": (b,), "b.weight": (b, c), "b.bias": (c,)}
        self.parameters = {
            n: tensor.parameter((draw.standard_normal(s) * 0.5).astype(np.float32), name=n, on=on)
            for n, s in shapes.items()
        }
        self.state_updates: list[Any] = []
        self.lock = threading.RLock()

    def apply(self, x: Any, *, training: bool, step: Any = None) -> Any:
        p = self.parameters
        return (x @ p["a.weight"] + p["a.bias"]).tanh() @ p["b.weight"] + p["b.bias"]

    def load(self, weights: dict[str, Any]) -> None:
        for name, value in weights.items():
            self.parameters[name].assign(value)

    def weights(self) -> dict[str, Any]:
        return {n: p.numpy() for n, p in self.parameters.items()}


@pytest.fixture
def two_layers() -> type[TwoLayers]:
    return TwoLayers


@pytest.fixture
def samples() -> tuple[Any, Any]:
    x = np.random.default_rng(3).standard_normal((20, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0).astype(np.int32)


@pytest.fixture
def digest() -> Callable[[dict[str, Any]], str]:
    def of(arrays: dict[str, Any]) -> str:
        return hashlib.sha256(b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays))).hexdigest()

    return of
