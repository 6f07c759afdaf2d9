"""The harness itself: it must see what is wrong, and not what is right."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from functions import ulps
from functions.ulps import errors, exact_errors, measured, sample
from loom.core.dtype import f32
from loom.kernels.functions import exponential, function
from loom.patterns.maps.map import gpu_map

_INF, _NAN = float("inf"), float("nan")


def test_errors_in_ulps() -> None:
    # result, true value, error: binades, subnormals, overflow, NaN, signs of zero
    rows = [
        (1.0, 1.0 + 2.0**-24, 0.5), (1.0, 1.0 - 2.0**-25, 0.5), (2.0, 2.0 - 2.0**-23, 1.0), (0.0, 2.0**-150, 0.5),
        (2.0**-149, 2.0**-150, 0.5), (2.0**-126, 2.0**-126 + 2.0**-149, 1.0), (_INF, 2.0**128 - 2.0**104, 1.0),
        (_INF, 1e300, 0.0), (2.0**127, 1e300, 2.0**23), (_NAN, _NAN, 0.0), (_NAN, 1.0, _INF), (1.0, _NAN, _INF),
        (0.0, -0.0, _INF), (-0.0, -0.0, 0.0), (_INF, -_INF, _INF),
    ]  # fmt: skip
    got, want, expected = (np.array(column) for column in zip(*rows, strict=True))
    assert errors(got.astype(np.float32), want).tolist() == expected.tolist()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_exact_errors_agree_with_a_hand_made_one(kind: type) -> None:
    x = np.array([1.0, -80.0, 0.5], kind)
    one = [float(mp.exp(mp.mpf(float(v)))) for v in x]
    right = np.array(one, kind)
    assert exact_errors("exp", right, x).max() <= 0.5
    assert exact_errors("exp", np.nextafter(right, kind(9)), x).min() >= 0.5
    assert exact_errors("exp", np.nextafter(right, kind(9)), x).max() <= 1.5


def test_every_exponent_is_sampled() -> None:
    bits = sample("exp", f32, size=20_000).view(np.uint32)
    assert np.unique(bits >> 23).size == 512
    assert {0, 0x80000000, 0x7F800000, 0xFF800000} <= set(bits.tolist())


@pytest.mark.parametrize("position", range(5))
def test_a_coefficient_one_ulp_worse_is_noticed(position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each coefficient of exp in turn is moved by what shifts the result by one ulp at the end of the interval."""
    table = list(exponential.EXP)
    table[position] += 2.0**-23 / 0.3466 ** (position + 2)
    worse = tuple(table)

    def mutant(x):  # type: ignore[no-untyped-def]
        n, r = exponential.reduce_argument(exponential.clamp(x, -104.0, 89.0))
        return exponential.scale_by_power(1.0 + (r + (r * r) * exponential.horner(r, worse)), n)

    monkeypatch.setattr(ulps, "evaluate", lambda _name, x: np.asarray(gpu_map(x, mutant)))
    bar = function("exp").ulps[f32]
    assert measured("exp", bar, sample("exp", f32, size=100_000)).ulps > bar
