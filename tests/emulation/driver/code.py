"""How the emulated driver does what kernels say: here, by the same kernels compiled for this processor.

They come from the LLVM target in the place of ``compile_kernel``: all that Loom hands to CUDA is tried with them but
the PTX, which ``emulation.driver.interpreted`` does, slowly. Invariant: code has memory of its own kind.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from emulation.ptx.memory import EmulationError
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.cpu.code import link
from loom.runtime.drivers.loading import locations_of
from loom.targets.base import Artifact, Bounds
from loom.targets.llvm.machine import PLACED_ELEMENTS, PLACED_NBYTES, host_machine
from loom.targets.llvm.machine.layout import BINDING, RECORD
from loom.targets.llvm.target import LlvmTarget

__all__ = ["Code", "Compiled", "Sizes"]

_HOST, _PLACED = b"\x7fHOST", b"placed"
_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)
_COMPILED: dict[Any, Artifact] = {}
_LINKED: dict[Any, Any] = {}
"""Code for this processor, for all drivers of a process."""
Sizes = tuple[int, int, int]


class Code(Protocol):
    """What does launches; a GPU's name says which."""

    name: str
    memory: Any

    def linked(self, text: bytes) -> bytes:
        """Return PTX as what is loaded; EmulationError for what is no PTX."""
        ...

    def load(self, data: bytes) -> Any:
        """Return a module; None for data that is none."""
        ...

    def sizes(self, module: Any, entry: str) -> tuple[int, ...] | None:
        """Return the bytes of the arguments; None if there is no such entry."""
        ...

    def run(self, module: Any, entry: str, groups: Sizes, lanes: Sizes, shared: int, given: Sequence[bytes]) -> None:
        """Do a launch; EmulationError for what would lose the GPU."""
        ...

    def begin(
        self, module: Any, entry: str, groups: Sizes, lanes: Sizes, shared: int, given: Sequence[bytes]
    ) -> Callable[[], None]:
        """Begin a launch before those it depends on are over; return what does the rest once they are."""
        ...


class HostMemory:
    """Memory of this process, at its own addresses."""

    def __init__(self) -> None:
        self.blocks: dict[int, tuple[Any, int]] = {}

    def allocate(self, size: int, *, kind: str = "device") -> int:
        """Return an address, a multiple of 256."""
        block = (ctypes.c_uint8 * (size + 256))()
        address = -(-ctypes.addressof(block) // 256) * 256
        self.blocks[address] = block, size
        return address

    def free(self, address: int) -> None:
        """Give memory back."""
        del self.blocks[address]

    def view(self, address: int, size: int) -> np.ndarray[Any, Any]:
        """Return bytes: unchecked, since arrays of the host stand for other libraries' on a GPU."""
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


@dataclass(frozen=True, eq=False)
class HostModule:
    """A kernel compiled for this processor; ``cut``, ``placed`` and ``waits`` (dependents) as it was asked for."""

    kernel: VerifiedKernel
    cut: bool
    placed: bool
    waits: bool
    entry: str
    code: Any

    @property
    def words(self) -> int:
        """How many arguments a launch has."""
        return 2 * len(self.kernel.kernel.buffers) + len(self.kernel.kernel.params) + 2 + 6 * self.cut


class Compiled:
    """Kernels by the LLVM target for this processor; ``compile`` stands in the place of ``compile_kernel``."""

    name = "Compiled"

    def __init__(self) -> None:
        self.memory = HostMemory()
        self.kernels: dict[bytes, HostModule] = {}

    def compile(
        self, _api: Any, _name: str, verified: VerifiedKernel, bounds: Bounds, *, cut: bool, tiles: bool, wide: bool,
        placed: bool, dependents: str,
    ) -> Artifact:  # fmt: skip
        """Compile for this processor, which computes products of tiles and of 64 rows plainly."""
        key = verified.hash, verified.name, locations_of(verified, bounds), bounds
        found = _COMPILED.get(key)
        if found is None:
            found = _COMPILED[key] = LlvmTarget(replace(host_machine(), stoppable=False)).compile(verified, bounds)
        code = _LINKED.get(key)
        if code is None:
            code = _LINKED[key] = link(found.data, found.entry)
        data = _HOST + found.data + _PLACED * placed + dependents.encode()
        self.kernels[data] = HostModule(verified, cut, placed, bool(dependents), found.entry, code)
        return replace(found, data=data)

    def linked(self, text: bytes) -> bytes:
        raise EmulationError("kernels are compiled for this processor here: PTX is for Interpreted")

    def load(self, data: bytes) -> HostModule | None:
        return self.kernels.get(data)

    def sizes(self, module: HostModule, entry: str) -> tuple[int, ...] | None:
        return (8,) * module.words if entry == module.entry else None

    def run(
        self, module: HostModule, entry: str, groups: Sizes, lanes: Sizes, shared: int, given: Sequence[bytes]
    ) -> None:
        kernel = module.kernel
        assert tuple(lanes) == kernel.workgroup
        words = [int.from_bytes(each, "little") for each in given]
        own = 2 * len(kernel.kernel.buffers)
        after = own + len(kernel.kernel.params)
        lie = [
            a % PLACED_NBYTES == 0 and n < PLACED_ELEMENTS for a, n in zip(words[:own:2], words[1:own:2], strict=True)
        ]
        assert module.placed == all(lie), "the code is for buffers that lie as these do"
        bindings = np.zeros(max(1, own // 2), BINDING)
        for row, address, elements in zip(bindings, words[:own:2], words[1:own:2], strict=False):
            row["address"], row["elements"] = address, elements
        params = np.array([*words[own:after], 0], np.uint64)
        whole, starts = (words[after + 2 : after + 5], words[after + 5 :]) if module.cut else (groups, (0, 0, 0))
        record = np.zeros(1, RECORD)
        record["bindings"], record["params"] = bindings.ctypes.data, params.ctypes.data
        record["groups"], record["number"] = whole, words[after + 1]
        entered = _ENTRY(module.code.address(entry))
        for z in range(groups[2]):
            for y in range(groups[1]):
                first = ((z + starts[2]) * whole[1] + y + starts[1]) * whole[0] + starts[0]
                entered(record.ctypes.data, words[after], first, first + groups[0])

    def begin(
        self, module: HostModule, entry: str, groups: Sizes, lanes: Sizes, shared: int, given: Sequence[bytes]
    ) -> Callable[[], None]:
        if not module.waits:
            raise EmulationError(f"{entry} is begun early, and does not wait")
        return partial(self.run, module, entry, groups, lanes, shared, given)
