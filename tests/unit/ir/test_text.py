"""The text form prints and parses back, and says which line it cannot read."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from conformance.strategies import random_kernel
from loom.core.dtype import f32, i32, u32
from loom.core.errors import KernelError, KernelTypeError, VerifyError
from loom.core.numerics import Guarantee
from loom.ir.builder import Builder
from loom.ir.kernel import Access, For, Instr, Kernel, Loc, walk
from loom.ir.text import hash_kernel, parse_kernel, print_kernel

HAND = """kernel @every.part workgroup 4 2 1 trusted guarantee run_to_run {
  buffer x: f32 read
  buffer y: u32 write
  buffer z: u64 read_write
  param a: f32
  param flag: bool
  shared s: u32[8]
  private p: f32x3[5]
  var v: i32
  var w: f32x2
  %0 = global_id 0 : u32
  %1 = local_id 1 : u32
  %2 = group_id 2 : u32
  %3 = num_groups 0 : u32
  %4 = const 0x80000000 : i32
  %5 = const 0x7fc00000 : f32
  set v %4
  %6 = param flag : bool
  if %6 {
    store y %0 %1
    return
  } else {
    %7 = get v : i32
    print "v = " %7 " \\"quoted\\" # no comment\\n%0 }" %5 ""
  }
  if %6 {
    barrier
  }
  %8 = const 0x0 : i32
  %9 = const 0xffffffff : i32
  for %10 = %4 downto %8 step %9 : i32 {
    continue
  }
  for %11 = %8 to %4 step %9 : i32 {
    if %6 {
      break
    }
  }
  while {
    %12 = load x %0 : f32
    %13 = lt %12 %5 : bool
  } test %13 {
    %14 = vector %12 %5 : f32x2
    set w %14
    %15 = extract 1 %14 : f32
    assert %13 "it is " %15 ""
    assert %6 ""
  }
  %16 = length x : u32
  %17 = atomic_add s %1 %16 : u32
  %18 = convert %17 : u64
  %19 = bitcast %5 : u32
  %20 = atomic_compare_exchange z %19 %18 %18 : u64
  breakpoint
}
"""


@pytest.mark.parametrize("seed", range(60))
def test_random_kernels_come_back(seed: int) -> None:
    kernel = random_kernel(seed)
    text = print_kernel(kernel)
    again = parse_kernel(text)
    assert print_kernel(again) == text
    assert hash_kernel(again) == hash_kernel(kernel)
    assert shape(again) == shape(kernel)


def shape(kernel: Kernel) -> list[tuple[object, ...]]:
    """What a kernel consists of, read from its statements instead of its text."""
    return [
        (s.op.name, s.dtype, len(s.args), s.memory and s.memory.name, s.attr if isinstance(s.attr, int) else None)
        if isinstance(s, Instr)
        else (type(s).__name__, s.down if isinstance(s, For) else None)
        for s in walk(kernel.body)
    ]


def test_every_part_of_the_language_comes_back() -> None:
    kernel = parse_kernel(HAND)
    assert print_kernel(kernel) == HAND
    assert (kernel.name, kernel.workgroup, kernel.trusted) == ("every.part", (4, 2, 1), True)
    assert kernel.guarantee is Guarantee.RUN_TO_RUN
    assert [m.access for m in kernel.buffers] == [Access.READ, Access.WRITE, Access.READ_WRITE]
    assert [(m.name, m.dtype.name, m.size) for m in (*kernel.shared, *kernel.private)] == [
        ("s", "u32", 8),
        ("p", "f32x3", 5),
    ]


def test_texts_of_any_letters_come_back() -> None:
    for said in ("", '"', "\\", "a # b", "\n\t\x00", "é \u2028 日本", "} else {", "%1 : u32", " # x.py:3"):
        b = Builder("says")
        b.emit("print", attr=(said,))
        again = parse_kernel(print_kernel(b.finish(), locations=True))
        (instr,) = again.body.statements
        assert isinstance(instr, Instr)
        assert instr.attr == (said,)


def test_spaces_comments_and_empty_lines_do_not_count() -> None:
    loose = HAND.replace("\n", "   # a comment: it's free\n\n\t ").replace("  barrier", "\n# alone\n   barrier")
    assert print_kernel(parse_kernel(loose.rstrip())) == HAND


def test_locations_are_comments_and_what_is_read_has_those_of_the_text() -> None:
    b = Builder("k", loc=Loc("a.py", 1))
    b.loc = Loc("a.py", 7)
    b.emit("barrier")
    kernel = b.finish()
    assert print_kernel(kernel, locations=True).splitlines()[1] == "  barrier  # a.py:7"
    again = parse_kernel(print_kernel(kernel, locations=True), file="k.txt")
    assert (again.loc, again.body.statements[0].loc) == (Loc("k.txt", 1), Loc("k.txt", 2))


def test_constants_are_bit_patterns() -> None:
    b = Builder("k")
    for value, dtype in ((-0.0, f32), (float("nan"), f32), (-1, i32), (1, u32)):
        b.const(value, dtype)
    lines = print_kernel(b.finish()).splitlines()
    assert [line.split()[3] for line in lines[1:5]] == ["0x80000000", "0x7fc00000", "0xffffffff", "0x1"]


# errors

START = (
    "kernel @k workgroup 4 1 1 {\nbuffer x: u32 read_write\nvar v: u32\n%0 = const 0x1 : bool\n%1 = const 0x0 : u32\n"
)
STATEMENT = "unknown statement: expected an operation, if, for, while, break, continue or return"
RESULT = "not an operation with a result: expected %0 = operation ... : dtype"
NAMED = "expected one declared above"
HELD = "expected a buffer, shared or private array declared above"
UNREAD = {
    "foo": STATEMENT,
    "if %0": STATEMENT,
    "if": STATEMENT,
    "} else {": STATEMENT,
    "} test %0 {": STATEMENT,
    "buffer y u32": STATEMENT,
    "for %2 = %1 to %1 step %1 {": STATEMENT,
    "%2 = ": RESULT,
    "%2 = const 0x0": RESULT,
    "%2 = const 0x0 : u32 more": RESULT,
    "%2 const 0x0 : u32": RESULT,
    "%2 = const 0x0 : u33": "no dtype is called 'u33': expected a dtype",
    "%2 = const : u32": "'' is no whole number: expected a bit pattern or dimension",
    "%2 = const zero : u32": "'zero' is no whole number: expected a bit pattern or dimension",
    "%2 = global_id : u32": "'' is no whole number: expected a bit pattern or dimension",
    "%2 = load y %1 : u32": f"'y' is no memory: {HELD}",
    "%2 = load %1 : u32": f"'%1' is no memory: {HELD}",
    "%2 = length : u32": f"'' is no memory: {HELD}",
    "store v %1 %1": f"'v' is no memory: {HELD}",
    "%2 = get x : u32": f"'x' is no parameter or variable: {NAMED}",
    "%2 = param : u32": f"'' is no parameter or variable: {NAMED}",
    "set %1": f"'%1' is no parameter or variable: {NAMED}",
    "set v %9": "%9 is used before it is computed: expected a value",
    "if %9 {": "%9 is used before it is computed: expected a value",
    "for %2 = %1 to %1 step %9 : u32 {": "%9 is used before it is computed: expected a value",
    "for %2 = %1 to %1 step %1 : i32 {": "the counter has another type: expected u32",
    "for %1 = %1 to %1 step %1 : u32 {": "%1 is computed twice: expected a number of its own",
    "%1 = const 0x0 : u32": "%1 is computed twice: expected a number of its own",
    "%2 = add %1 %1 : f32": "the value has another type: expected u32",
    "load x %1": "the value has another type: expected u32",
    "%2 = store x %1 %1 : u32": "the value has another type: expected no result",
    "barrier x": "'x' is no value: expected %0, %1, ...",
    'print "a': "'a' is no value: expected %0, %1, ...",
    'print "\\q"': '"\\q" is no text: expected a JSON string',
}


@pytest.mark.parametrize("line", UNREAD)
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    with pytest.raises(VerifyError) as caught:
        parse_kernel(f"{START}{line}\n}}\n", file="k.txt")
    remedy = "Compare with what 'loom ir --emit text' prints."
    assert str(caught.value) == f"[k.txt:6] {UNREAD[line]}, got {line.strip()}. {remedy}"


WHOLE = {
    "": (1, "the kernel is not closed: expected '}', got the end of the text"),
    "\n\nkernel k {": (3, "no kernel header: expected kernel @name workgroup X Y Z {, got kernel k {"),
    "kernel @k workgroup 1 1 {\n}": (1, "no kernel header: expected kernel @name workgroup X Y Z {"),
    "kernel @k workgroup 1 1 1 guarantee none {\n}": (1, "no guarantee is called 'none': expected fast or run_to_run"),
    "kernel @k workgroup 1 1 1 {": (2, "the kernel is not closed: expected '}', got the end of the text"),
    "kernel @k workgroup 1 1 1 {\nwhile {\n}\n}": (3, STATEMENT),
    "kernel @k workgroup 1 1 1 {\n}\n\nmore": (4, "text after the kernel: expected the end of the text, got more"),
    "kernel @k workgroup 1 1 1 {\nbuffer x: f31 read\n}": (2, "no dtype is called 'f31': expected a dtype"),
    "kernel @k workgroup 1 1 1 {\nbuffer x: f32 rw\n}": (
        2,
        "no access is called 'rw': expected read, write or read_write, got buffer x: f32 rw",
    ),
    "kernel @k workgroup 1 1 1 {\nshared s: f32\n}": (2, STATEMENT),
}


@pytest.mark.parametrize("text", WHOLE)
def test_a_text_that_is_no_kernel(text: str) -> None:
    line, what = WHOLE[text]
    with pytest.raises(VerifyError) as caught:
        parse_kernel(text)
    assert str(caught.value).startswith(f"[<text>:{line}] {what}")
    assert str(caught.value).endswith(" Compare with what 'loom ir --emit text' prints.")


def test_nesting_beyond_reason_is_an_error_of_the_text() -> None:
    deep = "".join(f"%{n} = const 0x1 : bool\nif %{n} {{\n" for n in range(3000))
    with pytest.raises(VerifyError, match="statements are nested too deeply: expected fewer levels"):
        parse_kernel("kernel @k workgroup 1 1 1 {\n" + deep)


def test_type_errors_name_the_line_of_the_text() -> None:
    with pytest.raises(KernelTypeError) as caught:
        parse_kernel(f"{START}%2 = add %0 %1 : u32\n}}", file="k.txt")
    assert str(caught.value).startswith("[kernel 'k' at k.txt:6] add cannot take a bool")


def test_a_broken_text_gives_loom_errors_only() -> None:
    """Words left out, doubled or swapped anywhere, one at a time."""
    lines = HAND.splitlines()
    for number, line in enumerate(lines):
        words = line.split()
        for k in range(len(words)):
            swapped = words.copy()
            swapped[k], swapped[k - 1] = swapped[k - 1], swapped[k]
            for broken in (words[:k] + words[k + 1 :], words[: k + 1] + words[k:], swapped, [*words, json.dumps("x")]):
                text = "\n".join([*lines[:number], " ".join(broken), *lines[number + 1 :]])
                with suppress(KernelError):
                    parse_kernel(text)
