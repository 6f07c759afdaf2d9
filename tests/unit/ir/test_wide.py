"""Products of 64 rows, and words fetched for them: their meaning on every device, PTX, and what is refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, f32, i32, local_id, private, shared, static_range, u32
from loom.core.errors import KernelFault, LoomError, OutOfBounds, RaceDetected
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import fetch, fetched, release, wide_product
from loom.ir.interp import interpret
from loom.ir.interp.options import Options
from loom.ir.text import parse_kernel, print_kernel
from loom.runtime.drivers.probes.wide import WIDE_PROBES
from loom.targets.base import Bounds
from loom.targets.llvm.gpu.room import dynamic_nbytes
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget

COLUMNS, WORDS = 16, 80 * 32
"""Of the second operand; of both operands of a ticket."""


def summed(tickets: int, *, trusted: bool = True) -> KernelFunction:
    """128 lanes multiply 64 rows by 16 rows of each of so many blocks, two of which are there at a time."""

    @kernel(workgroup=128, trusted=trusted)
    def blocks(x: In[i32], out: Out[i32]):
        tile = shared(i32, 2 * WORDS)
        sums = private(i32, COLUMNS // 2)
        for n in static_range(COLUMNS // 2):
            sums[n] = 5
        fetch(u32(0), tile, u32(0), x, u32(0), WORDS, 2, 1)
        for ticket in range(u32(tickets)):
            fetched(ticket, 2, 1)
            at = ticket % 2 * WORDS
            if ticket == 1:
                wide_product(sums, tile, at, at + 64 * 32, COLUMNS, False)
            else:
                wide_product(sums, tile, at, at + 64 * 32, COLUMNS, True)
            if ticket + 1 < tickets:
                fetch(ticket + 1, tile, (ticket + 1) % 2 * WORDS, x, (ticket + 1) * WORDS, WORDS, 2, 1)
            release(ticket, 2, 1)
        for n in static_range(COLUMNS // 2):
            out[local_id() * (COLUMNS // 2) + n] = sums[n]

    return blocks


def laid(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of 128 bytes, eight of them at a time 16 bytes after 16 bytes."""
    return rows.reshape(-1, 8, 8, 16).transpose(0, 2, 1, 3).reshape(-1).view(np.int32)


def expected(rows: np.ndarray[Any, Any]) -> list[int]:
    """The triple loop, by numpy, and who is given what; the first block's sums are not kept."""
    products = [block[:64].astype(np.int64) @ block[64:].astype(np.int64).T for block in rows]
    total = np.sum(products[1:], axis=0) if len(products) > 1 else products[0] + 5
    found = list[int]()
    for lane in range(128):
        row, column = lane // 32 * 16 + lane % 32 // 4, lane % 4 * 2
        for n in range(COLUMNS // 2):
            found.append(int(total[row + n // 2 % 2 * 8, column + n // 4 * 8 + n % 2]))
    return found


@pytest.mark.parametrize("tickets", [1, 4])
def test_the_meaning_is_the_triple_loop(on: str, tickets: int) -> None:
    rows = np.random.default_rng(tickets).integers(-128, 128, (tickets, 80, 128)).astype(np.int8)
    rows[-1, 0], rows[-1, 64] = -128, -128
    out = np.zeros(128 * COLUMNS // 2, np.int32)
    for trusted in (True, False):
        chain = loom.Chain(on)
        chain.dispatch(summed(tickets, trusted=trusted), [laid(rows), out], groups=1)
        chain.build().run()
        assert out.tolist() == expected(rows), trusted


@pytest.mark.parametrize("probe", WIDE_PROBES, ids=["64 columns", "128 columns"])
def test_probes_expect_the_meaning(probe: Any) -> None:
    given = probe.inputs()
    wanted = probe.expected(*given)
    out = np.zeros_like(wanted)
    chain = loom.Chain("cpu")
    chain.dispatch(probe.make(), [*given, out], groups=probe.groups)
    chain.build().run()
    assert out.tolist() == wanted.tolist()


def beyond_its_array(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    sums = private(i32, 8)
    fetch(u32(0), tile, u32(0), x, u32(0), WORDS, 1, 1)
    fetched(u32(0), 1, 1)
    wide_product(sums, tile, u32(0), u32(64 * 32 + 4), 16, False)
    out[local_id()] = sums[0]


def test_rows_beyond_their_array_are_told() -> None:
    body = kernel(workgroup=128)(beyond_its_array).verified.kernel
    given = [np.ones(WORDS, np.int32), np.zeros(128, np.int32), np.zeros(1, np.float32)]
    with pytest.raises(OutOfBounds, match="tile"):
        interpret(body, given, [], (1, 1, 1), options=Options(bounds=True))


def test_watching_finds_nothing_in_a_kernel_that_is_right() -> None:
    given = [np.ones(4 * WORDS, np.int32), np.zeros(128 * COLUMNS // 2, np.int32)]
    interpret(
        summed(4).verified.kernel, given, [], (1, 1, 1), options=Options(bounds=True, races=True, uninitialized=True)
    )


def read_too_early(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(0), x, u32(0), WORDS, 1, 1)
    out[local_id()] = tile[WORDS - 1 - local_id()]
    fetched(u32(0), 1, 1)
    release(u32(0), 1, 1)


def fetched_again_too_early(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    for ticket in range(u32(2)):
        fetch(ticket, tile, u32(0), x, u32(0), WORDS, 1, 1)
        fetched(ticket, 1, 1)
        out[local_id()] = tile[WORDS - 1 - local_id()]


def fetched_beyond_the_buffer(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(0), x, u32(4), WORDS, 1, 1)
    fetched(u32(0), 1, 1)
    out[local_id()] = tile[local_id()]


def fetched_beyond_the_array(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(4), x, u32(0), WORDS, 1, 1)
    fetched(u32(0), 1, 1)
    out[local_id()] = tile[local_id()]


def multiplied_what_nothing_wrote(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    sums = private(i32, 8)
    wide_product(sums, tile, u32(0), u32(64 * 32), 16, False)
    out[local_id()] = sums[0]


@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        (read_too_early, RaceDetected, "loads tile"), (fetched_again_too_early, RaceDetected, "stores to tile"),
        (fetched_beyond_the_buffer, OutOfBounds, "fetch outside buffer 'x'"),
        (fetched_beyond_the_array, OutOfBounds, "fetch outside shared 'tile'"),
        (multiplied_what_nothing_wrote, KernelFault, "tile"),
    ],
)  # fmt: skip
def test_watching_finds_what_is_wrong_with_fetches(
    body: Callable[..., None], error: type[LoomError], told: str
) -> None:
    given = [np.ones(WORDS, np.int32), np.zeros(128, np.int32), np.zeros(1, np.float32)]
    watched = Options(bounds=True, races=True, uninitialized=True)
    with pytest.raises(error, match=told):
        interpret(kernel(workgroup=128)(body).verified.kernel, given, [], (1, 1, 1), options=watched)


def test_the_text_can_be_read_back() -> None:
    text = print_kernel(summed(4).verified.kernel)
    for words in ("fetch x tile 2560 2 1 %", "fetched 2 1 %", "release 2 1 %", "wide_product sums tile 16 0 %"):
        assert words in text
    assert print_kernel(parse_kernel(text)) == text
    with pytest.raises(LoomError, match="no number of words"):
        parse_kernel(text.replace("fetched 2 1", "fetched 2 %1"))


def test_a_buffer_that_is_fetched_from_is_read() -> None:
    verified = summed(4).verified
    assert {m.name for m in verified.reads} == {"x"}
    assert {m.name for m in verified.writes} == {"out"}


def ptx_of(function: KernelFunction, *, wide: bool = True) -> str:
    where = replace(machine("ptx"), wide=wide, cpu="sm_90a" if wide else "sm_80")
    return LlvmTarget(where).compile(function.verified, Bounds.TRUSTED).data.decode()


def test_ptx_has_an_instruction_for_each_32_k() -> None:
    text = ptx_of(summed(4))
    assert text.count("wgmma.mma_async.sync.aligned.m64n16k32.s32.s8.s8") == 8
    assert text.count("cp.async.bulk.shared") == 2
    assert "dp4a" not in text
    plain = ptx_of(summed(4), wide=False)
    assert "wgmma" not in plain
    assert "cp.async" not in plain
    assert "dp4a.s32.s32" in plain


def test_shared_memory_beyond_what_code_may_have_is_asked_for_by_launches() -> None:
    small, large = summed(4), WIDE_PROBES[1].make()
    assert dynamic_nbytes(small.verified.kernel) == 0
    assert dynamic_nbytes(large.verified.kernel) == 3 * ((192 + 128) * 32 * 4 + 16)
    assert ".extern .shared" not in ptx_of(small)
    assert ".extern .shared" in ptx_of(large)


def tool_of(package: str, name: str) -> Path | None:
    """Return a program that a package of NVIDIA's brings, or that is found otherwise."""
    spec = find_spec("nvidia")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    brought = (p for f in folders for p in Path(f).glob(f"{package}/bin/{name}") if os.access(p, os.X_OK))
    elsewhere = which(name)
    return next(brought, Path(elsewhere) if elsewhere else None)


def test_ptxas_makes_it_instructions_of_tensor_cores(tmp_path: Path) -> None:
    assembler, reader = tool_of("cuda_nvcc", "ptxas"), tool_of("cu1*", "nvdisasm")
    if assembler is None or reader is None:
        pytest.skip("ptxas or nvdisasm are not installed (nvidia-cuda-nvcc-cu12, nvidia-cuda-nvdisasm)")
    (tmp_path / "wide.ptx").write_text(ptx_of(WIDE_PROBES[1].make()))
    cubin = tmp_path / "wide.cubin"
    subprocess.run([assembler, "-arch=sm_90a", tmp_path / "wide.ptx", "-o", cubin], check=True, timeout=60)
    listed = subprocess.run([reader, cubin], check=True, timeout=60, capture_output=True, text=True).stdout
    assert listed.count("IGMMA.64x128x32.S8.S8") == 8
    assert "UBLKCP" in listed


def in_branch(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    sums = private(i32, 8)
    if x[local_id()] > 3:
        wide_product(sums, tile, u32(0), u32(64 * 32), 16, False)
    out[local_id()] = sums[0]


def of_other_lanes(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    sums = private(i32, 8)
    wide_product(sums, tile, local_id() // 32, u32(64 * 32), 16, False)
    out[local_id()] = sums[0]


def of_odd_rows(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    sums = private(i32, 12)
    wide_product(sums, tile, u32(0), u32(64 * 32), 24, False)
    out[local_id()] = sums[0]


def of_little_room(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    sums = private(i32, 4)
    wide_product(sums, tile, u32(0), u32(64 * 32), 16, False)
    out[local_id()] = sums[0]


def into_what_is_shared(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    sums = shared(i32, 8)
    wide_product(sums, tile, u32(0), u32(64 * 32), 16, False)
    out[local_id()] = sums[0]


def fetched_by_a_lane(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(0), x, local_id() * 4, 64, 1, 1)
    fetched(u32(0), 1, 1)
    out[local_id()] = tile[local_id()]


def fetched_by_odd_words(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(0), x, u32(0), 63, 1, 1)
    fetched(u32(0), 1, 1)
    out[local_id()] = tile[local_id()]


def fetched_as_another_type(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(0), s, u32(0), 64, 1, 1)
    fetched(u32(0), 1, 1)
    out[local_id()] = tile[local_id()]


def with_two_counts(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(0), x, u32(0), 64, 1, 1)
    fetched(u32(0), 2, 1)
    out[local_id()] = tile[local_id()]


def fetched_and_written(x: In[i32], out: Out[i32], s: In[f32]) -> None:
    tile = shared(i32, WORDS)
    fetch(u32(0), tile, u32(0), x, u32(0), 64, 1, 1)
    fetched(u32(0), 1, 1)
    tile[local_id() + 128] = 3
    out[local_id()] = tile[local_id()]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (in_branch, "wide_product in divergent flow"), (of_other_lanes, "places that lanes may not share"),
        (of_odd_rows, "24 rows of the second operand"), (of_little_room, "room for 4 sums"),
        (into_what_is_shared, "wide_product into shared sums"), (fetched_by_a_lane, "places that lanes may not share"),
        (fetched_by_odd_words, "63 words"), (fetched_as_another_type, "words of f32 for an array of i32"),
        (with_two_counts, "other tickets than elsewhere"), (fetched_and_written, "is written and also fetched to"),
    ],
)  # fmt: skip
def test_what_no_unit_does_is_refused(body: Callable[..., None], told: str) -> None:
    with pytest.raises(LoomError, match=told):
        _ = kernel(workgroup=128)(body).verified


def test_a_group_of_other_lanes_is_refused() -> None:
    with pytest.raises(LoomError, match="a workgroup of other lanes"):
        _ = kernel(workgroup=64)(beyond_its_array).verified
