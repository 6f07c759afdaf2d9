"""``verify``: each rule of the language, with the text that names kernel, line, expectation and remedy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from conformance.strategies import random_kernel
from loom.core.dtype import DType, bf16, bool_, f32, lookup, u8, u32
from loom.core.errors import VerifyError
from loom.ir.builder import Builder
from loom.ir.interp import interpret
from loom.ir.kernel import Access, Instr, Kernel, Loc, Memory, Param, Space, Variable
from loom.ir.ops import OPS
from loom.ir.text import parse_kernel
from loom.ir.verify import verify


class Draft(Builder):
    """A kernel begun: a buffer, a variable, a lane's number, a condition that differs from lane to lane."""

    def __init__(self, workgroup: tuple[int, int, int] = (8, 1, 1)) -> None:
        super().__init__("k", workgroup, Loc("k.py", 1))
        self.line(2)
        self.x = self.buffer("x", u32)
        self.v = self.variable("v", u32)
        self.i = self.emit("global_id", attr=0)
        self.differs = self.emit("lt", self.i, self.const(3, u32))
        self.same = self.emit("lt", self.emit("group_id", attr=0), self.const(3, u32))

    def line(self, number: int) -> None:
        self.loc = Loc("k.py", number)

    def raw(self, name: str, dtype: DType | None = None, args: tuple[Instr, ...] = (), attr: object = None,
            memory: Memory | None = None) -> Instr:  # fmt: skip
        """Append an operation that ``emit`` might refuse."""
        instr = Instr(OPS[name], dtype, args, attr, memory, self.loc)
        self.append(instr)
        return instr


def _inner_value(b: Draft) -> None:
    with b.into(b.if_(b.differs).then):
        inner = b.const(1, u32)
    b.line(9)
    b.emit("store", b.i, inner, memory=b.x)


def _value_of_the_other_branch(b: Draft) -> None:
    branch = b.if_(b.differs)
    with b.into(branch.then):
        inner = b.const(1, u32)
    with b.into(branch.otherwise):
        b.line(9)
        b.emit("store", b.i, inner, memory=b.x)


def _counter_after_the_loop(b: Draft) -> None:
    loop = b.for_(b.i, b.i, b.i)
    b.line(9)
    b.emit("store", b.i, loop.index, memory=b.x)


def _bounds_from_inside(b: Draft) -> None:
    with b.into(b.if_(b.differs).then):
        inner = b.const(1, u32)
    b.line(9)
    b.for_(b.i, inner, b.i)


def _condition_of_nothing(b: Draft) -> None:
    b.line(9)
    b.while_()


def _condition_of_a_number(b: Draft) -> None:
    b.line(9)
    loop = b.while_()
    with b.into(loop.test):
        loop.condition = b.const(1, u32)


def _read_before_assigned(b: Draft) -> None:
    b.line(9)
    b.emit("get", attr=b.v)


def _assigned_in_one_branch(b: Draft) -> None:
    with b.into(b.if_(b.differs).then):
        b.emit("set", b.i, attr=b.v)
    _read_before_assigned(b)


def _assigned_in_a_loop(b: Draft) -> None:
    with b.into(b.for_(b.i, b.i, b.i).body):
        b.emit("set", b.i, attr=b.v)
    _read_before_assigned(b)


def _assigned_where_some_left(b: Draft) -> None:
    loop = b.while_()
    with b.into(loop.test):
        loop.condition = b.emit("eq", b.i, b.i)
    with b.into(loop.body):
        branch = b.if_(b.same)
        with b.into(branch.then):
            b.break_()
        with b.into(branch.otherwise):
            b.emit("set", b.i, attr=b.v)
    _read_before_assigned(b)


def _break(b: Draft) -> None:
    b.line(9)
    b.break_()


def _break_in_a_test(b: Draft) -> None:
    loop = b.while_()
    with b.into(loop.test):
        _break(b)


def _after(leave: str) -> Callable[[Draft], None]:
    def make(b: Draft) -> None:
        with b.into(b.for_(b.i, b.i, b.i).body):
            getattr(b, leave)()
            b.line(9)
            b.const(1, u32)

    return make


def _nested(b: Draft) -> None:
    block = b.block
    for level in range(100):
        b.line(level)
        with b.into(block):
            block = b.if_(b.same).then


def _returns(b: Draft) -> None:
    for line in range(100):
        b.line(line)
        with b.into(b.if_(b.differs).then):
            b.return_()


def at9(make: Callable[[Draft], object]) -> Callable[[Draft], None]:
    def on_line_9(b: Draft) -> None:
        b.line(9)
        make(b)

    return on_line_9


SCOPE = "expected a value of this block or one around it. Keep it in a variable."
LEVELS = (
    "statements are nested too deeply: expected at most 100 levels. "
    "Split long chains of elif or of early returns, for example by halves."
)
ASSIGNED = (
    "variable 'v' may be read before it is assigned: expected a value on every path. "
    "Assign v before the branch or loop."
)
OUTSIDE = "expected a for or while around it. Remove it."
REFUSED: dict[str, tuple[Callable[[Draft], object], str]] = {
    "a value of an inner block": (_inner_value, f"9] const is used where it is not computed: {SCOPE}"),
    "a value of the other branch": (_value_of_the_other_branch, f"9] const is used where it is not computed: {SCOPE}"),
    "a counter after its loop": (_counter_after_the_loop, f"9] index is used where it is not computed: {SCOPE}"),
    "bounds from an inner block": (_bounds_from_inside, f"9] const is used where it is not computed: {SCOPE}"),
    "a while without condition": (_condition_of_nothing, f"9] const is used where it is not computed: {SCOPE}"),
    "a while on a number": (
        _condition_of_a_number,
        "9] a condition must be a bool: expected bool, got u32. Compare, for example x != 0.",
    ),
    "read, never assigned": (_read_before_assigned, f"9] {ASSIGNED}"),
    "assigned in one branch": (_assigned_in_one_branch, f"9] {ASSIGNED}"),
    "assigned in a loop": (_assigned_in_a_loop, f"9] {ASSIGNED}"),
    "assigned by those who stayed": (_assigned_where_some_left, f"9] {ASSIGNED}"),
    "break outside": (_break, f"9] break outside a loop: {OUTSIDE}"),
    "break in the test of a loop": (_break_in_a_test, f"9] break outside a loop: {OUTSIDE}"),
    "continue outside": (at9(lambda b: b.continue_()), f"9] continue outside a loop: {OUTSIDE}"),
    "after break": (_after("break_"), "9] statement after break never runs: expected no statement. Remove it."),
    "after continue": (
        _after("continue_"),
        "9] statement after continue never runs: expected no statement. Remove it.",
    ),
    "after return": (_after("return_"), "9] statement after return never runs: expected no statement. Remove it."),
    "nested deeply": (_nested, f"99] {LEVELS}"),
    "a hundred early returns": (_returns, LEVELS),
    "foreign memory": (
        at9(lambda b: b.emit("load", b.i, memory=Memory("far", u32, Space.BUFFER))),
        "9] memory 'far' is not the kernel's: expected a declared memory. Declare it.",
    ),
    "a foreign parameter": (
        at9(lambda b: b.emit("param", attr=Param("far", u32))),
        "9] 'far' is not the kernel's: expected a declared name. Declare it.",
    ),
    "a foreign variable": (
        at9(lambda b: b.emit("set", b.i, attr=Variable("far", u32))),
        "9] 'far' is not the kernel's: expected a declared name. Declare it.",
    ),
    "a parameter of nothing": (
        at9(lambda b: b.emit("param", dtype=u32)),
        "9] param names nothing: expected a Param, got None. Declare it.",
    ),
    "a variable of nothing": (
        at9(lambda b: b.emit("get", dtype=u32)),
        "9] get names nothing: expected a Variable, got None. Declare it.",
    ),
    "a wrong result type": (
        at9(lambda b: b.raw("add", f32, (b.i, b.i))),
        "9] add has a wrong result type: expected u32, got f32. Build it with Builder.",
    ),
    "operands of a wrong type": (
        at9(lambda b: b.raw("sqrt", u32, (b.i,))),
        "9] sqrt cannot take a u32: expected f32 or f64, got u32. Convert it first.",
    ),
    "a fourth dimension": (
        at9(lambda b: b.emit("local_id", attr=3)),
        "9] local_id 3 does not exist: expected 0 to 2, got 3. Use another.",
    ),
    "no dimension": (
        at9(lambda b: b.emit("num_groups")),
        "9] num_groups None does not exist: expected 0 to 2, got None. Use another.",
    ),
    "a third component of two": (
        at9(lambda b: b.emit("extract", b.emit("vector", b.i, b.i, dtype=lookup("u32x2")), attr=2)),
        "9] extract 2 does not exist: expected 0 to 1, got 2. Use another.",
    ),
    "a constant wider than its type": (
        at9(lambda b: b.emit("const", attr=256, dtype=u8)),
        "9] constant does not fit u8: expected 0 to 255, got 256. Use another.",
    ),
    "a bool that is 2": (
        at9(lambda b: b.emit("const", attr=2, dtype=bool_)),
        "9] constant does not fit bool: expected 0 to 1, got 2. Use another.",
    ),
    "a constant without bits": (
        at9(lambda b: b.emit("const", dtype=f32)),
        "9] constant does not fit f32: expected 0 to 4294967295, got None. Use another.",
    ),
    "a print without text": (
        at9(lambda b: b.emit("print", b.i)),
        "9] print has a wrong text: expected 2 pieces of text, got None. Add them.",
    ),
    "an assertion of too many texts": (
        at9(lambda b: b.emit("assert", b.same, attr=("a", "b"))),
        "9] assert has a wrong text: expected 1 pieces of text, got ('a', 'b'). Add them.",
    ),
    "a counter of no loop": (
        at9(lambda b: b.raw("index", u32)),
        "9] index outside the head of a loop: expected for. Use the counter of a for.",
    ),
    "an empty shared array": (
        lambda b: b.shared("s", u32, 0),
        "1] shared array 's' has no elements: expected a size of at least 1, got 0. Give its length as a constant.",
    ),
    "an empty private array": (
        lambda b: b.private("p", u32, -1),
        "1] private array 'p' has no elements: expected a size of at least 1, got -1. Give its length as a constant.",
    ),
    "a vector as parameter": (
        lambda b: b.param("a", lookup("f32x2")),
        "1] parameter 'a' has an unusable type: expected bool, an integer, f32 or f64, got f32x2. Pass its components.",
    ),
    "a half as parameter": (
        lambda b: b.param("a", bf16),
        "1] parameter 'a' has an unusable type: expected bool, an integer, f32 or f64, got bf16. Declare a: f32, and "
        "store it to a buffer of bf16.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    wrong, text = REFUSED[name]
    b = Draft()
    wrong(b)
    with pytest.raises(VerifyError) as caught:
        verify(b.finish())
    expected = f"[kernel 'k' at k.py:{text}"
    assert str(caught.value) == expected or (text is LEVELS and str(caught.value).endswith(f"] {text}"))


@pytest.mark.parametrize("workgroup", [(0, 1, 1), (1025, 1, 1), (32, 33, 1), (-1, -1, 1)])
def test_workgroups_of_unusable_size(workgroup: tuple[int, int, int]) -> None:
    with pytest.raises(VerifyError) as caught:
        verify(Draft(workgroup).finish())
    assert str(caught.value) == (
        f"[kernel 'k' at k.py:1] workgroup of unusable size: expected 1 to 1024 lanes, each extent at least 1, "
        f"got {workgroup}. Use more groups of fewer lanes."
    )


@pytest.mark.parametrize("workgroup", [(1, 1, 1), (1024, 1, 1), (1, 1, 1024), (8, 8, 16)])
def test_workgroups_up_to_the_limit(workgroup: tuple[int, int, int]) -> None:
    assert verify(Draft(workgroup).finish()).kernel.workgroup == workgroup


# what is accepted


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_are_accepted_and_mean_the_same_verified(seed: int) -> None:
    kernel = random_kernel(seed)
    assert results(verify(kernel).kernel) == results(kernel)


def results(kernel: Kernel, groups: int = 2) -> list[bytes]:
    """Bytes a kernel leaves in its buffers, from the same random bytes."""
    rng = np.random.default_rng(1)
    lanes = kernel.lanes * groups
    arrays = [rng.integers(0, 256, lanes * 6 * m.dtype.nbytes, np.uint8).view(m.dtype.numpy) for m in kernel.buffers]
    interpret(kernel, arrays, [1] * len(kernel.params), (groups, 1, 1), output=lambda _: None)
    return [a.tobytes() for a in arrays]


def test_assigned_on_every_path_is_assigned() -> None:
    b = Draft()
    branch = b.if_(b.differs)
    with b.into(branch.then):
        b.return_()
    with b.into(branch.otherwise):
        b.emit("set", b.i, attr=b.v)
    b.emit("store", b.i, b.emit("get", attr=b.v), memory=b.x)
    verify(b.finish())


def test_a_test_that_assigns_has_assigned() -> None:
    b = Draft()
    loop = b.while_()
    with b.into(loop.test):
        b.emit("set", b.i, attr=b.v)
        loop.condition = b.emit("ne", b.i, b.i)
    b.emit("store", b.i, b.emit("get", attr=b.v), memory=b.x)
    verify(b.finish())


def test_what_the_planner_asks() -> None:
    text = """kernel @k workgroup 2 1 1 {
      buffer a: u32 read
      buffer b: u32 write
      buffer c: u32 read_write
      buffer d: u32 read_write
      shared s: u32[2]
      %0 = local_id 0 : u32
      %1 = load a %0 : u32
      store b %0 %1
      %2 = atomic_add c %0 %1 : u32
      %3 = length d : u32
      store s %0 %3
    """
    found = verify(parse_kernel(text + "}"))
    assert ({m.name for m in found.reads}, {m.name for m in found.writes}) == ({"a", "c"}, {"b", "c"})
    assert (found.has_barrier, found.talks, found.name) == (False, False, "k")
    for line, answer in (("barrier", (True, False)), ('print ""', (False, True))):
        found = verify(parse_kernel(f"{text}{line}\n}}"))
        assert (found.has_barrier, found.talks) == answer


def test_accesses_as_declared() -> None:
    assert [(a.reads, a.writes) for a in Access] == [(True, False), (False, True), (True, True)]
