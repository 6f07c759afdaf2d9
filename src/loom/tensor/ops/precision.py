"""In which precision products of matrices are recorded: that of the call, else that of the ``with`` around it.

Layer: tensor. Invariant: a product keeps the precision that was in force where it was recorded, and its gradients have
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from loom.core.dtype import DType
from loom.core.errors import DTypeError
from loom.kernels.precisions import FULL, check_precision

__all__ = ["in_force", "keeping_precision", "precision", "precision_of"]

_CURRENT: ContextVar[str] = ContextVar("precision", default="")


@contextmanager
def precision(name: str | None) -> Generator[None, None, None]:
    """Have products of matrices of f32, f16 and bf16 inside the ``with`` (or function so decorated) in a precision.

    ``name``: "x12" (f32 alone), "q8", "q12" or "q24"; "full" or None for all their bits, added in order. It applies to
    what is recorded meanwhile: matmul, einsum, convolutions, attention, recurrent layers and their gradients, and
    ``gpu_matmul``. Products of other types are as ever. Each thread has its own. ArgumentError for another name.

    >>> import loom
    >>> with precision("q8"):
    ...     rounded = loom.gpu_matmul([[1.0, 1 / 256]], [[1.0], [1.0]])
    >>> rounded.tolist(), loom.gpu_matmul([[1.0, 1 / 256]], [[1.0], [1.0]]).tolist()
    ([[1.0]], [[1.00390625]])
    """
    token = _CURRENT.set(check_precision(name, None, "loom.precision"))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def in_force() -> str:
    """Return the name of the precision around the caller, "" if there is none."""
    return _CURRENT.get()


def precision_of(asked: Any, operand: DType, where: str) -> str:
    """Return the name of a product's precision, "" for none: what is asked for, else what is in force and applies.

    ArgumentError for an unknown name, DTypeError for operands that what is asked for does not take.
    """
    if asked is not None:
        return "" if asked == FULL else check_precision(asked, operand, where)
    name = _CURRENT.get()
    if name:
        try:
            check_precision(name, operand, where)
        except DTypeError:
            return ""
    return name


class keeping_precision:  # noqa: N801 - stands for the function
    """A derivative that is recorded in the precision which was in force where this was made."""

    __slots__ = ("__closure__", "_function", "_name")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._name = function, _CURRENT.get()
        self.__closure__ = getattr(function, "__closure__", None)

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        with precision(self._name or FULL):
            return self._function(*args)
