"""Loops of gathers read several turns at once on CUDA: every range of every index type, beside the processor's bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import loom
from emulation.driver.binding import Binding, Emulated
from emulation.driver.interpreted import Interpreted
from loom.core.dtype import DType, f32, i32, i64, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction
from loom.runtime.drivers.cuda import api, gpus
from loom.runtime.drivers.cuda.device import CudaDevice
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget


def _gather(index: DType, step: int = 1) -> KernelFunction:
    @loom.kernel(workgroup=8)
    def gather(start: In[index], stop: In[index], places: In[u32], x: In[f32], y: Out[f32]):  # type: ignore[valid-type]
        i = loom.global_id()
        if i < len(start):
            total = f32(0)
            for j in range(start[i], stop[i], step):
                total += x[places[u32(j) & 127]]
            y[i] = total

    return gather


def _reads(made: KernelFunction) -> int:
    """Return how many reads of f32 the PTX has."""
    built = LlvmTarget(replace(machine("ptx"), placed=True)).compile(made.verified, Bounds.CHECKED)
    return bytes(built.data).decode().count("ld.global.nc.b32") + bytes(built.data).decode().count("ld.global.b32")


def test_a_loop_of_gathers_is_written_out() -> None:
    assert _reads(_gather(i32)) > 32 > _reads(_gather(i32, 2))


@pytest.mark.parametrize("index", [i32, u32, i64, u64], ids=str)
def test_every_range_has_its_turns_and_bits(index: DType) -> None:
    least, most = int(index.minimum), int(index.maximum)
    ends = [(0, n) for n in (0, 1, 15, 16, 17, 33)] + [(most - n, most) for n in (0, 1, 15, 16, 17, 40)]
    ends += [(5, 3), (most, least), (least, least + 37), (7, 0), (most - 16, most - 1)]
    ends += [(-20, 20), (-16, 0), (-3, -50)] if least < 0 else []
    start, stop = (np.array(part, index.numpy) for part in zip(*ends, strict=True))
    rng = np.random.default_rng(3)
    places, x = rng.permutation(128).astype(np.uint32), rng.standard_normal(128).astype(np.float32)
    gpu = CudaDevice(gpus._gpus(api.Api(Binding(Emulated(Interpreted()))))[0], tested=False)
    found = list[Any]()
    for device in (loom.device("cpu"), gpu):
        y = np.zeros(len(start), np.float32)
        _gather(index)(start, stop, places, x, y, on=device)
        found.append(y.view(np.uint32).tolist())
    assert found[0] == found[1]
    assert [bits != 0 for bits in found[0]] == [last > first for first, last in ends]
