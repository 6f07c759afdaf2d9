"""Numbers and layouts of all kinds, drawn; what the contract says of products of them, in plain numpy.

Source: ``docs/numerics.md``, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.numerics import canonical_bits

__all__ = ["Draw", "drawn", "laid", "product", "same"]

Draw = np.random.Generator
TOPS = {"q8": 127, "q12": 2015, "q24": 8_355_711}
# numbers


def _mixed(rng: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.ldexp(rng.normal(size=shape), rng.integers(-148, 126, shape))


def _subnormal(rng: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.ldexp(rng.integers(-5000, 5000, shape).astype(float), -149)


def _strange(rng: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    values = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 3.4028234e38, -3.4028234e38, 2.0**-149, 2.0**-126, 1e-20]
    return np.where(rng.random(shape) < 0.02, rng.choice(values, shape), rng.normal(size=shape))


def _ties(rng: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Whole numbers and halves about the ends of each precision, in steps that rows share or not."""
    top = rng.choice([127, 2015, 8_355_711])
    x = rng.integers(-top, top + 1, shape) + rng.choice([0, 0.5, -0.5], shape)
    return np.ldexp(np.where(rng.random(shape) < 0.05, top + rng.choice([0, 0.5, 0.75, 1], shape), x),
                    rng.integers(-140, 100))  # fmt: skip


def _whole(rng: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return rng.integers(-40, 40, shape).astype(float)


def _lonely(rng: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Zeros of both signs, and few numbers, some huge."""
    return np.where(rng.random(shape) < 0.03, _mixed(rng, shape), rng.choice([0.0, -0.0], shape))


def _extreme(rng: Draw, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return rng.choice([3.4028234e38, -3.4028234e38, 1.5e38, 2.0**-126, -(2.0**-149), 1.1754942e-38, 1.0], shape)


NUMBERS: tuple[Callable[[Draw, tuple[int, ...]], np.ndarray[Any, Any]], ...] = (
    lambda rng, shape: rng.normal(size=shape), _mixed, _subnormal, _strange, _ties, _whole, _lonely, _extreme,
)  # fmt: skip


def drawn(rng: Draw, shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    """Return an array of numbers of one kind; bf16 as f32 that it has."""
    if dtype[0] in "iu":
        info = np.iinfo({"i": "int", "u": "uint"}[dtype[0]] + dtype[1:])
        return rng.integers(info.min, info.max, shape, dtype=info.dtype, endpoint=True)
    with np.errstate(all="ignore"):
        x = NUMBERS[rng.integers(len(NUMBERS))](rng, shape)
        x = np.where(np.abs(x) > 6e4, x * 2.0**-112, x) if dtype == "f16" else x
        x = x.astype({"f16": np.float16, "f64": np.float64}.get(dtype, np.float32))
        return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) if dtype == "bf16" else x


def laid(rng: Draw, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the same numbers, lying some other way."""
    way = rng.integers(7)
    if way == 0:
        return np.asfortranarray(x)
    if way == 1 and x.ndim and x.shape[-1]:
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 77, x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if way == 2:
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    if way == 3 and x.ndim > 1:
        return np.ascontiguousarray(x.swapaxes(0, -1)).swapaxes(0, -1)
    return x


# what the contract says


def _step_of(x: np.ndarray[Any, Any], top: int) -> np.ndarray[Any, Any]:
    """Return e of step 1 for blocks along the last axis."""
    most = np.abs(x.astype(np.float64)).max(-1)
    e = np.maximum(np.frexp(most)[1] - top.bit_length() - 1, -126)
    while (over := np.rint(np.ldexp(most, -e)) > top).any():
        e = e + over
    return e


def _blocks_of(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], precision: str | None) -> list[np.ndarray[Any, Any]]:
    """Return what blocks of 128 k contribute to (.., m, k) @ (.., k, n)."""
    found = []
    for start in range(0, a.shape[-1], 128):
        x, y = a[..., start : start + 128], b[..., start : start + 128, :]
        if precision in TOPS:
            found.append(_block_in(x.astype(np.float32), y.swapaxes(-1, -2).astype(np.float32), TOPS[precision]))
            continue
        total = np.zeros((*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1]), x.dtype)
        for k in range(x.shape[-1]):
            total = total + x[..., :, k, None] * y[..., None, k, :]
        found.append(total)
    return found


def _block_in(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], top: int) -> np.ndarray[Any, Any]:
    bad = [~np.isfinite(z).all(-1) for z in (x, y)]
    whole, steps = [], []
    for z, wrong in zip((x, y), bad, strict=True):
        clean = np.where(wrong[..., None], np.float32(0), z).astype(np.float64)
        steps.append(_step_of(clean, top))
        whole.append(np.rint(np.ldexp(clean, -steps[-1][..., None])).astype(np.int64))
    t = np.matmul(whole[0], whole[1].swapaxes(-1, -2)).astype(np.float32)
    left, right = steps[0][..., :, None], steps[1][..., None, :]
    least, most = (np.ldexp(np.float32(1), pick(left, right)) for pick in (np.minimum, np.maximum))
    c = t * least * most + np.float32(0)
    return np.where(bad[0][..., :, None] | bad[1][..., None, :], np.float32(np.nan), c)


def _short(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return f32 rounded to 12 significant bits, halves to even, on the bits."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FF) + ((bits >> np.uint32(12)) & np.uint32(1))) & np.uint32(0xFFFFF000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


def product(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], precision: str | None = None) -> np.ndarray[Any, Any]:
    """Return the product of floats (f16 as f32, not rounded at the end) as the contract says."""
    with np.errstate(all="ignore"):
        if precision == "x12":
            a, b = _short(np.ascontiguousarray(a)), _short(np.ascontiguousarray(b))
        blocks = _blocks_of(a, b, precision)
        chunks = []
        for start in range(0, len(blocks), 32):
            total = np.zeros_like(blocks[0])
            for block in blocks[start : start + 32]:
                total = total + block
            chunks.append(total)
        while len(chunks) > 1:
            chunks = [chunks[n] + chunks[n + 1] if n + 1 < len(chunks) else chunks[n] for n in range(0, len(chunks), 2)]
        if chunks:
            return chunks[0]
        return np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype)


def same(found: Any, wanted: Any, what: str) -> None:
    """Fail unless both have the same shape and bits."""
    x, y = np.asarray(found), np.asarray(wanted)
    assert (x.shape, x.dtype) == (y.shape, y.dtype), what
    wrong = canonical_bits(x) != canonical_bits(y)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{what}: {wrong.sum()} of {x.size} differ, first {at}: {x[at]!r}, not {y[at]!r}")
