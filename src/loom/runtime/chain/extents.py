"""How many workgroups a dispatch has that was given no number: as many as its lanes can do something in.

Layer: runtime. A kernel's guards tell how far it reaches (``ir.passes.reach``): beyond that, lanes do nothing. Where
they do not tell, one that indexes axes by its lane's numbers gets their lengths; one of one dimension that stores a
lane for each element of the longest buffer; one that asks for no index of its dispatch one group; anything else cannot
be told from outside. Invariant: a number that is a guess is never used; it is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import is_array, is_list
from loom.core.late import late
from loom.core.numbers import whole
from loom.ir.kernel import Instr, Memory
from loom.ir.ops import Effect
from loom.ir.records import record_of
from loom.ir.verified import VerifiedKernel
from loom.runtime.plans.foreign import ForeignKernel

if TYPE_CHECKING:
    from loom.ir.passes import reach as reaching
    from loom.ir.passes.reach import Reach
else:
    reaching = late("loom.ir.passes", "reach")

__all__ = [
    "Array",
    "groups_for",
    "groups_of",
    "groups_of_call",
    "lanes_along",
    "lanes_to_limit",
    "runs_whole",
    "sizes_for",
]

Array = np.ndarray[Any, Any]

_Measure = Callable[[VerifiedKernel, Sequence[int]], Any]
_FEW = 16
"""Turns of a repeat that are looked at where the number of groups is a matter of speed."""
_known: WeakKeyDictionary[VerifiedKernel, Reach | str] = WeakKeyDictionary()
"""How far kernels reach, or why nothing can be told."""


def groups_for(kernel: VerifiedKernel, elements: Sequence[int], params: Array, where: str) -> Any:
    """Return how many groups do all there is to do over the buffers that are bound, of so many ``elements``.

    ``params`` has a row of 8-byte slots for each repeat, as ``encode_params`` gives them; the result is three numbers,
    or a row of them for each repeat. ArgumentError if they cannot be told.
    """
    return _measure(kernel, elements, params, where, groups_of)


def sizes_for(
    kernel: VerifiedKernel, elements: Sequence[int], words: Sequence[int], where: str
) -> tuple[tuple[int, int, int], tuple[int, int, int] | None]:
    """Return the groups of ``groups_for``, for one turn, and the lanes beyond which they only index outside.

    None where others do something, or where that cannot be told.
    """
    params = np.array([words], np.uint64)
    groups = groups_for(kernel, elements, params, where)
    reach = _reach(kernel)
    if isinstance(reach, str):
        return groups, None
    if not reach.loose:
        try:
            lanes = reach.lanes(_values(kernel, params[0]), _lengths(kernel, elements), written=True)
        except reaching.WrapsAround:
            return groups, None
    elif _by_axes(reach) and not reach.is_whole:
        lanes = _measure(kernel, elements, params, where, lambda _kernel, lanes: tuple(lanes))
    else:
        return groups, None
    x, y, z = (n if a else g * e for n, a, g, e in zip(lanes, reach.asked, groups, kernel.workgroup, strict=True))
    return groups, (x, y, z)


def _measure(kernel: VerifiedKernel, elements: Sequence[int], params: Array, where: str, measure: _Measure) -> Any:
    try:
        return _groups_for(kernel, elements, params, where, measure)
    except reaching.WrapsAround as error:
        raise ArgumentError(
            where, f"the guard's limit {error.text} wraps around, and keeps no lane out", got=error.given,
            expected="a limit of at least 0",
            remedy="Write i + 1 < n for i < n - 1, or give groups=, or lanes= to a call",
        ) from None  # fmt: skip


def _groups_for(kernel: VerifiedKernel, elements: Sequence[int], params: Array, where: str, measure: _Measure) -> Any:
    reach = _reach(kernel)
    if isinstance(reach, str):
        raise _untold(reach, where)
    if reach.loose:
        return _of_the_longest(kernel, reach, elements, params, where, measure)
    if not len(params):  # a repeat of no turns
        return 1, 1, 1
    lengths = _lengths(kernel, elements)
    used = [n for n, param in enumerate(kernel.params) if param in reach.params]
    if not used or len(params) == 1:
        return measure(kernel, _whole_lanes(kernel, reach, params[0], lengths, where))
    rows, places = np.unique(params[:, used], axis=0, return_inverse=True)
    found: list[tuple[int, int, int]] = []
    for row in rows:
        whole_row = params[0].copy()
        whole_row[used] = row
        found.append(measure(kernel, _whole_lanes(kernel, reach, whole_row, lengths, where)))
    return np.array(found, np.int64)[places.reshape(-1)]


def _whole_lanes(
    kernel: VerifiedKernel, reach: Reach, row: Array, lengths: dict[Memory, int], where: str
) -> tuple[int, int, int]:
    """Return the lanes that get past guards; ArgumentError if some of a group do not, whose share would be lost."""
    values = _values(kernel, row)
    lanes = reach.lanes(values, lengths)
    if any(lanes[d] % kernel.workgroup[d] for d in reach.partitions(lanes, values, lengths)):
        raise _untold("its lanes share work out by num_groups, and guards leave some of a group out", where)
    return lanes


def _lengths(kernel: VerifiedKernel, elements: Sequence[int]) -> dict[Memory, int]:
    """Return the elements of every buffer, and of every table."""
    given = iter(elements)
    buffers = kernel.kernel.buffers
    return {m: next(given) if m.data is None else len(m.data) // m.dtype.nbytes for m in buffers}


def _values(kernel: VerifiedKernel, row: Array) -> dict[Any, Any]:
    """Return parameters from their slots."""
    return {p: row[n : n + 1].view(p.dtype.numpy)[0] for n, p in enumerate(kernel.kernel.params)}


def groups_of(kernel: VerifiedKernel, lanes: Sequence[int]) -> tuple[int, int, int]:
    """Return the whole groups that have so many lanes along each dimension."""
    x, y, z = (-(-n // extent) for n, extent in zip(lanes, kernel.workgroup, strict=True))
    return x, y, z


def _of_the_longest(
    kernel: VerifiedKernel,
    reach: Reach,
    elements: Sequence[int],
    params: Array,
    where: str,
    measure: _Measure,
) -> tuple[int, int, int]:
    """Return the groups of a lane for each element, of a kernel whose code does not say where it ends."""
    if reach.groups:
        raise _untold("the kernel asks for its group_id", where)
    stores = all(_is_store(s) for s in reach.loose)
    if _by_axes(reach) and len(params):
        along = [[bound for axis, bound in reach.axes if axis == d] for d in range(3)]
        values, lengths = _values(kernel, params[0]), _lengths(kernel, elements)
        return measure(kernel, [max((b.lanes(values, lengths) for b in bounds), default=1) for bounds in along])
    if reach.asked[1:] != (False, False) or kernel.workgroup[1:] != (1, 1):
        raise _untold("the kernel has more than one dimension", where)
    if reach.counts:
        raise _untold("the kernel asks for num_groups", where)
    if reach.loops and len(params):  # whatever the number, it does the same; so many lanes have a turn
        lengths = _lengths(kernel, elements)
        found = max(bound.lanes(_values(kernel, row), lengths) for bound in reach.loops for row in params[:_FEW])
        return measure(kernel, (max(found, 1), 1, 1))
    if not elements:
        raise _untold("the kernel has no buffers", where)
    bound = [m for m in kernel.kernel.buffers if m.data is None]
    elements = [n // record_of(m.record).words if m.record else n for m, n in zip(bound, elements, strict=True)]
    sizes = elements
    if not stores:  # what all lanes do together depends on how many there are
        sizes = [n for m, n in zip(bound, elements, strict=True) if m in reach.indexed]
        if not sizes:
            raise _untold(f"what {reach.loose[0].name} gives depends on the number of lanes", where)
    return measure(kernel, (max(sizes), 1, 1))


def _by_axes(reach: Reach) -> bool:
    """Tell whether the axes that lanes index by their numbers say how many lanes there are."""
    along = {axis for axis, _ in reach.axes}
    asked = {d for d in range(3) if reach.asked[d]}
    return all(_is_store(s) for s in reach.loose) and not (reach.counts or reach.groups) and asked <= along


def _is_store(effect: Instr) -> bool:
    return effect.op.effect is Effect.WRITE


def _reach(kernel: VerifiedKernel) -> Reach | str:
    found = _known.get(kernel)
    if found is None:
        foreign = isinstance(kernel, ForeignKernel)
        found = _known[kernel] = "its code is not Loom's" if foreign else reaching.reach_of(kernel.kernel)
    return found


def _untold(why: str, where: str) -> ArgumentError:
    return ArgumentError(
        where, "the number of workgroups cannot be told from the data", expected=f"groups=n, for {why}", got="none",
        remedy="Write groups=n, so many workgroups, or up to three numbers; a call k(x, y) also takes lanes=n",
    )  # fmt: skip


def groups_of_call(kernel: VerifiedKernel, groups: Any, lanes: Any, where: str) -> tuple[int, ...] | None:
    """Return the groups that a call gives, as ``groups`` or ``lanes``; None for neither, ArgumentError for both."""
    if lanes is not None:
        if groups is not None:
            raise ArgumentError(where, "lanes and groups are given", expected="one of them", got="both",
                                remedy="Leave one out")  # fmt: skip
        return groups_of_lanes(kernel, lanes, where)
    if groups is None:
        return None
    counts = tuple(groups) if is_list(groups) or (is_array(groups) and groups.ndim) else (groups,)
    if not 1 <= len(counts) <= 3:
        raise ShapeError(f"{where}, groups", "too many dimensions" if counts else "no dimensions",
                         expected="a number, or up to three", got=groups, remedy="Write groups=(x, y)")  # fmt: skip
    return tuple(whole(n, f"{where}, groups", least=0) for n in counts)


def groups_of_lanes(kernel: VerifiedKernel, lanes: Any, where: str) -> tuple[int, int, int]:
    """Return the groups that have at least ``lanes`` lanes: a number, or a shape, whose last axis is dimension 0."""
    sizes: tuple[Any, ...] = tuple(lanes) if is_list(lanes) or (is_array(lanes) and lanes.ndim) else (lanes,)
    if not 1 <= len(sizes) <= 3:
        raise ShapeError(
            f"{where}, lanes", "too many axes" if sizes else "no axes", expected="a number, or up to three", got=lanes,
            remedy=f"Write {_merge(sizes, _dimensions(_reach(kernel)))}" if sizes else "Write lanes=n",
        )  # fmt: skip
    found = groups_of(kernel, lanes_along(lanes, where))
    reach = _reach(kernel) if found[1:] != (1, 1) else ""
    if not isinstance(reach, str) and any(reach.asked) and not reach.counts:
        twice = [d for d in (1, 2) if found[d] > 1 and not reach.asked[d]]
        if twice:  # all lanes along it would do the same, one over the other
            raise ArgumentError(
                f"{where}, lanes", f"the kernel does not ask for its lane along dimension {twice[0]}",
                expected="a number for its own", got=lanes,
                remedy=f"Write {_merge(sizes, _dimensions(reach))}, or loom.global_id({twice[0]}) in the kernel",
            )  # fmt: skip
    return found


def lanes_to_limit(
    kernel: VerifiedKernel, lanes: Any, elements: Sequence[int], words: Sequence[int], where: str
) -> tuple[int, int, int] | None:
    """Return the lanes along each dimension, if others of their groups do something; None if they do not.

    None also for a kernel with barriers, or one that asks for the number of groups: its groups are whole.
    """
    if lanes is None or isinstance(kernel, ForeignKernel):
        return None
    sizes = lanes_along(lanes, where)
    is_whole = [n % extent == 0 for n, extent in zip(sizes, kernel.workgroup, strict=True)]
    if all(is_whole):
        return None
    reach = _reach(kernel)
    if not isinstance(reach, str) and not reach.loose:
        try:
            found = reach.lanes(_values(kernel, np.array(words, np.uint64)), _lengths(kernel, elements))
        except reaching.WrapsAround:
            found = ()
        told = (asked and n <= size for asked, n, size in zip(reach.asked, found, sizes, strict=True))
        if 0 in found or (found and all(a or b for a, b in zip(is_whole, told, strict=True))):
            return None
    return None if runs_whole(kernel) else sizes


def runs_whole(kernel: VerifiedKernel) -> bool:
    """Tell whether all lanes of a kernel's groups run: they wait for each other, or share work out by num_groups."""
    reach = _reach(kernel)
    return kernel.has_barrier or (not isinstance(reach, str) and reach.is_whole)


def lanes_along(lanes: Any, where: str) -> tuple[int, int, int]:
    """Return the lanes along dimensions 0, 1 and 2 of a number, or a shape, whose last axis is dimension 0."""
    sizes = tuple(lanes) if is_list(lanes) or (is_array(lanes) and lanes.ndim) else (lanes,)
    x, y, z = (*(whole(n, f"{where}, lanes", least=0) for n in sizes[::-1]), 1, 1)[:3]
    return x, y, z


def _dimensions(reach: Reach | str) -> int:
    """Return how many dimensions a kernel has lanes along, as far as it asks."""
    asked = (True, False, False) if isinstance(reach, str) else reach.asked
    return max((d + 1 for d in range(3) if asked[d]), default=1)


def _merge(sizes: Sequence[int], axes: int) -> str:
    """Return lanes of fewer axes, as many in all, as a caller writes them."""
    first, rest = sizes[: len(sizes) - axes + 1], sizes[len(sizes) - axes + 1 :]
    shape = [math.prod(first), *rest]
    return f"lanes={shape[0]}" if len(shape) == 1 else f"lanes=({', '.join(map(str, shape))})"
