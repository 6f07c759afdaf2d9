"""The normal distribution: ``ndtr``, ``log_ndtr``, ``ndtri``, and ``erfinv``.

Layer: tensor. Inverses begin with an approximation and are improved by steps of Halley's method, against functions
whose tails keep their relative accuracy. Invariant: probabilities near 1 are taken by what they lack, which is exact.

Sources: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.2.12 and 26.2.23; the series of the
inverse error function, DLMF 7.17.2.
"""

from __future__ import annotations

import math
from typing import Any

from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, where
from loom.tensor.special.given import horner, is_double, with_slope

__all__ = ["erfinv", "log_ndtr", "ndtr", "ndtri"]

_ROOT_HALF, _ROOT_TWO_PI, _HALF_LOG_TWO_PI = math.sqrt(0.5), math.sqrt(2 * math.pi), 0.5 * math.log(2 * math.pi)
_INVERSE = tuple(
    c * (math.sqrt(math.pi) / 2) ** (2 * k + 1)
    for k, c in enumerate((1.0, 1 / 3, 7 / 30, 127 / 630, 4369 / 22680, 34807 / 178200))
)
_ABOVE, _BELOW = (2.515517, 0.802853, 0.010328), (1.0, 1.432788, 0.189269, 0.001308)


def ndtr(x: Tensor) -> Tensor:
    """Return the probability of a standard normal number below x; relative accuracy down to the smallest result.

    >>> from loom import tensor
    >>> ndtr(tensor.array([0.0])).tolist()
    [0.5]
    """
    return with_slope(x, "ndtr", _ndtr, lambda x, _y: _density(x))


def _ndtr(x: Any) -> Any:
    near = apply("erf", x * _ROOT_HALF) * 0.5 + 0.5
    cut = where(abs(x) < 0.5, 1, x)
    return where(abs(x) < 0.5, near, where(x > 40, 1, apply("gelu", cut) / cut))


def _density(x: Any) -> Any:
    return apply("exp", x * x * -0.5) * (1 / _ROOT_TWO_PI)


def log_ndtr(x: Tensor) -> Tensor:
    """Return the logarithm of ``ndtr``, without underflow."""
    return with_slope(x, "log_ndtr", _log_ndtr, _hazard)


def _tail(x: Any) -> tuple[Any, Any]:
    """Return where x is far below 0, and there the series s of ndtr(x) = density(x) s / -x, elsewhere 1."""
    far = x < (-20 if is_double(x) else -10)
    w = where(far, 1 / (x * x), 0)
    terms = [1.0]
    for k in range(1, 11 if is_double(x) else 7):
        terms.append(terms[-1] * (1 - 2 * k))
    return far, horner(w, terms)


def _log_ndtr(x: Any) -> Any:
    far, series = _tail(x)
    cut = where(far, x, -1)
    below = _log_far(cut, series)
    positive = x > 0
    chance = _ndtr(where(far, 0, -abs(x)))
    return where(far, below, where(positive, apply("log1p", -chance), apply("log", chance)))


def _log_far(x: Tensor, series: Tensor) -> Tensor:
    """Return the logarithm of ndtr(x), far below 0; half of x squared may be a number where the square is none."""
    return x * -0.5 * x - (apply("log", -x) + _HALF_LOG_TWO_PI) + apply("log", series)


def _hazard(x: Any, _y: Any) -> Any:
    """Return density(x) / ndtr(x)."""
    far, series = _tail(x)
    chance = _ndtr(where(far, 0, x))
    return where(far, -x / series, _density(x) / chance)


def ndtri(p: Tensor) -> Tensor:
    """Return x with ndtr(x) = p: -inf for 0, inf for 1, NaN outside.

    >>> from loom import tensor
    >>> ndtri(tensor.array([0.0, 0.5, 1.0])).tolist()
    [-inf, 0.0, inf]
    """
    return with_slope(p, "ndtri", _ndtri, lambda _p, y: apply("exp", y * y * 0.5) * _ROOT_TWO_PI)


def _ndtri(p: Any) -> Any:
    high = p > 0.5
    q = where(high, 1 - p, p)
    far = where(q < _normal(p), _quantile_of_subnormal(q), _quantile(q))
    found = where(high, far, -far)
    found = where(apply("eq", p, 0), -math.inf, where(apply("eq", p, 1), math.inf, found))
    central = (p > 0.25) & (p < 0.75)
    found = where(central, _central(where(central, 2 * p - 1, 0)) / _ROOT_HALF, found)
    return where((p >= 0) & (p <= 1), found, math.nan)


def _quantile(q: Any) -> Any:
    """Return the number that a normal one is above with probability q, for q above 0 and up to 1 / 4."""
    q = where((q > 0) & (q <= 0.25), q, 0.25)
    x = _first_quantile(apply("log", q))
    for _ in range(3 if is_double(q) else 2):
        away = 1 - q / _ndtr(-x)  # relative, as density and q may be subnormal
        step = away * _mills(x)
        x = x + step / (1 - x * step * 0.5)
    return x


def _quantile_of_subnormal(q: Tensor) -> Tensor:
    """Return it for q below the least normal number, where ndtr has few digits and its logarithm all."""
    log = apply("log", where((q > 0) & (q < _normal(q)), q, _normal(q)))
    x = _first_quantile(log)
    for _ in range(3 if is_double(q) else 2):
        _, series = _tail(-x)
        x = x + (_log_far(-x, series) - log) * series / x
    return x


def _first_quantile(log: Tensor) -> Tensor:
    """Return the number that a normal one is above with a probability of this logarithm, to 4.5e-4."""
    t = apply("sqrt", log * -2)
    return t - horner(t, _ABOVE) / horner(t, _BELOW)


def _normal(x: Tensor) -> float:
    """Return the least normal number of a tensor's type."""
    return 2.0**-1022 if is_double(x) else 2.0**-126


def _mills(x: Any) -> Any:
    """Return ndtr(-x) / density(x) of x above 0.6."""
    return _ndtr(-x) * apply("exp", x * x * 0.25) * (apply("exp", x * x * 0.25) * _ROOT_TWO_PI)


def erfinv(x: Tensor) -> Tensor:
    """Return y with erf(y) = x: -inf for -1, inf for 1, NaN outside.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the shape of ``x``: floats keep their dtype; bools and integers give f32.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Complex numbers are refused.

    >>> from loom import tensor
    >>> erfinv(tensor.array([-1.0, 0.0, 1.0])).tolist()
    [-inf, 0.0, inf]
    """
    return with_slope(x, "erfinv", _erfinv, lambda _x, y: apply("exp", y * y) * (math.sqrt(math.pi) / 2))


def _erfinv(x: Any) -> Any:
    size = abs(x)
    central = size < 0.5
    far = _quantile((1 - size) * 0.5) * _ROOT_HALF
    far = where(apply("eq", size, 1), math.inf, far)
    found = where(central, _central(where(central, x, 0)), apply("copysign", far, x))
    return where(size <= 1, found, math.nan)


def _central(x: Any) -> Any:
    """Return the inverse error function of numbers from -1/2 to 1/2."""
    y = x * horner(x * x, _INVERSE)
    for _ in range(2 if is_double(x) else 1):
        step = (apply("erf", y) - x) * apply("exp", y * y) * (math.sqrt(math.pi) / 2)
        y = y - step / (1 + y * step)
    return y
