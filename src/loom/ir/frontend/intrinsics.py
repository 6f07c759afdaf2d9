"""The functions that exist inside kernels; on the host each only explains itself.

Layer: ir. The translator recognises these objects and emits the operation named. Functions that are one operation
are made from its row in ``ops``, those with rules of their own are written out. Invariant: every function here has a
handler in ``calls`` (tested), and none computes anything on the host.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, TypeVar, cast

from loom.core.dtype import DType
from loom.core.errors import StateError
from loom.ir.ops import OPS, Effect, Op

__all__ = [
    "INTRINSICS",
    "barrier",
    "bitcast",
    "fetch",
    "fetched",
    "global_id",
    "group_id",
    "local_id",
    "near_barrier",
    "num_groups",
    "private",
    "release",
    "select",
    "shared",
    "static_range",
    "tile_product",
    "wide_product",
    "workgroup_size",
]

INTRINSICS: dict[Callable[..., Any], str] = {}
"""Each function below with its name, for the translator."""

_F = TypeVar("_F", bound=Callable[..., Any])


def _intrinsic(fn: _F, name: str = "", doc: str = "") -> _F:
    @wraps(fn)
    def on_host(*_args: Any, **_kwargs: Any) -> Any:
        raise StateError(
            f"loom.{on_host.__name__}",
            "called on the host",
            expected="a call inside a kernel",
            remedy="Use it in a function decorated with @loom.kernel, or in one such a kernel calls",
        )

    if name:
        on_host.__name__ = on_host.__qualname__ = name
        on_host.__doc__ = doc
    INTRINSICS[on_host] = on_host.__name__
    return cast("_F", on_host)


@_intrinsic
def global_id(dimension: int = 0) -> Any:
    """Return the index of this lane in the whole dispatch: ``i - 1`` goes below zero.

    Args:
        dimension: Axis of the dispatch, 0 to 2.
    """


@_intrinsic
def local_id(dimension: int = 0) -> Any:
    """Return the index of this lane in its workgroup.

    Args:
        dimension: Axis of the dispatch, 0 to 2.
    """


@_intrinsic
def group_id(dimension: int = 0) -> Any:
    """Return the index of this lane's workgroup.

    Args:
        dimension: Axis of the dispatch, 0 to 2.
    """


@_intrinsic
def num_groups(dimension: int = 0) -> Any:
    """Return the number of workgroups dispatched, an index.

    Args:
        dimension: Axis of the dispatch, 0 to 2.
    """


@_intrinsic
def workgroup_size(dimension: int = 0) -> Any:
    """Return the lanes of a workgroup, a compile-time integer.

    Args:
        dimension: Axis of the dispatch, 0 to 2.
    """


@_intrinsic
def static_range(*bounds: int) -> Any:
    """Return what ``range`` does, of compile-time bounds; the loop is unrolled and its counter is a constant.

    Args:
        *bounds: Stop; start and stop; or start, stop and step, known when the kernel is compiled.
    """


@_intrinsic
def barrier() -> None:
    """Wait until every lane of the workgroup is here; writes before it are seen after it."""


@_intrinsic
def near_barrier() -> None:
    """Wait until 32 lanes are here, the 32 k-th and those behind it; what they wrote before they see after it.

    All lanes of the workgroup ask for it: where groups are not made of 32 lanes at a time it is a ``barrier``.
    """


@_intrinsic
def shared(dtype: DType, size: int) -> Any:
    """Return an array that the workgroup shares; it starts as zero.

    Args:
        dtype: Dtype, ``loom.fixed``, or a class of records.
        size: Number of elements, or one for each axis, known when the kernel is compiled.
    """


@_intrinsic
def private(dtype: DType, size: int) -> Any:
    """Return an array private to the lane; it starts as zero.

    Args:
        dtype: Dtype, ``loom.fixed``, or a class of records.
        size: Number of elements, or one for each axis, known when the kernel is compiled.
    """


@_intrinsic
def select(condition: Any, a: Any, b: Any) -> Any:
    """Return ``a`` where the condition holds, else ``b``; both are computed.

    Args:
        condition: Bool of this lane.
        a: Value.
        b: Value of the same type.
    """


@_intrinsic
def bitcast(dtype: DType, x: Any) -> Any:
    """Return the bits of ``x`` read as another type of the same width.

    Args:
        dtype: Dtype.
        x: Value of as many bits.
    """


@_intrinsic
def tile_product(memory: Any, a_at: Any, b_at: Any, sums: Any, words: int, pitch: int) -> Any:
    """``sums`` (i32x4) and this lane's share of 16 rows of bytes by 8 rows of bytes, asked for by 32 lanes together.

    Rows of ``words`` words, four bytes in each, ``pitch`` words apart, lie in a shared array from ``a_at`` and ``b_at``
    on. Lane l of 32 has elements (l // 4, 2 (l % 4)), its right neighbour, and those 8 rows below.
    """


@_intrinsic
def wide_product(sums: Any, memory: Any, a_at: Any, b_at: Any, rows: int, keeps: bool) -> None:
    """This lane's share of 64 rows of 128 bytes by ``rows`` rows of 128 bytes, asked for by 128 lanes together.

    Eight rows are 256 words from ``a_at`` and ``b_at`` of a shared array of i32 on, and the next eight follow them:
    word w of row r, four bytes, is at ``w // 4 * 32 + r * 4 + w % 4``. Lane l of 128 has rows
    ``l // 32 * 16 + l % 32 // 4`` and the one 8 below, and columns ``8 j + l % 4 * 2`` and the one right of it:
    ``sums[4 j + 2 lower + right]``, a private array of ``rows // 2`` i32, is set to the product, or has it added where
    ``keeps``. Sums wrap. ``rows``: 16 to 256, a multiple of 16.
    """


@_intrinsic
def fetch(ticket: Any, memory: Any, at: Any, buffer: Any, first: Any, words: int, tickets: int, pieces: int) -> None:
    """Copy ``words`` words from ``first`` of a buffer on to ``at`` on in shared memory, by the group, under a ticket.

    The words may be read after ``fetched`` of the ticket, until ``release`` of it; nothing else writes the array.
    Tickets count up from 0; of a ticket ``pieces`` are fetched, and that number less ``tickets`` was released before.
    Places and sizes are multiples of 4 words, and all lanes of the group say the same.
    """


@_intrinsic
def fetched(ticket: Any, tickets: int, pieces: int) -> None:
    """Wait until all that was fetched under a ticket is there."""


@_intrinsic
def release(ticket: Any, tickets: int, pieces: int) -> None:
    """Tell that this lane reads no more of what was fetched under a ticket; all lanes of the group do."""


# functions that are one operation


def _of_one(x: Any) -> Any:
    """Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """


def _of_two(a: Any, b: Any) -> Any:
    """Args:
        a: Number, or a vector of numbers.
        b: One of the same type.

    Returns:
        Number of the operands' type.
    """


def _of_three(a: Any, b: Any, c: Any) -> Any:
    """Args:
        a: Number, or a vector of numbers.
        b: One of the same type.
        c: One of the same type.

    Returns:
        Number of the operands' type.
    """


def _atomic(memory: Any, index: Any, value: Any) -> Any:
    """Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """


def _atomic_compare(memory: Any, index: Any, expected: Any, value: Any) -> Any:
    """Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        expected: Number of its type that it is compared with.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """


def _one_operation(op: Op) -> Callable[..., Any]:
    """Return the function of kernels that is the operation ``op``."""
    if op.effect is Effect.ATOMIC:
        like, text = (
            _atomic if op.arity == 2 else _atomic_compare,
            f"In one step: {op.doc} (integers of 32 or 64 bits).",
        )
    else:
        like = {1: _of_one, 2: _of_two, 3: _of_three}[op.arity]
        text = f"In each lane: {op.doc} ({op.accepts.value})."
    return _intrinsic(like, op.name, f"{text}\n\n{cleandoc(like.__doc__ or '')}")


globals().update({op.name: _one_operation(op) for op in OPS.values() if op.named})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
