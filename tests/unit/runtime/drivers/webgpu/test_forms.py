"""Every form of arithmetic gives the bits of IEEE 754: the device's own, hidden, and integers alone.

Oracle: numpy under ordinary arithmetic (the probes'); for kernels as users write them, the interpreter.
"""

from __future__ import annotations

import os
import select
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import loom
from conformance.running import execute
from conformance.writer import Writer
from loom.core.dtype import u8, u32, u64
from loom.core.errors import DeviceError
from loom.targets.wgsl.library.collect import FORMS

PROBED = (
    "f32 add", "f32 sub", "f32 mul", "f32 division", "f32 square root", "f32 select", "f32 reassociation",
    "integers to floats", "64-bit integers to floats", "f64 conversions", "f64 mul", "f64 division", "f64 square root",
    "i64 arithmetic", "u16 arithmetic",
)  # fmt: skip


@pytest.fixture(scope="module")
def other() -> Any:
    """Return an adapter opened untested."""
    try:
        found = loom.device("webgpu")
    except DeviceError as error:
        pytest.skip(f"no WebGPU device: {error}")
    from loom.runtime.drivers.webgpu.device import WebGpuDevice

    device = WebGpuDevice(found.adapter, "other", tested=False)  # type: ignore[attr-defined]
    device.use(found.features)  # type: ignore[attr-defined]
    return device


@pytest.mark.parametrize("operation", PROBED)
@pytest.mark.parametrize("form", ["guarded", "integers"])
def test_arithmetic_in_other_forms_is_that_of_ieee_754(other: Any, form: str, operation: str) -> None:
    from loom.runtime.drivers.webgpu import selftest

    forms = tuple(sorted((family, form if form in known else known[-1]) for family, known in FORMS.items()))
    assert selftest._right(other, operation, replace(other.features, forms=forms))


@loom.kernel
def saxpy(x: loom.In[loom.f32], y: loom.In[loom.f32], out: loom.Out[loom.f32], a: loom.f32) -> None:
    i = loom.global_id()
    if i < len(out):
        out[i] = a * x[i] + y[i]


@loom.kernel
def narrow(x: loom.InOut[loom.u8], n: loom.u32) -> None:
    i = loom.global_id()
    if i < n:
        x[i] = loom.u8(x[i] * 3 + 1)


@pytest.fixture(scope="module")
def webgpu() -> str:
    try:
        loom.device("webgpu")
    except DeviceError as error:
        pytest.skip(f"no WebGPU device: {error}")
    return "webgpu"


def test_saxpy_has_the_bits_of_the_interpreter(webgpu: str) -> None:
    rng = np.random.default_rng(1)
    x, y = (rng.integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32) for _ in range(2))
    found, expected = np.empty_like(x), np.empty_like(x)
    saxpy(x, y, found, a=1e-3, on=webgpu)
    saxpy(x, y, expected, a=1e-3, on="interp")
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), nan)
    assert np.array_equal(found.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


def test_bytes_that_lanes_store_side_by_side_are_all_kept(webgpu: str) -> None:
    x = np.arange(10_001, dtype=np.uint8)
    expected = (x.astype(np.uint32) * 3 + 1).astype(np.uint8)
    expected[9_999:] = x[9_999:]
    narrow(x, 9_999, groups=-(-9_999 // 64), on=webgpu)
    assert np.array_equal(x, expected)


def test_memory_bound_twice_is_one_memory(webgpu: str) -> None:
    x = loom.array(np.arange(100, dtype=np.float32), on=webgpu)
    out = loom.array(np.zeros(100, np.float32), on=webgpu)
    saxpy(x, x, out, a=3.0, on=webgpu)
    assert np.array_equal(np.asarray(out), 4 * np.arange(100, dtype=np.float32))


def _known_indexes() -> Any:
    """Store, add and load at constants inside and outside private and shared arrays."""
    k = Writer("known_indexes", (4, 1, 1))
    out, lane = k.buffer("out", u32), k.local_id()
    own, wide, shared = k.private("own", u8, 4), k.private("wide", u64, 3), k.shared("shared", u32, 5)
    for at in (0, 3, 4, 5, 0x7FFFFFFF):
        own[at] = (lane + at).to(u8)
        wide[at] = lane.to(u64) + at
        shared.atomic("add", at, lane + at)
    k.barrier()
    seen = k.local("seen", u32, 0)
    for at in range(7):
        seen.set(seen.now * 3 + own[at].to(u32) + wide[at].to(u32) * 5 + shared[at] * 7)
    out[lane] = seen.now
    return k.finish()


def test_known_indexes_outside_private_and_shared_arrays_store_nothing(webgpu: str) -> None:
    kernel = _known_indexes()
    (found,) = execute(kernel, [np.zeros(4, np.uint32)], on=webgpu)
    own, wide, shared = ({at: at for at in inside} for inside in ((0, 3), (0,), (0, 3, 4)))
    for lane in range(4):
        seen = 0
        for at in range(7):
            seen = seen * 3 + (own[at] + lane if at in own else 0)
            seen += 5 * (wide[at] + lane if at in wide else 0) + 7 * (4 * shared[at] + 6 if at in shared else 0)
        assert found[lane] == seen


def _told_in_a_fork(work: Callable[[], object]) -> str:
    """Return what is raised in a fork of this process; a failure if it hangs."""
    reader, writer = os.pipe()
    with warnings.catch_warnings(action="ignore"):  # of Python, that forks of threads may hang
        pid = os.fork()
    if pid == 0:
        try:
            work()
            text = "nothing"
        except BaseException as error:  # a fork may not leave by the tests' own way
            text = str(error)
        os.write(writer, text.encode())
        os._exit(0)
    try:
        assert select.select([reader], [], [], 20)[0], "it hangs"
        return os.read(reader, 10_000).decode()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_is_told_that_it_cannot_have_what_its_parent_uses(webgpu: str) -> None:
    x, out = loom.array(np.ones(8, np.float32), on=webgpu), np.zeros(8, np.float32)
    assert float(loom.gpu_sum(x)) == 8
    for work in (lambda: np.asarray(x), lambda: saxpy(out, out, np.zeros_like(out), a=1.0, on=webgpu)):
        assert "wgpu was in use when this process was forked" in _told_in_a_fork(work)


def test_64_bit_atomics_whose_old_value_is_used_are_refused_by_name(webgpu: str) -> None:
    @loom.kernel(workgroup=64, order="any")
    def ranks(count: loom.InOut[loom.u64], out: loom.Out[loom.u64]) -> None:
        out[loom.global_id()] = loom.atomic_add(count, 0, loom.u64(1))

    with pytest.raises(loom.LoomError, match="the old value of atomic_add"):
        ranks(np.zeros(1, np.uint64), np.zeros(64, np.uint64), groups=1, on=webgpu)
