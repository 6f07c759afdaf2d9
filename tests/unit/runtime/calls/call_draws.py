"""Kernels, and calls of them drawn at random: most like one before, some wrong in one of many ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

import loom
from loom import In, InOut, Out, f32, f64, i8, i32, i64, tensor, u8, u32, u64

T = TypeVar("T", f32, f64, i32)


@loom.kernel
def axpy(x: In[f32], y: InOut[f32], a: f32):
    i = loom.global_id()
    if i < len(y) and i < len(x):
        y[i] = a * x[i] + y[i]


@loom.kernel
def double_axpy(x: In[f64], y: Out[f64], a: f64 = 3.0):
    i = loom.global_id()
    if i < len(y) and i < len(x):
        y[i] = a * x[i]


@loom.kernel
def shifted(x: In[i32], y: Out[i32], k: i32, by: u32):
    i = loom.global_id()
    if i + by < len(x) and i < len(y):
        y[i] = x[i + by] + k


@loom.kernel
def unguarded(x: In[u8], y: InOut[u8], at: u32):
    i = loom.global_id()
    y[i] = x[i + at]


@loom.kernel(workgroup=(8, 8))
def turned(x: In[f32, 2], y: Out[f32, 2]):
    j, i = loom.global_id(0), loom.global_id(1)
    if i < x.shape[0] and j < x.shape[1] and j < y.shape[0] and i < y.shape[1]:
        y[j, i] = x[i, j]


@loom.kernel
def generic(x: In[T], y: Out[T], a: T):
    i = loom.global_id()
    if i < len(y) and i < len(x):
        y[i] = x[i] + a


@loom.kernel
def chosen(x: In[i64], y: Out[i64], big: u64, small: i8, upwards: bool):
    i = loom.global_id()
    if i < len(y) and i < len(x):
        y[i] = x[i] + i64(big) + i64(small) if upwards else x[i] - i64(big)


@loom.kernel
def asserted(x: In[i32], y: Out[i32]):
    i = loom.global_id()
    if i < len(y) and i < len(x):
        assert x[i] >= 0, "below zero"
        y[i] = x[i]


@loom.kernel
def looped(x: In[u32], y: Out[u32], n: u32):
    i = loom.global_id()
    if i < len(y) and i < len(x):
        total = u32(0)
        for k in range(n):
            total += x[i] * k
        y[i] = total


class Odd(np.ndarray[Any, Any]):
    """A class of its own."""


@dataclass(frozen=True)
class Kind:
    kernel: Any
    dtypes: tuple[str, ...]
    numbers: tuple[str, ...]
    names: tuple[str, ...]
    ndim: int = 1


KINDS = (
    Kind(axpy, ("f4", "f4"), ("f32",), ("x", "y", "a")),
    Kind(double_axpy, ("f8", "f8"), ("f64",), ("x", "y", "a")),
    Kind(shifted, ("i4", "i4"), ("i32", "u32"), ("x", "y", "k", "by")),
    Kind(unguarded, ("u1", "u1"), ("u32",), ("x", "y", "at")),
    Kind(turned, ("f4", "f4"), (), ("x", "y"), ndim=2),
    Kind(generic, ("i4", "i4"), ("i32",), ("x", "y", "a")),
    Kind(generic, ("f4", "f4"), ("f32",), ("x", "y", "a")),
    Kind(chosen, ("i8", "i8"), ("u64", "i8", "bool"), ("x", "y", "big", "small", "upwards")),
    Kind(asserted, ("i4", "i4"), (), ("x", "y")),
    Kind(looped, ("u4", "u4"), ("u32",), ("x", "y", "n")),
)
USUAL: dict[str, tuple[Any, ...]] = {
    "f32": (2.0, 2, -1.5, np.float32(0.1), np.float64(0.1), np.int64(3), np.uint8(7)),
    "f64": (2.0, 7, np.float32(0.1), np.float64(0.1), np.int32(-3), 1e300),
    "i32": (1, -5, np.int32(4), np.int8(-4), np.uint16(9), np.int64(-7)), "u32": (0, 1, 2, np.uint32(1), np.int64(2)),
    "u64": (0, 1 << 40, np.uint64(5), np.int64(6)), "i8": (1, -100, np.int8(-3)), "bool": (True, False, np.True_),
}  # fmt: skip
STRANGE: tuple[Any, ...] = (
    float("nan"), float("inf"), -0.0, 1e39, 1e-45, 5e-324, 16777217, (1 << 53) + 1, -1, 1 << 31, 1 << 32, (1 << 63) - 1,
    1 << 63, 1 << 64, 1 << 70, 127, 128, -129, True, None, "2", 1j, np.array(2.0), np.array(3), np.array([1.0]),
    np.float16(2), np.bool_(True), np.uint64(1 << 63), np.float32("nan"), np.float64("inf"), np.int64(-1), [1],
    np.float64(3.5), 2.5,
)  # fmt: skip
LENGTHS = (1, 7, 64, 65)


@dataclass
class Call:
    """Arguments with all that they are views of; made twice from one seed, they are alike."""

    kernel: Any
    args: tuple[Any, ...]
    named: dict[str, Any]
    bases: list[Any] = field(default_factory=list)

    def state(self) -> list[Any]:
        """Return all bits that the call could have changed."""
        found: list[Any] = []
        for base in self.bases:
            array = base.numpy() if isinstance(base, tensor.Tensor) else base
            found.append((array.shape, str(array.dtype), array.tobytes()))
        return found


def drawn(seed: int) -> Call:
    """Return the call of a seed."""
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    is_odd = rng.random() < 0.4
    length = rng.choice(LENGTHS)
    bases: list[Any] = []
    values = [_array(rng, dtype, length, kind.ndim, bases, is_odd=is_odd) for dtype in kind.dtypes]
    if is_odd and rng.random() < 0.25:
        values[1] = _overlapping(rng, values[0], bases)
    numbers = [rng.choice(STRANGE if is_odd and rng.random() < 0.5 else USUAL[name]) for name in kind.numbers]
    given = [*values, *numbers]
    names = list(kind.names)
    positional = rng.randrange(len(given) + 1) if rng.random() < 0.5 else len(given)
    named = dict(zip(names[positional:], given[positional:], strict=True))
    args = given[:positional]
    if rng.random() < 0.3:
        named = dict(reversed(named.items()))
    if rng.random() < 0.15 and not isinstance(values[1], list):
        named = {name: value for name, value in zip(names, given, strict=True) if name != "y"}
        args = []
    if is_odd and rng.random() < 0.15:
        ways = (args.clear, named.clear, lambda: args.append(1), lambda: args and args.pop(),
                *(lambda name=name: named.update({name: 3}) for name in ("other", "a", "lanes", "out")))  # fmt: skip
        rng.choice(ways)()
    return Call(kind.kernel, tuple(args), named, bases)


def _array(rng: random.Random, dtype: str, length: int, ndim: int, bases: list[Any], *, is_odd: bool) -> Any:
    if is_odd and rng.random() < 0.3:
        length = rng.choice((0, 3, *LENGTHS))
    if is_odd and rng.random() < 0.15:
        dtype = rng.choice(("f4", "f8", "i4", "u4", "u1", "i8", "?", "c8", ">f4", "f2"))
    shape = (length,) if ndim == 1 else (length, rng.choice((2, 5)))
    if is_odd and rng.random() < 0.1:
        shape = rng.choice(((), (2, length), (length, 1, 1)))
    low = -1 if is_odd and dtype in "i4i8f4f8" else 0
    numbers = np.random.default_rng(rng.randrange(1000)).integers(low, 5, shape)
    base = np.asarray(numbers).astype(dtype)
    makers = (*FORMS, *OWN) if rng.random() < 0.4 else (FORMS[0],)
    make = rng.choice(makers if is_odd else (FORMS[0], FORMS[0], *OWN[:2]) if len(makers) > 1 else makers)
    try:
        return make(base, bases)
    except loom.LoomError:  # of a type that Loom has not
        bases.append(base)
        return base


def _kept(value: Any, bases: list[Any], base: Any = None) -> Any:
    bases.append(value if base is None else base)
    return value


def _strided(a: Any, bases: list[Any]) -> Any:
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 0] = a
    return _kept(wide[..., 0], bases, wide)


def _locked(a: Any, bases: list[Any]) -> Any:
    a.flags.writeable = False
    return _kept(a, bases)


def _unaligned(a: Any, bases: list[Any]) -> Any:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    found = raw[1:].view(a.dtype).reshape(a.shape)
    found[...] = a
    return _kept(found, bases, raw)


def _resized(a: Any, bases: list[Any]) -> Any:
    if a.ndim == 1 and a.size:
        a = a.copy()
        a.resize(a.size + 1, refcheck=False)
    return _kept(a, bases)


def _used(a: Any, bases: list[Any]) -> Any:
    found = loom.array(a)
    bases.append(found + found)  # recorded: it keeps the elements that there were
    return _kept(found, bases)


def _view(a: Any, bases: list[Any]) -> Any:
    found = loom.array(np.concatenate([a.reshape(-1)] * 2))
    bases.append(found)
    return _kept(found[: a.size].reshape(a.shape), bases)


FORMS: tuple[Callable[[Any, list[Any]], Any], ...] = (
    _kept, _strided, _locked, _unaligned, _resized, lambda a, b: _kept(a.view(Odd), b), lambda a, b: _kept(a.T, b, a),
    lambda a, b: a.tolist(), lambda a, b: memoryview(_kept(a, b)), lambda a, b: None,
    lambda a, b: _kept(np.flip(a), b, a),
    lambda a, b: np.ma.masked_array(_kept(a, b)),
)  # fmt: skip
OWN: tuple[Callable[[Any, list[Any]], Any], ...] = (
    lambda a, b: _kept(loom.array(a), b), lambda a, b: _kept((loom.array(a) * 1).evaluate(), b),
    lambda a, b: _kept(loom.array(a) + 1, b), lambda a, b: _kept(tensor.parameter(a), b), _used, _view,
    lambda a, b: _kept(loom.array(a, on="interp"), b),
)  # fmt: skip


def _overlapping(rng: random.Random, first: Any, bases: list[Any]) -> Any:
    if isinstance(first, np.ndarray) and first.ndim == 1 and first.size > 2:
        return rng.choice((first, first[1:], first[: first.size // 2], first[::-1]))
    return first


def outcome(call: Call, run: Callable[..., Any]) -> tuple[Any, ...]:
    """Return all that a call gives: its result or error, and the bits of all arrays."""
    try:
        found = run(call.kernel, call.args, call.named)
        result: Any = None if found is None else np.asarray(found).tobytes()
    except Exception as error:
        result = type(error), str(error)
    return result, call.state()
