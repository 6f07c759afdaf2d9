"""Products of tiles of bytes: the plain triple loop on every device, tensor cores in PTX, and who may ask for one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, i32, local_id, shared, static_range, u32
from loom.core.errors import LoomError, OutOfBounds, RaceDetected
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, tile_product
from loom.ir.interp import interpret
from loom.ir.interp.options import Options
from loom.ir.text import parse_kernel, print_kernel
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget

QUAD: Any = i32.vector(4)
LANES, ROWS = 64, 24


def tiles_of(words: int, pitch: int) -> KernelFunction:
    """Each of two warps multiplies 16 rows of bytes by 8 rows of bytes."""

    @kernel(workgroup=LANES, trusted=True)
    def tiles(x: In[i32], sums: In[i32], out: Out[i32]):
        lane = local_id()
        tile = shared(i32, 2 * ROWS * pitch)
        for t in range(lane, 2 * ROWS * words, LANES):
            tile[t // words * pitch + t % words] = x[t]
        barrier()
        first = lane // 32 * (ROWS * pitch)
        before = QUAD(sums[4 * lane], sums[4 * lane + 1], sums[4 * lane + 2], sums[4 * lane + 3])
        found = tile_product(tile, first, first + 16 * pitch, before, words, pitch)
        for r in static_range(4):
            out[4 * lane + r] = found[r]

    return tiles


def expected(x: np.ndarray[Any, Any], sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The triple loop, by numpy, and who is given what."""
    found = sums.astype(np.int64)
    for lane in range(LANES):
        rows = x[lane // 32 * ROWS :][:ROWS].astype(np.int64)
        product = rows[:16] @ rows[16:].T
        row, column = lane % 32 // 4, lane % 4 * 2
        found[4 * lane : 4 * lane + 4] += product[row : row + 9 : 8, column : column + 2].reshape(-1)
    return (found & 0xFFFF_FFFF).astype(np.uint32).view(np.int32)


@pytest.mark.parametrize(("words", "pitch"), [(32, 36), (8, 8)])
def test_the_meaning_is_the_triple_loop(on: str, words: int, pitch: int) -> None:
    rng = np.random.default_rng(words)
    x = rng.integers(-128, 128, (2 * ROWS, 4 * words)).astype(np.int8)
    x[0], x[16] = -128, -128
    sums = rng.integers(-(2**31), 2**31, 4 * LANES).astype(np.int32)
    out = np.zeros(4 * LANES, np.int32)
    chain = loom.Chain(on)
    chain.dispatch(tiles_of(words, pitch), [x.reshape(-1).view(np.int32), sums, out], groups=1)
    chain.build().run()
    assert out.tolist() == expected(x, sums).tolist()


def without_a_barrier(x: In[i32], out: Out[i32]) -> None:
    tile = shared(i32, 192)
    for t in static_range(6):
        tile[local_id() + 32 * t] = x[local_id() + 32 * t]
    out[local_id()] = tile_product(tile, u32(0), u32(128), QUAD(0), 8, 8).x


def test_tiles_that_other_lanes_may_still_write_are_a_race() -> None:
    body = kernel(workgroup=32)(without_a_barrier).verified.kernel
    x, out = np.ones(192, np.int32), np.zeros(32, np.int32)
    with pytest.raises(RaceDetected, match="tile"):
        interpret(body, [x, out], [], (1, 1, 1), options=Options(races=True))


def test_tiles_beyond_their_array_are_told() -> None:
    body = kernel(workgroup=32)(beyond_its_array).verified.kernel
    with pytest.raises(OutOfBounds, match="tile"):
        interpret(body, [np.ones(192, np.int32), np.zeros(32, np.int32)], [], (1, 1, 1), options=Options(bounds=True))


def beyond_its_array(x: In[i32], out: Out[i32]) -> None:
    tile = shared(i32, 192)
    out[local_id()] = tile_product(tile, u32(0), u32(132), QUAD(x[0]), 8, 8).x


def test_the_text_can_be_read_back() -> None:
    text = print_kernel(tiles_of(16, 20).verified.kernel)
    assert "tile_product tile 16 20 %" in text
    assert print_kernel(parse_kernel(text)) == text
    with pytest.raises(LoomError, match="no number of words"):
        parse_kernel(text.replace("tile 16 20", "tile 16 %1"))


def ptx_of(function: KernelFunction, *, tiles: bool = True) -> str:
    target = LlvmTarget(replace(machine("ptx"), tiles=tiles))
    return target.compile(function.verified, Bounds.TRUSTED).data.decode()


def test_ptx_has_an_instruction_for_each_32_k() -> None:
    text = ptx_of(tiles_of(32, 36))
    assert text.count("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32") == 4
    assert "dp4a" not in text
    plain = ptx_of(tiles_of(32, 36), tiles=False)
    assert "mma.sync" not in plain
    assert "dp4a.s32.s32" in plain


def tool_of(package: str, name: str) -> Path | None:
    """Return a program that a package of NVIDIA's brings."""
    spec = find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return next((p for f in folders for p in Path(f).glob(f"{package}/bin/{name}") if os.access(p, os.X_OK)), None)


def test_ptxas_makes_it_instructions_of_tensor_cores(tmp_path: Path) -> None:
    assembler, reader = tool_of("cuda_nvcc", "ptxas"), tool_of("cu1*", "nvdisasm")
    if assembler is None or reader is None:
        pytest.skip("ptxas or nvdisasm are not installed (nvidia-cuda-nvcc-cu12, nvidia-cuda-nvdisasm)")
    (tmp_path / "tiles.ptx").write_text(ptx_of(tiles_of(32, 36)))
    for chip in ("sm_80", "sm_90"):
        cubin = tmp_path / f"{chip}.cubin"
        subprocess.run([assembler, f"-arch={chip}", tmp_path / "tiles.ptx", "-o", cubin], check=True, timeout=60)
        listed = subprocess.run([reader, cubin], check=True, timeout=60, capture_output=True, text=True).stdout
        assert listed.count("IMMA.16832.S8.S8") == 4


def in_branch(x: In[i32], out: Out[i32], n: u32) -> None:
    tile = shared(i32, 512)
    if x[local_id()] > 3:
        out[local_id()] = tile_product(tile, u32(0), u32(128), QUAD(0), 8, 8).x


def of_other_lanes(x: In[i32], out: Out[i32], n: u32) -> None:
    tile = shared(i32, 512)
    out[local_id()] = tile_product(tile, local_id() // 16, u32(128), QUAD(0), 8, 8).x


def of_a_buffer(x: In[i32], out: Out[i32], n: u32) -> None:
    out[local_id()] = tile_product(x, u32(0), u32(128), QUAD(0), 8, 8).x


def of_odd_rows(x: In[i32], out: Out[i32], n: u32) -> None:
    tile = shared(i32, 512)
    out[local_id()] = tile_product(tile, u32(0), u32(128), QUAD(0), 12, 12).x


def of_rows_that_overlap(x: In[i32], out: Out[i32], n: u32) -> None:
    tile = shared(i32, 512)
    out[local_id()] = tile_product(tile, u32(0), u32(128), QUAD(0), 16, 8).x


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (in_branch, "tile_product in divergent flow"), (of_other_lanes, "lanes of a tile_product may ask for other"),
        (of_a_buffer, "tile_product of buffer x"), (of_odd_rows, "rows of 12 words"),
        (of_rows_that_overlap, "wrong sizes"),
    ],
)  # fmt: skip
def test_what_lanes_cannot_ask_for_together_is_refused(body: Callable[..., None], told: str) -> None:
    with pytest.raises(LoomError, match=told):
        _ = kernel(workgroup=LANES)(body).verified


def test_a_group_of_other_lanes_is_refused() -> None:
    with pytest.raises(LoomError, match="workgroup of other lanes"):
        _ = kernel(workgroup=48)(of_a_tile).verified


def of_a_tile(x: In[i32], out: Out[i32], n: u32) -> None:
    tile = shared(i32, 512)
    out[local_id()] = tile_product(tile, u32(0), u32(128), QUAD(0), 8, 8).x
