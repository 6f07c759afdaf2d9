"""Products that a stranger draws: sizes, layouts and numbers of all kinds, on GPUs of CUDA that are emulated.

Oracles: ``docs/numerics.md``, section 2, in plain numpy (``strange``), and the processor's bits. A seed draws a case;
one that fails is told with its seed and machine, and ``check(machine, kind, seed)`` makes it again.
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
from loom.kernels.matmul.grids import choose_slabs
from loom.kernels.types import product_types
from loom.runtime.drivers.cuda import api, gpus
from loom.runtime.drivers.cuda.device import CudaDevice
from loom.schedules.matmul import Multiplication, record_matmul
from unit.emulation.strange import Draw, drawn, laid, product, same

MACHINES: dict[str, dict[str, Any]] = {
    "plain": {}, "tiles": {"tiles": True}, "wide": {"tiles": True, "wide": True}, "single": {"processors": 1},
    "many": {"tiles": True, "wide": True, "processors": 132}, "ampere": {"tiles": True, "chip": (8, 0)},
    "lone": {"tiles": True, "wide": True, "processors": 1},
}  # fmt: skip
"""GPUs by what they offer and how many processors they have, which decides how products are cut."""
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


Case = tuple[str, Callable[[Any], "list[Any]"], "list[Any] | None"]
"""What a seed draws: a text, what is computed on a device, and what the contract says of it, where it is told."""
BATCHES = (((), ()), ((), ()), ((), ()), ((2,), (2,)), ((3,), ()), ((), (2,)), ((2, 1), (1, 3)), ((1,), (3,)),
           ((0,), (1,)))  # fmt: skip
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
    typed: dict[str, Any] = {"dtype": dtype, "on": on}
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
    dtype = str(rng.choice(["f32"] * 8 + ["f16", "bf16"] * 2 + ["f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64"]))
    precision = _precision(rng, dtype)
    m, n, k = int(rng.choice(SIDES)), int(rng.choice(SIDES)), int(rng.choice(DEPTHS))
    if rng.random() < 0.04:
        m, n, k = int(rng.choice([1, 2, 5, 25])), int(rng.choice([1, 3, 24])), int(rng.choice([4095, 4097, 8200]))
    elif rng.random() < 0.15:
        m, n = (256 + int(d) for d in rng.integers(-2, 3, 2))
        m, k = m if precision is None else m % 64 + 24, min(k, 130)
    left, right = BATCHES[rng.integers(len(BATCHES))] if m * n * k < 200_000 else ((), ())
    a, b = drawn(rng, (*left, m, k), dtype), drawn(rng, (*right, k, n), dtype)
    turned = rng.random(2) < 0.3
    x, y = (z.swapaxes(-1, -2) if t else z for z, t in zip((a, b), turned, strict=True))
    way, views = int(rng.integers(3)), [int(v) for v in rng.integers(5, size=2)]
    x, y = laid(rng, x), laid(rng, y)
    out_dtype = "f32" if dtype in ("f16", "bf16") and rng.random() < 0.4 else None
    options = {
        "transpose_a": bool(turned[0]),
        "transpose_b": bool(turned[1]),
        "precision": precision,
        "out_dtype": out_dtype,
    }

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
    for letters in subscripts.partition("->")[0].split(","):
        names = letters.replace("...", "")
        shape = tuple(1 if rng.random() < 0.03 and names.count(c) == 1 else sizes[c] for c in names)
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
    own = int(rng.choice([1, 1, 2, 3, 4, 5, 8, 16, 17, 32]))
    filters = int(rng.choice([1, 2, 3, 4, 7, 8, 24, 32, 33, 64]))
    if axes < 3 and rng.random() < 0.15:
        own, filters = int(rng.choice([64, 65, 128])), int(rng.choice([64, 65, 128]))
    filters = -(-filters // groups) * groups
    window = [int(v) for v in (rng.choice([1, 1, 2, 3, 3, 3, 5, 7], axes) if axes < 3 else rng.integers(1, 4, 3))]
    stride, dilation = ([int(v) for v in rng.choice([1, 1, 1, 2, 3], axes)] for _ in range(2))
    if rng.random() < 0.5:
        dilation = [1] * axes
    padding = [int(rng.integers(0, w + 1)) for w in window]
    size = [max(1, d * (w - 1) + 1 - 2 * p) + int(rng.integers(0, 9 if axes > 1 else 40))
            for w, d, p in zip(window, dilation, padding, strict=True)]  # fmt: skip
    batch = int(rng.choice([1, 1, 2, 3, 0 if rng.random() < 0.2 else 1]))
    x, w = drawn(rng, (batch, *size, own * groups), dtype), drawn(rng, (*window, own, filters), dtype)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
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
    plain = np.float16 if dtype == "f16" else np.float32
    given = [
        drawn(rng, shape, dtype) if rng.random() < 0.3 else rng.normal(size=shape).astype(plain) for shape in shapes
    ]
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

    what = f"attention {dtype} {precision} {shapes} way {way} causal {causal} gradients {gradients} {views}"
    return what, compute, None


ATTENTION = {"type": "multi_head_attention", "num_heads": 2, "causal": True, "rope_freq_base": 10000.0}
NETWORKS: dict[str, tuple[list[dict[str, Any]], tuple[int, ...]]] = {
    "dense": ([{"type": "dense", "output_size": 33, "activation": "relu"}, {"type": "dense", "output_size": 3}], (7,)),
    "conv2d": ([{"type": "conv2d", "filters": 5, "kernel_size": 3, "padding": 1, "stride": 2, "activation": "relu"},
                {"type": "flatten"}, {"type": "dense", "output_size": 3}], (3, 7, 6)),
    "conv1d": ([{"type": "conv1d", "filters": 24, "kernel_size": 5}, {"type": "flatten"},
                {"type": "dense", "output_size": 3}], (25, 12)),
    "attention": ([{"type": "residual", "layers": [{"type": "rms_norm"}, ATTENTION]},
                   {"type": "swiglu", "inner_size": 9}, {"type": "flatten"},
                   {"type": "dense", "output_size": 3}], (5, 8)),
    "recurrent": ([{"type": "lstm", "hidden_size": 5, "output": "last"}, {"type": "dense", "output_size": 3}], (4, 3)),
}  # fmt: skip


def draw_training(rng: Draw) -> Case:
    """A few steps of a small network: the digest of its weights, and what it then says."""
    name = str(rng.choice(list(NETWORKS)))
    layers, shape = NETWORKS[name]
    dtype = str(rng.choice(["f32", "f32", "f32", "f16", "bf16"]))
    names = [None, "q8", "q12", "q24", *(["x12"] if dtype == "f32" else [])]
    document = {"format": "loom/1", "seed": int(rng.integers(9)), "dtype": dtype, "layers": layers,
                "input": {"shape": list(shape), "dtype": dtype}}  # fmt: skip
    x = rng.normal(size=(int(rng.choice([3, 8, 9])), *shape)).astype(np.float32)
    y = rng.integers(0, 3, len(x))
    options: dict[str, Any] = {
        "epochs": int(rng.choice([1, 2])), "batch_size": int(rng.choice([1, 4, 9])) if len(x) < 9 else 4,
        "optimizer": str(rng.choice(["sgd", "adam"])), "precision": names[rng.integers(len(names))],
        "seed": int(rng.integers(9)), "progress": False,
    }  # fmt: skip
    if dtype == "f32" and rng.random() < 0.3:
        options["micro_batch"] = 3

    def compute(place: Any) -> list[Any]:
        network = loom.Network.from_json(document, on=place)
        history = network.train(x, y, **options)
        digest = np.frombuffer(bytes.fromhex(network.digest().removeprefix("sha256:")), np.uint8)
        return [np.asarray(history.loss), np.asarray(network.predict(x)), digest]

    return f"training {name} {document} {len(x)} samples {options}", compute, None


def draw_units(rng: Draw) -> Case:
    """A product in whole numbers large enough for tensor cores; few of ``draw_matmul`` are."""
    precision, turned = str(rng.choice(["q8", "q8", "q12", "q24"])), [bool(v) for v in rng.integers(2, size=2)]
    m, n = (int(v) for v in rng.choice([64, 65, 66, 95, 96, 97], 2))
    k = int(rng.choice([1, 31, 33, 127, 128, 129, 257]))
    a, b = drawn(rng, (m, k), "f32"), drawn(rng, (k, n), "f32")
    x, y = (np.ascontiguousarray(z.T) if t else z for z, t in zip((a, b), turned, strict=True))

    def compute(place: Any) -> list[Any]:
        return [loom.gpu_matmul(x, y, precision=precision, transpose_a=turned[0], transpose_b=turned[1], on=place)]

    return f"units {precision} {m} {n} {k} {turned}", compute, [product(a, b, precision)]


KINDS = {"matmul": draw_matmul, "einsum": draw_einsum, "convolution": draw_convolution, "attention": draw_attention,
         "training": draw_training, "units": draw_units}  # fmt: skip


SAMPLE = [
    ("plain", "matmul", 2), ("lone", "matmul", 11), ("wide", "einsum", 4), ("wide", "convolution", 6),
    ("single", "convolution", 72), ("wide", "units", 1), ("tiles", "units", 1),
]  # fmt: skip
"""Cases that are always run; the last convolution is of no images."""
UNITS = {"wide": "matmul_panels", "many": "matmul_panels", "lone": "matmul_panels", "tiles": "matmul_planes",
         "ampere": "matmul_planes"}  # fmt: skip
"""Kernels that use tensor cores, by machine: a case of ``draw_units`` that took another tested nothing."""


def check(machine: str, kind: str, seed: int) -> None:
    """Compute a case on the processor and on a GPU; both must be what the contract says."""
    what, compute, wanted = KINDS[kind](np.random.default_rng([seed, *kind.encode()]))
    on_host = compute("cpu")
    for n, x in enumerate(wanted or ()):
        same(on_host[n], x, f"{kind} {seed}: {what}: result {n} of the processor")
    gpu, driver = gpu_of(machine)
    driver.launched.clear()
    try:
        for n, (x, y) in enumerate(zip(compute(gpu), on_host, strict=True)):
            same(x, y, f"{kind} {seed} on {machine}: {what}: result {n}")
    finally:
        if driver.reports:
            gpu_of.cache_clear()
    assert driver.reports == []
    if kind == "units" and machine in UNITS:
        assert any(UNITS[machine] in name for name in driver.launched), f"{what}: {driver.launched}"


def held(seed: int) -> None:
    """Multiply with totals in shared memory, which shapes of a size to be interpreted never choose by themselves."""
    rng = np.random.default_rng([seed, *b"held"])
    turned = [bool(v) for v in rng.integers(2, size=2)]
    m, n, k = (int(rng.choice(sizes)) for sizes in ((1, 33, 63, 64, 65, 70), (1, 31, 127, 128, 129, 140), DEPTHS[1:]))
    batches = int(rng.choice([1, 1, 2]))
    a, b = drawn(rng, (batches, m, k), "f32"), drawn(rng, (batches, k, n), "f32")
    gpu, driver = gpu_of("plain")
    driver.launched.clear()
    stored = [np.ascontiguousarray(x.swapaxes(1, 2) if t else x) for x, t in zip((a, b), turned, strict=True)]
    memory = [gpu.allocate(x.nbytes) for x in stored]
    for place, x in zip(memory, stored, strict=True):
        place.write(0, x.reshape(-1).view(np.uint8))
    what = Multiplication(m, n, k, product_types(loom.f32, loom.f32), *turned, (batches,), (batches,))
    out, chain = gpu.allocate(4 * batches * m * n), loom.Chain(gpu)
    record_matmul(chain, *memory, out, what, schedule=choose_slabs(gpu.caps, what.types, 4096, 4096, 4096, 1))
    chain.build().run()
    found = out.read(0, out.nbytes).view(np.float32).reshape(batches, m, n)
    same(found, product(a, b), f"held {seed}: {batches} of {m} {n} {k}, {turned}")
    assert any("_held" in name for name in driver.launched)
    assert driver.reports == []


@pytest.mark.parametrize(("machine", "kind", "seed"), SAMPLE)
def test_what_a_stranger_multiplies_has_the_bits_of_the_contract(machine: str, kind: str, seed: int) -> None:
    check(machine, kind, seed)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 60))])
def test_products_whose_totals_are_held(seed: int) -> None:
    held(seed)


@pytest.mark.slow  # hundreds of drawn cases, interpreted: minutes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("machine", MACHINES)
def test_many_of_them(machine: str, kind: str) -> None:
    for seed in range(100, 120):
        check(machine, kind, seed)
