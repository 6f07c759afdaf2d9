"""Launches that are begun before the kernels they depend on are over: how far they go, and what is wrong of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from emulation.ptx.launch import begin
from emulation.ptx.memory import EmulationError, Memory
from emulation.ptx.module import Module

_TEXT = (
    ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry f(.param .u64 p0)\n{{\n.reg .pred %p<3>;\n"
    ".reg .b32 %r<3>;\n.reg .b64 %rd<4>;\n{}\nret;\n}}\n"
)
_WAIT = "griddepcontrol.wait;\ngriddepcontrol.launch_dependents;"
_PLACE = "ld.param.b64 %rd0, [p0];\nmov.u32 %r0, %tid.x;\nmul.wide.u32 %rd1, %r0, 4;\nadd.s64 %rd0, %rd0, %rd1;"
_DOUBLE = "ld.global.b32 %r1, [%rd0];\nadd.s32 %r1, %r1, %r1;\nst.global.b32 [%rd0], %r1;"


def _begun(body: str) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint32]], Callable[[], None]]:
    """Return eight words of memory, and what does the rest of a launch that doubles them."""
    memory = Memory()
    address = memory.allocate(32)
    words = memory.view(address, 32).view(np.uint32)
    words[:] = 1
    given = [address.to_bytes(8, "little")]
    return words, begin(Module(_TEXT.format(body), memory), "f", (1, 1, 1), (8, 1, 1), 0, given, memory)


@pytest.mark.parametrize("body", [f"{_WAIT}\n{_PLACE}\n{_DOUBLE}", f"{_PLACE}\n{_WAIT}\n{_DOUBLE}"])
def test_what_comes_after_the_wait_sees_what_others_wrote_meanwhile(body: str) -> None:
    words, rest = _begun(body)
    assert words.tolist() == [1] * 8
    words[:] = np.arange(8)
    rest()
    assert words.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (f"{_PLACE}\n{_DOUBLE}", "memory is touched before the wait"),
        (f"{_PLACE}\nld.global.nc.b32 %r1, [%rd0];\n{_WAIT}", "memory is touched before the wait"),
        (f"{_PLACE}\nred.global.add.u32 [%rd0], 1;\n{_WAIT}", "memory is touched before the wait"),
        (f"{_PLACE}\nsetp.gt.u32 %p1, %r0, 2;\n@%p1 ret;\n{_WAIT}\n{_DOUBLE}", "lanes end before they wait"),
    ],
)
def test_what_may_not_come_before_the_wait_is_said(body: str, told: str) -> None:
    with pytest.raises(EmulationError, match=told):
        _begun(body)


def test_loads_of_what_nobody_may_write_are_not_for_kernels_begun_early() -> None:
    _, rest = _begun(f"{_WAIT}\n{_PLACE}\nld.global.nc.b32 %r1, [%rd0];")
    with pytest.raises(EmulationError, match="a load of memory that others may write since the kernel was begun"):
        rest()
