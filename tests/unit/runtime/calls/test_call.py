"""Kernels called as functions: every kind of data on every device, sizes, names, outputs, and what is refused."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import loom
from loom import In, InOut, Out, bf16, f16, f32, f64, i8, i16, i32, i64, tensor, u8, u16, u32, u64
from loom.core.errors import AssertionFailed, LoomError
from loom.runtime.chain.kept import program_cache

SIZE = 1000
X = np.arange(SIZE, dtype=np.float32)


@loom.kernel
def saxpy(x: In[f32], y: InOut[f32], a: f32):
    i = loom.global_id()
    if i < len(y):
        y[i] = a * x[i] + y[i]


@loom.kernel
def scale(x: In[f32], z: Out[f32], a: f32):
    i = loom.global_id()
    if i < len(z):
        z[i] = a * x[i]


@loom.kernel
def both(x: In[i32], low: Out[i32], high: Out[i64], k: i32):
    i = loom.global_id()
    if i < len(x):
        low[i] = x[i] - k
        high[i] = i64(x[i]) + i64(k)


KINDS: dict[str, Any] = {
    "numpy": np.copy, "array": loom.array, "parameter": tensor.parameter, "torch": lambda x: torch.from_numpy(x.copy()),
    "gaps": lambda x: np.repeat(x, 2)[::2], "backwards": lambda x: x[::-1].copy()[::-1],
    "columns": lambda x: np.asfortranarray(x.reshape(20, 50)), "big endian": lambda x: x.astype(">f4"),
    "torch gaps": lambda x: torch.from_numpy(np.repeat(x, 2))[::2],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_every_kind_on_every_device(on: str, kind: str) -> None:
    make = (lambda x: KINDS[kind](x, on=on)) if kind in ("array", "parameter") else KINDS[kind]
    x, y = make(X), make(np.ones(SIZE, np.float32))
    for turn in (1, 2, 3):
        assert saxpy(x, y, a=2.0, on=on) is None
        expected = turn * 2 * X + 1
        assert np.array_equal(np.asarray(y), expected.reshape(np.shape(y)))
    assert np.array_equal(np.asarray(x).reshape(-1), X)


def test_only_the_elements_of_a_view_are_written(on: str) -> None:
    whole = np.zeros((64, 6), np.float32)
    saxpy(np.ones((64, 2), np.float32), whole[:, 1:5:2], 3.0, on=on)
    expected = np.zeros((64, 6), np.float32)
    expected[:, 1:5:2] = 3
    assert np.array_equal(whole, expected)


def test_views_that_share_no_element(on: str) -> None:
    whole = np.arange(200, dtype=np.float32)
    saxpy(whole[::2], whole[1::2], 10.0, on=on)
    expected = np.arange(200, dtype=np.float32)
    expected[1::2] += 10 * expected[::2]
    assert np.array_equal(whole, expected)


def test_places_of_device_and_host_meet(on: str) -> None:
    x, y = loom.array(X, on=on), np.ones(SIZE, np.float32)
    saxpy(x, y, 2.0)  # on the device of x, and y is written when it returns
    assert np.array_equal(y, 2 * X + 1)
    z = loom.array(y, on=on)
    saxpy(X, z, 1.0)
    assert np.array_equal(z.numpy(), 3 * X + 1)


def test_lists_are_inputs() -> None:
    y = np.zeros(3, np.float32)
    saxpy([1, 2, 3], y, 2)
    assert y.tolist() == [2, 4, 6]


@pytest.mark.parametrize("dtype", [i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64, loom.bool_], ids=str)
def test_every_dtype(on: str, dtype: Any) -> None:
    @loom.kernel
    def copied(x: In[dtype], y: Out[dtype]):
        i = loom.global_id()
        if i < len(y):
            y[i] = x[i]

    kind = np.dtype(ml_dtypes.bfloat16) if dtype == bf16 else dtype.numpy
    x = (np.arange(100) % 2 if dtype is loom.bool_ else np.arange(100)).astype(kind)
    y = np.zeros(100, kind)
    copied(x, y, on=on)
    assert y.tobytes() == x.tobytes()
    if dtype == bf16:
        t = torch.zeros(100, dtype=torch.bfloat16)
        copied(torch.arange(100, dtype=torch.bfloat16), t, on=on)
        assert t.float().tolist() == list(range(100))


@pytest.mark.parametrize("number", [2, 2.0, np.float32(2), np.float64(2), np.int8(2), np.array(2.0)], ids=repr)
def test_numbers_of_every_kind(number: Any) -> None:
    y = np.zeros(4, np.float32)
    saxpy(np.ones(4, np.float32), y, number)
    assert y.tolist() == [2] * 4


@pytest.mark.parametrize("number", [0.1, -0.0, 1e-45, float("inf"), 3.4028235677973366e38, 16777217, 1 << 127])
def test_a_number_is_rounded_as_in_a_dispatch(number: Any) -> None:
    out = scale(np.ones(1, np.float32), a=number) if abs(number) < 3.4028235677973366e38 else None
    chain, expected = loom.Chain(), np.zeros(1, np.float32)
    if out is None and number != float("inf"):
        with pytest.raises(LoomError, match="does not fit f32"):
            scale(np.ones(1, np.float32), a=number)
        return
    out = scale(np.ones(1, np.float32), a=number)
    chain.dispatch(scale, [np.ones(1, np.float32), expected], [number])
    chain.build().run()
    assert out.tobytes() == expected.tobytes() == np.float32(number).tobytes()


# sizes


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 4096, 70000])
def test_the_size_comes_from_the_data(on: str, size: int) -> None:
    if on == "interp" and size > 5000:
        pytest.skip("slow")
    y = np.ones(size, np.float32)
    saxpy(np.ones(size, np.float32), y, 2.0, on=on)
    assert y.tolist() == [3.0] * size


@loom.kernel(workgroup=(8, 4))
def place(p: InOut[u32], w: u32):
    loom.atomic_add(p, loom.global_id(1) * w + loom.global_id(0), 1)


@loom.kernel(workgroup=16)
def tick(hits: InOut[u32]):
    loom.atomic_add(hits, 0, 1)


def test_lanes_and_groups() -> None:
    p = np.zeros((12, 24), np.uint32)
    place(p, 24, lanes=(12, 24))
    assert (p == 1).all()
    place(p, 24, groups=(3, 3))
    assert (p == 2).all()
    place[(3, 3),](p, w=24)
    place[(3, 3), (8, 4)](p, w=24)
    assert (p == 4).all()
    hits = np.zeros(1, np.uint32)
    tick(hits, lanes=17)
    assert hits[0] == 17
    for call in (lambda: tick[2](hits), lambda: tick[2, 16](hits),
                 lambda: tick(hits, groups=(2,)), lambda: tick(hits, lanes=np.int64(32)),
                 lambda: tick(hits, groups=np.array([2, 1]))):  # fmt: skip
        hits[:] = 0
        call()
        assert hits[0] == 32


def test_more_groups_than_a_device_takes_along_a_dimension(on: str) -> None:
    if on == "interp":
        pytest.skip("slow")

    @loom.kernel(workgroup=1)
    def one(y: Out[u8]):
        y[loom.global_id()] = 1

    y = np.zeros(100_000, np.uint8)
    one(y, on=on)
    assert (y == 1).all()


# outputs that are left out


def test_outputs_that_are_left_out_are_returned(on: str) -> None:
    z = scale(X.reshape(10, 100), a=2.0, on=on)
    assert z.shape == (10, 100)
    assert np.array_equal(z, 2 * X.reshape(10, 100))
    low, high = both(np.arange(5, dtype=np.int32), k=3, on=on)
    assert (low.tolist(), high.tolist()) == ([-3, -2, -1, 0, 1], [3, 4, 5, 6, 7])
    assert low.dtype == np.int32
    assert high.dtype == np.int64
    assert scale(X, a=2.0, out=10, on=on).tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    low, high = both(np.arange(5, dtype=np.int32), k=0, out={"low": 5, "high": (8, 1)})
    assert high.reshape(-1).tolist() == [0, 1, 2, 3, 4, 0, 0, 0]
    into = np.zeros(SIZE, np.float32)
    assert scale(X, a=2.0, out=into) is None
    assert np.array_equal(into, 2 * X)


def test_a_parameter_of_the_name_of_a_setting_is_the_kernels() -> None:
    @loom.kernel
    def k(x: In[f32], out: Out[f32], lanes: f32):
        i = loom.global_id()
        if i < len(out):
            out[i] = x[i] + lanes

    out = np.zeros(3, np.float32)
    k(np.ones(3, np.float32), out=out, lanes=2.0)
    assert out.tolist() == [3, 3, 3]
    assert k(np.ones(3, np.float32), lanes=1.0).tolist() == [2, 2, 2]
    assert k(np.ones(3, np.float32), lanes=1.0, out=2).tolist() == [2, 2]


# order


def test_calls_come_after_runs_that_use_the_same_array() -> None:
    x, y = X.copy(), np.zeros(SIZE, np.float32)
    chain = loom.Chain()
    with chain.repeat(2000):
        chain.dispatch(saxpy, [x, y], [1.0])
    program = chain.build()
    for turn in range(1, 4):
        program.launch()
        saxpy(x, y, 1.0)
        assert np.array_equal(y, 2001 * turn * X)


def test_calls_over_arrays_of_a_device_are_in_order(on: str) -> None:
    x, y, z = (loom.array(a, on=on) for a in (X, np.zeros_like(X), np.zeros_like(X)))
    for _ in range(20):
        saxpy(x, y, 1.0)
        saxpy(y, z, -1.0)
    assert np.array_equal(y.numpy(), 20 * X)
    assert np.array_equal(z.numpy(), -210 * X)


def test_threads_that_call_one_kernel() -> None:
    found: list[bool] = []

    def work(k: int) -> None:
        for n in range(30):
            y = np.full(SIZE, n, np.float32)
            saxpy(X, y, float(k))
            found.append(bool(np.array_equal(y, k * X + n)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [True] * 150


def test_one_program_is_kept_for_calls_of_one_kind() -> None:
    before = len(program_cache())
    for n in range(5):
        scale(X, np.zeros(SIZE, np.float32), float(n))
        scale(X, np.zeros(SIZE, np.float32), a=float(n))
    assert len(program_cache()) <= before + 1


def test_a_call_after_a_fork() -> None:
    saxpy(X, np.zeros(SIZE, np.float32), 1.0)
    child = os.fork()
    if not child:
        y = np.ones(SIZE, np.float32)
        saxpy(X, y, 2.0)
        os._exit(0 if np.array_equal(y, 2 * X + 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_a_kernel_tells(on: str, capfd: pytest.CaptureFixture[str]) -> None:
    @loom.kernel
    def strict(x: In[i32], y: Out[i32]):
        i = loom.global_id()
        if i < len(x):
            assert x[i] > 0, f"element {i}"
            y[i] = x[i]
            if i == 1:
                print("second", x[i])

    strict(loom.array(np.array([1, 2], np.int32), on=on), loom.array(np.zeros(2, np.int32), on=on))
    assert capfd.readouterr().out == "second 2\n"
    with pytest.raises(AssertionFailed, match="element 1"):
        strict(np.array([1, 0], np.int32), np.zeros(2, np.int32), on=on)


def test_debugging_sees_the_call() -> None:
    with loom.debug(), pytest.raises(LoomError, match=r"outside|index"):
        tick2(np.zeros(4, np.uint32), lanes=16)


@loom.kernel(workgroup=16)
def tick2(x: InOut[u32]):
    x[loom.global_id() + 8] = 1


# what is refused


GOOD = (np.ones(4, np.float32), np.ones(4, np.float32))


@pytest.mark.parametrize(("call", "text"), [
    (lambda: saxpy(*GOOD), "nothing was given for 'a': expected x: In[f32], y: InOut[f32], a: f32"),
    (lambda: saxpy(GOOD[0], a=1.0), "nothing was given for 'y'"),
    (lambda: saxpy(*GOOD, 1.0, 2.0), "too many arguments"),
    (lambda: saxpy(*GOOD, 1.0, a=2.0), "parameter 'a' is given twice"),
    (lambda: saxpy(*GOOD, b=2.0), "no parameter is called 'b'"),
    (lambda: saxpy(*GOOD, 1.0, lane=2), "Did you mean 'lanes'"),
    (lambda: saxpy(*GOOD, 1.0, groups=1, lanes=1), "lanes and groups are given"),
    (lambda: saxpy[1](*GOOD, 1.0, groups=1), "groups are given twice"),
    (lambda: saxpy(*GOOD, 1.0, lanes=-1), "lanes] out of range"),
    (lambda: saxpy(*GOOD, 1.0, lanes=(1, 2, 3, 4)), "too many axes"),
    (lambda: saxpy(*GOOD, 1.0, lanes=1.5), "not a whole number"),
    (lambda: saxpy(*GOOD, 1.0, lanes=(2, 3)), "lanes] the kernel does not ask for its lane along dimension 1: expected "
     "a number for its own, got (2, 3). Write lanes=6, or loom.global_id(1) in the kernel."),
    (lambda: saxpy(*GOOD, 1.0, groups={}), "groups] not a whole number"),
    (lambda: saxpy(*GOOD, 1.0, groups=()), "groups] no dimensions"),
    (lambda: saxpy(*GOOD, 1.0, groups=-1), "groups] out of range"),
    (lambda: saxpy(*GOOD, 1.0, groups=1 << 40), "unusable number of workgroups"),
    (lambda: saxpy([[1, 2], [3]], GOOD[1], 1.0), "the rows differ in length"),
    (lambda: scale([[1, 2], [3]], a=1.0), "the rows differ in length"),
    (lambda: scale(GOOD[0].astype(complex), a=1.0), "unsupported dtype"),
    (lambda: saxpy[2, 32](*GOOD, 1.0), "another workgroup than the kernel's"),
    (lambda: saxpy["x"](*GOOD, 1.0), "not a number of groups"),
    (lambda: saxpy[1][2](*GOOD, 1.0), "a number of groups is given already: expected a call, got [2]"),
    (lambda: saxpy(*GOOD, 1.0, on="gpux"), "no device is called 'gpux'"),
    (lambda: saxpy(*GOOD, "1"), "does not fit f32"),
    (lambda: saxpy(GOOD[0], [1.0] * 4, 1.0), "not a buffer"),
    (lambda: saxpy(GOOD[0], 3.0, 1.0), "not a buffer"),
    (lambda: saxpy(GOOD[0], None, 1.0), "not a buffer"),
    (lambda: saxpy(GOOD[0].astype(np.float64), GOOD[1], 1.0), "the array has another type"),
    (lambda: saxpy(GOOD[0], np.broadcast_to(np.float32(1), 4), 1.0), "read-only"),
    (lambda: saxpy(GOOD[0], np.lib.stride_tricks.as_strided(GOOD[1], (2, 3), (4, 4)), 1.0), "share memory"),
    (lambda: saxpy(GOOD[0], GOOD[0], 1.0), "'x' and 'y' share memory and one is written"),
    (lambda: saxpy(X[:10], X[5:15], 1.0), "'x' and 'y' share memory"),
    (lambda: saxpy(X[::2], X[2::2][:499], 1.0), "'x' and 'y' share memory"),
    (lambda: saxpy(*GOOD, 1.0, out=4), "no output is left out"),
    (lambda: scale(GOOD[0], a=1.0, out={"w": 4}), "shapes for other outputs"),
    (lambda: scale(GOOD[0], a=1.0, out=-4), "out of range"),
    (lambda: both(np.zeros(2, np.int32), k=1, out=np.zeros(2, np.int32)), "an array for several outputs"),
    (lambda: place(np.zeros(1, np.uint32), 1), "the number of workgroups cannot be told"),
    (lambda: saxpy(torch.ones(4), torch.ones(4, requires_grad=True), 1.0), "Pass x.detach()"),
    (lambda: saxpy(loom.array(X, on="interp"), loom.array(X, on="cpu"), 1.0, on="vulkan"), "on another device"),
])  # fmt: skip
def test_what_is_refused(call: Any, text: str) -> None:
    with pytest.raises(LoomError, match=re.escape(text)):
        call()


def test_the_shape_of_an_output_is_not_guessed() -> None:
    @loom.kernel
    def outer(x: In[f32], y: In[f32], z: Out[f32]):
        i = loom.global_id()
        if i < len(z):
            z[i] = x[i // len(y)] * y[i % len(y)]

    with pytest.raises(LoomError, match=re.escape("the shape of 'z' cannot be told: expected one shape of all inputs")):
        outer(GOOD[0], X)
    assert outer(np.float32([1, 2]), np.float32([3, 4, 5]), out=(2, 3)).tolist() == [[3, 4, 5], [6, 8, 10]]


# buffers of several dimensions, records, defaults


@loom.kernel(workgroup=(8, 4))
def smooth(a: In[f32, 2], b: Out[f32, 2], s: f32 = 0.5):
    y, x = loom.global_id(1), loom.global_id(0)
    if y < a.shape[0] and x < a.shape[1]:
        b[y, x] = a[y, x] * s


@loom.kernel(workgroup=(4, 4))
def columns(b: InOut[i32, 2]):
    y, x = loom.global_id(1), loom.global_id(0)
    b[y, x] = b[y, x] + i32(x) * 10 + i32(y)


@loom.kernel(workgroup=8)
def sums(a: In[f32, 2], s: Out[f32]):
    y = loom.global_id()
    if y < len(s):
        total = f32(0)
        for x in range(a.shape[1]):
            total += a[y, x]
        s[y] = total


def test_buffers_of_several_dimensions(on: str) -> None:
    a = np.random.default_rng(1).random((37, 21), np.float32)
    assert np.array_equal(smooth(a, on=on), a * np.float32(0.5))
    assert np.array_equal(smooth(a.T, s=2.0, on=on), a.T * 2)
    b = np.zeros((70, 50), np.float32)
    smooth(a[:35], b[1:75:2, 3:45:2], 1.0, on=on)
    assert np.array_equal(b[1:75:2, 3:45:2], a[:35])
    assert b.sum() == pytest.approx(a[:35].sum())
    c = np.zeros((8, 12), np.int32)  # whole workgroups: without guards it is the kernel's matter
    columns(c, on=on)
    assert np.array_equal(c, np.arange(12) * 10 + np.arange(8)[:, None])
    assert np.array_equal(sums(np.ones((10, 3), np.float32), out=10, on=on), [3] * 10)
    x = loom.array(a, on=on)
    y = loom.array(np.zeros_like(a), on=on)
    smooth(x, y)
    assert np.array_equal(y.numpy(), a * np.float32(0.5))


def test_defaults_and_dimensions_that_do_not_fit() -> None:
    with pytest.raises(LoomError, match="another number of dimensions"):
        smooth(X, np.zeros((1, 1), np.float32))
    with pytest.raises(LoomError, match=re.escape("nothing was given for 'a': expected a: In[f32, 2], b: Out[f32, 2], "
                                                  "s: f32 = 0.5")):  # fmt: skip
        smooth()
