"""Alpha-entmax against its definition in numbers of 500 bits."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest

from loom import tensor
from loom.nn.layers.entmax import entmax

Array = np.ndarray[Any, Any]


def _by_definition(z: Array, alpha: float) -> Array:
    """Return [(alpha - 1) z - tau]+ ^ (1 / (alpha - 1)), tau by halving."""
    with mp.workprec(500):
        slope, values = mp.mpf(alpha) - 1, [mp.mpf(float(v)) for v in z]
        raised = [slope * (v - max(values)) for v in values]
        low, high = mp.mpf(0), mp.mpf(1)
        for _ in range(450):
            t = (low + high) / 2
            inside = mp.fsum((t + r) ** (1 / slope) for r in raised if t + r > 0) < 1
            low, high = (t, high) if inside else (low, t)
        return np.array([float((low + r) ** (1 / slope)) if low + r > 0 else 0.0 for r in raised])


@pytest.mark.parametrize("alpha", [2.5, 5.0, 12.0])
def test_every_digit_counts(alpha: float) -> None:
    rng = np.random.default_rng(8)
    for dtype, bar in (("f4", 2.0**-20), ("f8", 2.0**-45)):
        for size, spread in ((3, 1.0), (9, 0.05)):
            z = (rng.standard_normal(size) * spread).astype(dtype)
            found = entmax(tensor.array(z[None], on="cpu"), alpha).numpy()[0]
            assert abs(found - _by_definition(z, alpha)).max() <= bar


def test_ties_and_what_is_masked() -> None:
    z = np.array([[0.0] * 40, [1.0, 1.0, *[-np.inf] * 38], [3.0, *[0.0] * 39]], np.float32)
    for alpha in (4.0, 100.0):
        found = entmax(tensor.array(z, on="cpu"), alpha).numpy()
        assert found[0] == pytest.approx(1 / 40, rel=1e-6)
        assert found[1].tolist() == [0.5, 0.5, *[0.0] * 38]
        assert found[2].tolist() == [1.0, *[0.0] * 39]


@pytest.mark.parametrize("alpha", [2.5, 5.0, 20.0])
def test_gradients_stay_finite_and_right(alpha: float) -> None:
    """Against difference quotients of the result, also where a result is so small that its slope has no float."""
    z = np.array([[0.1, 0.0, -0.02, -3.0], [0.05252, 0.0, -9.0, -9.0]])
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    wanted = np.zeros_like(z)
    for at in np.ndindex(z.shape):
        for sign in (1, -1):
            moved = z.copy()
            moved[at] += sign * 1e-7
            wanted[at] += sign * (entmax(tensor.array(moved, on="cpu"), alpha).numpy() * weights).sum() / 2e-7
    for dtype, bar in (("f8", 1e-5), ("f4", 1e-3)):
        p = tensor.parameter(z.astype(dtype), on="cpu")
        found = tensor.grad((entmax(p, alpha) * tensor.array(weights.astype(dtype), on="cpu")).sum(), [p])[0].numpy()
        assert found == pytest.approx(wanted, rel=bar, abs=bar)
