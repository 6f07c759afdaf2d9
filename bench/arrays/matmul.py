"""``gpu_matmul`` beside numpy: f32 and f64, short operands, integers, order-free precisions, products with vectors.

With ``--device vulkan`` the products of ``matmul_device``, beside cuBLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.machine import machine_facts, use_threads

use_threads()  # OpenBLAS reads the number of threads when numpy is imported

import numpy as np  # noqa: E402

import loom  # noqa: E402
from bench.arrays.matmul_device import rows_on  # noqa: E402
from bench.harness import Side, Timings, alternate  # noqa: E402
from bench.report import Bar, Family, Row, main, wanted_device  # noqa: E402

SIZES = {256: (9, 15), 512: (9, 9), 1024: (9, 5), 2048: (5, 3)}
"""Rows and columns -> blocks, calls a block."""
BARS = {512, 1024, 2048}
ORDER_FREE = {"q12": 1.0, "x12": 0.9}
"""Speed to OpenBLAS f32 asked for of products whose units are not those of f32."""
VECTOR = 4096
AMD, INTEL = 0.75, 0.45
"""Speed to OpenBLAS asked for: Zen has ports for additions beside those of its fused multiply-adds, Intel has not."""

Array = np.ndarray[Any, Any]


def run(family: Family) -> None:
    """Measure every type at every size, and a vector on either side."""
    if wanted_device() != "cpu":
        family.rows.extend(rows_on(wanted_device()))
        return
    limit = AMD if "AMD" in str(machine_facts()["cpu"]) else INTEL
    rng = np.random.default_rng(1)
    for size, (blocks, calls) in SIZES.items():
        a, b = (rng.random((size, size)) - 0.5 for _ in range(2))
        timings = alternate(_sides(a, b), blocks=blocks, calls=calls)
        for name in timings.blocks:
            if not name.startswith("numpy"):
                family.rows.append(_row(name, size, timings, limit))
    _vectors(family, rng)
    family.notes.append("speed is the peer's time divided by loom's, by the median over rounds of blocks")
    family.notes.append("numpy multiplies integers and f16 without OpenBLAS; these are compared with its f32")


def _sides(a: Array, b: Array) -> list[Side]:
    """Return numpy's f32 and f64, then every type of Loom, each checked."""
    f = a.astype(np.float32), b.astype(np.float32)
    h = a.astype(np.float16), b.astype(np.float16)
    i = (a * 254).astype(np.int8), (b * 254).astype(np.int8)
    calls: dict[str, Callable[[], Any]] = {
        "f32": lambda: loom.gpu_matmul(*f),
        "f64": lambda: loom.gpu_matmul(a, b),
        "f16": lambda: loom.gpu_matmul(*h),
        "x12": lambda: loom.gpu_matmul(*f, precision="x12"),
        "i8": lambda: loom.gpu_matmul(*i),
        "q8": lambda: loom.gpu_matmul(*f, precision="q8"),
        "q12": lambda: loom.gpu_matmul(*f, precision="q12"),
        "q24": lambda: loom.gpu_matmul(*f, precision="q24"),
    }
    _check(calls, a @ b, i)
    peers = [Side("numpy f32", lambda: f[0] @ f[1]), Side("numpy f64", lambda: a @ b)]
    return [*peers, *(Side(name, call) for name, call in calls.items())]


def _check(calls: dict[str, Callable[[], Any]], exact: Array, integers: tuple[Array, Array]) -> None:
    """Compare with float64, and integers exactly."""
    size = len(exact)
    errors = {"f32": 24, "f64": 53, "f16": 11, "x12": 11, "q8": 6, "q12": 10, "q24": 22}
    for name, relative in ((name, 2.0**-bits) for name, bits in errors.items()):
        error = np.abs(calls[name]().astype(np.float64) - exact).max()
        assert error <= 4 * relative * size**0.5 * max(1.0, size**0.5 / 4), f"{name} of {size}: error {error}"
    expected = (integers[0].astype(np.float64) @ integers[1].astype(np.float64)).astype(np.int64)
    assert np.array_equal(calls["i8"](), expected), f"i8 of {size}"


def _row(name: str, size: int, timings: Timings, limit: float) -> Row:
    peer = "numpy f64" if name == "f64" else "numpy f32"
    speed = 1 / timings.median_of_ratios(name, peer)
    operations = 2e-9 * size**3
    measured: dict[str, float | int | str] = {
        "loom_ms": timings.median(name) * 1e3,
        "loom_gflops": operations / timings.median(name),
        f"{peer.replace(' ', '_')}_gflops": operations / timings.median(peer),
        "speed": speed,
        "runs": timings.runs(name),
    }
    bars = []
    if name == "f32" and size in BARS:
        bars.append(Bar(f"at least {limit} of the speed of numpy", limit, speed, at_least=True))
    if name in ORDER_FREE and size == 1024:
        limit = ORDER_FREE[name]
        bars.append(Bar(f"at least {limit} of the speed of numpy", limit, speed, at_least=True))
    if name == "i8" and size == 1024:
        to_f32 = 1 / timings.median_of_ratios("i8", "f32")
        bars.append(Bar("at least 1.0 of the speed of f32", 1.0, to_f32, at_least=True))
    return Row(f"{name}, {size} x {size}", measured, tuple(bars))


def _vectors(family: Family, rng: np.random.Generator) -> None:
    matrix = rng.random((VECTOR, VECTOR), np.float32)
    vector = rng.random(VECTOR, np.float32)
    for what, ours, numpys in (
        ("vector @ matrix", lambda: loom.gpu_matmul(vector, matrix), lambda: vector @ matrix),
        ("matrix @ vector", lambda: loom.gpu_matmul(matrix, vector), lambda: matrix @ vector),
    ):
        np.testing.assert_allclose(ours(), numpys(), rtol=1e-4)
        timings = alternate([Side("loom", ours), Side("numpy", numpys)], blocks=9, calls=7)
        nbytes = 1e-9 * matrix.nbytes
        measured: dict[str, float | int | str] = {
            "loom_ms": timings.median("loom") * 1e3,
            "loom_gb_per_s": nbytes / timings.median("loom"),
            "numpy_gb_per_s": nbytes / timings.median("numpy"),
            "speed": 1 / timings.median_of_ratios("loom", "numpy"),
            "runs": timings.runs("loom"),
        }
        family.rows.append(Row(f"{what}, f32, {VECTOR}", measured))


if __name__ == "__main__":
    main("matmul", run)
