"""Every tier-2 listing of the documents Loom began from, translated line by line to Python, runs on each device.

The left column of a listing is in its comments. Set aside: booleans, ``end`` and ``let``; what a listing takes from
elsewhere (kernels of the reader's own, data, ``running``) is defined before it. Oracles: published prime counts and
numbers worked out by hand.
"""

# ruff: noqa: A002 (globals is a memory of the unit)
from __future__ import annotations

import numpy as np
import pytest

import loom
from loom import In, InOut, f32, u32
from loom.flow import (
    ir_begin,
    ir_block,
    ir_buf_load,
    ir_buf_store,
    ir_const,
    ir_entry,
    ir_finalize,
    ir_fmul,
    ir_global_id,
    loom_boot,
    loom_build,
    loom_dispatch,
    loom_dispatch_jit,
    loom_launch,
    loom_poll,
    loom_present,
    loom_read,
    loom_run,
    loom_set_heap,
    loom_wait,
    loom_write,
)

pytestmark = pytest.mark.needs("compiled")


@pytest.fixture(autouse=True)
def _on_each(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a listing, which names no device, on each."""
    monkeypatch.setenv("LOOM_DEVICE", on)


# kernels of the reader's own: the listings name files, rect.spv, text.spv, ...


@loom.kernel(workgroup=256)
def rect_spv(globals: InOut[u32], color: u32) -> None:
    i = loom.global_id()
    if i < len(globals):
        globals[i] = color


@loom.kernel(workgroup=256)
def text_spv(globals: InOut[u32], heap: In[u32], at: u32) -> None:
    i = loom.global_id()
    if i < len(heap):
        globals[at + i] = heap[i]


@loom.kernel(workgroup=256)
def fall_spv(globals: InOut[f32], speed: f32) -> None:
    i = loom.global_id()
    if i < len(globals):
        globals[i] = globals[i] - speed


def test_tier_2_custom_dispatch_chains() -> None:
    seg, words, count_off = 0, 8192, 8192
    n_hi, n_lo = divmod(65_536, 2**24)
    my_primes = loom.gpu_primes(3, 256).astype(np.uint32)

    # Boot a compute unit
    unit = loom_boot(1.0, 8194, 4096)

    # Upload data
    loom_write(unit, 0.0, my_primes)

    # Record kernel dispatches (the "pattern")
    loom_dispatch(unit, "stdlib/loom/kernels/sieve_init.spv", [seg, words, n_lo, n_hi], 32.0)
    loom_dispatch(unit, "stdlib/loom/kernels/sieve_mark.spv", [seg, words, 0, 53], 32.0)
    loom_dispatch(unit, "stdlib/loom/kernels/sieve_count.spv", [words, count_off], 32.0)

    # Compile and launch
    prog = loom_build(unit)
    loom_launch(prog)  # async: returns immediately

    # Poll for completion
    while loom_poll(prog) < 0.5:
        pass

    # Read results
    result = loom_read(unit, 0.0, 0.0, 8194)

    assert result.view(np.uint32)[count_off] == 6542  # primes below 2^16, OEIS A007053


def test_tier_3_custom_kernel_dispatched() -> None:
    # Build a GPU kernel that doubles every element
    prog = ir_begin()
    entry = ir_entry(prog)
    body = ir_block(prog)

    gid = ir_global_id(entry)
    val = ir_buf_load(body, 0.0, gid)
    doubled = ir_fmul(body, val, ir_const(body, 2.0))
    ir_buf_store(body, 0.0, gid, doubled)

    kernel = ir_finalize(prog)

    # Dispatch the custom kernel
    unit = loom_boot(1.0, 1024, 0)
    loom_dispatch_jit(unit, kernel, [], 4.0)
    p = loom_build(unit)
    loom_run(p)
    result = loom_read(unit, 0.0, 0.0, 1024)

    assert result.tolist() == [0.0] * 1024  # the listing uploads nothing
    loom_write(unit, 0.0, np.arange(1024, dtype=np.float32), bind=0.0)
    loom_run(p)
    assert loom_read(unit, 0.0, 0.0, 1024).tolist() == [2.0 * n for n in range(1024)]


def test_implicit_support_sixteen_mains() -> None:
    primes = loom.gpu_primes(3, 3200).astype(np.uint32)
    n_hi, n_lo = divmod(10_000_000, 2**24)
    wg = 32.0
    progs = []

    vms: list[loom.Unit] = []
    i = 0.0
    while i < 16.0:
        vm = loom_boot(1.0, 8194.0, 4096.0)  # Support: boot
        loom_write(vm, 0.0, primes)  # Support: upload
        for seg in range(int(i), 20, 16):  # the listing's "sieve.spv": three kernels of the library, two segments
            loom_dispatch(vm, "stdlib/loom/kernels/sieve_init.spv", [seg, 8192, n_lo, n_hi], wg)  # Main: dispatch
            loom_dispatch(vm, "stdlib/loom/kernels/sieve_mark.spv", [seg, 8192, 0, len(primes)], wg)
            loom_dispatch(vm, "stdlib/loom/kernels/sieve_count.spv", [8192, 8192], wg)
        prog = loom_build(vm)  # Main: compile
        loom_launch(prog)  # Main: async fire
        vms.append(vm)
        progs.append(prog)
        i = i + 1.0
    # ... poll all, read results (Support orchestrates) ...
    while min(loom_poll(prog) for prog in progs) < 0.5:
        pass
    counts = [loom_read(vm, 0.0, 8193.0, 1.0, dtype=u32)[0] for vm in vms]

    assert sum(counts) == 664_579  # primes below 10^7, OEIS A006880


def test_conflated_counter() -> None:
    running, frames = 1.0, []
    total, wg = 360_000.0, 1407.0
    atlas = np.array([0xFF00_0007, 0xFF00_0008, 0xFF00_0009], np.uint32)

    # Counter: single VM, conflated Main + Support
    vm = loom_boot(1.0, 1.0, 360_000.0)  # Support: boot
    # ... warm-up dispatches ...
    loom_dispatch(vm, rect_spv, [0xFF00_0000], wg)
    prev = loom_build(vm)
    loom_launch(prev)
    while running == 1.0:
        loom_wait(prev)  # Support: sync
        frames.append(loom_present(vm, total))  # Support: present
        loom_set_heap(vm, atlas)  # Support: upload
        loom_dispatch(vm, rect_spv, [0xFF00_0000 + len(frames)], wg)  # Main: dispatch
        loom_dispatch(vm, text_spv, [600 * len(frames)], 1.0)  # Main: dispatch
        prog = loom_build(vm)  # Main: compile
        loom_launch(prog)  # Main: async fire
        prev = prog
        running = 1.0 if len(frames) < 4 else 0.0

    assert [f.shape for f in frames] == [(600, 600)] * 4
    assert [int(f.pixels[599, 599, 0]) for f in frames] == [0, 1, 2, 3]
    assert frames[3].pixels[3, :4, 0].tolist() == [7, 8, 9, 3]


def test_explicit_two_loom_counter() -> None:
    running, frames, seen = 1.0, [], []
    total, wg = 400.0, 2.0

    # Two-Loom Counter: Main + explicit Support
    support_vm = loom_boot(1.0, 0.0, 256.0)  # Support: lightweight
    main_vm = loom_boot(1.0, 1.0, 400.0)  # Main: GPU compute
    loom_dispatch(main_vm, rect_spv, [0], wg)
    prev = loom_build(main_vm)
    loom_launch(prev)

    while running == 1.0:
        offset, snapshot, cursor, p = len(seen), [0.5 + len(seen)], max(0, len(seen) - 1), [len(seen) + 10]
        loom_write(support_vm, offset, snapshot)  # Support: state
        val = loom_read(support_vm, cursor)  # Support: undo
        loom_wait(prev)  # Support: sync Main
        frames.append(loom_present(main_vm, total))  # Support: present Main
        loom_dispatch(main_vm, rect_spv, p, wg)  # Main: dispatch
        prev = loom_build(main_vm)
        loom_launch(prev)  # Main: fire
        seen.append(val)
        running = 1.0 if len(seen) < 4 else 0.0

    assert seen == [0.5, 0.5, 1.5, 2.5]
    assert [int(f.pixels[0, 0, 0]) for f in frames] == [0, 10, 11, 12]
    assert loom_read(support_vm, 0.0, 4.0).tolist() == [0.5, 1.5, 2.5, 3.5]  # loom_read(vm, offset, count)


def test_three_concurrent_pipelines() -> None:
    total, wg = 65_536, 256
    r_params, p_params, t_params = [0xFF00_00FF], [9.75], [0.25]

    # 3 concurrent GPU pipelines: 15 lines
    render = loom_boot(1.0, 1.0, total)
    physics = loom_boot(1.0, 1.0, total)
    parts = loom_boot(1.0, 1.0, total)

    loom_dispatch(render, rect_spv, r_params, wg)
    loom_dispatch(physics, fall_spv, p_params, wg)
    loom_dispatch(parts, fall_spv, t_params, wg)

    loom_launch(loom_build(render))
    loom_launch(loom_build(physics))
    loom_launch(loom_build(parts))

    while loom_poll(render) < 0.5:
        pass
    # Done. No streams, no pinned memory, no cleanup.

    assert set(loom_read(render, 1.0, 0.0, total, dtype=u32).tolist()) == {0xFF00_00FF}
    assert set(loom_read(physics, 1.0, 0.0, total).tolist()) == {-9.75}
    assert set(loom_read(parts, 1.0, 0.0, total).tolist()) == {-0.25}


def test_your_first_loom_program() -> None:
    data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]

    # Boot a compute unit (1 buffer, 8 registers, no globals)
    unit = loom_boot(1.0, 8, 0)

    loom_write(unit, 0.0, data, bind=0.0)  # the listing forgets this line; its printed output needs it

    # Dispatch the "double" kernel
    loom_dispatch(unit, "stdlib/loom/kernels/math/double.spv", [], 1.0)

    # Build, run, read
    prog = loom_build(unit)
    loom_run(prog)
    result = loom_read(unit, 0.0, 0.0, 8)

    assert result.tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]
