"""Convolutions and their gradients without copied windows: on every device the bits of the copied ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.caps import Caps
from loom.core.numerics import canonical_bits
from loom.kernels.matmul.units import Patch
from loom.schedules.matmul import Multiplication
from loom.schedules.products import implicit, units
from loom.tensor.arrays.convolution import convolve_planes
from loom.tensor.ops import correlating, windowed

Array = np.ndarray[Any, Any]
Draw = Callable[[Array, Array, str], list[Array]]

PRECISIONS = ["full", "q12", *(pytest.param(p, marks=pytest.mark.slow) for p in ("q8", "q24", "x12"))]


def sample(*shape: int) -> Array:
    """Return numbers of many magnitudes, with zeros of both signs."""
    rng = np.random.default_rng(shape)
    found = (rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 6, shape)).astype(np.float32)
    found.reshape(-1)[::7] = -0.0
    return found


def gradients(made: Any, x: Any, w: Any) -> list[Array]:
    """Return a convolution and the gradients of both operands."""
    return [v.numpy() for v in (made, *tensor.grad((made * made).sum(), [x, w]))]


def planes(x: Array, w: Array, on: str, steps: tuple[int, ...] = (1, 1), around: tuple[int, ...] = (1, 1)) -> Any:
    held, weight = tensor.parameter(x, on=on), tensor.parameter(w, on=on)
    return gradients(convolve_planes(held, weight, steps, around), held, weight)


def last(x: Array, w: Array, on: str, **options: Any) -> Any:
    held, weight = tensor.parameter(x, on=on), tensor.parameter(w, on=on)
    return gradients(tensor.convolve(held, weight, **options), held, weight)


def copied(monkeypatch: pytest.MonkeyPatch, make: Callable[[], list[Array]]) -> list[Array]:
    """Return what is made when all windows are copied."""
    with monkeypatch.context() as patched:
        patched.setattr(correlating, "_WORTH_TABLES", 1 << 60)
        patched.setattr(windowed, "record_viewed", lambda *_: False)
        patched.setattr(windowed, "record_image_gradient", lambda *_: False)
        return make()


def assert_same(found: list[Array], expected: list[Array]) -> None:
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert np.array_equal(canonical_bits(f), canonical_bits(e))


@pytest.mark.needs("compiled")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_channels_first(on: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlating, "_WORTH_TABLES", 0)
    x, w = sample(2, 6, 7, 9), sample(140, 6, 3, 2)  # two blocks of filters
    x[0, 1, 2, 3], w[3, 2, 1, 1] = np.inf, np.nan
    with loom.precision(precision):
        expected = copied(monkeypatch, lambda: planes(x, w, "cpu", (2, 1), (1, 2)))
        assert_same(planes(x, w, on, (2, 1), (1, 2)), expected)


@pytest.mark.needs("compiled")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_channels_last(on: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlating, "_WORTH_TABLES", 0)
    x, w, options = sample(2, 8, 7, 5), sample(3, 2, 5, 9), {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1)}
    x[1, 2, 3, 4] = -np.inf
    with loom.precision(precision):
        expected = copied(monkeypatch, lambda: last(x, w, "cpu", **options))
        assert_same(last(x, w, on, **options), expected)


@pytest.mark.needs("threads")
def test_units_for_tiles_of_bytes_take_convolutions(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, in both gradients too, several stretches of columns at a time."""
    monkeypatch.setattr(correlating, "_WORTH_TABLES", 0)
    monkeypatch.setattr(correlating, "_LEAST_SUMMED", 0)
    x, w = sample(2, 4, 6, 5), sample(9, 4, 3, 2)
    x[0, 1, 2, 3], w[3, 2, 1, 1] = np.inf, np.nan
    with loom.precision("q12"):
        expected = copied(monkeypatch, lambda: planes(x, w, "cpu", (2, 1), (1, 2)))
        taken: list[Multiplication] = []

        def patch(_caps: Caps, what: Multiplication) -> Patch:
            taken.append(what)
            return Patch(1, 2, 1, 1)

        monkeypatch.setattr(units, "unit_for", patch)
        monkeypatch.setattr(implicit, "patch_for", patch)
        monkeypatch.setattr(units, "STRETCH_NBYTES", 1)
        found = planes(x, w, on, (2, 1), (1, 2))
    assert len(taken) == 4, "a product forward and one of each gradient, and that of images asked for twice"
    assert_same(found, expected)


@pytest.mark.parametrize("precision", ["full", "q8"])
def test_long_windows_are_read_in_stretches(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are packed in several parts, of two chunks of k."""
    monkeypatch.setattr("loom.schedules.products.viewed._PACKED_NBYTES", 1 << 19)
    x, w = sample(1, 20, 21, 460), sample(3, 3, 460, 6)
    with loom.precision(precision):
        held, weight = tensor.array(x, on="cpu"), tensor.array(w, on="cpu")
        expected = copied(monkeypatch, lambda: [tensor.convolve(held, weight).numpy()])
        assert_same([tensor.convolve(held, weight).numpy()], expected)


@pytest.mark.needs("compiled")
def test_nothing_of_the_size_of_windows_is_allocated(on: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loom.schedules.products.units.STRETCH_NBYTES", 1 << 20)
    x, w = tensor.parameter(sample(32, 16, 24, 24), on=on), tensor.parameter(sample(32, 16, 5, 5), on=on)
    made = convolve_planes(x, w, (1, 1), (2, 2))
    program = tensor.compile(tensor.grad((made * made).sum(), [x, w]))
    images = 32 * (16 * 28 * 28 + 3 * 32 * 24 * 24) * 4  # padded ones, the result and its gradients
    assert program.peak_nbytes < images + (14 << 20) < 32 * 24 * 24 * 400 * 4
    program.free()
    seen, weight = tensor.parameter(sample(32, 24, 24, 16), on=on), tensor.array(sample(5, 5, 16, 32), on=on)
    with loom.precision("q12"):
        program = tensor.compile([tensor.convolve(seen, weight)])
    assert program.peak_nbytes < 8 << 20 < 32 * 20 * 20 * 400 * 4
    program.free()
