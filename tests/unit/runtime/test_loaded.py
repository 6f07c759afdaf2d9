"""A process that meets kernel after kernel keeps the last ones loaded, and programs keep their own."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import f32
from loom.ir.builder import Builder
from loom.ir.kernel import Access
from loom.ir.verified import VerifiedKernel
from loom.ir.verify import verify
from loom.runtime.chain import Chain
from loom.runtime.drivers.cpu import device as cpu


def _scale(factor: int) -> VerifiedKernel:
    b = Builder(f"scale{factor}", (4, 1, 1))
    x, out = b.buffer("x", f32, Access.READ), b.buffer("out", f32)
    at = b.emit("global_id", attr=0)
    b.emit("store", at, b.emit("mul", b.emit("load", at, memory=x), b.const(float(factor), f32)), memory=out)
    return verify(b.finish())


def _program(factor: int, x: Any, out: Any) -> Any:
    chain = Chain("cpu")
    chain.dispatch(_scale(factor), [x, out], groups=1)
    return chain.build()


@pytest.mark.skipif(sys.platform != "linux", reason="counts mappings as Linux tells them")
def test_loaded_kernels_are_few_and_programs_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    def mappings() -> int:
        gc.collect()
        with open("/proc/self/maps") as file:
            return sum(1 for _ in file)

    device = loom.device("cpu")
    monkeypatch.setattr(device, "_loaded", {})
    monkeypatch.setattr(cpu, "MOST_LOADED", 4)
    x, out = np.arange(4, dtype=np.float32), np.zeros(4, np.float32)
    first = _program(3, x, out)
    before = mappings()
    for factor in range(100, 160):
        _program(factor, x, out).run()
    assert len(device._loaded) == 4
    assert mappings() - before < 60  # 120 without a bound
    first.run()
    assert out.tolist() == [0.0, 3.0, 6.0, 9.0]
