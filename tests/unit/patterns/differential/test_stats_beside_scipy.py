"""``loom.stats`` beside numpy and scipy over drawn numbers, types, layouts and arguments."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats as reference

import loom
from deferred import functions_of
from loom import stats
from loom.core.errors import LoomError
from unit.patterns.differential.drawing import (
    FLOATS,
    KINDS,
    LENGTHS,
    TYPES,
    difference,
    laid_out,
    numbers,
    one_of,
    typed,
)

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_NONE: Arguments = ((), {})


def _axis(draw: Any, x: Any) -> Any:
    return one_of(draw, (None, -1, 0, x.ndim - 1))


def _with_ddof(draw: Any, x: Any) -> Arguments:
    return (_axis(draw, x),), {"ddof": int(draw.integers(0, 2))}


def _bias(draw: Any, _x: Any) -> Arguments:
    return (), {"unbiased": bool(draw.integers(0, 2))}


def _other(draw: Any, x: Any) -> Arguments:
    return (typed(numbers(draw, x.shape, one_of(draw, KINDS)), x.dtype.newbyteorder("=").name),), {}


def _minmax(x: Any, axis: Any) -> Any:
    span = x.max(axis, keepdims=True) - x.min(axis, keepdims=True)
    return (x - x.min(axis, keepdims=True)) / np.where(span == 0, 1, span)


def _autocorrelation(x: Any, lags: int) -> Any:
    away = x - x.mean() if x.max() != x.min() else x * np.nan
    return np.array([(away[: len(x) - k] * away[k:]).sum() for k in range(lags + 1)]) / (away * away).sum()


def _level(found: Any, *sides: Any) -> Any:
    """NaN where a side does not vary: scipy has what rounding leaves there."""
    flat = np.any([side.max(-1) == side.min(-1) for side in sides], axis=0)
    return np.where(flat, np.nan, found)


def _correlation(x: Any, y: Any) -> Any:
    return _level(np.corrcoef(x.ravel(), y.ravel())[0, 1], x.ravel(), y.ravel())


def _zscore(x: Any, axis: Any, ddof: int) -> Any:
    found = (x - x.mean(axis, keepdims=True)) / x.std(axis, ddof=ddof, keepdims=True)
    return np.where(x.max(axis, keepdims=True) == x.min(axis, keepdims=True), np.nan, found)


CASES: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], Arguments]]] = {
    "mean": (np.mean, lambda draw, x: ((_axis(draw, x),), {})),
    "variance": (np.var, _with_ddof),
    "std": (np.std, _with_ddof),
    "zscore": (_zscore, _with_ddof),
    "median": (np.median, lambda draw, x: ((_axis(draw, x),), {})),
    "quantile": (np.quantile, lambda draw, x: ((one_of(draw, (0.25, [0.1, 0.9], [], 1, 0.0)), _axis(draw, x)), {})),
    "skew": (lambda x, unbiased: _level(reference.skew(x, -1, bias=not unbiased), x), _bias),
    "kurtosis": (lambda x, unbiased: _level(reference.kurtosis(x, -1, bias=not unbiased), x), _bias),
    "moment": (lambda x, order: reference.moment(x, order, -1), lambda draw, x: ((int(draw.integers(2, 5)),), {})),
    "sem": (lambda x, ddof: x.std(-1, ddof=ddof) / np.sqrt(x.shape[-1]),
            lambda draw, x: ((), {"ddof": int(draw.integers(0, 2))})),
    "iqr": (lambda x: reference.iqr(x, -1), lambda draw, x: _NONE),
    "median_abs_deviation": (lambda x: reference.median_abs_deviation(x, -1), lambda draw, x: _NONE),
    "gmean": (lambda x: reference.gmean(x, -1), lambda draw, x: _NONE),
    "hmean": (lambda x: reference.hmean(x, -1), lambda draw, x: _NONE),
    "mode": (lambda x: reference.mode(x, -1).mode, lambda draw, x: _NONE),
    "entropy": (lambda x, base: reference.entropy(x, base=base, axis=-1),
                lambda draw, x: ((), {"base": one_of(draw, (None, 2, 10.0))})),
    "trim_mean": (lambda x, share: reference.trim_mean(x, share, -1),
                  lambda draw, x: ((one_of(draw, (0, 0.1, 0.25, 0.45)),), {})),
    "rank": (lambda x, method: reference.rankdata(x, method, axis=-1),
             lambda draw, x: ((one_of(draw, ("average", "min", "max", "dense", "ordinal")),), {})),
    "logsumexp": (functions_of(scipy.special).logsumexp, lambda draw, x: ((_axis(draw, x),), {})),
    "minmax": (_minmax, lambda draw, x: ((_axis(draw, x),), {})),
    "histogram": (np.histogram, lambda draw, x: (one_of(draw, ((7, (-1.0, 2.0)), ([-1.0, 0.5, 1.5],), (4,))), {})),
    "autocorrelation": (_autocorrelation, lambda draw, x: ((int(draw.integers(0, min(4, x.size))),), {})),
    "correlation": (_correlation, _other),
    "spearman": (lambda x, y: _level(reference.spearmanr(x, y).statistic, x, y) if x.size > 2 else None, _other),
    "linregress": (lambda x, y: tuple(reference.linregress(x, y)[:2]), _other),
}  # fmt: skip
PAIRS = {"correlation", "spearman", "linregress"}
ROUNDED = {"zscore", "linregress", "correlation"}
SERIES = {"autocorrelation", "spearman", "linregress"}
MAY_REFUSE = {"entropy": "shares below", "linregress": "all elements are equal|length", "histogram": "range|finite"}
"""What is refused where the reference gives a number that nobody can use."""


def _check(seed: int) -> str:
    draw = np.random.default_rng(seed)
    name = list(CASES)[seed % len(CASES)]
    expected, arguments = CASES[name]
    n = one_of(draw, LENGTHS)
    shape = one_of(draw, ((n,), (int(draw.integers(1, 4)), n), (2, 1, n)) if name not in SERIES else ((n,),))
    kind, dtype = one_of(draw, KINDS), one_of(draw, TYPES)
    if (kind == "shifted" and dtype == "float16") or (name == "rank" and "nan" in kind):
        kind = "ties"  # rounding would be seen; NaNs come last, for scipy they spoil all
    x = laid_out(draw, typed(numbers(draw, shape, kind), dtype))
    given, options = arguments(draw, x)
    wide = [side.astype(np.float64) if isinstance(side, np.ndarray) else side for side in (x, *given)]
    told = f"{seed}: {name} of {shape} {kind} {dtype}, {given if name not in PAIRS else ''} {options}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = expected(*wide, **options)
    except ValueError:
        return ""
    try:
        found = getattr(stats, name)(loom.array(x) if draw.integers(0, 2) else x, *given, **options)
    except LoomError as error:
        refused = "no degree of freedom" in str(error) or any(
            part in str(error) for part in MAY_REFUSE.get(name, "?").split("|")
        )
        return "" if refused else f"{told}: {error}"
    if want is None:
        return ""
    sides = zip(*(side[:2] if isinstance(side, tuple) else [side] for side in (found, want)), strict=True)
    rounding = 5000 if name == "skew" else 500 if kind == "shifted" or name in ROUNDED else 20
    return "".join(f"{told}: {bad}" for a, b in sides if (bad := difference(a, b, rounding * FLOATS.get(dtype, 1e-9))))


@pytest.mark.parametrize("first", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1000, 2000, 3000))])
def test_like_scipy(first: int) -> None:
    wrong = [bad for seed in range(first, first + (200 if first == 0 else 1000)) if (bad := _check(seed))]
    assert not wrong, "\n".join(wrong[:12])
