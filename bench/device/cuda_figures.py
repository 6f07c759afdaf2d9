"""Figures of the CUDA device: dependent dispatches, transfers, a product beside Vulkan's. One line each.

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/cuda_figures.py``; bits are shown by
``loom verify --device cuda`` and ``LOOM_TEST_DEVICES=cuda python3 -m pytest -p no:benchmark -k cuda tests``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import loom
from loom.core.errors import DeviceError


@loom.kernel(workgroup=64)
def affine(x: loom.InOut[loom.u32], a: loom.u32, b: loom.u32) -> None:
    """Change elements so that no dispatch can be left out."""
    i = loom.global_id()
    x[i] = x[i] * a + b


def least(work: Callable[[], object], times: int = 6) -> float:
    """Return the seconds of the fastest of several runs."""
    found: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def dispatches(device: str, count: int) -> str:
    """Run dependent tiny dispatches in one program."""
    with loom.boot(registers=256, device=device) as unit:
        params = np.stack([np.full(count, 3), np.arange(count)], axis=1).astype(np.uint32)
        with unit.repeat(count, params=params) as turn:
            unit.dispatch(affine, list(turn.params), groups=1)
        begun = time.perf_counter()
        program = unit.build()
        built = time.perf_counter() - begun
        return f"{1e6 * least(program.run) / count:.3f} us a dispatch of {count}, built in {built:.2f} s"


def transfers(device: str, nbytes: int) -> str:
    """Write and read memory of the device."""
    data = np.zeros(nbytes, np.uint8)
    storage = loom.device(device).allocate(nbytes)

    def there() -> None:
        storage.write(0, data)
        storage.read(0, 16)

    rates = [nbytes / least(work) / 1e9 for work in (there, lambda: storage.read(0, nbytes))]
    return f"{rates[0]:.2f} GB/s there, {rates[1]:.2f} GB/s back, {nbytes} bytes"


def product(device: str, size: int) -> str:
    """Multiply square matrices of f32 on the device."""
    rng = np.random.default_rng(0)
    a, b = (loom.array(rng.normal(size=(size, size)).astype(np.float32), on=device) for _ in range(2))
    seconds = least(lambda: float(loom.gpu_matmul(a, b)[0, 0]))
    return f"{2 * size**3 / seconds / 1e12:.2f} TFLOP/s, product of {size}"


def main() -> None:
    """Print all figures."""
    for device in ("cuda", "vulkan"):
        work = [lambda n=n: dispatches(device, n) for n in (10_000, 95_370)]  # noqa: B023
        work += [lambda n=n: transfers(device, n) for n in (1 << 20, 1 << 28)]  # noqa: B023
        work.append(lambda: product(device, 4096))  # noqa: B023
        for each in work:
            try:
                print(f"{device}: {each()}", flush=True)
            except DeviceError as error:
                print(f"{device}: {error}", flush=True)


if __name__ == "__main__":
    main()
