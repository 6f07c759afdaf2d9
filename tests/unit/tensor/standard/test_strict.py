"""What the official suite of the array API standard found, and what it leaves open: one meaning, and that of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import loom
from loom import tensor as xp
from loom.core.errors import DTypeError, IndexOutside, LoomError


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_powers_of_integers_are_integers(kind: Any) -> None:
    a, b = np.arange(1, 7, dtype=kind), np.array([0, 1, 2, 3, 4, 5], kind)
    x, y = xp.asarray(a), xp.asarray(b)
    for found, expected in ((x**y, a**b), (x**3, a ** kind(3)), (2**y, kind(2) ** b), (x**0, a ** kind(0))):
        assert found.numpy().dtype == expected.dtype == kind
        assert np.array_equal(found.numpy(), expected)
    x **= y
    assert np.array_equal(x.numpy(), a**b)
    assert (xp.asarray(a) ** 0.5).dtype == xp.float32
    for power in (lambda: xp.asarray(a) ** -1, lambda: xp.pow(xp.asarray(a), -2)):
        with pytest.raises(LoomError, match=r"integers to a negative power: .* Write 1 / x\*\*n|does not fit u"):
            power()


@pytest.mark.parametrize("kind", ["f4", "f8", "f2", "i4", "?", "c8"])
def test_means_of_nothing_are_nan(kind: str, on: str) -> None:
    x = xp.asarray(np.zeros((0, 3), kind), on=on)
    wanted = {"i4": "f8", "?": "f8"}.get(kind, kind)
    for found in (x.mean(axis=0), xp.mean(x, axis=0)):
        assert found.numpy().dtype == np.dtype(wanted)
        assert np.isnan(found.numpy()).tolist() == [True] * 3
    assert x.mean(axis=0).numpy().tobytes() == xp.mean(x, axis=0).numpy().tobytes()
    assert x.mean(axis=1).shape == (0,)
    assert xp.mean(x, keepdims=True).shape == (1, 1)
    assert np.isnan(x.mean().numpy())


@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (0,), (0, 0), (3,), (3, 2)])
def test_masks_of_no_elements_choose_none(shape: tuple[int, ...]) -> None:
    a = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    mask = np.zeros(shape, bool)
    for key in (mask, xp.asarray(mask)):
        x = xp.asarray(a)
        assert x[key].shape == a[mask].shape
        x[key] = 1
        assert np.array_equal(x.numpy(), a)
    for wrong in ((2, 2), (2,), (3, 3), (3, 2, 1)):
        with pytest.raises(IndexError):
            xp.asarray(a)[xp.asarray(np.zeros(wrong, bool))]


def test_there_is_no_such_axis_is_an_index_error() -> None:
    x = xp.zeros((2, 3))
    for call in (lambda: xp.sum(x, axis=2), lambda: x.mean(axis=-3), lambda: xp.flip(x, axis=5),
                 lambda: xp.expand_dims(x, axis=3), lambda: xp.expand_dims(x, axis=-4)):  # fmt: skip
        with pytest.raises(IndexOutside, match=r"there is no such (axis|place): expected -[23] to [12], got"):
            call()
    assert [xp.expand_dims(x, axis=a).shape for a in (-3, 2)] == [(1, 2, 3), (2, 3, 1)]


def test_dlpack_shares_memory_where_it_is_asked_to() -> None:
    x = xp.asarray(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    shared = np.from_dlpack(x, copy=False)
    assert not shared.flags.writeable
    x[0] = 9
    y = x + 1
    other = np.from_dlpack(y, copy=False)
    y += 1
    lent = xp.asarray(np.arange(3, dtype=np.float32))
    kept = np.from_dlpack(lent, copy=False)
    _raised(lent)
    assert shared.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert other.tolist() == [[10, 10, 10], [4, 5, 6]]
    assert (kept.tolist(), lent.tolist()) == ([0, 1, 2], [1, 2, 3])
    assert np.shares_memory(np.from_dlpack(x, copy=False), np.from_dlpack(x, copy=False))
    assert not np.shares_memory(np.from_dlpack(x), np.from_dlpack(x))
    assert torch.utils.dlpack.from_dlpack(x.__dlpack__(copy=False)).tolist() == x.tolist()
    for written in (xp.parameter([1.0]), xp.create((1,))):
        with pytest.raises(BufferError, match="must be copied, since they may be written in place, as those of create"):
            written.__dlpack__(copy=False)


def _raised(x: Any) -> None:
    @loom.kernel
    def raised(a: loom.InOut[loom.f32]) -> None:
        i = loom.global_id()
        if i < 3:
            a[i] = a[i] + 1.0

    raised(x)


def test_arrays_of_others_are_read_whatever_their_layout() -> None:
    read_only = np.arange(4, dtype=np.float32)
    read_only.flags.writeable = False
    z = torch.tensor([1 + 2j, 3 - 1j])
    for given, expected in (
        (np.arange(5).astype(">i4"), np.arange(5)), (np.arange(10.0)[::-2], np.arange(10.0)[::-2]),
        (np.broadcast_to(np.float32(2), (2, 3)), np.full((2, 3), 2)), (np.asfortranarray(np.eye(3)[:2]), np.eye(3)[:2]),
        (read_only, read_only), (torch.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T),
        (z.conj(), np.array([1 - 2j, 3 + 1j])), (z.conj().imag, np.array([-2.0, 1.0])),
    ):  # fmt: skip
        assert np.array_equal(xp.asarray(given).numpy(), expected)
        if hasattr(given, "__dlpack__") and getattr(given, "dtype", None) != np.dtype(">i4"):
            assert np.array_equal(xp.from_dlpack(given).numpy(), expected)
    x = xp.asarray(read_only)
    x[0] = 7
    assert read_only[0] == 0


def test_lists_may_hold_complex_tensors() -> None:
    x = xp.asarray([1.0, 2.0]) * 1j
    assert xp.asarray([[x[0], 2], [x[1], 4]]).numpy().tolist() == [[1j, 2], [2j, 4]]
    with pytest.raises(DTypeError, match="complex"):
        loom.gpu_sum([x[0], x[1]])


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
def test_signs_at_infinity_are_those_of_c99(kind: Any) -> None:
    """Annex G.6.2.6 (TC3): tanh(inf + ib) is 1 + i 0 sin 2b; the standard of arrays has +0 for every b > 0."""
    z = np.array([complex(a, b) for a in (np.inf, -np.inf) for b in (1.0, 2.0, -1.0, -2.0, 0.0, -0.0)], kind)
    with np.errstate(invalid="ignore"):
        assert xp.tanh(xp.asarray(z)).numpy().tobytes() == np.tanh(z).tobytes()
    none = xp.expm1(xp.asarray(np.array([complex(-0.0, 0.0)], kind))).numpy()
    assert none.tobytes() == np.zeros(1, kind).tobytes()


def test_numbers_beyond_the_default_type_are_refused() -> None:
    with pytest.raises(DTypeError, match="does not fit f32"):
        xp.asarray(3.4028235677973366e38)
    assert xp.asarray(3.4028235677973366e38, dtype=xp.float64).item() == 3.4028235677973366e38


@pytest.mark.parametrize(("kind", "least"), [("c8", 1e-30), ("c16", 1e-250), ("f4", 1e-30), ("f8", 1e-250)])
@pytest.mark.parametrize("rows", [6, 40])
def test_qr_of_columns_far_apart(kind: str, least: float, rows: int, on: str) -> None:
    random = np.random.default_rng(3)
    a = random.standard_normal((rows, 4)) + 1j * random.standard_normal((rows, 4)) * (kind[0] == "c")
    a = (a if kind[0] == "c" else a.real) * np.array([1, least, least**0.5, 1])
    graded = a.copy()  # what is left of the second column below the first row is far smaller than itself
    graded[1:, 0], graded[0, 1] = 0, 1
    for matrix in (a.astype(kind), graded.astype(kind)):
        q, r = (part.numpy() for part in xp.linalg.qr(xp.asarray(matrix, on=on)))
        few = 32 * np.finfo(kind).eps
        assert np.abs(q.conj().T @ q - np.eye(4)).max() < few
        assert (np.abs(q @ r - matrix).max(0) < few * np.abs(matrix).max(0)).all()
        own = np.linalg.qr(matrix)[1]
        assert np.allclose(np.abs(np.diag(r)) / np.abs(np.diag(own)), 1, rtol=1e-4)
