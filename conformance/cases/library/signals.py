"""Kernels of transforms, filters and factorisations on small inputs, trusted and watched.

Oracles besides the interpreter: numpy's integer convolution, and results that are whole numbers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from loom.core.dtype import DType, f32, f64, i32, i64
from loom.ir.frontend.decorator import KernelFunction
from loom.kernels.fft import convolve, steps
from loom.kernels.fft.butterflies import RADICES
from loom.kernels.fft.stages import LANES, WIDE, Form, narrow_stage, wide_stage
from loom.kernels.linalg import cholesky, lu, qr, vectors

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_PARTS = LANES // WIDE


def _numbers(dtype: DType, size: int) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    rng = np.random.default_rng(size)
    if dtype.is_integer:
        return rng.integers(-1000, 1000, size).astype(dtype.numpy)
    return (rng.standard_normal(size) * 2.0 ** rng.integers(-9, 9, size)).astype(dtype.numpy)


def _held(form: Form, element: DType, numbers: int) -> Array:
    """Complex numbers as a buffer of their form holds them."""
    floats = _numbers(element, numbers if form is Form.REAL else 2 * numbers)
    return floats.view(np.uint64) if form is Form.PAIRS and element == f32 else floats


def _room(form: Form, element: DType, numbers: int) -> Array:
    return np.zeros_like(_held(form, element, numbers))


def _signal(kernel: KernelFunction, buffers: list[Array], params: tuple[Any, ...], groups: Any, **known: Array) -> Case:
    x, y, z = (*groups, 1, 1)[:3] if isinstance(groups, tuple) else (groups, 1, 1)
    modes = ("trusted", "reported")
    return Case(kernel.verified.kernel, tuple(buffers), params, groups=(x, y, z), expected=known, modes=modes)


# stages of transforms


def _roots(element: DType, radix: int, count: int) -> Array:
    return _numbers(element, 2 * max(1, (radix - 1) * count))


def _narrow(radix: int, element: DType, ends: tuple[Form, Form], step: int, m: int, **how: bool) -> Case:
    n, rows = radix * m, 3
    last = m == step
    kernel = narrow_stage(
        radix, element, *ends, first=step == 1, last=last, short=how["short"], whole=how.get("whole", False)
    )
    buffers = [_held(ends[0], element, n * rows), _room(ends[1], element, n * rows), _roots(element, radix, m // step)]
    groups = -(-m * rows // LANES) if how["short"] else (-(-m // LANES), rows)
    return _signal(kernel, buffers, (n, step, rows, how.get("swap", False), how.get("swap", False), 0.75), groups)


def _wide(radix: int, element: DType, target: Form, step: int, count: int, *, swap: bool = False) -> Case:
    n, rows = radix * step * count, 2
    kernel = wide_stage(radix, element, target, last=count == 1, whole=step % WIDE == 0)
    buffers = [_held(Form.PLANES, element, n * rows), _room(target, element, n * rows), _roots(element, radix, count)]
    groups = -(-step // WIDE), -(-count * rows // _PARTS)
    return _signal(kernel, buffers, (n, step, rows, swap, 0.75), groups)


for _at, _radix in enumerate((*RADICES, 1)):
    for _element in (f32, f64):
        _rare = _element == f64 or _radix in (16, 8, 7, 5)
        _ends = (Form.PAIRS, Form.PLANES) if _at % 2 else (Form.REAL, Form.PLANES)
        _label = f"signals/fft{_radix}-{_element}"
        if _radix > 1:
            case(f"{_label}-first", widths=(1, 16), slow=_rare)(
                partial(_narrow, _radix, _element, _ends, 1, 70, short=False)
            )
            case(f"{_label}-wide", widths=(4, 8), slow=_rare)(partial(_wide, _radix, _element, Form.PLANES, 20, 3))
        case(f"{_label}-only", widths=(8,), slow=_rare)(
            partial(_narrow, _radix, _element, (Form.PAIRS, Form.PAIRS), 1, 1, short=True, swap=True)
        )
case("signals/fft4-whole")(partial(_narrow, 4, f32, (Form.PAIRS, Form.PLANES), 1, 128, short=False, whole=True))
case("signals/fft3-later")(partial(_narrow, 3, f32, (Form.PLANES, Form.PLANES), 5, 15, short=True))
case("signals/fft5-long")(partial(_narrow, 5, f32, (Form.PLANES, Form.PLANES), 15, 75, short=False))
case("signals/fft4-last")(partial(_wide, 4, f32, Form.PAIRS, 32, 1, swap=True))
case("signals/fft2-last", widths=(1, 4))(partial(_wide, 2, f64, Form.PAIRS, 48, 1, swap=True))


def _chirp(element: DType, swap: bool, *, out: bool) -> Case:
    n, size, rows = 45, 100, 2
    chirp = _numbers(element, 2 * n)
    if out:
        buffers = [_numbers(element, 2 * size * rows), chirp, _room(Form.PAIRS, element, n * rows)]
        return _signal(steps.chirp_out(element, Form.PAIRS), buffers, (n, size, rows, swap, 0.5), (1, rows))
    buffers = [_held(Form.PAIRS, element, n * rows), chirp, _room(Form.PLANES, element, size * rows)]
    return _signal(steps.chirp_in(element, Form.PAIRS), buffers, (n, size, rows, swap), (2, rows))


def _product(element: DType) -> Case:
    size, rows = 70, 2
    buffers = [
        _numbers(element, 2 * size * rows),
        _numbers(element, 2 * size),
        np.zeros(2 * size * rows, element.numpy),
    ]
    return _signal(steps.multiply_spectra(element), buffers, (size, rows), (2, rows))


def _real(element: DType, *, before: bool) -> Case:
    h, rows = 66, 2
    planes, pairs = Form.PLANES, Form.PAIRS
    roots = _numbers(element, 2 * (h + 1))
    if before:
        buffers = [_held(pairs, element, (h + 1) * rows), roots, _room(planes, element, h * rows)]
        return _signal(steps.real_before(element, pairs), buffers, (h, rows), (2, rows))
    buffers = [_held(planes, element, h * rows), roots, _room(pairs, element, (h + 1) * rows)]
    return _signal(steps.real_after(element, pairs), buffers, (h, rows, 0.75), (2, rows))


def _moves(which: str) -> Case:
    n, rows = 71, 2
    x, pairs = _numbers(f32, 2 * n * rows), _held(Form.PAIRS, f32, 36 * rows)
    if which == "hermitian":
        buffers = [pairs, np.zeros(2 * n * rows, np.float32)]
        return _signal(steps.hermitian(f32, Form.PAIRS), buffers, (n, rows), (2, rows))
    if which == "keep":
        return _signal(steps.keep_half(f32, Form.PAIRS), [x, np.zeros_like(pairs)], (n, 36, rows, 0.75), (1, rows))
    if which == "pad":
        buffers = [x[: n * rows], np.zeros(100 * (rows + 1), np.float32)]
        padded = np.zeros((rows + 1, 100), np.float32)
        padded[1:, 7 : 7 + n] = x[: n * rows].reshape(rows, n)
        return _signal(steps.pad(f32), buffers, (n, 100, 7, 1), (2, rows), out=padded.reshape(-1))
    if which == "spectra":
        return _signal(steps.spectrum_product(f32), [x, np.zeros(2 * n, np.float32)], (n,), 2)
    if which == "reverse":
        return _signal(steps.reverse(f32), [x, np.zeros_like(x)], (x.size,), 5, out=x[::-1].copy())
    if which == "cut":
        return _signal(steps.cut(f32), [x, np.zeros(n, np.float32)], (5, n), 2, out=x[5 : 5 + n].copy())
    return _signal(steps.real_parts(f32), [x, np.zeros(n, np.float32)], (n, 2.0), 2, out=x[:n] * np.float32(2))


for _element in (f32, f64):
    for _swap in (False, True):
        case(f"signals/chirp-in-{_element}-{_swap}", widths=(4, 16), slow=_swap)(
            partial(_chirp, _element, _swap, out=False)
        )
        case(f"signals/chirp-out-{_element}-{_swap}", widths=(1, 8), slow=not _swap)(
            partial(_chirp, _element, _swap, out=True)
        )
    case(f"signals/multiply-spectra-{_element}", widths=(8,))(partial(_product, _element))
    case(f"signals/real-after-{_element}", widths=(1, 16), slow=_element == f64)(partial(_real, _element, before=False))
    case(f"signals/real-before-{_element}", widths=(4, 8), slow=_element == f64)(partial(_real, _element, before=True))
for _which in ("hermitian", "keep", "pad", "spectra", "reverse", "cut", "real"):
    case(f"signals/{_which}", widths=(1, 8))(partial(_moves, _which))


# sliding sums


def _sliding(element: DType) -> Case:
    k, length, rows = 150, 300, 2
    width = 512 + k
    x, taps = _numbers(element, width * rows), _numbers(element, k)
    known = {}
    if element.is_integer:
        sums = [np.correlate(row, taps[10:], "valid")[10 : 10 + length] for row in x.reshape(rows, width)]
        known["out"] = np.concatenate(sums).astype(element.numpy)
    out = np.zeros(length * rows, element.numpy)
    return _signal(convolve.sliding_sums(element), [x, taps, out], (10, k - 10, width, length), (2, rows), **known)


for _element in (f32, f64, i32, i64):
    case(f"signals/sliding-{_element}")(partial(_sliding, _element))


def _average(element: DType) -> Case:
    x = _numbers(element, 2 * 9 * 35)
    return _signal(convolve.moving_average(element), [x, np.zeros_like(x)], (9, 35, 70, 0.25, 0.75), 2)


def _rows() -> Case:
    x, y = _numbers(f32, 100), _numbers(f32, 101)[:100]
    return _signal(convolve.add_rows(f32), [x, y], (100,), 2, x=x + y)


case("signals/average-f32")(partial(_average, f32))
case("signals/average-f64", widths=(4,))(partial(_average, f64))
case("signals/add-rows", widths=(8,))(_rows)


# factorisations: 70 rows in columns of 128, so that there are two panels


def _columns(element: DType, columns: int, matrices: int = 2) -> Array:
    x = _numbers(element, matrices * columns * 128).reshape(-1, 128)
    x[:, 70:] = 0
    return x.reshape(-1)


def _lu(which: str, element: DType) -> Case:
    x, pivots = _columns(element, 80), np.resize(np.arange(70, dtype=np.uint32) // 2 + 35, 140)
    sizes = (70, 128, 80)
    if which == "panel":
        info, found = np.zeros(2, np.uint32), np.zeros(140, np.uint32)
        return _signal(lu.eliminate_panel(element), [x, found, info], (64, 70, *sizes), 2)
    if which == "rows":
        return _signal(lu.eliminate_rows(element), [x, pivots], (0, 20, *sizes), (1, 2))
    if which == "rest":
        return _signal(lu.eliminate_rest(element), [x], (58, 64, 128, 80), (1, 2, 2))
    if which == "swaps":
        return _signal(lu.swap_rows(element), [x, pivots], sizes, (2, 2))
    if which == "determinant":
        return _signal(lu.determinant(element), [x, pivots, np.zeros(2, element.numpy)], (*sizes, 2), 1)
    return _signal(lu.back_substitution(element), [x], sizes, (10, 2))


for _which in ("panel", "rows", "rest", "swaps", "determinant", "back"):
    case(f"signals/lu-{_which}", widths=(1, 16))(partial(_lu, _which, f32))
    case(f"signals/lu-{_which}-f64", widths=(4, 8), slow=True)(partial(_lu, _which, f64))


def _cholesky(which: str, element: DType) -> Case:
    x = abs(_columns(element, 72))
    if which == "panel":
        return _signal(cholesky.cholesky_panel(element), [x, np.zeros(2, np.uint32)], (64, 70, 128, 72), 2)
    if which == "rest":
        return _signal(lu.eliminate_rest(element, symmetric=True), [x], (58, 64, 128, 72), (1, 1, 2))
    out = np.full(2 * 70 * 70, 7, element.numpy)
    return _signal(cholesky.lower_triangle(element), [x, out], (70, 128, 72), (2, 70, 2))


for _which in ("panel", "rest", "lower"):
    case(f"signals/cholesky-{_which}", widths=(1, 8))(partial(_cholesky, _which, f32))


def _qr(which: str, element: DType) -> Case:
    x, factors = _columns(element, 8), _numbers(element, 8)
    if which == "make":
        return _signal(qr.make_reflection(element), [x, np.zeros(8, element.numpy)], (2, 4, 128, 8), 2)
    if which == "apart":
        y = _columns(element, 16)
        kernel = qr.apply_reflection(element, apart=True)
        return _signal(kernel, [x, factors, y], (2, 1, 4, 128, 8, 16), (9, 2))
    return _signal(qr.apply_reflection(element, apart=False), [x, factors], (2, 3, 4, 128, 8), (5, 2))


for _which in ("make", "apart", "within"):
    case(f"signals/qr-{_which}", widths=(1, 16))(partial(_qr, _which, f32))
    case(f"signals/qr-{_which}-f64", widths=(8,), slow=True)(partial(_qr, _which, f64))


def _vectors(which: str) -> Case:
    x = _numbers(f32, 2 * 20 * 33)
    if which == "transposed":
        known = x.reshape(2, 20, 33).swapaxes(1, 2).reshape(-1).copy()
        kernel = vectors.transpose_tiles(f32)
        return _signal(kernel, [x, np.zeros_like(x)], (20, 33), (3, 2, 2), out=known)
    if which in ("to", "from"):
        spread = np.full(2 * 40 * 64, 7, np.float32)
        if which == "from":
            return _signal(vectors.columns_to_rows(f32, upper=True), [spread, x], (20, 33, 64, 40, 2), (3, 2, 2))
        return _signal(vectors.rows_to_columns(f32), [x, spread], (20, 33, 64, 40, 2), (3, 4, 2))
    if which == "identity":
        return _signal(vectors.identity_columns(f32), [np.full(2 * 10 * 64, 7, np.float32)], (64, 10, 2), (1, 8, 2))
    if which == "cross":
        return _signal(vectors.cross_product(f32), [x[:300], x[:3], np.zeros(300, np.float32)], (100, 100, 1), 2)
    if which == "outer":
        known = (x[:9, None] * x[None, :100]).reshape(-1)
        return _signal(
            vectors.outer_product(f32), [x[:9], x[:100], np.zeros(900, np.float32)], (100,), (2, 9), out=known
        )
    squares = abs(x[:66])
    squares[3] = 0
    return _signal(vectors.normalize_rows(f32), [x, squares, np.zeros_like(x)], (x.size, 20, 33), 21)


for _which in ("transposed", "to", "from", "identity", "cross", "outer", "divide"):
    case(f"signals/{_which}-{'columns' if _which in ('to', 'from') else 'vectors'}", widths=(1, 8))(
        partial(_vectors, _which)
    )
