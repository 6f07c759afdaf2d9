"""Random numbers by index in kernels: elements of what ``loom.random`` gives, on every device, at any index.

The oracle is Philox on the host (``core.philox``, which has the published words in its doctest) and ``loom.random``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, f32, f64, i32, i64, u8, u32, u64
from loom.core.errors import LoomError, StateError
from loom.core.philox import philox

SEED = 0x1234_5678_9ABC_DEF0
N = 100
FORMS: dict[str, tuple[Any, Any, Any]] = {
    "u32": (loom.random_u32, u32, loom.random.bits),
    "u64": (loom.random_u64, u64, lambda n, **k: loom.random.bits(n, dtype="u64", **k)),
    "f32": (loom.random_f32, f32, loom.random.uniform),
    "f64": (loom.random_f64, f64, lambda n, **k: loom.random.uniform(n, dtype="f64", **k)),
    "normal": (loom.random_normal, f32, loom.random.normal),
    "normal_f64": (loom.random_normal_f64, f64, lambda n, **k: loom.random.normal(n, dtype="f64", **k)),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_element_of_what_loom_random_gives(on: str, form: str) -> None:
    draw, dtype, whole = FORMS[form]

    @loom.kernel
    def drawn(out: Out[dtype], known: Out[dtype], low: u32, high: u32, stream: u32):
        i = loom.global_id()
        if i < len(out):
            out[i] = draw(u64(high) << 32 | u64(low), i, stream)
            known[i] = draw(SEED, i)

    out, known = np.zeros(N, dtype.numpy), np.zeros(N, dtype.numpy)
    drawn(out, known, SEED & 0xFFFF_FFFF, SEED >> 32, 7, on=on)
    assert out.tobytes() == whole(N, seed=SEED, stream=7).tobytes()
    assert known.tobytes() == whole(N, seed=SEED).tobytes()


@pytest.mark.parametrize("index", [0, 3, 4, 0xFFFF_FFFF, 1 << 32, (1 << 34) + 5, (1 << 64) - 1])
def test_indexes_of_64_bits(on: str, index: int) -> None:
    @loom.kernel
    def drawn(at: In[u64], out: Out[u32]):
        if loom.global_id() == 0:
            out[0] = loom.random_u32(5, at[0])
            out[1] = loom.random_u32(i32(5), i64(at[0]))
            out[2], out[3], out[4], out[5] = loom.random_words(5, at[0] >> 2)

    out = np.zeros(6, np.uint32)
    drawn(np.array([index], np.uint64), out, on=on)
    block = index >> 2
    words = [int(w[0]) for w in philox(np.array([block & 0xFFFF_FFFF], np.uint64), block >> 32, 0, 0, 5)]
    assert out.tolist() == [words[index & 3]] * 2 + words


def test_functions_given_to_map() -> None:
    found = loom.gpu_map(np.arange(N, dtype=np.uint32), lambda i: loom.random_f32(3, i))
    assert np.array_equal(found, loom.random.uniform(N, seed=3))


def test_a_weak_counter_is_an_index() -> None:
    @loom.kernel
    def total(out: Out[u32]):
        if loom.global_id() == 0:
            found = u32(0)
            for k in range(10):
                found += loom.random_bits(3, k, stream=u8(2))
            out[0] = found

    out = np.zeros(1, np.uint32)
    total(out)
    assert out[0] == loom.random.bits(10, seed=3, stream=2).sum(dtype=np.uint32)


@pytest.mark.parametrize(("call", "text"), [
    (lambda i: loom.random_u32(-1, i), "'seed' of random_u32 is out of range"),
    (lambda i: loom.random_u32(1 << 64, i), "'seed' of random_u32 is out of range"),
    (lambda i: loom.random_u32(1.5, i), "'seed' of random_u32 is out of range"),
    (lambda i: loom.random_u32(1, f32(i)), "'index' of random_u32 is no integer of at most 64 bits"),
    (lambda i: loom.random_u32(1, i, u64(i)), "'stream' of random_u32 is no integer of at most 32 bits"),
    (lambda i: loom.random_u32(1), "random_u32 is called wrongly (missing a required argument: 'index')"),
    (lambda i: loom.random_u32(1, i, strea=2), "random_u32 is called wrongly"),
    (lambda i: loom.random_u32(True, i), "'seed' of random_u32 is out of range"),
])  # fmt: skip
def test_what_is_refused(call: Any, text: str) -> None:
    with pytest.raises(LoomError) as caught:
        loom.gpu_map(np.arange(4, dtype=np.uint32), call)
    assert text in str(caught.value)


def test_the_host_is_told_what_to_call() -> None:
    with pytest.raises(StateError, match=r"called on the host: .*Call loom.random.uniform\(shape, seed=..\)"):
        loom.random_f32(1, 2)
    assert repr(loom.random_f32) == "<loom.random_f32>"
