"""Boots, runs and shuts down 1,000 units, and compares the memory of the process before and after."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import loom
from bench.arrays.kernels import scale
from bench.report import Bar, Family, Row, main

UNITS, WARM_UP, ROUNDS = 1000, 100, 4
WORDS = 1 << 16
LIMIT_KIB = 256.0
"""What counts as no growth: a quarter of a KiB a unit, of which each has 512 KiB of memory and a program."""


def run(family: Family) -> None:
    """Measure the process around 1,000 units, four times, after 100 that warm up allocators and caches.

    Free memory left by the warm-up can hide a small leak from the first rounds: the worst round counts.
    """
    _use_units(WARM_UP)
    resident, in_use = [_resident_nbytes()], [_malloc_nbytes()]
    for _ in range(ROUNDS):
        _use_units(UNITS)
        resident.append(_resident_nbytes())
        in_use.append(_malloc_nbytes())
    growth, native = _worst_growth_kib(resident), _worst_growth_kib(in_use)
    measured: dict[str, Any] = {
        "resident_before_mib": resident[0] / 2**20,
        "resident_growth_kib": growth,
        "malloc_in_use_growth_kib": native if native is not None else "unknown",
        "units": UNITS,
        "rounds": ROUNDS,
        "unit_kib": 8 * WORDS / 1024,
    }
    text = f"no growth over {UNITS} units in the worst of {ROUNDS} rounds (at most {LIMIT_KIB:g} KiB)"
    bars = (
        Bar(f"resident memory: {text}", LIMIT_KIB, growth),
        Bar(f"memory in use by malloc: {text}", LIMIT_KIB, native),
    )
    family.rows.append(Row("boot, run, read, shut down", measured, bars))


def _worst_growth_kib(sizes: Sequence[int | None]) -> float | None:
    """Return the largest growth from one size to the next, None where they are unknown."""
    known = [size for size in sizes if size is not None]
    return max((after - before) / 1024 for before, after in pairwise(known)) if len(known) == len(sizes) else None


def _use_units(count: int) -> None:
    """Use units one after the other: each compiles nothing new, launches twice and is read."""
    for number in range(count):
        with loom.boot(registers=WORDS, globals=WORDS, device="cpu") as unit:
            unit.write(np.full(WORDS, 2, np.float32), binding="registers")
            unit.dispatch(scale, [float(number)], groups=WORDS // 64, bind={"y": "registers"})
            with unit.build() as program:
                program.run()
                program.launch().wait()
            found = unit.read(0, 1, dtype=np.float32)[0]
            assert found == (2 * number + 1) * number + 1, f"unit {number} gives {found}"
    gc.collect()


def _resident_nbytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


_MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _MallocFigures(ctypes.Structure):
    """What glibc's ``mallinfo2`` returns."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO.split())


def _malloc_nbytes() -> int | None:
    """Return the bytes in use by malloc, exact where the resident set is not; None without glibc."""
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is None:
        return None
    function.restype = _MallocFigures
    figures = function()
    return figures.uordblks + figures.hblkhd


if __name__ == "__main__":
    main("leak", run)
