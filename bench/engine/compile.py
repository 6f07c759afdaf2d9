"""Compiling a kernel, from its Python source to code in memory: an empty cache, a new process for each.

Timed twice: as the first kernel of a process, which pays for starting LLVM, and after another one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import loom
from bench.arrays.kernels import histogram, life, mandelbrot, matmul, nothing, scale
from bench.report import Bar, Family, Row, main
from loom.runtime.drivers.cpu import CpuDevice

LIMIT_MS = 150.0
RUNS = 5


def _library(name: str) -> Any:
    from loom.kernels.fold.tiles import extreme_tiles, sum_tiles
    from loom.kernels.sieve.wheel import sieve_segments

    made = {
        "sum_tiles": partial(sum_tiles, loom.f32, loom.f32, loom.f32),
        "max_tiles": partial(extreme_tiles, loom.f32, largest=True),
        "sieve_segments": partial(sieve_segments, keep=False),
    }
    return made[name]()


KERNELS: dict[str, Callable[[], Any]] = {
    "scale": lambda: scale,
    "mandelbrot": lambda: mandelbrot,
    "histogram": lambda: histogram,
    "life": lambda: life,
    "matmul": lambda: matmul,
    "sum_tiles": partial(_library, "sum_tiles"),
    "max_tiles": partial(_library, "max_tiles"),
    "sieve_segments": partial(_library, "sieve_segments"),
}
UNTYPICAL = "sieve_segments"
"""By far the largest kernel of the library; shown without a bar."""


def run(family: Family) -> None:
    """Measure every kernel in processes of its own."""
    for name in KERNELS:
        first = [_in_new_process(name, after_another=False) for _ in range(RUNS)]
        later = [_in_new_process(name, after_another=True) for _ in range(RUNS)]
        total = median(t["total_ms"] for t in later)
        measured: dict[str, float | int | str] = {
            "translate_ms": median(t["translate_ms"] for t in later),
            "generate_and_load_ms": median(t["load_ms"] for t in later),
            "total_ms": total,
            "total_as_first_of_a_process_ms": median(t["total_ms"] for t in first),
            "runs": RUNS,
        }
        text = f"at most {LIMIT_MS:g} ms"
        bars = (
            Bar(f"{text}, LLVM already started", LIMIT_MS, total),
            Bar(f"{text}, first of a process", LIMIT_MS, median(t["total_ms"] for t in first)),
        )
        family.rows.append(Row(name, measured, () if name == UNTYPICAL else bars))
    family.notes.append(f"{UNTYPICAL} is the library's largest kernel, not a typical one: no bar")


def _in_new_process(name: str, *, after_another: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "LOOM_CACHE_DIR": cache}
        command = [sys.executable, "-m", "bench.engine.compile", "--one", name]
        command += ["--later"] if after_another else []
        text = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(text)


def _compile_one(name: str, *, after_another: bool) -> dict[str, float]:
    """Time one kernel in this process: translated and verified, then compiled and loaded."""
    kernel, device = KERNELS[name](), CpuDevice()
    if after_another:
        device.load(nothing.verified)
    start = time.perf_counter()
    verified = kernel.verified
    translated = time.perf_counter()
    device.load(verified)
    end = time.perf_counter()
    return {
        "translate_ms": (translated - start) * 1e3,
        "load_ms": (end - translated) * 1e3,
        "total_ms": (end - start) * 1e3,
    }


if __name__ == "__main__":
    if "--one" in sys.argv:
        wanted = sys.argv[sys.argv.index("--one") + 1]
        print(json.dumps(_compile_one(wanted, after_another="--later" in sys.argv)))
    else:
        main("compile", run)
