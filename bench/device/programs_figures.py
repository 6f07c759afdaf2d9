"""Ten small programs of users on a GPU, beside CUDA C through NVRTC: the same algorithm, launch shape and roundings.

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/programs_figures.py [name ..] [--devices cuda,vulkan]
[--checked]``. The kernels are the ``first`` ones of ``bench.programs``, with the checks of indexes that users get: none
where the launch is proved to stay inside, all of them with ``--checked``. Results are compared first (bits, but for
Black-Scholes, whose elementary functions are not CUDA's); exits 1 where they differ. A time is one turn of a program
that holds many: on Loom's side one chain, on the peer's one CUDA graph, both on the host's clock from the launch to the
end of the last kernel, so that starting the program does not hide the kernels. Sizes are a GPU's.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import cupy
import numpy as np

import loom
from bench.device.programs_cuda import OPTIONS, SOURCES
from loom.core.errors import DeviceError

Array = np.ndarray[Any, Any]
SPAN_S, ROUNDS = 0.02, 7
TOLERANCE = {"black_scholes": 2e-4}
BARS = {"cuda": (1.15, 1.4), "vulkan": (1.3, 1.8)}


@dataclass
class Case:
    """Arrays by name, one turn as (kernel, arrays, params, groups, what the peer gets besides), and what to compare."""

    arrays: dict[str, Array]
    turn: list[tuple[str, str, list[int], Any, list[int]]]
    results: list[str]
    lanes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, "tuple[int, ...]"])


def plane(dtype: Any, *, width: int = 4096, height: int = 4096) -> tuple[Array, Array]:
    """Return a picture and room for another."""
    rng = np.random.default_rng(3)
    old = rng.random((height, width), np.float32) if dtype == np.float32 else rng.integers(0, 2, (height, width), dtype)
    return old.ravel(), np.zeros(old.size, dtype)


def stencil() -> Case:
    """Return the case: 4096 x 4096 numbers."""
    a, b = plane(np.float32)
    return Case({"a": a, "b": b}, [("first", "a b", [4096, 4096], (256, 256), [])], ["b"], {"first": (16, 16)})


def life() -> Case:
    """Return the case: 4096 x 4096 cells."""
    a, b = plane(np.uint32)
    return Case({"a": a, "b": b}, [("first", "a b", [4096, 4096], (256, 256), [])], ["b"], {"first": (16, 16)})


def nbody(n: int = 32768) -> Case:
    """Return the case."""
    a = np.random.default_rng(2).random((n, 4), np.float32)
    return Case({"a": a, "b": np.zeros_like(a)}, [("first", "a b", [n], n // 64, [])], ["b"], {"first": (64,)})


def black_scholes(n: int = 1 << 22) -> Case:
    """Return the case."""
    rng = np.random.default_rng(9)
    ranges = {"s": (10, 100), "k": (10, 100), "t": (0.2, 3)}
    arrays = {
        name: (lo + (hi - lo) * rng.random(n, np.float32)).astype(np.float32) for name, (lo, hi) in ranges.items()
    }
    arrays |= {name: np.zeros(n, np.float32) for name in ("call", "put")}
    return Case(arrays, [("first", "s k t call put", [], n // 64, [n])], ["call", "put"], {"first": (64,)})


def sha256(n: int = 1 << 20) -> Case:
    """Return the case."""
    a = np.random.default_rng(13).integers(0, 1 << 32, n * 16, np.uint32)
    arrays = {"a": a, "b": np.zeros(n * 8, np.uint32)}
    return Case(arrays, [("first", "a b", [n], n // 64, [])], ["b"], {"first": (64,)})


def transpose(rows: int = 8000, columns: int = 6016) -> Case:
    """Return the case."""
    a = np.random.default_rng(5).random(rows * columns, np.float32)
    turn = [("first", "a b", [rows, columns], (columns // 16, rows // 16), [])]
    return Case({"a": a, "b": np.zeros_like(a)}, turn, ["b"], {"first": (16, 16)})


def levenshtein(n: int = (1 << 22) + 1, turns: int = 12) -> Case:
    """Return the case: diagonals in the middle of long texts, where they are longest."""
    rng = np.random.default_rng(8)
    arrays = {name: rng.integers(0, 4, n - 1).astype(np.uint8) for name in "ab"}
    arrays |= {name: rng.integers(0, n, n).astype(np.uint32) for name in "xyz"}
    turn: list[tuple[str, str, list[int], Any, list[int]]] = []
    for d in range(n - turns // 2, n + turns // 2):
        low, high = max(0, d - n + 1), min(d, n - 1)
        names = " ".join("xyz"[(d + k) % 3] for k in range(3))
        turn.append(("first", f"a b {names}", [d, low, n], (high - low) // 64 + 1, []))
    return Case(arrays, turn, ["x", "y", "z"], {"first": (64,)})


def kmeans(n: int = 1 << 23, k: int = 16) -> Case:
    """Return the case."""
    rng = np.random.default_rng(6)
    arrays: dict[str, Array] = {name: rng.standard_normal(n, np.float32) for name in ("x", "y")}
    arrays |= {name: rng.standard_normal(k, np.float32) for name in ("cx", "cy")}
    arrays |= {"label": np.zeros(n, np.uint32), "sums": np.zeros(64, np.int64)}
    turn = [("clear", "sums", [], 1, []), ("first", "x y cx cy label sums", [k], n // 256, [n])]
    return Case(arrays, turn, ["label", "sums"], {"first": (256,), "clear": (64,)})


def blur(width: int = 3840, height: int = 2160) -> Case:
    """Return the case."""
    a = np.random.default_rng(10).random((width * height, 4), np.float32)
    turn = [("first", "a b", [width, height], (-(-width // 16), -(-height // 16)), [])]
    return Case({"a": a, "b": np.zeros_like(a)}, turn, ["b"], {"first": (16, 16)})


def histogram(n: int = 1 << 27, groups: int = 1056) -> Case:
    """Return the case: eight groups on each of 132 processors."""
    rng = np.random.default_rng(4)
    piece = np.minimum(rng.normal(120, 30, 1 << 22).clip(0), 255).astype(np.uint8)
    arrays = {"data": np.tile(piece, n >> 22), "bins": np.zeros(256, np.uint32)}
    turn = [("clear", "bins", [], 1, []), ("first", "data bins", [], groups, [n])]
    return Case(arrays, turn, ["bins"], {"first": (256,), "clear": (256,)})


CASES: dict[str, Callable[[], Case]] = {
    f.__name__: f
    for f in (stencil, nbody, black_scholes, sha256, transpose, levenshtein, kmeans, blur, life, histogram)
}


@dataclass
class Side:
    """Somebody who does turns: ``programs(n)`` gives what runs n of them and waits, ``result`` what an array holds."""

    program: Callable[[int], Callable[[], Any]]
    result: Callable[[str], Array]


def of_loom(name: str, case: Case, device: str) -> Side:
    """Return Loom on a device."""
    module, found = import_module(f"bench.programs.{name}"), loom.device(device)
    if "--checked" in sys.argv:
        found.proofs.tested = False
    places = {n: loom.array(a, on=found) for n, a in case.arrays.items()}

    def program(turns: int) -> Callable[[], Any]:
        chain = loom.Chain(found)
        for _ in range(turns):
            for kernel, names, params, groups, _ in case.turn:
                chain.dispatch(getattr(module, kernel), [places[n] for n in names.split()], params, groups=groups)
        return chain.build().run

    return Side(program, lambda n: np.asarray(places[n]))


def of_nvcc(name: str, case: Case) -> Side:
    """Return CUDA C through NVRTC."""
    module = cupy.RawModule(code=SOURCES[name], options=OPTIONS, backend="nvrtc")
    places = {n: cupy.asarray(a) for n, a in case.arrays.items()}
    stream = cupy.cuda.Stream(non_blocking=True)

    def launch() -> None:
        for kernel, names, params, groups, more in case.turn:
            counts = groups if isinstance(groups, tuple) else (groups,)
            given = [places[n] for n in names.split()] + [np.uint32(p) for p in (*params, *more)]
            module.get_function(kernel)(counts, case.lanes[kernel], tuple(given))

    def program(turns: int) -> Callable[[], Any]:
        with stream:
            launch()  # functions are loaded before a graph is made
            stream.synchronize()
            stream.begin_capture()
            for _ in range(turns):
                launch()
            graph = stream.end_capture()

        def run() -> None:
            graph.launch(stream)
            stream.synchronize()

        return run

    return Side(program, lambda n: cupy.asnumpy(places[n]))


def same(name: str, found: Array, want: Array) -> bool:
    """Compare what two sides gave."""
    if name in TOLERANCE:
        return bool(np.allclose(found, want, rtol=TOLERANCE[name], atol=TOLERANCE[name]))
    return np.array_equal(found.reshape(-1).view(np.uint8), want.reshape(-1).view(np.uint8))


def seconds(sides: dict[str, Side]) -> dict[str, float]:
    """Return the least seconds of a turn, by side; sides take turns."""
    programs: dict[str, tuple[Callable[[], Any], int]] = {}
    for name, side in sides.items():
        few = side.program(4)
        few()
        begun = time.perf_counter()
        few()
        turns = min(400, max(4, math.ceil(4 * SPAN_S / (time.perf_counter() - begun))))
        programs[name] = side.program(turns), turns
    least = dict.fromkeys(programs, math.inf)
    for _ in range(ROUNDS):
        for name, (run, turns) in programs.items():
            begun = time.perf_counter()
            run()
            least[name] = min(least[name], (time.perf_counter() - begun) / turns)
    return least


def measure(name: str, devices: list[str]) -> tuple[dict[str, float], bool]:
    """Return each device's time over nvcc's, and whether all results are the same."""
    case, fine = CASES[name](), True
    peer = of_nvcc(name, case)
    peer.program(1)()
    sides = {"nvcc": peer}
    for device in devices:
        try:
            side = of_loom(name, case, device)
            side.program(1)()
            if name == "levenshtein":  # diagonals go on from where those before left them
                side.program(1)()
            wrong = [n for n in case.results if not same(name, side.result(n), peer.result(n))]
            fine = fine and not wrong
            sides[device] = side
            if wrong:
                print(f"{name}: {device}: {', '.join(wrong)} differ from nvcc's", flush=True)
        except DeviceError as error:
            print(f"{name}: {error}", flush=True)
    found = seconds(sides)
    told = ", ".join(f"{n} {1e6 * t:.1f} us ({t / found['nvcc']:.2f})" for n, t in found.items())
    print(f"{name}: {told}", flush=True)
    return {n: t / found["nvcc"] for n, t in found.items() if n != "nvcc"}, fine


def main() -> int:
    """Print all; return 1 if a result differs."""
    words = sys.argv[1:]
    devices = words[words.index("--devices") + 1].split(",") if "--devices" in words[:-1] else list(BARS)
    rows, fine = [], True
    for name in [w for w in words if w in CASES] or CASES:
        row, right = measure(name, devices)
        rows.append(row)
        fine = fine and right
    for device in devices:
        found = [row[device] for row in rows if device in row]
        if found:
            mean = math.exp(sum(map(math.log, found)) / len(found))
            most, worst = BARS[device]
            print(f"{device}: mean {mean:.3f} (bar {most}), worst {max(found):.2f} (bar {worst})", flush=True)
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
