"""Barriers: values and variables that live across them, in uniform branches and loops, in groups of any size.

The group sizes make one vector of the whole group, several full vectors, and a last one that is not full, so
every way of cutting a kernel into regions is taken. Oracle besides the interpreter, where stated: numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from conformance.running import Case, case
from conformance.values import random_bits
from conformance.writer import Array, Local, Value, Writer
from loom.core.dtype import bool_, f32, i32, u8, u32, u64

_GROUPS = 3
_SIZES = (12, 32, 40)
_Body = Callable[[Writer, Array, Array, Local, Value], None]


def _kernel(name: str, body: _Body, lanes: int) -> Case:
    """``body`` gets the data, shared memory of one word per lane, the variable that becomes ``out``, the lane."""
    k = Writer(f"{name}_{lanes}", (lanes, 1, 1))
    x, out, shared = k.read("x", u32), k.buffer("out", u32), k.shared("s", u32, lanes)
    i = k.global_id()
    v = k.local("v", u32, x[i])
    body(k, x, shared, v, k.local_id())
    out[i] = v.now
    values = random_bits(np.dtype(np.uint32), lanes * _GROUPS, seed=lanes)
    size = lanes * _GROUPS
    return Case(k.finish(), (values, np.zeros(size, np.uint32)), groups=(_GROUPS, 1, 1), modes=("checked", "trusted"))


def _register(name: str) -> Callable[[_Body], _Body]:
    def decorate(body: _Body) -> _Body:
        for lanes in _SIZES:
            case(f"barriers/{name}-{lanes}", widths=(1, 4, 8))(partial(_kernel, name.replace("-", "_"), body, lanes))
        return body

    return decorate


def _lanes(k: Writer) -> int:
    return k.b.workgroup[0]


@_register("exchange")
def exchange(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Lanes read what other lanes wrote, twice over the same memory."""
    shared[lane] = v.now
    k.barrier()
    v.set(shared[(lane + 1) % _lanes(k)] * 3)
    k.barrier()
    shared[lane] = v.now
    k.barrier()
    v.set(v.now ^ shared[_lanes(k) - 1 - lane])


@_register("values-across")
def values_across(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Values of every kind computed before barriers and used after: scalar, stepped, by lane, masks, conditions."""
    word, group, stepped = v.now * 5, k.group_id() * 100, lane * 3 + 1
    odd, narrow, real = word & 1 == 1, word.to(u8), word.to(f32)
    wide = word.to(u64) << 20
    k.barrier()
    shared[lane] = word + group
    k.barrier()
    with k.when(odd):
        v.set(stepped + narrow.to(u32))
    k.barrier()
    v.set(v.now + shared[lane ^ 1] + group + (wide >> 21).to(u32) + real.to(i32).to(u32))
    k.barrier()
    with k.when(odd & (stepped > 20)):
        v.set(v.now + word)


@_register("variables-across")
def variables_across(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Variables set under divergence keep each lane's value; one equal in all lanes stays so."""
    mine, flag, same = k.local("mine", u32, lane), k.local("flag", bool_, v.now & 2 == 0), k.local("same", u32, 1)
    with k.when(lane % 3 == 0):
        mine.set(v.now)
    k.barrier()
    same.set(same.now + k.group_id())
    with k.when(flag.now):
        mine.set(mine.now + 1)
        flag.set(lane > 4)
    shared[lane] = mine.now + same.now
    k.barrier()
    with k.when(flag.now):
        v.set(shared[(lane * 5) % _lanes(k)])
    v.set(v.now + mine.now * same.now)


@_register("uniform-if")
def uniform_if(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Barriers inside branches that a whole group takes, by the group's number and by its data."""
    shared[lane] = v.now
    k.barrier()
    with k.when(k.group_id() == 1):
        v.set(shared[(lane + 3) % _lanes(k)])
        k.barrier()
        shared[lane] = v.now + 1
        k.barrier()
        v.set(v.now + shared[0])
    with k.otherwise():
        v.set(v.now + 7)
        with k.when(x[k.group_id()] & 1 == 0):
            k.barrier()
            shared[lane] = lane
            k.barrier()
            v.set(v.now + shared[_lanes(k) - 1 - lane])
        with k.when(lane & 1 == 0):
            v.set(v.now * 3)


@_register("for-tree")
def for_tree(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """A scan in shared memory: a loop of all lanes with two barriers a turn and a divergent branch."""
    shared[lane] = v.now
    k.barrier()
    with k.count(0, 6) as n:
        step = k.const(1, u32) << n
        add = k.local("add", u32, 0)
        with k.when(lane >= step):
            add.set(shared[lane - step])
        k.barrier()
        shared[lane] = shared[lane] + add.now
        k.barrier()
    v.set(shared[lane])


@_register("for-nested")
def for_nested(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Loops in loops with barriers, bounds from the group's data, break and continue taken by all together."""
    turns = x[k.group_id() * _lanes(k)] % 4 + 1
    before = v.now + turns
    with k.count(0, turns) as n:
        with k.count(n, 4) as m:
            k.barrier()
            shared[lane] = v.now + m
            k.barrier()
            v.set(v.now + shared[(lane + n + m) % _lanes(k)])
        with k.when(n == 1):
            v.set(v.now ^ before)
            k.barrier()
            k.continue_()
        k.barrier()
        shared[lane] = v.now
        k.barrier()
        with k.when(turns == 4):
            k.barrier()
            k.break_()
        v.set(v.now + shared[n])
    v.set(v.now + before)


@_register("leave-without-barrier")
def leave_without_barrier(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Break and continue, all lanes together, in branches that hold no barrier: of an inner and of an outer loop."""
    first = x[k.group_id() * _lanes(k)]
    stop = first % 5 + 1
    with k.count(0, 7) as n:
        mine = v.now + n * 3
        with k.count(n, 6) as m:
            shared[lane] = v.now + m
            k.barrier()
            v.set(mine ^ shared[(lane + 1) % _lanes(k)] * 5)
            k.barrier()
            with k.when(m == stop):
                v.set(v.now + mine)
                with k.when(first % 2 == 0):
                    k.break_()
        with k.when(n == 1):
            v.set(v.now * 9 + lane)
            k.continue_()
        v.set(v.now + 1)
        with k.when(n == stop):
            k.break_()


@_register("down-loop")
def down_loop(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    with k.count_down(6, -1, -2, dtype=i32) as n:
        k.barrier()
        shared[lane] = v.now
        k.barrier()
        v.set(v.now * 3 + shared[n.to(u32)])


@_register("while")
def while_loop(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """A while loop whose condition all lanes share through shared memory, a barrier in test and body."""
    turns = k.local("turns", u32, 0)
    shared[lane] = v.now % 50

    def goes_on() -> Value:
        k.barrier()
        return (shared[0] + shared[1] < 200) & (turns.now < 9)

    with k.repeat_while(goes_on):
        turns.set(turns.now + 1)
        mine = shared[(lane + 1) % _lanes(k)]
        k.barrier()
        shared[lane] = mine + turns.now * 11
        with k.when(turns.now == 7):
            k.barrier()
            k.break_()
    k.barrier()
    v.set(shared[lane] + turns.now)


@_register("divergent-between")
def divergent_between(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Loops and branches that lanes leave apart, between barriers; private arrays live across."""
    kept = k.private("kept", u32, 3)
    for n in range(3):
        kept[n] = lane + n
    k.barrier()
    with k.count(0, v.now % 6) as n:
        with k.when((v.now >> n) & 1 == 0):
            k.continue_()
        kept[n % 3] = kept[n % 3] * 7 + n
        with k.when(kept[0] % 5 == 2):
            k.break_()
    shared[lane] = kept[v.now % 3]
    k.barrier()
    kept[1] = kept[1] + shared[(lane + 1) % _lanes(k)]
    k.barrier()
    v.set(kept[0] + kept[1] * 3 + kept[2])


@_register("zero-at-start")
def zero_at_start(k: Writer, x: Array, shared: Array, v: Local, lane: Value) -> None:
    """Between groups nothing remains: what the trusted kernel writes first, and reads, is its own."""
    with k.count(0, 3) as n:
        shared[lane] = v.now + n
        k.barrier()
        v.set(v.now + shared[(lane + n) % _lanes(k)])
        k.barrier()


def _fresh(lanes: int) -> Case:
    """Shared and private memory is zero at the start of every group, whatever the group before left."""
    k = Writer(f"fresh_{lanes}", (lanes, 1, 1))
    out, shared, flags = k.buffer("out", u32), k.shared("s", u32, lanes + 5), k.shared("flags", bool_, 3)
    own = k.private("own", u32, 4)
    i, lane = k.global_id(), k.local_id()
    found = k.local("found", u32, shared[lane + 5] + own[lane % 4] + flags[lane % 3].to(u32))
    k.barrier()
    shared[lane + 5] = i + 1
    own[lane % 4] = i + 1
    flags[lane % 3] = True
    k.barrier()
    found.set(found.now + shared[lane + 5] - own[lane % 4])
    k.barrier()
    out[i] = found.now
    zeros = np.zeros(lanes * 40, np.uint32)
    return Case(k.finish(), (zeros,), groups=(40, 1, 1), expected={"out": zeros})


for _n in (1, 4, 16, 40, 64):
    case(f"barriers/fresh-{_n}", widths=(1, 4))(partial(_fresh, _n))


def _returns_after(lanes: int) -> Case:
    """Lanes return, apart, after the last barrier but inside the branch around it; the rest goes on."""
    k = Writer(f"returns_after_{lanes}", (lanes, 1, 1))
    x, out, shared = k.read("x", u32), k.buffer("out", u32), k.shared("s", u32, lanes)
    i, lane = k.global_id(), k.local_id()
    out[i] = 1
    with k.when(k.group_id() != 1):
        shared[lane] = x[i]
        k.barrier()
        out[i] = shared[(lane + 1) % lanes]
        with k.when(x[i] & 1 == 0):
            k.return_()
        out[i] = out[i] + 1
    with k.when(k.group_id() == 2):
        k.return_()
    out[i] = out[i] * 3
    values = random_bits(np.dtype(np.uint32), lanes * 4, seed=21)
    exact = np.ones(lanes * 4, np.uint32)
    for group in range(4):
        rows = slice(group * lanes, (group + 1) * lanes)
        mine = values[rows]
        result = np.roll(mine, -1) if group != 1 else np.ones(lanes, np.uint32)
        stays = mine & 1 == 1 if group != 1 else np.ones(lanes, bool)
        result = np.where(stays & (group != 1), result + 1, result)
        exact[rows] = np.where(stays & (group != 2), result * 3, result)
    return Case(k.finish(), (values, np.zeros(lanes * 4, np.uint32)), groups=(4, 1, 1), expected={"out": exact})


for _n in (4, 12, 32, 40):
    case(f"barriers/returns-after-{_n}")(partial(_returns_after, _n))


@case("barriers/returns-by-row")
def returns_by_row() -> Case:
    """The same where all lanes of a vector return together, while other vectors of the group go on."""
    k = Writer("returns_by_row", (16, 4, 1))
    out, shared = k.buffer("out", u32), k.shared("s", u32, 64)
    lane, i = k.local_index(), k.global_index()
    with k.when(k.num_groups(0) == 2):
        shared[lane] = lane
        k.barrier()
        out[i] = shared[63 - lane]
        with k.when(k.local_id(1) == 1):
            k.return_()
    out[i] = out[i] + 1000
    lanes = np.arange(64)
    exact = np.tile(63 - lanes + np.where(lanes // 16 == 1, 0, 1000), 2)
    return Case(k.finish(), (np.zeros(128, np.uint32),), groups=(2, 1, 1), expected={"out": exact.astype(np.uint32)})


@case("barriers/group-returns")
def group_returns() -> Case:
    """A whole group returns before a barrier that the others pass."""
    k = Writer("group_returns", (40, 1, 1))
    x, out, shared = k.read("x", u32), k.buffer("out", u32), k.shared("s", u32, 40)
    i, lane, group = k.global_id(), k.local_id(), k.group_id()
    with k.when(x[group] & 1 == 0):
        out[i] = 5
        k.return_()
    shared[lane] = x[i]
    k.barrier()
    v = k.local("v", u32, shared[39 - lane])
    with k.count(0, 4) as n:
        k.barrier()
        with k.when(n == group % 5):
            out[i] = v.now
            k.return_()
        shared[lane] = v.now
        k.barrier()
        v.set(v.now + shared[n])
    out[i] = v.now + 1
    values = random_bits(np.dtype(np.uint32), 40 * 9, seed=22)
    return Case(k.finish(), (values, np.zeros(360, np.uint32)), groups=(9, 1, 1))
