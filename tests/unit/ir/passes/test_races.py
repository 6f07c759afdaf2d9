"""Races that can be seen in the source are refused; kernels that do not race, or only perhaps, are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import loom
from loom import In, InOut, Out, u32, u64
from loom.core.errors import VerifyError

# races


def all_write_one(x: In[u32], out: Out[u32], n: u32) -> None:
    out[0] = loom.local_id()  # two


def two_write_one(x: In[u32], out: Out[u32], n: u32) -> None:
    lane = loom.local_id()
    if lane < 2:
        out[0] = x[lane]  # two


def the_neighbour(x: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    x[i] = x[i + 1]  # two


def the_neighbour_guarded(x: InOut[u32], n: u32) -> None:
    i = loom.global_id()
    if i < n:
        x[i] = x[i + 1]  # two


def the_neighbour_after_a_return(x: InOut[u32], n: u32) -> None:
    i = loom.group_id() * 64 + loom.local_id()
    if i >= n:
        return
    x[i] = x[i + 1]  # two


def no_barrier(x: In[u32], out: Out[u32], n: u32) -> None:
    s = loom.shared(u32, 64)
    lane = loom.local_id()
    s[lane] = x[lane]
    out[lane] = s[63 - lane]  # two


def a_uniform_value_over_others(x: In[u32], out: Out[u32], n: u32) -> None:
    lane = loom.local_id()
    out[lane] = lane
    if lane == 5:
        out[0] = 7  # two


def between_turns(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for k in range(n):
        s[lane] = x[lane]  # two
        loom.barrier()
        out[k * 64 + lane] = s[63 - lane]


def between_turns_of_a_while(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane, k = loom.shared(u32, 64), loom.local_id(), u32(0)
    while k < n:
        s[lane] = x[lane]  # two
        loom.barrier()
        out[k * 64 + lane] = s[63 - lane]
        k += 1


def between_two_turns(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for _k in range(2):
        s[lane] = x[lane]  # two
        loom.barrier()
        out[lane] = s[63 - lane]


def in_a_mode(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    if n == 0:
        out[lane] = 1
    else:
        s[lane] = x[lane]
        out[lane] = s[63 - lane]  # two


def after_a_mode(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    if n > 3:
        s[lane] = x[lane]
    out[lane] = s[63 - lane]  # two


def after_a_break(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for k in range(n):
        loom.barrier()
        s[lane] = x[lane]
        if k == 3:
            break
        loom.barrier()
    out[lane] = s[63 - lane]  # two


def within_two_guards(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane, i = loom.shared(u32, 64), loom.local_id(), loom.global_id()
    if i < n:
        s[lane] = x[i]
    if i < n:
        out[i] = s[63 - lane]  # two


def halves_without_barrier(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    s[lane] = x[lane]
    for k in loom.static_range(6):
        if lane < (32 >> k):
            s[lane] = s[lane] + s[lane + (32 >> k)]  # two
        loom.barrier()
    if lane == 0:
        out[0] = s[0]


RACES = [
    all_write_one, two_write_one, the_neighbour, the_neighbour_guarded, the_neighbour_after_a_return, no_barrier,
    a_uniform_value_over_others, between_turns, between_turns_of_a_while, between_two_turns, in_a_mode, after_a_mode,
    after_a_break, within_two_guards, halves_without_barrier,
]  # fmt: skip


@pytest.mark.parametrize("fn", RACES, ids=lambda f: f.__name__)
def test_races(fn: Callable[..., Any]) -> None:
    with pytest.raises(VerifyError) as caught:
        _ = loom.kernel(workgroup=64)(fn).verified
    text = str(caught.value)
    assert text.startswith(f"[kernel '{fn.__name__}' at {__file__}:{line_of(fn)}] lanes race on ")
    assert text.endswith(
        " it with no barrier between: expected one writer per element between barriers. "
        "Put loom.barrier() between the two, write from one lane, or use an atomic."
    )
    _ = loom.kernel(workgroup=1)(fn).verified  # a lane alone races with nobody


def line_of(fn: Callable[..., Any]) -> int:
    import inspect

    lines, first = inspect.getsourcelines(fn)
    return first + next(n for n, line in enumerate(lines) if "# two" in line)


def test_both_lanes_the_element_and_the_other_line_are_named() -> None:
    with pytest.raises(VerifyError) as caught:
        _ = loom.kernel(workgroup=64)(no_barrier).verified
    line = line_of(no_barrier) - 1
    assert f"lanes race on 's': lane 0 writes element 0 (line {line}) and lane 63 reads it" in str(caught.value)
    with pytest.raises(VerifyError) as caught:
        _ = loom.kernel(workgroup=64)(the_neighbour).verified
    line = line_of(the_neighbour)
    assert f"'x': lane 0 reads element base + 1 (line {line}) and lane 1 writes it" in str(caught.value)


# no races


def one_lane_of_all(x: In[u32], out: Out[u32], n: u32) -> None:
    i = loom.global_id()
    if i < 1:
        out[0] = x[i]


def the_last_element(x: In[u32], out: Out[u32], n: u32) -> None:
    i = loom.global_id()
    if i < n:
        if i + 1 >= n:
            out[0] = x[i]


def a_guard_that_leaves_one(x: In[u32], out: Out[u32], n: u32) -> None:
    i = loom.global_id()
    if i < n:
        if n == 1:
            out[0] = x[i]


def one_turn(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for _k in range(1):
        s[lane] = x[lane]
        loom.barrier()
        out[lane] = s[63 - lane]


def no_turn(x: In[u32], out: Out[u32], n: u32) -> None:
    for _k in range(3, 3):
        out[0] = loom.local_id()


def one_turn_of_a_while(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    while n > 0:
        s[lane] = x[lane]
        loom.barrier()
        out[lane] = s[63 - lane]
        break


def one_turn_of_many(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for k in range(64):
        if k == n:
            s[lane] = x[lane]
            loom.barrier()
            out[lane] = s[63 - lane]


def left_by_break(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for k in range(64):
        if k >= n:
            s[lane] = x[lane]
            loom.barrier()
            out[lane] = s[63 - lane]
            break


def left_by_return(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for k in range(64):
        if k >= n:
            s[lane] = x[lane]
            loom.barrier()
            out[lane] = s[63 - lane]
            return


def a_barrier_at_the_end_of_the_turn(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    for k in range(n):
        s[lane] = x[lane]
        loom.barrier()
        out[k * 64 + lane] = s[63 - lane]
        loom.barrier()


def two_modes(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    if n == 0:
        s[lane] = x[lane]
    if n == 1:
        out[lane] = s[63 - lane]


def halves(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 64), loom.local_id()
    s[lane] = x[lane]
    for k in loom.static_range(6):
        loom.barrier()
        if lane < (32 >> k):
            s[lane] = s[lane] + s[lane + (32 >> k)]
    if lane == 0:
        out[0] = s[0]


def two_buffers_in_turn(x: In[u32], out: Out[u32], n: u32) -> None:
    s, lane = loom.shared(u32, 128), loom.local_id()
    for k in range(n):
        half = (k & 1) * 64
        s[half + lane] = x[lane]
        loom.barrier()
        out[lane] = s[half + 63 - lane]


def another_value_on_the_other_path(x: In[u32], out: Out[u32], n: u32) -> None:
    lane = loom.local_id()
    at = lane
    if n > 0:
        at = u32(0)
    else:
        out[at] = lane


def the_same_value(x: In[u32], out: Out[u32], n: u32) -> None:
    lane = loom.local_id()
    if lane == 0:
        out[0] = 1
    if lane == 5:
        out[0] = 1
    out[1] = n


def the_same_value_after_own(x: In[u32], out: Out[u32], n: u32) -> None:
    lane = loom.local_id()
    out[lane] = lane
    out[lane] = 7


def atomics(x: In[u32], out: InOut[u32], n: u32) -> None:
    _ = loom.atomic_add(out, 0, x[loom.global_id()])


def by_data(x: In[u32], out: Out[u32], n: u32) -> None:
    out[x[loom.global_id()]] = loom.global_id()


def shifts_beyond_32_bits(x: InOut[u32], p: u64) -> None:
    lane = u64(loom.local_id())
    x[(p + lane) << 33] = u32(lane)
    if x[p * 2 + lane + 1] == 5:
        x[(p + lane) << 33] = 7


def private(x: In[u32], out: Out[u32], n: u32) -> None:
    own = loom.private(u32, 2)
    own[0] = loom.local_id()
    out[loom.global_id()] = own[0]


NO_RACES = [
    one_lane_of_all, the_last_element, a_guard_that_leaves_one, one_turn, no_turn, one_turn_of_a_while,
    one_turn_of_many, left_by_break, left_by_return, a_barrier_at_the_end_of_the_turn, two_modes, halves,
    two_buffers_in_turn, another_value_on_the_other_path, the_same_value, the_same_value_after_own, atomics, by_data,
    shifts_beyond_32_bits, private,
]  # fmt: skip


@pytest.mark.parametrize("fn", NO_RACES, ids=lambda f: f.__name__)
def test_no_races(fn: Callable[..., Any]) -> None:
    assert loom.kernel(workgroup=64)(fn).verified.name == fn.__name__


def tile(x: In[u32], out: Out[u32], n: u32) -> None:
    t = loom.shared(u32, 72)
    i, j = loom.local_id(0), loom.local_id(1)
    t[j * 9 + i] = x[loom.global_id(1) * n + loom.global_id(0)]
    loom.barrier()
    out[loom.global_id(0) * n + loom.global_id(1)] = t[i * 9 + j]


def tile_too_narrow(x: In[u32], out: Out[u32], n: u32) -> None:
    t = loom.shared(u32, 64)
    i, j = loom.local_id(0), loom.local_id(1)
    t[j * 7 + i] = x[loom.global_id(1) * n + loom.global_id(0)]  # two
    loom.barrier()
    out[loom.global_id(0) * n + loom.global_id(1)] = t[i * 7 + j]


def test_two_dimensions() -> None:
    _ = loom.kernel(workgroup=(8, 8))(tile).verified
    with pytest.raises(VerifyError, match=r"lane 7 writes element 7 .* and lane 8 writes it"):
        _ = loom.kernel(workgroup=(8, 8))(tile_too_narrow).verified


def test_the_kernels_of_the_library_are_not_refused() -> None:
    from loom.core.dtype import f32
    from loom.kernels.fold import tiles as reduce
    from loom.kernels.sieve import wheel as sieve
    from loom.kernels.sieve import words as wordsieve

    kernels = [
        reduce.sum_tiles(f32, f32, f32), reduce.extreme_tiles(f32, largest=True), reduce.divide_rows(f32, f32, f32),
        sieve.base_primes(), sieve.fill_patterns(), sieve.start_strides(), sieve.count_bits(), sieve.running_starts(),
        sieve.collect_primes(), *(sieve.sieve_segments(keep=k) for k in (True, False)),
        wordsieve.sieve_init, wordsieve.sieve_mark, wordsieve.sieve_count,
    ]  # fmt: skip
    assert all(k.verified.hash for k in kernels)
