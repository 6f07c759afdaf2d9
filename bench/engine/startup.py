"""Import, and the first call of a fresh process with a warm cache of compiled kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main

IMPORT_LIMIT_S, FIRST_LIMIT_S = 0.25, 0.1
BLOCKS, CALLS = 5, 5

_OURS = """
import time
start = time.perf_counter()
import loom
imported = time.perf_counter()
import numpy
data = numpy.arange(1000, dtype=numpy.float32)
ready = time.perf_counter()
result = loom.gpu_sum(data)
done = time.perf_counter()
assert result == 499500
import json
parts = {"import loom": imported - start, "import numpy": ready - imported, "first gpu_sum": done - ready}
print(json.dumps(parts))
"""
_BARE = "import numpy"
_FIRST = """
import time, json
import loom, numpy
{data}
ready = time.perf_counter()
result = {call}
print(json.dumps({{"first": time.perf_counter() - ready}}))
assert {right}
"""
FIRST_CALLS = {
    "gpu_matmul": _FIRST.format(
        data="a = numpy.ones((256, 256), numpy.float32)", call="loom.gpu_matmul(a, a)", right="result[0, 0] == 256"
    ),
    "gpu_sort": _FIRST.format(
        data="x = numpy.arange(100000, 0, -1).astype(numpy.float32)", call="loom.gpu_sort(x)", right="result[0] == 1"
    ),
}
FIRST_CALL_LIMIT_S = 0.15
_CPU = """
import numpy, time
start = time.process_time()
import loom
{call}
print(time.process_time() - start)
"""
_KERNEL = """
@loom.kernel
def saxpy(x: loom.In[loom.f32], y: loom.InOut[loom.f32], a: loom.f32):
    i = loom.global_id()
    if i < len(y):
        y[i] = a * x[i] + y[i]
x = numpy.ones(64, numpy.float32)
saxpy(x, x.copy(), a=2.0)
"""
_STEP = """
layers = [{"type": "dense", "output_size": 16, "activation": "relu"}, {"type": "dense", "output_size": 3}]
state = loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]}, "layers": layers}).step()
state.set_input([0.1, 0.2, 0.1, 0.3])
state.step_forward()
state.step_backward(state.get_output())
state.apply_gradients(0.1)
"""
FIRST_CPU = {
    "gpu_sum of two numbers": ("loom.gpu_sum([1.0, 2.0])", 0.06),
    "kernel of one's own": (_KERNEL, 0.1),
    "step of a network, of learning": (_STEP, 0.3),
}
"""What a process does first, its kernels compiled by one before, and the bar for its CPU seconds after numpy's."""


def run(family: Family) -> None:
    """Measure fresh processes, in turns with ones that import numpy alone."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        environment.pop("LOOM_CACHE_DIR", None)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process compiles Loom's Python anew
        sides = [
            Side("process", lambda: json.loads(_python(_OURS, environment))),
            Side("process of numpy alone", lambda: _python(_BARE, environment)),
        ]
        timings = alternate(sides, blocks=BLOCKS, calls=CALLS)  # the first call, not counted, fills the cache
        for name, code in FIRST_CALLS.items():
            calls = [json.loads(_python(code, environment))["first"] for _ in range(CALLS + 2)][2:]
            bar = Bar(f"at most {FIRST_CALL_LIMIT_S} s", FIRST_CALL_LIMIT_S, median(calls))
            row = Row(f"first {name} of a process, cache warm", {"first_s": median(calls), "runs": len(calls)}, (bar,))
            family.rows.append(row)
        for name, (call, limit) in FIRST_CPU.items():
            file = Path(cache, "first.py")  # a kernel's source is read from its file
            file.write_text(_CPU.format(call=call))
            taken = [float(_python(file, environment)) for _ in range(CALLS + 2)][2:]
            bar = Bar(f"at most {limit} s", limit, median(taken))
            row = Row(f"first {name}, CPU seconds", {"cpu_s": median(taken), "runs": len(taken)}, (bar,))
            family.rows.append(row)
    measured: dict[str, Any] = {f"{name}_s": timings.median(name) for name in timings.blocks}
    totals = [
        sum(parts)
        for parts in zip(*(timings.all(n) for n in ("import loom", "import numpy", "first gpu_sum")), strict=True)
    ]
    measured |= {"import_and_first_gpu_sum_s": median(totals), "runs": timings.runs("process")}
    both = IMPORT_LIMIT_S + FIRST_LIMIT_S
    bars = (
        Bar(f"import loom: at most {IMPORT_LIMIT_S} s", IMPORT_LIMIT_S, timings.median("import loom")),
        Bar(f"first gpu_sum: at most {FIRST_LIMIT_S} s more", FIRST_LIMIT_S, timings.median("first gpu_sum")),
        Bar(
            f"import loom, import numpy and first gpu_sum together: at most {both:.2f} s",
            both,
            median(totals),
        ),
    )
    family.rows.append(Row("fresh process, cache warm", measured, bars))
    family.notes.append(
        "loom imports what it needs when first used; a process that compiles nothing loads llvmlite's library alone"
    )


def _python(code: str | Path, environment: dict[str, str]) -> str:
    command = [sys.executable, *(["-c", code] if isinstance(code, str) else [str(code)])]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main("startup", run)
