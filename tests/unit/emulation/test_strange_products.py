"""Products that a stranger draws: sizes, layouts and numbers of all kinds, on GPUs of CUDA that are emulated.

Oracles: ``docs/numerics.md``, section 2, in plain numpy, and the processor's bits. A seed draws a case; a case that
fails is told with its seed and machine, and made again by ``test_of(machine, kind, seed)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Binding, Emulated
from emulation.driver.interpreted import Interpreted
from emulation.driver.streams import Order
from loom import tensor
from loom.core.numerics import canonical_bits
from loom.runtime.drivers.cuda import api, gpus
from loom.runtime.drivers.cuda.device import CudaDevice

Draw = np.random.Generator
MACHINES = {
    "plain": {}, "tiles": {"tiles": True}, "wide": {"tiles": True, "wide": True}, "single": {"processors": 1},
    "many": {"tiles": True, "wide": True, "processors": 132}, "ampere": {"tiles": True, "chip": (8, 0)},
    "lone": {"tiles": True, "wide": True, "processors": 1},
}  # fmt: skip
"""GPUs by what they offer and how many processors they have, which decides how products are cut."""
TOPS = {"q8": 127, "q12": 2015, "q24": 8_355_711}
SIDES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 130)
DEPTHS = (0, 1, 2, 3, 4, 5, 16, 31, 33, 63, 64, 65, 127, 128, 129, 130, 255, 256, 257, 300, 384, 385)


@cache
def gpu_of(name: str) -> tuple[CudaDevice, Emulated]:
    """Return a GPU and what drives it, made once for all cases."""
    options = MACHINES[name]
    machine = Emulated(Interpreted(), chip=options.get("chip", (9, 0)), seed=len(name), order=Order.DRAWN)
    machine.attributes["MULTIPROCESSOR_COUNT"] = options.get("processors", 4)
    gpu = CudaDevice(gpus._gpus(api.Api(Binding(machine)))[0], tested=False)
    gpu.tiles, gpu.wide = options.get("tiles", False), options.get("wide", False)
    return gpu, machine


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
        total = np.zeros(np.broadcast_shapes(x.shape[:-2], y.shape[:-2]) + (x.shape[-2], y.shape[-1]), x.dtype)
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


def short(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return f32 rounded to 12 significant bits, halves to even, on the bits."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x7FF) + ((bits >> np.uint32(12)) & np.uint32(1))) & np.uint32(0xFFFFF000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


def product(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], precision: str | None = None) -> np.ndarray[Any, Any]:
    """Return the product of floats (f16 as f32, not rounded at the end) as the contract says."""
    with np.errstate(all="ignore"):
        if precision == "x12":
            a, b = short(np.ascontiguousarray(a)), short(np.ascontiguousarray(b))
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
        return np.zeros(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + (a.shape[-2], b.shape[-1]), a.dtype)


def same(found: Any, wanted: Any, what: str) -> None:
    """Fail unless both have the same shape and bits."""
    x, y = np.asarray(found), np.asarray(wanted)
    assert x.shape == y.shape and x.dtype == y.dtype, f"{what}: {x.shape} {x.dtype}, not {y.shape} {y.dtype}"
    wrong = canonical_bits(x) != canonical_bits(y)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{what}: {wrong.sum()} of {x.size} differ, first {at}: {x[at]!r}, not {y[at]!r}")


# cases: what a seed draws, as what is computed anywhere and what the contract says of it


Case = tuple[str, Callable[[Any], "list[Any]"], "list[Any] | None"]
FLOATS = ("f32", "f32", "f32", "f16", "bf16")


def _precision(rng: Draw, dtype: str) -> str | None:
    names = [None, "q8", "q12", "q24", *(["x12"] if dtype == "f32" else [])]
    return names[rng.integers(len(names))] if dtype in FLOATS else None


def _rounded(x: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):
        return np.asarray(loom.array(np.ascontiguousarray(x), on="cpu").astype("bf16")) if dtype == "bf16" else \
            x.astype(np.float16) if dtype == "f16" else x  # fmt: skip


def _placed(rng_seed: int, x: np.ndarray[Any, Any], dtype: str, place: Any) -> Any:
    """Return a tensor of a device that shows these numbers, by some view of what lies there."""
    way, on = rng_seed % 5, place
    typed = dict(dtype=dtype, on=on)
    if way == 1 and x.ndim > 1:
        return tensor.transpose(loom.array(np.ascontiguousarray(x.swapaxes(-1, -2)), **typed), -1, -2)
    if way == 2 and x.ndim:
        padded = np.full((*x.shape[:-1], x.shape[-1] + 3), 7, x.dtype)
        padded[..., 2:-1] = x
        return loom.array(padded, **typed)[..., 2:-1]
    if way == 3 and x.ndim:
        doubled = np.repeat(x, 2, 0)
        return loom.array(doubled, **typed)[::2]
    if way == 4 and x.ndim:
        return tensor.reverse(loom.array(np.ascontiguousarray(x[::-1]), **typed), 0)
    return loom.array(x, **typed)


def draw_matmul(rng: Draw) -> Case:
    dtype = str(rng.choice(["f32"] * 8 + ["f16", "f16", "bf16", "bf16", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64"]))
    precision = _precision(rng, dtype)
    m, n, k = int(rng.choice(SIDES)), int(rng.choice(SIDES)), int(rng.choice(DEPTHS))
    if rng.random() < 0.04:
        m, n, k = int(rng.choice([1, 2, 5, 25])), int(rng.choice([1, 3, 24])), int(rng.choice([4095, 4097, 8200]))
    elif rng.random() < 0.15:
        m, n = (256 + int(d) for d in rng.integers(-2, 3, 2))
        k = min(k, 130)
    batches = [((), ()), ((), ()), ((), ()), ((2,), (2,)), ((3,), ()), ((), (2,)), ((2, 1), (1, 3)), ((1,), (3,)), ((0,), (1,))]
    left, right = batches[rng.integers(len(batches))] if m * n * k < 200_000 else ((), ())
    a, b = drawn(rng, (*left, m, k), dtype), drawn(rng, (*right, k, n), dtype)
    turned = rng.random(2) < 0.3
    x, y = (z.swapaxes(-1, -2) if t else z for z, t in zip((a, b), turned, strict=True))
    way, views = int(rng.integers(3)), [int(v) for v in rng.integers(5, size=2)]
    x, y = laid(rng, x), laid(rng, y)
    out_dtype = "f32" if dtype in ("f16", "bf16") and rng.random() < 0.4 else None
    options = dict(transpose_a=bool(turned[0]), transpose_b=bool(turned[1]), precision=precision, out_dtype=out_dtype)

    def compute(place: Any) -> list[Any]:
        if way == 0 and dtype != "bf16":
            return [loom.gpu_matmul(x, y, on=place, **options)]
        p, q = (_placed(view, z, dtype, place) for view, z in zip(views, (x, y), strict=True))
        if way == 1:
            return [np.asarray(loom.gpu_matmul(p, q, **options))]
        return [np.asarray(tensor.matmul(p, q, **options))]

    wanted = None
    if dtype == "f64":
        wanted = [product(a, b)]
    elif dtype in FLOATS:
        wanted = [_rounded(product(a.astype(np.float32), b.astype(np.float32), precision), out_dtype or dtype)]
    return f"matmul {dtype} {a.shape} {b.shape} {options} way {way} {views}", compute, wanted


EINSUMS = ("ij,jk->ik", "ij,kj->ki", "bij,bjk->bik", "bij,jk->bik", "ij,jk,kl->il", "bhqd,bhkd->bhqk", "i,j->ij",
           "ij,ij->", "bij,bkj->bik", "...ij,...jk->...ik", "aij,ajk,akl->il", "ii,ij->j", "ijk,kjl->il", "ij,j",
           "abc,cd,bd->a", "bqhd,bkhd->bhqk", "ik,k,kj->ij", "ij,kl->ikjl")  # fmt: skip


def draw_einsum(rng: Draw) -> Case:
    subscripts, dtype = str(rng.choice(EINSUMS)), str(rng.choice(FLOATS))
    precision = _precision(rng, dtype)
    sizes = {letter: int(rng.choice([1, 2, 3, 5, 17, 31, 33, 65])) for letter in "abhcijkldq."}
    sizes |= {letter: int(rng.choice([1, 2, 3])) for letter in "abh"}
    if dtype == "f32" and rng.random() < 0.2:
        sizes["j"], sizes["k"] = 130, 129
        sizes["l"] = 2
    given, views = [], [int(v) for v in rng.integers(5, size=4)]
    for letters in subscripts.split("->")[0].split(","):
        shape = tuple(1 if rng.random() < 0.03 and letters.count(c) == 1 else sizes[c] for c in letters.replace("...", ""))
        shape = (*(() if rng.random() < 0.5 else (2,)), *shape) if "..." in letters else shape
        given.append(drawn(rng, shape, dtype))
    with_gradients = rng.random() < 0.3

    def compute(place: Any) -> list[Any]:
        with loom.precision(precision):
            parts = [_placed(view, x, dtype, place) for view, x in zip(views, given, strict=False)]
            y = tensor.einsum(subscripts, *parts)
            found = [y, *(tensor.grad(y.sum(), parts) if with_gradients else ())]
            return [np.asarray(x) for x in found]

    shapes = [x.shape for x in given]
    return f"einsum {subscripts} {dtype} {precision} {shapes} gradients {with_gradients} {views}", compute, None


def draw_convolution(rng: Draw) -> Case:
    dtype, axes = str(rng.choice([*FLOATS, "f32", "f64", "i8"])), int(rng.choice([1, 1, 2, 2, 2, 3]))
    precision = _precision(rng, dtype)
    groups = int(rng.choice([1, 1, 1, 1, 2, 3, 4]))
    own, filters = int(rng.choice([1, 1, 2, 3, 4, 5, 8, 16, 17, 32])), int(rng.choice([1, 2, 3, 4, 7, 8, 24, 32, 33, 64]))
    if axes < 3 and rng.random() < 0.15:
        own, filters = int(rng.choice([64, 65, 128])), int(rng.choice([64, 65, 128]))
    filters = -(-filters // groups) * groups
    window = [int(rng.choice([1, 1, 2, 3, 3, 3, 5, 7])) for _ in range(axes)] if axes < 3 else [int(v) for v in rng.integers(1, 4, 3)]
    stride, dilation = ([int(v) for v in rng.choice([1, 1, 1, 2, 3], axes)] for _ in range(2))
    if rng.random() < 0.5:
        dilation = [1] * axes
    padding = [int(rng.integers(0, w + 1)) for w in window]
    size = [max(1, d * (w - 1) + 1 - 2 * p) + int(rng.integers(0, 9 if axes > 1 else 40))
            for w, d, p in zip(window, dilation, padding, strict=True)]  # fmt: skip
    batch = int(rng.choice([1, 1, 2, 3, 0 if rng.random() < 0.2 else 1]))
    x, w = drawn(rng, (batch, *size, own * groups), dtype), drawn(rng, (*window, own, filters), dtype)
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    views, gradients = [int(v) for v in rng.integers(5, size=2)], bool(dtype != "i8" and rng.random() < 0.5)
    views = [0 if rng.random() < 0.5 or v == 1 else v for v in views]
    seed = rng.integers(1 << 30)

    def compute(place: Any) -> list[Any]:
        with loom.precision(precision):
            p, q = (_placed(view, z, dtype, place) for view, z in zip(views, (x, w), strict=True))
            y = tensor.convolve(p, q, **options)
            found = [y]
            if gradients:
                cotangent = loom.array(drawn(np.random.default_rng(seed), y.shape, dtype), dtype=dtype, on=place)
                found += tensor.grad((y * cotangent).sum(), [p, q])
            return [np.asarray(z) for z in found]

    wanted = None
    if dtype in FLOATS or dtype == "f64":
        held = (x, w) if dtype == "f64" else (x.astype(np.float32), w.astype(np.float32))
        wanted = [_rounded(_convolved(*held, options, precision), dtype)]
    return f"convolve {dtype} {precision} {x.shape} {w.shape} {options} gradients {gradients} {views}", compute, wanted


def _convolved(x: np.ndarray[Any, Any], w: np.ndarray[Any, Any], options: dict[str, Any], precision: str | None) -> Any:
    """Return the convolution as products: k runs over the places of the window, channels fastest."""
    axes, groups = x.ndim - 2, options["groups"]
    x = np.pad(x, [(0, 0), *((p, p) for p in options["padding"]), (0, 0)])
    spans = [d * (n - 1) + 1 for d, n in zip(options["dilation"], w.shape, strict=False)]
    seen = np.lib.stride_tricks.sliding_window_view(x, spans, tuple(range(1, axes + 1)))
    steps = (slice(None), *(slice(None, None, s) for s in options["stride"]), slice(None))
    seen = seen[(*steps, *(slice(None, None, d) for d in options["dilation"]))]
    seen = np.moveaxis(seen, axes + 1, -1)  # batch, places, window, channels
    own, each = w.shape[-2], w.shape[-1] // groups
    parts = []
    for g in range(groups):
        rows = seen[..., g * own : (g + 1) * own]
        rows = rows.reshape(int(np.prod(seen.shape[: axes + 1])), int(np.prod(w.shape[:-1])))
        parts.append(product(rows, w[..., g * each : (g + 1) * each].reshape(-1, each), precision))
    return np.concatenate(parts, -1).reshape(*seen.shape[: axes + 1], w.shape[-1])


def draw_attention(rng: Draw) -> Case:
    dtype = str(rng.choice(FLOATS))
    precision = _precision(rng, dtype)
    tokens, keys = (int(v) for v in rng.choice([1, 2, 3, 17, 31, 33, 64, 65, 129], 2))
    size, width = (int(v) for v in rng.choice([1, 3, 8, 16, 17, 32, 64, 65], 2))
    heads, shared = [(1, 1), (2, 2), (4, 2), (3, 1)][rng.integers(4)]
    way, causal = int(rng.integers(3)), bool(rng.random() < 0.5)
    tokens = min(tokens, keys) if causal else tokens
    shapes = [(heads, tokens, size), (shared, keys, size), (shared, keys, width)]
    if way == 2:
        shapes = [(2, *shape) for shape in shapes]
    given = [drawn(rng, shape, dtype) if rng.random() < 0.3 else
             np.asarray(rng.normal(size=shape), np.float16 if dtype == "f16" else np.float32) for shape in shapes]  # fmt: skip
    mask = None if rng.random() < 0.5 else rng.random((tokens, keys)) < 0.7
    views, gradients = [int(v) for v in rng.integers(5, size=3)], bool(rng.random() < 0.4)

    def compute(place: Any) -> list[Any]:
        with loom.precision(precision):
            parts = [_placed(view, x, dtype, place) for view, x in zip(views, given, strict=True)]
            if way == 0:
                return [np.asarray(loom.gpu_attention(*parts, causal=causal))]
            seen = None if mask is None or causal else loom.array(mask, on=place)
            y = tensor.scaled_dot_product_attention(*parts, seen, is_causal=causal, enable_gqa=heads != shared)
            found = [y, *(tensor.grad(y.sum(), parts) if gradients else ())]
            return [np.asarray(x) for x in found]

    return f"attention {dtype} {precision} {shapes} way {way} causal {causal} gradients {gradients} {views}", compute, None


KINDS = {"matmul": draw_matmul, "einsum": draw_einsum, "convolution": draw_convolution, "attention": draw_attention}


def check(machine: str, kind: str, seed: int) -> None:
    """Compute a case on the processor and on a GPU; both must be what the contract says."""
    what, compute, wanted = KINDS[kind](np.random.default_rng([seed, *kind.encode()]))
    on_host = compute("cpu")
    for n, x in enumerate(wanted or ()):
        same(on_host[n], x, f"{kind} {seed}: {what}: result {n} of the processor")
    gpu, driver = gpu_of(machine)
    try:
        for n, (x, y) in enumerate(zip(compute(gpu), on_host, strict=True)):
            same(x, y, f"{kind} {seed} on {machine}: {what}: result {n}")
    finally:
        if driver.reports:
            gpu_of.cache_clear()
    assert driver.reports == []
