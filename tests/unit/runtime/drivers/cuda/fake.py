"""A driver of CUDA in the place of NVIDIA's: memory of the host, kernels by the LLVM target for this processor.

What is launched is done at once, but for graphs: their nodes are done in any order that their edges allow. So what
Loom hands to CUDA (words, groups, edges, order of parts) is tried where there is no GPU; PTX is not.
"""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from loom.ir.verify import VerifiedKernel
from loom.runtime.drivers.cpu.code import link
from loom.targets.base import Artifact, Bounds
from loom.targets.llvm.gpu.room import MOST_STATIC
from loom.targets.llvm.layout import BINDING, RECORD
from loom.targets.llvm.machine import PLACED_ELEMENTS, PLACED_NBYTES
from loom.targets.llvm.target import LlvmTarget

_PLACED = b"placed"
ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)
ATTRIBUTES = {
    "MAX_THREADS_PER_BLOCK": 1024, "MAX_BLOCK_DIM_X": 1024, "MAX_BLOCK_DIM_Y": 1024, "MAX_BLOCK_DIM_Z": 64,
    "MAX_GRID_DIM_X": (1 << 31) - 1, "MAX_GRID_DIM_Y": 65535, "MAX_GRID_DIM_Z": 65535,
    "MAX_SHARED_MEMORY_PER_BLOCK": 49152, "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448,
    "WARP_SIZE": 32, "MULTIPROCESSOR_COUNT": 4, "MEMORY_POOLS_SUPPORTED": 1,
    "COMPUTE_MODE": 0, "COMPUTE_CAPABILITY_MAJOR": 9, "COMPUTE_CAPABILITY_MINOR": 0,
}  # fmt: skip

_COMPILED: dict[Any, Artifact] = {}
_LINKED: dict[Any, Any] = {}
"""Code of kernels, for all drivers and GPUs of a process."""


class Names:
    """An enumeration: every name stands for itself."""

    def __getattr__(self, name: str) -> str:
        return name


@dataclass(eq=False)
class Function:
    """A kernel loaded."""

    kernel: VerifiedKernel
    cut: bool
    placed: bool
    code: Any
    entry: Any


@dataclass(eq=False)
class Nodes:
    """A graph: (what is launched, numbers of nodes before it)."""

    nodes: list[tuple[tuple[Any, ...], tuple[int, ...]]] = field(default_factory=list)


class FakeDriver:
    """The functions of the driver; ``broken`` is what every call on the stream gives from now on."""

    def __init__(self, count: int = 1, version: int = 12_080, seed: int = 0, room: int = 1 << 30) -> None:
        self.count, self.version, self.room = count, version, room
        self.broken = 0
        self.random = random.Random(seed)
        self.memory: dict[int, Any] = {}
        self.launched: list[str] = []
        self.opted: dict[str, int] = {}
        """Of functions: the shared memory that their launches ask for."""
        self.graphs: list[Nodes] = []
        self.kernels: dict[bytes, tuple[VerifiedKernel, bool, bool]] = {}
        self.attributes = dict(ATTRIBUTES)
        self.CUdevice_attribute = self.CUmemAllocationType = self.CUmemLocationType = Names()
        self.CUmemPool_attribute = self.CUpointer_attribute = self.CUmemAccess_flags = self.CUfunction_attribute = (
            Names()
        )
        self.reaches = True
        """Whether GPUs have each other's memory within reach."""
        self.granted: list[tuple[int, int]] = []
        """(pool, GPU that has it within reach)."""
        self.pools = 0
        self.peer_copies = 0
        self.spoils = False
        """Whether copies from GPU to GPU come out wrong."""
        self.waits: list[tuple[Any, Any]] = []
        """(stream, stream that it waits for), as far as events tell."""
        self.recorded: dict[int, Any] = {}
        self.made = 100
        self.owners: dict[int, int] = {}
        """GPUs of addresses that are not the first's."""
        self.idled = 0
        self.cuuint64_t = int

    def __getattr__(self, name: str) -> Any:
        """Give what has no effect here: it succeeds, with a handle if it makes something."""
        if not name.startswith("cu"):
            raise AttributeError(name)
        makes = any(part in name for part in ("Create", "Retain", "GetCurrent"))
        return lambda *_: (self.broken, 7) if makes else (self.broken,)

    # streams and events

    def _handle(self) -> Any:
        self.made += 1
        return self.broken, self.made

    def cuStreamCreate(self, _flags: int) -> Any:
        return self._handle()

    def cuEventCreate(self, _flags: int) -> Any:
        return self._handle()

    def cuEventRecord(self, event: int, stream: Any) -> Any:
        self.recorded[event] = stream
        return (self.broken,)

    def cuStreamWaitEvent(self, stream: Any, event: int, _flags: int) -> Any:
        self.waits.append((stream, self.recorded[event]))
        return (self.broken,)

    def cuCtxSynchronize(self) -> Any:
        self.idled += 1
        return (self.broken,)

    def cuPointerGetAttribute(self, name: str, address: int) -> Any:
        assert name == "CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL"
        return 0, self.owners.get(address, 0)

    # what there is

    def cuDeviceGetCount(self) -> Any:
        return 0, self.count

    def cuDriverGetVersion(self) -> Any:
        return 0, self.version

    def cuDeviceGet(self, number: int) -> Any:
        return 0, number

    def cuDeviceGetName(self, _size: int, device: int) -> Any:
        return 0, f"Fake {device}".encode() + b"\0\0"

    def cuDeviceTotalMem(self, _device: int) -> Any:
        return 0, self.room

    def cuDeviceGetAttribute(self, name: str, _device: int) -> Any:
        return 0, self.attributes[name.removeprefix("CU_DEVICE_ATTRIBUTE_")]

    def cuGetErrorName(self, result: int) -> Any:
        return 0, f"CUDA_ERROR_{result}".encode()

    def cuGetErrorString(self, _result: int) -> Any:
        return 0, b"as the test wants"

    def cuMemPoolCreate(self, _properties: Any) -> Any:
        self.pools += 1
        return 0, self.pools

    def cuDeviceCanAccessPeer(self, _device: int, _peer: int) -> Any:
        return 0, int(self.reaches)

    def CUmemAccessDesc(self) -> Any:
        return SimpleNamespace(location=SimpleNamespace())

    def cuMemPoolSetAccess(self, pool: int, given: tuple[Any, ...], count: int) -> Any:
        assert len(given) == count
        self.granted += [(pool, each.location.id) for each in given]
        return (self.broken,)

    def CUmemPoolProps(self) -> Any:
        return SimpleNamespace(location=SimpleNamespace())

    def CUDA_KERNEL_NODE_PARAMS(self) -> Any:
        return SimpleNamespace()

    # memory

    def cuMemAllocFromPoolAsync(self, nbytes: int, *_: Any) -> Any:
        if nbytes > self.room:
            return 2, None
        block = (ctypes.c_uint8 * (nbytes + 64))()
        address = -(-ctypes.addressof(block) // 64) * 64
        ctypes.memset(address, 0xA5, nbytes)
        self.memory[address] = block
        return 0, address

    def cuMemFreeAsync(self, address: int, _stream: Any) -> Any:
        del self.memory[address]
        return (0,)

    def cuMemHostAlloc(self, nbytes: int, _flags: int) -> Any:
        return self.cuMemAllocFromPoolAsync(nbytes)

    def cuMemGetInfo(self) -> Any:
        return 0, self.room, self.room

    def cuMemsetD8Async(self, address: int, value: int, nbytes: int, _stream: Any) -> Any:
        ctypes.memset(address, value, nbytes)
        return (self.broken,)

    def _copy(self, target: int, source: int, nbytes: int, _stream: Any) -> Any:
        ctypes.memmove(target, source, nbytes)
        return (self.broken,)

    cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = cuMemcpyDtoDAsync = _copy

    def cuMemcpyPeerAsync(self, target: int, _to: Any, source: int, _of: Any, nbytes: int, stream: Any) -> Any:
        assert self.reaches, "no GPU reaches another's memory"
        self.peer_copies += 1
        result = self._copy(target, source, nbytes, stream)
        if self.spoils:
            ctypes.c_uint8.from_address(target).value ^= 1
        return result

    def cuEventElapsedTime(self, _first: Any, _second: Any) -> Any:
        return 0, 0.001

    # kernels

    def compiled(
        self,
        _api: Any,
        _name: str,
        verified: VerifiedKernel,
        bounds: Bounds,
        *,
        cut: bool,
        tiles: bool,
        wide: bool,
        placed: bool,
    ) -> Artifact:
        """Compile for this processor, in the place of ``compile_kernel``."""
        assert not tiles, "this processor has none"
        assert not wide, "nor of these"
        key = verified.hash, verified.name, bounds
        found = _COMPILED.get(key)
        if found is None:
            found = _COMPILED[key] = LlvmTarget("host").compile(verified, bounds)
        found = replace(found, data=found.data + _PLACED) if placed else found
        self.kernels[found.data] = verified, cut, placed
        return found

    def cuModuleLoadDataEx(self, data: bytes, *_: Any) -> Any:
        return 0, data

    def cuModuleGetFunction(self, module: bytes, entry: bytes) -> Any:
        kernel, cut, placed = self.kernels[module]
        code = _LINKED.get((module, entry))
        if code is None:
            code = _LINKED[module, entry] = link(module.removesuffix(_PLACED), entry.decode())
        return 0, Function(kernel, cut, placed, code, ENTRY(code.address(entry.decode())))

    def cuFuncSetAttribute(self, function: Function, _attribute: Any, nbytes: int) -> Any:
        assert MOST_STATIC < nbytes <= self.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"]
        self.opted[function.kernel.name] = nbytes
        return (0,)

    def cuLaunchKernel(self, function: Function, *rest: Any) -> Any:
        if self.broken:
            return (self.broken,)
        assert rest[6] == self.opted.get(function.kernel.name, 0), "what the function was said to take"
        self._launch(function, rest[:3], rest[3:6], rest[8])
        return (0,)

    def _launch(self, function: Function, groups: tuple[int, ...], lanes: tuple[int, ...], given: int) -> None:
        kernel = function.kernel
        assert tuple(lanes) == kernel.workgroup
        most = [self.attributes[f"MAX_GRID_DIM_{axis}"] for axis in "XYZ"]
        assert all(0 < n <= m for n, m in zip(groups, most, strict=True))
        self.launched.append(kernel.name)
        count = 2 * len(kernel.kernel.buffers) + len(kernel.kernel.params) + 2 + 6 * function.cut
        words = [ctypes.c_uint64.from_address(a).value for a in (ctypes.c_uint64 * count).from_address(given)]
        own = 2 * len(kernel.kernel.buffers)
        after = own + len(kernel.kernel.params)
        lie = [
            a % PLACED_NBYTES == 0 and n < PLACED_ELEMENTS for a, n in zip(words[:own:2], words[1:own:2], strict=True)
        ]
        assert function.placed == all(lie), "the code is for buffers that lie as these do"
        bindings = np.zeros(max(1, own // 2), BINDING)
        for row, address, elements in zip(bindings, words[:own:2], words[1:own:2], strict=False):
            row["address"], row["elements"] = address, elements
        params = np.array([*words[own:after], 0], np.uint64)
        whole, starts = (words[after + 2 : after + 5], words[after + 5 :]) if function.cut else (groups, (0, 0, 0))
        record = np.zeros(1, RECORD)
        record["bindings"], record["params"] = bindings.ctypes.data, params.ctypes.data
        record["groups"], record["number"] = whole, words[after + 1]
        for z in range(groups[2]):
            for y in range(groups[1]):
                first = ((z + starts[2]) * whole[1] + y + starts[1]) * whole[0] + starts[0]
                function.entry(record.ctypes.data, words[after], first, first + groups[0])

    # graphs

    def cuGraphCreate(self, _flags: int) -> Any:
        return 0, Nodes()

    def cuGraphAddKernelNode(self, graph: Nodes, before: list[int], count: int, row: Any) -> Any:
        assert len(before) == count == len(set(before))
        graph.nodes.append((self._taken(row), tuple(before)))
        return 0, len(graph.nodes) - 1

    def _taken(self, row: Any) -> tuple[Any, ...]:
        """Return a row as it is now: CUDA copies the words when a node is made."""
        kernel = row.func.kernel.kernel
        assert row.sharedMemBytes == self.opted.get(kernel.name, 0), "what the function was said to take"
        count = 2 * len(kernel.buffers) + len(kernel.params) + 2 + 6 * row.func.cut
        words = np.array(
            [ctypes.c_uint64.from_address(a).value for a in (ctypes.c_uint64 * count).from_address(row.kernelParams)],
            np.uint64,
        )
        pointers = words.ctypes.data + 8 * np.arange(count, dtype=np.uint64)
        groups = (row.gridDimX, row.gridDimY, row.gridDimZ)
        return row.func, groups, (row.blockDimX, row.blockDimY, row.blockDimZ), words, pointers

    def cuGraphInstantiate(self, graph: Nodes, _flags: int) -> Any:
        self.graphs.append(Nodes(list(graph.nodes)))
        return 0, self.graphs[-1]

    def cuGraphExecKernelNodeSetParams(self, graph: Nodes, node: int, row: Any) -> Any:
        graph.nodes[node] = self._taken(row), graph.nodes[node][1]
        return (0,)

    def cuGraphLaunch(self, graph: Nodes, _stream: Any) -> Any:
        if self.broken:
            return (self.broken,)
        left = [len(before) for _, before in graph.nodes]
        after: list[list[int]] = [[] for _ in graph.nodes]
        for node, (_, before) in enumerate(graph.nodes):
            for each in before:
                after[each].append(node)
        ready = [node for node, count in enumerate(left) if not count]
        done = 0
        while ready:
            node = ready.pop(self.random.randrange(len(ready)))
            function, groups, lanes, _words, pointers = graph.nodes[node][0]
            self._launch(function, groups, lanes, pointers.ctypes.data)
            done += 1
            for each in after[node]:
                left[each] -= 1
                if not left[each]:
                    ready.append(each)
        assert done == len(graph.nodes)
        return (0,)
