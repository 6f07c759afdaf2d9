"""Curves drawn to a PNG: axes, marks with numbers, one line for each series, and which is which.

Layer: nn. Invariant: the same numbers give the same bytes (of one zlib).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from loom.runtime.memory.frames import Frame

__all__ = ["draw_curves"]

_HEIGHT, _WIDTH = 360, 640
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 40
_COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))
_INK, _GRID = (60, 60, 60), (225, 225, 225)
_MARKS = 4
_SCALE = 2
_GLYPHS = {
    "0": "755557", "1": "262227", "2": "717447", "3": "717117", "4": "555711", "5": "747117", "6": "747557",
    "7": "711222", "8": "757557", "9": "757117", ".": "000002", "-": "007000", "e": "075747", "+": "027200",
    "a": "003553", "d": "113553", "i": "202222", "l": "622227", "n": "006555", "o": "002552", "s": "003636",
    "t": "227223", "v": "005552",
}  # fmt: skip
"""Rows of three pixels, each an octal digit, from above."""


def draw_curves(series: Sequence[Sequence[float]], names: Sequence[str] = ()) -> bytes:
    """Return a PNG of series over their indexes from 1; numbers that are not finite leave gaps.

    ``names`` of the series stand at the upper right, each beside its colour, but for those of empty ones.
    """
    pixels = np.full((_HEIGHT, _WIDTH, 4), 255, np.uint8)
    finite = [v for line in series for v in line if np.isfinite(v)]
    top = max([v for v in finite if v > 0], default=1.0)
    bottom = min(0.0, *finite, 0.0)
    most = max([len(line) for line in series], default=0)
    _draw_axes(pixels, bottom, top, max(most, 1))
    for line, colour in zip(series, _COLOURS, strict=False):
        points = [_place(k, most, v, bottom, top) if np.isfinite(v) else None for k, v in enumerate(line)]
        for point in points:
            if point is not None:
                _dot(pixels, *point, colour)
        for a, b in pairwise(points):
            if a is not None and b is not None:
                _draw_line(pixels, a, b, colour)
    shown = [(name, colour) for name, line, colour in zip(names, series, _COLOURS, strict=False) if len(line)]
    _draw_legend(pixels, shown)
    return Frame(pixels).png()


def _draw_legend(pixels: Any, shown: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
    """Write names, one below the other, over what was drawn, each after a stroke of its colour."""
    column = _WIDTH - _RIGHT - 4 * _SCALE * max([len(name) for name, _ in shown], default=0)
    for n, (name, colour) in enumerate(shown):
        row = _TOP + 4 + 18 * n
        pixels[row - 3 : row + 6 * _SCALE + 3, column - 36 : _WIDTH - _RIGHT, :3] = 255
        pixels[row + 5 : row + 7, column - 30 : column - 8, :3] = colour
        _write(pixels, name, row, column)


def _place(k: int, most: int, value: float, bottom: float, top: float) -> tuple[int, int]:
    """Return (row, column) of a point."""
    across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    column = _LEFT + (across * k // (most - 1) if most > 1 else across // 2)
    return round(_TOP + up * (1.0 - (value - bottom) / (top - bottom))), column


def _draw_axes(pixels: Any, bottom: float, top: float, most: int) -> None:
    foot = _HEIGHT - _BOTTOM
    for k in range(_MARKS + 1):
        value = bottom + (top - bottom) * k / _MARKS
        row, _ = _place(0, 1, value, bottom, top)
        pixels[row, _LEFT : _WIDTH - _RIGHT, :3] = _GRID
        text = f"{value:.3g}"
        _write(pixels, text, row - 6, _LEFT - 8 - 4 * _SCALE * len(text))
    for k in sorted({(most - 1) * m // _MARKS for m in range(_MARKS + 1)}):
        _, column = _place(k, most, bottom, bottom, top)
        text = str(k + 1)
        _write(pixels, text, foot + 10, column - 2 * _SCALE * len(text))
    pixels[_TOP : foot + 1, _LEFT, :3] = _INK
    pixels[foot, _LEFT : _WIDTH - _RIGHT, :3] = _INK


def _write(pixels: Any, text: str, row: int, column: int) -> None:
    for at, letter in enumerate(text):
        for r, octal in enumerate(_GLYPHS.get(letter, "000000")):
            for c in range(3):
                if int(octal, 8) >> (2 - c) & 1:
                    y, x = row + r * _SCALE, column + (at * 4 + c) * _SCALE
                    pixels[max(y, 0) : y + _SCALE, max(x, 0) : x + _SCALE, :3] = _INK


def _draw_line(pixels: Any, a: tuple[int, int], b: tuple[int, int], colour: tuple[int, int, int]) -> None:
    steps = max(abs(a[0] - b[0]), abs(a[1] - b[1]), 1)
    for k in range(steps + 1):
        row, column = a[0] + (b[0] - a[0]) * k // steps, a[1] + (b[1] - a[1]) * k // steps
        pixels[row : row + 2, column, :3] = colour


def _dot(pixels: Any, row: int, column: int, colour: tuple[int, int, int]) -> None:
    pixels[row - 1 : row + 3, column - 1 : column + 2, :3] = colour
