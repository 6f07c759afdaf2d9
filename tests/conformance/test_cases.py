"""Every conformance case on every target: the bits of every buffer are the interpreter's.

Always: all cases at widths 1, 4 and 16 (most probes, and the library's kernels, which tests/unit/patterns runs
at all widths, at 4; of the library, the sorts and the schedules for GPUs every other one), arithmetic also for the
oldest x86-64. With ``make prove``: everything.
"""

from __future__ import annotations

import pytest

from conformance.cases import operations
from conformance.running import CASES, CPU, SLOW, TARGETS, WIDTHS, Target, conform, theme
from loom.ir.ops import OPS

_ARITHMETIC = {"operations", "constant-left", "constant-right", "convert", "probe", "select"}
_RUNS = [
    (name, target)
    for name in CASES
    for target in TARGETS
    if target.simd in WIDTHS[name] and theme(name) != "random"  # test_random.py has those
]


_THINNED = ("library", "sorting", "sorting-simt", "threads")
"""Themes of many kernels that take long to compile: every other one is always run, make prove runs all."""
_LEFT = {name for about in _THINNED for name in [n for n in CASES if theme(n) == about][1::2]}


_ALONE = ("sorting-simt/select", "sorting-simt/runs")
"""Kernels whose bounds no other test sees: none of them is left out."""


def _always(name: str, target: Target) -> bool:
    if name in SLOW or (name in _LEFT and not name.startswith(_ALONE)):
        return False
    if name in _LEFT:
        return target == CPU[1]
    if theme(name) == "library" or (theme(name) == "probe" and name.endswith(("-loop", "-vector", "-shared"))):
        return target == CPU[1]
    if target.device == "x86-64":
        return theme(name) in _ARITHMETIC
    return target.simd != 8 or 16 not in WIDTHS[name]


@pytest.mark.parametrize(("name", "target"), [r for r in _RUNS if _always(*r)], ids=str)
def test_bits(name: str, target: Target) -> None:
    conform(name, target)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), [r for r in _RUNS if not _always(*r)], ids=str)
def test_bits_of_the_rest(name: str, target: Target) -> None:
    conform(name, target)


def test_no_pure_operation_is_left_out() -> None:
    by_table = {op.name for dtype in operations.SCALARS.values() for op in operations.operations_on(dtype)}
    assert by_table | operations.BY_OWN_RULE == {op.name for op in OPS.values() if op.is_pure}
