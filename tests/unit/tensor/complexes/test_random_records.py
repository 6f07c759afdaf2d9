"""Random records of complex operations: what numpy computes of them, and the same bits on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor

_SEEDS = range(6)
_SIZE = 4


def _both(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step that tensors and arrays take alike."""
    return lambda _, a, b: fn(a, b)


_STEPS: list[Callable[[bool, Any, Any], Any]] = [
    _both(lambda a, b: a + b),
    _both(lambda a, b: a - b * 0.5j),
    _both(lambda a, b: a * b),
    _both(lambda a, b: a / (b + 3)),
    _both(lambda a, b: a @ b),
    _both(lambda a, b: a.T - b[::-1]),
    _both(lambda a, b: a * abs(b)),
    _both(lambda a, b: a.sum(0) + b.mean(1).reshape(_SIZE, 1)),
    lambda t, a, b: tensor.where(tensor.real(a) > tensor.imag(b), a, b) if t else np.where(a.real > b.imag, a, b),
    lambda t, a, b: tensor.concat([a[1:], b[:1]]) if t else np.concatenate([a[1:], b[:1]]),
    lambda t, a, b: tensor.fft.ifft(a * 2) + b if t else np.fft.ifft(a * 2) + b,
    lambda t, a, b: tensor.conj(a) + tensor.angle(b + 4) if t else np.conj(a) + np.angle(b + 4),
    lambda t, a, b: tensor.sqrt(a) + tensor.exp(b * 0.1) if t else np.sqrt(a) + np.exp(b * 0.1),
    lambda t, a, b: tensor.log(a * a + 9) - b if t else np.log(a * a + 9) - b,
    lambda t, a, b: tensor.complex(tensor.real(a), tensor.imag(b)) if t else a.real + 1j * b.imag,
]


def _record(seed: int, values: list[Any], *, is_tensor: bool) -> Any:
    """Return the last of a dozen steps, chosen by the seed, each scaled so that numbers stay near 1."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        step = _STEPS[rng.integers(len(_STEPS))]
        a, b = (values[rng.integers(len(values))] for _ in range(2))
        made = step(is_tensor, a, b)
        values.append(made / (abs(made) * 0.25 + 1))
    return values[-1] + values[-2]


def _start(seed: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(1000 + seed)
    return [rng.normal(size=(_SIZE, _SIZE)) + 1j * rng.normal(size=(_SIZE, _SIZE)) for _ in range(3)]


@pytest.mark.parametrize("seed", [*_SEEDS, *(pytest.param(s, marks=pytest.mark.slow) for s in range(10, 60))])
def test_records_are_what_numpy_computes(seed: int) -> None:
    start = _start(seed)
    found = _record(seed, [tensor.array(x, on="interp") for x in start], is_tensor=True).numpy()
    wanted = _record(seed, list(start), is_tensor=False)
    assert np.abs(found - wanted).max() < 1e-11


def test_records_have_the_same_bits_everywhere(on: str) -> None:
    for seed in (0, 1):
        start = [x.astype(np.complex64) for x in _start(seed)]
        bits = [
            _record(seed, [tensor.array(x, on=where) for x in start], is_tensor=True).numpy().view(np.uint32)
            for where in (on, "interp")
        ]
        assert (bits[0] == bits[1]).all()
