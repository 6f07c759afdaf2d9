"""Programs of tensors and chains frozen: functions of arrays over memory of their own.

Layer: export. What parameters (of a program) and memory that is written and has no name (of a chain) hold is state: it
stays from run to run. Invariant: a run in C does the dispatches of a run here, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.caps import Caps
from loom.core.dtype import DType, lookup, of_numpy
from loom.core.errors import ArgumentError
from loom.core.given import is_array, is_mapping, items
from loom.core.late.dataclass import dataclass
from loom.export.frozen import ALIGNMENT, FrozenDispatch, FrozenProgram, Image, Named, Region, draft
from loom.export.frozen import round_up as rounded
from loom.export.words import require_identifier
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostStorage
from loom.runtime.plans.dispatch import Binding, Dispatch
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.plans.groups import largest_groups
from loom.runtime.plans.library import refuse_library
from loom.runtime.port.elements import Readable
from loom.tensor import Tensor, TensorProgram
from loom.tensor.record.graph import PARAMETER, ancestors

__all__ = ["Argument", "FrozenFunction", "freeze_chain", "freeze_program", "parameters_by_name"]

MOST_DISPATCHES = 1 << 16
"""Of a chain, repeats written out."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An array that callers pass: it is read when a run begins, or written when it ends, or both."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    is_read: bool
    is_written: bool


class FrozenFunction:
    """What every export of a program or chain is made of; ``image`` lays it out for one machine.

    ``arguments``: arrays that callers pass, in order.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[Argument],
        state: Callable[[], Mapping[str, Array]],
        image: Callable[[Caps], Image],
    ) -> None:
        self.name, self.arguments = name, list(arguments)
        self._state, self._image = state, image
        for each in arguments:
            if each.dtype.is_complex:
                raise ArgumentError("loom.export", f"{each.name!r} is complex", expected="real arrays", got=each.dtype,
                                    remedy="Export tensor.view_as_real(x), whose last axis is (re, im)")  # fmt: skip

    @property
    def inputs(self) -> list[Argument]:
        """The arrays that a run reads."""
        return [a for a in self.arguments if a.is_read]

    @property
    def outputs(self) -> list[Argument]:
        """The arrays that a run writes."""
        return [a for a in self.arguments if a.is_written]

    def weights(self) -> Mapping[str, Array]:
        """Return what the state holds now, by name: what the digest is of."""
        return self._state()

    def image(self, caps: Caps) -> Image:
        """Return programs and memory as a machine of ``caps`` runs them."""
        return self._image(caps)

    def start(self, image: Image) -> bytes:
        """Return the state as it is now."""
        memory, state = bytearray(image.state_nbytes), self._state()
        for name, about in image.tensors.items():
            memory[about.offset : about.offset + about.nbytes] = state[name].tobytes()
        return bytes(memory)


def freeze_program(
    outputs: TensorProgram | Mapping[str, Tensor] | Sequence[Tensor],
    updates: Mapping[Tensor, Tensor] | Sequence[tuple[Tensor, Tensor]] = (),
    *,
    name: str = "program",
) -> FrozenFunction:
    """Return a function of tensors written down: what ``tensor.compile`` takes, or what it returned.

    Parameters keep theirs, else they are p0, p1, ...; they are the state. Counters of random numbers go on from run to
    run.

    Args:
        outputs: Program of ``tensor.compile``, or tensors, which may have names; else they are y (or y0, y1, ...).
        updates: Pairs of a parameter and its new value; a compiled program has its own.
        name: Prefix of its functions.

    Raises:
        ArgumentError: Complex arrays; updates of a compiled program; a name that C cannot have; not tensors.

    >>> from loom import tensor
    >>> w = tensor.parameter([1.0, 2.0], name="w")
    >>> x = tensor.input("x", (2,))
    >>> frozen = freeze_program({"total": (w * x).sum()}, [(w, w - x * 0.5)])
    >>> [a.name for a in frozen.arguments], list(frozen.weights())
    (['x', 'total'], ['w'])
    """
    require_identifier(name)
    if isinstance(outputs, TensorProgram):
        if updates:
            raise ArgumentError("loom.export.freeze_program, updates", "a compiled program has its own",
                                expected="none", got="some", remedy="Leave them out")  # fmt: skip
        compiled, names = outputs, None
    else:
        names = list(map(str, outputs)) if is_mapping(outputs) else None
        made = (
            list(outputs.values())
            if isinstance(outputs, Mapping)
            else items(outputs, "loom.export, outputs", "tensors")
        )
        from loom.tensor import compile as compile_tensors

        compiled = compile_tensors(made, updates, name=name)
    made, pairs = compiled.ends
    names = names or (["y"] if len(made) == 1 else [f"y{n}" for n in range(len(made))])
    arguments = [Argument(key, node.dtype, tuple(node.shape), True, False) for key, node in compiled.inputs.items()]
    arguments += [Argument(n, t.dtype, tuple(t.shape), False, True) for n, t in zip(names, made, strict=True)]
    parameters = parameters_by_name([*made, *(t for pair in pairs for t in pair)])

    def image(caps: Caps) -> Image:
        found = Image(caps)
        for key, parameter in parameters.items():
            found.keep(key, parameter)
        found.freeze({"forward_1": draft((made, pairs), compiled.device, caps)})
        return found

    return FrozenFunction(name, arguments, lambda: {key: _elements(p) for key, p in parameters.items()}, image)


def parameters_by_name(ends: Sequence[Tensor]) -> dict[str, Any]:
    """Return the parameters behind tensors by their names, or p0, p1, ...; of one name the later ones get a number."""
    found: dict[str, Any] = {}
    for node in ancestors(ends):
        if node.op is PARAMETER:
            plain = node.name or f"p{len(found)}"
            key = plain
            while key in found:
                key = f"{plain}_{len(found)}"
            found[key] = node
    return found


def _elements(parameter: Any) -> Array:
    return parameter.data.read(0, parameter.nbytes).view(parameter.dtype.numpy).reshape(parameter.shape)


def freeze_chain(chain: Chain, arrays: Mapping[str, Any], *, name: str = "chain") -> FrozenFunction:
    """Return a chain, recorded and not yet built, written down as a function of arrays bound to it.

    What is bound beside them is a constant where the chain only reads it, else state that begins as it is now. Repeats
    are written out.

    Args:
        chain: Chain of the CPU.
        arrays: Arrays that callers pass, by name, in this order.
        name: Prefix of its functions.

    Raises:
        ArgumentError: An array is not bound; parts of one array begin at no multiple of 64 bytes; a chain of another
            device; a name that C cannot have.

    >>> import loom, numpy
    >>> @loom.kernel
    ... def double(x: loom.InOut[loom.f32]):
    ...     i = loom.global_id()
    ...     if i < len(x):
    ...         x[i] = x[i] * 2
    >>> data = numpy.arange(4, dtype=numpy.float32)
    >>> chain = loom.Chain("cpu")
    >>> chain.dispatch(double, [data])
    >>> [a.is_written for a in freeze_chain(chain, {"x": data}).arguments]
    [True]
    """
    where = "loom.export.freeze_chain"
    require_identifier(name)
    if chain.device.kind not in ("cpu", "interp"):
        raise ArgumentError(where, "the chain is recorded for another device", expected="one on the CPU",
                            got=chain.device.name, remedy="Record it with loom.Chain('cpu')")  # fmt: skip
    dispatches = [(d, turn) for s in chain.segments for turn in range(s.repeats) for d in s.dispatches]
    if not 0 < len(dispatches) <= MOST_DISPATCHES:
        raise ArgumentError(where, "unusable number of dispatches", expected=f"1 to {MOST_DISPATCHES}",
                            got=len(dispatches), remedy="Record fewer, and run it several times")  # fmt: skip
    blocks = _blocks(dispatches, where)
    arguments = {key: _block_of(array, blocks, f"{where}, {key}") for key, array in arrays.items()}
    if len({id(block) for block in arguments.values()}) < len(arguments):
        raise ArgumentError(where, "two arrays share memory", expected="one name for each", got=", ".join(arrays),
                            remedy="Name the whole array once")  # fmt: skip
    told = [
        Argument(key, *_kind(arrays[key], block, f"{where}, {key}"), True, block.is_written)
        for key, block in arguments.items()
    ]
    named = {id(block) for block in arguments.values()}
    state = {f"m{n}": b for n, b in enumerate(b for b in blocks if b.is_written and id(b) not in named)}
    return FrozenFunction(
        name, told, lambda: {key: block.content() for key, block in state.items()},
        lambda caps: _chain_image(caps, dispatches, told, list(arguments.values()), state, blocks),
    )  # fmt: skip


@dataclass(eq=False)
class _Block:
    """Memory that is bound, from ``start`` to ``stop``, and storages that lie in it."""

    start: int
    stop: int
    storages: list[Any]
    dtype: DType
    is_written: bool = False

    def content(self) -> Array:
        """Return the bytes that are there now."""
        found = np.zeros(self.stop - self.start, np.uint8)
        for storage in self.storages:
            at = storage.extent()[0] - self.start
            found[at : at + storage.nbytes] = storage.read(0, storage.nbytes)
        return found


def _blocks(dispatches: Sequence[tuple[Dispatch, int]], where: str) -> list[_Block]:
    """Return the memory of a chain, in the order in which it is bound; what overlaps is one block."""
    found: list[_Block] = []
    for d in dict.fromkeys(d for d, _ in dispatches):
        refuse_library(d.kernel, where)
        if isinstance(d.kernel, ForeignKernel):
            raise ArgumentError(where, "SPIR-V cannot be exported", expected="kernels of Loom's", got=d.kernel.name,
                                remedy="Write it with @loom.kernel")  # fmt: skip
        pairs = [(b.storage, m.dtype.scalar, m in d.kernel.writes)
                 for m, b in zip(d.kernel.buffers, d.bindings, strict=True)]  # fmt: skip
        pairs += [(d.indirect[0], lookup("u32"), False)] if d.indirect is not None else []
        for storage, dtype, writes in pairs:
            start, stop = storage.extent()
            block = _Block(start, stop, [storage], dtype, writes)
            touching = [b for b in found if _overlap(b, start, stop)]
            for other in touching:
                block = _Block(min(block.start, other.start), max(block.stop, other.stop),
                               [*other.storages, *block.storages], other.dtype, block.is_written or other.is_written,
                               )  # fmt: skip
            place = min((found.index(b) for b in touching), default=len(found))
            found = [b for b in found if b not in touching]
            found.insert(place, block)
    return found


def _overlap(block: _Block, start: int, stop: int) -> bool:
    return max(block.start, start) < min(block.stop, stop) or (block.start, block.stop) == (start, stop)


def _block_of(array: Any, blocks: Sequence[_Block], where: str) -> _Block:
    """Return the block of a named array; ArgumentError if it is not bound, or only a part of it."""
    storage = HostStorage.adopt(array) if is_array(array) else array
    storage = storage.lend(where)[0] if isinstance(storage, Readable) else storage
    extent = storage.extent() if hasattr(storage, "extent") else None
    for block in blocks:
        if extent == (block.start, block.stop):
            return block
    raise ArgumentError(where, "the chain does not bind this array, or binds parts of it or more",
                        expected="an array that dispatches of the chain were given", got=type(array).__name__,
                        remedy="Name what was bound, whole")  # fmt: skip


def _kind(array: Any, block: _Block, where: str) -> tuple[DType, tuple[int, ...]]:
    if is_array(array) and array.dtype.names is None:
        return of_numpy(array.dtype, where), array.shape
    if isinstance(array, Readable):
        return array.dtype, tuple(getattr(array, "shape", (array.size,)))
    return block.dtype, ((block.stop - block.start) // block.dtype.nbytes,)


def _chain_image(
    caps: Caps, dispatches: Sequence[tuple[Dispatch, int]], arguments: Sequence[Argument], passed: Sequence[_Block],
    state: Mapping[str, _Block], blocks: Sequence[_Block],
) -> Image:  # fmt: skip
    image, places = Image(caps), dict[int, int]()
    for key, block in state.items():
        about = Named(key, lookup("u8"), (block.stop - block.start,), image.state_nbytes)
        places[id(block)] = about.offset
        image.reserve(key, about)
    ports: list[Named] = []
    at = image.state_nbytes
    for argument, block in zip(arguments, passed, strict=True):
        places[id(block)] = at
        ports.append(Named(argument.name, argument.dtype, argument.shape, at))
        at += rounded(block.stop - block.start)
    image.ports_nbytes = at - image.state_nbytes
    for d in dict.fromkeys(d for d, _ in dispatches):
        image.note(d)
    made = tuple(_dispatch(image, d, turn, blocks, places) for d, turn in dispatches)
    written = tuple(p for p, a in zip(ports, arguments, strict=True) if a.is_written)
    image.programs.append(FrozenProgram("forward_1", made, tuple(ports), written))
    return image


def _dispatch(
    image: Image, d: Dispatch, turn: int, blocks: Sequence[_Block], places: Mapping[int, int]
) -> FrozenDispatch:
    def region(binding: Binding) -> Region:
        start = binding.storage.extent()[0]
        block = next(b for b in blocks if any(s is binding.storage for s in b.storages))
        offset = start - block.start
        if offset % ALIGNMENT:
            raise ArgumentError("loom.export.freeze_chain", "a part of an array is bound that begins anywhere",
                                expected=f"at a multiple of {ALIGNMENT} bytes", got=offset,
                                remedy="Bind the whole array, and pass an offset as a parameter")  # fmt: skip
        if id(block) in places:
            return Region(False, places[id(block)] + offset, binding.elements)
        return Region(True, image.constant(block.content().tobytes()) + offset, binding.elements)

    row = min(turn, len(d.params) - 1)
    x, y, z = d.groups[min(turn, len(d.groups) - 1)].tolist()
    indirect = None
    if d.indirect is not None:
        storage, offset = d.indirect
        counts = region(Binding(storage, storage.nbytes // 4))
        a, b, c = largest_groups(d.kernel)
        indirect = Region(counts.constant, counts.offset + offset, 3), (int(a), int(b), int(c))
    return FrozenDispatch(
        image.number_of(d.kernel), tuple(region(b) for b in d.bindings), tuple(d.params[row].tolist()), (x, y, z),
        indirect,
    )  # fmt: skip
