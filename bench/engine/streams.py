"""Sum, map and scan of 2^28 f32 on a GPU (``--device cuda`` or ``vulkan``), beside a copy of as many bytes by cupy.

Whole programs over device memory, each doing the work several times; a sum reads its bytes once, a map and a scan
count as reading and writing them once.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main, wanted_device
from loom import f32
from loom.patterns.maps.fusion import kernel_of
from loom.patterns.scan import scanning_of
from loom.schedules.axis import Rows
from loom.schedules.fold import Folding, record_fold
from loom.schedules.maps import map_groups
from loom.schedules.scan import record_scan

SIZE = 1 << 28
REPEATS = 10
BLOCKS, CALLS = 7, 2
CHECKED = 1 << 20


def twice_and_one(v: Any) -> Any:
    """Return ``2 v + 1``."""
    return v * 2 + 1


def run(family: Family) -> None:
    """Measure the three against a copy."""
    name = wanted_device()
    if name == "cpu":
        family.notes.append("for a GPU: --device cuda")
        return
    device = loom.device(name)
    x = np.random.default_rng(1).random(SIZE, np.float32) - np.float32(0.5)
    given, out = device.allocate(x.nbytes), device.allocate(x.nbytes)
    given.write(0, x.view(np.uint8))
    copy = _copy(x, given, out)
    works: list[tuple[str, int, float, Callable[[Any], None], Callable[[], bool]]] = [
        ("sum", 1, 0.95, lambda c: _sum(c, given, out), lambda: _same(out, np.array([loom.gpu_sum(x)]))),
        ("map x*2+1", 2, 0.95, lambda c: _map(c, given, out), lambda: _same(out, x[:CHECKED] * 2 + 1)),
        ("scan", 2, 0.8, lambda c: _scan(c, given, out), lambda: _same(out, loom.gpu_scan(x)[:CHECKED])),
    ]
    for what, passes, limit, record, right in works:
        program = _program(device, record)
        program.run()
        assert right(), f"{what}: wrong bits"
        timings = alternate([Side("loom", program.run), Side("copy", copy)], blocks=BLOCKS, calls=CALLS)
        seconds = timings.median("loom") / REPEATS
        share = passes / 2 / timings.median_of_ratios("loom", "copy")
        measured: dict[str, float | int | str] = {
            "ms": seconds * 1e3, "GB_per_s": passes * x.nbytes / seconds / 1e9,
            "copy_ms": timings.median("copy") / REPEATS * 1e3,
        }  # fmt: skip
        bar = Bar(f"at least {limit} of the copy's bandwidth", limit, share, at_least=True)
        family.rows.append(Row(f"{what}, f32, 2^{SIZE.bit_length() - 1} on {device.name}", measured, (bar,)))
        del program


def _program(device: Any, record: Callable[[Any], None]) -> Any:
    """Return the work done several times over as one program."""
    chain = loom.Chain(device)
    with chain.repeat(REPEATS):
        record(chain)
    return chain.build()


def _sum(chain: Any, x: Any, out: Any) -> None:
    record_fold(chain, x, Rows(1, SIZE), Folding("sum", f32, f32, f32), out)


def _map(chain: Any, x: Any, out: Any) -> None:
    kernel, _ = kernel_of(twice_and_one, [(f32, True)], chain.device)
    chain.dispatch(kernel, [x, out], [SIZE], groups=map_groups(kernel, SIZE))


def _scan(chain: Any, x: Any, out: Any) -> None:
    record_scan(chain, x, out, Rows(1, SIZE), scanning_of("sum", f32))


def _same(out: Any, expected: Any) -> bool:
    """Tell whether the first elements have the bits expected."""
    found = out.read(0, expected.nbytes)
    return bool((found == expected.view(np.uint8)).all())


def _copy(x: Any, given: Any, out: Any) -> Callable[[], Any]:
    """Return a copy within the device, several times: cupy's, or the device's own where there is no cupy."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return lambda: all(out.copy_from(0, given, 0, x.nbytes) for _ in range(REPEATS))
    source, target = cupy.asarray(x), cupy.empty(x.size, cupy.float32)

    def call() -> None:
        for _ in range(REPEATS):
            cupy.copyto(target, source)
        cupy.cuda.Device().synchronize()

    return call


if __name__ == "__main__":
    main("streams", run)
