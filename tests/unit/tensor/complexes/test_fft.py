"""Recorded transforms: beside numpy's at any length, along any axes; the bits of ``loom.signal``; slopes; programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import LoomError
from loom.tensor import Tensor

F = tensor.fft
_RNG = np.random.default_rng(11)
_REAL = ("rfft", "ihfft", "rfftn")


def _signal(*shape: int, name: str, dtype: str = "complex64") -> np.ndarray[Any, Any]:
    z = _RNG.normal(size=shape) + 1j * _RNG.normal(size=shape)
    return (z.real if name in _REAL else z).astype(dtype if name not in _REAL else np.dtype(dtype).type(0).real.dtype)


def _error(found: Tensor, wanted: np.ndarray[Any, Any]) -> float:
    got = found.numpy()
    assert got.shape == wanted.shape
    assert np.iscomplexobj(got) == np.iscomplexobj(wanted)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max() / np.finfo(got.dtype).eps)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 17, 30])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_one_axis(name: str, n: int) -> None:
    z = _signal(3, n, 2, name=name)
    options: list[dict[str, Any]] = [{"n": n + 3, "norm": "ortho"}, {"n": max(1, n - 1), "norm": "forward"}]
    for given in options if name in ("irfft", "hfft") and n == 1 else [{}, *options]:
        found = getattr(F, name)(tensor.array(z), axis=1, **given)
        assert _error(found, getattr(np.fft, name)(z, axis=1, **given)) < 6


@pytest.mark.parametrize("given", [{}, {"axes": (0, 2)}, {"s": (4, 5), "axes": (1, 0)}, {"norm": "ortho"}])
@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_several_axes(name: str, given: dict[str, Any]) -> None:
    z = _signal(3, 6, 4, name=name, dtype="complex128")
    assert _error(getattr(F, name)(tensor.array(z), **given), getattr(np.fft, name)(z, **given)) < 8


def test_the_bits_are_those_of_the_pattern(on: str) -> None:
    for n in (16, 17, 1000):
        z = _signal(2, n, name="fft")
        found, wanted = F.fft(tensor.array(z, on=on)).numpy(), loom.signal.fft(z, on=on)
        assert (found.view(np.uint32) == wanted.view(np.uint32)).all()
        half = F.rfft(tensor.array(z.real.copy(), on=on))
        assert (half.numpy().view(np.uint32) == loom.signal.rfft(z.real.copy(), on=on).view(np.uint32)).all()
        again = F.irfft(half, n=n).numpy()
        assert (again.view(np.uint32) == loom.signal.irfft(half.numpy(), n, on=on).view(np.uint32)).all()


def test_real_whole_and_short_numbers() -> None:
    x = np.arange(6)
    assert _error(F.fft(tensor.array(x, "i32")), np.fft.fft(x)) < 4
    assert F.rfft(tensor.array(x.astype("f2"))).dtype.name == "c64"
    assert F.fft(tensor.array(x.astype("f8"))).dtype.name == "c128"
    assert F.irfft(tensor.array([1.0, 2.0])).dtype.name == "f32"


_REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "nothing": (lambda x: F.fft(x[:0]), "no elements to transform"),
    "norm": (lambda x: F.fft(x, norm="orto"), "no norm is called"),
    "length": (lambda x: F.fft(x, n=0), "out of range"),
    "complex": (lambda x: F.rfft(x * 1j), "complex numbers"),
    "axis": (lambda x: F.fft(x, axis=1), "there is no such axis"),
    "lengths": (lambda x: F.fftn(x, s=(2, 3)), "more lengths than axes"),
    "lengths and axes": (lambda x: F.fftn(x, s=(2,), axes=(0, 0)), "not one length for each axis"),
    "no axis": (lambda x: F.rfftn(x, axes=()), "no axis"),
    "whole frequencies": (lambda _: F.fftfreq(4, dtype="i32"), "frequencies are floats"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_is_refused(name: str) -> None:
    call, text = _REFUSED[name]
    with pytest.raises(LoomError, match=text):
        call(tensor.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies_and_shifts(n: int) -> None:
    for d in (1.0, 0.25):
        assert (F.fftfreq(n, d=d, dtype="f64").numpy() == np.fft.fftfreq(n, d)).all()
        assert (F.rfftfreq(n, d=d).numpy() == np.fft.rfftfreq(n, d).astype("f4")).all()
    x = np.arange(3 * n).reshape(3, n)
    for axes in (None, 1, (0,)):
        moved = F.fftshift(tensor.array(x), axes=axes)
        assert (moved.numpy() == np.fft.fftshift(x, axes)).all()
        assert (F.ifftshift(moved, axes=axes).numpy() == x).all()


_DIFFERENTIABLE: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "fft": (F.fft, False),
    "fft of real numbers": (F.fft, True),
    "ifft": (lambda x: F.ifft(x, n=9, norm="ortho"), False),
    "rfft odd": (F.rfft, True),
    "rfft even": (lambda x: F.rfft(x, n=8, norm="forward"), True),
    "irfft even": (F.irfft, False),
    "irfft odd": (lambda x: F.irfft(x, n=13), False),
    "hfft": (F.hfft, False),
    "ihfft": (F.ihfft, True),
    "fftn": (F.fftn, False),
    "irfftn": (lambda x: F.irfftn(x, axes=(1, 0)), False),
}


@pytest.mark.parametrize("name", _DIFFERENTIABLE)
def test_gradients_are_slopes(name: str) -> None:
    fn, is_real = _DIFFERENTIABLE[name]
    z = _signal(2, 7, name="rfft" if is_real else "fft", dtype="complex128")

    def loss(y: Tensor) -> Tensor:
        return (tensor.real(y) * 0.7 + tensor.imag(y) * 0.3 * tensor.real(y)).sum()

    (found,) = tensor.grad(loss(fn(x := tensor.array(z, on="interp"))), [x])
    fed = tensor.input("z", z.shape, "f64" if is_real else "c128")
    program = tensor.compile([loss(fn(fed))], on="interp")
    wanted, step = np.zeros_like(z), 1e-6
    for at in np.ndindex(*z.shape):
        for way in (1,) if is_real else (1, 1j):
            values: list[float] = []
            for move in (step, -step):
                moved = z.copy()
                moved[at] += way * move
                program.run(z=moved)
                values.append(float(program.read()[0]))
            wanted[at] += way * (values[0] - values[1]) / (2 * step)
    assert np.abs(found.numpy() - wanted).max() < 1e-7 * np.abs(wanted).max()


def test_filtering_in_a_program(on: str) -> None:
    x = _signal(4, 50, name="rfft")
    fed, weight = tensor.input("x", x.shape), tensor.parameter(np.ones(26, np.complex64), on=on)
    out = F.irfft(F.rfft(fed) * weight, n=50)
    (g,) = tensor.grad((out * out).sum(), [weight])
    step = tensor.compile([out], [(weight, weight - g * 0.5)], on=on)
    step.run(x=x)
    assert np.abs(step.read()[0] - x).max() < 1e-5
    spectrum = np.fft.rfft(x)
    sizes = np.where(np.isin(np.arange(26), (0, 25)), 1, 2) / 50 * (np.abs(spectrum) ** 2).sum(0)
    assert np.abs(weight.numpy() - (1 - sizes)).max() < 1e-3
