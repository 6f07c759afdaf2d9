"""Reverse-mode derivatives over the record; what they record can be differentiated again.

Layer: tensor. Nodes are visited from the last to the first of the order of ``graph.ancestors``; contributions to one
gradient are added in the order in which they come, from the left. Invariant: that order depends on the record alone, so
that gradients have the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError
from loom.core.given import items
from loom.kernels.precisions import FULL
from loom.tensor.arrays.derivatives import is_zero, vjp_of
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import constant
from loom.tensor.ops.joining import PLACE, concat
from loom.tensor.ops.parts import JOIN, join, part_of
from loom.tensor.ops.precision import precision
from loom.tensor.ops.views import ROUTE, broadcast_to, routed
from loom.tensor.record.graph import Node, NodeKind, TensorOp, ancestors, make, require_tensor, tensors_of
from loom.tensor.record.vjps import derivative

__all__ = ["checkpoint", "grad"]


def grad(loss: Tensor, wrt: Sequence[Tensor], *, seed: Tensor | None = None) -> list[Tensor]:
    """Return the gradient of ``loss``, one number, for each tensor of ``wrt``, in its shape and dtype.

    ``seed``: the gradient of ``loss`` itself, for one of any shape. A tensor that ``loss`` does not depend on has a
    gradient of zeros. Of complex tensors it is that by the real part plus i times that by the imaginary part, as in
    torch; a complex ``loss`` needs a seed. DTypeError for tensors that are no floats; ArgumentError where the way leads
    through an operation without a derivative.

    Args:
        loss: Tensor of one number.
        wrt: Tensors that ``loss`` is made of.
        seed: Gradient of ``loss``, of its shape; None: 1.

    Raises:
        ArgumentError: An operand is no tensor; one tensor, not several.
        DTypeError: The loss is complex; no floats.
        ShapeError: The loss is not one number; it is not like the loss.

    >>> from loom import tensor
    >>> x = tensor.array([1.0, 2.0, 3.0], "f32")
    >>> grad((x * x).sum(), [x])[0].tolist()
    [2.0, 4.0, 6.0]

    Source: A. Griewank and A. Walther, "Evaluating Derivatives" (2008), chapter 3.
    """
    if isinstance(wrt, Node):
        raise ArgumentError("tensor.grad, wrt", "one tensor, not several", expected="a list of tensors",
                            got=f"one of shape {wrt.shape}", remedy="Write [x]")  # fmt: skip
    wrt = items(wrt, "tensor.grad, wrt", "tensors")
    if seed is not None:
        require_tensor(seed, "tensor.grad, seed")
    for x in (loss, *wrt):
        require_tensor(x, "tensor.grad")
        if not _varies(x):
            raise DTypeError("tensor.grad", "no floats", expected="f16, bf16, f32 or f64", got=x.dtype,
                             remedy="Convert with astype")  # fmt: skip
    if seed is None and loss.dtype.is_complex:
        raise DTypeError("tensor.grad", "the loss is complex", expected="a real number, or a seed", got=loss.dtype,
                         remedy="Take abs(loss) or tensor.real(loss), or pass seed")  # fmt: skip
    if seed is None and loss.size != 1:
        raise ShapeError("tensor.grad", "the loss is not one number", expected="one element", got=loss.shape,
                         remedy="Sum it, or pass seed")  # fmt: skip
    if seed is not None and (seed.shape != loss.shape or seed.dtype != loss.dtype):
        raise ShapeError("tensor.grad, seed", "it is not like the loss", expected=f"{loss.dtype} of {loss.shape}",
                         got=f"{seed.dtype} of {seed.shape}", remedy="Match it")  # fmt: skip
    order = ancestors([loss])
    _refuse_gaps(order, wrt)
    _refuse_assigned(order, wrt)
    wanted = {id(x) for x in wrt}
    leading: set[int] = set()  # nodes that depend on one of ``wrt``
    for node in order:
        if id(node) in wanted or any(id(i) in leading for i in node.inputs):
            leading.add(id(node))
    start = seed if seed is not None else broadcast_to(constant(1, loss.dtype, loss), loss.shape)
    parts: dict[int, list[Any]] = {id(loss): [start]}
    found: dict[int, Any] = {}
    with precision(FULL):  # a product's gradients have its own precision, whatever is in force here
        for node in reversed(order):
            if id(node) not in leading or id(node) not in parts:
                continue
            g = _join(parts.pop(id(node)))
            found[id(node)] = g
            if any(id(i) in leading for i in node.inputs):
                _spread(node, g, leading, parts)
    return [found[id(x)] if id(x) in found else broadcast_to(constant(0, x.dtype, x), x.shape) for x in wrt]


def _refuse_gaps(order: Sequence[Node], wrt: Sequence[Node]) -> None:
    """Raise where the loss is made of ``wrt`` by what is not recorded: zeros would be wrong."""
    apart = {id(origin) for node in order for origin in (kept() for kept in node.apart) if origin is not None}
    if apart and any(id(each) in apart for x in wrt for each in ancestors([x])):
        raise ArgumentError(
            "tensor.grad", "the loss is made of a result of loom's patterns, or a conversion, that is not recorded",
            expected="operations of loom.tensor from wrt to the loss",
            got="results of loom's patterns, or of tensor.array with a dtype or a list of tensors",
            remedy="Take the function of loom.tensor (sort, linalg.solve, astype, stack, ..), or tensor.detach of it",
        )  # fmt: skip


def _refuse_assigned(order: Sequence[Node], wrt: Sequence[Node]) -> None:
    """Raise where the loss is made of what a tensor of ``wrt`` was before it was assigned: zeros would be wrong."""
    reached = {id(node) for node in order}
    gone = {id(x) for x in wrt} - reached
    if gone and any(node.later is not None and id(node.later()) in gone for node in order):
        raise ArgumentError(
            "tensor.grad", "a tensor of wrt was assigned after the loss was recorded",
            expected="what the loss was made of", got="a tensor that is another one now",
            remedy="Take the gradient before you assign, or keep y = +x, record the loss of y, and pass that",
        )  # fmt: skip


def _varies(node: Node) -> bool:
    return node.dtype.is_float or node.dtype.is_complex


def _spread(node: Any, g: Any, leading: set[int], parts: dict[int, list[Any]]) -> None:
    if not _varies(node):
        return
    vjp = vjp_of(node.op)
    if vjp is None:
        raise ArgumentError(
            "tensor.grad",
            f"{node.op.name} has no derivative",
            expected="differentiable operations on the way",
            got=f"{node.op.name} of shape {node.shape}",
            remedy="Use tensor.detach to leave it out",
        )
    if node.op is ROUTE and any(x.serial > node.serial for x in tensors_of(node.attributes[0])):
        raise ArgumentError(
            "tensor.grad", "a tensor that a derivative needs was assigned to since", expected="the elements it had",
            got=f"others, on the way through {node.recipe()}", remedy="Assign to a copy of it: x.copy()",
        )  # fmt: skip
    for source, part in zip(node.inputs, vjp(node, g), strict=True):
        if isinstance(part, LoomError):  # a gradient that there is not
            if id(source) in leading:
                raise part
            continue
        if part is not None and id(source) in leading and _varies(source):
            assert part.shape == source.shape, (
                f"the gradient of {node.op.name} has shape {part.shape}, not {source.shape}"
            )
            parts.setdefault(id(source), []).append(part)


def _join(parts: list[Any]) -> Any:
    """Return the sum of the parts, from the left; parts that fill an axis one after the other are put together."""
    whole = _tiling(parts) if len(parts) > 1 else None
    if whole is not None:
        return whole
    if parts[0].dtype.is_complex:
        return _join_complex(parts) if len(parts) > 1 else parts[0]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _join_complex(parts: list[Any]) -> Any:
    """Return the sum of complex parts, real and imaginary ones apart; what is 0 by its making is left out."""
    totals: list[Any] = []
    for k in (0, 1):
        halves = [p.inputs[k] if p.op is JOIN and p.data is None else part_of(p, k) for p in parts]
        total = None
        for half in halves:
            if not is_zero(half):
                total = half if total is None else total + half
        totals.append(halves[0] if total is None else total)
    return join(*totals)


def _tiling(parts: list[Any]) -> Any:
    """Return gradients of neighbouring slices as one tensor, None if they are not that."""
    if any(p.op is not PLACE or any(s != 1 for s in p.attributes[1]) or p.attributes[2].bits for p in parts):
        return None
    first = parts[0]
    differing = {a for p in parts for a, n in enumerate(p.inputs[0].shape) if n != first.shape[a]}
    if len(differing) != 1:
        return None
    axis = differing.pop()
    ordered = sorted(parts, key=lambda p: p.attributes[0][axis])
    at = 0
    for part in ordered:
        if part.attributes[0][axis] != at:
            return None
        at += part.inputs[0].shape[axis]
    return concat([p.inputs[0] for p in ordered], axis) if at == first.shape[axis] else None


# checkpointing

BARRIER = TensorOp("barrier", NodeKind.VIEW, view=lambda _node, access: access, takes_complex=True)
"""Its first input, not to be used before the second is there."""
derivative(BARRIER)(lambda _node, g: [g, None])


def checkpoint(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``fn`` recorded so that backwards what is inside is computed again instead of kept.

    ``fn`` takes tensors and returns one; it may use tensors of outside, which get their gradients too. It saves the
    memory of all that is between its inputs and its result, for one more computation of it. The bits are the same.

    Args:
        fn: Function of tensors that returns a tensor.

    Raises:
        ArgumentError: No tensors.
    """

    def run(*inputs: Tensor) -> Tensor:
        for x in inputs:
            require_tensor(x, "tensor.checkpoint")
        if not inputs:
            raise ArgumentError("tensor.checkpoint", "no tensors", expected="at least 1", got=0, remedy="Pass some")
        before = make(BARRIER, [inputs[0], inputs[0]], inputs[0].shape, inputs[0].dtype).serial
        result = fn(*inputs)
        outside = _outside(result, inputs, before)
        sources = [*inputs, *outside]

        def vjp(node: Any, g: Any) -> list[Any]:
            *used, made = node.inputs
            again = [make(BARRIER, [x, g], x.shape, x.dtype) for x in used]
            renewed = _again(made, dict(zip(map(id, used), again, strict=True)), before)
            wanted = [x for x in again if _varies(x)]
            grads = iter(grad(renewed, wanted, seed=g))
            return [next(grads) if _varies(x) else None for x in again]

        return routed(result, sources, vjp)

    return run


def _outside(result: Any, inputs: Sequence[Any], before: int) -> list[Any]:
    """Return the tensors older than the call that its result is made of, other than its inputs."""
    given = {id(x) for x in inputs}
    found = ancestors([result], lambda n: () if id(n) in given or n.serial < before else n.inputs)
    return [n for n in found if n.serial < before and id(n) not in given and n.op.kind is not NodeKind.NUMBER]


def _again(result: Any, replaced: dict[int, Any], before: int) -> Any:
    """Return ``result`` recorded a second time over other sources."""
    made_again = dict(replaced)
    for node in ancestors([result], lambda n: () if id(n) in replaced or n.serial < before else n.inputs):
        if id(node) in made_again or node.serial < before or node.op.kind is NodeKind.SOURCE:
            continue
        inputs = [made_again.get(id(i), i) for i in node.inputs]
        made_again[id(node)] = type(node)(node.op, inputs, node.shape, node.dtype, node.attributes)
    return made_again.get(id(result), result)
