"""Empty, one-element and strangely laid out arrays of every type, drawn by seed: numpy's answers at both doors.

Where numpy has no answer, patterns refuse, and so do tensors but for means, which are NaN there (the array API). Floats
are held to the tolerance of their sums, whose order differs; all else is equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import EmptyError, LoomError

Array = np.ndarray[Any, Any]
TYPES = ("bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
LENGTHS = (0, 1, 2, 3, 5, 17, 64, 100)
_NEAR = {"f2": 4e-3, "f4": 2e-5, "f8": 1e-12}


@dataclass
class Drawn:
    """An array as it is given, how it is laid out for numpy, and along which axis."""

    given: Any
    plain: Array
    axis: int | None
    near: float

    @property
    def along(self) -> dict[str, int]:
        return {} if self.axis is None else {"axis": self.axis}

    @property
    def wide(self) -> Array:
        return self.plain.astype("f8")


def elements(g: np.random.Generator, kind: str, shape: Any) -> Array:
    if kind == "bool":
        return g.integers(0, 2, shape).astype(bool)
    x = (10 * g.standard_normal(shape)).astype(kind if kind[0] != "u" else "i8").astype(kind)
    if x.size and g.random() < 0.3:
        odd: Any = [np.nan, np.inf, -0.0] if kind[0] == "f" else [np.iinfo(kind).min, np.iinfo(kind).max]
        x.reshape(-1)[g.integers(x.size)] = odd[g.integers(len(odd))]
    return x


def layout(g: np.random.Generator, kind: str) -> Array:
    n = int(g.choice(LENGTHS))
    forms: list[Callable[[], Array]] = [
        lambda: elements(g, kind, n),
        lambda: elements(g, kind, 1000 * n)[::1000],
        lambda: elements(g, kind, n)[::-1],
        lambda: elements(g, kind, (3, n)).T,
        lambda: np.broadcast_to(elements(g, kind, ()), (n,)),
        lambda: elements(g, kind, (n, 4))[:, ::3],
        lambda: np.broadcast_to(elements(g, kind, n), (3, n)),
        lambda: np.lib.stride_tricks.sliding_window_view(elements(g, kind, n + 3), 3),
        lambda: (x := elements(g, kind, n)).astype(x.dtype.newbyteorder(">")),
    ]
    return g.choice(np.array(forms, object))()


def draw(seed: int) -> Drawn:
    g = np.random.default_rng(seed)
    kind = str(g.choice(TYPES))
    given = layout(g, kind)
    axis = None if given.ndim == 1 else (None, 0, 1, -1, -2)[g.integers(5)]
    plain = given.astype(given.dtype.newbyteorder("="))
    return Drawn(loom.array(given) if g.random() < 0.5 else given, plain, axis, _NEAR.get(kind, 0.0))


def host(found: Any) -> Array:
    return np.asarray(found.numpy() if isinstance(found, tensor.Tensor) else found)


def answer(call: Callable[[], Any]) -> Array | None:
    """Return what numpy answers, None where it refuses."""
    try:
        return np.asarray(call())
    except ValueError:
        return None


def require(found: Callable[[], Any], wanted: Array | None, near: float = 0.0) -> None:
    if wanted is None:
        with pytest.raises(LoomError):
            found()
        return
    got = host(found())
    assert got.shape == wanted.shape
    if near:
        np.testing.assert_allclose(got.astype("f8"), wanted.astype("f8"), rtol=near, atol=near)
    else:
        assert np.array_equal(got.astype(wanted.dtype), wanted, equal_nan=wanted.dtype.kind == "f")


def compare(seed: int) -> None:
    d = draw(seed)
    x, ax = d.plain, d.axis
    with np.errstate(all="ignore"):
        for name in ("max", "min", "argmax", "argmin", "any", "all"):
            require(lambda name=name: getattr(loom, f"gpu_{name}")(d.given, **d.along),
                    answer(lambda name=name: getattr(x, name)(axis=ax)))  # fmt: skip
        sums = d.wide.sum(axis=ax) if d.near else x.sum(axis=ax)
        require(lambda: loom.gpu_sum(d.given, **d.along), sums, 30 * d.near)
        if x.size and x.shape[ax or 0]:
            require(lambda: loom.gpu_mean(d.given, **d.along), d.wide.mean(axis=ax), 10 * (d.near or 1e-12))
            require(lambda: loom.gpu_median(d.given, **d.along), np.median(d.wide, axis=ax), d.near or 1e-12)
        require(lambda: loom.gpu_sort(d.given), np.sort(x, axis=-1))
        order = host(loom.gpu_argsort(d.given)).astype("i8")
        assert np.array_equal(np.take_along_axis(x, order, -1), np.sort(x, axis=-1), equal_nan=x.dtype.kind == "f")
        if ax is not None or x.ndim == 1:
            scan = np.cumsum(d.wide if d.near else x, axis=ax)
            require(lambda: loom.gpu_scan(d.given, **d.along), scan, 50 * d.near)


def test_drawn_arrays() -> None:
    for seed in range(12):
        compare(seed)


@pytest.mark.slow
def test_many_drawn_arrays() -> None:
    for seed in range(1_000, 1_400):
        compare(seed)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 97, 210, 1009])
def test_transforms_of_any_length(n: int) -> None:
    g = np.random.default_rng(n)
    for kind in (*TYPES, "c8", "c16"):
        x = elements(g, kind, (2, 3 * n))[:, ::3] if kind[0] != "c" else g.standard_normal((2, n)).astype(kind)
        x = np.where(np.isfinite(x), x, 1).astype(x.dtype)
        scale = float(np.abs(x.astype("c16")).sum()) * (1e-6 if kind in ("f2", "f4", "c8") else 1e-14)
        with np.errstate(all="ignore"):
            for norm in ("backward", "ortho", "forward"):
                assert np.abs(loom.gpu_fft(x, norm=norm) - np.fft.fft(x.astype("c16"), norm=norm)).max() <= scale
                back = loom.signal.ifft(loom.gpu_fft(x, norm=norm), norm=norm)
                assert np.abs(back - x).max() <= 2 * scale
            if kind[0] != "c":
                half = loom.signal.rfft(x)
                assert np.abs(half - np.fft.rfft(x.astype("f8"))).max() <= scale
                assert np.abs(loom.signal.irfft(half, n) - x).max() <= 2 * scale


@pytest.mark.parametrize("transform", ["fft", "ifft", "rfft", "irfft"])
def test_a_transform_of_nothing_is_refused(transform: str) -> None:
    for shape in ((0,), (2, 0)):
        with pytest.raises(LoomError):
            getattr(loom.signal, transform)(np.zeros(shape))
    assert loom.signal.fft(np.zeros((0, 5))).shape == (0, 5)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (0, 0), (2, 0, 3)])
def test_a_softmax_of_nothing_is_nothing(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    for softmax in (tensor.softmax, tensor.log_softmax, tensor.softmin):
        assert softmax(tensor.array(x)).shape == shape
    assert loom.gpu_softmax(x).shape == shape
    given = tensor.array(x)
    assert tensor.grad(tensor.softmax(given).sum(), [given])[0].shape == shape
    with pytest.raises(LoomError, match="there is no such axis"):
        tensor.softmax(tensor.array(x), 5)


def test_no_elements_have_no_mean_at_a_pattern_and_none_but_nan_at_a_tensor() -> None:
    x = np.zeros((0, 3), np.float32)
    for name in ("mean", "std", "var", "median"):
        with pytest.raises(EmptyError):
            getattr(loom, f"gpu_{name}")(x)
    assert np.isnan(tensor.array(x).mean(axis=0).numpy()).all()
    assert loom.gpu_sum(x, axis=0).tolist() == [0, 0, 0]
    assert loom.gpu_product(x, axis=0).tolist() == [1, 1, 1]
