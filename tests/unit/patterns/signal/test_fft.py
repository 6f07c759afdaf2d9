"""``loom.signal``'s Fourier transforms against numpy's in complex128, and their bits against the interpreter's.

Tolerance: the error relative to the root mean square grows like eps sqrt(log2 n); one eps times that holds for lengths
of small factors with correctly rounded roots (0.3 to 0.9 is seen), 2.5 for Bluestein's, which are three transforms of
more than twice the length.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError, IndexOutside
from loom.patterns.signal import fft, ifft, irfft, rfft
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]

SINGLE = (1, 2, 3, 4, 5, 7, 8, 15, 16, 105, 255, 256, 257, 1000)
DOUBLE = (15, 16, 17, 256)
PRECISIONS = {"float32": "complex64", "float64": "complex128"}


def numbers(shape: Any, dtype: str, seed: int = 0) -> Array:
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def is_smooth(n: int) -> bool:
    """Tell whether 2, 3, 5 and 7 are all its prime factors."""
    return 2**60 * 3**40 * 5**30 * 7**25 % n == 0


def error(found: Array, expected: Array, n: int) -> float:
    """The error relative to the root mean square, in eps sqrt(log2 n)."""
    assert found.shape == expected.shape
    eps = float(np.finfo(found.dtype).eps) * max(1.0, np.log2(n)) ** 0.5
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected)) / eps


@pytest.mark.parametrize(
    ("n", "dtype"), [*((n, "float32") for n in SINGLE), *((n, "float64") for n in DOUBLE)]
)  # fmt: skip
def test_transforms_are_numpys(n: int, dtype: str) -> None:
    bar = 1.0 if is_smooth(n) else 2.5
    x = numbers((3, n), PRECISIONS[dtype])
    wide, real = x.astype(np.complex128), x.real.copy()
    found = fft(x)
    assert found.dtype == PRECISIONS[dtype]
    assert error(found, np.fft.fft(wide), n) < bar
    assert error(ifft(x), np.fft.ifft(wide), n) < bar
    half = rfft(real)
    assert half.dtype == PRECISIONS[dtype]
    assert error(half, np.fft.rfft(real.astype(float)), n) < bar
    back = irfft(x[:, : n // 2 + 1], n)
    assert back.dtype == dtype
    assert error(back, np.fft.irfft(wide[:, : n // 2 + 1], n), n) < bar


@pytest.mark.parametrize("n", [4096, 65_536, 65_537, 10**6])
def test_long_ones(n: int) -> None:
    x = numbers(n, "complex64")
    assert error(fft(x), np.fft.fft(x.astype(np.complex128)), n) < (1.0 if is_smooth(n) else 2.5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [*range(1, 150), *range(150, 1100, 13), 2048, 2187, 3125, 16_807])
def test_every_short_length(n: int, dtype: str) -> None:
    test_transforms_are_numpys(n, dtype)


@cache
def of_interpreter(what: str, n: int, dtype: str) -> Array:
    return transform(what, n, dtype, "interp")


def transform(what: str, n: int, dtype: str, on: str) -> Array:
    x = numbers((3, n), PRECISIONS[dtype])
    if what == "real":
        return rfft(x.real.copy(), on=on)
    if what == "to real":
        return irfft(x[:, : n // 2 + 1], n, on=on)
    return ifft(x, on=on) if what == "inverse" else fft(x, on=on)


@pytest.mark.parametrize(
    ("what", "n", "dtype"),
    [
        ("forward", 16 * 24, "float32"),  # one row's end, then steps of 16
        ("forward", 7 * 5 * 3, "float32"),  # steps below 16
        ("inverse", 3 * 7, "float64"),
        ("forward", 11, "float32"),
        ("real", 2 * 9, "float32"),
        ("to real", 9, "float32"),
        pytest.param("forward", 16 * 64, "float32", marks=pytest.mark.slow),
        pytest.param("inverse", 2 * 5 * 16, "float64", marks=pytest.mark.slow),
        pytest.param("inverse", 13, "float32", marks=pytest.mark.slow),
        pytest.param("real", 21, "float64", marks=pytest.mark.slow),
        pytest.param("to real", 4 * 9, "float32", marks=pytest.mark.slow),
    ],
)
def test_the_same_bits_everywhere(place: str, what: str, n: int, dtype: str) -> None:
    found, expected = transform(what, n, dtype, place), of_interpreter(what, n, dtype)
    kind = np.dtype(dtype)
    assert same_bits(found.view(kind), expected.view(kind))


def test_a_row_has_the_bits_it_has_alone() -> None:
    for n in (15, 256, 257):
        x = numbers((2, 3, n), "complex64")
        whole = fft(x)
        for row in np.ndindex(2, 3):
            assert same_bits(whole[row].view(np.float32), fft(x[row]).view(np.float32)), n


def test_what_can_be_said_exactly() -> None:
    # sums of small whole numbers with roots 1, -1, i and -i alone
    x = np.array([1, 2, 3, 4], np.float32)
    assert fft(x).tolist() == [10, -2 + 2j, -2, -2 - 2j]
    for n in (15, 16, 256, 257, 1000):
        impulse = np.zeros(n, np.complex64)
        impulse[0] = 1
        if n != 257:
            assert np.array_equal(fft(impulse), np.ones(n))
        assert abs(fft(np.ones(n, np.float32))[0] - n) < 2**-20 * n


def test_inverses_undo() -> None:
    for n in (2, 15, 16, 256, 257):
        x = numbers((3, n), "complex64")
        assert abs(ifft(fft(x)) - x).max() < 2e-6
        real = x.real.copy()
        assert abs(irfft(rfft(real), n) - real).max() < 2e-6


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_norms(norm: Any) -> None:
    x = numbers(16, "complex128")
    real = x.real.copy()
    assert np.allclose(fft(x, norm=norm), np.fft.fft(x, norm=norm), rtol=0, atol=1e-13)
    assert np.allclose(ifft(x, norm=norm), np.fft.ifft(x, norm=norm), rtol=0, atol=1e-13)
    for n in (15, 16):
        assert np.allclose(rfft(real[:n], norm=norm), np.fft.rfft(real[:n], norm=norm), rtol=0, atol=1e-13)
        half = x[: n // 2 + 1]
        assert np.allclose(irfft(half, n, norm=norm), np.fft.irfft(half, n, norm=norm), rtol=0, atol=1e-13)
    assert np.allclose(fft(x[:11], norm=norm), np.fft.fft(x[:11], norm=norm), rtol=0, atol=1e-13)


def test_inputs_of_every_kind() -> None:
    assert fft([1, 2, 3]).dtype == np.complex128
    assert fft(np.array([True, False])).tolist() == [1, 1]
    assert fft(np.array([1, 2], np.float16)).dtype == np.complex64
    assert rfft(np.array([1, 2], np.float16)).dtype == np.complex64
    assert rfft([1, 2, 3]).dtype == np.complex128
    x = numbers((6, 4), "complex64")
    assert same_bits(fft(x.T).view(np.float32), fft(np.ascontiguousarray(x.T)).view(np.float32))
    odd = np.frombuffer(b"1234" + x.tobytes(), np.float32)[1:]  # pairs that begin between multiples of 8
    assert same_bits(rfft(odd).view(np.float32), rfft(odd.copy()).view(np.float32))
    assert fft(np.zeros((0, 5), np.complex64)).shape == (0, 5)
    assert rfft(np.zeros((3, 0, 5), np.float32)).shape == (3, 0, 3)
    assert irfft([1.0]).tolist() == [1.0]
    assert irfft([1.0, 2.0, 3.0]).shape == (4,)


def test_tensors_are_transformed_to_complex_tensors_and_recorded() -> None:
    x = numbers((2, 16), "complex64")
    given, real = loom.array(x), loom.array(x.real.copy())
    for found, wanted in (
        (fft(given), fft(x)), (ifft(given), ifft(x)), (rfft(real), rfft(x.real.copy())),
        (fft(real), fft(x.real.copy())), (fft(given, norm="ortho"), fft(x, norm="ortho")),
        (loom.signal.hilbert(real), loom.signal.hilbert(x.real.copy())),
    ):  # fmt: skip
        assert isinstance(found, loom.Array)
        assert str(found.dtype) == "c64"
        assert found.numpy().dtype == np.complex64
        assert same_bits(found.numpy().view(np.float32), wanted.view(np.float32))
    assert same_bits(irfft(rfft(real)).numpy(), irfft(rfft(x.real.copy())))
    assert same_bits(irfft(given, 31).numpy(), irfft(x, 31))
    assert str(rfft(real.astype("f64")).dtype) == "c128"
    (slope,) = loom.tensor.grad((loom.tensor.abs(rfft(real)) ** 2).sum(), [real])
    wanted = np.fft.irfft(np.fft.rfft(x.real) * np.where(np.arange(9) % 8, 1, 2), 16) * 16
    assert np.abs(slope.numpy() - wanted).max() < 1e-4
    pairs = loom.array(x.view(np.float32).reshape(2, 16, 2))
    for transform in (fft, ifft, irfft):
        with pytest.raises(ArgumentError, match=r"may be one complex number.*tensor.view_as_complex"):
            transform(pairs)
    assert same_bits(fft(loom.tensor.view_as_complex(pairs)).numpy().view(np.float32), fft(x).view(np.float32))
    with pytest.raises(DTypeError, match="complex numbers: expected bools, ints or floats, got c64"):
        rfft(given)
    assert str(fft(loom.array([[1, 2, 3]])).dtype) == "c128"


def test_parts_that_a_real_signal_has_not_are_left_out() -> None:
    x = numbers(9, "complex64")
    plain = x.copy()
    plain.imag[[0, 8]] = 0
    assert same_bits(irfft(x), irfft(plain))


def test_errors() -> None:
    with pytest.raises(EmptyError, match=r"\[signal.fft\] no elements to transform: expected at least 1 along"):
        fft(np.zeros((3, 0)))
    with pytest.raises(IndexOutside, match=r"\[signal.rfft, axis\] there is no such axis"):
        rfft(3.0)
    with pytest.raises(ArgumentError, match=r"no norm is called 'orto'. Did you mean 'ortho'"):
        fft([1.0], norm="orto")
    with pytest.raises(
        ArgumentError, match=r"\[signal.irfft, n\] data has 3 numbers: expected 4 or 5, got 6. Cut or pad"
    ):
        irfft([1.0, 2.0, 3.0], 6)
    with pytest.raises(ArgumentError, match=r"\[signal.irfft, n\] not a whole number"):
        irfft([1.0, 2.0, 3.0], 4.0)  # type: ignore[arg-type]
    with pytest.raises(
        DTypeError, match=r"\[signal.rfft\] complex numbers: expected bools, ints or floats, got complex64"
    ):
        rfft(np.ones(3, np.complex64))
    assert np.array_equal(fft(np.arange(3, dtype=">c8")), fft(np.arange(3, dtype=np.complex64)))
    with pytest.raises(DTypeError, match="not numbers"):
        fft(["a"])


def test_complex_tensors_are_recorded_and_stay_tensors() -> None:
    x = np.arange(12).reshape(2, 6) * (1 - 2j) + 1j
    z = loom.tensor.array(x.astype(np.complex64))
    for found, wanted in ((fft(z), fft(x.astype(np.complex64))), (ifft(z), ifft(x.astype(np.complex64)))):
        assert found.dtype.name == "c64"
        assert (found.numpy().view(np.uint32) == wanted.view(np.uint32)).all()
    back = irfft(z, 11)
    assert (back.numpy().view(np.uint32) == irfft(x.astype(np.complex64), 11).view(np.uint32)).all()
    with pytest.raises(EmptyError, match="no elements to transform"):
        fft(z[:, :0])
