"""Windows: parts of a tensor that a kernel writes, ``k(x[2:5])``, are written in the tensor, too.

Layer: tensor. For the time of a run a window stands for itself; when the run is under way, what it has goes back to
what it is a part of, and it is a part of that again. Invariant: what was recorded before keeps its elements; nobody
sees the tensor between the two.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom.core import arrays
from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.runtime.memory.order import touching
from loom.runtime.memory.storage import HostStorage
from loom.tensor.handle.assigning import PUT, replace
from loom.tensor.handle.lending import is_reshaped, is_view
from loom.tensor.ops.parts import PAIRS, PART, join, part_of
from loom.tensor.ops.views import PERMUTE, RESHAPE, REVERSE, SLICE, permute, reshape, reverse, slice_by
from loom.tensor.record.graph import KNOWN, Node, TensorOp, ancestors, become, make, note_origins, set_aside
from loom.tensor.record.versions import record_lock
from loom.tensor.run.eager import evaluate

__all__ = ["WrittenPart", "share_elements", "window_of"]


@dataclass(frozen=True, slots=True)
class _Step:
    """One view on the way from a tensor to a window; ``source`` is the shape of what it is a view of."""

    op: TensorOp
    attributes: tuple[Any, ...]
    shape: tuple[int, ...]
    source: tuple[int, ...]
    dtype: DType


def window_of(x: Any) -> WrittenPart | None:
    """Return where the elements of a view are in the tensor it is a view of; None for what is none.

    A reshaped tensor whose memory is that of the tensor needs none.
    """
    base, steps = _way_to(x)
    if not steps or x.lent is not None or is_reshaped(x):
        return None
    return WrittenPart(x, base, steps)


def _way_to(x: Node) -> tuple[Node, tuple[_Step, ...]]:
    """Return the tensor that ``x`` is a view of, itself if it is none, and the views from ``x`` on."""
    steps: list[_Step] = []
    while is_view(x):
        steps.append(_Step(x.op, x.attributes, x.shape, x.inputs[0].shape, x.dtype))
        x = x.inputs[0]
    return x, tuple(steps)


def share_elements(x: Node, y: Node) -> bool:
    """Tell whether two tensors are views of one that have elements in common; where that is hard to tell, True."""
    (base, steps), (other, others) = _way_to(x), _way_to(y)
    if x is y or base is not other:
        return x is y
    place = np.lib.stride_tricks.as_strided(np.empty(1, base.dtype.numpy), base.shape, _strides(base))  # never read
    views = [place, place]
    for n, way in enumerate((steps, others)):
        for step in reversed(way):
            if step.op is RESHAPE and not views[n].flags.c_contiguous:
                return True  # numpy would copy
            views[n] = _view_of(views[n], step)
            if views[n] is None:
                return True
    return arrays.share_elements(*views)


def _strides(x: Node) -> tuple[int, ...]:
    """Return the bytes between neighbours along each axis of a packed array."""
    nbytes = x.dtype.numpy.itemsize
    return tuple(nbytes * math.prod(x.shape[n + 1 :]) for n in range(x.ndim))


class WrittenPart:
    """A view ``x`` of ``base``, by ``steps``, the last of which is the view of ``base`` itself."""

    def __init__(self, x: Any, base: Any, steps: tuple[_Step, ...]) -> None:
        self._x = x
        self._base = base
        self._steps = steps

    def put_back(self) -> None:
        """Let the base have the elements that ``x`` has now in its own memory, and ``x`` be a view of it again."""
        x, base = self._x, self._base
        with record_lock():
            memory, is_fast = x.data, x.is_fast
            if x.op is not KNOWN or memory is None:
                return
            if not self._write_here(memory):
                held = type(x)(KNOWN, (), x.shape, x.dtype, data=memory, device=x.device)
                held.shared, held.apart = True, x.apart
                replace(base, self._place(held, len(self._steps)))
            base.is_fast = base.is_fast or is_fast
            inner = base
            for step in reversed(self._steps[1:]):
                inner = make(step.op, [inner], step.shape, step.dtype, step.attributes)
            become(x, self._steps[0].op, [inner], self._steps[0].attributes, data=memory)
            x.shared = True

    def _place(self, value: Any, count: int) -> Any:
        """Return the base with a value in the place of the window."""
        for step in self._steps[:count]:
            if step.op is RESHAPE:
                value = reshape(value, step.source)
            elif step.op is PERMUTE:
                order = step.attributes[0]
                value = permute(value, [order.index(a) for a in range(len(order))])
            elif step.op is REVERSE:
                value = reverse(value, step.attributes[0])
            elif step.op is PAIRS:
                value = join(slice_by(value, (..., 0)), slice_by(value, (..., 1)))
            elif step.op is PART:
                other = part_of(self._source_of(step), 1 - step.attributes[0])
                value = join(value, other) if step.attributes[0] == 0 else join(other, value)
            elif step.op is SLICE:
                value = make(PUT, [self._source_of(step), value], step.source, value.dtype, step.attributes)
        return value

    def _source_of(self, until: _Step) -> Node:
        """Return what a step is a view of."""
        inner = self._base
        for step in reversed(self._steps[self._steps.index(until) + 1 :]):
            inner = make(step.op, [inner], step.shape, step.dtype, step.attributes)
        return inner

    def _write_here(self, memory: Any) -> bool:
        """Copy into host memory that nobody else sees; tell whether that was done."""
        base, x = self._base, self._x
        if (
            base.op is not KNOWN
            and not base.is_fed
            and not any(n.op.is_written for n in ancestors([base], unfold=False))
        ):
            evaluate([base])  # so that a loop of writes is no record that grows
            if not _is_used(base) and not base.shared:
                old = set_aside(base)
                become(base, KNOWN, data=old.data)
                note_origins(base, [old])
        alone = base.op is KNOWN and not base.shared and not _is_used(base)
        if not (alone and base.lent is None and isinstance(base.data, HostStorage) and isinstance(memory, HostStorage)):
            return False
        place: np.ndarray[Any, Any] | None = base.data.bytes[: base.nbytes].view(base.dtype.numpy).reshape(base.shape)
        for step in reversed(self._steps):
            place = _view_of(place, step)
            if place is None:
                return False
        with touching((memory,), (base.data,)):
            place[...] = memory.bytes[: x.nbytes].view(x.dtype.numpy).reshape(x.shape)
        return True


def _is_used(base: Node) -> bool:
    """Tell whether anything there is stands upon a tensor; a window that stands for itself does not."""
    return any(user is not None and any(x is base for x in user.inputs) for user in (u() for u in base.users or ()))


def _view_of(place: Any, step: _Step) -> Any:
    """Return the view of an array of the host that a step is, None if numpy has none without a copy."""
    if step.op is RESHAPE:
        found = place.reshape(step.shape)
        return found if found.size == 0 or np.shares_memory(found, place) else None
    if step.op is PAIRS:
        return place.view(step.dtype.numpy).reshape(step.shape) if place.flags.c_contiguous else None
    if step.op is PART:
        return place.imag if step.attributes[0] else place.real
    if step.op is PERMUTE:
        return place.transpose(step.attributes[0])
    if step.op is REVERSE:
        return np.flip(place, step.attributes[0])
    if step.op is SLICE:
        starts, steps = step.attributes
        return place[tuple(slice(a, a + max(n - 1, 0) * s + 1 if n else a, s)
                           for a, s, n in zip(starts, steps, step.shape, strict=True))]  # fmt: skip
    return place
