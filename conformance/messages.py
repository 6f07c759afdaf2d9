"""Kernels that tell the host something: prints, asserts that fail, indexes outside; and what was told, to compare."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from conformance.running import Case, Target, environment, execute
from conformance.writer import Value, Writer
from loom.core.dtype import DType, i8, i32, i64, lookup, u8, u16, u32, u64
from loom.core.errors import KernelFault

__all__ = ["GROUPS", "LANES", "MESSAGES", "message_case", "what_is_told"]

LANES, GROUPS = 24, 3
MESSAGES: dict[str, Callable[[], Case]] = {}
Body = Callable[[Writer, Value], Value | None]
"""Writes a kernel for the lane with a number; what it returns is stored."""
Told = tuple[str, type | None, dict[str, object]]
"""The lines printed, the kind of fault, and what it says."""


def what_is_told(found: Case, target: Target, capsys: pytest.CaptureFixture[str]) -> Told:
    """Run a case; return what came out."""
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
    k = Writer(name.replace("-", "_"), (LANES, 1, 1))
    out = k.buffer("out", u32)
    result = body(k, k.global_id())
    out[k.global_id()] = k.global_id() if result is None else result
    return Case(k.finish(), (np.zeros(LANES * GROUPS, np.uint32),), groups=(GROUPS, 1, 1))


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
    shared = k.shared("s", u32, LANES)
    shared[k.local_id()] = i
    k.barrier()
    k.check(shared[LANES - 1 - k.local_id()] != 30, "met 30 in ", i, "")


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


def message_case(name: str) -> Case:
    """Build a case; a bounds kernel has a second buffer, ``m``."""
    found = MESSAGES[name]()
    extra = len(found.kernel.buffers) - len(found.buffers)
    return Case(found.kernel, found.buffers + (np.arange(50, dtype=np.uint32),) * extra, groups=found.groups)
