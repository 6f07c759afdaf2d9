"""One op table, read by everyone: every row is known to the interpreter, the targets and the front end."""

from __future__ import annotations

import pytest

from loom.ir.builder import Builder
from loom.ir.frontend import intrinsics
from loom.ir.frontend.calls import Calls
from loom.ir.frontend.translator import Translator
from loom.ir.interp import HANDLERS
from loom.ir.ops import OPS, Effect
from loom.targets.registry import TARGETS

_MADE_BY_STRUCTURE = {"index"}
"""The counter of a for loop is made by the loop itself."""

_WITHOUT_EMITTER = {"const", "vector", "extract"}
"""Constants are generated where they are used; vectors are gone after ``scalarize``."""


def test_interpreter_knows_every_operation() -> None:
    assert set(HANDLERS) == set(OPS) - _MADE_BY_STRUCTURE


@pytest.mark.parametrize("name", TARGETS.names())
def test_every_target_emits_every_pure_operation(name: str) -> None:
    pure = {name for name, op in OPS.items() if op.is_pure}
    assert TARGETS.load(name).operations | _WITHOUT_EMITTER == pure


def test_pure_operations_are_defined() -> None:
    for op in OPS.values():
        if op.is_pure and op.name not in _WITHOUT_EMITTER:
            assert op.evaluate is not None, op.name
        assert op.doc, op.name


def test_every_function_of_kernels_has_a_handler() -> None:
    calls = Calls(Translator(Builder("k"), {}))
    operations = {name for name, op in OPS.items() if op.effect in (Effect.PURE, Effect.ATOMIC, Effect.IDENTITY)}
    names = set(intrinsics.INTRINSICS.values())
    assert names == set(intrinsics.__all__) - {"INTRINSICS"} | {name for name, op in OPS.items() if op.named}
    for name in names:
        assert name in operations or hasattr(calls, name) or name == "workgroup_size", name
