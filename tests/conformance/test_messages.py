"""What kernels tell the host is the same from the interpreter and the CPU: prints, asserts, indexes outside.

Oracle: the interpreter's lines and exception, word for word, and for some kernels the text written out here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from conformance.running import Case, Target, environment, execute, require_same
from conformance.writer import Value, Writer
from loom.core.dtype import SCALARS, DType, bool_, f32, f64, i8, i32, i64, lookup, u8, u16, u32, u64
from loom.core.errors import AssertionFailed, KernelFault, OutOfBounds

_TARGETS = [Target("cpu", width, (threads,)) for width in (1, 4, 16) for threads in (1, 2)]
_LANES, _GROUPS = 24, 3
MESSAGES: dict[str, Callable[[], Case]] = {}
Body = Callable[[Writer, Value], Value | None]
"""Writes a kernel for the lane with a number; what it returns is stored."""
Told = tuple[str, type | None, dict[str, object]]
"""The lines printed, the kind of fault, and what it says."""


def _told(found: Case, target: Target, capsys: pytest.CaptureFixture[str]) -> Told:
    capsys.readouterr()
    settings = {"LOOM_SIMD": target.simd, "LOOM_THREADS": target.threads[0], "LOOM_CHECK": 1}
    fault: KernelFault | None = None
    with environment(**settings):
        try:
            execute(found.kernel, found.buffers, found.params, found.groups, on=target.device)
        except KernelFault as error:
            fault = error
    if fault is None:
        return capsys.readouterr().out, None, {}
    names = ("lane", "line", "memory", "index", "bound", "message")
    about = {"text": str(fault), **{n: getattr(fault, n) for n in names if hasattr(fault, n)}}
    return capsys.readouterr().out, type(fault), about


def _message(name: str) -> Callable[[Body], Body]:
    """Register a kernel whose body is the function below."""

    def register(body: Body) -> Body:
        MESSAGES[name] = partial(_case, name, body)
        return body

    return register


def _case(name: str, body: Body) -> Case:
    k = Writer(name.replace("-", "_"), (_LANES, 1, 1))
    out = k.buffer("out", u32)
    result = body(k, k.global_id())
    out[k.global_id()] = k.global_id() if result is None else result
    return Case(k.finish(), (np.zeros(_LANES * _GROUPS, np.uint32),), groups=(_GROUPS, 1, 1))


@_message("print-plain")
def print_plain(k: Writer, i: Value) -> None:
    k.print("lane ", i, " of group ", k.group_id(), ".")


@_message("print-some-lanes")
def print_some(k: Writer, i: Value) -> None:
    """Some lanes, and again from a loop that lanes leave apart; text alone; a value equal in all lanes."""
    with k.when(i % 5 == 3):
        k.print("five ", i, "")
        with k.when(i % 2 == 0):
            k.print("even")
    with k.count(0, i % 4) as n:
        k.print("turn ", n, " of ", i, "")
    with k.when(k.group_id() == 1):
        k.print("group ", k.num_groups(), "")


@_message("print-across-a-barrier")
def print_across(k: Writer, i: Value) -> None:
    k.print("before ", i, "")
    k.barrier()
    with k.when(i % 7 == 0):
        k.print("after ", i, "")


def _print_types(names: list[str]) -> Body:
    def body(k: Writer, i: Value) -> None:
        for name in names:
            dtype = lookup(name)
            k.print(f"{name} ", (i - 5).to(i32).to(dtype), "; ", k.const(_odd_value(dtype), dtype), "")

    return body


def _odd_value(dtype: DType) -> float | int:
    return {"f32": 0.1, "f64": -1e300}.get(dtype.name, dtype.minimum if dtype.is_integer else 1)


for _names in (["bool", "i8", "u8", "i16"], ["u16", "i32", "u32"], ["i64", "u64", "f32", "f64"]):
    _message(f"print-{_names[0]}")(_print_types(_names))


@_message("assert-one-lane")
def assert_one(k: Writer, i: Value) -> None:
    k.check(i != 37, "i is not 37 but ", i, "")


@_message("assert-many-lanes")
def assert_many(k: Writer, i: Value) -> None:
    """Lanes of every group fail, after each printed a line: the lowest one counts."""
    k.print("lane ", i, "")
    k.check((i % 11 != 9) | (i < 12), "at ", i, " of ", k.group_id(), "")


@_message("assert-under-a-mask")
def assert_masked(k: Writer, i: Value) -> None:
    """The condition fails in lanes that do not run it, too; those say nothing."""
    with k.when(i % 4 == 2):
        k.check(i < 30, "too large: ", i, "")


@_message("assert-in-a-loop")
def assert_in_loop(k: Writer, i: Value) -> None:
    with k.count(0, i) as n:
        k.check(n < 50, "turn ", n, " in lane ", i, "")


@_message("assert-that-holds")
def assert_holds(k: Writer, i: Value) -> None:
    with k.when(i > 3):
        k.check(i > 3, "never")


@_message("assert-across-a-barrier")
def assert_across(k: Writer, i: Value) -> None:
    shared = k.shared("s", u32, _LANES)
    shared[k.local_id()] = i
    k.barrier()
    k.check(shared[_LANES - 1 - k.local_id()] != 30, "met 30 in ", i, "")


def _outside(space: str, operation: str, dtype: DType, offset: int, kind: str) -> Body:
    """One access outside: the index is a lane's own (kind lane), scattered, or one for all."""

    def body(k: Writer, i: Value) -> Value:
        memory = {"shared": k.shared, "private": k.private}[space]("m", u32, 50) if space != "buffer" else None
        if memory is None:
            memory = k.buffer("m", u32)
        base = {"lane": i, "scattered": i * 3, "uniform": k.group_id() * 20}[kind]
        at, seen = base.to(dtype) + offset, k.local("seen", u32, 7)
        with k.when(i % 5 != 0):  # lane 0 does not run
            if operation == "load":
                seen.set(memory[at])
            elif operation == "store":
                memory[at] = 1
            else:
                memory.atomic(operation, at, 1)
        return seen.now

    return body


_OUTSIDE = [
    ("buffer", "load", u32, 0, "lane"), ("buffer", "store", u32, 0, "lane"), ("buffer", "load", i32, -9, "lane"),
    ("buffer", "store", i64, -3, "scattered"), ("buffer", "load", u64, 2**64 - 7, "lane"),
    ("buffer", "load", u8, 230, "lane"), ("buffer", "store", i8, 100, "lane"), ("buffer", "load", u16, 19, "uniform"),
    ("buffer", "store", i32, -15, "uniform"), ("buffer", "add", u32, 0, "scattered"),
    ("buffer", "add", i32, -10, "uniform"), ("buffer", "max", u32, 13, "uniform"),
    ("shared", "store", i32, 0, "scattered"), ("shared", "load", u32, 0, "lane"), ("shared", "add", u32, 20, "uniform"),
    ("private", "load", u32, 0, "lane"), ("private", "store", i32, 30, "uniform"), ("private", "load", i64, -1, "lane"),
]  # fmt: skip
for _about in _OUTSIDE:
    MESSAGES["bounds-" + "-".join(map(str, _about))] = partial(_case, "bounds", _outside(*_about))


def _run(name: str) -> Case:
    """A bounds kernel has a second buffer, ``m``."""
    found = MESSAGES[name]()
    extra = len(found.kernel.buffers) - len(found.buffers)
    return Case(found.kernel, found.buffers + (np.arange(50, dtype=np.uint32),) * extra, groups=found.groups)


@pytest.mark.parametrize("target", _TARGETS, ids=lambda t: f"x{t.simd}-{t.threads[0]}")
@pytest.mark.parametrize("name", MESSAGES)
def test_same_words(name: str, target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    found = _run(name)
    expected = _told(found, Target("interp"), capsys)
    assert _told(found, target, capsys) == expected
    if name != "assert-that-holds":
        wanted = {"print": None, "assert": AssertionFailed, "bounds": OutOfBounds}[name.split("-", maxsplit=1)[0]]
        assert expected[1] is wanted
        assert expected[0] or wanted is not None


@pytest.mark.parametrize("target", [Target("interp"), *_TARGETS[:3]], ids=str)
def test_words_are_these(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    printed, _, _ = _told(_run("print-plain"), target, capsys)
    assert printed == "".join(f"lane {n} of group {n // _LANES}.\n" for n in range(_LANES * _GROUPS))
    _, kind, about = _told(_run("assert-many-lanes"), target, capsys)
    assert kind is AssertionFailed
    assert (about["lane"], about["message"]) == (20, "at 20 of 0")
    assert "assertion failed in lane 20: at 20 of 0" in str(about["text"])
    _, kind, about = _told(_run("bounds-buffer-load-i32--9-lane"), target, capsys)
    assert kind is OutOfBounds
    assert (about["lane"], about["memory"], about["index"], about["bound"]) == (1, "m", -8, 50)


@pytest.mark.parametrize("name", [n for n in MESSAGES if n.startswith("bounds")])
def test_without_checks_nothing_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Reads outside give 0 and writes vanish, silently: the buffers are the interpreter's, and nothing around them."""
    found = _run(name)
    expected = execute(found.kernel, found.buffers, groups=found.groups, on="interp")
    for target in _TARGETS:
        with environment(LOOM_SIMD=target.simd, LOOM_THREADS=target.threads[0], LOOM_CHECK=0):
            got = execute(found.kernel, found.buffers, groups=found.groups)
        for memory, array, wanted in zip(found.kernel.buffers, got, expected, strict=True):
            require_same(array, wanted, f"{target}, buffer {memory.name!r}")
    assert capsys.readouterr().out == ""


def test_types_printed_are_all_types() -> None:
    """f16 and bf16 are stored, never computed with, so they cannot be printed."""
    printed = {"bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64"}
    assert printed == {t.name for t in SCALARS.values() if not t.storage_only}
    assert {t for n in MESSAGES if n.startswith("print") for t in _printed_types(n)} >= {bool_, f32, f64, u32}


def _printed_types(name: str) -> set[DType]:
    values = [s.args for s in _run(name).kernel.body.statements if getattr(s, "op", None) and s.op.name == "print"]
    return {a.type for args in values for a in args}
