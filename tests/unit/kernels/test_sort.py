"""The sort kernels, which are trusted: no index outside, nothing read unwritten, no race; and the order of keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from conformance.cases.library.sorting import bucket_steps
from loom.core.dtype import SCALARS, DType, bf16, f16, f32, i8, i64, u8, u16, u32, u64
from loom.kernels.sort import buckets as sort_buckets
from loom.kernels.sort import radix as sort
from loom.kernels.sort import search as sort_search
from loom.kernels.sort import select as sort_select
from loom.kernels.sort.keys import DIGITS, Order, Records
from loom.kernels.sort.scatter import scatter_tiles
from loom.kernels.sort.small import sort_row
from unit.patterns.canonical import same_bits
from unit.patterns.sort.sorted_oracle import numbers, order

Array = np.ndarray[Any, Any]


def run(kernel: Any, buffers: list[Array], params: list[Any], groups: int = 1, on: str = "cpu") -> None:
    chain = loom.Chain(on)
    chain.dispatch(kernel, buffers, params, groups)
    chain.build().run()


def encoded(order: Order, bits: Array) -> tuple[Array, Array]:
    """Return the keys of elements, and the elements of the keys, as a kernel computes them."""

    @loom.kernel(workgroup=64)
    def both(x: loom.In[order.bits], keys: loom.Out[order.bits], back: loom.Out[order.bits]) -> None:
        i = loom.global_id()
        if i < len(x):
            key = order.encode(x[i])
            keys[i] = key
            back[i] = order.decode(key)

    keys, back = np.zeros_like(bits), np.zeros_like(bits)
    run(both, [bits, keys, back], [], -(-bits.size // 64))
    return keys, back


@pytest.mark.parametrize("dtype", [i8, u8, f16, bf16], ids=str)
@pytest.mark.parametrize("descending", [False, True])
def test_keys_of_all_patterns_of_bits_are_in_order_and_come_back(dtype: DType, descending: bool) -> None:
    made = Order(dtype, descending)
    bits = np.arange(1 << dtype.bits, dtype=made.bits.numpy)
    keys, back = encoded(made, bits)
    values = (bits.astype(np.uint32) << 16).view(np.float32) if dtype == bf16 else bits.view(dtype.numpy)
    expected = order(values, descending=descending)
    assert (np.diff(keys[expected].astype(np.int64)) >= 0).all()
    nan = np.isnan(values) if dtype.is_float else np.zeros(bits.size, bool)
    assert (back[~nan] == bits[~nan]).all()
    assert (back[nan] == {f16: 0x7E00, bf16: 0x7FC0}.get(dtype, 0)).all()
    assert len(set(keys[nan].tolist())) == bool(nan.any())
    assert len(set(keys.tolist())) == (~nan).sum() + bool(nan.any())


def test_wide_keys_of_special_numbers_are_in_order() -> None:
    tiny = np.finfo(np.float64).smallest_subnormal
    ascending = [-np.inf, -1.5, -tiny, -0.0, 0.0, tiny, 1.5, np.inf, np.nan]
    for dtype in ("float32", "float64"):
        x = np.array(ascending, dtype)
        keys, back = encoded(Order(SCALARS[f"f{x.itemsize * 8}"]), x.view(f"u{x.itemsize}"))
        assert (keys[1:] >= keys[:-1]).all()
        assert same_bits(back.view(dtype), x)
    extremes = np.array([-(2**63), -1, 0, 2**63 - 1])
    keys, _ = encoded(Order(i64), extremes.view(np.uint64))
    assert keys.tolist() == [0, 2**63 - 1, 2**63, 2**64 - 1]


def test_records_hold_what_is_needed() -> None:
    assert [(r.words, r.word, r.key_shift) for r in (Records(Order(f32)), Records(Order(u64)))] == [
        (1, u32, 0), (1, u64, 0),
    ]  # fmt: skip
    assert [(r.words, r.word, r.key_shift) for r in (Records(Order(f16), "index"), Records(Order(f32), u32))] == [
        (1, u64, 32), (1, u64, 32),
    ]  # fmt: skip
    assert [(r.words, r.word, r.key_shift) for r in (Records(Order(i64), "index"), Records(Order(u8), u64))] == [
        (2, u64, 0), (2, u64, 0),
    ]  # fmt: skip
    assert Records(Order(f32), "index").layout == Records(Order(u32), u32) == Records(Order(u32), u32).layout
    assert Records(Order(f16, descending=True)).layout == Records(Order(u16))


def test_counts_become_places() -> None:
    rng = np.random.default_rng(3)
    for tiles in (1, 2, 9):
        counts = rng.integers(0, 50, (tiles + 1, DIGITS)).astype(np.uint32)
        sizes = counts[:tiles].T.reshape(-1).astype(np.int64)
        ends = np.cumsum(sizes)
        expected = np.empty((tiles + 1, DIGITS), np.uint32)
        expected[:tiles] = (ends - sizes).reshape(DIGITS, tiles).T
        expected[tiles] = ends.reshape(DIGITS, tiles)[:, -1]
        for on in ("cpu", "interp"):
            found = counts.copy()
            run(sort.scan_digits(), [found.reshape(-1)], [tiles], on=on)
            assert (found == expected).all()


def passes_by_hand(x: Array, tile: int, on: str) -> Array:
    """Sort 32-bit keys by passes over all records, which patterns leave to rows that do not spread."""
    n, tiles = x.size, -(-x.size // tile)
    records = Records(Order(u32))
    both, scratch = np.zeros(2 * n, np.uint32), np.zeros(2 * tile, np.uint32)
    both[:n] = x
    varying, state = np.zeros(tiles, np.uint32), np.zeros(1, np.uint32)
    run(sort.find_varying(records), [both, varying], [n, tile], tiles, on)
    run(sort.join_varying(u32), [varying, state], [tiles], 1, on)
    assert state[0] == np.bitwise_or.reduce(x ^ x[0])
    for number in range(4):
        counts = np.zeros((tiles + 1) * DIGITS, np.uint32)
        run(sort.count_records(records), [both, state, counts], [n, tile, number], tiles, on)
        run(sort.scan_digits(), [counts], [tiles], 1, on)
        run(scatter_tiles(records, "middle"), [both, counts, state, scratch], [n, tile, tiles, number], 2, on)
    moved = sum((int(state[0]) >> 8 * k) & 0xFF != 0 for k in range(4))
    return both[n:] if moved % 2 else both[:n]


@pytest.mark.parametrize("on", ["cpu", "interp"])
def test_passes_leave_out_digits_that_are_all_the_same(on: str) -> None:
    rng = np.random.default_rng(2)
    size = 3000 if on == "cpu" else 200
    for mask in (0, 0xFF, 0xFF00FF00, 0xFFFF, 0xFFFFFFFF):
        x = rng.integers(0, 2**32, size, np.uint32) & np.uint32(mask) | np.uint32(~mask & 0x12345678)
        assert same_bits(passes_by_hand(x, 130, on), np.sort(x))


def everything(size: int) -> list[bytes]:
    """Call what is made of these kernels and return the bits of all results."""
    results: list[Any] = []
    for dtype in ("float32", "uint8", "float16"):
        x = numbers(dtype, size)
        results += [loom.gpu_sort(x), loom.gpu_argsort(x, descending=True)]
    results += [*loom.gpu_topk(x, size // 3), loom.gpu_partition(x, size // 2)]
    results += [*loom.gpu_unique(x, return_inverse=True, return_counts=True)]
    results += [loom.gpu_searchsorted(loom.gpu_sort(x), x[:50])]
    narrow = np.arange(size, dtype=np.uint32)[::-1] % 1000
    narrow[0] = 2**32 - 1
    results += [loom.gpu_sort(narrow), *loom.gpu_sort_pairs(narrow.astype(np.float64), narrow)]
    return [np.asarray(r).tobytes() for r in results]


def test_nothing_outside_is_touched_in_long_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, far = numbers("float32", 40_000), np.arange(40_000, dtype=np.float32) % 1000
    far[0] = np.inf
    plain = loom.gpu_sort(x), loom.gpu_sort(far)
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert same_bits(loom.gpu_sort(x), plain[0])
    assert same_bits(loom.gpu_sort(far), plain[1])


@pytest.mark.slow
def test_nothing_outside_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = everything(300), everything(40_000)
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert (everything(300), everything(40_000)) == plain


def test_the_debugger_finds_no_fault() -> None:
    plain = everything(60)
    with loom.debug(races=True, bounds=True, uninitialized=True):
        assert everything(60) == plain


def test_buckets_are_debugged() -> None:
    """The way of long rows at a small size, in the interpreter with all checks; but for the table, which is long."""
    for kernel, buffers, params, groups in bucket_steps(Records(Order(f32), "index"), 300, 130):
        if kernel.name.startswith("sort_choose"):
            run(kernel, buffers, params, groups)
        else:
            with loom.debug(races=True, bounds=True, uninitialized=True):
                run(kernel, buffers, params, groups, "interp")


def test_one_kernel_is_made_for_each_choice() -> None:
    made = [
        sort.count_input(Order(f32)), sort.count_input(Order(f32, descending=True)),
        sort_row(Records(Order(u8)), keys_out=True), sort_select.count_parts(Order(f32)),
        sort_search.search(Order(f32), right=True), sort_buckets.decide(),
    ]  # fmt: skip
    assert sort.count_input(Order(f32)) is made[0]
    assert len({k.verified.hash for k in made}) == len(made)
    assert all(k.verified.kernel.trusted for k in made)
