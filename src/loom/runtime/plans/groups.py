"""How many workgroups a dispatch has: what callers give as rows of counts, and the limits.

Layer: runtime. Invariant: whatever is dispatched has at most 2^32 lanes along a dimension and fewer than 2^32 groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, KernelFault, ShapeError
from loom.ir.verified import VerifiedKernel

__all__ = [
    "check_indirect_groups",
    "encode_groups",
    "excess_groups",
    "is_line",
    "largest_groups",
    "refuse_far_elements",
]

MAX_GROUPS = 0xFFFF_FFFF
_ONE = (), (1,), (1, 1)
_BELOW = "Take u32(...) or i64(...) of its lane numbers and lengths, which go below zero in it, or dispatch in parts"
"""What to do about a kernel that has signed indexes, for which 2^31 is the most."""


def encode_groups(kernel: VerifiedKernel, groups: Any, repeats: int, where: str) -> np.ndarray[Any, Any]:
    """Return group counts as one row of three per repeat.

    A tuple or list of up to three is one dispatch's extents; an array of length ``repeats`` has a number per repeat.
    """
    if (
        type(groups) is int
        and 0 <= groups <= MAX_GROUPS
        and groups * kernel.workgroup[0] <= kernel.most_lanes
        and not kernel.aparts
    ):
        full = np.ones((repeats, 3), np.uint32)
        full[:, 0] = groups
        return full
    array = _as_rows(groups, repeats, where)
    columns = array.shape[-1]
    if array.ndim != 2 or not 1 <= columns <= 3 or len(array) not in (1, repeats):
        raise ShapeError(
            where, "groups have a wrong shape", expected="an int, up to three, or one row per repeat",
            got=np.shape(groups), remedy="Write groups=(x, y, z)",
        )  # fmt: skip
    full = np.ones((repeats, 3), np.int64)
    full[:, :columns] = np.clip(array, -1, 1 << 33)  # beyond every limit, within 64 bits
    _check_group_limits(kernel, full, np.broadcast_to(array, (repeats, columns)), where)
    if kernel.aparts:
        _check_apart(kernel, np.unique(full, axis=0).tolist(), where)
    return full.astype(np.uint32)


def is_line(groups: object) -> bool:
    """Tell whether groups are one number, along the first dimension; arrays and lists are not looked at."""
    return type(groups) is int or (isinstance(groups, tuple) and groups[1:] in _ONE)


def _as_rows(groups: Any, repeats: int, where: str) -> np.ndarray[Any, Any]:
    """Return whole numbers as rows of extents, if they are numbers, single or in one dimension."""
    try:
        array: np.ndarray[Any, Any] = np.asarray(groups)
    except Exception:  # ragged lists, arrays of others that cannot be read
        array = np.empty(0)
    huge = array.dtype == object and all(isinstance(v, int) for v in array.flat)
    if array.dtype.kind not in "iu" and not huge:
        raise DTypeError(
            where, "groups must be whole numbers", expected="an int or up to three", got=repr(groups),
            remedy="Use integer division to count groups: (n + lanes - 1) // lanes",
        )  # fmt: skip
    if array.ndim == 0:
        return array.reshape(1, 1)
    if array.ndim == 1:
        extents = len(array) <= 3 and not isinstance(groups, np.ndarray)
        per_repeat = not extents and array.shape == (repeats,)
        return array.reshape(-1, 1) if per_repeat else array.reshape(1, -1)
    return array


def _check_group_limits(
    kernel: VerifiedKernel, groups: np.ndarray[Any, Any], given: np.ndarray[Any, Any], where: str
) -> None:
    wrong = _beyond_limits(groups, _most_groups(kernel))
    if wrong.any():
        raise ArgumentError(
            where, "unusable number of workgroups", expected=_group_limits(kernel),
            got=tuple(int(g) for g in given[int(np.argmax(wrong))]),
            remedy=_BELOW if kernel.most_lanes < 1 << 32 else "Let each lane do more, or dispatch in parts",
        )  # fmt: skip


def _check_apart(kernel: VerifiedKernel, rows: Sequence[Sequence[int]], where: str) -> None:
    """Refuse groups whose lanes meet at an element in an order that shows."""
    for counts, each in product(rows, kernel.aparts):
        if not each.holds(counts):
            raise ArgumentError(
                f"{where}, groups",
                f"{each.what}, which these groups do not keep apart",
                expected=f"groups of which no two come to one element of {each.memory!r}",
                got=tuple(counts),
                remedy=each.remedy,
            )


def _group_limits(kernel: VerifiedKernel) -> str:
    most = kernel.most_lanes.bit_length() - 1
    return f"at least 0, at most 2^{most} lanes along a dimension and {MAX_GROUPS} groups"


def refuse_far_elements(
    kernel: VerifiedKernel, elements: Sequence[int], shapes: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Raise ShapeError if a kernel whose indexes go below zero is to count 2^31 elements or more along an axis."""
    if kernel.most_lanes == 1 << 32:
        return
    for memory, count in zip(kernel.bound, elements, strict=True):
        longest = max(shapes.get(memory.name, (count,)), default=0)
        if longest >= kernel.most_lanes:
            raise ShapeError(
                f"{where}, buffer {memory.name!r}",
                "too many elements for indexes that go below zero",
                expected="less than 2^31 along an axis",
                got=longest,
                remedy=_BELOW,
            )


def _beyond_limits(groups: np.ndarray[Any, Any], most: list[int]) -> np.ndarray[Any, Any]:
    """Tell for each row of group counts whether it is too much for a dispatch."""
    totals = groups.astype(np.float64).prod(axis=1)
    return (groups < 0).any(1) | (groups > most).any(1) | (totals > MAX_GROUPS)


def _most_groups(kernel: VerifiedKernel) -> list[int]:
    return [min(MAX_GROUPS, kernel.most_lanes // extent) for extent in kernel.workgroup]


def largest_groups(kernel: VerifiedKernel) -> list[int]:
    """Return the largest number of groups along each dimension: at most 2^32 lanes (2^31 if they go below zero), and no
    two at one element."""
    most = _most_groups(kernel)
    for sides in product((True, False), repeat=3) if kernel.aparts else ():
        found = [count if whole else 1 for count, whole in zip(most, sides, strict=True)]
        if all(each.holds(found) for each in kernel.aparts):
            return found
    return most


def check_indirect_groups(kernel: VerifiedKernel, groups: tuple[int, int, int]) -> None:
    """Raise KernelFault for counts, read when a dispatch started, that are beyond the limits."""
    if _beyond_limits(np.array([groups], np.int64), largest_groups(kernel)).any():
        raise excess_groups(kernel, groups)


def excess_groups(kernel: VerifiedKernel, groups: tuple[int, int, int]) -> KernelFault:
    """Return the fault of such counts."""
    return KernelFault(
        f"kernel {kernel.name!r}", "unusable number of workgroups in an indirect dispatch",
        expected=_group_limits(kernel), got=groups, remedy="Check what writes the counts",
    )  # fmt: skip
