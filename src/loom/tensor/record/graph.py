"""The record: a tensor is an operation, the tensors it takes, and a shape and dtype known before anything runs.

Layer: tensor. There is no graph object: tensors hold what they are made of, so a record lives as long as somebody
holds its end, and what nobody asks for is never computed. A tensor knows, weakly, what was recorded of it, so that it
may be given new elements while that keeps the old ones (``set_aside``, ``versions``). Invariant: what a record stands
for is not changed once it is made; its elements may become known (``data``), which cannot be seen but in the time.
"""

from __future__ import annotations

import enum
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from types import FunctionType
from typing import Any, TypeVar
from weakref import ref

from loom.core.arrays import MOST_AXES
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, ShapeError, StateError
from loom.core.late.dataclass import dataclass
from loom.core.numbers import plain
from loom.core.process.forks import hold_over_forks
from loom.runtime.memory.storage import Storage
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Sized
from loom.tensor.record.draft import Draft
from loom.tensor.record.layout import StridedLayout

__all__ = [
    "COUNTER", "INPUT", "KNOWN", "PARAMETER", "SAME", "WHOLE", "Node", "NodeKind", "NodeT", "TensorOp", "ancestors",
    "as_shape", "become", "lift_with", "make", "note_origins", "refuse_freed", "require_tensor", "same",
    "set_aside", "take_users", "tensors_of", "whole_view", "write_as",
]  # fmt: skip


class NodeKind(enum.Enum):
    """How a node comes to its elements."""

    SOURCE = "it has them: a parameter, an input, an array"
    NUMBER = "one number, or the index along an axis: made where it is used"
    MAP = "element by element, fused with others"
    VIEW = "they are those of another tensor, elsewhere in memory"
    KERNEL = "by kernels of its own"


@dataclass(frozen=True, slots=True, eq=False)
class TensorOp:
    """An operation; its derivative, where it has one, is in ``derivatives``.

    MAP: ``operation`` is what ``kernels.maps.nest`` calls it, or a function in the kernel language. VIEW:
    ``view(node, access)`` gives the access of the result in the buffer of the first input, None if that cannot be.
    KERNEL: ``record(node, draft, operands, out)`` dispatches; operands are packed unless ``accepts`` takes their
    access, and those of a concatenation are None if what makes them puts them into ``out``.
    """

    name: str
    kind: NodeKind
    operation: str | FunctionType = ""
    view: Callable[[Any, StridedLayout], StridedLayout | None] | None = None
    record: Callable[[Any, Draft, Sequence[Any], Any], None] | None = None
    accepts: Callable[[StridedLayout], bool] | None = None
    is_written: bool = False
    """True of parameters, which are given new elements."""
    is_fed: bool = False
    """True of what a program is fed."""
    by_parts: bool = False
    """True of what moves elements, so that it does so to real and imaginary parts alike; every VIEW is."""
    is_fast: bool = False
    """True of what a vendor's library computes, of whose bits nothing is promised."""
    takes_complex: bool = False
    """True of what has complex operands or results itself."""
    runs_users: bool = False
    """True of what runs a function of the user's, whose loops may be of any length."""
    unfold: Callable[[Any], None] | None = None
    """Of a composite (``composite``): lets a node be what it is made of."""


PARAMETER = TensorOp("parameter", NodeKind.SOURCE, is_written=True)
INPUT = TensorOp("input", NodeKind.SOURCE, is_fed=True)
KNOWN = TensorOp("array", NodeKind.SOURCE)
COUNTER = ("counter",)
"""Attributes of a parameter that programs count up: how often random numbers were drawn."""

_MANY = 64
_MOST_ELEMENTS = 2**48
"""Of a tensor; numbers alone, which take no memory, may have as many."""
_serials = itertools.count()
_users_lock = hold_over_forks(threading.RLock())


class Node(Sized):
    """One operation of the record; ``Tensor`` is the class that has operators."""

    __slots__ = (
        "__weakref__", "apart", "attributes", "data", "device", "dtype", "inputs", "is_fast", "is_fed", "later", "lent",
        "name", "op", "serial", "shape", "shared", "users",
    )  # fmt: skip

    def __init__(
        self,
        op: TensorOp,
        inputs: Sequence[Node],
        shape: tuple[int, ...],
        dtype: DType,
        attributes: tuple[Any, ...] = (),
        *,
        name: str = "",
        data: Storage | None = None,
        device: Device | None = None,
    ) -> None:
        self.op = op
        self.inputs: tuple[Any, ...] = tuple(inputs)
        if device is None and inputs:
            device = inputs[0].device if len(inputs) == 1 else _one_device(op.name, inputs)
        self.shape = shape
        self.dtype = dtype
        self.attributes = attributes
        self.name = name
        self.data: Storage | None = data
        self.device = device
        self.serial = next(_serials)
        self.apart: tuple[ref[Node], ...] = ()
        """Of a source: what it was computed from, where no record tells how."""
        self.is_fed = op.is_fed
        """True if its elements depend on what programs are fed."""
        self.is_fast = op.is_fast
        """True if nothing is promised of its elements (see ``Readable.is_fast``)."""
        self.users: list[ref[Node]] | None = None
        """What was recorded of it since it was given its elements."""
        self.shared = False
        """True if another node or a program has its memory too."""
        self.later: ref[Node] | None = None
        """Of what was set aside: the tensor that was assigned."""
        self.lent: Storage | None = None
        """The memory that kernels are bound to (``handle.lending``)."""
        if inputs:
            _note(self)


def _note(user: Node) -> None:
    """Let the inputs of a node know of it."""
    weak = ref(user)
    with _users_lock:
        for source in user.inputs:
            if source.is_fed:
                user.is_fed = True
            if source.is_fast:
                user.is_fast = True
            users = source.users
            if users is None:
                source.users = [weak]
                continue
            users.append(weak)
            if len(users) >= _MANY and len(users).bit_count() == 1:  # now and then, those that are gone are let go
                users[:] = [u for u in users if u() is not None]


def take_users(node: Node) -> list[Node]:
    """Return what was recorded of a node and is still there, and forget it."""
    with _users_lock:
        found = [u for u in (r() for r in node.users or ()) if u is not None]
        node.users = None
    return found


def note_origins(node: Node, origins: Sequence[Node]) -> None:
    """Note that a source was computed from other tensors by what is not recorded, so that no gradient leads there."""
    found: dict[int, ref[Node]] = {}
    for origin in origins:
        for each in ancestors([origin], unfold=False) if origin.inputs else (origin,):
            if each is origin or not each.inputs:
                found[id(each)] = ref(each)
            found |= {id(kept): ref(kept) for kept in (r() for r in each.apart) if kept is not None}
    node.apart = tuple(found.values())
    node.is_fast = node.is_fast or any(origin.is_fast for origin in origins)


def set_aside(x: NodeT) -> NodeT:
    """Return a node that is what ``x`` was, to all that was recorded of it; ``x`` may then become another.

    To be called with ``versions.record_lock`` held.
    """
    old = object.__new__(type(x))
    for base in type(x).__mro__:
        for name in getattr(base, "__slots__", ()):
            if name != "__weakref__" and hasattr(x, name):
                setattr(old, name, getattr(x, name))
    old.users = old.lent = None
    old.later = ref(x)
    x.shared = True  # until it becomes another: the native door looks without the lock
    users = take_users(x)
    for user in users:
        user.inputs = tuple(old if i is x else i for i in user.inputs)
    with _users_lock:
        old.users = [ref(user) for user in users] or None
    if old.inputs:
        _note(old)
    return old


def become(
    x: Node, op: TensorOp, inputs: Sequence[Node] = (), attributes: tuple[Any, ...] = (), *, data: Storage | None = None
) -> None:
    """Let a node that was set aside stand for another operation, of the same shape and dtype."""
    x.op, x.inputs, x.attributes, x.data = op, tuple(inputs), attributes, data
    x.serial = next(_serials)
    x.is_fed, x.is_fast, x.shared, x.apart = op.is_fed, op.is_fast, False, ()
    if inputs:
        _note(x)


def write_as(x: Node, other: Node) -> None:
    """Let a node be recorded as another, of its shape and dtype and made for this alone, is; its elements stay.

    Who reads it meanwhile finds all of the one or, of an operation that may be unfolded, something of the other.
    """
    assert (x.shape, x.dtype) == (other.shape, other.dtype), f"{x.op.name} is written out as another kind"
    with _users_lock:
        for source in x.inputs:
            source.users = [u for u in source.users or () if u() is not x] or None
    x.inputs, x.attributes = other.inputs, other.attributes
    x.op = other.op
    _note(x)


def _one_device(name: str, inputs: Sequence[Node]) -> Device | None:
    """Return the device of the inputs that have one; ArgumentError if they are several."""
    found: Device | None = None
    for node in inputs:
        if node.device is None or node.device is found:
            continue
        if found is not None:
            raise ArgumentError(
                name, "the tensors are on different devices", expected=found.name, got=node.device.name,
                remedy=f"Copy one with tensor.array(x, on={found.name!r})",
            )  # fmt: skip
        found = node.device
    return found


def inputs_of(node: Node) -> Sequence[Node]:
    """Return what a node is made of."""
    return node.inputs


def ancestors(
    ends: Iterable[Node], follow: Callable[[Node], Sequence[Node]] = inputs_of, *, unfold: bool = True
) -> list[Node]:
    """Return ``ends`` and all they are made of, each after its inputs, first input first.

    ``follow`` gives the inputs of a node that are followed, by default all. ``unfold``: composites that are followed
    are written out first, which only changes what lies between them and their operands.
    """
    done: dict[int, Node] = {}
    for end in ends:
        waiting = [end]
        while waiting:
            node = waiting[-1]
            if id(node) not in done:
                behind = follow(node)
                if behind and unfold and node.op.unfold is not None:
                    node.op.unfold(node)
                    behind = follow(node)
                left = [n for n in behind if id(n) not in done]
                if left:
                    waiting += reversed(left)
                    continue
                done[id(node)] = node
            waiting.pop()
    return list(done.values())


def tensors_of(value: Any) -> list[Node]:
    """Return the tensors that a function, of which derivatives are made, has from outside; none of what is no such."""
    cells = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    return [x for x in cells if isinstance(x, Node)]


NodeT = TypeVar("NodeT", bound=Node)
_lifts: list[Callable[..., Any]] = []


def lift_with(lift: Callable[..., Any]) -> None:
    """Take what makes the nodes of operations on complex tensors that do not take them whole."""
    _lifts[:] = [lift]


def make(
    op: TensorOp, inputs: Sequence[NodeT], shape: tuple[int, ...], dtype: DType, attributes: tuple[Any, ...] = ()
) -> NodeT:
    """Return a node of the class of its first input; of complex inputs that of their parts (``ops.parts``)."""
    if not op.takes_complex:
        is_complex = dtype.is_complex
        for x in inputs:
            is_complex = is_complex or x.dtype.is_complex
        if is_complex:
            return _lifts[0](op, inputs, shape, dtype, attributes)
    return type(inputs[0])(op, inputs, shape, dtype, attributes)


WHOLE = ("whole",)
"""Attributes of a ``SAME`` that is a view of its input."""
SAME = TensorOp("same", NodeKind.VIEW, view=lambda _node, access: access, takes_complex=True)
"""Its input under another handle."""


def same(x: NodeT) -> NodeT:
    """Return another tensor of the same elements: what an operation gives that has nothing to do.

    Whoever assigns to that one does not change ``x``.
    """
    return make(SAME, [x], x.shape, x.dtype)


def whole_view(x: NodeT) -> NodeT:
    """Return another handle that is a view of ``x``, as ``x[:]`` is: kernels that write it write ``x``."""
    return make(SAME, [x], x.shape, x.dtype, WHOLE)


def require_tensor(x: Any, where: str) -> None:
    """See that ``x`` is a tensor; ArgumentError if not."""
    if not isinstance(x, Node):
        remedy = getattr(x, "instead", "Make it with tensor.array")
        raise ArgumentError(where, "not a tensor", expected="a tensor", got=repr(x), remedy=remedy)


def refuse_freed(where: str, node: Node) -> StateError:
    """Return what says that a parameter has no memory any more."""
    return StateError(
        where, "its memory was freed", expected="a tensor in use", got=f"one of shape {node.shape} after free()",
        remedy="Create another, or free it later",
    )  # fmt: skip


def as_shape(shape: Any, where: str) -> tuple[int, ...]:
    """Return sizes as a tuple; ShapeError unless all are whole numbers of at least 0."""
    try:
        found = tuple(shape)
    except Exception:  # one number, or an object of others that has no elements
        found = (shape,)
    if not all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 0 for n in found):
        raise ShapeError(where, "not a shape", expected="whole numbers of at least 0", got=shape,
                         remedy="Pass the size of each axis")  # fmt: skip
    if math.prod(int(n) for n in found if n) > _MOST_ELEMENTS:
        raise ShapeError(where, "too many elements", expected=f"at most {_MOST_ELEMENTS}", got=shape,
                         remedy="Make it smaller")  # fmt: skip
    if len(found) > MOST_AXES:
        raise ShapeError(where, "too many dimensions", expected=f"at most {MOST_AXES}", got=len(found),
                         remedy="Reshape it")  # fmt: skip
    return tuple(map(plain, found))
