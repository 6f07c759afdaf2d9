"""Small calls: what lies between Python and the kernel.

A kernel, ``y = a * x`` of 64 elements; patterns over arrays of numpy, of 1,000 elements; operations of tensors of 64.

CPU time of the process, the least of many blocks, so that a loaded machine changes little; with threads the time of
each call by the clock. Rows: arguments of numpy and of Loom, given again and made anew for each call, one kernel and 50
keys in turn, one thread and four; the same through Python alone (``LOOM_NATIVE=0``). Peers are numba, JAX and PyTorch,
of this environment or of the one whose Python ``LOOM_BENCH_PEERS`` names; those not there are left out. With
``LOOM_BENCH_BESIDE`` (the ``src`` folder of other code of Loom's) the same calls run there, in turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from bench.report import Bar, Family, Row, main

ROUNDS = 3
LIMITS = {"numpy": 1.5, "loom.array": 1.0, "gpu_sum": 2.0, "gpu_sort": 6.0, "a + b": 3.0}
_TIMED = """
import json, threading, time
import numpy as np
N = 64
def least(call, turns=1, n=3000):
    for _ in range(100):
        call()
    best = 9e9
    for _ in range(15):
        begin = time.process_time()
        for _ in range(n):
            call()
        best = min(best, (time.process_time() - begin) / n / turns)
    return best * 1e6
def in_threads(make, count=4, n=20000):
    calls, times = [make() for _ in range(count)], []
    def work(call):
        begin = time.perf_counter()
        for _ in range(n):
            call()
        times.append((time.perf_counter() - begin) / n)
    for _ in range(3):
        threads = [threading.Thread(target=work, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return min(times) * 1e6
def arrays(n=N):
    return np.arange(n, dtype=np.float32), np.zeros(n, np.float32)
found = {}
"""
_LOOM = """
import os, sys, tempfile
with tempfile.NamedTemporaryFile("w", suffix=".py", delete=False) as file:
    file.write('''
import loom
@loom.kernel
def scale(x: loom.In[loom.f32], y: loom.Out[loom.f32], a: loom.f32):
    i = loom.global_id()
    if i < len(y):
        y[i] = a * x[i]
''')
sys.path.insert(0, os.path.dirname(file.name))
scale = __import__(os.path.basename(file.name)[:-3]).scale
os.unlink(file.name)
import loom
def own(n=N):
    return tuple(map(loom.array, arrays(n)))
for name, make in (("numpy", arrays), ("loom.array", own)):
    x, y = make()
    scale(x, y, 2.0)
    assert np.array_equal(np.asarray(y), 2 * np.arange(N))
    found[name] = least(lambda: scale(x, y, 2.0))
    found[f"{name}, by name"] = least(lambda: scale(x=x, y=y, a=2.0))
    keys = [make(n) for n in range(40, 90)]
    def turn():
        for x, y in keys:
            scale(x, y, 2.0)
    found[f"{name}, 50 keys in turn"] = least(turn, 50, 100)
    def anew():
        scale(*make(), 2.0)
    found[f"{name}, made anew"] = least(anew, n=1000) - least(make, n=1000)
    def thread():
        x, y = make()
        return lambda: scale(x, y, 2.0)
    found[f"{name}, 4 threads"] = in_threads(thread)
x, _ = arrays()
found["an output left out"] = least(lambda: scale(x, a=2.0), n=1000)
data, other = (np.random.default_rng(n).standard_normal(1000).astype("f4") for n in (0, 1))
parts = [data[:n].copy() for n in range(900, 950)]
for name, call in (("gpu_sum", loom.gpu_sum), ("gpu_sort", loom.gpu_sort)):
    found[name] = least(lambda: call(data), n=1000)
    def each_part():
        for part in parts:
            call(part)
    found[f"{name}, 50 keys in turn"] = least(each_part, 50, 20)
    found[f"{name}, made anew"] = least(lambda: call(data + 1), n=1000) - least(lambda: data + 1, n=1000)
    found[f"{name}, 4 threads"] = in_threads(lambda: lambda: call(data), n=3000)
found["gpu_add of two arrays"] = least(lambda: loom.gpu_add(data, other), n=1000)
a, b = (loom.array(each[:64]) for each in (data, other))
found["a + b"] = least(lambda: (a + b).evaluate(), n=1000)
found["recording a + b"] = least(lambda: a + b, n=1000)
found["numpy of a + b"] = least(lambda: (a + b).numpy(), n=1000)
print(json.dumps(found))
"""
_PEERS = {
    "numba": """
import numba
@numba.njit("void(f4[::1], f4[::1], f4)")
def scale(x, y, a):
    for i in range(len(y)):
        y[i] = a * x[i]
x, y = arrays()
found["numba"] = least(lambda: scale(x, y, 2.0))
""",
    "jax": """
import jax
scale = jax.jit(lambda x, a: a * x)
x = jax.numpy.asarray(arrays()[0])
a = jax.numpy.float32(2.0)
found["jax"] = least(lambda: scale(x, a).block_until_ready())
""",
    "torch": """
import torch
x, y = map(torch.from_numpy, arrays())
found["torch"] = least(lambda: torch.mul(x, 2.0, out=y))
data = torch.from_numpy(np.random.default_rng(0).standard_normal(1000).astype("f4"))
found["torch.sum"] = least(lambda: torch.sum(data))
found["torch.sort"] = least(lambda: torch.sort(data))
found["torch, a + b"] = least(lambda: x + y)
""",
    "numpy.multiply": """
x, y = arrays()
found["numpy.multiply"] = least(lambda: np.multiply(x, np.float32(2), out=y))
""",
}


def run(family: Family) -> None:
    """Measure every side in fresh processes, in turns."""
    here = os.pathsep.join(sys.path)
    sides = {"": {"PYTHONPATH": here}, "through Python, ": {"PYTHONPATH": here, "LOOM_NATIVE": "0"}}
    if beside := os.environ.get("LOOM_BENCH_BESIDE"):
        sides["other, "] = {"PYTHONPATH": beside}
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for side, settings in sides.items():
            for name, time in _times(sys.executable, _LOOM, settings).items():
                found.setdefault(side + name, []).append(time)
        for peer, code in _PEERS.items():
            python = os.environ.get("LOOM_BENCH_PEERS", sys.executable) if peer != "torch" else sys.executable
            for name, time in _times(python, code + "\nprint(json.dumps(found))", {}).items():
                found.setdefault(name, []).append(time)
    for name, times in found.items():
        limit = LIMITS.get(name.partition(",")[0])
        bars = () if limit is None else (Bar(f"at most {limit} us", limit, min(times)),)
        family.rows.append(Row(name, {"us": min(times)}, bars))
    family.notes.append(f"the least of {ROUNDS * 15} blocks; peers that are not installed have no row")


def _times(python: str, code: str, settings: dict[str, str]) -> dict[str, float]:
    environment = {**os.environ, **settings}
    finished = subprocess.run(
        [python, "-c", _TIMED + code], env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode and "ModuleNotFoundError" not in finished.stderr:
        raise AssertionError(finished.stderr)
    return {} if finished.returncode else json.loads(finished.stdout)


if __name__ == "__main__":
    main("calls", run)
