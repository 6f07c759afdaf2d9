"""Kernels of the tests of Support Loom. Their results are worked out by hand where they are used."""

from __future__ import annotations

import loom
from loom import In, InOut, f32, u32


@loom.kernel(workgroup=64)
def grow(registers: InOut[u32], first: u32, size: u32, by: u32) -> None:
    """Add ``by`` to ``size`` words from ``first`` on."""
    i = loom.global_id()
    if i < size:
        registers[first + i] = registers[first + i] + by


@loom.kernel(workgroup=64)
def paint(globals: InOut[u32], width: u32, shift: u32) -> None:  # noqa: A002
    """Pixel (x, y): red x, green y, blue the frame's number, opaque."""
    i = loom.global_id()
    if i < len(globals):
        globals[i] = (i % width) | (i // width) << 8 | shift << 16 | 0xFF000000


@loom.kernel(workgroup=64)
def fall(registers: InOut[f32], speed: f32) -> None:
    """Something float whose bits tell."""
    i = loom.global_id()
    if i < len(registers):
        registers[i] = registers[i] * speed + loom.sqrt(registers[i] + 1.5)


@loom.kernel(workgroup=64)
def sum_up(registers: InOut[u32], globals: In[u32], size: u32) -> None:  # noqa: A002
    """Add the globals to the registers, word by word."""
    i = loom.global_id()
    if i < size:
        registers[i] = registers[i] + globals[i]


@loom.kernel(workgroup=1)
def refuse(registers: InOut[u32]) -> None:
    assert registers[0] == 123456, "not so"
