"""Every conformance case on every target: the bits of every buffer are the interpreter's."""

from __future__ import annotations

import pytest

from conformance.cases import operations
from conformance.running import CASES, TARGETS, WIDTHS, Target, conform
from loom.ir.ops import OPS

_RUNS = [(name, target) for name in CASES for target in TARGETS if target.simd in WIDTHS[name]]


@pytest.mark.parametrize(("name", "target"), _RUNS, ids=str)
def test_bits(name: str, target: Target) -> None:
    conform(name, target)


def test_no_pure_operation_is_left_out() -> None:
    by_table = {op.name for dtype in operations.SCALARS.values() for op in operations.operations_on(dtype)}
    assert by_table | operations.BY_OWN_RULE == {op.name for op in OPS.values() if op.is_pure}
