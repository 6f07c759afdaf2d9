"""The debugger: where it stops, what it shows, what its commands do; driven through injected streams."""

from __future__ import annotations

import bdb
import io
import re
import threading
from pathlib import Path

import numpy as np
import pytest

import loom
from loom.core.dtype import bool_, f32, u32
from loom.core.errors import NotANumber
from loom.ir.builder import Builder
from loom.ir.interp import Options, current_debug, debug, interpret
from loom.ir.kernel import Kernel, Loc

SOURCE = """\
# a file with a kernel in it
def scale(x, factor):
    i = global_id(0)
    y = x[i] * factor
    total = 0
    for k in range(i):
        total = total + k
    if y > 4.0:
        breakpoint()
        y = y + 1.0
    x[i] = y


after = 1
"""


def at(b: Builder, file: str, line: int) -> None:
    b.loc = Loc(file, line)


def scale_kernel(file: str) -> Kernel:
    """The kernel of SOURCE, built by hand with its lines and names."""
    b = Builder("scale", workgroup=(4, 1, 1), loc=Loc(file, 2))
    x, factor = b.buffer("x", f32), b.param("factor", f32)
    y, total = b.variable("y", f32), b.variable("total", u32)
    b.shared("s", u32, 2)
    at(b, file, 3)
    i = b.emit("global_id", attr=0)
    b.name_value(i, "i")
    at(b, file, 4)
    b.emit("set", b.emit("mul", b.emit("load", i, memory=x), b.emit("param", attr=factor)), attr=y)
    at(b, file, 5)
    b.emit("set", b.const(0, u32), attr=total)
    at(b, file, 6)
    loop = b.for_(b.const(0, u32), i, b.const(1, u32))
    b.name_value(loop.index, "k")
    with b.into(loop.body):
        at(b, file, 7)
        b.emit("set", b.emit("add", b.emit("get", attr=total), loop.index), attr=total)
    at(b, file, 8)
    branch = b.if_(b.emit("gt", b.emit("get", attr=y), b.const(4.0, f32)))
    with b.into(branch.then):
        at(b, file, 9)
        b.emit("breakpoint")
        at(b, file, 10)
        b.emit("set", b.emit("add", b.emit("get", attr=y), b.const(1.0, f32)), attr=y)
    at(b, file, 11)
    b.emit("store", i, b.emit("get", attr=y), memory=x)
    return b.finish()


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    path = tmp_path / "scale.py"
    path.write_text(SOURCE)
    return scale_kernel(str(path))


def talk(
    kernel: Kernel, *commands: str, lane: int | None = None, lines: tuple[int, ...] = ()
) -> tuple[str, np.ndarray]:
    """Run 8 lanes with factor 2.5 under the debugger, typing ``commands``; return what it says and x."""
    out = io.StringIO()
    x = np.arange(8, dtype=np.float32)
    with debug(lane, lines, stdin=io.StringIO("\n".join(commands) + "\n"), stdout=out) as chosen:
        interpret(kernel, [x], [2.5], (2, 1, 1), options=chosen.options)
    return out.getvalue(), x


RESULT = [0.0, 2.5, 6.0, 8.5, 11.0, 13.5, 16.0, 18.5]


def stops(text: str) -> list[int]:
    """The lines at which the debugger stopped."""
    return [int(n) for n in re.findall(r"scale\.py\((\d+)\)scale\(\)", text)]


def test_a_breakpoint_statement_stops_the_lowest_lane_there(kernel: Kernel) -> None:
    text, x = talk(kernel, "p i, y", "continue")
    assert stops(text) == [9]
    assert "-> breakpoint()" in text
    assert "(lane 2) " in text
    assert re.search(r"\(?np\.uint32\(2\)|\(2, 5\.0\)", text)
    assert x.tolist() == RESULT


def test_the_chosen_lane_is_shown(kernel: Kernel) -> None:
    text, _ = talk(kernel, "p int(i), float(y), int(total)", "p global_id, local_id, group_id", "c", lane=5)
    assert "(5, 12.5, 10)" in text
    assert "((5, 0, 0), (1, 0, 0), (1, 0, 0))" in text


def test_a_lane_that_never_gets_there_does_not_stop(kernel: Kernel) -> None:
    text, x = talk(kernel, lane=1)
    assert text == ""
    assert x.tolist() == RESULT


def test_list_shows_the_source_around_the_line(kernel: Kernel) -> None:
    text, _ = talk(kernel, "list", "where", "c")
    assert re.search(r"\n +9 +->\s+breakpoint\(\)", text)
    assert "  8  \t    if y > 4.0:" in text
    assert "interp" not in text  # none of the interpreter's own frames


def test_longlist_shows_the_kernel_alone(kernel: Kernel) -> None:
    text, _ = talk(kernel, "ll", "c")
    assert "def scale(x, factor):" in text
    assert "x[i] = y" in text
    assert "after = 1" not in text
    assert "# a file" not in text


def test_names_are_buffers_parameters_and_shared_memory(kernel: Kernel) -> None:
    text, _ = talk(kernel, "p float(factor), x.tolist(), s.tolist(), num_groups", "c", lane=3)
    assert "(2.5, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [0, 0], (2, 1, 1))" in text


def test_a_name_not_yet_computed_is_unknown(kernel: Kernel) -> None:
    text, _ = talk(kernel, "p i", "p y", "p k", "c", "c", lines=(4,))
    assert text.count("NameError") == 2


def test_source_lines_stop_once_each_time_they_are_reached(kernel: Kernel) -> None:
    text, x = talk(kernel, *["p int(k), int(total)", "c"] * 3, "c", lane=3, lines=(7,))
    assert stops(text) == [7, 7, 7, 9]
    assert re.findall(r"\(lane 3\) (\(\d, \d\))", text) == ["(0, 0)", "(1, 0)", "(2, 1)"]
    assert x.tolist() == RESULT


def test_next_follows_the_lane_line_by_line(kernel: Kernel) -> None:
    text, x = talk(kernel, *["next"] * 20, lane=2, lines=(3,))
    assert stops(text) == [3, 4, 5, 6, 7, 6, 7, 8, 9, 10, 11]
    assert x.tolist() == RESULT


def test_next_skips_what_only_other_lanes_do(kernel: Kernel) -> None:
    text, _ = talk(kernel, *["step"] * 20, lane=1, lines=(8,))
    assert stops(text) == [8, 11]


def test_a_lane_after_continue_is_free_again(kernel: Kernel) -> None:
    text, _ = talk(kernel, "n", "n", "c", "c", lane=4, lines=(3,))
    assert stops(text) == [3, 4, 5, 9]


def test_lane_switches_the_eyes(kernel: Kernel) -> None:
    text, x = talk(
        kernel, "lane 3", "p float(y)", "lane", "lane 99", "lane x", "n", "p float(y)", "n", "p float(y)", "c"
    )
    assert stops(text) == [9, 9, 10, 11]
    assert "(lane 3) 7.5" in text
    assert "(lane 3) 8.5" in text
    assert "lane 3 of lanes 0 to 7" in text
    assert "*** expected a lane from 0 to 7, got '99'" in text
    assert "*** expected a lane from 0 to 7, got 'x'" in text
    assert x.tolist() == RESULT


def test_a_lane_elsewhere_shows_only_what_it_computed(kernel: Kernel) -> None:
    text, _ = talk(kernel, "lane 0", "p float(y)", "p k", "c")
    assert "(lane 0) 0.0" in text
    assert "NameError" in text  # lane 0 never entered the loop


def test_breakpoints_can_be_added_and_cleared(kernel: Kernel) -> None:
    text, _ = talk(kernel, "b 11", "b x", "b", "c", "clear 11", "b", "c", lane=2)
    assert stops(text) == [9, 11]
    assert "breakpoints at lines: 11\n" in text
    assert "*** expected a line number, got 'x'" in text
    assert "breakpoints at lines: none\n" in text


def test_quit_leaves_the_dispatch(kernel: Kernel) -> None:
    for command in ("quit", "q", "EOF"):
        with pytest.raises(bdb.BdbQuit):
            talk(kernel, command)
    with pytest.raises(bdb.BdbQuit):  # the end of the input, too
        talk(kernel)


def test_breakpoint_is_nothing_without_the_debugger(kernel: Kernel) -> None:
    x = np.arange(8, dtype=np.float32)
    interpret(kernel, [x], [2.5], (2, 1, 1))
    assert x.tolist() == RESULT


def test_lines_alone_switch_the_debugger_on(kernel: Kernel) -> None:
    out, x = io.StringIO(), np.arange(8, dtype=np.float32)
    options = Options(breakpoints=frozenset({11}), lane=6, stdin=io.StringIO("c\nc\n"), stdout=out)
    interpret(kernel, [x], [2.5], (2, 1, 1), options=options)
    assert stops(out.getvalue()) == [9, 11]


def test_a_kernel_without_a_source_can_be_stopped() -> None:
    b = Builder("bare", workgroup=(1, 1, 1))
    v = b.variable("flag", bool_)
    b.emit("set", b.const(True, bool_), attr=v)
    b.emit("breakpoint")
    out = io.StringIO()
    with debug(stdin=io.StringIO("p bool(flag)\nc\n"), stdout=out) as chosen:
        interpret(b.finish(), [], [], (1, 1, 1), options=chosen.options)
    assert "<kernel bare>(1)bare()" in out.getvalue()
    assert "(lane 0) True" in out.getvalue()


def test_the_switch_is_scoped_and_nests() -> None:
    assert current_debug() is None
    with debug(lane=1, races=False) as outer:
        assert current_debug() is outer
        with debug(breakpoints=[3, 4], nan=False) as inner:
            assert current_debug() is inner
            assert inner.options.breakpoints == frozenset({3, 4})
        assert current_debug() is outer
        elsewhere: list[object] = []
        thread = threading.Thread(target=lambda: elsewhere.append(current_debug()))
        thread.start()
        thread.join()
        assert elsewhere == [None]
    assert current_debug() is None
    assert outer.options == Options(bounds=True, nan=True, order=True, differences=True, lane=1, debugger=True)
    assert not inner.options.nan
    assert inner.options.races


def test_the_switch_is_off_after_an_error() -> None:
    with pytest.raises(KeyError), debug():
        raise KeyError
    assert current_debug() is None


@loom.kernel(workgroup=4)
def inverse_root(x: loom.InOut[loom.f32]) -> None:
    i = loom.global_id()
    x[i] = 1.0 / loom.sqrt(x[i])


def test_the_first_nan_is_reported_without_asking_for_it() -> None:
    x = np.array([4.0, 0.0, -1.0, -2.0], np.float32)
    chain = loom.Chain("cpu")
    chain.dispatch(inverse_root, [x], [], 1)
    program = chain.build()
    line = inverse_root.fn.__code__.co_firstlineno + 3
    with debug(), pytest.raises(NotANumber, match="kernel 'inverse_root'") as caught:
        program.run()
    assert (caught.value.op, caught.value.lane, caught.value.line) == ("sqrt", 2, line)
