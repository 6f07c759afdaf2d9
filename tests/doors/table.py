"""How each pair of doors is called: the operands by role, and the options that mean the same at both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import loom

__all__ = ["ROWS", "Row"]

Options = tuple[dict[str, Any], dict[str, Any]]
Call = Callable[..., Any]


def _plainly(function: Call, *operands: Any, **options: Any) -> Any:
    return function(*operands, **options)


def _mapped(function: Call, *operands: Any, **options: Any) -> Any:
    """Apply a function of kernels, which is called on the host by ``gpu_map`` alone."""
    return loom.gpu_map(operands[0], function, *operands[1:], **options)


@dataclass(frozen=True)
class Row:
    """Two names of one question: the role of their operands, how each is called, and with which options."""

    names: tuple[str, str]
    role: str
    options: tuple[Options, ...] = ()
    calls: tuple[Call, Call] = (_plainly, _plainly)
    many_dtypes: bool = True
    notes: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def name(self) -> str:
        """Both names as one."""
        return " ~ ".join(name.removeprefix("loom.") for name in self.names)

    @property
    def each_options(self) -> tuple[Options, ...]:
        """No options first, then each that the row has."""
        return (({}, {}), *self.options) if self.calls_plainly else self.options

    calls_plainly: bool = True
    """Whether the operands alone are a call."""


def _same(**options: Any) -> Options:
    return options, options


def _rows(words: str, role: str, first: str, second: str, **more: Any) -> list[Row]:
    """Return a row for each word: ``one=other`` where the doors have different words."""
    found: list[Row] = []
    for word in words.split():
        one, _, other = word.partition("=")
        found.append(Row((f"loom.{first}{one}", f"loom.{second}{other or one}"), role, **more))
    return found


_OF_KERNELS = {"calls": (_mapped, _plainly)}
_AXES = (_same(axis=0), _same(axis=-1, keepdims=True), _same(keepdims=True), _same(axis=7))
_POSITIONAL_AXES = (_same(axis=0), _same(axis=-1), _same(axis=7))
_SPREADS = tuple(
    ({"ddof": less, **axis}, {"correction": less, **axis})
    for less in (1, 0)
    for axis in ({}, {"axis": 0}, {"axis": -1})
)


def _with_number(function: Call, x: Any, *, dtype: Any) -> Any:
    return function(x, dtype)


def _k(function: Call, x: Any, *, k: int, **options: Any) -> Any:
    return function(x, k, **options)


def _bernoulli_first(function: Call, *, shape: Any, p: float, **options: Any) -> Any:
    return function(shape, p, **options)


def _bernoulli_second(function: Call, *, shape: Any, p: float, **options: Any) -> Any:
    return function(p, shape, **options)


def _shaped(function: Call, *, shape: Any, **options: Any) -> Any:
    return function(shape, **options)


def _counted(function: Call, *, n: int, **options: Any) -> Any:
    return function(n, **options)


def _n(function: Call, a: Any, *, n: int) -> Any:
    return function(a, n)


def _q(function: Call, x: Any, *, q: Any, **options: Any) -> Any:
    return function(x, q, **options)


def _bins(function: Call, x: Any, **options: Any) -> Any:
    return function(x, **options)


def _side(function: Call, a: Any, v: Any, *, side: str = "left") -> Any:
    return function(a, v, right=side == "right")


def _sided(function: Call, a: Any, v: Any, *, side: str = "left") -> Any:
    return function(a, v, side)


_UNARY = (
    "acos acosh asin asinh atan atanh ceil cos cosh exp expm1 floor gelu log log10 log1p log2 sigmoid sin sinh sqrt "
    "tan tanh trunc"
)
_SHAPES = tuple(
    _same(shape=shape, seed=seed, stream=stream)
    for shape, seed, stream in (((), 1, 0), ((0,), 1, 0), ((1,), 2, 0), ((70,), 3, 5), ((3, 5), 2**40, 1))
)

_FLOATS = ({"dtype": "f64"}, {"dtype": "f16"}, {"dtype": "bf16"}, {"dtype": "i32"})


def _draws(*more: dict[str, Any]) -> tuple[Options, ...]:
    return tuple(({**one, **extra}, {**other, **extra}) for one, other in _SHAPES for extra in ({}, *more))


ROWS: tuple[Row, ...] = (
    *_rows(_UNARY, "x", "", "tensor.", **_OF_KERNELS),
    *_rows("atan2 copysign hypot nextafter pow", "xy", "", "tensor.", **_OF_KERNELS),
    *_rows("erf=gpu_erf rsqrt=gpu_rsqrt cos=gpu_cos exp=gpu_exp log=gpu_log sin=gpu_sin sqrt=gpu_sqrt tanh=gpu_tanh "
           "sigmoid=gpu_sigmoid gelu=gpu_gelu floor=gpu_floor", "x", "", "", **_OF_KERNELS),
    *_rows("pow=gpu_pow", "xy", "", "", **_OF_KERNELS),
    *_rows("abs cos exp floor gelu log neg=negative relu round sigmoid sign silu sin sqrt square tanh", "x", "gpu_",
           "tensor."),
    *_rows("add div=divide equal greater less maximum minimum mod=remainder mul=multiply pow sub=subtract", "xy",
           "gpu_", "tensor."),
    *_rows("where", "cab", "gpu_", "tensor."),
    *_rows("clip", "between", "gpu_", "tensor."),
    *_rows("cast cast=astype", "x", "gpu_", "tensor.", calls=(_with_number, _with_number), calls_plainly=False,
           options=tuple(_same(dtype=d) for d in ("bool", "i8", "u8", "i32", "u32", "i64", "u64", "f16", "bf16", "f32",
                                                  "f64"))),
    *_rows("all any argmax argmin max mean min product=prod sum count=count_nonzero", "x", "gpu_", "tensor.",
           options=_AXES),
    *_rows("mean=gpu_mean", "x", "stats.", "", options=_POSITIONAL_AXES),
    *_rows("mean median variance logsumexp", "x", "stats.", "tensor.", options=_POSITIONAL_AXES),
    *_rows("std=std variance=var", "x", "stats.", "tensor.", options=_SPREADS),
    *_rows("quantile", "x", "stats.", "tensor.", calls=(_q, _q), calls_plainly=False, options=tuple(
        _same(q=q, **axis) for q in (0.5, [0.0, 0.3, 1.0], 0.99) for axis in ({}, {"axis": 0}, {"axis": -1}))),
    *_rows("histogram", "x", "stats.", "tensor.", calls=(_bins, _bins), options=(
        _same(bins=4), _same(bins=3, range=(-1.0, 2.0)), _same(bins=[0, 1, 2, 5]), _same(bins=0))),
    *_rows("sort argsort", "x", "gpu_", "tensor.", options=(_same(descending=True), _same(axis=-1), _same(axis=0))),
    *_rows("topk", "x", "gpu_", "tensor.", calls=(_k, _k), calls_plainly=False, options=(
        _same(k=0), _same(k=1), _same(k=3), _same(k=3, largest=False), _same(k=-1), _same(k=99999))),
    *_rows("unique", "x", "gpu_", "tensor.", options=(
        _same(return_inverse=True), _same(return_counts=True), _same(return_inverse=True, return_counts=True))),
    *_rows("searchsorted", "sorted", "gpu_", "tensor.", calls=(_sided, _side), options=(_same(side="right"),)),
    *_rows("cumsum", "x", "gpu_", "tensor."),
    *_rows("scan=cumulative_sum", "x", "gpu_", "tensor.", options=(_same(axis=0), _same(axis=-1))),
    *_rows("transpose", "x", "gpu_", "tensor."),
    *_rows("softmax", "x", "gpu_", "tensor.", options=(_same(axis=0),)),
    *_rows("rope", "x", "gpu_", "tensor.", options=(_same(base=100.0), _same(interleaved=True))),
    *_rows("rmsnorm=rms_norm", "x", "gpu_", "tensor.", options=(_same(epsilon=0.1),)),
    *_rows("matmul", "mm", "gpu_", "tensor.", options=(
        _same(transpose_a=True), _same(transpose_b=True), _same(out_dtype="i64"), _same(out_dtype="f32"))),
    *_rows("matmul", "mm", "gpu_", "tensor.linalg."),
    *_rows("matmul=linalg.matmul", "mm", "tensor.", "tensor."),
    *_rows("matrix_transpose=linalg.matrix_transpose", "m", "tensor.", "tensor."),
    *_rows("erfinv=special.erfinv", "x", "tensor.", "tensor."),
    *_rows("dot=linalg.dot", "vv", "gpu_", ""),
    *_rows("norm=linalg.norm", "x", "gpu_", "", options=(_same(ord=1), _same(ord=float("inf")), _same(ord=3))),
    *_rows("norm=vector_norm", "x", "gpu_", "tensor.linalg.", options=(_same(ord=1), _same(ord=float("inf")))),
    *_rows("cholesky cond det eigh eigvalsh expm inv lu matrix_norm matrix_rank pinv qr slogdet svd svdvals trace", "m",
           "linalg.", "tensor.linalg."),
    *_rows("matrix_power", "m", "linalg.", "tensor.linalg.", calls=(_n, _n), calls_plainly=False,
           options=(_same(n=0), _same(n=3), _same(n=-1))),
    *_rows("lu=lu_factor", "m", "linalg.", "tensor.linalg."),
    *_rows("lstsq solve solve_triangular", "mb", "linalg.", "tensor.linalg."),
    *_rows("outer cross", "vv", "linalg.", "tensor.linalg."),
    *_rows("vector_norm", "x", "linalg.", "tensor.linalg.", options=(
        *_AXES, _same(ord=1), _same(ord=float("inf")), _same(ord=0), _same(ord=3))),
    *_rows("cosine_similarity", "vv", "linalg.", "tensor."),
    *_rows("normalize", "x", "linalg.", "tensor.", options=(_same(axis=0),)),
    *_rows("transpose", "m", "linalg.", "tensor."),
    *_rows("fft ifft rfft irfft", "x", "signal.", "tensor.fft.", options=(_same(norm="ortho"), _same(norm="forward"))),
    *_rows("bits", "", "random.", "tensor.random.", calls=(_shaped, _shaped), calls_plainly=False, many_dtypes=False,
           options=_draws({"dtype": "u64"}, {"dtype": "i32"}, {"dtype": "u8"}, {"dtype": "f32"})),
    *_rows("uniform", "", "random.", "tensor.random.", calls=(_shaped, _shaped), calls_plainly=False,
           many_dtypes=False, options=_draws(*_FLOATS, {"low": -1.5, "high": 4.0}, {"low": 2.0, "high": 1.0})),
    *_rows("normal", "", "random.", "tensor.random.", calls=(_shaped, _shaped), calls_plainly=False,
           many_dtypes=False, options=_draws(*_FLOATS, {"mean": 1.5, "std": 2.0}, {"std": -1.0})),
    *_rows("bernoulli", "", "random.", "tensor.random.", calls=(_bernoulli_first, _bernoulli_second),
           calls_plainly=False, many_dtypes=False, options=tuple(
               ({**one, "p": p}, {**other, "p": p}) for one, other in _SHAPES for p in (0.0, 0.3, 1.0, 1.5))),
    *_rows("permutation", "", "random.", "tensor.random.", calls=(_counted, _counted), calls_plainly=False,
           many_dtypes=False, options=tuple(_same(n=n, seed=7, stream=2) for n in (0, 1, 70, -1))),
)  # fmt: skip
