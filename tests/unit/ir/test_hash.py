"""The content hash: changed by all that matters, by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import loom
from conformance.strategies import random_kernel
from loom import In, Out, f32, u32
from loom.core.numerics import Guarantee
from loom.ir.builder import Builder
from loom.ir.kernel import Access, Kernel, Loc
from loom.ir.text import hash_kernel, parse_kernel

TEXT = """kernel @k workgroup 64 1 1 {
  buffer x: f32 read
  buffer y: f32 read_write
  param a: f32
  shared s: f32[64]
  private p: f32[4]
  var v: f32
  %0 = global_id 0 : u32
  %1 = load x %0 : f32
  %2 = param a : f32
  set v %2
  %3 = get v : f32
  %4 = const 0x3f800000 : f32
  %5 = sub %1 %4 : f32
  %6 = mul %5 %3 : f32
  %7 = lt %0 %0 : bool
  if %7 {
    store y %0 %6
  } else {
    print "none" %6 ""
  }
  for %8 = %0 to %0 step %0 : u32 {
  }
}
"""

CHANGES: dict[str, list[tuple[str, str]]] = {
    "name": [("@k", "@l")],
    "workgroup": [("64 1 1", "32 2 1")],
    "trust": [("64 1 1 {", "64 1 1 trusted {")],
    "guarantee": [("64 1 1 {", "64 1 1 guarantee fast {")],
    "a buffer's name": [("buffer x:", "buffer z:"), ("load x", "load z")],
    "a buffer's type": [("shared s: f32", "shared s: f64")],
    "a buffer's access": [("y: f32 read_write", "y: f32 write")],
    "a buffer more": [("  param", "  buffer z: f32 read\n  param")],
    "a parameter's name": [("param a", "param b")],
    "a parameter more": [("  shared", "  param b: f64\n  shared")],
    "shared size": [("s: f32[64]", "s: f32[65]")],
    "private size": [("p: f32[4]", "p: f32[5]")],
    "a constant's bits": [("0x3f800000", "0x3f800001")],
    "an operation": [("= sub", "= add")],
    "order of operands": [("sub %1 %4", "sub %4 %1")],
    "which operand": [("mul %5 %3", "mul %5 %1")],
    "a dimension": [("global_id 0", "global_id 1")],
    "what is printed": [('"none"', '"some"')],
    "direction of a loop": [(" to ", " downto ")],
    "branches swapped": [("store y %0 %6", "?"), ('print "none" %6 ""', "store y %0 %6"), ("?", 'print "none" %6 ""')],
}


@pytest.mark.parametrize("what", CHANGES)
def test_changes_that_matter(what: str) -> None:
    changed = TEXT
    for old, new in CHANGES[what]:
        assert old in changed
        changed = changed.replace(old, new)
    assert hash_kernel(parse_kernel(changed)) != hash_kernel(parse_kernel(TEXT))


def test_the_order_of_buffers_matters() -> None:
    x, y = "  buffer x: f32 read\n", "  buffer y: f32 read_write\n"
    assert hash_kernel(parse_kernel(TEXT.replace(x + y, y + x))) != hash_kernel(parse_kernel(TEXT))


def test_different_kernels_have_different_hashes_of_64_digits() -> None:
    hashes = {hash_kernel(random_kernel(seed)) for seed in range(60)}
    assert len(hashes) == 60
    assert all(len(h) == 64 and int(h, 16) for h in hashes)


def test_equal_kernels_have_equal_hashes_whatever_built_them() -> None:
    for seed in range(20):
        assert hash_kernel(random_kernel(seed)) == hash_kernel(random_kernel(seed))


def built(line: int, variable: str) -> Kernel:
    b = Builder("k", loc=Loc("a.py", line))
    b.loc = Loc("a.py", line + 1)
    x = b.buffer("x", f32, Access.READ_WRITE)
    i = b.emit("global_id", attr=0)
    b.name_value(i, variable)
    v = b.variable(variable, f32)
    b.emit("set", b.emit("load", i, memory=x), attr=v)
    b.emit("store", i, b.emit("get", attr=v), memory=x)
    return b.finish()


def test_locations_and_names_of_locals_do_not_matter() -> None:
    assert hash_kernel(built(1, "i")) == hash_kernel(built(99, "total"))
    assert hash_kernel(built(1, "v1")) == hash_kernel(built(1, "x"))


def test_two_variables_are_told_apart() -> None:
    def swapped(first: int) -> str:
        b = Builder("k")
        variables = [b.variable(name, u32) for name in "ab"]
        for n, variable in enumerate(variables):
            b.emit("set", b.const(n, u32), attr=variable)
        b.emit("print", b.emit("get", attr=variables[first]), attr=("", ""))
        return hash_kernel(b.finish())

    assert swapped(0) != swapped(1)


def test_fields_of_a_kernel_matter_without_the_text_parser() -> None:
    kernel = built(1, "i")
    for change in ({"trusted": True}, {"guarantee": Guarantee.FAST}, {"workgroup": (1, 64, 1)}, {"name": "other"}):
        assert hash_kernel(replace(kernel, **change)) != hash_kernel(kernel)


def make(body: Callable[..., Any]) -> str:
    return loom.kernel(workgroup=64)(body).verified.hash


def test_functions_that_differ_in_names_of_locals_alone_are_one_kernel() -> None:
    def same(x: In[f32], out: Out[f32], n: u32):
        i = loom.global_id()
        total = f32(0)
        for k in range(n):
            total += x[k]
        out[i] = total

    first = make(same)

    def same(x: In[f32], out: Out[f32], n: u32):  # a comment, other names, other lines
        lane = loom.global_id()
        t = f32(0)

        for index in range(n):
            t += x[index]
        out[lane] = t

    assert make(same) == first

    def same(x: In[f32], out: Out[f32], n: u32):
        i = loom.global_id()
        total = f32(1)
        for k in range(n):
            total += x[k]
        out[i] = total

    assert make(same) != first
