"""Windows' largest elements, place by place: the same bits as the reduction of the windows, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest

from loom import tensor
from loom.core.numerics import canonical_bits
from loom.tensor.arrays.convolution import window_max

SHAPES = [
    ((2, 7, 3), (1,), (3,), (2,)),
    ((1, 6, 8, 2), (1, 2), (2, 3), (3, 1)),
    ((5, 4, 4), (0, 2), (1, 4), (2, 1)),
    ((1, 4, 4, 4, 2), (1, 2, 3), (2, 2, 2), (2, 1, 2)),
    ((1, 12, 12), (1, 2), (9, 9), (1, 2)),  # too many places to compare one by one
]
SPECIAL = np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 1.0, 1.0], np.float32)


def sample(shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    x = rng.integers(-3, 3, shape).astype(np.float32)
    return np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), x)


@pytest.mark.parametrize(("shape", "axes", "sizes", "steps"), SHAPES)
@pytest.mark.parametrize("dtype", ["f32", "f16", "i32"])
def test_the_largest_of_each_window(shape: tuple, axes: tuple, sizes: tuple, steps: tuple, dtype: str) -> None:
    values = sample(shape)
    values = np.nan_to_num(values, posinf=9, neginf=-9).astype(np.int32) if dtype == "i32" else values
    x = tensor.array(values, dtype)
    found = window_max(x, axes, sizes, steps).numpy()
    seen = np.lib.stride_tricks.sliding_window_view(x.numpy(), sizes, axes)
    picked = [slice(None)] * seen.ndim
    for a, step in zip(axes, steps, strict=True):
        picked[a] = slice(None, None, step)
    expected = seen[tuple(picked)].max(axis=tuple(range(len(shape), seen.ndim)))
    np.testing.assert_array_equal(found, expected)  # -0 and 0 apart, which numpy does not tell
    whole = tensor.windows(x, axes, sizes, steps).max(tuple(range(len(shape), seen.ndim))).numpy()
    assert np.array_equal(canonical_bits(found), canonical_bits(whole))


@pytest.mark.parametrize(("shape", "axes", "sizes", "steps"), SHAPES)
def test_the_first_of_several_has_the_gradient(shape: tuple, axes: tuple, sizes: tuple, steps: tuple) -> None:
    values = np.nan_to_num(sample(shape), posinf=9, neginf=-9) + 0.0
    x = tensor.parameter(values)
    found = window_max(x, axes, sizes, steps)
    weights = np.random.default_rng(1).standard_normal(found.shape).astype(np.float32)
    got = tensor.grad((found * tensor.array(weights)).sum(), [x])[0].numpy()
    expected = np.zeros(shape)
    for at in np.ndindex(*found.shape):
        place = [slice(i, i + 1) for i in at]
        for a, size, step in zip(axes, sizes, steps, strict=True):
            place[a] = slice(at[a] * step, at[a] * step + size)
        window = values[tuple(place)]
        first = np.unravel_index(window.argmax(), window.shape)
        expected[tuple(s.start + i for s, i in zip(place, first, strict=True))] += weights[at]
    np.testing.assert_allclose(got, expected, atol=1e-5)
