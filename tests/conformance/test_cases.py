"""Every conformance case on every device whose lanes are vectors: the bits of every buffer are the interpreter's.

Always: all cases at width 4, one of three at 1 and 16 (most probes, and the library, which tests/unit/patterns runs
at all widths, at 4; the schedules for GPUs at 8; of the library, the sorts and those schedules every third one),
arithmetic also for the oldest x86-64; kernels without checks at width 4. With ``make prove``: everything.
"""

from __future__ import annotations

import zlib

import pytest

from conformance.cases.language import operations
from conformance.running import CASES, EVERY_MODE, SLOW, TARGETS, WIDTHS, Target, conform, theme
from loom.ir.ops import OPS

_ARITHMETIC = {"operations", "constant-left", "constant-right", "convert", "probe", "select"}
_RUNS = [
    (name, target)
    for name in CASES
    for target in TARGETS
    if target.simd in WIDTHS[name] and theme(name) != "random"  # test_random.py has those
]


_THINNED = ("library", "sorting", "sorting-threads", "threads")
"""Themes of many kernels that take long to compile: every third one is always run, make prove runs all."""
_LEFT = {
    name for about in _THINNED for at, name in enumerate([n for n in CASES if theme(n) == about]) if at % 3
}  # fmt: skip


_ALONE = ("sorting-threads/select", "sorting-threads/runs")
"""Kernels whose bounds no other test sees: none of them is left out."""


def _is_usual(target: Target) -> bool:
    return target.simd == 4 and target.device != "x86-64"


def _always(name: str, target: Target) -> bool:
    if name in SLOW or (name in _LEFT and not name.startswith(_ALONE)):
        return False
    if name in _LEFT:
        return _is_usual(target)
    if theme(name) == "threads":
        return target.simd == 8  # LLVM takes four times as long at 16
    if theme(name) == "library" or (theme(name) == "probe" and name.endswith(("-loop", "-vector", "-shared"))):
        return _is_usual(target)
    if target.device == "x86-64":
        return theme(name) in _ARITHMETIC
    if theme(name) == "probe" or target.simd == 4:
        return True
    return (target.simd != 8 or 16 not in WIDTHS[name]) and zlib.crc32(f"{name} {target}".encode()) % 5 == 0


@pytest.mark.parametrize(("name", "target"), [r for r in _RUNS if _always(*r)], ids=str)
def test_bits(name: str, target: Target) -> None:
    conform(name, target, _modes(name, target))


def _modes(name: str, target: Target) -> tuple[str, ...]:
    """Kernels compiled without checks are always run at one width, since it takes as long again."""
    return EVERY_MODE if _is_usual(target) or 4 not in WIDTHS[name] else ("checked",)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), [r for r in _RUNS if _always(*r) and _modes(*r) != EVERY_MODE], ids=str)
def test_bits_of_trusted(name: str, target: Target) -> None:
    conform(name, target, ("trusted",))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), [r for r in _RUNS if not _always(*r)], ids=str)
def test_bits_of_the_rest(name: str, target: Target) -> None:
    conform(name, target)


def test_no_pure_operation_is_left_out() -> None:
    by_table = {op.name for dtype in operations.SCALARS.values() for op in operations.operations_on(dtype)}
    assert by_table | operations.BY_OWN_RULE == {op.name for op in OPS.values() if op.is_pure}
