"""Assignment: a tensor becomes another record, and what was recorded of it before keeps what it was.

Layer: tensor. Where nobody has recorded anything of a tensor that is a source in host memory, elements are written
where they are; else a record is made (``PUT``, a fold by index, a choice), through which gradients go. Parameters keep
their place and are written at once. Invariant: elements and gradients are as if every assignment had made a new tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.arrays import read_as
from loom.core.conversions import widen
from loom.core.dtype import u32
from loom.core.errors import ShapeError, StateError
from loom.core.given import is_array, is_list
from loom.core.promotion import is_number
from loom.runtime.memory.order import touching
from loom.runtime.memory.storage import HostStorage, copy_storage
from loom.tensor.handle.indexing import KeyPlaces, as_mask, read_key
from loom.tensor.handle.lending import copy_memory
from loom.tensor.ops.elementwise import apply, cast, constant, coordinate, where
from loom.tensor.ops.indexing import fold_by, pick
from loom.tensor.ops.joining import copy_into
from loom.tensor.ops.views import RESHAPE, broadcast_to, permute, reshape, reverse
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import (
    KNOWN,
    Node,
    NodeKind,
    TensorOp,
    ancestors,
    become,
    make,
    refuse_freed,
    same,
    set_aside,
)
from loom.tensor.record.timelines import settle
from loom.tensor.record.versions import before_writing, record_lock
from loom.tensor.run.eager import evaluate

__all__ = ["PUT", "assign_at", "replace"]

_MOST_PENDING = 32
"""Assignments that are put off; then they are computed, so that a loop of them does not become one program."""


def _record_put(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    starts, steps = node.attributes
    whole = [0] * node.ndim, [1] * node.ndim
    copy_into(draft, operands[0], out, node.shape, *whole, node.dtype)
    copy_into(draft, operands[1], out, node.shape, starts, steps, node.dtype)


PUT = TensorOp("put", NodeKind.KERNEL, record=_record_put, accepts=lambda _: True, by_parts=True)
"""Its first input with the second at every ``steps``-th place from ``starts`` on."""


def replace(x: Any, new: Any) -> None:
    """Let a tensor be what ``new``, of its shape and dtype and recorded for this alone, is."""
    if new is x:
        return
    with record_lock():
        if x.op.is_written:
            _write_place(x, new)
            return
        if x.lent is not None and x.op is RESHAPE and x.data is None:
            raise StateError(
                "tensor", "a reshaped tensor that a kernel is bound to is assigned", expected="the tensor itself",
                got=x.recipe(), remedy="Assign what it is a view of",
            )  # fmt: skip
        old = set_aside(x)
        if x.lent is not None and old.data is x.lent:
            assert x.device is not None
            old.data = copy_memory(x.lent, x.nbytes, x.device)
        if new.op.kind in (NodeKind.MAP, NodeKind.KERNEL) and new.data is None:
            become(x, new.op, new.inputs, new.attributes)
        else:
            become(x, *_as_view(new))
        x.device = new.device or x.device
        if _pending(x) > _MOST_PENDING and not x.is_fed:
            evaluate([x])


def _as_view(new: Any) -> tuple[TensorOp, list[Any]]:
    return same(new).op, [new]


def _pending(x: Any) -> int:
    """Return how many assignments in a row are not computed yet."""
    found, node = 0, x
    while node.data is None and node.inputs and found <= _MOST_PENDING:
        node = node.inputs[0]
        found += 1
    return found


def _write_place(x: Any, new: Any) -> None:
    """Write a parameter, after every run that was launched."""
    if x.data is None:
        raise refuse_freed("tensor", x)
    evaluate([new])
    settle(x.device)
    with before_writing([x]):
        copy_storage(new.data, 0, x.data, 0, x.nbytes)
    x.is_fast = new.is_fast


# by index


def assign_at(x: Any, key: Any, value: Any) -> None:
    """Do ``x[key] = value``: numbers, lists, arrays and tensors that broadcast to the elements named."""
    mask = as_mask(key, x)
    if mask is not None and is_number(value):
        replace(x, cast(where(mask, _value(x, value), x), x.dtype))
        return
    places = read_key(x, key)
    if not isinstance(value, Node) and _write_here(x, key, value, places):
        return
    replace(x, _put(x, places, _value(x, value)))


def _value(x: Any, value: Any) -> Any:
    """Return what is assigned as a tensor of the dtype: numbers that it lacks are refused, tensors are converted."""
    if is_number(value):
        exact = value if x.dtype.is_complex else widen(read_as(value, x.dtype, "tensor[...] ="), x.dtype).item()
        return constant(exact, x.dtype, x, "tensor[...] =")
    if not isinstance(value, Node):
        memory = read_as(value, x.dtype, "tensor[...] =")
        home = x.home
        storage = home.allocate(memory.nbytes, zeroed=False)
        storage.write(0, memory.reshape(-1).view(np.uint8))
        return type(x)(KNOWN, (), memory.shape, x.dtype, data=storage, device=home)
    return cast(value, x.dtype)


def _fitting(value: Any, shape: tuple[int, ...]) -> Any:
    """Return a value repeated to a shape, leading axes of length 1 left out; ShapeError if it does not fit."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = reshape(value, value.shape[1:])
    new = len(shape) - value.ndim
    if new < 0 or any(n not in (1, m) for n, m in zip(value.shape, shape[new:], strict=True)):
        raise ShapeError("tensor[...] =", "the value does not fit", expected=f"a shape that extends to {shape}",
                         got=value.shape, remedy="Reshape it")  # fmt: skip
    return broadcast_to(value, shape)


def _put(x: Any, places: KeyPlaces, value: Any) -> Any:
    """Return the record of ``x`` with a value at places."""
    value = _fitting(value, places.shape)
    if places.arrays:
        part = places.basic_of(x)
        inner = places.merge_axes(part)
        rows = permute(value, places.into_rows(value.ndim))
        rows = reshape(rows, (places.count, *inner.shape[1:]))
        at = places.positions(x)
        last = fold_by(_numbers(places.count, x), at, 0, inner.shape[0], shared=True, operation="max")
        new = _choose(inner, rows, last)
        value = places.back(new, part)
    else:
        value = reshape(value, places.sizes)
    if places.backwards:
        value = reverse(value, places.backwards)
    if tuple(places.sizes) == x.shape:
        return same(value)
    if not value.size:
        return same(x)
    return make(PUT, [x, value], x.shape, x.dtype, (tuple(places.starts), tuple(places.steps)))


def _numbers(count: int, x: Any) -> Any:
    """Return 1 to ``count``."""
    return apply("add", coordinate((count,), 0, u32, x), 1)


def _choose(inner: Any, rows: Any, last: Any) -> Any:
    """Return each row of ``inner``, or the one of ``rows`` that is put there last, ``last`` being its number from 1."""
    if not rows.shape[0]:
        return inner
    came = apply("gt", last, 0)
    taken = pick(rows, apply("sub", apply("max", last, 1), 1), 0, shared=True)
    came = broadcast_to(reshape(came, (came.size, *(1,) * (inner.ndim - 1))), inner.shape)
    return where(came, taken, inner)


def _write_here(x: Any, key: Any, value: Any, places: KeyPlaces) -> bool:
    """Write numbers of the host into memory of the host, if nobody else sees it; tell whether that was done."""
    with record_lock():
        if x.op.is_written or x.lent is not None or x.is_fed or not x.dtype.numpy.isnative or x.dtype.is_complex:
            return False
        if x.data is None and all(n.op.kind is not NodeKind.SOURCE for n in ancestors([x], unfold=False)):
            evaluate([x])  # made of numbers alone
            if not any(u() is not None for u in x.users or ()):
                set_aside(x)
                become(x, KNOWN, data=x.data)
        alone = x.op is KNOWN and not x.shared and not any(u() is not None for u in x.users or ())
        if not alone or not isinstance(x.data, HostStorage):
            return False
        if not (is_number(value) or is_array(value) or is_list(value)):
            return False
        memory = read_as(value, x.dtype, "tensor[...] =")
        found = places.host_key(key)
        if found is None:
            return False
        view = x.data.bytes[: x.nbytes].view(x.dtype.numpy).reshape(x.shape)
        with touching(writes=(x.data,)):
            try:
                view[found] = memory
            except ValueError:
                raise ShapeError(
                    "tensor[...] =", "the value does not fit", expected=f"a shape that extends to {places.shape}",
                    got=memory.shape, remedy="Reshape it",
                ) from None  # fmt: skip
        return True
