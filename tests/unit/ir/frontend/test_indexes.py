"""Lane numbers, lengths and what is made of them go below zero; what they cannot be is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, Out, f32, i32, i64, kernel, u8, u32
from loom.core.errors import ArgumentError, KernelTypeError, OutOfBounds, ShapeError
from loom.ir.interp.dispatch import interpret
from loom.ir.kernel import Instr, walk
from loom.ir.passes.inside import Launch, Proof
from loom.ir.text import parse_kernel, print_kernel
from loom.runtime.plans.groups import encode_groups, largest_groups, refuse_far_elements
from unit.ir.frontend.index_programs import LANES, OUTPUTS, Program

X = np.arange(10, dtype=np.float32)


@kernel
def clamped(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = x[min(max(i - 2, 0), len(x) - 1)]


@kernel
def guarded(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        if i - 1 >= 0:
            y[i] = x[i - 1]
        else:
            y[i] = -1.0


@kernel
def distance(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32(abs(i - 4))


@kernel
def centred(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32(i - len(y) // 2)


@kernel
def counted_down(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        s, j = 0.0, len(x) - 1
        while j >= 0:
            s += x[j]
            j -= 1
        y[i] = s


@kernel
def from_the_lane_down(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        s, j = 0.0, i
        while j >= 0:
            s += x[j]
            j -= 2
        y[i] = s


@kernel
def ranged_down(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        s = 0.0
        for j in range(i, -1, -2):
            s += x[j]
        y[i] = s


@kernel
def a_number_that_meets_a_length(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        s, j = 0.0, 0
        while j < len(x):
            s += x[max(j - 1, 0)]
            j += 1
        y[i] = s


@kernel
def an_offset_of_a_table(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        s = 0.0
        for k in range(3):
            j = i + (-2, 0, 1)[k]
            if 0 <= j < len(x):
                s += x[j]
        y[i] = s


@kernel
def an_offset_of_a_branch(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        d = 1
        if i % 2 == 1:
            d = -1
        y[i] = x[(i + d) % len(x)] + x[(i + (1 if i > 3 else -1)) % 10]


@kernel
def around(x: In[f32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        s = 0.0
        for d in range(-1, 2):
            s += x[(i + d) % len(x)]
        for j in range(i - 1, i + 2):
            if 0 <= j < x.shape[0]:
                s += 100.0 * x[j]
        y[i] = s


_EXPECTED: list[tuple[Any, Callable[[int], float]]] = [
    (clamped, lambda i: max(i - 2, 0)),
    (guarded, lambda i: i - 1),
    (distance, lambda i: abs(i - 4)),
    (centred, lambda i: i - 5),
    (counted_down, lambda _: 45),
    (from_the_lane_down, lambda i: sum(range(i, -1, -2))),
    (ranged_down, lambda i: sum(range(i, -1, -2))),
    (a_number_that_meets_a_length, lambda _: 36),
    (an_offset_of_a_table, lambda i: sum(j for j in (i - 2, i, i + 1) if 0 <= j < 10)),
    (an_offset_of_a_branch, lambda i: (i + (-1 if i % 2 else 1)) % 10 + (i + (1 if i > 3 else -1)) % 10),
    (around, lambda i: sum((i + d) % 10 + 100 * (i + d) * (0 <= i + d < 10) for d in (-1, 0, 1))),
]


@pytest.mark.parametrize(("k", "expected"), _EXPECTED, ids=[k.name for k, _ in _EXPECTED])
def test_what_users_of_other_languages_write_first(k: Any, expected: Callable[[int], float], on: str) -> None:
    assert k(X, on=on).tolist() == [expected(i) for i in range(10)]


def test_axes_go_below_zero_too(on: str) -> None:
    @kernel(workgroup=(4, 4))
    def blurred(x: In[i32, 2], y: Out[i32, 2]):
        j, i = loom.global_id(0), loom.global_id(1)
        if i < y.shape[0] and j < y.shape[1]:
            s = 0
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    s += x[min(max(i + di, 0), x.shape[0] - 1), min(max(j + dj, 0), x.shape[1] - 1)]
            y[i, j] = s

    x = np.random.default_rng(1).integers(-99, 99, (5, 7)).astype(np.int32)
    wide = np.pad(x, 1, mode="edge")
    assert (blurred(x, on=on) == sum(wide[a : a + 5, b : b + 7] for a in range(3) for b in range(3))).all()


@kernel
def remainders(x: In[f32], y: Out[i32, 2], w: u32, v: u32):
    i = loom.global_id()
    if i < y.shape[0]:
        y[i, 0], y[i, 1], y[i, 2] = (i + w - 1) % w, (i - 3 + w) % w, (w + i + 1 - 4) % w
        y[i, 3], y[i, 4], y[i, 5] = (i + w - 4) % w, (i - 7) % w, (i - 1) % 8
        y[i, 6], y[i, 7], y[i, 8] = (i + len(x) - 2) % len(x), (i - 5 + v) % w, (i - w) % w
        y[i, 9], y[i, 10], y[i, 11] = (i - 6) % 5, -(i + 1) % w, (i - 3) % (w * 2)
        y[i, 12], y[i, 13] = (2 * w + i - 3) % w, (i - 9) // w


@pytest.mark.parametrize(("w", "v"), [(0, 3), (1, 0), (2, 1), (3, 0), (4, 9), (5, 2), (7, 7), (9, 1)])
def test_remainders_are_those_of_python(w: int, v: int, on: str) -> None:
    def mod(a: int, b: int) -> int:
        return a % b if b else a

    y = np.zeros((14, 14), np.int32)
    remainders(X, y, w, v, lanes=14, on=on)
    for i in range(14):
        assert y[i].tolist() == [
            mod(i + w - 1, w), mod(i - 3 + w, w), mod(w + i - 3, w), mod(i + w - 4, w), mod(i - 7, w), (i - 1) % 8,
            (i + 8) % 10, mod(i - 5 + v, w), mod(i - w, w), (i - 6) % 5, mod(-(i + 1), w), mod(i - 3, 2 * w),
            mod(2 * w + i - 3, w), (i - 9) // w if w else 0,
        ]  # fmt: skip


def test_remainders_that_need_no_sign_have_none() -> None:
    names = [s.name for s in walk(remainders.ir.body) if isinstance(s, Instr)]
    assert names.count("irem") == 13
    unsigned = [s for s in walk(remainders.ir.body) if isinstance(s, Instr) and s.name == "irem" and s.dtype == u32]
    assert len(unsigned) == 4


@kernel
def against_scalars(y: Out[i32], n: u32, m: i32):
    i = loom.global_id()
    if i < len(y) // 4:
        y[4 * i] = (
            i32(i - 3 < n) + 2 * i32(i - 3 >= n) + 4 * i32(n > i - 3) + 8 * i32(i - 3 == n) + 16 * i32(i - 3 != n)
        )
        y[4 * i + 1] = i32(i < m) + 2 * i32(i > m) + 4 * i32(m <= i) + 8 * i32(i == m)
        y[4 * i + 2] = min(i - 3, n)
        y[4 * i + 3] = (i - 3 + m) * 2 + i // m


@pytest.mark.parametrize("n", [0, 2, 2**31 + 1, 2**32 - 1])
@pytest.mark.parametrize("m", [-2, 3])
def test_scalars_are_compared_as_numbers(n: int, m: int, on: str) -> None:
    """Also a u32 that no i32 holds."""
    expected: list[int] = []
    for i in range(6):
        j = i - 3
        expected.append((j < n) + 2 * (j >= n) + 4 * (n > j) + 8 * (j == n) + 16 * (j != n))
        expected.append((i < m) + 2 * (i > m) + 4 * (m <= i) + 8 * (i == m))
        expected += [min(j, n), (j + m) * 2 + i // m]
    assert against_scalars(n=n, m=m, out=24, on=on).tolist() == expected


def test_the_larger_of_an_index_and_a_u32_is_one(on: str) -> None:
    @kernel
    def larger(y: Out[u32], n: u32):
        i = loom.global_id()
        if i < len(y):
            y[i] = max(i - 2, n)

    assert larger(n=2**32 - 5, out=4, on=on).tolist() == [2**32 - 5] * 4
    assert larger(n=1, out=5, on=on).tolist() == [1, 1, 1, 1, 2]


# what does not go below zero is what it was


def test_hashes_of_lane_numbers_wrap_as_u32(on: str) -> None:
    @kernel
    def hashed(y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            h = i * 2654435761
            h ^= h >> 15
            h -= 77  # of a hash, which is no index
            k = u32(i) - 3
            y[i] = h % 1000 + (i * 747796405 + 2891336453 >> 7) + (k >> 13) + (u32(i) * 2654435761 >> 9)

    i = np.arange(40, dtype=np.uint32)
    h = i * np.uint32(2654435761)
    h = (h ^ h >> np.uint32(15)) - np.uint32(77)
    other = i * np.uint32(747796405) + np.uint32(2891336453)
    expected = h % 1000 + (other >> 7) + (i - np.uint32(3) >> 13) + (i * np.uint32(2654435761) >> 9)
    assert (hashed(out=40, on=on) == expected).all()


def scaled(y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32(i * 2654435761 % 1000 - 500)


def shifted(y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32((i + 3000000000) % 7 - 3)


def in_two_steps(y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        h = i | 0x80000000
        for _ in range(2):
            h = h - 5
        y[i] = 1.0 if h < 3 else 0.0


def of_bits(y: Out[f32], n: u32):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32((i ^ n) - 5)


def of_a_power(y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f64_of((1 << i) - 5)


def f64_of(v: Any) -> Any:
    return f32(loom.f64(v))


def of_counted_bits(y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32((loom.popcount(i) - 1) // 2)


def negated(y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32(min(-(i * 2654435761), 3))


def widened(y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32(i64(i * 2654435761 % 1000 - 500))


@pytest.mark.parametrize(
    "fn", [scaled, shifted, in_two_steps, of_bits, of_a_power, of_counted_bits, negated, widened],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_a_difference_of_mixed_indexes_does_not_lose_its_sign(fn: Any) -> None:
    """It was 2^32 - 500 for -500, though no word of the source says u32."""
    with pytest.raises(KernelTypeError, match="a difference of bits that an index was mixed into is .* Write i32"):
        _ = kernel(fn).verified


def test_the_sign_of_a_loop_in_a_map_is_not_lost_either() -> None:
    def summed(v: Any) -> Any:
        for j in range(u32(3)):
            v += f32(j * 2654435761 % 1000 - 500)
        return v

    with pytest.raises(KernelTypeError, match="a difference of bits that an index was mixed into is converted"):
        loom.gpu_map(X, summed)


def test_what_says_whether_it_has_a_sign_is_computed(on: str) -> None:
    @kernel
    def said(y: Out[f32], z: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = f32(i32(i * 2654435761 % 1000) - 500)
            plain = u32(i) * 2654435761 - 77
            mask = (1 << i) - 1
            z[i] = plain // 3 + u32(i * 2654435761 - 5 >> 7) + (i * 2654435761 - 5) % 100 + min(mask, 9)

    i = np.arange(8, dtype=np.uint32)
    h = i * np.uint32(2654435761)
    y, z = said(out=8, on=on)
    assert y.tolist() == (h % 1000).astype(np.float32).__sub__(500).tolist()
    mask = np.minimum((np.uint32(1) << i) - np.uint32(1), 9)
    five = h - np.uint32(5)
    assert z.tolist() == ((h - np.uint32(77)) // 3 + (five >> np.uint32(7)) + five % 100 + mask).tolist()


def test_an_index_is_stored_where_it_is_exact(on: str) -> None:
    def under(k: u32) -> Any:
        return k * 2

    def signed(k: i32) -> Any:
        return k - 5

    @kernel
    def stored(a: Out[u32], b: Out[i32], c: Out[i64]):
        i = loom.global_id()
        if i < len(a):
            a[i] = under(i) + max(i - 2, 0) + abs(i - 3) + (i - 1) % 4
            b[i] = i if i % 2 == 0 else signed(i - 1) + signed(i)
            c[i] = i64(i - 4)

    a, b, c = stored(out=6, on=on)
    assert a.tolist() == [2 * i + max(i - 2, 0) + abs(i - 3) + (i - 1) % 4 for i in range(6)]
    assert b.tolist() == [i if i % 2 == 0 else 2 * i - 11 for i in range(6)]
    assert c.tolist() == [i - 4 for i in range(6)]


def test_what_is_written_down_as_u32_is_unsigned(on: str) -> None:
    def helper(k: u32) -> Any:
        return k - 1

    @kernel
    def unsigned(y: Out[u32], n: u32):
        i: u32 = loom.global_id()
        if i < len(y):
            y[i] = (i - 1 >> 1) + helper(loom.global_id()) + (n - 1)

    assert unsigned(n=0, out=2, on=on).tolist() == [(2**31 - 1 + 2**32 - 2) % 2**32, 2**32 - 1]


def test_what_never_goes_below_zero_is_the_same_kernel_as_before() -> None:
    @kernel
    def plain(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i + 1 < len(y):
            y[i] = x[(i * 3 + 1) % len(x)]

    assert all(s.dtype != i32 for s in walk(plain.verified.kernel.body) if isinstance(s, Instr))
    assert not plain.verified.kernel.goes_below


# refusals

_STORED = "an index that may be below zero is taken for a u32: expected u32, got a difference of indexes, an i32"


def test_a_difference_is_not_stored_as_u32_until_it_says_so(on: str) -> None:
    @kernel
    def refused(y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = len(y) - 1 - i

    with pytest.raises(KernelTypeError, match=_STORED) as caught:
        _ = refused.verified
    assert "Write u32(...) around it" in str(caught.value)

    @kernel
    def accepted(y: Out[u32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = u32(len(y) - 1 - i)

    assert accepted(out=4, on=on).tolist() == [3, 2, 1, 0]


def _helper(k: u32) -> Any:
    return k


def _to_helper(y: Out[u32]):
    i = loom.global_id()
    y[i] = _helper(i - 1)


def _declared(y: Out[u32]):
    i = loom.global_id()
    k: u32 = i - 1
    y[i] = k


def _added(y: InOut[u32]):
    loom.atomic_add(y, 0, loom.global_id() - 1)


@pytest.mark.parametrize("fn", [_to_helper, _declared, _added], ids=["helper", "declared", "atomic"])
def test_every_place_of_a_u32_refuses_a_difference(fn: Any) -> None:
    with pytest.raises(KernelTypeError, match=_STORED):
        _ = kernel(fn).verified


def test_bits_and_numbers_that_have_no_sign_are_refused() -> None:
    @kernel
    def bits(y: Out[u32], n: u32):
        i = loom.global_id()
        y[i] = u32((i - 1) ^ n)

    @kernel
    def large(y: Out[u32]):
        i = loom.global_id()
        y[i] = u32(i - 2654435761)

    with pytest.raises(KernelTypeError, match="bits of an index that may be below zero meet a u32.*Write u32"):
        _ = bits.verified
    with pytest.raises(KernelTypeError, match=r"a number of 2\^31 or more meets an index that may be below zero.*u32"):
        _ = large.verified


def test_a_u32_of_memory_says_how_it_meets_a_difference(on: str) -> None:
    """Taken for an i32 in silence, one of 2^31 or more would be another number."""

    @kernel
    def refused(x: In[u32], y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = f32(x[i] - i)

    with pytest.raises(KernelTypeError, match="a u32 of memory meets an index that may be below zero.*i32.*u32"):
        _ = refused.verified

    @kernel
    def accepted(x: In[u32], small: In[u8], y: Out[f32], z: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = f32(x[i] - u32(i))
            z[i] = f32(i32(x[i] % 1000) - i) + f32(u32(small[i]) - i) + f32((x[i] & 7) - i) + f32(max(x[i], i - 1) % 7)

    x, small = np.array([2**32 - 2, 2**31 + 5, 9], np.uint32), np.array([0, 200, 1], np.uint8)
    y, z = accepted(x, small, on=on)
    assert y.tolist() == [float(np.float32(int(v) - i)) for i, v in enumerate(x)]
    assert z.tolist() == [
        (int(v) % 1000 - i) + (int(s) - i) + (int(v) % 8 - i) + int(v) % 7
        for i, (v, s) in enumerate(zip(x, small, strict=True))
    ]


# limits


def test_signed_indexes_have_half_the_room_and_say_so() -> None:
    where = "chain.dispatch of 'guarded'"
    far = guarded.verified
    assert largest_groups(far)[0] == 2**31 // 64
    with pytest.raises(ArgumentError, match=r"at most 2\^31 lanes along a dimension.*u32\(\.\.\.\) or i64\(\.\.\.\)"):
        encode_groups(far, 2**31 // 64 + 1, 1, where)
    with pytest.raises(ShapeError, match=r"buffer 'y'. too many elements for indexes that go below zero: .*2\^31"):
        refuse_far_elements(far, [8, 2**31], {}, where)

    @kernel
    def near(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = x[u32(i) - 2] + x[i64(i) - 2] + x[i]

    refuse_far_elements(near.verified, [2**31, 2**32 - 1], {}, where)
    assert encode_groups(near.verified, 2**32 // 64, 1, where)[0, 0] == 2**26


def test_a_parameter_that_no_i32_holds_is_refused_where_it_meets_a_difference() -> None:
    @kernel
    def behind(y: Out[i32], n: u32, m: u32):
        i = loom.global_id()
        if i < len(y) and i - 1 < m:
            y[i] = i - (n - 1)

    assert behind(n=0, m=2**32 - 1, out=2, on="cpu").tolist() == [1, 2]
    assert behind(n=2**31 - 1, m=0, out=2, on="cpu").tolist() == [2 - 2**31, 0]
    with pytest.raises(ArgumentError, match=r"parameter 'n'. too large for the indexes it meets.*less than 2\^31"):
        behind(n=2**31, m=0, out=2, on="cpu")


def test_a_kernel_of_signed_indexes_is_another_than_one_that_converts() -> None:
    """Their code may differ, as the other one takes arrays of 2^31 elements; nothing else tells them apart."""

    @kernel
    def same(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = x[i - 1]

    @kernel
    def by_hand(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if i < len(y):
            y[i] = x[i32(i) - 1]

    text, other = print_kernel(same.verified.kernel), print_kernel(by_hand.verified.kernel)
    assert text.replace("@same", "@by_hand").replace(" signed {", " {") == other
    assert same.verified.hash != by_hand.verified.hash
    assert print_kernel(parse_kernel(text)) == text


def test_lanes_beyond_the_limit_are_refused_by_a_call() -> None:
    with pytest.raises(ArgumentError, match="unusable number of workgroups"):
        guarded(X, np.zeros(10, np.float32), lanes=2**31 + 64, on="cpu")


# sizes of launches


def test_guards_of_differences_tell_how_far_a_kernel_reaches(on: str) -> None:
    @kernel
    def inner(x: In[f32], y: Out[f32]):
        i = loom.global_id()
        if 1 <= i < len(x) - 1:
            y[i] = x[i + 1] - x[i - 1]

    @kernel
    def shifted(found: InOut[i32], n: u32):
        i = loom.global_id()
        if i - 3 < n:
            loom.atomic_add(found, 0, 1)

    assert inner(X, on=on).tolist() == [0, *([2] * 8), 0]
    found = np.zeros(1, np.int32)
    shifted(found, n=100, on=on)
    assert found[0] == 103
    assert inner(X[:0], X[:0].copy(), on=on) is None


def test_what_is_compared_as_numbers_proves_that_an_index_is_inside() -> None:
    """So that a GPU runs it without checks; an i32 below a u32 is two operations, which the proof reads as one."""

    @kernel
    def both(x: In[f32], y: Out[f32], n: u32):
        i = loom.global_id()
        if 0 <= i - 1 < n:
            y[i - 1] = x[i - 1]

    @kernel
    def one(x: In[f32], y: Out[f32], n: u32):
        i = loom.global_id()
        if i - 1 < n:
            y[i - 1] = x[i - 1]

    def is_inside(k: Any, n: int) -> bool:
        found = k.verified.kernel
        lengths = dict.fromkeys(found.buffers, 50)
        return Proof(found).stays_inside(Launch((1, 1, 1), {found.params[0]: (n, n)}, lengths))

    assert is_inside(both, 50)
    assert not is_inside(both, 51)
    assert not is_inside(one, 50)


# drawn


@pytest.mark.parametrize("seed", range(6))
def test_drawn_kernels_compute_what_python_does(seed: int, on: str) -> None:
    _agree(seed, on)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 60))
def test_many_drawn_kernels_compute_what_python_does(seed: int, on: str) -> None:
    _agree(seed, on)


def _agree(seed: int, on: str) -> None:
    program = Program(seed).draw()
    x, shape, n, m = np.arange(11, dtype=np.int32) * 3 - 7, (3, 5), 6, -4
    out = np.zeros(LANES * OUTPUTS, np.int32)
    program.kernel()(x, np.zeros(shape, np.int32), out, n=n, m=m, on=on)
    assert (out == program.by_python(x, shape, n, m)).all(), program.text


# what a check tells

_WRAPPED = "a difference of unsigned numbers goes below zero in lane 0 and is "


@kernel
def wraps_and_is_clamped(x: In[f32], y: Out[f32], n: u32):
    i = loom.global_id()
    if i < len(y):
        y[i] = x[min(i, n - 1)]


@kernel
def wraps_and_is_converted(x: In[f32], y: Out[f32], n: u32):
    i = loom.global_id()
    if i < len(y):
        y[i] = f32(n - 1)


@kernel
def wraps_and_is_compared(x: In[f32], y: Out[f32], n: u32):
    i = loom.global_id()
    if i < len(y):
        j, k = n - 1, 0
        while j > 1 and k < 9:
            j -= 2
            k += 1
        y[i] = f32(k)


@kernel
def never_ends(n: In[u32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        j = n[i] - 1
        while j >= 0:
            y[i] = f32(j)
            j -= 1


@kernel
def ends_by_the_remedy(n: In[u32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        j = i32(n[i]) - 1
        while j >= 0:
            y[i] = f32(j + 1)
            j -= 1


@kernel
def ends_by_break(n: In[u32], y: Out[f32]):
    i = loom.global_id()
    if i < len(y):
        j = n[i]
        while 0 <= j:
            y[i] = f32(j)
            if j <= 1:
                break
            j -= 1


def test_a_loop_that_only_wraps_is_refused(on: str) -> None:
    n = np.array([3, 1, 2], np.uint32)
    told = "the loop never ends: expected a condition that can fail, got a u32 that is at least 0, as each is. "
    with pytest.raises(KernelTypeError, match=f"'never_ends' at .*{told}Count down in a type with a sign"):
        never_ends(n, on=on)
    assert ends_by_the_remedy(n, on=on).tolist() == ends_by_break(n, on=on).tolist() == [1, 1, 1]


@kernel
def wraps_and_is_an_index(x: In[f32], y: Out[f32], n: u32):
    i = loom.global_id()
    if i < len(y):
        y[i] = x[n - 1]


@kernel
def wraps_unseen(x: In[f32], y: Out[f32], n: u32):
    i = loom.global_id()
    if i < len(y):
        h = n - 77
        h ^= h >> 3
        y[i] = f32(n > 0 and i < n - 1) + f32((n - 1 if n > 0 else n) < 3) + f32((n - 1 & 0xFFFFFFFF) > 7)
        if n > 0:
            y[i] = f32(n - 1) + f32(h)


_WRAPPING = [
    (wraps_and_is_clamped, "clamped"),
    (wraps_and_is_converted, "converted"),
    (wraps_and_is_compared, "compared"),
    (wraps_and_is_an_index, "used as an index"),
]


@pytest.mark.parametrize(("k", "how"), _WRAPPING, ids=[how for _, how in _WRAPPING])
def test_a_check_tells_of_unsigned_differences_that_wrap(
    k: Any, how: str, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = loom.Chain(on)  # a call that is not proved inside is first run in the form that tells
    chain.dispatch(k, [X, np.zeros(10, np.float32)], [0])
    chain.build().run()
    with loom.debug(), pytest.raises(OutOfBounds, match=f"{_WRAPPED}{how}: .*got 0 - 1"):
        k(X, n=0, on=on)
    monkeypatch.setenv("LOOM_CHECK", "1")
    with pytest.raises(OutOfBounds, match=f"{_WRAPPED}{how}: .*got 0 - 1. Compute with i32") as caught:
        k(X, n=0, on=on)
    assert caught.value.lane == 0


@kernel
def thirds(x: In[u32], z: In[u32], at: In[u32], y: Out[u32]):
    i = loom.global_id()
    if i < len(at):
        y[i] = (x[at[i]] - z[i]) // 3


@kernel
def thirds_of_bytes(x: In[u8], z: In[u8], at: In[u32], y: Out[u8]):
    i = loom.global_id()
    if i < len(at):
        y[i] = ((x[at[i]] - z[i]) | 0) // 3


def test_a_difference_wraps_alike_in_every_call(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call was one that tells of indexes, and told of differences too; later ones wrapped."""
    x, z, at = np.arange(5, dtype=np.uint32), np.full(5, 2, np.uint32), np.arange(5, dtype=np.uint32)
    expected = ((x - z) // 3).tolist()
    assert thirds(x, z, at, out=5, on=on).tolist() == expected
    assert thirds(x, z, at, out=5, on=on).tolist() == expected
    chain, y = loom.Chain(on), np.zeros(5, np.uint32)
    chain.dispatch(thirds, [x, z, at, y])
    chain.build().run()
    assert y.tolist() == expected
    monkeypatch.setenv("LOOM_CHECK", "1")
    for _ in range(2):
        with pytest.raises(OutOfBounds, match=r"divided: .* where it is meant to wrap, write \(a - b\) \| 0, its bits"):
            thirds(x, z, at, out=5, on=on)
    bytes_of = x.astype(np.uint8), z.astype(np.uint8)
    wrapped = ((bytes_of[0] - bytes_of[1]) // 3).tolist()
    assert thirds_of_bytes(*bytes_of, at, out=5, on=on).tolist() == wrapped  # the remedy, of any type


def test_a_check_tells_of_no_difference_that_is_not_needed(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = wraps_unseen(X, n=0, on=on).tolist()
    with loom.debug():
        assert wraps_unseen(X, n=0, on=on).tolist() == expected
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert wraps_unseen(X, n=0, on=on).tolist() == expected == [2.0] * 10


def test_the_interpreter_runs_what_tells_as_it_is() -> None:
    y = np.zeros(10, np.float32)
    interpret(wraps_and_is_converted.verified.kernel, [X, y], [0], (1, 1, 1))
    assert (y == np.float32(2**32 - 1)).all()
