"""Which instance of a kernel over types a dispatch means: the one of the arrays it is given.

Layer: runtime. Invariant: a type is told by what is bound, or chosen by hand; it is never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from loom.core.dtype import DType, dtype_of, of_numpy
from loom.core.errors import DTypeError
from loom.ir.frontend.base.annotations import BufferType
from loom.ir.frontend.decorator import KernelFunction

__all__ = ["instance_of"]


def instance_of(kernel: Any, buffers: Any, where: str) -> Any:
    """Return the instance that fits ``buffers``, in order or by name; what is no kernel over types as it is.

    DTypeError if two arrays disagree, or if a type is that of no array.
    """
    if not isinstance(kernel, KernelFunction) or not kernel.variables:
        return kernel
    names = [name for name, each in kernel.annotations.items() if isinstance(each, BufferType)]
    if isinstance(buffers, Mapping):
        given = {str(name): value for name, value in cast("Mapping[Any, Any]", buffers).items()}
    else:
        listed = cast("Sequence[Any]", buffers) if isinstance(buffers, (list, tuple)) else ()
        given = dict(zip(names, listed))  # noqa: B905 - a wrong number is told where the buffers are bound
    found = {name: dtype for name, value in given.items() if (dtype := _dtype(value, where)) is not None}
    return kernel.fitting(found, where)


def _dtype(given: Any, where: str) -> DType | None:
    """Return the type of what is bound, None if it does not tell."""
    dtype = getattr(given, "dtype", None)
    if dtype is None or isinstance(dtype, DType):
        return dtype
    try:
        return of_numpy(dtype, where)
    except DTypeError:
        name = str(dtype).rpartition(".")[2]  # torch.bfloat16
        try:
            return dtype_of(name, where)
        except DTypeError:
            return None
