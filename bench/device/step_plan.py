"""What a training step would do on an H100, without one: its kernels by the time that they are estimated to take.

``PYTHONPATH=src:. python bench/device/step_plan.py gpt|convnet [f32|q24|q12] [--list]``. A dispatch is taken to read
and write all of its buffers at ``RATE``, and to cost ``EACH`` beside: what products compute is not counted, and memory
that a cache holds is quicker. ``--list``: every dispatch in its order.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from typing import Any

import loom
from bench.learning.nets_device import RATE as LEARNING_RATE
from bench.learning.nets_works import Work, convnet, gpt
from loom import tensor
from loom.core.caps import Caps
from loom.ir.frontend.decorator import KernelFunction
from loom.nn.train.losses import loss_of
from loom.tensor.program import Drafted

H100 = Caps(
    32, 48 << 10, 1024, False, 132, 1 << 20, threads=True, dots="dot4_i8", fused=True, tiles=True,
    wide_nbytes=227 << 10, waits=True,
)  # fmt: skip
RATE, EACH = 2.6e6, 0.8
"""Bytes a microsecond, and microseconds."""
WORKS = {"gpt": lambda: gpt(4, 4096, 256, 512, 8, 8), "convnet": lambda: convnet(64, 64)}


def drafted(work: Work, precision: str) -> Drafted:
    """Return a step's program before it has memory."""
    document: dict[str, Any] = {
        "format": "loom/1", "seed": 1, "layers": work.layers,
        "input": {"shape": list(work.shape), **({"dtype": "i32"} if work.words else {})},
    }  # fmt: skip
    if precision != "f32":
        document["precision"] = precision
    model, batch = loom.Network.from_json(document, on="cpu").model, (work.batch, *work.shape)
    x = tensor.input("x", batch, "i32" if work.words else "f32")
    y = tensor.input("y", batch if work.words else batch[:1], "i32")
    loss = loss_of("cross_entropy")(model.apply(x, training=True), y)
    weights = list(model.parameters.values())
    moved = [(w, w - g * LEARNING_RATE) for w, g in zip(weights, tensor.grad(loss, weights), strict=True)]
    return Drafted([loss], moved, loom.device("cpu"), caps=H100)


def main() -> None:
    """Print the kernels of a step."""
    which, precision = sys.argv[1], next((w for w in sys.argv[2:] if not w.startswith("-")), "f32")
    found, rows = drafted(WORKS[which](), precision), defaultdict[str, list[float]](lambda: [0.0] * 5)
    for number, d in enumerate(found.draft.dispatches):
        kernel = d.kernel.verified if isinstance(d.kernel, KernelFunction) else d.kernel
        bound = list(zip((m for m in kernel.buffers if m.data is None), d.buffers, strict=False))
        read = sum(b.nbytes for m, b in bound if m in kernel.reads)
        written = sum(b.nbytes for m, b in bound if m in kernel.writes)
        groups = d.groups if isinstance(d.groups, int) else math.prod(d.groups)
        for at, value in enumerate((1, groups, read, written, (read + written) / RATE + EACH)):
            rows[kernel.name][at] += value
        if "--list" in sys.argv:
            print(number, kernel.name, d.groups, [b.nbytes for b in d.buffers])
    whole = sum(row[4] for row in rows.values())
    print(f"{which} {precision}: {len(found.draft.dispatches)} dispatches, {whole:.0f} us without computing, "
          f"{found.plan.peak_nbytes / 1e6:.0f} MB")  # fmt: skip
    for name, (count, groups, read, written, us) in sorted(rows.items(), key=lambda row: -row[1][4]):
        moved = f"{read / 1e6:8.1f} MB in {written / 1e6:8.1f} MB out"
        print(f"{us:8.1f} us {count:4.0f} x {groups:8.0f} groups {moved}  {name}")


if __name__ == "__main__":
    main()
