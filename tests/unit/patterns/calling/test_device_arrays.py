"""Patterns over arrays in a device's own memory: the bits of the CPU, results that stay there, mixed inputs."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, KernelFault
from loom.runtime.chain.kept import program_cache
from unit.patterns.canonical import same_bits

pytestmark = pytest.mark.needs("threads")

Pattern = Callable[..., Any]

RNG = np.random.default_rng(5)
X = RNG.normal(size=5003).astype(np.float32)
Y = RNG.normal(size=5003).astype(np.float32)
I = RNG.integers(-40, 40, 5003).astype(np.int32)  # noqa: E741
KEYS = RNG.integers(0, 30, 5003).astype(np.uint32)
MASK = X > 0
IDS = np.sort(RNG.integers(0, 9, 5003).astype(np.int32))
SQUARE = RNG.normal(size=(13, 13)) + 5 * np.eye(13)
MATRIX = RNG.normal(size=(40, 33)).astype(np.float32)
ROWS = RNG.normal(size=(6, 700)).astype(np.float32)
POSITIVE = SQUARE @ SQUARE.T
COMPLEX = RNG.normal(size=(3, 96, 2)).astype(np.float32).view(np.complex64)[..., 0]
AT = RNG.integers(-700, 700, 300)

CASES: dict[str, tuple[Pattern, tuple[Any, ...]]] = {
    "sum": (loom.gpu_sum, (X,)),
    "sum of rows": (lambda x: loom.gpu_sum(x, axis=1), (ROWS,)),
    "mean of columns": (lambda x: loom.gpu_mean(x, axis=0), (ROWS,)),
    "min": (loom.gpu_min, (I,)),
    "max": (loom.gpu_max, (X,)),
    "product": (loom.gpu_product, (X[:100],)),
    "count": (loom.gpu_count, (MASK,)),
    "any": (loom.gpu_any, (MASK,)),
    "all": (loom.gpu_all, (MASK,)),
    "sum of none": (loom.gpu_sum, (X[:0],)),
    "argmin": (loom.gpu_argmin, (X,)),
    "argmax of rows": (lambda x: loom.gpu_argmax(x, axis=1), (ROWS,)),
    "dot": (loom.gpu_dot, (X, Y)),
    "dot of one array": (lambda x: loom.gpu_dot(x, x), (X,)),
    "norm": (loom.gpu_norm, (X,)),
    "scan": (loom.gpu_scan, (X,)),
    "scan of columns": (lambda x: loom.gpu_scan(x, axis=0), (ROWS,)),
    "segment scan": (loom.gpu_segment_scan, (X, IDS)),
    "sort": (loom.gpu_sort, (X,)),
    "sort of rows": (lambda x: loom.gpu_sort(x, axis=1), (ROWS,)),
    "argsort": (loom.gpu_argsort, (I,)),
    "sort pairs": (loom.gpu_sort_pairs, (KEYS, X)),
    "unique": (loom.gpu_unique, (I,)),
    "unique inverse": (lambda x: loom.gpu_unique(x, return_inverse=True, return_counts=True), (I,)),
    "unique of none": (loom.gpu_unique, (I[:0],)),
    "top": (lambda x: loom.gpu_topk(x, 17), (X,)),
    "partition": (lambda x: loom.gpu_partition(x, 1000), (X,)),
    "searchsorted": (loom.gpu_searchsorted, (np.sort(X), Y)),
    "matmul": (loom.gpu_matmul, (MATRIX, MATRIX.T.copy())),
    "matmul of none": (loom.gpu_matmul, (MATRIX[:, :0], MATRIX[:0])),
    "map": (lambda x: loom.gpu_map(x, "exp"), (X,)),
    "where": (lambda m, x: loom.gpu_where(m, x, 2.0), (MASK, X)),
    "cast": (lambda x: loom.gpu_cast(x, loom.i32), (X,)),
    "solve": (loom.linalg.solve, (SQUARE, SQUARE[:, :2])),
    "inverse": (loom.linalg.inv, (SQUARE,)),
    "determinant": (loom.linalg.det, (SQUARE,)),
    "lu": (loom.linalg.lu, (SQUARE,)),
    "qr": (loom.linalg.qr, (MATRIX,)),
    "cholesky": (loom.linalg.cholesky, (POSITIVE,)),
    "mean": (loom.stats.mean, (X,)),
    "variance of rows": (lambda x: loom.stats.variance(x, axis=1), (ROWS,)),
    "std": (loom.stats.std, (I,)),
    "zscore": (loom.stats.zscore, (X,)),
    "median": (loom.stats.median, (X,)),
    "quantile": (lambda x: loom.stats.quantile(x, [0.1, 0.9]), (X,)),
    "histogram": (lambda x: loom.stats.histogram(x, bins=7), (X,)),
    "covariance": (loom.stats.covariance, (X, Y)),
    "correlation": (loom.stats.correlation, (ROWS,)),
    "fft": (loom.signal.fft, (COMPLEX,)),
    "rfft": (loom.signal.rfft, (X[:1000],)),
    "irfft": (loom.signal.irfft, (COMPLEX,)),
    "convolve": (loom.signal.convolve, (X, Y[:50])),
    "filter taps": (loom.signal.fir_filter, (X, Y[:9])),
    "average": (lambda x: loom.signal.ema(x, 0.25), (X,)),
    "rolling": (lambda x: loom.data.rolling(x, 7).mean(), (X,)),
    "filter": (loom.data.filter, (X, MASK)),
    "filter rows": (loom.data.filter, (ROWS, np.arange(6) % 2 == 0)),
    "filter few": (loom.data.filter, (X, X > 2)),
    "compact": (lambda x: loom.data.compact(x, indices=True), (I,)),
    "gather": (loom.data.gather, (X, AT)),
    "gather rows": (loom.data.gather, (ROWS, np.array([3, -1, 0]))),
    "scatter": (lambda x, at: loom.data.scatter(x, at, 900), (X[:300], AT)),
    "scatter onto": (loom.data.scatter, (X[:300], AT, Y)),
    "join": (loom.data.join, (KEYS[:200], KEYS[200:300])),
    "group": (lambda k, v: loom.data.group_by(k, v).mean(), (KEYS, X)),
    "group of floats": (lambda k, v: loom.data.group_by(k, v).sum(), (np.round(X, 1), I)),
    "group counts": (lambda k: loom.data.group_by(k).count(), (KEYS,)),
    "random": (lambda x: loom.random.normal(1000, seed=3, like=x), (X,)),
    "permutation": (lambda x: loom.random.permutation(1000, seed=3, like=x), (X,)),
}  # fmt: skip


def results(found: Any) -> list[Any]:
    return list(found) if isinstance(found, tuple) else [found]


@pytest.mark.parametrize("name", CASES)
def test_the_bits_of_the_cpu(device: Any, name: str) -> None:
    pattern, given = CASES[name]
    expected = results(pattern(*(loom.array(a, on="cpu") for a in given)))
    inputs = [loom.array(a, on=device) for a in given]
    for found, wanted in zip(results(pattern(*inputs)), expected, strict=True):
        assert isinstance(found, loom.Array)
        assert found.device is device
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        assert same_bits(found.numpy(), wanted.numpy())
    for array, before in zip(inputs, given, strict=True):
        assert same_bits(array.numpy(), before)


@pytest.mark.parametrize("name", ["sum", "sort", "unique inverse", "matmul", "solve", "group", "filter few", "map"])
def test_host_arrays_come_back_to_the_host(device: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, given = CASES[name]
    expected = results(pattern(*given))
    monkeypatch.setenv("LOOM_DEVICE", device.name)
    found = results(pattern(*given))
    for value, wanted in zip(found, expected, strict=True):
        assert isinstance(value, (np.ndarray, np.generic))
        assert same_bits(value, wanted)


def test_describe_and_mixed_inputs(device: Any) -> None:
    x = loom.array(X, on=device)
    assert loom.data.describe(x) == loom.data.describe(X)
    mixed = loom.gpu_dot(x, Y)
    assert mixed.device is device
    assert same_bits(mixed.numpy()[()], loom.gpu_dot(X, Y))
    assert same_bits(loom.gpu_dot(X, loom.array(Y, on=device)).numpy()[()], loom.gpu_dot(X, Y))
    assert same_bits(loom.gpu_searchsorted(np.sort(X), x).numpy(), loom.gpu_searchsorted(np.sort(X), X))


@pytest.mark.parametrize("on", ["vulkan"], indirect=True)
def test_maps_feed_patterns_without_the_host(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = loom.array(X, on=device)

    def refused(*_: Any) -> Any:
        raise AssertionError("the host took part")

    with monkeypatch.context() as patch:
        patch.setattr(type(device.memory), "download", refused)
        patch.setattr(type(device.memory), "upload", refused)
        y = loom.gpu_mul(loom.gpu_exp(loom.gpu_neg(x)), 2.0)
        total, running, ordered = loom.gpu_sum(y), loom.gpu_scan(y), loom.gpu_sort(y)
        product = loom.gpu_mul(running, ordered)
        product.evaluate()
    expected = loom.gpu_mul(loom.gpu_exp(loom.gpu_neg(X)), 2.0)
    assert same_bits(total.numpy()[()], loom.gpu_sum(expected))
    assert same_bits(product.numpy(), loom.gpu_mul(loom.gpu_scan(expected), loom.gpu_sort(expected)))


def test_a_copy_on_the_device_is_its_own(device: Any) -> None:
    x = loom.array(X, on=device)
    y = loom.array(x, on=device)
    assert y.data is not x.data
    assert same_bits(y.numpy(), X)
    assert same_bits(loom.array(x, on="cpu").numpy(), X)


def test_a_program_serves_many_arrays_in_flight(device: Any) -> None:
    arrays = [loom.array(X + np.float32(n), on=device) for n in range(9)]
    for _ in range(3):
        found = [loom.gpu_sum(loom.gpu_scan(a)) for a in arrays]
        for n, result in enumerate(found):
            assert same_bits(result.numpy()[()], loom.gpu_sum(loom.gpu_scan(X + np.float32(n))))


def test_the_same_storage_again_needs_no_new_recording(device: Any) -> None:
    x, out = loom.array(X, on=device), device.allocate(4)
    loom.gpu_max(x).numpy()
    programs = program_cache()
    kept: Any = programs.find(next(key for key in reversed(programs.keys()) if "name='max'" in str(key)))
    recordings = getattr(kept._program._inner, "recordings", None)
    bound = set()
    for _ in range(6):
        kept.run(x.data, out)
        if recordings is not None:  # a program of CUDA is recorded once, and its words are changed
            bound.add(recordings[-1].bound)
    assert len(bound) == (recordings is not None)
    assert np.float32(X.max()) == out.read(0, 4).view(np.float32)[0]
    others = [device.allocate(4) for _ in range(10)]
    for other in others:
        kept.run(x.data, other)
    assert [o.read(0, 4).view(np.float32)[0] for o in others] == [X.max()] * 10
    assert recordings is None or len(recordings) <= 4


def test_memory_of_a_run_under_way_is_not_used_again(device: Any) -> None:
    x = loom.array(X, on=device)
    for n in range(30):
        y = loom.gpu_scan(loom.gpu_scan(x))  # what is between is let go of at once
        z = loom.array(np.full(5003, n, np.float32), on=device)
        assert same_bits(y.numpy(), loom.gpu_scan(loom.gpu_scan(X)))
        assert (z.numpy() == n).all()
    gc.collect()


def test_a_fault_is_raised_by_the_call(device: Any) -> None:
    def careful(v: Any) -> Any:
        assert v < 3.0, "too large"
        return v

    good = loom.gpu_map(loom.array(np.ones(10, np.float32), on=device), careful)
    bad = loom.gpu_map(loom.array(np.arange(10, dtype=np.float32), on=device), careful)
    assert good.tolist() == [1.0] * 10
    with pytest.raises(KernelFault, match="too large"):
        bad.numpy()
    with pytest.raises(ArgumentError, match=r"\[data.gather, indices\] the index at position 1 is outside"):
        loom.data.gather(loom.array(X, on=device), loom.array(np.array([1, 9000]), on=device))


@pytest.mark.parametrize("on", ["vulkan"], indirect=True)
def test_another_device_and_too_large_an_array(device: Any) -> None:
    with pytest.raises(ArgumentError, match=r"\[gpu_dot, b\] the array is on another device"):
        loom.gpu_dot(loom.array(X, on=device), loom.array(Y, on="cpu"))
    limit = device.adapter.limits["buffer_nbytes"]
    if limit < 1 << 28:
        with pytest.raises(DeviceError, match=f"too large a buffer: expected at most {limit} bytes in one"):
            loom.array(np.zeros(limit + 1, np.uint8), on=device)


@pytest.mark.parametrize("on", ["vulkan"], indirect=True)
def test_transfers_in_pieces(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from loom.runtime.drivers import copying
    from loom.runtime.drivers.vulkan.native import memory

    for module in (copying, memory):
        monkeypatch.setattr(module, "PIECE_NBYTES", 1000)
    monkeypatch.setattr(copying, "_LEAST_PIECE", 100)
    monkeypatch.setattr(copying, "LEAST_PART", 300)
    monkeypatch.setattr(device.memory, "unified", False)
    monkeypatch.setattr(device.memory, "_staging", None)
    data = np.arange(10_007, dtype=np.uint32).view(np.uint8)
    storage = device.allocate(data.nbytes)
    for length in (4, 1000, 1004, 2000, 5000, data.nbytes):
        storage.write(0, data[:length])
        assert (storage.read(0, length) == data[:length]).all()
    storage.write(1004, data[8:3008])
    assert (storage.read(1004, 3000) == data[8:3008]).all()
    device.memory._staging.destroy(device)
