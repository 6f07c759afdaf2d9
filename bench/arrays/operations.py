"""Tensor operations of networks beside PyTorch on the CPU: pooling, convolution, softmax, normalisation, a transpose.

One call each, over tensors that lie ready; both sides make a new result. Images lie channels last in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from bench.machine import use_threads

use_threads()  # torch reads the number of threads when it is imported

from bench.report import Bar, Family, Row, main  # noqa: E402

if find_spec("torch") is None:
    main("operations", lambda family: family.notes.append("nothing to compare with: pip install torch==2.13.0"))
    sys.exit()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402

import loom  # noqa: E402
from bench.harness import THREADS, Side, alternate  # noqa: E402

IMAGES, SIDE, CHANNELS = 16, 56, 64
ROWS, COLUMNS = 8192, 1024
LIMIT = 1.0

Array = np.ndarray[Any, Any]


def run(family: Family) -> None:
    """Measure every operation."""
    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(1)
    images = rng.standard_normal((IMAGES, SIDE, SIDE, CHANNELS), np.float32)
    weight = rng.standard_normal((3, 3, CHANNELS, CHANNELS), np.float32)
    matrix = rng.standard_normal((ROWS, COLUMNS), np.float32)
    first = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last in memory, as torch takes it
    filters = torch.from_numpy(weight).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    flat, t = torch.from_numpy(matrix), loom.tensor
    works: list[tuple[str, Callable[..., Any], list[Array], Callable[[], torch.Tensor], bool]] = [
        ("max_pool 3/2", lambda x: t.max_pool(x, 3, 2), [images], lambda: functional.max_pool2d(first, 3, 2), True),
        ("conv 3x3", lambda x, w: t.convolve(x, w, padding=1), [images, weight],
         lambda: functional.conv2d(first, filters, padding=1), True),
        ("softmax", t.softmax, [matrix], lambda: flat.softmax(-1), True),
        ("layer_norm", t.layer_norm, [matrix],
         lambda: functional.layer_norm(flat, (COLUMNS,)), True),
        ("transposing copy", lambda x: t.permute(x, (1, 0)) + 0, [matrix], flat.T.contiguous, False),
    ]  # fmt: skip
    for name, record, arrays, peer, has_bar in works:
        family.rows.append(_row(name, record, arrays, peer, has_bar))
    family.notes.append("time is loom's divided by torch's, by the median over rounds of blocks")


def _row(
    name: str, record: Callable[..., Any], arrays: list[Array], peer: Callable[[], torch.Tensor], has_bar: bool
) -> Row:
    held = [loom.tensor.array(a, on="cpu") for a in arrays]
    theirs = peer()
    expected = theirs.permute(0, 2, 3, 1).numpy() if theirs.ndim == 4 else theirs.numpy()
    np.testing.assert_allclose(record(*held).numpy(), expected, rtol=1e-3, atol=1e-3)
    timings = alternate([Side("loom", lambda: record(*held).evaluate()), Side("torch", peer)], blocks=9, calls=7)
    ratio = timings.median_of_ratios("loom", "torch")
    measured: dict[str, float | int | str] = {
        "loom_ms": timings.median("loom") * 1e3,
        "torch_ms": timings.median("torch") * 1e3,
        "time": ratio,
        "runs": timings.runs("loom"),
    }
    return Row(name, measured, (Bar("at most torch's time", LIMIT, ratio),) if has_bar else ())


if __name__ == "__main__":
    main("operations", run)
