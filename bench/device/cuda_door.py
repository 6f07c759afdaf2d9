"""The CUDA device at its doors: arrays of torch and cupy, memory that ends, kernels that never do, processes.

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/cuda_door.py [SECTION ..]`` on a machine with a GPU, torch
and cupy. Each section is a process of its own, all at the same time on one GPU; each prints what it saw, and every
wrong answer as a line that begins with WRONG. Exits 1 if there is one, or a section ended otherwise than it should.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cuda_arrays
import cuda_fast
import numpy as np
from cuda_checks import WRONG, refused, same

import loom
from loom.core.errors import DeviceError

_SECONDS = 32


@loom.kernel(workgroup=1)
def endless(x: loom.InOut[loom.u32]) -> None:
    """Never end while x[0] is 0."""
    while loom.atomic_add(x, 0, 0) == 0:
        x[1] = x[1] + 1


def training() -> None:
    """Train the digits; the committed digest."""
    from loom.cli.demos.demo_digits import golden_digest, train_digits

    (line,) = train_digits(20, ["cuda"])
    print(f"{line.what}: {line.answer}, {line.seconds:.1f} s")
    same("digest of the digits", line.sha256, golden_digest(20))


_DOCUMENT: dict[str, Any] = {
    "format": "loom/1", "input": {"shape": [20]},
    "layers": [{"type": "dense", "output_size": 32}, {"type": "dense", "output_size": 4}],
}  # fmt: skip


def crew() -> None:
    """Train with one GPU taken for two workers: the digest of one."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 20)).astype(np.float32), rng.integers(0, 4, 64)
    digests: list[str] = []
    for devices in (None, ["cuda", "cuda"], ["cuda", "cuda", "cpu", "vulkan"], ["cuda"] * 4):
        network = loom.Network.from_json(_DOCUMENT, on="cuda")
        network.train(x, y, epochs=4, batch_size=16, micro_batch=4, progress=False, seed=1, devices=devices)
        digests.append(network.digest())
    same("digests of crews", len(set(digests)), 1)
    same("a DeviceInfo names its device", loom.device(loom.devices()[0]).name, "cpu")


def memory() -> None:
    """Let memory run out in the middle of a program, of Loom's work and of torch's."""
    import torch

    gpu = loom.device("cuda")
    free, total = torch.cuda.mem_get_info()
    x = loom.array(np.ones(1 << 20, np.float32), on="cuda")
    held: list[Any] = []

    def fill() -> None:
        for _ in range(1000):
            held.append(gpu.allocate(4 << 30, zeroed=False))

    refused("memory ends", fill, DeviceError, "out of device memory")
    print(f"held {len(held)} times 4 GiB of {total >> 30} GiB")
    refused("in the middle of an expression", lambda: _wide(x, 3 << 30).numpy(), DeviceError, "out of device memory")
    same("what is there is right", float(loom.gpu_sum(x)), float(1 << 20))
    same("other devices go on", float(loom.gpu_sum(np.ones(3, np.float32), on="cpu")), 3.0)
    held.clear()
    gc.collect()
    same("it goes on", float(loom.gpu_sum(_wide(x, 1 << 28))), float(1 << 28))
    block = torch.empty(int(0.95 * torch.cuda.mem_get_info()[0]), dtype=torch.uint8, device="cuda")
    refused("torch has it all", lambda: gpu.allocate(free // 2), DeviceError, "out of device memory")
    del block
    torch.cuda.empty_cache()
    same("torch gave it back", gpu.allocate(32 << 30, zeroed=False).nbytes, 32 << 30)


def _wide(x: Any, n: int) -> Any:
    return loom.tensor.broadcast_to(loom.tensor.reshape(x, (1, -1)), (n >> 20, 1 << 20)) * 1.0 + 0.0


def trap() -> None:
    """Break the context with somebody else's kernel; see what is said, what goes on, and what opens anew."""
    import cupy

    x = loom.array(np.ones(1 << 20, np.float32), on="cuda")
    same("before", float(loom.gpu_sum(x)), float(1 << 20))
    cupy.RawKernel('extern "C" __global__ void stop() { asm("trap;"); }', "stop")((1,), (1,), ())
    _after_a_trap(x)
    try:
        again = loom.device("cuda")
        same("opened anew", float(loom.gpu_sum(np.ones(5, np.float32), on=again)), 5.0)
        print("opened anew in the same process")
    except DeviceError as error:
        print(f"not opened anew: {error}")
        same("it says why", "was lost in this process" in str(error) and "Start a new process" in str(error), True)


def trap_alone() -> None:
    """The same in a process where Loom alone uses CUDA."""
    gpu: Any = loom.device("cuda")
    x = loom.array(np.ones(1 << 20, np.float32), on=gpu)
    text = b".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry stop() { trap; }\n\0"
    with gpu.current:
        module = gpu.api.cuModuleLoadDataEx(text, 0, [], [])
        gpu.api.cuLaunchKernel(gpu.api.cuModuleGetFunction(module, b"stop"), 1, 1, 1, 1, 1, 1, 0, gpu.stream, 0, 0)
    _after_a_trap(x)
    try:
        print("opened anew:", float(loom.gpu_sum(np.ones(5, np.float32), on=loom.device("cuda"))) == 5.0)
    except DeviceError as error:
        print(f"not opened anew: {error}")


def _after_a_trap(x: Any) -> None:
    for what in ("the first", "the second"):
        refused(f"lost, {what} call", lambda: float(loom.gpu_sum(x)), DeviceError, "the device was lost")
    refused("a new array", lambda: loom.gpu_sum(np.ones(3, np.float32), on=x.home), DeviceError, "the device was lost")
    same("the CPU goes on", float(loom.gpu_sum(np.ones(3, np.float32), on="cpu")), 3.0)
    same("Vulkan goes on", float(loom.gpu_sum(np.ones(3, np.float32), on="vulkan")), 3.0)
    code = "import loom; print(float(loom.gpu_sum([1.0, 2.0], on='cuda')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    same(f"a fresh process {found.stderr[-300:]}", found.stdout.strip(), "3.0")


def forever() -> None:
    """Run a kernel that never ends in a process; interrupt it, then kill it, and see that others go on."""
    code = "import cuda_door, loom, numpy as np; print('begun', flush=True)\n"
    code += "x = np.zeros(2, np.uint32); cuda_door.endless(x, on='cuda', groups=1); print('ended')"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(4)
    same("others go on beside it", float(loom.gpu_sum(np.ones(1 << 20, np.float32), on="cuda")), float(1 << 20))
    same("it runs", child.poll(), None)
    child.send_signal(signal.SIGINT)
    begun = time.perf_counter()
    try:
        _, told = child.communicate(timeout=6)
        said = told.strip().splitlines()[-1:]
        print(f"Ctrl-C ended it in {time.perf_counter() - begun:.1f} s, exit code {child.returncode}: {said}")
        same("it says so", any("KeyboardInterrupt" in line or "interrupt" in line.lower() for line in said), True)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        same("Ctrl-C ends it", "it was killed", "it ended")
    same("others go on after it", float(loom.gpu_sum(np.ones(1 << 20, np.float32), on="cuda")), float(1 << 20))


def _work(seed: int) -> str:
    from loom.cli.demos.demo import array_digest

    rng = np.random.default_rng(seed)
    x = loom.array(rng.normal(size=(700, 700)).astype(np.float32), on="cuda")
    for _ in range(30):
        x = loom.gpu_matmul(x, x, precision="q12")
        x = x / loom.tensor.max(loom.tensor.abs(x))
    return array_digest(x.numpy())


def processes() -> None:
    """Two processes on one GPU at once, spawned; then a fork after use."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_work, [3, 3])
    same("two processes", found, [_work(3)] * 2)
    x = loom.array(np.ones(100, np.float32), on="cuda")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        told: list[str] = []
        for work in (partial(loom.device, "cuda"), x.numpy, partial(loom.gpu_sum, x)):
            try:
                told.append(f"WRONG {work()}")
            except DeviceError as error:
                told.append("" if "stayed behind" in str(error) else f"WRONG {error}")
        told.append(str(float(loom.gpu_sum(np.ones(3, np.float32), on="cpu"))))
        del x
        gc.collect()
        os.write(writing, "|".join(told).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    same("a fork after use", os.read(reading, 4000).decode(), "|||3.0")
    same("the parent goes on", float(loom.gpu_sum(x)), 100.0)


def told() -> None:
    """What the command line says, with a GPU and without one."""
    runs: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["verify", "--device", "cuda:5"]), ({}, ["verify", "--device", "cuda", "--layer", "1", "--fresh"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, ["devices"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, ["verify", "--device", "cuda"]),
        ({"CUDA_VISIBLE_DEVICES": "9"}, ["verify", "--device", "cuda"]),
    ]  # fmt: skip
    for settings, words in runs:
        done = subprocess.run([sys.executable, "-m", "loom", *words], capture_output=True, text=True, check=False,
                              env={**os.environ, **settings}, timeout=_SECONDS)  # fmt: skip
        shown = [line for line in (done.stdout + done.stderr).splitlines() if "cuda" in line.lower() or "root" in line]
        print(f"{settings} loom {' '.join(words)}: exit {done.returncode}; " + " / ".join(shown)[:500])
        same(f"no traceback of {words}", "Traceback" in done.stderr, False)


_SECTIONS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        cuda_arrays.arrays, cuda_arrays.streams, cuda_arrays.lives, training, crew, memory, trap, trap_alone, forever,
        processes, told, cuda_fast.fast,
    )
}  # fmt: skip
_ALONE = ("fast", "memory")
"""Sections that are timed, or take all of the GPU's memory: each after the others."""


def main(names: list[str]) -> int:
    """Run sections, each in its process; return the exit code."""
    if len(names) == 1:
        _SECTIONS[names[0]]()
        return int(bool(WRONG))
    begun, failed = time.perf_counter(), list[str]()
    names = names or list(_SECTIONS)
    for together in ([n for n in names if n not in _ALONE], *([n] for n in _ALONE if n in names)):
        began = time.perf_counter()
        command = [sys.executable, os.path.abspath(__file__)]
        made = {n: subprocess.Popen([*command, n], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                for n in together}  # fmt: skip
        for name, child in made.items():
            try:
                said, _ = child.communicate(timeout=max(1.0, _SECONDS - (time.perf_counter() - began)))
            except subprocess.TimeoutExpired:
                child.kill()
                said = child.communicate()[0] + f"\nWRONG: ended after {_SECONDS} s"
            print(f"== {name}: exit {child.returncode}\n{said.strip()[-2500:]}", flush=True)
            failed += [name] if child.returncode else []
    print(f"{time.perf_counter() - begun:.1f} s; failed: {failed or 'none'}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
