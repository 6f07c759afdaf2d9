"""Sums over the windows of images: for every element of an image, over the places at which windows read it.

Layer: kernels. What each place of a window would have, its column, is a product's row; nothing is scattered. Invariant:
the places of a window are added in row-major order, one that no window has there as +0.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, i32, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, local_id, select

__all__ = ["sum_windows", "sum_windows_flat"]


@cache
def sum_windows(element: DType, lanes: int, across_step: int) -> KernelFunction:
    """Return the kernel that sums columns into images: ``columns`` is (high wide, channels, images, down, across).

    ``out`` is (.., channels, height, width), of which this writes ``images`` images from number ``first`` on; window
    (i, j) begins at ``down_step`` i and ``across_step`` j, less the padding (``above``, ``before``). Groups: the rows
    of all images and channels.
    """
    one = across_step == 1

    def add_neighbours(columns: Any, start: Any, there: Any, across: Any) -> Any:
        """Return elements side by side, of which those beyond a row are 0."""
        return select((there >= 0) & (there < across), columns[start + u64(local_id())], element(0))

    def add_apart(columns: Any, at: Any, there: Any, across: Any) -> Any:
        value = element(0)
        if there >= 0:
            number = there // across_step
            if number * across_step == there and number < across:
                value = columns[at + u64(u32(number))]
        return value

    @kernel(workgroup=lanes, trusted=True)
    def sums(
        columns: In[element],  # type: ignore[valid-type]
        out: Out[element],  # type: ignore[valid-type]
        first: u32,
        images: u32,
        channels: u32,
        height: u32,
        width: u32,
        high: u32,
        wide: u32,
        down: u32,
        across: u32,
        down_step: u32,
        above: u32,
        before: u32,
    ):
        row, plane = group_id(0) % height, group_id(0) // height
        image, channel = plane // channels, plane % channels
        target = u64(first * channels + plane) * u64(height * width) + u64(row * width) + u64(local_id())
        each = u64(down * across)
        apart = u64(channels * images) * each
        end = u64(high * wide) * apart
        for piece in range(0, width, lanes):
            column = i32(piece + before) + i32(local_id())
            total = element(0)
            for i in range(high):
                there = i32(row + above) - i32(i)
                number = there // i32(down_step)
                if there >= 0 and number * i32(down_step) == there and number < i32(down):
                    at = u64(i * wide) * apart + u64(channel * images + image) * each + u64(u32(number) * across)
                    for j in range(wide):
                        value = element(0)
                        begin = at + u64(piece + before)
                        if one and begin >= u64(j) and begin + lanes <= end + u64(j):
                            value = add_neighbours(columns, begin - u64(j), column - i32(j), i32(across))
                        else:
                            value = add_apart(columns, at, column - i32(j), i32(across))
                        total = value if i == 0 and j == 0 else total + value
                        at = at + apart
                else:
                    total = total + element(0)
            if piece + local_id() < width:
                out[target + u64(piece)] = total

    sums.name = f"sum_windows_{element}_{lanes}_{across_step}"
    return sums


@cache
def sum_windows_flat(element: DType, lanes: int) -> KernelFunction:
    """Return the kernel that does the same where each lane is a thread. Groups: the elements by ``lanes``."""

    @kernel(workgroup=lanes, trusted=True)
    def sums(
        columns: In[element],  # type: ignore[valid-type]
        out: Out[element],  # type: ignore[valid-type]
        first: u32,
        images: u32,
        channels: u32,
        height: u32,
        width: u32,
        high: u32,
        wide: u32,
        down: u32,
        across: u32,
        down_step: u32,
        above: u32,
        before: u32,
        across_step: u32,
    ):
        number = global_id()
        if number < images * channels * height * width:
            line = number // width
            row, plane = line % height + above, line // height
            column = number % width + before
            part = (plane % channels * images + plane // channels) * down * across
            apart = channels * images * down * across
            total = element(0)
            for i in range(high):
                is_row = row >= i and (row - i) % down_step == 0 and (row - i) // down_step < down
                at = part + (row - i) // down_step * across
                for j in range(wide):
                    value = element(0)
                    if is_row and column >= j:
                        there = (column - j) // across_step
                        if there * across_step == column - j and there < across:
                            value = columns[(i * wide + j) * apart + at + there]
                    total = value if i == 0 and j == 0 else total + value
            out[first * channels * height * width + number] = total

    sums.name = f"sum_windows_flat_{element}_{lanes}"
    return sums
