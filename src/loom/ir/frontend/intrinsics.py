"""The functions that exist inside kernels; on the host each only explains itself.

Layer: ir. The translator recognises these objects and emits the operation named. Invariant: every
function here has a handler in ``calls`` (tested), and none computes anything on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from loom.core.dtype import DType
from loom.core.errors import StateError

__all__ = [
    "INTRINSICS",
    "atomic_add",
    "atomic_and",
    "atomic_compare_exchange",
    "atomic_exchange",
    "atomic_max",
    "atomic_min",
    "atomic_or",
    "atomic_xor",
    "barrier",
    "bitcast",
    "ceil",
    "clz",
    "floor",
    "global_id",
    "group_id",
    "idiv",
    "irem",
    "local_id",
    "mulhi",
    "num_groups",
    "popcount",
    "private",
    "rint",
    "select",
    "shared",
    "sqrt",
    "static_range",
    "trunc",
    "workgroup_size",
]

INTRINSICS: dict[Callable[..., Any], str] = {}
"""Each function below with its name, for the translator."""

_F = TypeVar("_F", bound=Callable[..., Any])


def _intrinsic(fn: _F) -> _F:
    @wraps(fn)
    def on_host(*_args: Any, **_kwargs: Any) -> Any:
        raise StateError(
            f"loom.{fn.__name__}",
            "called on the host",
            expected="a call inside a kernel",
            remedy="Use it in a function decorated with @loom.kernel, or in one such a kernel calls",
        )

    INTRINSICS[on_host] = fn.__name__
    return on_host  # type: ignore[return-value]


@_intrinsic
def global_id(dimension: int = 0) -> Any:
    """Index of this lane in the whole dispatch along ``dimension`` (0 to 2), a u32."""


@_intrinsic
def local_id(dimension: int = 0) -> Any:
    """Index of this lane in its workgroup along ``dimension``, a u32."""


@_intrinsic
def group_id(dimension: int = 0) -> Any:
    """Index of this lane's workgroup along ``dimension``, a u32."""


@_intrinsic
def num_groups(dimension: int = 0) -> Any:
    """Number of workgroups dispatched along ``dimension``, a u32."""


@_intrinsic
def workgroup_size(dimension: int = 0) -> Any:
    """Lanes of a workgroup along ``dimension``, a compile-time integer."""


@_intrinsic
def static_range(*bounds: int) -> Any:
    """Like ``range`` with compile-time bounds; the loop is unrolled and its counter is a constant."""


@_intrinsic
def barrier() -> None:
    """Wait until every lane of the workgroup is here; writes before it are seen after it."""


@_intrinsic
def shared(dtype: DType, size: int) -> Any:
    """An array of ``size`` elements shared by the workgroup; it starts as zero."""


@_intrinsic
def private(dtype: DType, size: int) -> Any:
    """An array of ``size`` elements private to the lane; it starts as zero."""


@_intrinsic
def select(condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``; both are computed."""


@_intrinsic
def floor(x: Any) -> Any:
    """Largest whole number not above ``x`` (f32, f64)."""


@_intrinsic
def ceil(x: Any) -> Any:
    """Smallest whole number not below ``x`` (f32, f64)."""


@_intrinsic
def rint(x: Any) -> Any:
    """Nearest whole number, halves to even (f32, f64)."""


@_intrinsic
def trunc(x: Any) -> Any:
    """Whole part of ``x``, toward zero (f32, f64)."""


@_intrinsic
def sqrt(x: Any) -> Any:
    """Square root, correctly rounded (f32, f64)."""


@_intrinsic
def popcount(x: Any) -> Any:
    """Number of one bits, in the type of ``x`` (integers)."""


@_intrinsic
def clz(x: Any) -> Any:
    """Number of leading zero bits, the width for 0, in the type of ``x`` (integers)."""


@_intrinsic
def mulhi(a: Any, b: Any) -> Any:
    """High half of the double-width product of two integers of one type."""


@_intrinsic
def idiv(a: Any, b: Any) -> Any:
    """Quotient toward zero (``//`` rounds down as in Python); ``x / 0`` is 0."""


@_intrinsic
def irem(a: Any, b: Any) -> Any:
    """Remainder with the sign of ``a`` (``%`` follows ``b`` as in Python); ``x % 0`` is ``x``."""


@_intrinsic
def bitcast(dtype: DType, x: Any) -> Any:
    """The bits of ``x`` read as ``dtype``, a type of the same width."""


@_intrinsic
def atomic_add(memory: Any, index: Any, value: Any) -> Any:
    """``memory[index] += value`` in one step; gives the old value (32- and 64-bit integers)."""


@_intrinsic
def atomic_and(memory: Any, index: Any, value: Any) -> Any:
    """``memory[index] &= value`` in one step; gives the old value."""


@_intrinsic
def atomic_or(memory: Any, index: Any, value: Any) -> Any:
    """``memory[index] |= value`` in one step; gives the old value."""


@_intrinsic
def atomic_xor(memory: Any, index: Any, value: Any) -> Any:
    """``memory[index] ^= value`` in one step; gives the old value."""


@_intrinsic
def atomic_min(memory: Any, index: Any, value: Any) -> Any:
    """``memory[index] = min(memory[index], value)`` in one step; gives the old value."""


@_intrinsic
def atomic_max(memory: Any, index: Any, value: Any) -> Any:
    """``memory[index] = max(memory[index], value)`` in one step; gives the old value."""


@_intrinsic
def atomic_exchange(memory: Any, index: Any, value: Any) -> Any:
    """``memory[index] = value`` in one step; gives the old value."""


@_intrinsic
def atomic_compare_exchange(memory: Any, index: Any, expected: Any, value: Any) -> Any:
    """Store ``value`` if the element equals ``expected``, in one step; gives the old value."""
