"""References in the processor's extended precision: what a climb over millions of inputs is steered by.

They are good to a few units of 2^-64 (x86-64) or better, so that the error of an f64 result is known to about 0.01
units in the last place; mpmath has the last word on the worst (``climbing``). numpy has most functions of this
precision, the C library the rest, called in a loop of LLVM. Where long double is no wider than f64 there are none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import mpmath as mp
import numpy as np

__all__ = ["EXTENDED", "is_extended"]

Array = np.ndarray[Any, Any]
_WIDE = np.longdouble
_TYPES = {63: "x86_fp80", 112: "fp128"}
_LOOP = """
declare {t} @{f}({t})
define void @loop({t}* %x, {t}* %y, i64 %n) {{
top:
  br label %next
next:
  %i = phi i64 [0, %top], [%j, %next]
  %from = getelementptr {t}, {t}* %x, i64 %i
  %to = getelementptr {t}, {t}* %y, i64 %i
  %value = load {t}, {t}* %from
  %result = call {t} @{f}({t} %value)
  store {t} %result, {t}* %to
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %next, label %end
end:
  ret void
}}
"""


def is_extended() -> bool:
    """Tell whether this machine has a type wider than f64."""
    return np.finfo(_WIDE).nmant in _TYPES


@cache
def _compiled(name: str) -> tuple[Any, Any]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.load_library_permanently("libm.so.6")
    module = llvm.parse_assembly(_LOOP.format(t=_TYPES[np.finfo(_WIDE).nmant], f=name))
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return engine, kind(engine.get_function_address("loop"))


def _of_c(name: str) -> Callable[[Array], Array]:
    """Return a function of the C library over arrays."""

    def over(x: Array) -> Array:
        x, y = np.ascontiguousarray(x, _WIDE), np.empty(x.shape, _WIDE)
        if x.size:
            _compiled(name)[1](x.ctypes.data, y.ctypes.data, x.size)
        return y

    return over


def _number(value: Any) -> tuple[Any, Any]:
    """Return a number of mpmath as a pair of extended ones."""
    parts: list[Any] = []
    for _ in range(2):
        first = float(value)
        second = float(value - first)
        parts.append(_WIDE(first) + _WIDE(second))
        value -= mp.mpf(first) + mp.mpf(float(parts[-1] - _WIDE(first)))
    return parts[0], parts[1]


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a product and what its rounding leaves out (Dekker 1971)."""
    half = _WIDE(2.0 ** ((np.finfo(_WIDE).nmant + 2) // 2) + 1)
    a1, b1 = half * a - (half * a - a), half * b - (half * b - b)
    a2, b2 = a - a1, b - b1
    whole = a * b
    return whole, ((a1 * b1 - whole) + a1 * b2 + a2 * b1) + a2 * b2


def _times(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    whole, left = _product(a[0], b[0])
    return whole, left + (a[0] * b[1] + a[1] * b[0])


@cache
def _factors() -> dict[str, Any]:
    """Return what the two forms of gelu multiply by, as pairs but for the slope."""
    with mp.workprec(300):
        linear = -mp.sqrt(8 / mp.pi)
        return {
            "root half": _number(mp.sqrt(mp.mpf(1) / 2)), "linear": _number(linear),
            "cubic": _number(linear * mp.mpf("0.044715")), "slope": _WIDE(float(2 / mp.sqrt(mp.pi))),
        }  # fmt: skip


def _gelu(x: Array) -> Array:
    """x erfc(-x / sqrt(2)) / 2; what -x / sqrt(2) is rounded by is made up for by the slope of erfc."""
    t, rest = _times((-x, np.zeros_like(x)), _factors()["root half"])
    tail = _of_c("erfcl")(t) - rest * _factors()["slope"] * np.exp(-np.minimum(t * t, 11000))
    return x * tail / 2


def _gelu_tanh(x: Array) -> Array:
    """x / (1 + e^u), u = x (linear + cubic x^2) a pair."""
    zero, linear = np.zeros_like(x), _factors()["linear"]
    x1 = np.clip(x, -100, 100)
    u, rest = _times(_times((x1, zero), (x1, zero)), _factors()["cubic"])
    total = u + linear[0]
    rest = rest + linear[1] + np.where(abs(u) > abs(linear[0]), linear[0] - (total - u), u - (total - linear[0]))
    u, rest = _times((total, rest), (x1, zero))
    return x / (1 + np.exp(u) * (1 + rest))


@cache
def _series_beside(zero: float) -> tuple[Any, Any, list[Any]]:
    """Return a zero of Y0 as a pair, and the coefficients of Y0 there from the first power on."""
    with mp.workprec(200):
        at = mp.findroot(lambda x: mp.bessely(0, x), zero)
        series = [mp.mpf(0), mp.mpf(0), -mp.bessely(1, at)]  # of Y0, from the power -1 on, by its differential equation
        for k in range(16):
            series.append(-((k + 1) ** 2 * series[-1] + at * series[-2] + series[-3]) / (at * (k + 2) * (k + 1)))
        return *_number(at), [_number(c)[0] for c in series[2:]]


def _y0(x: Array) -> Array:
    """The C library's, and beside the first zero, where that is far off, a series."""
    y = _of_c("y0l")(x)
    near = np.abs(x - 0.8935769662791675) < 0.03
    zero, rest, coefficients = _series_beside(0.8935769662791675)
    t = (x[near] - zero) - rest
    total = np.zeros_like(t)
    for coefficient in reversed(coefficients):
        total = (total + coefficient) * t
    y[near] = total
    return y


EXTENDED: dict[str, Callable[..., Array]] = {
    "acos": np.arccos, "acosh": np.arccosh, "asin": np.arcsin, "asinh": np.arcsinh, "atan": np.arctan,
    "atan2": np.arctan2, "atanh": np.arctanh, "cbrt": np.cbrt, "cos": np.cos, "cosh": np.cosh, "erf": _of_c("erfl"),
    "erfc": _of_c("erfcl"), "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "gamma": _of_c("tgammal"),
    "gelu": _gelu, "gelu_tanh": _gelu_tanh, "hypot": np.hypot, "j0": _of_c("j0l"), "j1": _of_c("j1l"),
    "lgamma": _of_c("lgammal"), "log": np.log, "log10": np.log10, "log1p": np.log1p, "log2": np.log2, "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "sin": np.sin, "sinh": np.sinh,
    "tan": np.tan, "tanh": np.tanh, "y0": _y0, "y1": _of_c("y1l"),
}  # fmt: skip
"""By the name of the function, of arrays of ``numpy.longdouble``."""
