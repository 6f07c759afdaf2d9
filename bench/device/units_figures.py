"""Order-free products on a GPU: bits beside the CPU's, then TFLOP/s beside cuBLAS (f32 without TF32, int8).

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/units_figures.py``; exits 1 if a bit differs. What each
device's self-test found of dot products and of tensor cores is told first. Times are of whole programs, both operands
made whole numbers in them; how much of that packing takes is told beside it. Peers need torch, else cupy (f32 alone).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import loom
from loom.core.errors import DeviceError
from loom.kernels.matmul.wide import WidePatch
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication, record_matmul
from loom.schedules.matmul.order_free import OrderFreeRecording, unit_for

NAMES = ("q8", "q12", "q24")
SHAPES = ((33, 129, 65), (130, 300, 97), (512, 4224, 260), (700, 9000, 1300))
SIZES = (4096, 8192)
_WORD = np.dtype(np.uint32)


def least(work: Callable[[], object], times: int = 5) -> float:
    """Return the seconds of the fastest of several runs, the first of which does not count."""
    work()
    found: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def same_bits(device: str) -> bool:
    """Compare products of all precisions, of operands either way round, with those of the CPU."""
    same = True
    for name in NAMES:
        for m, k, n in SHAPES:
            rng = np.random.default_rng(m)
            a, b = (drawn(rng, shape) for shape in ((m, k), (k, n)))
            a[0, 0], b[1, 1] = np.nan, np.inf
            want = loom.gpu_matmul(a, b, precision=name, on="cpu")
            turned = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
            for x, y, turn in ((a, b, False), (*turned, True)):
                got = loom.gpu_matmul(x, y, transpose_a=turn, transpose_b=turn, precision=name, on=device)
                wrong = int((canonical(got) != canonical(want)).sum())
                same = same and not wrong
                which = f"{name} {m}x{k}x{n}{' turned' * turn}"
                print(f"{device}: {which}: {wrong} of {want.size} results differ", flush=True)
    return same


def drawn(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Return normal numbers of many sizes."""
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-20, 20, shape))).astype(np.float32)


def canonical(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return bits, of any NaN those of one."""
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(_WORD))


def product(device: str, name: str, size: int, schedule: Any = None) -> tuple[float, float]:
    """Return the seconds of a square product with its packing, and of the packing alone.

    ``schedule``: another patch than the device's own.
    """
    found = loom.device(device)
    what = Multiplication(size, size, size, product_types(loom.f32, loom.f32, precision="" if name == "f32" else name))
    places = [found.allocate(4 * size * size) for _ in range(3)]
    x = np.random.default_rng(0).standard_normal(size * size).astype(np.float32)
    for place in places[:2]:
        place.write(0, x.view(np.uint8))
    whole, packing = loom.Chain(found), loom.Chain(found)
    record_matmul(whole, *places, what, schedule=schedule)
    seconds = least(whole.build().run)
    if name == "f32":
        return seconds, 0.0
    recording, precision = OrderFreeRecording(packing, what, found.allocate), what.types.order_free
    assert precision is not None
    patch = schedule or unit_for(found.caps, what)
    for place, by_k in zip(places, (True, False), strict=False):
        if isinstance(patch, WidePatch):
            recording.panels(place, (), size, patch.height if by_k else patch.width, precision, by_k=by_k)
        elif patch is not None:
            recording.planes(place, (), size, precision, by_k=by_k)
        else:
            recording.digits(place, (), size, by_k=by_k, fours=bool(found.caps.dots) and name == "q8")
    return seconds, least(packing.build().run)


def peers(size: int) -> dict[str, float]:
    """Return the seconds of cuBLAS, by type."""
    try:
        import torch
    except ImportError:
        import cupy

        a = cupy.random.standard_normal((size, size), dtype=cupy.float32)

        def multiply() -> None:
            a @ a
            cupy.cuda.Device().synchronize()

        return {"cuBLAS f32": least(multiply)}
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.randn(size, size, device="cuda")
    i = torch.randint(-127, 127, (size, size), device="cuda", dtype=torch.int8)

    def of(work: Callable[[], object]) -> float:
        return least(lambda: (work(), torch.cuda.synchronize()))

    return {"cuBLAS f32": of(lambda: a @ a), "cuBLAS int8": of(lambda: torch._int_mm(i, i.t()))}


def rates(device: str, size: int, patches: list[tuple[str, WidePatch]]) -> None:
    """Print a row for each precision, and for each patch asked for."""
    for name, patch in (*((name, None) for name in ("f32", *NAMES)), *patches):
        try:
            seconds, packing = product(device, name, size, patch)
        except DeviceError as error:
            print(f"{device}: {name} {patch}: {error}", flush=True)
            continue
        share = f", packing {100 * packing / seconds:.0f}% of it" if packing else ""
        if patch is not None:
            share += f", alone {2 * size**3 / (seconds - packing) / 1e12:.1f}, {patch}"
        print(f"{device}: {name} {size}: {2 * size**3 / seconds / 1e12:.1f} TFLOP/s{share}", flush=True)


def patches_of(texts: list[str]) -> list[tuple[str, WidePatch]]:
    """Return the patches of texts such as ``q8:2x128x6``: times 64 rows, columns, tickets."""
    parted = (text.split(":") for text in texts)
    return [(name, WidePatch(*map(int, sizes.split("x")))) for name, sizes in parted]


def main() -> int:
    """Print all; return 1 if a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", nargs="*", default=["cuda", "vulkan"])
    parser.add_argument("--patches", nargs="*", default=[], help="others than the device's own, such as q8:2x128x6")
    given, wrong = parser.parse_args(), 0
    for device in given.devices:
        try:
            found = loom.device(device)
            told = {k: v for k, v in found.describe().operations.items() if "bytes" in k}
            print(f"{device}: {told}, dots {found.caps.dots!r}, tiles {found.caps.tiles}, "
                  f"{found.caps.wide_nbytes}", flush=True)  # fmt: skip
            wrong |= not same_bits(device)
            for size in SIZES:
                rates(device, size, patches_of(given.patches))
        except DeviceError as error:
            print(f"{device}: {error}", flush=True)
    for size in SIZES:
        try:
            for name, seconds in peers(size).items():
                print(f"{name} {size}: {2 * size**3 / seconds / 1e12:.1f} TFLOP/s or TOP/s", flush=True)
        except Exception as error:  # whatever a peer lacks, the rows above stand
            print(f"peers {size}: {type(error).__name__}: {error}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
