"""Tensors in kernels: their memory is lent to be read and written, and what was recorded of them keeps its elements.

Layer: tensor. A tensor that is lent keeps its memory (``lent``): whoever recorded a kernel over it has that bound, and
before each run finds there what the tensor is then. When a kernel is about to write it, what was recorded of the tensor
gets the elements as they were, in other memory, and the tensor becomes a source. Invariant: memory that is lent belongs
to no other node and to no program as a constant.
"""

from __future__ import annotations

from loom.core.dtype import DType
from loom.runtime.memory.storage import Storage, copy_storage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import DirectUse
from loom.tensor.ops.parts import PAIRS, PART
from loom.tensor.ops.views import PERMUTE, RESHAPE, REVERSE, SLICE
from loom.tensor.record.graph import KNOWN, PARAMETER, SAME, WHOLE, Node, become, note_origins, refuse_freed, set_aside
from loom.tensor.record.timelines import settle
from loom.tensor.record.versions import before_writing, record_lock
from loom.tensor.run.eager import evaluate, evaluate_one

__all__ = [
    "DIRECT", "before_run", "copy_memory", "from_storage", "is_reshaped", "is_view", "lend", "lend_once",
    "memory_of", "share_memory",
]  # fmt: skip

_READS = (("lent", None, True), ("is_fast", False, True), ("is_fed", False, True), ("op", PARAMETER, False))
_WRITES = (("op", KNOWN, True), ("inputs", (), True), ("users", None, True), ("shared", False, True))
DIRECT = DirectUse("data", "shape", "dtype", "device", _READS, _WRITES)
"""When ``lend_once`` has nothing to do but to return what is there."""
_VIEWS = (SLICE, PERMUTE, REVERSE, RESHAPE, PAIRS, PART)


def from_storage(cls: type[Node], storage: Storage, dtype: DType, shape: tuple[int, ...], where: Device) -> Node:
    """Return a tensor of elements that are in storage, which it then has for itself."""
    return cls(KNOWN, (), shape, dtype, data=storage, device=where)


def is_view(x: Node) -> bool:
    """Tell whether a tensor is a view of its input: its elements are some of those, each once."""
    return x.op in _VIEWS or (x.op is SAME and x.attributes == WHOLE)


def is_reshaped(x: Node) -> bool:
    """Tell whether a tensor is another, which is no part of a third, in another shape: its memory is then that's."""
    if x.op is not RESHAPE or x.data is not None:
        return False
    while x.op is RESHAPE:
        x = x.inputs[0]
    return not is_view(x)


def memory_of(x: Node) -> Storage:
    """Return memory whose first elements are those of a tensor, packed, to be read; computed if they must be."""
    base = x
    while base.data is None and base.op is RESHAPE:
        base = base.inputs[0]
    if base.data is None:
        base = x
        evaluate_one(x)
    assert base.data is not None
    if base.op.is_written:
        settle(base.device)
    return base.data


def share_memory(x: Node) -> Storage | None:
    """Return the same memory to be kept by others, who never write there; None where it may change.

    Who writes to the tensor later finds other memory.
    """
    with record_lock():
        memory = memory_of(x)
        while x.data is None:
            x = x.inputs[0]
        if x.op.is_written or x.lent is not None:
            return None
        x.shared = True
        return memory


def copy_memory(storage: Storage, nbytes: int, where: Device) -> Storage:
    """Return other memory of the same elements."""
    made = where.allocate(nbytes, zeroed=False)
    copy_storage(storage, 0, made, 0, nbytes)
    return made


def lend(x: Node) -> tuple[Storage, Device]:
    """Return a tensor's memory for a kernel, and its device; StateError for what has no elements.

    That of a reshaped tensor is the tensor's: who writes one writes both.
    """
    with record_lock():
        if x.op.is_written:
            if x.data is None:
                raise refuse_freed("tensor", x)
            assert x.device is not None
            settle(x.device)
            return x.data, x.device
        if x.lent is None and x.data is None and x.op is RESHAPE:
            x.lent, x.device = lend(x.inputs[0])
        elif x.lent is None:
            evaluate([x])
            assert x.data is not None
            assert x.device is not None
            if x.shared:
                x.data, x.shared = copy_memory(x.data, x.nbytes, x.device), False
            x.lent = x.data
        assert x.lent is not None
        assert x.device is not None
        return x.lent, x.device


def lend_once(x: Node, *, writes: bool) -> tuple[Storage, Device]:
    """Return a tensor's memory for one run of a kernel that begins now, and its device; errors as of ``lend``."""
    with record_lock():
        if x.op.is_written or x.lent is not None or (writes and is_reshaped(x)):
            found = lend(x)
            before_run(x, writes=writes)
            return found
        memory, where = memory_of(x), x.device
        assert where is not None
        if not writes:
            return memory, where
        if x.shared:
            memory = copy_memory(memory, x.nbytes, where)
        if x.users or x.inputs or x.shared:
            old = set_aside(x)
            if old.users and not old.shared:
                old.data = copy_memory(memory, x.nbytes, where)
            become(x, KNOWN, data=memory)
            if old.inputs or old.apart:
                note_origins(x, [old])
        return memory, where


def before_run(x: Node, *, writes: bool) -> None:
    """Let memory that was lent hold what the tensor is now, and be free to be written."""
    if x.op.is_written:
        settle(x.device)
        if writes and x.users:
            with before_writing([x]):
                return
        return
    if x.data is x.lent and not (writes and (x.users or x.inputs)):
        return
    with record_lock():
        if x.data is None and x.op is RESHAPE:
            _before_run_of_view(x, writes)
            return
        lent, where = x.lent, x.device
        assert lent is not None
        assert where is not None
        if x.data is not lent:
            evaluate([x])
            assert x.data is not None
            copy_storage(x.data, 0, lent, 0, x.nbytes)
            x.data = lent
        if writes:
            old = set_aside(x)
            bound = _take_bound(old, lent)
            if old.users:
                old.data = copy_memory(lent, x.nbytes, where)
            become(x, KNOWN, data=lent)
            _follow(bound, x, lent)
            if old.inputs or old.apart:
                note_origins(x, [old])


def _take_bound(old: Node, lent: Storage) -> list[Node]:
    """Take the reshaped tensors to which kernels are bound in the same memory from those that keep what ``old`` was."""
    users = [(u, u()) for u in old.users or ()]
    bound = [x for _, x in users if x is not None and x.op is RESHAPE and x.lent is lent]
    old.users = [u for u, x in users if not any(x is each for each in bound)] or None
    return bound


def _follow(bound: list[Node], base: Node, lent: Storage) -> None:
    """Let reshaped tensors be what ``base`` is now, since its memory is theirs; what was recorded of them is not."""
    for x in bound:
        if x.users:
            old = set_aside(x)
            inner = _take_bound(old, lent)
            become(x, RESHAPE, [base])
            _follow(inner, x, lent)
        else:
            become(x, RESHAPE, [base])


def _before_run_of_view(x: Node, writes: bool) -> None:
    """Do the same for a reshaped tensor, which goes on to be a view of the tensor as that will be."""
    base = x.inputs[0]
    if writes and x.users:
        set_aside(x)
    before_run(base, writes=writes)
    become(x, RESHAPE, [base])
