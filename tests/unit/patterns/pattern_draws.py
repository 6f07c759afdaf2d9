"""Calls of patterns over arrays of the host, drawn at random: most like one before, some wrong in one of many ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import loom
from unit.runtime.calls.call_draws import FORMS

_AXES: tuple[Any, ...] = (None, 0, 1, -1, 0, -1)
_ODD: tuple[Any, ...] = (
    True,
    7,
    -3,
    0.5,
    "0",
    (0, 1),
    [0],
    np.int64(0),
    np.float32(1),
    None,
    loom.f32,
    1j,
    "cpu",
    "no",
)


@dataclass(frozen=True)
class Pattern:
    """A function, how many arrays it takes, of what dtypes and shapes, and what its options usually are."""

    name: str
    dtypes: tuple[str, ...] = ("f4", "f8", "i4", "u1", "?")
    arrays: int = 1
    shapes: tuple[tuple[int, ...], ...] = ((1,), (7,), (64,), (65,), (6, 5), (3, 4, 2))
    options: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])


_FLOATS, _SQUARE = ("f4", "f8"), ((1, 1), (3, 3), (8, 8))
_REDUCED = {"axis": _AXES, "keepdims": (True, False)}
PATTERNS = (
    Pattern("gpu_sum", ("f4", "f8", "i4", "u1", "i8", "f2"), options=_REDUCED),
    Pattern("gpu_mean", options=_REDUCED),
    Pattern("gpu_max", options=_REDUCED),
    Pattern("gpu_min", ("f4", "i4"), options=_REDUCED),
    Pattern("gpu_product", ("f4", "i4"), options=_REDUCED),
    Pattern("gpu_sort", ("f4", "i4", "u1"), options={"descending": (True, False), "axis": (-1, 0, None)}),
    Pattern("gpu_argsort", ("f4", "i4"), options={"descending": (True, False)}),
    Pattern("gpu_argmax", ("f4", "i4"), options={"axis": _AXES}),
    Pattern("gpu_softmax", _FLOATS, options={"axis": (0, -1)}),
    Pattern("gpu_scan", ("f4", "i4")),
    Pattern("gpu_floor", (*_FLOATS, "c8")),
    Pattern("gpu_square", ("f4", "i4", "c8")),
    Pattern("gpu_any", ("?", "f4"), options={"axis": _AXES}),
    Pattern("gpu_matmul", _FLOATS, 2, _SQUARE, {"transpose_b": (True, False)}),
    Pattern("gpu_dot", _FLOATS, 2, ((7,), (64,))),
    Pattern("gpu_add", ("f4", "i4", "f8"), 2),
    Pattern("gpu_less", ("f4", "u1"), 2),
    Pattern("gpu_exp", ("f4", "f8")),
    Pattern("gpu_map", ("f4", "i4"), options={"op": ("abs", "neg", "square")}),
    Pattern("linalg.inv", _FLOATS, 1, _SQUARE),
    Pattern("linalg.det", _FLOATS, 1, _SQUARE),
    Pattern("linalg.cholesky", _FLOATS, 1, _SQUARE),
    Pattern("linalg.lu", _FLOATS, 1, _SQUARE),
    Pattern("linalg.qr", _FLOATS, 1, _SQUARE),
    Pattern("linalg.solve", _FLOATS, 2, _SQUARE),
    Pattern("stats.variance", _FLOATS, options={"axis": (None, 0)}),
    Pattern("stats.quantile", _FLOATS, options={"q": (0.5, 0.25, 0.1, 1)}),
)


@dataclass
class Call:
    """A function and its arguments, with all that they are views of; made twice from one seed, they are alike."""

    function: Any
    args: tuple[Any, ...]
    named: dict[str, Any]
    bases: list[Any]


def drawn(seed: int) -> Call:
    """Return the call of a seed."""
    rng = random.Random(seed)
    pattern = rng.choice(PATTERNS)
    is_odd = rng.random() < 0.4
    bases: list[Any] = []
    dtype, shape = rng.choice(pattern.dtypes), rng.choice(pattern.shapes)
    args = [_array(rng, dtype, shape, bases, is_odd=is_odd) for _ in range(pattern.arrays)]
    if is_odd and len(args) > 1 and rng.random() < 0.2:
        args[1] = args[0]
    named = {name: rng.choice(usual) for name, usual in pattern.options.items() if rng.random() < 0.4}
    for name, usual in pattern.options.items():
        if name in ("q", "op"):
            named.setdefault(name, usual[0])
    if rng.random() < 0.1:
        named["on"] = rng.choice(("cpu", "cpu", None, "".join(["c", "pu"]), "interp") if is_odd else ("cpu",))
    if is_odd and rng.random() < 0.3:
        name = rng.choice((*pattern.options, "on", "other", "axis"))
        named[name] = rng.choice(_ODD)
    if is_odd and rng.random() < 0.1:
        ways = (args.clear, named.clear, lambda: args.append(1), lambda: args.append(args and args[0]))
        rng.choice(ways)()
    found: Any = loom
    for part in pattern.name.split("."):
        found = getattr(found, part)
    return Call(found, tuple(args), named, bases)


def _array(rng: random.Random, dtype: str, shape: tuple[int, ...], bases: list[Any], *, is_odd: bool) -> Any:
    if is_odd and rng.random() < 0.2:
        dtype = rng.choice(("f4", "f8", "i4", "u4", "u1", "i8", "?", "c8", ">f4", "f2", "U1", "O", "M8[s]"))
    if is_odd and rng.random() < 0.2:
        shape = rng.choice(((), (0,), (2, 0), (3,), (2, 3), (1, 1, 1)))
    numbers = np.random.default_rng(rng.randrange(40)).integers(-3 if dtype[0] in "fi" else 0, 5, shape)
    base = np.asarray(numbers).astype(dtype)
    if dtype[0] == "f" and rng.random() < 0.1 and base.size:
        base.reshape(-1)[0] = rng.choice((np.nan, np.inf, -0.0, 1e-42))
    make: Callable[..., Any] = rng.choice(FORMS) if is_odd and rng.random() < 0.5 else FORMS[0]
    if is_odd and rng.random() < 0.15:
        try:
            return loom.array(base)
        except loom.LoomError:
            return base
    try:
        return make(base, bases)
    except (ValueError, TypeError):  # of a type that has no such form
        return base


def outcome(call: Call, run: Callable[..., Any]) -> tuple[Any, ...]:
    """Return all that a call gives: its result or error, and the bits of all arrays."""
    try:
        found = run(call.function, call.args, call.named)
        result = _told(found)
    except Exception as error:
        result = type(error), str(error)
    arrays: list[Any] = [base for base in call.bases if isinstance(base, np.ndarray)]
    return result, [(base.shape, base.tobytes()) for base in arrays]


def _told(found: Any) -> Any:
    if isinstance(found, tuple):
        parts: tuple[Any, ...] = found
        return type(parts), [_told(each) for each in parts]
    array = np.asarray(found)
    return type(found), array.shape, array.dtype.str, array.tobytes(), array.flags.writeable, array.flags.c_contiguous
