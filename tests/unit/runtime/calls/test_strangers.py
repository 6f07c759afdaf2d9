"""What people who do not know the library do with kernels: what is refused has a remedy that works."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import loom
from deferred import Later, value_of
from loom import In, InOut, Out, bf16, f16, f32, f32x2, f64, i32, u8, u32
from loom.core.errors import LoomError

T, S, B = loom.TypeVar("T", f32, f64), loom.TypeVar("S", u32, i32), loom.TypeVar("B", f32, f16, bf16)


@loom.kernel
def fill(out: Out[f32], v: f32 = 1.0):
    i = loom.global_id()
    if i < len(out):
        out[i] = v


@loom.kernel
def row_sums(x: In[f32, 2], out: Out[f32, 1]):
    i = loom.global_id()
    if i < x.shape[0]:
        total = 0.0
        for j in range(x.shape[1]):
            total += x[i, j]
        out[i] = total


@loom.kernel
def of_two_types(x: In[T], n: S, out: Out[S]):
    i = loom.global_id()
    if i < len(x):
        out[i] = S(x[i]) + n


@loom.kernel
def doubled(x: In[B], out: Out[B]):
    i = loom.global_id()
    if i < len(x):
        out[i] = x[i] + x[i]


@loom.kernel(workgroup=(8, 8))
def plane(out: Out[f32, 2]):
    y, x = loom.global_id(1), loom.global_id(0)
    if y < out.shape[0] and x < out.shape[1]:
        out[y, x] = 1.0


ONES = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(("call", "text"), [
    (lambda: fill(out=2**40), "out] too many elements: expected less than 2^32, got 1099511627776"),
    (lambda: fill(out=loom.tensor.ones(3).size << 60), "too many elements"),
    (lambda: fill(out=(1,) * 70), "too many dimensions: expected at most 64, got 70"),
    (lambda: row_sums(ONES), "the shape of 'out' cannot be told: expected 1 dimension, got inputs of shape (3, 4). "
     "Pass out=(n,), or the array to write"),
    (lambda: row_sums(loom.array(ONES)), "Pass out=(n,), or the array to write"),
    (lambda: of_two_types(ONES, 2), "the type S is not chosen: expected arrays that tell, or a choice, got T = f32. "
     "Choose by hand, as in k[f32, u32]"),
    (lambda: of_two_types([1.0], 2), "the types T, S are not chosen"),
    (lambda: of_two_types[f32], "no type is given for S: expected T, S, got 1. Choose them, as in k[f32, u32]"),
    (lambda: doubled[float], "float is not one type: expected f32 or f64, got float. Write loom.f32 or loom.f64"),
    (lambda: doubled["f23"], "no dtype is called 'f23'"),
    (lambda: fill[f32], "the kernel has no type variables: expected k(x, y), got k[f32]. Call it as it is"),
    (lambda: fill(ONES, lanes=(2, 3, 4, 5)), "too many axes: expected a number, or up to three, got (2, 3, 4, 5). "
     "Write lanes=120"),
    (lambda: plane(ONES, lanes=(2, 3, 4)), "does not ask for its lane along dimension 2: expected a number for its "
     "own, got (2, 3, 4). Write lanes=(6, 4), or loom.global_id(2) in the kernel"),
])  # fmt: skip
def test_what_is_refused(call: Any, text: str) -> None:
    with pytest.raises(LoomError, match=re.escape(text)):
        call()


def test_what_the_remedies_say_works() -> None:
    assert row_sums(ONES, out=(3,)).tolist() == [4.0] * 3
    assert of_two_types[f32, u32](ONES.reshape(-1), 2).tolist() == [3] * 12
    for choice in (np.float32, "f32", "float32", np.dtype(np.float32)):
        assert doubled[choice] is doubled[f32]
    y = np.zeros((6, 4), np.float32)
    plane(y, lanes=(6, 4))
    fill(y, 2.0, lanes=np.array([24]))
    assert y.min() == 2


@loom.kernel
def everywhere(out: Out[f32]):
    out[loom.global_id()] = 1.0


@loom.kernel
def below(out: Out[f32], n: u32):
    i = loom.global_id()
    if i < n:
        out[i] = 1.0


@loom.kernel(workgroup=(8, 8))
def surface(out: Out[f32, 2]):
    out[loom.global_id(1), loom.global_id(0)] = 1.0


@loom.kernel
def lanes_counted(cell: InOut[u32]):
    loom.atomic_add(cell, 0, 1)


@loom.kernel
def sums_of_groups(out: Out[f32]):
    out[loom.global_id()] = loom.group_sum(f32(1))


def test_as_many_lanes_run_as_are_asked_for(on: str) -> None:
    for lanes in (0, 3, 64, 100):
        y, cell = np.zeros(200, np.float32), np.zeros(1, np.uint32)
        everywhere(y, lanes=lanes, on=on)
        lanes_counted(cell, lanes=lanes, on=on)
        assert y.sum() == y[:lanes].sum() == lanes == cell[0]
    y, z = np.zeros(200, np.float32), np.zeros((20, 20), np.float32)
    below(y, 150, lanes=90, on=on)
    surface(z, lanes=(3, 5), on=on)
    assert y.sum() == 90
    assert z.sum() == z[:3, :5].sum() == 15
    assert everywhere(out=8, lanes=3, on=on).sum() == 3
    sums_of_groups(y, lanes=3, on=on)  # groups that wait for each other are whole
    assert y[:64].tolist() == [64] * 64


def test_as_many_lanes_run_in_a_recorded_call() -> None:
    @loom.kernel
    def copied(x: In[f32], out: Out[f32], v: f32, n: u32):
        i = loom.global_id()
        if i < n:
            out[i] = x[0] * v

    x = loom.tensor.parameter(np.ones(1, np.float32))
    assert copied(x, v=2.0, n=50, out=100, lanes=3).tolist() == [2] * 3 + [0] * 97
    assert copied(x, v=2.0, n=2, out=100, lanes=3).tolist() == [2] * 2 + [0] * 98


@loom.kernel
def differences(x: In[f32], cell: InOut[u32]):
    if loom.global_id() < len(x) - 1:
        loom.atomic_add(cell, 0, 1)


@loom.kernel
def unsigned_differences(x: In[f32], cell: InOut[u32]):
    if loom.global_id() < u32(len(x)) - 1:
        loom.atomic_add(cell, 0, 1)


@loom.kernel
def differences_of_n(cell: InOut[u32], n: i32):
    if loom.global_id() < u32(n - 1):
        loom.atomic_add(cell, 0, 1)


@loom.kernel
def differences_in(x: In[f32], out: Out[f32]):
    i = loom.global_id()
    if i < len(x) - 1:
        out[i] = x[i + 1] - x[i]


def test_a_guard_that_wraps_around_is_told() -> None:
    cell = np.zeros(1, np.uint32)
    for call, text in (
        (lambda: unsigned_differences(np.zeros(0, np.float32), cell), "the guard's limit len(x) - 1 wraps around, and "
         "keeps no lane out: expected a limit of at least 0, got len(x) = 0. Write i + 1 < n for i < n - 1"),
        (lambda: differences_of_n(cell, 0), "the guard's limit n - 1 wraps around"),
    ):  # fmt: skip
        with pytest.raises(LoomError, match=re.escape(text)):
            call()
    for empty in (differences, unsigned_differences):
        empty(np.zeros(1, np.float32), cell)
    differences(np.zeros(0, np.float32), cell)  # whose limit is below zero, and every lane above it
    assert cell[0] == 0
    differences_of_n(cell, 100)
    differences(np.zeros(10, np.float32), cell)
    assert cell[0] == 108
    assert differences_in(np.zeros(0, np.float32)).shape == (0,)  # the output ends it


def test_types_are_told_by_arrays_of_torch(on: str) -> None:
    x = torch.tensor([1.5, 2.5], dtype=torch.bfloat16)
    found = doubled(x, on=on)
    assert found.dtype == ml_dtypes.bfloat16
    assert found.tolist() == [3, 5]
    y = torch.zeros(2, dtype=torch.bfloat16)
    doubled(x, y, on=on)
    assert y.tolist() == [3, 5]


@pytest.mark.parametrize("number", [
    ml_dtypes.bfloat16(1.5), np.array(1.5, ml_dtypes.bfloat16), Later(lambda: torch.tensor(1.5, dtype=torch.bfloat16)),
    loom.array(1.5, dtype=bf16), np.float16(1.5), Later(lambda: torch.tensor(1.5)), loom.array([0.5, 1.0]).sum(),
])  # fmt: skip
def test_numbers_of_others(number: Any) -> None:
    assert fill(v=value_of(number), out=2).tolist() == [1.5, 1.5]


@loom.kernel
def scaled(x: In[T], out: Out[T], a: T):
    i = loom.global_id()
    if i < len(x):
        out[i] = x[i] * a


def test_buffers_choose_types_and_numbers_become_them() -> None:
    x = np.ones(3, np.float32)
    for number in (2, 2.0, np.float64(2), np.int8(2)):
        found = scaled(x, a=number)
        assert found.dtype == np.float32
        assert found.tolist() == [2] * 3


def test_a_kernel_on_the_command_line() -> None:
    text = (
        "import loom\nfrom loom import Out, f32\n@loom.kernel\ndef fours(out: Out[f32]):\n"
        "    i = loom.global_id()\n    if i < len(out):\n        out[i] = 4.0\nprint(fours(out=2).tolist())\n"
    )
    said = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert said.stdout == "[4.0, 4.0]\n", said.stderr


def test_memory_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(np, "zeros", zeros)
    with pytest.raises(LoomError, match=re.escape("buffer 'out'] out of memory: got 4000 bytes. Give a smaller out=")):
        fill(out=1000)


def test_short_vectors_on_the_host() -> None:
    assert f32x2(2, 3).tolist() == f32x2([2, 3]).tolist() == [2, 3]
    assert f32x2(2).tolist() == [2, 2]
    assert loom.u8x4(1, 2, 3, 4).dtype == np.uint8
    for wrong in (lambda: f32x2(1, 2, 3), lambda: f32x2([1]), lambda: f32x2("ab", 1), f32x2, lambda: f32x2([[1, 2]])):
        with pytest.raises(LoomError, match=r"components|not a number"):
            wrong()
    with pytest.raises(LoomError, match="not one number"):
        f32(1, 2)


@pytest.mark.parametrize(("kind", "given"), [
    (u8, 300), (u8, -1), (u8, 1.5), (f32, "x"), (f32, True), (loom.bool_, 1), (f32x2, (1, 2, 3)), (f32x2, "ab"),
    (u8, None),
])  # fmt: skip
def test_defaults_of_fields_fit(kind: Any, given: Any) -> None:
    with pytest.raises(LoomError, match=re.escape(f"field 'a'] the default does not fit: expected {kind}, got ")):
        loom.struct(type("P", (), {"__annotations__": {"a": kind}, "a": given}))


def test_short_vectors_are_defaults_of_fields() -> None:
    @loom.struct
    class Point:
        at: f32x2 = f32x2(1, 2)
        size: f16 = 0.5

    @loom.kernel
    def made(out: Out[f32]):
        p = Point()
        if loom.global_id() == 0:
            out[0] = p.at.x * 10 + p.at.y + p.size

    assert made(out=1).tolist() == [12.5]


def test_storage_takes_arrays_and_tells_what_does_not_fit(on: str) -> None:
    storage = loom.device(on).allocate(256)
    storage.write(0, np.arange(64, dtype=np.float32))
    storage.write(4, b"\0\0\0\0")
    assert storage.read(0, 256).view(np.float32)[1:3].tolist() == [0, 2]
    for wrong, text in (
        (lambda: storage.write(np.ones(3, np.float32)), "Write storage.write(0, array)"),
        (lambda: storage.write(0, np.ones(65, np.float32)), "expected 0 to 256 bytes, got 260 at 0"),
        (lambda: storage.write(-4, np.ones(1, np.float32)), "got 4 at -4"),
        (lambda: storage.write(0, "abc"), "not numbers"),
        (lambda: storage.write("a", np.ones(1)), "no place and data"),
        (lambda: storage.read(250, 100), "expected 0 to 256 bytes, got read(250, 100)"),
    ):  # fmt: skip
        with pytest.raises(LoomError, match=re.escape(text)):
            wrong()


@pytest.mark.parametrize("dtype", [f16, bf16, f32, u8])
def test_short_vectors_are_counted_whole(dtype: Any, on: str) -> None:
    pair = getattr(loom, f"{dtype}x2", None) or loom.core.dtype.lookup(f"{dtype}x2")

    @loom.kernel
    def counted(x: In[pair], out: Out[u32]):
        if loom.global_id() < 1:
            out[0] = len(x)

    out = np.zeros(1, np.uint32)
    counted(np.zeros(10, dtype.numpy), out, on=on)
    assert out[0] == 5
