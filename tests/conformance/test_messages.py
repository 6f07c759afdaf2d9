"""What kernels tell the host is the same from every device: prints, asserts, indexes outside.

Oracle: the interpreter's lines and exception, word for word, and for some kernels the text written out here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import loom
from conformance.messages import GROUPS, LANES, MESSAGES, message_case, what_is_told
from conformance.running import Target, environment, execute, kinds, require_same, targets_on
from loom.core.dtype import SCALARS, DType, bool_, f32, f64, u32
from loom.core.errors import AssertionFailed, DeviceError, OutOfBounds
from loom.ir.kernel import Instr

_TARGETS = [
    replace(target, threads=(threads,))
    for kind in kinds("vectors") for target in targets_on(kind) if target.simd != 8 for threads in (1, 2)
]  # fmt: skip
_ALWAYS = [name for name in MESSAGES if not name.startswith("bounds")] + ["bounds-buffer-load-i32--9-lane"]
_ON_THREADS = [
    pytest.param(Target(kind), name, marks=[] if name in _ALWAYS else [pytest.mark.slow])
    for kind in kinds("threads") for name in MESSAGES
]  # fmt: skip


@pytest.mark.parametrize(
    "target",
    _TARGETS,
    ids=lambda t: f"{t}-{t.threads[0]}",
)
@pytest.mark.parametrize("name", MESSAGES)
def test_same_words(name: str, target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    found = message_case(name)
    expected = what_is_told(found, Target("interp"), capsys)
    assert what_is_told(found, target, capsys) == expected
    if name != "assert-that-holds":
        wanted = {"print": None, "assert": AssertionFailed, "bounds": OutOfBounds}[name.split("-", maxsplit=1)[0]]
        assert expected[1] is wanted
        assert expected[0] or wanted is not None


@pytest.mark.parametrize(("target", "name"), _ON_THREADS, ids=str)
def test_same_words_of_threads(name: str, target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        loom.device(target.device)
    except DeviceError as error:
        pytest.skip(f"no such device here: {error}")
    """Lines and faults are the interpreter's, but for the types: a fault names no lane that could be another."""
    found = message_case(name)
    printed, kind, about = what_is_told(found, Target("interp"), capsys)
    got = what_is_told(found, target, capsys)
    assert (*got[:2], got[2].get("text")) == (printed, kind, about.get("text"))


@pytest.mark.parametrize("target", [Target("interp"), *_TARGETS[:3]], ids=str)
def test_words_are_these(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    printed, _, _ = what_is_told(message_case("print-plain"), target, capsys)
    assert printed == "".join(f"lane {n} of group {n // LANES}.\n" for n in range(LANES * GROUPS))
    _, kind, about = what_is_told(message_case("assert-many-lanes"), target, capsys)
    assert kind is AssertionFailed
    assert (about["lane"], about["message"]) == (20, "at 20 of 0")
    assert "assertion failed in lane 20: at 20 of 0" in str(about["text"])
    _, kind, about = what_is_told(message_case("bounds-buffer-load-i32--9-lane"), target, capsys)
    assert kind is OutOfBounds
    assert (about["lane"], about["memory"], about["index"], about["bound"]) == (1, "m", -8, 50)


@pytest.mark.parametrize("name", [n for n in MESSAGES if n.startswith("bounds")])
def test_without_checks_nothing_iswhat_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Reads outside give 0 and writes vanish, silently: the buffers are the interpreter's, and nothing around them."""
    found = message_case(name)
    expected = execute(found.kernel, found.buffers, groups=found.groups, on="interp")
    for target in _TARGETS:
        with environment(LOOM_SIMD=target.simd, LOOM_THREADS=target.threads[0], LOOM_CHECK=0):
            got = execute(found.kernel, found.buffers, groups=found.groups, on=target.device)
        for memory, array, wanted in zip(found.kernel.buffers, got, expected, strict=True):
            require_same(array, wanted, f"{target}, buffer {memory.name!r}")
    assert capsys.readouterr().out == ""


def test_types_printed_are_all_types() -> None:
    """f16 and bf16 are stored, never computed with, so they cannot be printed."""
    printed = {"bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64"}
    assert printed == {t.name for t in SCALARS.values() if not t.storage_only}
    assert {t for n in MESSAGES if n.startswith("print") for t in _printed_types(n)} >= {bool_, f32, f64, u32}


def _printed_types(name: str) -> set[DType]:
    statements = message_case(name).kernel.body.statements
    return {a.type for s in statements if isinstance(s, Instr) and s.op.name == "print" for a in s.args}
