"""Maps over tensors: recorded as the tensor's own operations, functions of users too, and fused by the tensor layer.

Layer: patterns, over tensors. A function is recorded as it is now: with the values that it names from outside, so that
it may be translated when its elements are needed. One that prints, or can fail, or whose outside cannot be kept, is a
kernel of its own, translated at once. Invariant: bits, and what is refused, are those of the same map over numpy.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import BuiltinFunctionType, CellType, FunctionType, ModuleType
from typing import Any, cast

from loom.core.dtype import DType
from loom.core.given import is_scalar
from loom.ir.frontend.elementary import Elementary
from loom.ir.frontend.intrinsics import INTRINSICS
from loom.patterns.maps.fusion import Scalar, kernel_of, meaning_of, numbers_of
from loom.runtime.registry import device
from loom.schedules.maps import map_groups
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import CONVERT, MAPS, constant
from loom.tensor.ops.views import broadcast_to
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, TensorOp, make, same

__all__ = ["compute_shared", "record_map"]

_MOST_KEPT = 256
_MODULES = ("loom", "math", "numpy")
"""Whose attributes stay as they are."""
_functions: dict[Hashable, TensorOp] = {}
"""Operations that are functions of users, by what they mean."""


def record_map(where: str, operation: Any, operands: Sequence[Tensor | Scalar]) -> Tensor:
    """Return the tensor that ``operation`` makes of ``operands``, to be computed when it is needed.

    Whatever is wrong with operation, dtypes or scalars is raised now.
    """
    lead = next(o for o in operands if isinstance(o, Tensor))
    kernel, result = kernel_of(operation, [(o.dtype, isinstance(o, Tensor)) for o in operands],
                               lead.device or device(None))  # fmt: skip
    scalars = [o for o in operands if isinstance(o, Scalar)]
    words = numbers_of(kernel, lead.size, scalars, where) if scalars else ()
    if isinstance(operation, DType):
        return same(lead) if lead.dtype == result else make(CONVERT, [lead], lead.shape, result)
    for operand in operands:
        compute_shared(operand)
    op = MAPS[operation] if isinstance(operation, str) else _function_op(operation, kernel)
    if op is None:
        tensors = [o for o in operands if isinstance(o, Tensor)]
        return make(MAP_ALONE, tensors, lead.shape, result, (kernel, tuple(words), tuple(s.value for s in scalars)))
    return make(op, [_tensor(o, lead) for o in operands], lead.shape, result)


def compute_shared(operand: Any) -> None:
    """Compute an operand that another map reads already: fused into both, it would be computed twice."""
    if isinstance(operand, Tensor) and operand.data is None and operand.users and not operand.is_fed:
        is_map = operand.op.kind is NodeKind.MAP and any(u() is not None for u in operand.users)
        if is_map:
            operand.evaluate()


def _tensor(operand: Tensor | Scalar, lead: Tensor) -> Tensor:
    if isinstance(operand, Tensor):
        return operand
    number = constant(operand.value, operand.dtype, lead)
    return number if lead.shape == () else broadcast_to(number, lead.shape)


def _record_alone(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    if node.size:
        kernel, _, scalars = node.attributes
        buffers = [*(o.buffer for o in operands), out]
        draft.dispatch(kernel, buffers, [node.size, *scalars], map_groups(kernel, node.size))


MAP_ALONE = TensorOp("map", NodeKind.KERNEL, record=_record_alone, runs_users=True)
"""A function in a kernel of its own; the order of its operands is that of the kernel's buffers, then its numbers."""


# functions of users


class _UnkeptError(Exception):
    """A value that may change without notice."""


def _function_op(function: FunctionType, kernel: Any) -> TensorOp | None:
    """Return the operation that a function is, None if it takes a kernel of its own."""
    meaning = None if kernel.talks else meaning_of(function)
    if meaning is None:
        return None
    found = _functions.get(meaning)
    if found is None:
        try:
            kept = _keep(function)
        except _UnkeptError:
            return None
        if len(_functions) >= _MOST_KEPT:
            _functions.clear()
        found = _functions[meaning] = TensorOp(function.__name__, NodeKind.MAP, operation=kept, runs_users=True)  # type: ignore[arg-type]
    return found


def _keep(function: FunctionType) -> FunctionType:
    """Return a function with what it names from outside as it is now."""
    names = {name: function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__}
    if not function.__closure__ and all(_is_fixed(value) for value in names.values()):
        return function
    known = {**function.__globals__, **{name: _freeze(value) for name, value in names.items()}}
    cells = tuple(CellType(_freeze(cell.cell_contents)) for cell in function.__closure__ or ())
    made = FunctionType(function.__code__, known, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__, made.__annotations__ = function.__kwdefaults__, function.__annotations__
    return made


def _is_fixed(value: Any) -> bool:
    """Tell whether a value of a module's names is Loom's own, or its name is taken for what it is in any module."""
    if isinstance(value, FunctionType):
        return value in INTRINSICS
    is_module = isinstance(value, ModuleType) and value.__name__ in _MODULES
    return is_module or isinstance(value, (DType, Elementary, BuiltinFunctionType))


def _freeze(value: Any) -> Any:
    if isinstance(value, ModuleType) and value.__name__ in _MODULES:
        return value
    if isinstance(value, FunctionType):
        return value if value in INTRINSICS else _keep(value)
    if value is None or isinstance(value, (bool, int, float, str, DType, Elementary, BuiltinFunctionType)):
        return value
    if is_scalar(value):
        return value
    if type(value) is tuple:
        return tuple(_freeze(each) for each in cast("tuple[Any, ...]", value))
    raise _UnkeptError
