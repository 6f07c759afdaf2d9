"""Bytes to a GPU and back (``--device cuda`` or ``vulkan``), beside cupy's copies of pageable and of pinned memory.

A write is over when the bytes are there: 16 of them are read after it. What is read is new memory, as with ``get()``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main, wanted_device

SIZES = {1 << 20: (5, 20), 1 << 24: (5, 8), 1 << 28: (3, 3)}
"""Bytes -> blocks, calls a block."""
LEAST_BACK = 20.0
"""GB/s at which the largest comes back."""

Array = np.ndarray[Any, Any]
Copies = dict[str, tuple[Callable[[], Any], Callable[[], Any]]]


def run(family: Family) -> None:
    """Measure every size there and back."""
    name = wanted_device()
    if name == "cpu":
        family.notes.append("for a GPU: --device cuda")
        return
    most = loom.device(name).caps.buffer_nbytes or max(SIZES)
    for nbytes, (blocks, calls) in SIZES.items():
        if nbytes > most:
            family.notes.append(f"not measured: {nbytes} bytes, where a buffer has at most {most}")
            continue
        data = np.random.default_rng(1).integers(0, 256, nbytes, np.uint8)
        copies = {"loom": _loom(name, data), **_cupy(data)}
        rates: dict[str, float | int | str] = {}
        for number, way in enumerate(("there", "back")):
            timings = alternate([Side(n, c[number]) for n, c in copies.items()], blocks=blocks, calls=calls)
            for side in copies:
                rates[f"{side}_{way}_GB_per_s"] = nbytes / timings.median(side) / 1e9
        back = float(rates["loom_back_GB_per_s"])
        bar = Bar(f"at least {LEAST_BACK:g} GB/s back", LEAST_BACK, back, at_least=True)
        family.rows.append(Row(f"{nbytes >> 20} MiB on {name}", rates, (bar,) if nbytes == max(SIZES) else ()))


def _loom(name: str, data: Array) -> tuple[Callable[[], Any], Callable[[], Any]]:
    storage = loom.device(name).allocate(data.nbytes)

    def there() -> None:
        storage.write(0, data)
        storage.read(0, 16)

    there()
    assert np.array_equal(storage.read(0, data.nbytes), data), "other bytes came back"
    return there, lambda: storage.read(0, data.nbytes)


def _cupy(data: Array) -> Copies:
    """Return cupy's copies, none without cupy."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return {}
    held = cupy.asarray(data)
    room = np.frombuffer(cupy.cuda.alloc_pinned_memory(data.nbytes), np.uint8, data.nbytes)
    room[:] = data

    def finished(copy: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> None:
            copy()
            cupy.cuda.Device().synchronize()

        return call

    return {
        "pageable": (finished(lambda: held.set(data)), held.get),
        "pinned": (finished(lambda: held.set(room)), finished(lambda: held.get(out=room))),
    }


if __name__ == "__main__":
    main("transfers", run)
