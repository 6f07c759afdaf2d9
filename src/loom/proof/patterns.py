"""Layer 3: the kernels behind the patterns, on inputs of widely spread exponents.

Layer: proof. A row is a case's name, its inputs and what is computed. Shapes are ragged on purpose: no length
is a multiple of a tile. Invariant: any change in the order of a float operation changes a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from loom import tensor
from loom.core.dtype import DType, bf16, f16, f32, f64, i8, i32, i64, u8, u16, u32
from loom.kernels.precisions import PRECISIONS
from loom.models.sampling import SamplingConfig, SamplingState, sample
from loom.patterns import data, linalg, random, signal, stats
from loom.patterns.arg_reduce import gpu_argmax
from loom.patterns.logical import gpu_count
from loom.patterns.maps.elementwise import gpu_abs, gpu_cast, gpu_sqrt, gpu_sub, gpu_where
from loom.patterns.maps.map import gpu_map
from loom.patterns.matmul import gpu_matmul
from loom.patterns.products import gpu_dot, gpu_norm
from loom.patterns.reduce import gpu_max, gpu_mean, gpu_min, gpu_product, gpu_sum
from loom.patterns.scan import gpu_scan
from loom.patterns.search import gpu_unique
from loom.patterns.segment_scan import gpu_segment_scan
from loom.patterns.select import gpu_topk
from loom.patterns.sort import gpu_argsort, gpu_sort, gpu_sort_pairs
from loom.proof.inputs import numbers, seed_of
from loom.runtime.port.device import Device
from loom.tensor import Tensor, array, special
from loom.tensor.neural.cached import cached_attention
from loom.tensor.neural.quantized import COMPUTES, multiply_weights, quantize, take_rows

__all__ = ["PATTERNS"]

Bits = np.ndarray[Any, Any]
_Row = tuple[str, Callable[[], Sequence[Bits]], Callable[..., Sequence[Bits]]]
_LONG, _MIDDLE, _SHORT = 1_000_007, 70_001, 9001
"""Elements: of reductions; of what has tiles; of what the interpreter takes its time for."""

_CHOICES: tuple[dict[str, Any], ...] = (
    {}, {"temperature": 0}, {"temperature": 0.3, "top_k": 5}, {"top_p": 0.9, "temperature": 2.0},
    {"min_p": 0.05, "top_k": 300, "top_p": 0.5, "logit_bias": {7: 4.5}},
    {"repetition_penalty": 1.3, "frequency_penalty": 0.7, "presence_penalty": -0.4, "stream": 3},
)  # fmt: skip


def _row(name: str, shapes: Sequence[Any], dtypes: DType | Sequence[DType], compute: Any, spread: int = 6) -> _Row:
    """Return a case: ``compute(*arrays, on=device)`` of random arrays of these shapes and dtypes."""
    kinds = [dtypes] * len(shapes) if isinstance(dtypes, DType) else dtypes

    def inputs() -> Sequence[Bits]:
        rows = enumerate(zip(shapes, kinds, strict=True))
        return [numbers(shape, kind, seed_of(f"{name} {n}"), spread=spread) for n, (shape, kind) in rows]

    def results(device: Device, *arrays: Bits) -> Sequence[Bits]:
        given = (_as_bf16(a, device) if k == bf16 else a for a, k in zip(arrays, kinds, strict=True))
        found = compute(*given, on=device)
        return [_plain(a) for a in (cast("tuple[Any, ...]", found) if isinstance(found, tuple) else (found,))]

    return name, inputs, results


def _multiply_rows(encoding: str, compute: str, x: Bits, weights: Bits, on: Device) -> Bits:
    """Return a product of quantised weights, and some of their rows."""
    held = quantize(weights, encoding, compute=compute, on=on)
    product = multiply_weights(array(x, on=on), held).numpy()
    return np.concatenate([product.reshape(-1), take_rows(held, array([20, 0], "i32", on=on)).numpy().reshape(-1)])


_PLACES, _PAGES = [[0, 4200], [1, 70], [0, 0], [1, 71], [0, 4201]], 68
"""Sequence and position + 1 of each row; pages of all sequences."""


def _attend_cached(held: str, window: int | None, *given: Bits, on: Device) -> Bits:
    """Return attention of a few rows over pages that lie in no order."""
    kept = [tensor.parameter(array(a, on=on).astype(held).numpy(), held, on=on) for a in given[3:]]
    tables = np.zeros((2, 66), np.uint32)
    tables[0], tables[1, :2] = np.arange(2, _PAGES)[::-1], (1, 0)
    q, k, v = (tensor.input(name, a.shape) for name, a in zip("qkv", given[:3], strict=True))
    places, about = tensor.input("places", (len(_PLACES), 2), "u32"), tensor.input("tables", tables.shape, "u32")
    program = tensor.compile([cached_attention(q, k, v, kept[0], kept[1], places, about, 0.25, window)], on=on)
    program.run(places=np.array(_PLACES, np.uint32), tables=tables, **dict(zip("qkv", given[:3], strict=True)))
    found = program.read()[0]
    program.free()
    return found


def _choose_tokens(logits: Bits, on: Device) -> tuple[Bits, Bits]:
    """Return the tokens that rows of all settings choose, and the chances of the likeliest, which are told as well."""
    states = [SamplingState(SamplingConfig(seed=n, **settings), range(n)) for n, settings in enumerate(_CHOICES)]
    for state in states:
        state.push(5)
    masks: list[Bits | None] = [np.arange(logits.shape[1]) % 3 != 0 if n % 2 else None for n in range(len(states))]
    found = sample(logits, states, masks=masks, logprobs=3, on=on)
    top = [chance for row in found.top or () for _, chance in row]
    return np.array(found.tokens, np.uint32), np.array([*(found.logprobs or ()), *top], np.float32)


def _as_bf16(raw: Bits, device: Device) -> Tensor:
    """Return raw bits of bf16 as an array that says so; numpy has no such type."""
    wide = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return gpu_cast(array(wide, on=device), bf16)


def _plain(result: Any) -> Bits:
    """Return a result as an array of numbers; complex ones as pairs, bf16 as its bits, which need no ml_dtypes."""
    if isinstance(result, Tensor) and result.dtype == bf16:
        return result.host_elements()[0]
    found: Any = np.asarray(result)
    return np.stack([found.real, found.imag]) if found.dtype.kind == "c" else found


def _rolling_means(x: Bits, on: Device) -> Any:
    return data.rolling(x, 65, on=on).mean()


def _complex(pairs: Bits) -> Bits:
    return pairs[0] + pairs[1] * pairs.dtype.type(1) * 1j if pairs.dtype == np.float64 else _single(pairs)


def _single(pairs: Bits) -> Bits:
    made: Any = np.empty(pairs.shape[1:], np.complex64)
    made.real, made.imag = pairs
    return made


def _fft(pairs: Bits, on: Device) -> Any:
    return signal.fft(_complex(pairs), on=on)


def _hermitian(pairs: Bits, on: Device) -> Any:
    return tuple(linalg.eigh(_complex(pairs), on=on))


def _complex_svd(pairs: Bits, on: Device) -> Any:
    return tuple(linalg.svd(_complex(pairs), on=on))


def _special(x: Bits, on: Device) -> Any:
    given = array(x, on=on)
    names = special.ndtr, special.log_ndtr, special.erfinv, special.digamma, special.i0e, special.i1e, special.sinc
    return tuple(f(given).numpy() for f in names)


def _definite(a: Bits, on: Device) -> Any:
    """Return the Cholesky factor of ``a a' + n I``."""
    square = gpu_matmul(a, a, transpose_b=True, on=on) + np.eye(len(a), dtype=a.dtype) * a.dtype.type(len(a))
    return linalg.cholesky(square, on=on)


def _segments(x: Bits, ids: Bits, on: Device) -> Any:
    return gpu_segment_scan(x, ids % np.uint8(17) == 0, on=on)


def _group_by(keys: Bits, values: Bits, on: Device) -> Any:
    return tuple(data.group_by(keys, values, on=on).sum())


def _join(left: Bits, right: Bits, on: Device) -> Any:
    return tuple(data.join(left, right, on=on))


def _filter(x: Bits, on: Device) -> Any:
    return data.filter(x, x > 0, on=on)


def _map_chain(x: Bits, y: Bits, on: Device) -> Any:
    a, b = array(x, on=on), array(y, on=on)
    return gpu_sub(gpu_sqrt(gpu_abs(gpu_map(a, "mul", b))), b)


def _where(x: Bits, y: Bits, on: Device) -> Any:
    return gpu_where(x < y, x, y, on=on)


_SQUARE = (67, 517), (517, 129)

PATTERNS: tuple[_Row, ...] = (
    _row("fused maps f32", [_MIDDLE, _MIDDLE], f32, _map_chain),
    _row("where f32", [_MIDDLE, _MIDDLE], f32, _where),
    *(_row(f"sum {t}", [_LONG], t, gpu_sum) for t in (f32, f64, i32)),
    *(_row(f"sum {t}", [_MIDDLE], t, gpu_sum) for t in (f16, bf16, u8)),
    *(_row(f"sum f32 of axis {n}", [(513, 1029)], f32, partial(gpu_sum, axis=n)) for n in (0, 1)),
    _row("mean f32", [_LONG], f32, gpu_mean),
    _row("mean i64", [_MIDDLE], i64, gpu_mean),
    _row("product f32", [_MIDDLE], f32, gpu_product, 1),
    _row("max f32", [_LONG], f32, gpu_max),
    _row("min u32", [_LONG], u32, gpu_min),
    _row("argmax f32", [_LONG], f32, gpu_argmax),
    _row("count f16", [_MIDDLE], f16, gpu_count),
    _row("dot f32", [_LONG, _LONG], f32, gpu_dot),
    _row("norm f32", [_LONG], f32, gpu_norm),
    _row("scan f32", [_LONG], f32, gpu_scan),
    _row("scan f64", [_MIDDLE], f64, gpu_scan),
    _row("scan i32", [_MIDDLE], i32, gpu_scan),
    _row("scan f32, exclusive", [_MIDDLE], f32, partial(gpu_scan, exclusive=True)),
    _row("scan f32, max", [_MIDDLE], f32, partial(gpu_scan, op="max")),
    _row("scan f32 in segments", [_MIDDLE, _MIDDLE], (f32, u8), _segments),
    *(_row(f"sort {t}", [_SHORT], t, gpu_sort) for t in (f32, f64, f16, u8, i32, u32)),
    _row("argsort f32", [_SHORT], f32, gpu_argsort),
    _row("sort pairs i8, f32", [_SHORT, _SHORT], (i8, f32), gpu_sort_pairs),
    _row("top f32", [_SHORT], f32, partial(gpu_topk, k=129)),
    _row("unique i32", [_SHORT], i32, gpu_unique),
    *(_row(f"matmul {t}", _SQUARE, t, gpu_matmul) for t in (f32, f64, f16, bf16, i8, u8, u16, i32)),
    _row("matmul f32, x12", _SQUARE, f32, partial(gpu_matmul, precision="x12")),
    *(_row(f"matmul f32, {p}", _SQUARE, f32, partial(gpu_matmul, precision=p)) for p in PRECISIONS),
    _row("matmul f32, q12, deep", [(5, 9000), (9000, 7)], f32, partial(gpu_matmul, precision="q12")),
    _row("matmul f32, one row", [(1, 4096), (4096, 4097)], f32, gpu_matmul),
    _row("matmul f32, deep", [(5, 9000), (9000, 7)], f32, gpu_matmul),
    _row("matmul f32, batches", [(3, 33, 65), (65, 40)], f32, gpu_matmul),
    *(
        _row(
            f"quantised {encoding}, {compute}", [(3, 4256), (21, 4256)], f32, partial(_multiply_rows, encoding, compute)
        )
        for encoding in ("q4_1", "q8_0")
        for compute in COMPUTES
    ),
    *(
        _row(
            f"cached attention, {held}, {window or 'all'}",
            [(5, 2, 3, 8), (5, 2, 8), (5, 2, 8), (_PAGES, 2, 512), (_PAGES, 2, 512)],
            f32,
            partial(_attend_cached, held, window),
            1,
        )
        for held, window in (("f32", None), ("f32", 100), ("f16", None))
    ),
    _row("tokens chosen by settings", [(len(_CHOICES), 4133)], f32, _choose_tokens, spread=3),
    *(_row(f"fft f32 {n}", [(2, n)], f32, _fft) for n in (1024, 1000, 997)),
    _row("fft f64 1000", [(2, 1000)], f64, _fft),
    _row("convolve f32", [5003, 64], f32, partial(signal.convolve, method="direct")),
    _row("ema f32", [5003], f32, partial(signal.ema, alpha=0.1)),
    _row("solve f32", [(65, 65), 65], f32, linalg.solve),
    _row("cholesky f32", [(65, 65)], f32, _definite),
    _row("qr f32", [(65, 33)], f32, linalg.qr),
    _row("eigh f32", [(33, 33)], f32, linalg.eigh),
    _row("svd f32", [(33, 20)], f32, linalg.svd),
    _row("svd f64, small", [(3, 5, 5)], f64, linalg.svd),
    _row("eigh c64", [(2, 9, 9)], f32, _hermitian),
    _row("svd c64", [(2, 9, 5)], f32, _complex_svd),
    _row("special functions f32", [997], f32, _special),
    _row("lstsq f32", [(40, 7), 40], f32, linalg.lstsq),
    _row("variance f32", [_MIDDLE], f32, stats.variance),
    _row("median f32", [_SHORT], f32, stats.median),
    _row("correlation f32", [(5, 3001)], f32, stats.correlation),
    _row("histogram f32", [_MIDDLE], f32, stats.histogram),
    _row("filter f32", [_MIDDLE], f32, _filter),
    _row("group sums u8, f32", [_SHORT, _SHORT], (u8, f32), _group_by),
    _row("join u16", [3001, 2003], u16, _join),
    _row("rolling means f32", [5003], f32, _rolling_means),
    _row("uniform f32", [], f32, partial(random.uniform, _MIDDLE, seed=1)),
    _row("normal f32", [], f32, partial(random.normal, _MIDDLE, seed=2)),
    _row("normal f64", [], f64, partial(random.normal, 5003, seed=3, dtype=f64)),
    _row("integers i64", [], i64, partial(random.integers, _MIDDLE, -5, 1000, seed=4)),
    _row("permutation", [], i64, partial(random.permutation, _SHORT, seed=5)),
)
"""Every case of layer 3."""
