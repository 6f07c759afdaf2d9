"""What is called, with what, and what numpy gives: one drawn call a seed for each function of the namespace.

A call is (what ``loom.tensor`` gives, what numpy gives, how they may differ). References of floats are computed in f64
and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from loom import tensor as xp
from unit.tensor.differential import draws
from unit.tensor.differential.draws import BOOLS, COMPLEX, FLOATS, INTEGERS, NUMBERS, SHAPES, SIGNED

Call = tuple[Any, Any, dict[str, Any]]
CALLS: dict[str, Callable[[Random, str, str], Call | None]] = {}

_NAMES = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh",
    "atan2": "arctan2", "pow": "power", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift", "concat": "concatenate",
}  # fmt: skip
_ALL = [*NUMBERS, *BOOLS, *COMPLEX]
_WITH_AXES = [s for s in SHAPES if s]


def _numpy(name: str) -> Any:
    return getattr(np, _NAMES.get(name, name))


def _loom(name: str) -> Any:
    return getattr(xp, name)


def _wide(x: Any) -> Any:
    return x.astype({"c": "c16", "f": "f8"}.get(x.dtype.kind, x.dtype))


def _calls(names: str) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        CALLS.update(dict.fromkeys(names.split(), function))
        return function

    return add


@_calls("acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 sin sinh sqrt tan tanh")
def _functions(r: Random, name: str, on: str) -> Call:
    x, t = draws.seen(r, draws.numbers(r, r.choice(SHAPES), r.choice(FLOATS + COMPLEX)), on)
    error = draws.bar(x.dtype) * 3
    return _loom(name)(t), _numpy(name)(_wide(x)).astype(x.dtype), {"error": error, "signs": x.dtype.kind == "f"}


@_calls("ceil floor trunc round sign abs negative square isfinite isinf isnan")
def _of_numbers(r: Random, name: str, on: str) -> Call:
    x, t = draws.seen(r, draws.numbers(r, r.choice(SHAPES), r.choice(NUMBERS)), on)
    return _loom(name)(t), _numpy(name)(x), {"error": draws.bar(x.dtype)}


@_calls("add subtract multiply divide remainder maximum minimum atan2 copysign hypot logaddexp nextafter pow")
def _of_two(r: Random, name: str, on: str) -> Call:
    floats = name in ("divide", "atan2", "copysign", "hypot", "logaddexp", "nextafter")
    x, y, t, u = draws.pair(r, FLOATS[:2] if name == "nextafter" else FLOATS if floats else NUMBERS, on)
    if x.dtype.kind in "iu" and name in ("pow", "remainder"):  # no negative powers, no division by 0
        y = (np.abs(y.astype("i8") % 5) + (name == "remainder")).astype(y.dtype)
        u = xp.array(y, on=on)
    dtype = np.result_type(x, y)
    exact = dtype.kind in "iu" or name in ("copysign", "nextafter", "maximum", "minimum", "remainder")
    wide = dtype if exact else np.dtype("f8")
    wanted = np.asarray(_numpy(name)(x.astype(wide), y.astype(wide))).astype(dtype)
    error = draws.bar(dtype) * (5 if name in ("pow", "logaddexp") else 1)
    return _loom(name)(t, u), wanted, {"error": error, "signs": name not in ("maximum", "minimum")}


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "**": lambda a, b: a ** (b % 4),
    "//": lambda a, b: a // (b % 7 + 1), "%": lambda a, b: a % (b % 7 + 1), "<": lambda a, b: a < b,
}  # fmt: skip


@_calls(" ".join(_OPERATORS))
def _operators(r: Random, name: str, on: str) -> Call:
    x, y, t, u = draws.pair(r, SIGNED, on)
    return _OPERATORS[name](t, u), _OPERATORS[name](x, y), {}


@_calls("equal not_equal less less_equal greater greater_equal")
def _compared(r: Random, name: str, on: str) -> Call:
    x, y, t, u = draws.pair(r, _ALL if "equal" in name and "_equal" not in name[4:] else NUMBERS, on)
    return _loom(name)(t, u), _numpy(name)(x, y), {}


@_calls("bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift logical_and logical_or logical_xor")
def _bits(r: Random, name: str, on: str) -> Call:
    shifts = "shift" in name
    x, y, t, u = draws.pair(r, BOOLS if name.startswith("log") else INTEGERS + ([] if shifts else BOOLS), on)
    if shifts:
        y = (np.abs(y.astype("i8")) % (8 * min(x.dtype.itemsize, y.dtype.itemsize))).astype(y.dtype)
        u = xp.array(y, on=on)
    return _loom(name)(t, u), _numpy(name)(x, y), {}


@_calls("sum prod max min mean std var all any count_nonzero argmax argmin")
def _folds(r: Random, name: str, on: str) -> Call | None:
    spread, where = name in ("std", "var"), name.startswith("arg")
    kinds = FLOATS if spread or name == "mean" else NUMBERS + (BOOLS if name in ("sum", "prod", "all", "any") else [])
    x, t = draws.seen(r, draws.numbers(r, r.choice(SHAPES), r.choice(kinds), hazards=not spread), on)
    options = {"axis": draws.axis_of(r, x.ndim, several=not where), "keepdims": r.random() < 0.4}
    less = r.choice([0, 1, 0.5]) if spread else 0
    floats = x.dtype.kind == "f" and name in ("sum", "prod", "mean", "std", "var")
    try:
        wanted = _numpy(name)(_wide(x) if floats else x, **options, **({"ddof": less} if spread else {}))
    except ValueError:  # the largest of none
        return None
    wanted = np.asarray(wanted).astype(x.dtype if floats else np.asarray(wanted).dtype)
    found = _loom(name)(t, **options, **({"correction": less} if spread else {}))
    return found, wanted, {"error": draws.bar(x.dtype) * 10 if floats else 0.0, "scaled": floats, "signs": False}


@_calls("cumulative_sum cumulative_prod diff")
def _running(r: Random, name: str, on: str) -> Call:
    x, t = draws.seen(r, draws.numbers(r, r.choice(_WITH_AXES), r.choice(NUMBERS), hazards=name == "diff"), on)
    options: dict[str, Any] = {"axis": r.randrange(-x.ndim, x.ndim)}
    options |= {"n": r.randrange(4)} if name == "diff" else {"include_initial": r.random() < 0.3}
    wanted = _numpy(name)(_wide(x) if name != "diff" else x, **options)
    wanted = wanted.astype(x.dtype) if x.dtype.kind == "f" else wanted
    return _loom(name)(t, **options), wanted, {"error": draws.bar(x.dtype) * 20, "scaled": True, "signs": False}


@_calls("sort argsort")
def _ordered(r: Random, name: str, on: str) -> Call:
    x, t = draws.seen(r, draws.numbers(r, r.choice(_WITH_AXES), r.choice(NUMBERS)), on)
    axis = r.randrange(-x.ndim, x.ndim)
    return _loom(name)(t, axis=axis), _numpy(name)(x, axis=axis, kind="stable"), {"signs": False}


def _reshaped(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    shape = r.choice([(-1,), (x.size,), (1, -1, 1), x.shape[::-1]]) if x.size else (0, 5)
    return xp.reshape(t, shape), np.reshape(x, shape)


def _permuted(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    order = r.sample(range(x.ndim), x.ndim)
    return xp.permute_dims(t, tuple(order)), np.transpose(x, order)


def _flipped(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    axis = draws.axis_of(r, x.ndim)
    return xp.flip(t, axis=axis), np.flip(x, axis)


def _rolled(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    axis, shift = draws.axis_of(r, x.ndim, several=False), r.choice([0, 1, -1, 5, -7, 100])
    return xp.roll(t, shift, axis=axis), np.roll(x, shift, axis)


def _repeated(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    axis, count = draws.axis_of(r, x.ndim, several=False), r.randrange(4)
    return xp.repeat(t, count, axis=axis), np.repeat(x, count, axis)


def _tiled(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    counts = r.choice([(2,), (1, 2), (0,), (2, 1, 3), ()])
    return xp.tile(t, counts), np.tile(x, counts)


def _joined(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    x, t = np.atleast_1d(x), xp.reshape(t, x.shape or (1,))
    y = draws.numbers(r, x.shape, r.choice([k for k in _ALL if np.dtype(k).kind == x.dtype.kind]))
    axis, join = r.randrange(-x.ndim, x.ndim), r.choice(["concat", "stack"])
    return _loom(join)([t, xp.array(y, on=t.device), t], axis=axis), _numpy(join)([x, y, x], axis=axis)


def _picked(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    """Return elements by a key that mixes ints, slices, None, arrays of indices and masks."""
    if not x.ndim or not x.shape[0]:
        return t[..., None], x[..., None]
    n = x.shape[0]
    places = [r.randrange(-n, n) for _ in range(r.randrange(4))]
    mask = np.array([r.random() < 0.5 for _ in range(n)])
    key = r.choice(
        [places, mask, (Ellipsis, None), (slice(None, None, -2),), (np.array(places, int).reshape(-1, 1),), n - 1]
    )
    return t[key], x[key]


def _put(r: Random, x: Any, t: Any) -> tuple[Any, Any]:
    """Return the array after assignments: to places of which some come twice, and from itself."""
    x, t = x.copy(), t.copy()
    if x.ndim and x.shape[0]:
        places = [r.randrange(-x.shape[0], x.shape[0]) for _ in range(3)]
        x[places], t[places] = x[0], t[0]
        x[1:], t[1:] = x[:-1].copy(), t[:-1]
    return t, x


_MOVES = {
    "reshape": _reshaped, "permute_dims": _permuted, "flip": _flipped, "roll": _rolled, "repeat": _repeated,
    "tile": _tiled, "concat": _joined, "x[key]": _picked, "x[key]=": _put,
}  # fmt: skip


@_calls(" ".join(_MOVES))
def _moved(r: Random, name: str, on: str) -> Call:
    x, t = draws.seen(r, draws.numbers(r, r.choice(SHAPES), r.choice(_ALL)), on)
    return *_MOVES[name](r, x, t), {}


@_calls("where searchsorted matmul")
def _of_several(r: Random, name: str, on: str) -> Call:
    if name == "searchsorted":
        x = np.sort(draws.numbers(r, (r.choice([0, 1, 7, 70]),), r.choice(NUMBERS)))
        v, side = draws.numbers(r, (5,), x.dtype.str[1:]), r.choice(["left", "right"])
        return xp.searchsorted(xp.array(x, on=on), xp.array(v, on=on), side=side), np.searchsorted(x, v, side), {}
    if name == "where":
        x, y, t, u = draws.pair(r, _ALL, on)
        c = draws.numbers(r, np.broadcast_shapes(x.shape, y.shape), "?")
        return xp.where(xp.array(c, on=on), t, u), np.where(c, x, y), {}
    dtype, k, batch = r.choice(FLOATS + COMPLEX), r.choice([0, 1, 2, 5, 17]), r.choice([(), (2,), (3, 2), (0,)])
    a = draws.numbers(r, r.choice([(*batch, 4, k), (k,)]), dtype, hazards=False)
    b = draws.numbers(r, r.choice([(*batch, k, 3), (k,)]), dtype, hazards=False)
    wanted = np.matmul(_wide(a), _wide(b)).astype(dtype)
    found = xp.matmul(xp.array(a, on=on), xp.array(b, on=on))
    return found, wanted, {"error": draws.bar(dtype) * 100, "scaled": True, "signs": False}
