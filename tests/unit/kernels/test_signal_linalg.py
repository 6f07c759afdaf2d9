"""Kernels of transforms, convolution and factorisation, which are trusted: watched, they do nothing wrong.

Run through their patterns: with LOOM_CHECK=1, and in the interpreter that reports races, indexes outside and reads of
what was never written. Oracle: the bits they have unwatched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.kernels.fft.butterflies import RADICES
from loom.kernels.fft.convolve import sliding_sums
from loom.kernels.fft.stages import Form, narrow_stage, wide_stage
from loom.kernels.linalg.lu import eliminate_panel
from loom.patterns import linalg, signal
from loom.schedules.fft import convolution_length, radices

RNG = np.random.default_rng(7)
REAL = RNG.normal(size=(2, 96)).astype(np.float32)
COMPLEX = (REAL + 1j * REAL[::-1]).astype(np.complex64)
MATRIX = RNG.normal(size=(2, 70, 70)).astype(np.float32)
DEFINITE = (MATRIX[0] @ MATRIX[0].T + 70 * np.eye(70)).astype(np.float32)

CALLS: dict[str, Callable[[], Any]] = {
    "smooth": lambda: signal.fft(COMPLEX),
    "double": lambda: signal.ifft(COMPLEX[:, :15].astype(np.complex128)),
    "narrow": lambda: signal.fft(COMPLEX[:, :45]),
    "chirp": lambda: signal.ifft(COMPLEX[:, :11]),
    "real": lambda: signal.rfft(REAL[:, :30]),
    "odd real": lambda: signal.rfft(REAL[:, :15]),
    "to real": lambda: signal.irfft(COMPLEX[:, :16]),
    "to odd real": lambda: signal.irfft(COMPLEX[:, :8], 15),
    "direct": lambda: signal.convolve(REAL[0], REAL[1, :40], "same", method="direct"),
    "spectra": lambda: signal.correlate(REAL[0], REAL[1, :40], method="fft"),
    "filter": lambda: signal.fir_filter(REAL, REAL[0, :5]),
    "average": lambda: signal.ema(REAL, 0.25, axis=0),
    "solve": lambda: linalg.solve(MATRIX, MATRIX[:, :, :3]),
    "lu": lambda: linalg.lu(MATRIX[0])[0],
    "inv": lambda: linalg.inv(MATRIX[0, :20, :20]),
    "det": lambda: linalg.det(MATRIX[:, :9, :9]),
    "cholesky": lambda: linalg.cholesky(DEFINITE),
    "qr": lambda: np.concatenate(linalg.qr(MATRIX[:, :, :20]), axis=1),
    "cross": lambda: linalg.cross(REAL[:, :3], REAL[0, 3:6]),
    "outer": lambda: linalg.outer(REAL[0], REAL[1, :70]),
    "normalize": lambda: linalg.normalize(REAL, axis=0),
    "transpose": lambda: linalg.transpose(REAL),
}
QUICK = ("narrow", "to odd real", "direct", "solve", "cross", "transpose")
FACTORISATIONS = ("solve", "lu", "cholesky", "qr")


def bits(value: Any) -> bytes:
    return np.ascontiguousarray(value).tobytes()


@pytest.mark.parametrize("name", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CALLS])
def test_checked_runs_find_no_fault_and_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bits(CALLS[name]())
    monkeypatch.setenv("LOOM_CHECK", "1")
    assert bits(CALLS[name]()) == plain


@pytest.mark.parametrize("name", [c for c in CALLS if c not in FACTORISATIONS])
def test_debugged_runs_find_no_fault_and_the_same_bits(name: str) -> None:
    plain = bits(CALLS[name]())
    with loom.debug(races=True, bounds=True, uninitialized=True):
        assert bits(CALLS[name]()) == plain


def test_small_factorisations_are_debugged() -> None:
    a, b, s = MATRIX[:, :10, :10], MATRIX[:, :10, :2], DEFINITE[:10, :10]
    calls = (lambda: linalg.solve(a, b), lambda: linalg.lu(a)[0], lambda: linalg.cholesky(s), lambda: linalg.qr(a)[0])
    for call in calls:
        plain = bits(call())
        with loom.debug(races=True, bounds=True, uninitialized=True):
            assert bits(call()) == plain


@pytest.mark.slow
def test_factorisations_over_several_panels_are_debugged() -> None:
    for name in FACTORISATIONS:
        plain = bits(CALLS[name]())
        with loom.debug(races=True, bounds=True, uninitialized=True):
            assert bits(CALLS[name]()) == plain


def test_radices_multiply_to_the_length() -> None:
    for n in range(1, 3000):
        found = radices(n)
        rest = n
        for p in (2, 3, 5, 7):
            while rest % p == 0:
                rest //= p
        assert (found is None) == (rest > 1)
        if found is not None:
            assert np.prod(found) == n
            assert set(found) <= {*RADICES, 1}
    assert radices(2**20) == (16,) * 5
    assert radices(48) == (16, 3)
    assert radices(360) == (8, 5, 3, 3)


def test_lengths_of_convolutions() -> None:
    for least in range(1, 3000):
        found = convolution_length(least)
        assert found >= least
        assert radices(found) is not None
        assert found % 16 == 0
    assert [convolution_length(n) for n in (1, 17, 33, 49, 65, 97, 113, 129, 2**20, 2**20 + 1)] == [
        16, 32, 48, 64, 80, 112, 128, 144, 2**20, 9 * 2**17,
    ]  # fmt: skip


def test_one_kernel_is_made_for_each_choice() -> None:
    given: dict[str, Any] = {"first": True, "last": False, "short": False, "whole": True}
    a = narrow_stage(4, loom.f32, Form.PAIRS, Form.PLANES, **given)
    assert a is narrow_stage(4, loom.f32, Form.PAIRS, Form.PLANES, **given)
    others = [
        narrow_stage(4, loom.f64, Form.PAIRS, Form.PLANES, **given),
        wide_stage(4, loom.f32, Form.PLANES, last=False, whole=True),
        sliding_sums(loom.f32),
        eliminate_panel(loom.f32),
    ]
    assert len({k.name for k in (a, *others)}) == 5
    assert all(k.verified.kernel.trusted for k in (a, *others))
