"""Ctrl-C at random moments of work on Vulkan, hundreds of times a process: it goes on computing, and it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = """
import faulthandler, os, random, signal, sys, threading, time
import numpy as np
import loom

signal.signal(signal.SIGINT, signal.default_int_handler)
faulthandler.dump_traceback_later(60, exit=True)  # of a process that hangs all threads are printed
seed, seconds = int(sys.argv[1]), float(sys.argv[2])

@loom.kernel(workgroup=1)
def add(x: loom.InOut[loom.u32], k: loom.u32):
    x[loom.global_id()] = x[loom.global_id()] + k

def program(n):
    x = np.zeros(4, np.uint32)
    chain = loom.Chain("vulkan")
    with chain.repeat(n):
        chain.dispatch(add, [x], [1])
    return x, chain.build()

data = np.ones(1 << 20, np.uint32)
(_, few), (_, many) = program(3), program(2000)

def work(rng):
    what = rng.randrange(5)
    if what == 0:
        program(rng.choice((1, 40, 3000)))[1].run()
    elif what == 1:
        few.launch().wait()
    elif what == 2:
        loom.gpu_sum(loom.array(data[: rng.choice((64, 1 << 20))], on="vulkan"))
    elif what == 3:
        loom.array(data, on="vulkan").numpy()
    else:
        many.run()

def press():
    rng = random.Random(seed + 1000)
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.001, 0.02))
        before, late = presses, time.monotonic() + 0.5
        os.kill(os.getpid(), signal.SIGINT)
        while presses == before and time.monotonic() < late:  # Python drops what it raises in a finalizer
            time.sleep(0.0005)

rng = random.Random(seed)
for _ in range(10):
    work(rng)
end, presses = time.monotonic() + seconds, 0
presser = threading.Thread(target=press, daemon=True)
presser.start()
while True:
    try:
        if not presser.is_alive():
            break
        work(rng)
    except KeyboardInterrupt:
        presses += 1
x, last = program(500)
last.run()
last.launch().wait()
assert (x == 1000).all(), x
assert int(loom.gpu_sum(loom.array(data, on="vulkan"))) == 1 << 20
print(presses > 20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_presses_at_random_moments(vulkan: Any, tmp_path: Path, seed: int) -> None:
    if vulkan.adapter.kind != "cpu":
        pytest.skip("what is pressed in the middle of a dispatch is waited for a second, many times")
    script = tmp_path / "presses.py"
    script.write_text(_SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(seed), "4"],
        capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr[-3000:]
