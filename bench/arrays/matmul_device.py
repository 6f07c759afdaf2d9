"""Products of square matrices on a GPU beside cuBLAS, as torch calls it: device memory on both sides.

Torch multiplies in f32 proper (TF32 off). A program does the product several times; a GPU's clock needs some tenths
of a second of work to rise, so both sides run for a while before they are timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Row
from loom.core.dtype import f32
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication, record_matmul

SIZES = (1024, 2048, 4096)
JUDGED, SPEED = 4096, 0.42
PRODUCTS = 8
"""Products of a program."""
BLOCKS, CALLS = 7, 2
CHECKED = 64
"""Rows compared with the CPU's, whose bits depend on a row and a column alone."""
_WARM_SECONDS = 0.5


def rows_on(name: str) -> list[Row]:
    """Check and time every size on a device."""
    device = loom.device(name)
    return [_row(size, device) for size in SIZES]


def _row(size: int, device: Any) -> Row:
    rng = np.random.default_rng(size)
    a, b = (rng.random((size, size), np.float32) - np.float32(0.5) for _ in range(2))
    held = [device.allocate(a.nbytes) for _ in range(3)]
    for storage, matrix in zip(held, (a, b), strict=False):
        storage.write(0, matrix.reshape(-1).view(np.uint8))
    chain = loom.Chain(device)
    with chain.repeat(PRODUCTS):
        record_matmul(chain, *held, Multiplication(size, size, size, product_types(f32, f32)))
    program = chain.build()
    program.run()
    expected = loom.gpu_matmul(a[:CHECKED], b, on="cpu")
    assert np.array_equal(held[2].read(0, expected.nbytes), expected.reshape(-1).view(np.uint8)), f"{size}: wrong bits"
    sides = [Side("loom", program.run)]
    peer = _peer(a, b)
    if peer is not None:
        sides.append(Side("cublas", peer))
    for side in sides:
        _warm(side.call)
    timings = alternate(sides, blocks=BLOCKS, calls=CALLS)
    operations = 2e-12 * size**3 * PRODUCTS
    measured: dict[str, float | int | str] = {f"{n}_tflops": operations / timings.median(n) for n in timings.blocks}
    bars: tuple[Bar, ...] = ()
    if peer is not None:
        speed = measured["speed_to_cublas"] = 1 / timings.median_of_ratios("loom", "cublas")
        if size == JUDGED:
            bars = (Bar(f"at least {SPEED} of the speed of cuBLAS", SPEED, speed, at_least=True),)
    return Row(f"matmul, f32, {size} x {size} on {device.name}", measured, bars)


def _warm(call: Callable[[], Any]) -> None:
    until = time.perf_counter() + _WARM_SECONDS
    while time.perf_counter() < until:
        call()


def _peer(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> Callable[[], Any] | None:
    """Return cuBLAS's way, on its own copies; None without torch or a CUDA device."""
    try:
        torch = import_module("torch")
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    x, y = (torch.from_numpy(m).cuda() for m in (a, b))
    out = torch.empty_like(x)

    def call() -> None:
        for _ in range(PRODUCTS):
            torch.mm(x, y, out=out)
        torch.cuda.synchronize()

    return call
