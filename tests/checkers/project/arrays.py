"""Patterns over numpy arrays and arrays of a device, and tensors with gradients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import loom
from loom import tensor

Floats = npt.NDArray[np.float32]


def summary(x: Floats) -> dict[str, float]:
    """Return a few statistics."""
    middle = loom.stats.median(x)
    return {
        "sum": float(loom.gpu_sum(x)),
        "median": float(middle),
        "largest": x[int(loom.gpu_argmax(x))].item(),
        "norm": float(loom.gpu_norm(x)),
    }


def logistic(x: Floats) -> Floats:
    """Return ``1 / (1 + exp(-x))``, by name and by a function."""
    by_name = np.asarray(loom.gpu_map(x, "sigmoid"), np.float32)
    by_function = np.asarray(loom.gpu_map(x, lambda v: 1.0 / (1.0 + loom.exp(-v))), np.float32)
    assert np.allclose(by_name, by_function)
    return by_name


def standardised(x: Floats) -> tensor.Tensor:
    """Return columns of mean 0 and deviation 1, on the device."""
    held = loom.array(x, on="cpu")
    centred = held - held.mean(axis=0)
    return centred / tensor.sqrt((centred * centred).mean(axis=0) + 1e-6)


def descend(x: Floats, y: Floats, steps: int) -> tuple[Floats, float]:
    """Fit ``y = x w`` by steepest descent; return w and the last loss."""
    weights = tensor.parameter(np.zeros(x.shape[1], np.float32), on="cpu")
    loss = ((tensor.array(x) @ weights - tensor.array(y)) ** 2).mean()
    (slope,) = tensor.grad(loss, [weights])
    program = tensor.compile([loss], updates={weights: weights - 0.1 * slope}, on="cpu")
    for _ in range(steps):
        program.run()
    found = program.read()[0]
    return weights.numpy().astype(np.float32), float(found)


def shapes(x: tensor.Tensor) -> tuple[int, ...]:
    """Return the shape of what several methods give."""
    return x.reshape(-1).abs().sort().clip(0.0, 1.0)[:4].shape
