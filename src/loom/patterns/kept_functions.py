"""Programs that are run over memory at once: recorded by hand, or of a function of tensors and run without its record.

Layer: patterns, over tensors. ``run`` is for what no operation of tensors is: several results of one run, or one of
which the host reads something before it goes on. ``record_function`` keeps what a function makes of operands of a kind,
so that a later call records nothing. Both are kept where programs of records are. Invariant: what a recording depends
on is in its key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.conversions import host_type
from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.runtime.chain import Chain
from loom.runtime.chain.kept import Kept, keep, shares_memory
from loom.runtime.memory.storage import HostSlot, HostStorage, Storage
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.handle.lending import memory_of
from loom.tensor.ops.precision import NOT_IN_FORCE, in_force
from loom.tensor.record.graph import KNOWN, note_origins
from loom.tensor.run.eager import prepare, work_of
from loom.tensor.run.later_checks import Check, collect_checks

__all__ = ["ElementsNeededError", "Kind", "RecordedFunction", "record_function", "run"]

Kind = tuple[tuple[int, ...], DType]
"""Shape and dtype of an operand or a result."""


def run(
    key: tuple[Hashable, ...], where: Device, record: Callable[..., None], operands: Sequence[Tensor], *kinds: Kind
) -> list[Tensor]:
    """Run the program kept for ``key`` on a device, whose operands are there; return its results.

    Where there is none, ``record(chain, *slots)`` records it over one ``HostSlot`` for each operand and result.
    """
    sizes = [math.prod(shape) * dtype.nbytes for shape, dtype in kinds]

    def make() -> Kept:
        chain = Chain(where, name=str(key[0]))
        slots = [HostSlot(n) for n in (*[x.nbytes for x in operands], *sizes)]
        record(chain, *slots)
        return Kept(chain.build(), slots, in_place=shares_memory(where))

    results: list[Any] = [where.allocate(n, zeroed=False) for n in sizes]
    keep(key, where, make).run(*map(memory_of, operands), *results)
    found: list[Tensor] = []
    for (shape, dtype), storage in zip(kinds, results, strict=True):
        made = Tensor(KNOWN, (), shape, dtype, data=storage, device=where)
        note_origins(made, operands)
        found.append(made)
    return found


class ElementsNeededError(Exception):
    """A function reads elements while it records: what it records may depend on them."""


class _Unread(HostStorage):
    """Stands for memory of which only the size is known."""

    __slots__ = ()

    def __init__(self, nbytes: int) -> None:
        self._address = 0
        self.uses = None
        self.nbytes = nbytes
        self.owner = None

    @property
    def bytes(self) -> np.ndarray[Any, Any]:  # type: ignore[override]
        """None there are."""
        raise ElementsNeededError

    @property
    def address(self) -> int:
        """None there is."""
        raise ElementsNeededError


@dataclass(frozen=True, slots=True)
class RecordedFunction:
    """What a function made of operands: a program over some of them and constants, and its results.

    ``sources``: the number of an operand, or a constant's memory. ``form`` is the class of several results.
    """

    program: Kept
    sources: tuple[int | Storage, ...]
    words: tuple[int, ...]
    kinds: tuple[Kind, ...]
    host_kinds: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    form: Any
    checks: tuple[Check, ...] = ()
    """What looks at the last results, which are no one else's."""

    def run(self, operands: Sequence[Storage], results: Sequence[Storage]) -> None:
        """Compute results, which nobody else uses, of operands that nobody writes."""
        given = [operands[s] if type(s) is int else cast("Storage", s) for s in self.sources]
        self.program.run_over([*given, *results], self.words)

    @property
    def is_one(self) -> bool:
        """Tell whether what is returned is its only result, as it is."""
        return self.form is Tensor and len(self.host_kinds) == 1

    def offer(
        self,
        function: object,
        names: Sequence[str],
        operands: Sequence[str],
        given: Mapping[str, object],
        finish: Callable[..., object],
    ) -> None:
        """Let calls of ``function`` like one that was answered so be answered without Python.

        ``names`` are those of its parameters, ``given`` the arguments; ``finish`` makes what is returned of results.
        """
        from loom.runtime.calls.native.functionkeys import FunctionCall, offer_function  # few call anything twice

        end = None if self.form is Tensor and len(self.host_kinds) == 1 else finish
        program, sources, words, kinds = self.program, self.sources, self.words, self.host_kinds
        offer_function(
            FunctionCall(function, names, given, operands, program, sources, words, kinds, end, (NOT_IN_FORCE,))
        )


def record_function(
    key: tuple[Hashable, ...], where: Device, function: Callable[..., Any], operands: Sequence[Kind]
) -> RecordedFunction:
    """Return what a function of tensors makes of operands of such kinds; ElementsNeededError if it must see elements.

    ``key`` tells the function and all else that it is given.
    """

    def make() -> Kept:
        unread = [_Unread(math.prod(shape) * dtype.nbytes) for shape, dtype in operands]
        given = [Tensor(KNOWN, (), *kind, data=cast("Storage", memory), device=where)
                 for kind, memory in zip(operands, unread, strict=True)]  # fmt: skip
        with collect_checks() as asked:
            found = function(*given)
        ends: list[Any] = [*([found] if isinstance(found, Tensor) else found), *[x for x, _ in asked]]
        if any(end.data is not None for end in ends) or len({*map(id, ends)}) < len(ends):
            raise ElementsNeededError
        work = work_of(ends, where)[1]
        program = prepare(work, ends, where, name=str(key[0]))
        numbers = {id(memory): n for n, memory in enumerate(unread)}
        sources = tuple(numbers.get(id(s), s) for s in work.sources)
        kinds = tuple((end.shape, end.dtype) for end in ends)
        of_host = tuple((shape, host_type(dtype)) for shape, dtype in kinds)
        form = Tensor if isinstance(found, Tensor) else cast("Any", type(found))
        program.note = RecordedFunction(
            program, sources, tuple(work.words), kinds, of_host, form, tuple(check for _, check in asked)
        )
        return program

    return keep((*key, in_force(), *operands), where, make).note
