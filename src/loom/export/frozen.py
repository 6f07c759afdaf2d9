"""Programs written down: kernels, dispatches, constants, and where everything lies in one block of memory.

Layer: export. The block begins with the state (weights, what the optimiser keeps), then come the ports (inputs and
outputs of the program that runs) and the scratch memory, which programs share. Invariant: offsets are multiples of
``ALIGNMENT``; a dispatch names memory by offsets alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from loom.core.caps import Caps
from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.core.numerics import Guarantee
from loom.ir.verified import VerifiedKernel
from loom.runtime.chain.arguments import as_verified, encode_params
from loom.runtime.chain.meetings import doubt_of
from loom.runtime.memory.storage import HostSlot
from loom.runtime.plans.dispatch import Binding, Dispatch
from loom.runtime.plans.groups import encode_groups, largest_groups
from loom.runtime.plans.library import refuse_library
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.program import Drafted
from loom.tensor.record.draft import DraftBuffer, Recorded

__all__ = ["ALIGNMENT", "FrozenDispatch", "FrozenProgram", "Image", "Named", "Region"]

ALIGNMENT = 64

Ends = tuple[Sequence[Tensor], Sequence[tuple[Tensor, Tensor]]]
"""Outputs of a program, and pairs of a parameter and its new value."""


def round_up(nbytes: int) -> int:
    """Return the bytes that so many take with what keeps the next aligned."""
    return -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Named:
    """A tensor of a name at an offset of the block."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.nbytes


@dataclass(frozen=True, slots=True)
class Region:
    """Where a buffer lies: in the block, or among the constants; how many elements it holds."""

    constant: bool
    offset: int
    elements: int


_NOWHERE = HostSlot(0)
"""Stands for memory that an exported program has when it runs."""


@dataclass(frozen=True, slots=True)
class FrozenDispatch:
    """A kernel's number, its bindings, parameters (8-byte slots) and group counts.

    ``indirect``: where three u32 group counts are read when it starts, and the largest allowed; None if they are known.
    """

    kernel: int
    bindings: tuple[Region, ...]
    params: tuple[int, ...]
    groups: tuple[int, int, int]
    indirect: tuple[Region, tuple[int, int, int]] | None = None


@dataclass(frozen=True, slots=True)
class FrozenProgram:
    """Dispatches in their order, and the ports."""

    name: str
    dispatches: tuple[FrozenDispatch, ...]
    inputs: tuple[Named, ...]
    outputs: tuple[Named, ...]


@dataclass
class Image:
    """The block of several programs over one state, and what lies beside it: kernels and constants.

    ``tensors``: the state by name, in order; ``kernels``: those that differ, in the order of their first dispatch.
    """

    caps: Caps
    tensors: dict[str, Named] = field(default_factory=dict[str, Named])
    kernels: list[VerifiedKernel] = field(default_factory=list[VerifiedKernel])
    constants: bytearray = field(default_factory=bytearray)
    programs: list[FrozenProgram] = field(default_factory=list[FrozenProgram])
    state_nbytes: int = 0
    ports_nbytes: int = 0
    scratch_nbytes: int = 0
    conditions: dict[str, None] = field(default_factory=dict[str, None])
    _states: dict[int, int] = field(default_factory=dict[int, int])  # id of a storage -> offset
    _held: list[Any] = field(default_factory=list[Any])
    _numbers: dict[str, int] = field(default_factory=dict[str, int])  # hash of a kernel -> its number
    _contents: dict[bytes, int] = field(default_factory=dict[bytes, int])

    @property
    def nbytes(self) -> int:
        """Bytes of the block."""
        return self.state_nbytes + self.ports_nbytes + self.scratch_nbytes

    @property
    def promises(self) -> dict[str, str | list[str]]:
        """What a manifest tells of what is promised, and under which conditions, if there are some."""
        is_loose = any(k.is_loose for k in self.kernels)
        found: dict[str, str | list[str]] = {"guarantee": (Guarantee.FAST if is_loose else Guarantee.BIT_EXACT).name}
        if self.conditions:
            found["conditions"] = list(self.conditions)
        return found

    def note(self, dispatch: Dispatch) -> None:
        """Take note of what must be so for a dispatch to give the same bits; RaceDetected if that is never so."""
        doubt = None if dispatch.kernel.is_vouched else doubt_of(dispatch)
        if doubt is not None:
            self.conditions[doubt.text] = None

    def keep(self, name: str, parameter: Tensor) -> None:
        """Give a parameter a place in the state; before any program."""
        assert not self.programs
        self.tensors[name] = Named(name, parameter.dtype, tuple(parameter.shape), self.state_nbytes)
        self._states[id(parameter.data)] = self.state_nbytes
        self._held.append(parameter.data)
        self.state_nbytes += round_up(parameter.nbytes)

    def reserve(self, name: str, like: Named) -> None:
        """Give a tensor that begins as zeros a place in the state; before any program."""
        assert not self.programs
        self.tensors[name] = Named(name, like.dtype, like.shape, self.state_nbytes)
        self.state_nbytes += round_up(like.nbytes)

    def freeze(self, drafts: Mapping[str, tuple[Drafted, Sequence[Tensor]]]) -> None:
        """Write programs down: the draft and the outputs of each, by name."""
        sizes = [sum(round_up(b.nbytes) for b in (*d.feeds.values(), *d.results)) for d, _ in drafts.values()]
        self.ports_nbytes = max(sizes, default=0)
        self.scratch_nbytes = max((sum(d.plan.blocks) for d, _ in drafts.values()), default=0)
        for name, (drafted, outputs) in drafts.items():
            self.programs.append(self._program(name, drafted, outputs))

    def _program(self, name: str, drafted: Drafted, outputs: Sequence[Tensor]) -> FrozenProgram:
        places: dict[DraftBuffer, int] = {}
        at = self.state_nbytes
        inputs: list[Named] = []
        results: list[Named] = []
        for key, node in drafted.inputs.items():
            inputs.append(Named(key, node.dtype, tuple(node.shape), at))
            places[drafted.feeds[key]] = at
            at += round_up(node.nbytes)
        for number, (node, buffer) in enumerate(zip(outputs, drafted.results, strict=True)):
            results.append(Named(str(number), node.dtype, tuple(node.shape), at))
            places[buffer] = at
            at += round_up(node.nbytes)
        starts = self.state_nbytes + self.ports_nbytes + np.cumsum([0, *drafted.plan.blocks])
        places |= {buffer: int(starts[block]) for buffer, block in drafted.plan.block_of.items()}
        rows = tuple(self._dispatch(name, d, places) for d in drafted.draft.dispatches)
        return FrozenProgram(name, rows, tuple(inputs), tuple(results))

    def _dispatch(self, program: str, d: Recorded, places: Mapping[DraftBuffer, int]) -> FrozenDispatch:
        where = f"loom.export, {program}"
        kernel = as_verified(d.kernel, where)
        buffers = d.buffers if d.offset is None else d.buffers[:-1]
        bindings = tuple(self._bindings(kernel, buffers, places))
        shapes = {memory.name: shape for memory, (shape, _n) in zip(kernel.bound, d.shapes or (), strict=False)}
        params = encode_params(kernel, d.params, 1, where, shapes)[0].tolist()
        indirect = None
        groups = encode_groups(kernel, d.groups, 1, where)
        x, y, z = groups[0].tolist()
        if d.offset is not None:
            counts = self._binding(d.buffers[-1], 4, places)
            a, b, c = largest_groups(kernel)
            indirect = Region(counts.constant, counts.offset + d.offset, 3), (int(a), int(b), int(c))
        bound, counted = tuple(Binding(_NOWHERE, each.elements) for each in bindings), (_NOWHERE, 0)
        self.note(Dispatch(kernel, bound, np.array([params], np.uint64), groups, indirect and counted))
        return FrozenDispatch(self.number_of(kernel), bindings, tuple(params), (x, y, z), indirect)

    def number_of(self, kernel: VerifiedKernel) -> int:
        """Return a kernel's number, a new one if it is not known; ArgumentError for a library's product."""
        refuse_library(kernel, "loom.export")
        if kernel.hash not in self._numbers:
            self._numbers[kernel.hash] = len(self.kernels)
            self.kernels.append(kernel)
        return self._numbers[kernel.hash]

    def _bindings(
        self, kernel: VerifiedKernel, buffers: Sequence[DraftBuffer], places: Mapping[DraftBuffer, int]
    ) -> Iterator[Region]:
        """Yield what each buffer of a kernel is bound to: what is given, and tables of constants of its own."""
        given = iter(buffers)
        for memory in kernel.buffers:
            if memory.data is None:
                yield self._binding(next(given), memory.dtype.nbytes, places)
            else:
                yield Region(True, self.constant(memory.data), len(memory.data) // memory.dtype.nbytes)
        assert next(given, None) is None

    def _binding(self, buffer: DraftBuffer, element_nbytes: int, places: Mapping[DraftBuffer, int]) -> Region:
        elements = buffer.nbytes // element_nbytes
        if buffer in places:
            return Region(False, places[buffer], elements)
        if buffer.content is not None:
            return Region(True, self.constant(buffer.content.tobytes()), elements)
        storage = buffer.place
        assert storage is not None
        if id(storage) in self._states:
            return Region(False, self._states[id(storage)], elements)
        return Region(True, self.constant(storage.read(0, buffer.nbytes).tobytes()), elements)

    def constant(self, content: bytes) -> int:
        """Return where bytes lie among the constants, put there if they do not."""
        if content not in self._contents:
            self._contents[content] = len(self.constants)
            self.constants += content.ljust(round_up(len(content)), b"\0")
        return self._contents[content]


def draft(ends: Ends, where: Device, caps: Caps) -> tuple[Drafted, Sequence[Tensor]]:
    """Return a program's draft for a machine of ``caps``, and its outputs."""
    outputs, updates = ends
    return Drafted(outputs, updates, where, caps=caps), outputs


def require_quiet(kernel: VerifiedKernel, sites: Sequence[Any]) -> None:
    """ArgumentError for a kernel that sends texts to the host: there is nobody to read them."""
    if sites:
        raise ArgumentError("loom.export", f"kernel {kernel.name!r} prints or asserts", expected="kernels that do not",
                            got=f"{sites[0].kind} in {sites[0].file}:{sites[0].line}",
                            remedy="Take it out for the export")  # fmt: skip
