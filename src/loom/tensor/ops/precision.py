"""In which precision products of matrices are recorded: that of the call, else that of the ``with`` around it.

Layer: tensor. Invariant: a product keeps the precision that was in force where it was recorded, and its gradients have
the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from loom.core.dtype import DType
from loom.core.errors import DTypeError, StateError
from loom.core.late import late

if TYPE_CHECKING:
    from loom.kernels import precisions
else:
    precisions = late("loom.kernels", "precisions")

__all__ = ["IN_FULL", "NOT_IN_FORCE", "in_force", "keeping_precision", "precision", "precision_of"]

_CURRENT: ContextVar[tuple[_PrecisionBlock, ...]] = ContextVar("precision", default=())
"""The blocks around, the innermost last."""


def precision(name: str | None) -> _PrecisionInForce:
    """Have products of matrices of f32, f16 and bf16 inside the ``with`` (or function so decorated) in a precision.

    It applies to what is recorded meanwhile: matmul, einsum, tensordot, convolutions, attention, recurrent layers and
    their gradients, and ``gpu_matmul``. Products of other types are as ever, so are ``vecdot`` and ``cdist``, which
    multiply element by element, decompositions and what is made of them (``pinv``, ``lstsq``, ``expm``), measures, and
    networks, whose precision is that of their document or training. Each thread and task has its own; a generator that
    yields inside leaves it in force for who called it.

    Args:
        name: "x12" (f32 alone), "q8", "q12" or "q24"; "full" or None: all bits, added in order.

    Returns:
        Context manager, which decorates functions as well.

    Raises:
        ArgumentError: There is no such precision.
        StateError: The block ends in another thread or task than it began in.

    >>> import loom
    >>> a = loom.array([[1.0, 1 / 256]])
    >>> with precision("q8"):
    ...     rounded = loom.gpu_matmul(a, a, transpose_b=True)
    >>> rounded.tolist(), loom.gpu_matmul(a, a, transpose_b=True).tolist()
    ([[1.0]], [[1.0000152587890625]])
    """
    return _PrecisionInForce(precisions.check_precision(name, None, "loom.precision"))


class _PrecisionBlock:
    """A ``with`` that has begun and not ended."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _PrecisionInForce(ContextDecorator):
    """What ``precision`` returns; it may be entered again, also inside itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun: list[_PrecisionBlock] = []

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Return a function that runs inside; in full is what runs where nothing is in force."""
        inside = super().__call__(function)

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            return (inside if _CURRENT.get() else function)(*args, **named)

        return inside if self._name else call

    def __enter__(self) -> None:
        block = _PrecisionBlock(self._name)
        self._begun.append(block)
        _CURRENT.set((*_CURRENT.get(), block))

    def __exit__(self, *error: object) -> None:
        around = _CURRENT.get()
        mine = next((block for block in reversed(self._begun) if block in around), None)
        if mine is None:
            raise StateError("loom.precision", "the block ends in another thread or task than it began in",
                             expected="the one it began in", got="another",
                             remedy="Do not carry a generator that yields inside it to another thread")  # fmt: skip
        self._begun.remove(mine)
        _CURRENT.set(tuple(block for block in around if block is not mine))


IN_FULL = _PrecisionInForce("")  # precision("full"), whose table is not read for it
"""Decorates functions whose products are in full whatever is in force."""


NOT_IN_FORCE: tuple[ContextVar[Any], object] = _CURRENT, ()
"""Where the precision in force is told, and what is there while there is none."""


def in_force() -> str:
    """Return the name of the precision around the caller, "" if there is none."""
    around = _CURRENT.get()
    return around[-1].name if around else ""


def precision_of(asked: Any, operand: DType, where: str) -> str:
    """Return the name of a product's precision, "" for none: what is asked for, else what is in force and applies.

    ArgumentError for an unknown name, DTypeError for operands that what is asked for does not take.
    """
    if asked is not None:
        return precisions.check_precision(asked, operand, where)
    name = in_force()
    if name:
        try:
            precisions.check_precision(name, operand, where)
        except DTypeError:
            return ""
    return name


class keeping_precision:  # noqa: N801 - stands for the function
    """A derivative that is recorded in the precision which was in force where this was made."""

    __slots__ = ("__closure__", "_function", "_name")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._name = function, in_force()
        self.__closure__ = getattr(function, "__closure__", None)

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        with precision(self._name or precisions.FULL):
            return self._function(*args)
