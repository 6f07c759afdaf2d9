"""Products in f32 units on a GPU: bits beside the CPU's, then TFLOP/s beside cuBLAS f32 (TF32 off).

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/exact_figures.py [--grids 8x16x2x2x8h ..]``; exits 1 if
a bit differs. The rows: f32, and f32 rounded to 12 bits, f16, bf16, whose products are exact and so are fused with
their sums. ``--grids``: others than the device's own, for f32 and x12 (a ``Grid``'s numbers, h where it is ``held``).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from units_figures import canonical, least, peers

import loom
from loom.kernels.matmul.grids import Grid, Slabs
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication, record_matmul

SIZE, SHAPE = 4096, (256, 2048, 300)
KINDS = {"f32": (loom.f32, ""), "x12": (loom.f32, "x12"), "f16": (loom.f16, ""), "bf16": (loom.bf16, "")}


def factors(shape: tuple[int, ...], name: str, device: str) -> Any:
    """Return normal numbers in the type of a row on a device."""
    x = np.random.default_rng(shape[0]).standard_normal(shape).astype(np.float32)
    return loom.array(x, on=device).astype(KINDS[name][0])


def same_bits(device: str, name: str) -> bool:
    """Compare a product with the CPU's."""
    (m, k, n), precision = SHAPE, KINDS[name][1] or None
    found = []
    for where in ("cpu", device):
        a, b = factors((m, k), name, where), factors((k, n), name, where)
        found.append(np.asarray(loom.gpu_matmul(a, b, precision=precision, out_dtype=loom.f32)))
    wrong = int((canonical(found[0]) != canonical(found[1])).sum())
    print(f"{device}: {name}: {wrong} of {m * n} results differ", flush=True)
    return not wrong


def slabs_of(text: str) -> Slabs:
    """Return the cut of a text such as ``8x16x2x2x8h``."""
    return Slabs(Grid(*map(int, text.removesuffix("h").split("x")), held=text.endswith("h")), split=False)


def rate(device: str, name: str, schedule: Slabs | None = None) -> str:
    """Return a row: the time of whole programs, both operands made factors in them; then that of its kernels."""
    found, (element, precision) = loom.device(device), KINDS[name]
    what = Multiplication(SIZE, SIZE, SIZE, product_types(element, loom.f32, precision=precision))
    places = [found.allocate(n * SIZE * SIZE) for n in (element.nbytes, element.nbytes, 4)]
    x = np.random.default_rng(0).standard_normal(SIZE * SIZE).astype(np.float32)
    held = {"f32": x, "x12": x, "f16": x.astype(np.float16), "bf16": (x.view(np.uint32) >> 16).astype(np.uint16)}[name]
    for place in places[:2]:
        place.write(0, held.view(np.uint8))
    chain = loom.Chain(found)
    record_matmul(chain, *places, what, schedule=schedule)
    program = chain.build()
    seconds = least(program.run)
    with loom.profile() as taken:
        program.run()
    parts = ", ".join(f"{t.kernel} {t.total:.0f} us" for t in sorted(taken.totals(), key=lambda t: -t.total)[:4])
    return f"{device}: {name} {SIZE}: {2 * SIZE**3 / seconds / 1e12:.1f} TFLOP/s ({parts})"


def main() -> int:
    """Print all; return 1 if a bit differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", nargs="*", default=["cuda"])
    parser.add_argument("--grids", nargs="*", default=[])
    given, wrong = parser.parse_args(), 0
    for device in given.devices:
        for name in KINDS:
            wrong |= not same_bits(device, name)
            print(rate(device, name), flush=True)
        for text in given.grids:
            for name in ("f32", "x12"):
                print(text, rate(device, name, slabs_of(text)), flush=True)
    print({name: f"{2 * SIZE**3 / seconds / 1e12:.1f}" for name, seconds in peers(SIZE).items()})
    return wrong


if __name__ == "__main__":
    sys.exit(main())
