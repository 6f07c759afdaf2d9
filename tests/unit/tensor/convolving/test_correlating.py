"""Convolutions without copied windows: the bits of the product of the copied windows, whatever the shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.dtype import f32
from loom.core.numerics import canonical_bits
from loom.schedules import matmul as matmul_record
from loom.tensor.ops import correlating
from unit.patterns.linalg.matmul_order import canonical_matmul

CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 9, 11, 8), (3, 3, 8, 40), {"padding": 1}),
    ((1, 12, 13, 4), (2, 3, 4, 33), {"stride": 2}),
    ((1, 12, 13, 16), (3, 2, 16, 70), {"dilation": 2, "padding": (2, 1)}),
    ((3, 30, 12), (5, 12, 19), {"stride": 3}),
    ((1, 5, 6, 5, 4), (2, 2, 2, 4, 64), {}),
    ((1, 3, 40, 516), (3, 3, 516, 3), {}),  # two chunks of k
    ((1, 20, 21, 3), (3, 3, 3, 40), {"padding": 1}),  # channels that are no whole turns: windows are copied
]


def sample(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(shape)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 6, shape)).astype(np.float32)


def expected(x: np.ndarray, w: np.ndarray, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> np.ndarray:
    """Copy every window and multiply in the canonical order."""
    d = w.ndim - 2
    steps, around, gaps = ([v] * d if isinstance(v, int) else list(v) for v in (stride, padding, dilation))
    x = np.pad(x, [(0, 0), *((p, p) for p in around), (0, 0)])
    sizes = [(n - 1) * g + 1 for n, g in zip(w.shape[:d], gaps, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, sizes, tuple(range(1, d + 1)))
    seen = seen[
        (slice(None), *(slice(None, None, s) for s in steps), slice(None), *(slice(None, None, g) for g in gaps))
    ]
    rows = np.moveaxis(seen, d + 1, -1)
    flat = np.ascontiguousarray(rows).reshape(-1, int(np.prod(w.shape[:-1])))
    return canonical_matmul(flat, w.reshape(-1, w.shape[-1])).reshape(*rows.shape[: d + 1], w.shape[-1])


@pytest.mark.parametrize(("shape", "window", "options"), CASES)
@pytest.mark.parametrize("on", ["cpu", "interp"])
def test_bits_of_the_copied_windows(
    shape: tuple, window: tuple, options: dict, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlating, "_WORTH_TABLES", 0)
    if on == "interp" and np.prod(window) > 10_000:
        window = (*window[:-2], window[-2], 2)
    x, w = sample(*shape), sample(*window)
    found = tensor.convolve(tensor.array(x, on=on), tensor.array(w, on=on), **options).numpy()
    assert np.array_equal(canonical_bits(found), canonical_bits(expected(x, w, **options)))


def test_windows_in_twelve_bits_are_those_of_the_copied_ones() -> None:
    """Both operands are rounded, where windows are read where they lie as well."""
    x, w = sample(2, 17, 19, 8), sample(3, 3, 8, 32)
    with loom.precision("x12"):
        found = tensor.convolve(tensor.array(x, on="cpu"), tensor.array(w, on="cpu")).numpy()

    def short(a: np.ndarray) -> np.ndarray:
        mantissa, exponent = np.frexp(a.astype(np.float64))
        return np.ldexp(np.rint(mantissa * 4096), exponent - 12).astype(np.float32)

    assert np.array_equal(canonical_bits(found), canonical_bits(expected(short(x), short(w))))


def test_windows_are_read_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    real = matmul_record.record_gathered
    monkeypatch.setattr(correlating, "record_gathered", lambda *a, **k: used.append(real(*a, **k)) or used[-1])
    x, w = tensor.array(sample(1, 17, 19, 8)), tensor.array(sample(3, 3, 8, 32))
    tensor.convolve(x, w).evaluate()
    assert used == [True]


def test_gradients_are_those_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = tensor.parameter(sample(2, 7, 8, 4)), tensor.parameter(sample(2, 2, 4, 5))
    found = []
    for limit in (0, 1 << 60):
        monkeypatch.setattr(correlating, "_WORTH_TABLES", limit)
        rows = tensor.windows(x, (1, 2), (2, 2), (1, 1))
        flat = tensor.permute(rows, (0, 1, 2, 4, 5, 3))
        out = correlating.product_of_rows(flat, tensor.reshape(w, (16, 5)), 3)
        found.append([g.numpy() for g in tensor.grad((out * out).sum(), [x, w])])
    for a, b in zip(*found, strict=True):
        assert np.array_equal(canonical_bits(a), canonical_bits(b))
    assert found[0][0].dtype == f32.numpy


@pytest.mark.needs("compiled")
def test_views_of_images(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlating, "_WORTH_TABLES", 0)
    x, w = sample(2, 12, 11, 8), sample(3, 3, 8, 12)
    held, weight = tensor.array(x, on=on), tensor.array(w, on=on)
    for seen, plain in [
        (held[:, 2:, 1:9], x[:, 2:, 1:9]),
        (held[1:, ::2], x[1:, ::2]),
        (tensor.reverse(held, (1,)), x[:, ::-1]),
        (tensor.permute(held, (0, 2, 1, 3)), x.transpose(0, 2, 1, 3)),
    ]:
        found = tensor.convolve(seen, weight).numpy()
        assert np.array_equal(canonical_bits(found), canonical_bits(expected(np.ascontiguousarray(plain), w)))
