"""The record: a tensor is an operation, the tensors it takes, and a shape and dtype known before anything runs.

Layer: tensor. There is no graph object: tensors hold what they are made of, so a record lives as long as somebody
holds its end, and what nobody asks for is never computed. Invariant: a tensor is not changed once it is made; its
elements may become known (``data``), which cannot be seen but in the time they take.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, ShapeError
from loom.runtime.device import Device
from loom.runtime.elements import Sized

if TYPE_CHECKING:
    from loom.runtime.storage import Storage
    from loom.tensor.draft import Draft
    from loom.tensor.layout import Access

__all__ = ["Kind", "Node", "Op", "ancestors", "as_shape", "made", "require_tensor"]


class Kind(enum.Enum):
    """How a node comes to its elements."""

    SOURCE = "it has them: a parameter, an input, an array"
    NUMBER = "one number, or the index along an axis: made where it is used"
    MAP = "element by element, fused with others"
    VIEW = "they are those of another tensor, elsewhere in memory"
    KERNEL = "by kernels of its own"


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """An operation. ``vjp(node, g)`` gives for each input what ``g``, the gradient of the result, makes its gradient
    (None: nothing); an Op without it has no derivative.

    MAP: ``operation`` is what ``kernels.strided`` calls it. VIEW: ``view(node, access)`` gives the access of the
    result in the buffer of the first input, None if that cannot be. KERNEL: ``record(node, draft, operands, out)``
    dispatches; operands are packed unless ``accepts`` takes their access, and those of a concatenation are None if what
    makes them puts them into ``out``.
    """

    name: str
    kind: Kind
    vjp: Callable[[Any, Any], Sequence[Any]] | None = None
    operation: str = ""
    view: Callable[[Any, Access], Access | None] | None = None
    record: Callable[[Any, Draft, Sequence[Any], Any], None] | None = None
    accepts: Callable[[Access], bool] | None = None


_serials = itertools.count()


class Node(Sized):
    """One operation of the record; ``Tensor`` is the class that has operators."""

    __slots__ = ("__weakref__", "attributes", "data", "device", "dtype", "inputs", "name", "op", "serial", "shape")

    def __init__(
        self,
        op: Op,
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
        self.shape = shape
        self.dtype = dtype
        self.attributes = attributes
        self.name = name
        self.data = data
        self.device = device if device is not None else _one_device(op.name, self.inputs)
        self.serial = next(_serials)


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


def ancestors(ends: Iterable[Node], stop: Callable[[Node], Sequence[Node]] | None = None) -> list[Node]:
    """Return ``ends`` and all they are made of, each after its inputs, first input first.

    ``stop`` gives the inputs of a node that are followed, by default all.
    """
    follow = stop or (lambda node: node.inputs)
    done: dict[int, Node] = {}
    for end in ends:
        waiting: list[tuple[Node, bool]] = [(end, False)]
        while waiting:
            node, is_ready = waiting.pop()
            if is_ready:
                done.setdefault(id(node), node)
            elif id(node) not in done:
                waiting.append((node, True))
                waiting += [(n, False) for n in reversed(follow(node)) if id(n) not in done]
    return list(done.values())


def made(op: Op, inputs: Sequence[Node], shape: tuple[int, ...], dtype: DType, attributes: tuple[Any, ...] = ()) -> Any:
    """Return a node of the class of its first input."""
    return type(inputs[0])(op, inputs, shape, dtype, attributes)


def require_tensor(x: Any, where: str) -> None:
    """See that ``x`` is a tensor; ArgumentError if not."""
    if not isinstance(x, Node):
        raise ArgumentError(where, "not a tensor", expected="a tensor", got=repr(x), remedy="Make it with tensor.array")


def as_shape(shape: Any, where: str) -> tuple[int, ...]:
    """Return sizes as a tuple; ShapeError unless all are whole numbers of at least 0."""
    found = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if not all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 0 for n in found):
        raise ShapeError(where, "not a shape", expected="whole numbers of at least 0", got=shape,
                         remedy="Pass the size of each axis")  # fmt: skip
    return tuple(int(n) for n in found)
