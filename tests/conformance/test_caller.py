"""A caller that flushes subnormals changes no bit of a kernel, and finds its own settings again afterwards.

Audio and machine-learning libraries set flush-to-zero for the whole process; new threads inherit it. Oracle:
the exact results, powers of two, written out as bits.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from conformance.running import Bits, environment, execute, require_same
from conformance.writer import Writer
from loom.core.dtype import f32, f64
from loom.ir.kernel import Kernel
from loom.runtime.drivers.cpu.code import LinkedCode, link
from loom.targets.llvm.machine import emit, host_machine

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="these tests set the control word of x86 processors"
)

_FLUSHING = 0x1F80 | 1 << 15 | 1 << 6
"""No traps, round to nearest, flush to zero (FTZ), denormals are zero (DAZ)."""
_TOWARDS_ZERO = 0x1F80 | 3 << 13
_UPWARDS = 0x1F80 | 2 << 13
_SOURCE = """
target triple = "{triple}"
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define i32 @get_control() {{
  %cell = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %cell)
  %word = load i32, ptr %cell
  ret i32 %word
}}
define void @set_control(i32 %word) {{
  %cell = alloca i32
  store i32 %word, ptr %cell
  call void @llvm.x86.sse.ldmxcsr(ptr %cell)
  ret void
}}
define float @half(float %x) {{
  %result = fmul float %x, 0.5
  ret float %result
}}
"""
_GROUPS, _LANES = 512, 64


@cache
def _code() -> LinkedCode:
    source = _SOURCE.format(triple=host_machine().triple)
    return link(emit(source, host_machine(), "object"), "get_control", "set_control", "half")


def _control() -> int:
    return ctypes.CFUNCTYPE(ctypes.c_uint32)(_code().address("get_control"))()


def _set_control(word: int) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_uint32)(_code().address("set_control"))(word)


@contextmanager
def _caller_with(word: int) -> Iterator[None]:
    before = _control()
    _set_control(word)
    try:
        yield
    finally:
        _set_control(before)


def _kernel() -> Kernel:
    """Halve, four times a turn, the smallest normal number, add the smallest of all; a loop, so threads share it."""
    k = Writer("subnormals", (_LANES, 1, 1))
    x, y, out, wide = k.read("x", f32), k.read("y", f64), k.buffer("out", f32), k.buffer("wide", f64)
    i = k.global_id()
    small, tiny = k.local("small", f32, x[i]), k.local("tiny", f64, y[i])
    with k.count(0, 4):
        small.set(small.now * 0.5)
        tiny.set(tiny.now * 0.5)
    out[i], wide[i] = small.now + 2.0**-149, tiny.now + 2.0**-1074
    return k.finish()


def _arrays() -> list[Bits]:
    size = _GROUPS * _LANES
    operands = [np.full(size, 1 << 23, np.uint32).view(np.float32), np.full(size, 1 << 52, np.uint64).view(np.float64)]
    return [*operands, np.zeros(size, np.float32), np.zeros(size, np.float64)]


def _require_exact(got: list[Bits]) -> None:
    size = _GROUPS * _LANES
    require_same(got[2].view(np.uint32), np.full(size, (1 << 19) + 1, np.uint32), "f32")
    require_same(got[3].view(np.uint64), np.full(size, (1 << 48) + 1, np.uint64), "f64")


def test_flushing_flushes() -> None:
    """The word set here does what the other tests are about."""
    half = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_float)(_code().address("half"))
    with _caller_with(_FLUSHING):
        flushed = half(2.0**-126)
    assert flushed == 0.0
    assert half(2.0**-126) == 2.0**-127


@pytest.mark.parametrize("launch", [False, True], ids=["run", "launch"])
@pytest.mark.parametrize("simd", [1, 4, 16])
@pytest.mark.parametrize("threads", [1, 2])
def test_subnormals_are_kept(threads: int, simd: int, launch: bool) -> None:
    with environment(LOOM_THREADS=threads, LOOM_SIMD=simd):
        kernel, arrays = _kernel(), _arrays()
        with _caller_with(_FLUSHING):
            got = execute(kernel, arrays, groups=(_GROUPS, 1, 1), launch=launch)
            after = _control()
        assert after & _FLUSHING == _FLUSHING
        assert after & ~0x3F == _FLUSHING, "bits besides the sticky flags changed"
        _require_exact(got)


@pytest.mark.parametrize("launch", [False, True], ids=["run", "launch"])
def test_threads_started_by_a_flushing_caller(launch: bool) -> None:
    """Workers inherit their creator's settings; a number of threads no other test uses makes a new pool."""
    kernel = _kernel()
    with environment(LOOM_THREADS=5 + launch), _caller_with(_FLUSHING):
        got = execute(kernel, _arrays(), groups=(_GROUPS, 1, 1), launch=launch)
    _require_exact(got)


@pytest.mark.parametrize("launch", [False, True], ids=["run", "launch"])
def test_rounding_of_the_caller_does_not_matter(launch: bool) -> None:
    k = Writer("thirds", (_LANES, 1, 1))
    x, out = k.read("x", f32), k.buffer("out", f32)
    out[k.global_id()] = x[k.global_id()] / 3.0
    ones = np.full(_LANES, 2.0, np.float32)
    with _caller_with(_TOWARDS_ZERO):
        got = execute(k.finish(), [ones, np.zeros(_LANES, np.float32)], launch=launch)
        after = _control()
    assert after & ~0x3F == _TOWARDS_ZERO
    require_same(got[1].view(np.uint32), np.full(_LANES, 0x3F2AAAAB, np.uint32), "2 / 3")


@pytest.mark.parametrize("on", ["cpu", "interp"])
def test_numbers_recorded_and_interpreted_under_flushing_keep_their_bits(on: str) -> None:
    least = 2.0**-149
    with _caller_with(_FLUSHING):
        k = Writer(f"recorded_{on}", (1, 1, 1))
        out, given = k.buffer("out", f32), k.param("given", f32)
        out[0], out[1], out[2] = given, k.const(least, f32), given + given
        kernel = k.finish()
        (got,) = execute(kernel, [np.zeros(3, np.float32)], [2.0**-140], on=on)
        after = _control()
    assert after & ~0x3F == _FLUSHING
    require_same(got.view(np.uint32), np.array([1 << 9, 1, 1 << 10], np.uint32), "numbers")


def test_rounding_upwards_changes_no_number_recorded() -> None:
    with _caller_with(_UPWARDS):
        k = Writer("rounded", (1, 1, 1))
        out, given = k.buffer("out", f32), k.param("given", f32)
        out[0], out[1] = given, k.const(1.3, f32)
        (got,) = execute(k.finish(), [np.zeros(2, np.float32)], [0.7])
    require_same(got.view(np.uint32), np.array([0x3F333333, 0x3FA66666], np.uint32), "numbers")


_OPENS_FLUSHING = """
import sys
import threading
import numpy as np
import loom
from tests.conformance import test_caller as caller

x = np.full(4096, 2.0**-126, np.float32)
ones = np.linspace(1, 2, 4096, dtype=np.float32)
found = []

def halve() -> None:
    with caller._caller_with(caller._FLUSHING):
        found.append(loom.gpu_map(x, lambda v: v * 0.5, on=sys.argv[1]).view(np.uint32))
        assert caller._control() & ~0x3F == caller._FLUSHING

thread = threading.Thread(target=halve)
thread.start()
thread.join()
found.append(loom.gpu_map(x, lambda v: v * 0.5, on=sys.argv[1]).view(np.uint32))
with caller._caller_with(caller._UPWARDS):
    thirds = loom.gpu_map(ones, lambda v: v / 3.0 + 0.1, on=sys.argv[1]).view(np.uint32)
expected = loom.gpu_map(ones, lambda v: v / 3.0 + 0.1, on="interp").view(np.uint32)
print([len(set(f.tolist())) == 1 and int(f[0]) == 1 << 22 for f in found], np.array_equal(thirds, expected))
"""


@pytest.mark.needs("threads")
def test_a_device_opened_by_a_thread_that_flushes(on: str, tmp_path: Path) -> None:
    """The driver's workers inherit the settings of the thread that opens it: so these are put right around every call.

    In a process of its own, since the workers stay as they were made.
    """
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    script = tmp_path / "opens.py"
    script.write_text(_OPENS_FLUSHING)
    found = subprocess.run(
        [sys.executable, str(script), on], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": path, "LOOM_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert found.stdout == "[True, True] True\n", found.stderr[-2000:]
