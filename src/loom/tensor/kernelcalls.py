"""Calls of a user's kernel, recorded: ``y = k(x, w)`` over tensors, differentiated by ``@loom.kernel(vjp=other)``.

Layer: tensor. Each output is a node; those of one call share its dispatch. What a kernel leaves alone of an output is
zero. A gradient calls the other kernel, whose parameters say by name what they are: those of the kernel, ``grad_y``
the gradient of its output y (In), ``grad_x`` the gradient of its input x (Out, or InOut that begins as zero).
Invariant: what is recorded depends on kernels, shapes and numbers alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Access, Memory
from loom.runtime.calls.interface import MISSING, Interface, interface_of
from loom.runtime.chain.extents import groups_of_call, lanes_to_limit
from loom.runtime.registry import device
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.elementwise import apply, as_number, cast, constant
from loom.tensor.ops.joining import copy_into, fill
from loom.tensor.ops.views import broadcast_to
from loom.tensor.record.draft import BufferView, Draft, DraftBuffer
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make
from loom.tensor.record.layout import row_major
from loom.tensor.record.vjps import derivative

__all__ = ["record_call"]


@dataclass(frozen=True, slots=True)
class _Part:
    """A buffer of a call: its elements' type and its shape, with the components of short vectors as a last axis."""

    name: str
    dtype: DType
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.dtype.nbytes


@dataclass(frozen=True, slots=True)
class KernelCall:
    """All that a call depends on but its inputs' elements. ``parts`` are the buffers in order, ``made`` the outputs.

    ``is_limited``: its kernel is the one that runs no more lanes than it is told.
    """

    function: KernelFunction
    words: tuple[int, ...]
    groups: tuple[int, ...] | int
    parts: tuple[_Part, ...]
    made: tuple[int, ...]
    is_limited: bool = False


def _record(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    call, own = node.attributes
    key = (call, tuple(id(o.buffer) for o in operands))
    found: list[Any] | None = draft.calls.get(key)
    if found is not None:  # what another output of the same call has recorded
        part = call.parts[own]
        if part.nbytes:
            flat = (math.prod(part.shape),)
            copy_into(draft, BufferView(found[own], row_major(flat)), out, flat, (0,), (1,), part.dtype)
        return
    given = iter(operands)
    buffers = [
        (out if n == own else DraftBuffer(part.nbytes)) if n in call.made else next(given).buffer
        for n, part in enumerate(call.parts)
    ]
    draft.calls[key] = buffers
    for n in call.made:
        part = call.parts[n]
        if part.nbytes:
            zero = as_number(False if part.dtype.is_bool else 0, part.dtype, "kernel")
            fill(draft, buffers[n], math.prod(part.shape), zero)
    interface = interface_of(call.function)
    kernel = interface.with_limit().kernel if call.is_limited else interface.kernel
    params = [np.array([w], np.uint64).view(p.dtype.numpy)[0] for w, p in zip(call.words, kernel.given, strict=False)]
    shapes = [(part.shape, part.nbytes) for part in call.parts]
    draft.dispatch(kernel, buffers, params, call.groups, shapes)


CALL = TensorOp("kernel", NodeKind.KERNEL, record=_record, runs_users=True)


class _Shaped:
    """Stands for an output that is not made yet."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def record_call(
    function: KernelFunction, interface: Interface, values: Sequence[Any], shapes: dict[str, tuple[int, ...]],
    settings: dict[str, Any],
) -> Any:  # fmt: skip
    """Return the outputs of a call over tensors, none of which was given: one, or a tuple; see the module."""
    given = {m.name: values[place] for place, m in interface.buffers if values[place] is not MISSING}
    kept = next((m.name for _, m in interface.buffers if m.name in given and m.access.writes), None)
    if kept is not None:
        raise ArgumentError(
            interface.where, f"{kept!r} is written and others are left out, of a call over tensors",
            expected="all outputs left out, or all given", got=f"{kept} given",
            remedy="Give every buffer to write in place, or declare what is left out and this as Out",
        )  # fmt: skip
    numbers = {p.name: values[place] for place, p in interface.params}
    outputs = _outputs(function, interface, {**given, **numbers}, shapes, settings)
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _outputs(
    function: KernelFunction, interface: Interface, given: dict[str, Any], shapes: dict[str, tuple[int, ...]],
    settings: dict[str, Any],
) -> list[Any]:  # fmt: skip
    """Return the tensors of the buffers in ``shapes``, made of those given and of numbers."""
    tensors = [x for x in given.values() if isinstance(x, Tensor)]
    asked = device(settings["on"]) if settings.get("on") is not None else None
    home = next((x.device for x in tensors if x.device is not None), None) or asked
    inputs: list[Tensor] = []
    parts: list[_Part] = []
    made: list[int] = []
    for n, (_, memory) in enumerate(interface.buffers):
        if memory.name in shapes:
            if memory.record:
                raise ArgumentError(interface.where, f"{memory.name!r} holds records", expected="elements of tensors",
                                    got=memory.record, remedy="Give arrays to write in place")  # fmt: skip
            lanes = (memory.dtype.lanes,) if memory.dtype.is_vector else ()
            parts.append(_Part(memory.name, memory.dtype.scalar, (*shapes[memory.name], *lanes)))
            made.append(n)
            continue
        x = given[memory.name]
        x = x if isinstance(x, Tensor) else array(x, on=home)
        if x.dtype != memory.dtype.scalar:
            raise DTypeError(f"{interface.where}, buffer {memory.name!r}", "the tensor has another type",
                             expected=memory.dtype.scalar, got=x.dtype, remedy="Convert it with astype")  # fmt: skip
        inputs.append(x)
        parts.append(_Part(memory.name, x.dtype, x.shape))
    if asked is not None and any(x.device not in (None, asked) for x in inputs):
        raise ArgumentError(interface.where, "the tensors are on another device", expected=asked.name,
                            got=home.name if home else "none", remedy="Leave on= out, or copy them")  # fmt: skip
    placed = [given.get(name, MISSING) for name in interface.names]
    for part, (place, _) in zip(parts, interface.buffers, strict=True):
        placed[place] = _Shaped(part.shape)
    words = interface.words(placed)
    groups = _groups(interface, parts, words, settings)
    elements = _elements(interface, parts)
    limit = lanes_to_limit(interface.kernel, settings.get("lanes"), elements, words, interface.where)
    if limit is not None:
        words = interface.limit(words, limit)
    call = KernelCall(function, tuple(words), groups, tuple(parts), tuple(made), limit is not None)
    return [_as_floats(interface.buffers[n][1], _node(call, inputs, n)) for n in made]


def _node(call: KernelCall, inputs: Sequence[Tensor], n: int) -> Tensor:
    part = call.parts[n]
    node = make(CALL, inputs, part.shape, part.dtype, (call, n))
    node.is_fast = node.is_fast or interface_of(call.function).kernel.is_loose
    return node


def _as_floats(memory: Memory, x: Tensor) -> Tensor:
    """Return an output as floats, if it has cells of a fixed point."""
    if memory.fixed is None:
        return x
    kind = memory.fixed
    return apply("mul", cast(x, kind.dtype), kind.scale)


def _groups(interface: Interface, parts: Sequence[_Part], words: list[int], settings: dict[str, Any]) -> Any:
    found = groups_of_call(interface.kernel, settings.get("groups"), settings.get("lanes"), interface.where)
    if found is not None:
        return found
    return tuple(interface.groups(_elements(interface, parts), words))


def _elements(interface: Interface, parts: Sequence[_Part]) -> list[int]:
    return [part.nbytes // m.dtype.nbytes for part, (_, m) in zip(parts, interface.buffers, strict=True)]


# gradients

_PREFIX = "grad_"


@derivative(CALL)
def _vjp(node: Any, g: Any) -> list[Any]:
    call, own = node.attributes
    forward, back = interface_of(call.function), call.function.vjp
    if back is None:
        raise ArgumentError(
            "tensor.grad", f"{forward.where} has no derivative", expected="@loom.kernel(vjp=other)", got="none",
            remedy="Give it a kernel for its gradients, or use tensor.detach to leave it out",
        )  # fmt: skip
    interface = interface_of(back)
    names = [m.name for _, m in forward.buffers]
    inputs = dict(zip((n for k, n in enumerate(names) if k not in call.made), node.inputs, strict=True))
    known: dict[str, Any] = dict(inputs)
    for n in call.made:
        part = call.parts[n]
        known[part.name] = node if n == own else _node(call, node.inputs, n)
        zero = broadcast_to(constant(False if part.dtype.is_bool else 0, part.dtype, node), part.shape)
        known[_PREFIX + part.name] = g if n == own else zero
    words = np.array(call.words, np.uint64)
    for n, (_, param) in enumerate(forward.params):
        known[param.name] = words[n : n + 1].view(param.dtype.numpy)[0]
    shapes: dict[str, tuple[int, ...]] = {}
    given: dict[str, Any] = {}
    for name in interface.names:
        memory = next((m for _, m in interface.buffers if m.name == name), None)
        source = inputs.get(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
        if memory is not None and memory.access is not Access.READ and source is not None:
            lanes = 1 if memory.dtype.is_vector else 0
            shapes[name] = source.shape[: len(source.shape) - lanes]
        elif name in known:
            given[name] = known[name]
        else:
            raise ArgumentError(
                interface.where, f"parameter {name!r} is nothing of {forward.where}, of which it is the vjp",
                expected=", ".join([*known, *(f"{_PREFIX}{n} (Out)" for n in inputs)]), got=name,
                remedy="Name the kernel's parameters, grad_y for an output y, grad_x for an input x",
            )  # fmt: skip
    order = [name for (_, m) in interface.buffers if (name := m.name) in shapes]
    found = dict(zip(order, _outputs(back, interface, given, shapes, {}), strict=True))
    return [
        found.get(_PREFIX + name, _lacking(interface, name, x, order)) if x.dtype.is_float else None
        for name, x in inputs.items()
    ]


def _lacking(interface: Interface, name: str, x: Any, given: list[str]) -> ArgumentError:
    """Return what is raised if the gradient of an input is needed that a kernel does not give."""
    return ArgumentError(
        interface.where, f"it gives no gradient for {name!r}", expected=f"{_PREFIX}{name}: Out[{x.dtype}]",
        got=", ".join(given) or "none", remedy=f"Add it, or pass tensor.detach({name})",
    )  # fmt: skip
