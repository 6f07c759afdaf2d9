"""Arrays of torch and cupy on a GPU, exchanged with Loom both ways without copies; sections of ``cuda_door.py``."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
from cuda_checks import refused, same

import loom
from loom.core.errors import ArgumentError, DTypeError


@loom.kernel(workgroup=64)
def doubled(x: loom.InOut[loom.f32]) -> None:
    """Double every element."""
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * 2.0


@loom.kernel(workgroup=64)
def spun(x: loom.InOut[loom.u32], turns: loom.u32) -> None:
    """Change every element many times."""
    i = loom.global_id()
    if i < len(x):
        v = x[i]
        for _ in range(turns):
            v = v * 1664525 + 1013904223
        x[i] = v


class Plain:
    """An array with ``__dlpack__`` as it was before versions."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __dlpack__(self, stream: Any = None) -> Any:
        return self.x.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> Any:
        return self.x.__dlpack_device__()


class Interfaced:
    """An array that has ``__cuda_array_interface__`` alone."""

    def __init__(self, x: Any, *, is_read_only: bool = False) -> None:
        said = dict(x.__cuda_array_interface__)
        self.x = x
        self.__cuda_array_interface__ = {**said, "data": (said["data"][0], is_read_only)}


_TYPES = ("float32", "float64", "float16", "bfloat16", "bool", "int8", "uint8", "int16", "int32", "int64")


def arrays() -> None:
    """Exchange arrays with torch and cupy, both ways, without copies."""
    import cupy
    import torch

    rng = np.random.default_rng(1)
    for name in _TYPES:
        data = torch.tensor(rng.integers(0, 2 if name == "bool" else 100, (3, 5))).to(getattr(torch, name)).cuda()
        taken = loom.from_dlpack(data, copy=False)
        same(f"torch {name}, address", taken.data.address, data.data_ptr())
        same(f"torch {name}, values", taken.tolist(), data.tolist())
        back = torch.from_dlpack(taken)
        same(f"torch {name} there and back, address", back.data_ptr(), data.data_ptr())
        own = loom.array(data.cpu().tolist(), {"bool": "bool", "bfloat16": "bf16"}.get(name, name), on="cuda")
        there = torch.from_dlpack(own)
        same(f"loom {name}, torch", (there.dtype, there.tolist(), there.is_cuda), (data.dtype, data.tolist(), True))
        same(f"loom {name}, address", there.data_ptr(), own.data.address)
        if name != "bfloat16":
            far = cupy.from_dlpack(own)
            same(f"loom {name}, cupy", (str(far.dtype), far.tolist()), (name, data.tolist()))
            near = cupy.asarray(Interfaced(own))
            same(f"loom {name}, interface", (near.data.ptr, near.tolist()), (own.data.address, data.tolist()))
    _strides(torch, cupy)
    _read_only(torch, cupy)
    _elsewhere(torch)


def _strides(torch: Any, cupy: Any) -> None:
    flat = torch.arange(24, dtype=torch.float32, device="cuda")
    part = flat[3:19].reshape(4, 4)
    taken = loom.from_dlpack(part, copy=False)
    same("an offset", (taken.data.address, taken.tolist()), (flat.data_ptr() + 12, part.tolist()))
    refused("before versions", lambda: doubled(Plain(flat[4:12])), ArgumentError, "read-only")
    same("before versions, read", float(loom.gpu_sum(Plain(flat[4:12]))), 60.0)
    for make in (lambda x: x, Interfaced):
        x = torch.arange(24, dtype=torch.float32, device="cuda")
        doubled(make(x[4:12]))
        same(f"a kernel writes a part, {make}", x.tolist()[3:13], [3.0, *(2.0 * n for n in range(4, 12)), 12.0])
        y = cupy.arange(8, dtype=cupy.float32)
        doubled(make(y))
        same(f"a kernel writes cupy's, {make}", y.tolist(), [2.0 * n for n in range(8)])
    turned = flat.reshape(4, 6).t()
    refused("strides, torch", lambda: doubled(turned), ArgumentError, "do not lie side by side")
    refused("strides, cupy", lambda: doubled(cupy.ones((4, 6), "f4")[:, ::2]), ArgumentError, "side by side")
    same("a copy of strides", loom.array(turned).tolist() if _copies(turned) else None, turned.tolist())
    for empty in (torch.zeros((0, 3), device="cuda"), cupy.zeros((0, 3), "f4")):
        same("nothing", loom.array(empty).shape, (0, 3))
    with_gradient = torch.ones(4, device="cuda", requires_grad=True)
    same("what asks for a gradient", float(loom.gpu_sum(with_gradient)), 4.0)
    same("a number", loom.array(torch.tensor(3.0, device="cuda")).item(), 3.0)
    same("conjugates", loom.array(torch.ones(2, dtype=torch.complex64, device="cuda").conj()).tolist(), [1 + 0j] * 2)


def _copies(x: Any) -> bool:
    try:
        loom.array(x)
    except ArgumentError as error:
        print(f"note: loom.array of a transposed tensor of torch: {error}")
        return False
    return True


def _read_only(torch: Any, cupy: Any) -> None:
    x = torch.ones(8, device="cuda")
    refused("read-only, interface", lambda: doubled(Interfaced(x, is_read_only=True)), ArgumentError, "read-only")
    same("read-only is read", float(loom.gpu_sum(Interfaced(x, is_read_only=True))), 8.0)
    shared = loom.from_dlpack(x, copy=False)
    shared[0] = 5.0
    same("who changes ours finds other memory", x.tolist(), [1.0] * 8)
    same("ours is changed", shared.tolist(), [5.0] + [1.0] * 7)
    refused("float8", lambda: loom.array(x.to(torch.float8_e4m3fn)), DTypeError, "float8")
    del cupy


def _elsewhere(torch: Any) -> None:
    x = torch.ones(8, device="cuda")
    refused("on the CPU", lambda: doubled(x, on="cpu"), ArgumentError, "on another device")
    refused("chain of the CPU", lambda: loom.Chain("cpu").dispatch(doubled, [x]), ArgumentError, "on another device")
    same("to the CPU", loom.from_dlpack(x, device="cpu").tolist(), [1.0] * 8)
    refused("no copy to the CPU", lambda: loom.from_dlpack(x, copy=False, device="cpu"), ArgumentError, "copied")
    ours = loom.array([1.0, 2.0], on="cuda")
    same("torch on the host", torch.from_dlpack(np.from_dlpack(ours)).tolist(), [1.0, 2.0])
    same("torch asks for the host", torch.from_dlpack(ours, device="cpu").tolist(), [1.0, 2.0])


def streams() -> None:
    """Have Loom and torch write and read one memory in turn, in streams that know nothing of each other."""
    import cupy
    import torch

    n = 1 << 22
    side = torch.cuda.Stream()
    for stream in (torch.cuda.default_stream(), side):
        with torch.cuda.stream(stream):
            x = torch.zeros(n, device="cuda")
            wanted = 0.0
            for turn in range(1, 21):
                for _ in range(5):
                    x += turn
                doubled(x)
                wanted = 2 * (wanted + 5 * turn)
                x /= 2
                wanted /= 2
            same(f"torch and Loom in turn, {stream}", (float(x.min()), float(x.max())), (wanted, wanted))
    ours = cupy.cuda.Stream(non_blocking=True)
    with ours:
        y = cupy.zeros(n, "f4")
        for _ in range(20):
            y += 1
            doubled(y)
        same("cupy and Loom in turn", (float(y.min()), float(y.max())), (2.0**21 - 2, 2.0**21 - 2))
    held = loom.array(np.zeros(n, np.uint32), on="cuda")
    chain = loom.Chain("cuda")
    storage = loom.device("cuda").allocate(4 * n)
    chain.dispatch(spun, [storage], [20_000], groups=n // 64)
    chain.build().launch()
    late = torch.from_dlpack(loom.gpu_map(held, lambda v: v + 7))
    same("torch waits for Loom", (int(late.to(torch.int64).min()), int(late.to(torch.int64).max())), (7, 7))
    threads = [threading.Thread(target=_in_a_thread, args=(torch,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_a_thread(torch: Any) -> None:
    with torch.cuda.stream(torch.cuda.Stream()):
        x = torch.ones(1 << 16, device="cuda")
        for _ in range(10):
            doubled(x)
            x /= 2
        same("a thread", float(x.sum()), float(1 << 16))


def lives() -> None:
    """Let go of one side's array while the other side has it."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    x = torch.full((1 << 20,), 3.0, device="cuda")
    taken = loom.from_dlpack(x, copy=False)
    del x
    gc.collect()
    others = [torch.zeros(1 << 20, device="cuda") for _ in range(8)]
    same("theirs lives on", (float(loom.gpu_sum(taken)), len(others)), (3.0 * (1 << 20), 8))
    ours = loom.array(np.full(1 << 20, 4.0, np.float32), on="cuda")
    there = torch.from_dlpack(ours)
    del ours
    gc.collect()
    more = [loom.array(np.zeros(1 << 20, np.float32), on="cuda") for _ in range(8)]
    same("ours lives on", (float(there.sum()), len(more)), (4.0 * (1 << 20), 8))
    for _ in range(50):
        big = loom.array(np.zeros(1 << 24, np.float32), on="cuda")
        torch.from_dlpack(big).add_(1)
        loom.from_dlpack(torch.zeros(1 << 24, device="cuda"), copy=False)
        del big
    gc.collect()
    torch.cuda.empty_cache()
    kept = free - torch.cuda.mem_get_info()[0]
    print(f"memory kept after 100 exchanges of 64 MiB: {kept >> 20} MiB")
    same("nothing leaks", kept < 3 << 30, True)
