"""Types in kernels: constants that fit themselves, locals whose type is decided later, conversions."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from kernel_oracle import agree, run
from loom import In, Out, f32, f64, i8, i32, i64, kernel, u8, u32, u64
from loom.ir.frontend.base.annotations import Absent

X = np.array([-7, -3, -1, 0, 1, 2, 5, 9])


def zeros(dtype: type) -> np.ndarray:
    return np.zeros(8, dtype)


def variables(k: object) -> dict[str, str]:
    """The types of a kernel's variables."""
    return {v.name: v.dtype.name for v in k.verified.kernel.variables}  # type: ignore[attr-defined]


# locals decided later


@pytest.mark.parametrize("dtype", [u32, i32, i64, u64, f32, f64], ids=str)
def test_an_accumulator_takes_the_type_of_what_is_added(dtype: loom.DType) -> None:
    @kernel(workgroup=8)
    def k(x: In[dtype], y: Out[dtype]):
        i = loom.global_id()
        s = 0
        for j in range(i + 1):
            s += x[j]
        y[i] = s

    agree(k, np.arange(3, 11).astype(dtype.numpy), zeros(dtype.numpy))
    assert variables(k) == {"s": dtype.name}


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_an_integer_constant_becomes_a_float_when_it_meets_one(dtype: loom.DType) -> None:
    @kernel(workgroup=8)
    def k(x: In[dtype], y: Out[dtype]):
        i = loom.global_id()
        s = 1
        n = 0
        while n < 4:
            s = s * 0.1 + x[i] * n
            n += 1
        v = 0
        if x[i] > 0:
            v = 0.1
        y[i] = s + v

    agree(k, X.astype(dtype.numpy), zeros(dtype.numpy))
    assert variables(k) == dict.fromkeys(("s", "n", "v"), dtype.name)


def test_an_integer_constant_becomes_f32_when_only_constants_say_so() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[f32]):
        i = loom.global_id()
        if x[i] > 0:
            v = 1
        else:
            v = 0.1
        y[i] = v

    agree(k, X.astype(np.int32), zeros(np.float32))


def test_locals_computed_from_undecided_ones_follow_them() -> None:
    @kernel(workgroup=8)
    def k(x: In[u64], y: Out[u64]):
        i = loom.global_id()
        a = 1
        b = a + 2
        c = b * a
        for _ in range(2):
            c += b
            a += 1
        y[i] = c * x[i] + a

    agree(k, np.arange(8, dtype=np.uint64) + (1 << 40), zeros(np.uint64))


def test_swapped_undecided_locals_follow_each_other() -> None:
    @kernel(workgroup=8)
    def k(x: In[i64], y: Out[i64]):
        i = loom.global_id()
        a, b = 0, 1
        for _ in range(60):
            a, b = b, a + b
        y[i] = a + x[i]

    agree(k, X.astype(np.int64), zeros(np.int64))


def test_an_undecided_local_assigned_a_typed_value_in_a_branch() -> None:
    @kernel(workgroup=8)
    def k(x: In[i64], y: Out[i64]):
        i = loom.global_id()
        s = 0
        if x[i] > 0:
            s = 5
        t = s
        if x[i] > 4:
            t = x[i]
        y[i] = t

    agree(k, X.astype(np.int64), zeros(np.int64))


def test_choices_between_constants_are_undecided_too() -> None:
    @kernel(workgroup=8)
    def k(x: In[f64], y: Out[f64]):
        i = loom.global_id()
        a = 0.1 if x[i] > 0 else 0.7
        b = 1 if x[i] > 1 else 0.3
        c = (1 if x[i] > 2 else 2) * 0.1
        d = loom.select(x[i] > 3, 1, 2)
        y[i] = a * 3 + b + c * d + x[i]

    agree(k, X.astype(np.float64), zeros(np.float64))


def test_a_counter_takes_the_integer_type_it_meets() -> None:
    @kernel(workgroup=8)
    def k(x: In[u32], y: Out[u32], w: Out[i64]):
        i = loom.global_id()
        s = u32(0)
        for j in range(10):
            s += j * x[i]
        t = i64(0)
        for j in range(10):
            t += j * i64(x[i])
        y[i] = s
        w[i] = t

    agree(k, np.arange(8, dtype=np.uint32), zeros(np.uint32), zeros(np.int64))


def test_a_counter_may_be_converted_to_several_types() -> None:
    @kernel(workgroup=8)
    def k(x: In[f32], y: Out[f64]):
        i = loom.global_id()
        s = 0.0
        t = f32(0)
        for j in range(4):
            t += x[i] * f32(j)
            s += f64(j) * 0.1
        y[i] = s + f64(t)

    agree(k, X.astype(np.float32), zeros(np.float64))


def test_indexes_may_stay_undecided() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        j = 0
        while j < 7 and x[j] < 0:
            j += 1
        y[i] = x[j] + x[i] + j

    agree(k, X.astype(np.int32), zeros(np.int32))


def test_large_constants_choose_a_type_that_holds_them() -> None:
    @kernel(workgroup=8)
    def k(x: In[i64], y: Out[i64], w: Out[u64], v: Out[u32]):
        i = loom.global_id()
        big = 2**40
        if x[i] > 0:
            big = x[i]
        huge = 2**63
        huge += 1
        unsigned = 3_000_000_000
        unsigned += 1
        y[i] = big
        w[i] = huge
        v[i] = unsigned

    agree(k, X.astype(np.int64), zeros(np.int64), zeros(np.uint64), zeros(np.uint32))
    assert variables(k)["huge"] == "u64"


def test_as_many_undecided_locals_as_one_likes() -> None:
    """Each costs one more translation; a hundred and more must still settle."""
    count = 150
    lines = [f"    a{n} = 0" for n in range(count)] + ["    for j in range(3):"]
    lines += [f"        a{n} += v" for n in range(count)] + ["    return a0 + a149"]
    assert loom.gpu_map(X, _define("def f(v):\n" + "\n".join(lines) + "\n"), on="interp").tolist() == (X * 6).tolist()


def _define(text: str) -> object:
    """Define a function whose source can be read, as a notebook does."""
    import linecache

    name = f"<cell {len(linecache.cache)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, object] = {"loom": loom}
    exec(compile(text, name, "exec"), scope)
    return scope["f"]


# constants


def test_constants_fit_themselves_to_what_they_meet() -> None:
    @kernel(workgroup=8)
    def k(x: In[f32], a: Out[u8], b: Out[f64], c: Out[bool]):  # type: ignore[valid-type]
        i = loom.global_id()
        a[i] = 200
        b[i] = f64(x[i]) + 1 + 0.1 + True * 2
        c[i] = x[i] == 5

    agree(k, X.astype(np.float32), zeros(np.uint8), zeros(np.float64), zeros(np.bool_))


def test_numpy_scalars_have_their_own_type() -> None:
    seven, table = np.int32(7), np.array([1, 2, 3], np.int32)

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        y[i] = x[i] * seven + table[1] + np.int32(3)

    agree(k, X.astype(np.int32), zeros(np.int32))


def test_compile_time_arithmetic_is_pythons() -> None:
    big, name = 10**30, "abc"

    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        y[i] = x[i] * 2**3 + 7 // 2 - (-7) % 3 + (1 << 4) + big // 10**29 + len(name) + (3 and 5) + (0 or 7)

    agree(k, X.astype(np.int32), zeros(np.int32))


def test_infinities_and_nan_are_constants_too() -> None:
    @kernel(workgroup=1)
    def k(y: Out[f32]):
        y[0] = float("inf")
        y[1] = -float("inf")
        y[2] = float("nan")
        y[3] = -0.0
        y[4] = 1e300 * 1e300
        y[5] = 1e-46

    got = np.ones(6, np.float32)
    run(k, got)
    assert got.view(np.uint32).tolist() == [0x7F800000, 0xFF800000, 0x7FC00000, 0x80000000, 0x7F800000, 0]


# conversions


def test_conversions_between_numbers() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i32], w: Out[f64]):
        i = loom.global_id()
        y[i] = i32(u8(x[i])) + i32(f32(x[i]) * 0.5) + i32(x[i] > 0) + i32(i8(x[i] * 50)) + i32(True) + i32(2.0)
        w[i] = f64(x[i]) / 3 + f64(f32(0.1)) + f64(u32(x[i]))

    agree(k, X.astype(np.int32), zeros(np.int32), zeros(np.float64))


def test_a_converted_local_is_decided() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[i64]):
        i = loom.global_id()
        n = i32(0)
        for j in range(3):
            n += x[i] + j
        y[i] = i64(n) + i64(i32(7))

    agree(k, X.astype(np.int32), zeros(np.int64))


def test_annotations_declare_the_type_of_a_local() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[f64]):
        i: u32 = loom.global_id()
        a: f64 = 1
        b: float = 0.1
        c: int = 3
        d: loom.f64 = 0.1
        for j in range(2):
            a = a * 0.1 + f64(j)
        y[i] = a + f64(x[i]) * d + f64(b) + f64(c)

    got = zeros(np.float64)
    run(k, X.astype(np.int32), got)
    expected = (1 * 0.1 * 0.1 + 1) + X * 0.1 + np.float64(np.float32(0.1)) + 3
    assert got.tobytes() == expected.tobytes()
    assert variables(k)["a"] == "f64"


def test_the_type_of_a_value_can_be_asked_for() -> None:
    @kernel(workgroup=8)
    def k(x: In[i64], y: Out[i64]):
        i = loom.global_id()
        one = x.dtype.type(1) if hasattr(x.dtype, "type") else x.dtype(1)
        y[i] = x[i] + one

    agree(k, X, zeros(np.int64))


def test_bools_are_a_type_of_their_own() -> None:
    @kernel(workgroup=8)
    def k(x: In[i32], y: Out[loom.bool_], w: Out[i32]):
        i = loom.global_id()
        a = x[i] > 0
        b = x[i] % 2 == 0
        found = False
        for j in range(8):
            if x[j] == x[i] + 1:
                found = True
        c = (a and not b) or (a ^ b) & (a | b)
        y[i] = c != found
        w[i] = (1 if found else 0) + (2 if a == b else 0) + (4 if not found else 0)

    agree(k, X.astype(np.int32), zeros(np.bool_), zeros(np.int32))


# parameters left out


@pytest.mark.parametrize("scaled", [False, True])
def test_a_factory_leaves_a_parameter_out(scaled: bool) -> None:
    factors = In[i32] if scaled else Absent

    @kernel(workgroup=8)
    def k(x: In[i32], by: factors, y: Out[i32]):
        i = loom.global_id()
        y[i] = x[i] if by is None else x[i] * by[i]

    assert [b.name for b in k.verified.kernel.buffers] == (["x", "by", "y"] if scaled else ["x", "y"])
    given = [X.astype(np.int32), *([np.full(8, 3, np.int32)] if scaled else []), zeros(np.int32)]
    chain = loom.Chain("cpu")
    chain.dispatch(k, given, groups=1)
    chain.build().run()
    assert given[-1].tolist() == (X * 3 if scaled else X).tolist()
