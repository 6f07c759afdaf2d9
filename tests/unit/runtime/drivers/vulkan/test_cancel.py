"""Long runs are handed over in parts: they can be stopped between two, and keep their order with all that follows."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.runtime.drivers.vulkan.native.queues import PARTS_AT_ONCE
from loom.runtime.drivers.vulkan.program.recording import Recording

_MANY = 1500


@loom.kernel(workgroup=64)
def slow(x: loom.InOut[loom.u32], turns: loom.u32) -> None:
    """Take some time, then count the dispatch."""
    i = loom.global_id()
    v = x[i]
    for n in range(turns):
        v = v * 5 + n
        v = v ^ (v >> 3)
    x[i + 256] = v
    x[i] = x[i] + 1


def _program(device: Any, dispatches: int, turns: int = 3000) -> tuple[Any, Any]:
    storage, chain = device.allocate(4 * 512), loom.Chain(device)
    for _ in range(dispatches):
        chain.dispatch(slow, [storage], [turns], 4)
    return chain.build(), storage


def _count(storage: Any) -> int:
    counts = storage.read(0, 4 * 256).view(np.uint32)
    assert (counts == counts[0]).all()
    return int(counts[0])


def test_a_run_that_is_cancelled_stops(vulkan: Any) -> None:
    program, storage = _program(vulkan, _MANY)
    submission = program.launch()
    submission.cancel()
    submission.wait(30)
    assert _count(storage) < _MANY // 2, "only what was with the device has run"
    before = _count(storage)
    program.run()
    assert _count(storage) - before == _MANY, "a program that was cancelled runs again, whole"


def test_runs_keep_their_order_behind_one_that_is_handed_over_in_parts(vulkan: Any) -> None:
    program, storage = _program(vulkan, 150, 10)
    assert len(program._inner.recordings[0].parts) > PARTS_AT_ONCE or vulkan.adapter.kind != "cpu"
    runs = [program.launch() for _ in range(3)]
    seen = loom.gpu_sum(loom.array(np.ones(1000, np.float32), on=vulkan))  # short work, behind them
    for run in runs:
        run.wait(60)
    assert _count(storage) == 450
    assert float(seen) == 1000.0


def test_what_follows_a_cancelled_run_is_run(vulkan: Any) -> None:
    first, storage = _program(vulkan, _MANY)
    second, other = _program(vulkan, 40, 10)
    begun = first.launch()
    after = second.launch()
    begun.cancel()
    after.wait(60)
    begun.wait(60)
    assert _count(storage) < _MANY
    assert _count(other) == 40


def test_ctrl_c_stops_a_run(vulkan: Any) -> None:
    program, storage = _program(vulkan, 4 * _MANY, 20_000)
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        program.run()
    _count(storage)
    assert time.monotonic() - begun < 20, "neither the run nor reading waits for the rest"
    timer.join()


def test_what_ctrl_c_left_of_a_run_does_not_come_back_over_later_numbers(vulkan: Any) -> None:
    x, chain = np.zeros(512, np.uint32), loom.Chain(vulkan)
    for _ in range(4 * _MANY):
        chain.dispatch(slow, [x], [20_000], 4)
    program = chain.build()
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        program.run()
    timer.join()
    x[:] = 7  # the caller's, once the run is over
    follow = loom.Chain(vulkan)
    follow.dispatch(slow, [x], [1], 4)
    follow.build().run()
    assert (x[:256] == 8).all()


_LEAVES = """
import numpy as np
import loom

@loom.kernel(workgroup=64)
def long(x: loom.InOut[loom.u32]) -> None:
    v = x[loom.local_id()]
    for n in range(60_000):
        v = v * 5 + n
    x[loom.local_id() + 64 * loom.group_id()] = v

device = loom.device("vulkan")
storage, chain = device.allocate(4 * 64 * 65535), loom.Chain(device)
chain.dispatch(long, [storage], [], 65535)
program = chain.build()
print(program.launch().done, flush=True)
"""


def test_the_process_ends_though_a_dispatch_goes_on(vulkan: Any, tmp_path: Path) -> None:
    if vulkan.adapter.kind != "cpu":
        pytest.skip("the dispatch takes its time on a CPU only")
    script = tmp_path / "leaves.py"
    script.write_text(_LEAVES)
    begun = time.monotonic()
    found = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )
    assert found.stdout == "False\n", found.stderr[-2000:]
    assert found.returncode == 0
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("presses", [1, 3])
def test_nothing_is_freed_that_threads_still_record_into(
    vulkan: Any, monkeypatch: pytest.MonkeyPatch, presses: int
) -> None:
    lock, inside, seen = threading.Lock(), list[int](), list[int]()
    presses_left = [0.1 * n for n in range(1, presses + 1)]

    def record(self: Recording, commands: Any, rows: Any, *, is_first: bool, is_last: bool) -> None:
        with lock:
            inside.append(1)
            while presses_left:
                threading.Timer(presses_left.pop(), os.kill, [os.getpid(), signal.SIGINT]).start()
        try:
            time.sleep(0.5)
        finally:
            with lock:
                inside.pop()

    def destroy(self: Recording, *, failed: bool = False) -> None:
        seen.append(len(inside))

    with monkeypatch.context() as patched:
        patched.setattr(Recording, "_record_part", record)
        patched.setattr(Recording, "destroy", destroy)
        with pytest.raises(KeyboardInterrupt):
            _program(vulkan, 150)
    assert seen == [0], "threads that record at that moment"
    program, storage = _program(vulkan, 150, 10)
    program.run()
    assert _count(storage) == 150
