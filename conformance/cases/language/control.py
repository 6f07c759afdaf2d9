"""Control flow under masks: nested branches, break, continue and return, loops that lanes leave apart.

Each case writes what it computed, so a lane that ran once too often, too seldom or under another's mask
shows. Oracle besides the interpreter, where stated: the same loop in Python, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from conformance.running import EVERY_MODE, Case, case
from conformance.values import random_bits
from conformance.writer import Array, Local, Value, Writer
from loom.core.dtype import bool_, u32

_GROUPS = 3
_LANES = 64


def _kernel(name: str, body: Callable[[Writer, Array, Local, Value], None], lanes: int = _LANES) -> Case:
    """A kernel over ``x`` whose body works on the variable ``v``; ``out`` gets ``v``, ``count`` what it stored."""
    k = Writer(name, (lanes, 1, 1))
    x, out = k.read("x", u32), k.buffer("out", u32)
    i = k.global_id()
    v = k.local("v", u32, i * 2654435761)
    body(k, x, v, i)
    out[i] = v.now
    size = lanes * _GROUPS
    values = random_bits(np.dtype(np.uint32), size, seed=len(name))
    return Case(k.finish(), (values, np.zeros(size, np.uint32)), groups=(_GROUPS, 1, 1), modes=EVERY_MODE)


def _register(name: str, lanes: int = _LANES) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        case(f"control/{name}")(partial(_kernel, name.replace("-", "_"), body, lanes))
        return body

    return decorate


@_register("nested-branches")
def nested(k: Writer, x: Array, v: Local, i: Value) -> None:
    """Three levels of if and else on the bits of the data; values used across levels."""
    word = x[i]
    outer = word * 3
    with k.when(word & 1 == 0):
        inner = v.now + outer
        with k.when(word & 2 == 0):
            v.set(inner)
            with k.when(word & 4 == 0):
                v.set(v.now ^ inner)
        with k.otherwise():
            v.set(inner * 5)
    with k.otherwise():
        with k.when(word & 8 == 0):
            v.set(v.now - outer)
        with k.when(word & 16 == 0), k.otherwise():
            v.set(~v.now)


@_register("branches-all-agree")
def agreeing(k: Writer, x: Array, v: Local, i: Value) -> None:
    """Conditions that some vectors agree on: whole vectors go either way, and the edge ones part."""
    with k.when(i < 40):
        v.set(v.now + 1)
        with k.when(i < 16):
            v.set(v.now * 7)
        with k.otherwise():
            v.set(v.now ^ x[i])
    with k.otherwise():
        v.set(v.now + x[i ^ 1])
    with k.when(i >= 1000):
        v.set(0)


@_register("uniform-branches")
def uniform(k: Writer, x: Array, v: Local, i: Value) -> None:
    group = k.group_id()
    with k.when(group == 1):
        v.set(v.now + 1)
        with k.when(x[i] & 1 == 0):
            v.set(v.now + group)
    with k.otherwise():
        with k.when(group == 0):
            v.set(3)
        v.set(v.now ^ x[i])


@_register("select-of-conditions")
def conditions(k: Writer, x: Array, v: Local, i: Value) -> None:
    """Conditions kept in variables, joined and negated."""
    flag = k.local("flag", bool_, x[i] & 1 == 0)
    with k.when(flag.now & (i > 5) | (i == 3)):
        flag.set(~flag.now)
        v.set(v.now + 9)
    with k.when(flag.now ^ (x[i] & 2 == 0)):
        v.set(v.now * 3)


@_register("for-bounds-per-lane")
def ragged(k: Writer, x: Array, v: Local, i: Value) -> None:
    """Start, stop and step each differ between lanes."""
    word = x[i]
    with k.count(word % 5, word % 13, word % 3 + 1) as n:
        v.set(v.now * 31 + n)
    with k.count(0, i % 7) as n, k.count(n, i % 5) as m:
        v.set(v.now + n * m + 1)


@_register("for-strided-counter")
def strided_counter(k: Writer, x: Array, v: Local, i: Value) -> None:
    """A counter that is its lane's number plus the turn, used as an index: neighbours stay neighbours."""
    with k.count(i, k.op("min", i + 9, x.length), 2) as n:
        v.set(v.now + x[n])
    with k.count(i, x.length, 50) as n:
        v.set(v.now ^ x[n])


@_register("break-for")
def break_for(k: Writer, x: Array, v: Local, i: Value) -> None:
    """Lanes break at different turns; what follows the break inside the turn must not run for them."""
    word = x[i]
    with k.count(0, 12) as n:
        v.set(v.now + 1)
        with k.when((word >> n) & 7 == 0):
            v.set(v.now * 3)
            k.break_()
        v.set(v.now + n)


@_register("continue-for")
def continue_for(k: Writer, x: Array, v: Local, i: Value) -> None:
    """Lanes skip the rest of single turns and are back for the next one."""
    word = x[i]
    with k.count(0, 9) as n:
        v.set(v.now ^ n)
        with k.when((word >> n) & 1 == 0):
            v.set(v.now + 5)
            k.continue_()
        v.set(v.now * 3)


@_register("continue-nested")
def continue_nested(k: Writer, x: Array, v: Local, i: Value) -> None:
    """A continue two branches deep, in a loop whose bounds differ, with code after each branch."""
    word = x[i]
    with k.count(0, word % 9) as n:
        with k.when((word >> n) & 1 == 0):
            with k.when(n & 1 == 0):
                k.continue_()
            v.set(v.now + 7)
        with k.otherwise():
            v.set(v.now - 1)
        v.set(v.now * 3 + n)


@_register("break-and-continue")
def both(k: Writer, x: Array, v: Local, i: Value) -> None:
    word = x[i]
    with k.count(0, 20) as n:
        digit = (word >> n) & 15
        with k.when(digit == 3):
            k.continue_()
        with k.when(digit == 5):
            k.break_()
        with k.when(digit > 11):
            v.set(v.now + 1)
            with k.when(digit == 15):
                k.break_()
            k.continue_()
        v.set(v.now * 5 + n)


@_register("while-collatz")
def collatz(k: Writer, x: Array, v: Local, i: Value) -> None:
    """Turns differ from 0 to about 100 between lanes."""
    n = k.local("n", u32, i + 1)
    v.set(0)
    with k.repeat_while(lambda: n.now != 1):
        with k.when(n.now & 1 == 0):
            n.set(n.now >> 1)
        with k.otherwise():
            n.set(n.now * 3 + 1)
        v.set(v.now + 1)


@_register("while-break-continue")
def while_leaves(k: Writer, x: Array, v: Local, i: Value) -> None:
    word = x[i]
    n = k.local("n", u32, 0)
    with k.repeat_while(lambda: (n.now < 14) & (v.now % 11 != 4)):
        n.set(n.now + 1)
        with k.when((word >> n.now) & 3 == 0):
            k.continue_()
        with k.when((word >> n.now) & 15 == 9):
            v.set(v.now + 100)
            k.break_()
        v.set(v.now * 7 + n.now)
    v.set(v.now + n.now)


@_register("while-uniform")
def while_uniform(k: Writer, x: Array, v: Local, i: Value) -> None:
    """A loop all lanes take together, left together by break, with a divergent branch inside."""
    n = k.local("n", u32, 0)
    with k.repeat_while(lambda: n.now < 10):
        n.set(n.now + 1)
        with k.when(n.now == 3):
            k.continue_()
        with k.when(n.now == 8):
            k.break_()
        with k.when((x[i] >> n.now) & 1 == 0):
            v.set(v.now + n.now)


@_register("loops-in-loops")
def loops_in_loops(k: Writer, x: Array, v: Local, i: Value) -> None:
    """break and continue belong to the innermost loop; the outer one's lanes are intact after it."""
    word = x[i]
    with k.count(0, 4) as n:
        with k.count(0, 6) as m:
            with k.when((word >> (n * 6 + m)) & 3 == 0):
                k.break_()
            with k.when((word >> (n + m)) & 3 == 1):
                k.continue_()
            v.set(v.now + n * 8 + m)
        with k.when((word >> n) & 7 == 2):
            k.continue_()
        with k.when((word >> n) & 7 == 6):
            k.break_()
        v.set(v.now * 3)


@_register("return-guard", lanes=50)
def return_guard(k: Writer, x: Array, v: Local, i: Value) -> None:
    """The commonest return: lanes beyond the data."""
    with k.when(i >= 77):
        k.return_()
    v.set(v.now + x[i])


def _returns(name: str, body: Callable[[Writer, Array, Array, Value], None], lanes: int = _LANES) -> Case:
    """Like ``_kernel``, the body storing by itself, since lanes return at different places."""
    k = Writer(name, (lanes, 1, 1))
    x, out = k.read("x", u32), k.buffer("out", u32)
    body(k, x, out, k.global_id())
    size = lanes * _GROUPS
    values = random_bits(np.dtype(np.uint32), size, seed=len(name))
    return Case(k.finish(), (values, np.full(size, 7, np.uint32)), groups=(_GROUPS, 1, 1), modes=EVERY_MODE)


def _return_in_branches(k: Writer, x: Array, out: Array, i: Value) -> None:
    word = x[i]
    with k.when(word & 3 == 0):
        out[i] = 1
        with k.when(word & 4 == 0):
            k.return_()
        out[i] = 2
    with k.otherwise():
        with k.when(word & 8 == 0):
            out[i] = 3
            k.return_()
        out[i] = 4
    out[i] = out[i] * 10 + 5


def _return_in_loop(k: Writer, x: Array, out: Array, i: Value) -> None:
    word = x[i]
    v = k.local("v", u32, 0)
    with k.count(0, word % 20) as n:
        with k.when((word >> n) & 15 == 7):
            out[i] = v.now + 1000
            k.return_()
        with k.when((word >> n) & 15 == 8):
            k.break_()
        v.set(v.now + n)
        with k.count(0, n) as m:
            with k.when((word >> m) & 63 == 33):
                out[i] = m
                k.return_()
            v.set(v.now * 3 + m)
    out[i] = v.now


def _return_in_while(k: Writer, x: Array, out: Array, i: Value) -> None:
    n = k.local("n", u32, x[i] % 30)
    with k.repeat_while(lambda: n.now > 0):
        n.set(n.now - 1)
        with k.when((x[i] >> n.now) & 7 == 3):
            out[i] = n.now
            k.return_()
    out[i] = 99


def _return_of_a_group(k: Writer, x: Array, out: Array, i: Value) -> None:
    """All lanes of a group return together, then some of another one."""
    with k.when(k.group_id() == 1):
        out[i] = 1
        k.return_()
    out[i] = 2
    with k.when(x[i] & 1 == 0):
        with k.when(x[i] & 2 == 0):
            out[i] = 3
        k.return_()
    out[i] = 4


for _name, _body in {
    "return-in-branches": _return_in_branches,
    "return-in-loop": _return_in_loop,
    "return-in-while": _return_in_while,
    "return-of-a-group": _return_of_a_group,
}.items():
    case(f"control/{_name}")(partial(_returns, _name.replace("-", "_"), _body))
    case(f"control/{_name}-50-lanes", widths=(4, 16))(partial(_returns, _name.replace("-", "_"), _body, 50))
