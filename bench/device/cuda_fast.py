"""Products with ``guarantee="fast"`` on a GPU: what they give beside the exact ones, and their rates beside torch's.

A section of ``cuda_door.py``: ``python3 bench/device/cuda_door.py fast``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from cuda_checks import same

import loom


def fast() -> None:
    """Products by cuBLAS and cuSPARSE: what they give, and their rates beside torch's and the exact ones."""
    import torch

    rng = np.random.default_rng(5)
    for dtype, bound in (("f32", 1e-5), ("f16", 2e-3), ("bf16", 2e-2)):
        for turned in ((False, False), (True, False), (False, True), (True, True)):
            a, b = rng.normal(size=(65, 130)), rng.normal(size=(130, 33))
            x, y = (loom.array(v.T if t else v, dtype, on="cuda") for v, t in zip((a, b), turned, strict=True))
            given: dict[str, Any] = {"transpose_a": turned[0], "transpose_b": turned[1]}
            found, wanted = loom.gpu_matmul(x, y, guarantee="fast", **given), loom.gpu_matmul(x, y, **given)
            off = float(np.abs(found.astype("f32").numpy() - wanted.astype("f32").numpy()).max())
            same(f"{dtype} {turned}: {off}", off < bound * 60 and found.guarantee is loom.Guarantee.FAST, True)
    batch = loom.array(rng.normal(size=(7, 20, 30)), "f32", on="cuda")
    off = np.abs(
        (batch.matmul(batch, transpose_b=True, guarantee="fast") - batch.matmul(batch, transpose_b=True)).numpy()
    )
    same(f"batches {off.max()}", off.max() < 1e-4, True)
    heads = np.arange(0, 1001 * 5, 5)
    matrix = loom.tensor.csr((1000, 700), heads, rng.integers(0, 700, 5000), rng.normal(size=5000), "f32", on="cuda")
    dense = loom.array(rng.normal(size=(700, 64)), "f32", on="cuda")
    off = np.abs((loom.tensor.spmm(matrix, dense, guarantee="fast") - loom.tensor.spmm(matrix, dense)).numpy())
    same(f"sparse {off.max()}", off.max() < 1e-4, True)
    for dtype, kind in (("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16)):
        data = rng.normal(size=(4096, 4096))
        x, theirs = loom.array(data, dtype, on="cuda"), torch.tensor(data, dtype=kind, device="cuda")
        ours = _rate(partial(loom.gpu_matmul, x, x, guarantee="fast"), partial(x.data.read, 0, 4))
        others = _rate(partial(torch.matmul, theirs, theirs), torch.cuda.synchronize)
        print(f"{dtype} 4096: fast {ours:.1f} TFLOP/s, torch {others:.1f}", flush=True)


def _rate(work: Callable[[], Any], wait: Callable[[], Any]) -> float:
    best = 0.0
    for _ in range(4):
        begun = time.perf_counter()
        for _ in range(20):
            work()
        wait()
        best = max(best, 20 * 2 * 4096**3 / (time.perf_counter() - begun) / 1e12)
    return best
