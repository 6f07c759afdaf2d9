"""Scans and sorts that read their input once beside those in use, and cupy's: bits, then milliseconds.

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/onepass_figures.py``; half a minute on an H100. Every
result of Loom's is compared with the processor's; a side is timed over programs or calls in a row, sides in turn, and
the least of its rounds is printed. Without cupy its column is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

import loom
from loom.core.dtype import DType, f32, u32, u64
from loom.kernels.sort.keys import Order, Records
from loom.schedules.axis import Rows
from loom.schedules.scan import Scanning, record_scan
from loom.schedules.sorting.sort import plan_sort
from loom.schedules.sorting.sweep import SweepPlan

Array = np.ndarray[Any, Any]
Work = Callable[[], Any]
ROUNDS, CALLS, BUDGET = 5, 4, 36.0
BEGUN = time.perf_counter()


def cupy() -> Any:
    """Return cupy, None without it."""
    try:
        return import_module("cupy")
    except ImportError:
        return None


def peer_of(array: Array, call: Callable[[Any, Any], Any]) -> dict[str, Work]:
    """Return cupy's side over its own copy."""
    library = cupy()
    if library is None:
        return {}
    held = library.asarray(array)

    def work() -> None:
        for _ in range(CALLS):
            call(library, held)
        library.cuda.Device().synchronize()

    return {"cupy": work}


def timed(sides: dict[str, Work]) -> dict[str, float]:
    """Return each side's least milliseconds a call; all have been called before."""
    found = dict.fromkeys(sides, np.inf)
    for _ in range(ROUNDS):
        for name, work in sides.items():
            begun = time.perf_counter()
            work()
            found[name] = min(found[name], 1e3 * (time.perf_counter() - begun) / CALLS)
    return found


def in_a_row(program: Any) -> Work:
    """Return what runs a program some times and waits for the last."""

    def work() -> None:
        for _ in range(CALLS):
            program.run()

    return work


def show(what: str, sides: dict[str, Work], against: str, nbytes: int) -> None:
    """Time and print the sides: milliseconds, speed to ``against``, bytes moved at least in a second."""
    for work in sides.values():
        work()
    times = timed(sides)
    peer = times.get(against)
    for name, ms in times.items():
        ratio = "" if peer is None else f", {peer / ms:.3f} of {against}"
        print(f"{what}, {name}: {ms:.3f} ms{ratio}, {nbytes / ms / 1e6:.0f} GB/s", flush=True)


def same(what: str, found: Array, wanted: Array) -> None:
    """Compare bits."""
    kind = f"u{found.dtype.itemsize}"
    equal = np.array_equal(found.view(kind), wanted.view(kind))
    print(f"{what}: bits {'equal' if equal else 'DIFFER'}", flush=True)
    if not equal:
        where = np.flatnonzero(found.view(kind) != wanted.view(kind))
        print(f"    {where.size} of {found.size}, the first {where[:4]}: {found[where[:4]]}, not {wanted[where[:4]]}")


def scan(device: Any, n: int) -> None:
    """Scan f32."""
    rng = np.random.default_rng(1)
    part = min(n, 1 << 24)
    x = np.resize((rng.standard_normal(part) * 2.0 ** rng.integers(-9, 9, part)).astype(np.float32), n)
    given, out, copied = (device.allocate(x.nbytes) for _ in range(3))
    given.write(0, x.view(np.uint8))
    wanted = scanned_here(x)
    programs = dict[str, Any]()
    for name, once in (("present", False), ("one pass", True)):
        chain = loom.Chain(device)
        record_scan(chain, given, out, Rows(1, n), Scanning("sum", f32, f32, f32), once=once)
        programs[name] = chain.build()
        programs[name].run()
        same(f"scan of {n} f32, {name}", out.read(0, out.nbytes).view(np.float32), wanted)
    chain = loom.Chain(device)
    chain.dispatch(copies, [given, copied], [n // 4], groups=n // 4 // 256)
    programs["copy"] = chain.build()
    sides = {name: in_a_row(program) for name, program in programs.items()}
    sides |= peer_of(x, lambda library, held: library.cumsum(held))
    show(f"scan of {n} f32", sides, "copy", 2 * x.nbytes)


@loom.kernel(workgroup=256, trusted=True)
def copies(x: loom.In[f32.vector(4)], out: loom.Out[f32.vector(4)], n: loom.u32) -> None:  # type: ignore[valid-type]
    """Copy."""
    i = loom.global_id()
    if i < n:
        out[i] = x[i]


def scanned_here(x: Array) -> Array:
    """Return the processor's scan."""
    cpu = loom.device("cpu")
    given, out = cpu.allocate(x.nbytes), cpu.allocate(x.nbytes)
    given.write(0, x.view(np.uint8))
    chain = loom.Chain(cpu)
    record_scan(chain, given, out, Rows(1, x.size), Scanning("sum", f32, f32, f32))
    chain.build().run()
    return out.read(0, out.nbytes).view(np.float32)


def sort(device: Any, n: int, dtype: DType, shapes: Sequence[int]) -> None:
    """Sort keys; ``shapes``: words of a lane that are tried."""
    x = np.random.default_rng(2).integers(0, dtype.maximum, n, dtype.numpy, endpoint=True)
    records = Records(Order(dtype))
    given, out = device.allocate(x.nbytes), device.allocate(x.nbytes)
    given.write(0, x.view(np.uint8))
    wanted = np.sort(x)
    plans: dict[str, Any] = {
        "present": plan_sort(records, 1, n, keys_out=True, caps=device.caps, where="bench", once=False)
    }
    plans |= {f"one pass, {items} a lane": SweepPlan.of(records, n, keys_out=True, items=items) for items in shapes}
    sides = dict[str, Work]()
    for name, plan in plans.items():
        chain = loom.Chain(device)
        plan.record(chain, given, None, out, None, [device.allocate(nbytes) for nbytes in plan.sizes])
        program = chain.build()
        program.run()
        same(f"sort of {n} {dtype}, {name}", out.read(0, out.nbytes).view(x.dtype), wanted)
        sides[name] = in_a_row(program)
    sides |= peer_of(x, lambda library, held: library.sort(held))
    show(f"sort of {n} {dtype}", sides, "cupy", 2 * x.nbytes * records.passes)


def main(device: Any, *, small: bool = False) -> None:
    """Print all figures: the small ones first, which tell whether the large ones are worth waiting for."""
    works: list[Callable[[], None]] = [
        lambda: scan(device, 4096 * 5000 + 77),
        lambda: sort(device, 1 << 18, u32, [16]),
    ]
    if not small:
        works += [
            lambda: sort(device, 1 << 24, u64, [8, 10, 12]),
            lambda: sort(device, 1 << 26, u32, [12, 16, 20, 24]),
            lambda: scan(device, 1 << 28),
        ]
    for work in works:
        if time.perf_counter() - BEGUN > BUDGET:
            print("no time left for the rest")
            break
        work()
        print(f"    {time.perf_counter() - BEGUN:.1f} s", flush=True)


if __name__ == "__main__":
    main(loom.device("cuda"))
